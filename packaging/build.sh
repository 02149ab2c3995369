#!/usr/bin/env bash
# From the sources to dist/: a single file, a .deb, their list of contents (CycloneDX), wheel, sdist and checksums.
#   packaging/build.sh host|arm64|armhf        (`make binary`, `make binary ARCH=arm64`)
# Another processor than this one's needs root on an x86-64 Debian 12: its extensions are cross-compiled here, PyInstaller
# runs in a root file system of its own under emulation. What takes long is kept in build/ARCH.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/target.sh
arch=${1:-host}
target "$arch"
PYTHON=${PYTHON:-python3}
version=$(version)
work=$PWD/build/$arch
tools=$PWD/build/tools
python=$tools/bin/python
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
mkdir -p "$work" dist

step() { echo "$(date +%H:%M:%S) $arch: $*" >&2; }
# Runs a command whose output is only of interest when it fails.
quietly() { "$@" > "$work/log" 2>&1 || { cat "$work/log" >&2; die "failed: $*"; }; }
extra() {
    "$python" -c 'import sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*project["dependencies"] if not sys.argv[1] else project["optional-dependencies"][sys.argv[1]], sep="\n")' "$1"
}

if [ ! -e "$tools/.done" ]; then
    step "tools"
    "$PYTHON" -m venv "$tools"
    quietly "$tools/bin/pip" install --quiet --upgrade pip "setuptools>=68,<90" wheel build "cython>=3.1,<4" \
        packaging setuptools-scm
    touch "$tools/.done"
fi

step "sdist"
rm -rf "$work/sdist" "$work/wheel"
quietly "$python" -m build --no-isolation --sdist --outdir "$work/sdist" .
sdist=$(echo "$work/sdist"/*.tar.gz)

run() { "$@"; }
if [ "$arch" = host ]; then
    step "wheel"
    quietly "$python" -m pip wheel --no-deps --no-build-isolation --wheel-dir "$work/wheel" "$sdist"
    env=$work/env
    [ -e "$env/bin/python" ] || "$PYTHON" -m venv "$env"
    quietly "$env/bin/python" -m pip install --quiet $(extra s3 | tr -d ' ') $(extra binary | tr -d ' ') $(extra "" | tr -d ' ')
    quietly "$env/bin/python" -m pip install --quiet --no-deps --force-reinstall "$work/wheel"/*.whl
    interpreter=("$env/bin/python")
    project=$PWD
else
    step "root file system"
    quietly packaging/rootfs.sh "$arch"
    root=$work/root
    ours=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    [ -e "$root/usr/lib/python$ours" ] ||
        die "cross-compiling needs the Python of the target's Debian, $(ls -d "$root"/usr/lib/python3.*), and this is $ours"
    mkdir -p "$work/sysconfig" "$work/wheels"
    cp "$root/usr/lib/python$ours/_sysconfigdata__$TRIPLET.py" "$work/sysconfig/"
    cross() {
        env PYTHONPATH="$work/sysconfig" _PYTHON_HOST_PLATFORM="$PYTHON_PLATFORM" \
            _PYTHON_SYSCONFIGDATA_NAME="_sysconfigdata__$TRIPLET" CC="$TRIPLET-gcc --sysroot=$root" \
            LDSHARED="$TRIPLET-gcc --sysroot=$root -shared" \
            CFLAGS="-O2 -g0 -I$root/usr/include/python$ours -I$root/usr/include/$TRIPLET" "$@"
    }
    step "wheel"
    quietly cross "$python" -m pip wheel --no-deps --no-build-isolation --wheel-dir "$work/wheel" "$sdist"

    site=$root/opt/site
    wanted=$( (extra ""; extra s3; extra binary) | tr -d ' ')
    stamp=$(echo "$wanted" | sha256sum | cut -c1-16)
    if [ ! -e "$root/.site-$stamp" ]; then
        rm -rf "$site" "$root"/.site-*
        if [ "$arch" = armhf ]; then
            # Nobody publishes wheels for it.
            step "dependencies from source"
            for requirement in $(extra "" | tr -d ' ' | grep -E '^zstandard\b'); do
                quietly cross "$python" -m pip wheel --no-deps --no-build-isolation --no-binary :all: \
                    --wheel-dir "$work/wheels" "$requirement"
            done
        fi
        step "dependencies"
        platforms=()
        for platform in $PIP_PLATFORMS; do platforms+=(--platform "$platform"); done
        into_site() {
            quietly "$python" -m pip install --quiet --target "$site" --python-version "$ours" --implementation cp \
                --abi "cp${ours/./}" --abi abi3 --abi none --only-binary :all: --find-links "$work/wheels" "$@"
        }
        if [ "$arch" = armhf ]; then
            into_site "${platforms[@]}" $( (extra ""; extra s3) | tr -d ' ')
            # PyInstaller is Python but for its bootloader: any wheel will do, with a bootloader compiled here.
            into_site --platform manylinux2014_aarch64 $(extra binary | tr -d ' ')
            step "bootloader"
            pyinstaller=$(basename "$(echo "$site"/pyinstaller-*.dist-info)" .dist-info)
            rm -rf "$work/pyinstaller"
            quietly "$python" -m pip download --no-deps --no-binary :all: \
                --dest "$work/pyinstaller" "${pyinstaller/-/==}"
            tar -xf "$work/pyinstaller"/*.tar.gz -C "$work/pyinstaller" --strip-components 1
            (cd "$work/pyinstaller/bootloader" &&
                CC="$TRIPLET-gcc --sysroot=$root" quietly "$python" ./waf distclean configure make_all)
            cp -r "$work/pyinstaller/PyInstaller/bootloader/Linux-32bit-arm" "$site/PyInstaller/bootloader/"
        else
            into_site "${platforms[@]}" $wanted
        fi
        touch "$root/.site-$stamp"
    fi
    rm -rf "$site"/edgemon "$site"/edgemon-*.dist-info
    quietly "$python" -m pip install --quiet --no-deps --no-compile --target "$work/unpacked" --upgrade \
        --python-version "$ours" --implementation cp --abi "cp${ours/./}" --only-binary :all: \
        --platform "${PYTHON_PLATFORM/-/_}" "$work/wheel"/*.whl
    cp -r "$work/unpacked"/edgemon "$work/unpacked"/edgemon-*.dist-info "$site/"
    rm -rf "$work/unpacked"
    run() { packaging/inroot.sh "$root" "$@"; }
    interpreter=(env PYTHONPATH=/opt/site python3)
    project=/project
    # Its random numbers are ours: packaging/expat.sh.
    quietly run "${interpreter[@]}" -c "import xml.etree.ElementTree as t; t.fromstring('<a b=\"c\"/>')"
fi

step "PyInstaller"
rm -rf "$work/out"
# -P and a folder of its own: the sources beside us must not be taken for what was installed. Without the columns of each
# instruction, which tracebacks underline where they have the source: here is none, and they are a tenth of the code.
quietly run "${interpreter[@]}" -P -X no_debug_ranges -c "import os
os.chdir('$project/build/$arch')
os.environ['SOURCE_DATE_EPOCH'] = '$SOURCE_DATE_EPOCH'
os.environ['PYTHONHASHSEED'] = '1'
from PyInstaller.__main__ import run
run(['--noconfirm', '--log-level=WARN', '--distpath=out', '--workpath=pyinstaller-work',
     '$project/packaging/edgemon.spec'])"
! grep "ERROR: Hidden import" "$work/log" >&2 || die "the bundle is not whole"

step "self-test"
for form in edgemon edgemon-dir/edgemon; do
    said=$(run "$project/build/$arch/out/$form" --version)
    [ "$said" = "edgemon $version" ] || die "$form says \"$said\", not \"edgemon $version\""
done
quietly run "$project/build/$arch/out/edgemon-dir/edgemon" selftest

step "files"
run "${interpreter[@]}" "$project/packaging/texts.py" "$project/build/$arch/out"
run "$project/build/$arch/out/edgemon-dir/edgemon" init --out - > "$work/out/edgemon.toml"
name=edgemon-$version-linux-$FILE_ARCH
cp "$work/out/edgemon" "dist/$name"
cp "$work/out/edgemon.cdx.json" "dist/$name.cdx.json"
cp "$work/wheel"/*.whl dist/
files=("$name" "$name.cdx.json" "$(basename "$work/wheel"/*.whl)")
if [ "$arch" = host ]; then
    cp "$sdist" dist/
    files+=("$(basename "$sdist")")
fi
if command -v dpkg-deb >/dev/null; then
    packaging/deb.sh "$work/out" "$DEBIAN"
    cp "$work/out/edgemon.cdx.json" "dist/edgemon_${version}_$DEBIAN.deb.cdx.json"
    files+=("edgemon_${version}_$DEBIAN.deb" "edgemon_${version}_$DEBIAN.deb.cdx.json")
else
    echo "no dpkg-deb here, so no .deb" >&2
fi
(cd dist && sha256sum "${files[@]}" > "$name.sha256")
(cd dist && ls -l "${files[@]}" "$name.sha256")
