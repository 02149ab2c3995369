#!/usr/bin/env bash
# A .deb from what PyInstaller made: the folder form, which needs no unpacking at each start.
#   packaging/deb.sh BUILD_OUT DEBIAN_ARCH       BUILD_OUT has edgemon-dir, edgemon.1, edgemon.bash, edgemon.toml
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/target.sh
out=$1 arch=$2
version=$(version)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 0755 "$tree"

install -d "$tree"/DEBIAN "$tree"/etc/edgemon "$tree"/usr/bin "$tree"/usr/lib/systemd/system \
    "$tree"/usr/share/man/man1 "$tree"/usr/share/bash-completion/completions "$tree"/usr/share/doc/edgemon
cp -r "$out/edgemon-dir" "$tree/usr/lib/edgemon"
# Readable and executable, nothing else; PyInstaller copies what the build machine had.
find "$tree/usr/lib/edgemon" -type f -exec chmod 0644 {} +
chmod 0755 "$tree/usr/lib/edgemon/edgemon"
ln -s ../lib/edgemon/edgemon "$tree/usr/bin/edgemon"
install -m 0644 systemd/* "$tree/usr/lib/systemd/system/"
# It may hold the name of a user, and of who may connect; secrets stand in files of their own.
install -m 0644 "$out/edgemon.toml" "$tree/etc/edgemon/edgemon.toml"
install -m 0644 "$out/edgemon.bash" "$tree/usr/share/bash-completion/completions/edgemon"
gzip -9n < "$out/edgemon.1" > "$tree/usr/share/man/man1/edgemon.1.gz"
gzip -9n < CHANGELOG.md > "$tree/usr/share/doc/edgemon/changelog.gz"
install -m 0644 "$out/edgemon.cdx.json" "$tree/usr/share/doc/edgemon/"
cat > "$tree/usr/share/doc/edgemon/copyright" <<'TEXT'
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: edgemon
Comment: what is bundled, with versions and licences, stands in edgemon.cdx.json

Files: *
Copyright: The edgemon founders
License: Apache-2.0
 On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.
TEXT

# The newest glibc symbol that any file asks for is the oldest glibc that it runs on.
glibc=$(find "$tree/usr/lib/edgemon" -type f -exec sh -c 'readelf -VW "$1" 2>/dev/null || true' _ {} \; |
    grep -oE 'GLIBC_[0-9]+\.[0-9]+' | sort -uV | tail -1 | cut -d_ -f2)
# The program that starts Python may ask for the system's zlib, before those that are bundled can be found.
zlib=""
if readelf -dW "$tree/usr/lib/edgemon/edgemon" | grep -q 'NEEDED.*libz\.so'; then zlib=", zlib1g"; fi
install -m 0755 packaging/debian/postinst packaging/debian/prerm packaging/debian/postrm "$tree/DEBIAN/"
echo /etc/edgemon/edgemon.toml > "$tree/DEBIAN/conffiles"
cat > "$tree/DEBIAN/control" <<TEXT
Package: edgemon
Version: $version
Architecture: $arch
Maintainer: The edgemon founders <maintainers@edgemon.example>
Installed-Size: $(du -k -s --apparent-size "$tree/usr" | cut -f1)
Depends: libc6 (>= $glibc), passwd$zlib
Section: misc
Priority: optional
Description: monitor for machine-learning models on small devices
 An application hands each prediction to a Unix socket. edgemon aggregates, tests for
 drift exactly and continuously, keeps what matters on disk through crashes and power
 cuts, and ships it over MQTT or S3 when the network returns.
TEXT
(cd "$tree" && find etc usr -type f -print0 | sort -z | xargs -0 md5sum) \
    > "$tree/DEBIAN/md5sums"
[ -z "${SOURCE_DATE_EPOCH:-}" ] || find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
# Never half a package under that name.
dpkg-deb --build --root-owner-group -Zxz "$tree" "$out/edgemon.deb" >/dev/null
mv "$out/edgemon.deb" "dist/edgemon_${version}_$arch.deb"
echo "$glibc" > "$out/glibc"
