#!/usr/bin/env bash
# A small Debian root file system of another processor, in build/ARCH/root: what PyInstaller runs in under emulation.
# Kept for the next build; `rm -r build/ARCH/root` makes it anew. Root, x86-64 Debian 12; a quarter of a minute.
#   packaging/rootfs.sh arm64|armhf
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/target.sh
target "${1:?arm64 or armhf}"
suite=bookworm
root=build/$1/root

[ "$(id -u)" = 0 ] || die "needs root, for chroot and binfmt_misc"
for tool in mmdebstrap update-binfmts "$TRIPLET-gcc" "$QEMU-static"; do
    command -v "$tool" >/dev/null || die "$tool is missing: apt-get install mmdebstrap binfmt-support" \
        "qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-arm-linux-gnueabihf libc6-dev-armhf-cross"
done
mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
[ -e "/proc/sys/fs/binfmt_misc/$QEMU" ] || update-binfmts --enable "$QEMU"
[ ! -e "$root/.made" ] || exit 0

# The host's own mirror. Not every mirror has every suite for every processor, so the release itself comes last, alone.
mirror=$({ cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true; } |
    sed -nE 's/^URIs:[[:space:]]*([^[:space:]]+).*/\1/p; s/^deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+).*/\2/p' | head -1)
[ -n "$mirror" ] || die "no Debian mirror in /etc/apt"
mkdir -p "build/$1"
packages=base-files,bash,dash,coreutils,sed,grep,findutils,libc-bin,python3,python3-dev,libc6-dev,binutils
# extract: nothing of the foreign system is run, so that there is nothing to emulate yet.
make_root() {
    rm -rf "$root"
    mmdebstrap --quiet --arch="$DEBIAN" --variant=extract --include="$packages,zlib1g-dev,libffi-dev" \
        --setup-hook='mkdir -p "$1/usr/bin" "$1/usr/sbin" "$1/usr/lib" "$1/etc"; for d in bin sbin lib; do ln -s usr/$d "$1/$d"; done' \
        --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Check-Valid-Until "false"' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        "$suite" "$root" "$@"
}
make_root /etc/apt/sources.list.d/debian.sources 2>/dev/null || make_root "deb $mirror $suite main"
echo root:x:0:0:root:/root:/bin/sh > "$root/etc/passwd"
echo root:x:0: > "$root/etc/group"
mkdir -p "$root/project" "$root/opt/site" "$root/tmp" "$root/root" "$root/proc" "$root/dev"
packaging/expat.sh "$1"
chroot "$root" /sbin/ldconfig  # the bundler finds libraries through its cache
touch "$root/.made"
