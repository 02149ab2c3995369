#!/usr/bin/env bash
# What a virtual arm64 machine boots from, in build/vm: kernel, a small initrd, and a Debian root file system with systemd
# as a tree. Kept; `rm -r build/vm` makes it anew. Root, x86-64 Debian 12; some minutes, most of them emulated.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/target.sh
target arm64
suite=bookworm
vm=$PWD/build/vm
root=$vm/root
[ ! -e "$vm/.done" ] || exit 0
[ "$(id -u)" = 0 ] || die "needs root"
for tool in mmdebstrap arch-test qemu-system-aarch64 "$QEMU-static" cpio; do
    command -v "$tool" >/dev/null || die "$tool is missing: apt-get install mmdebstrap arch-test qemu-system-arm qemu-user-static cpio"
done
mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
[ -e "/proc/sys/fs/binfmt_misc/$QEMU" ] || update-binfmts --enable "$QEMU"
rm -rf "$vm"
mkdir -p "$vm/initrd/bin" "$vm/initrd/lib" "$vm/initrd/proc" "$vm/initrd/sys" "$vm/initrd/dev" "$vm/initrd/newroot" "$vm/debs"

# Its mounts vanish with its namespace, also where they are busy at its end.
unshare --mount --propagation private \
    mmdebstrap --quiet --arch="$DEBIAN" --variant=minbase --include=systemd,systemd-sysv,passwd,procps \
    --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Check-Valid-Until "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='kernel=$(APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-cache depends linux-image-cloud-arm64 |
        sed -n "s/.*Depends: \(linux-image-.*\)/\1/p" | head -1)
        cd '"$vm"'/debs && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get download -qq -o APT::Sandbox::User=root "$kernel:arm64" busybox-static:arm64' \
    "$suite" "$root" /etc/apt/sources.list.d/debian.sources
# The kernel is not installed, which would make an initrd of 30 MB: only what is needed is taken out of its package.
for deb in "$vm"/debs/*.deb; do dpkg-deb -x "$deb" "$vm/unpacked"; done
cp "$vm"/unpacked/boot/vmlinuz-* "$vm/vmlinuz"
cp "$(find "$vm/unpacked/bin" "$vm/unpacked/usr/bin" -name busybox -type f 2>/dev/null | head -1)" "$vm/initrd/bin/busybox"
for module in virtio_ring virtio virtio_mmio virtio_pci virtio_pci_modern_dev virtio_pci_legacy_dev virtio_blk \
    crc16 crc32c_generic libcrc32c mbcache jbd2 ext4; do
    file=$(find "$vm/unpacked/lib/modules" -name "$module.ko*" | head -1)
    [ -z "$file" ] || case "$file" in
    *.xz) xz -dc "$file" > "$vm/initrd/lib/$module.ko" ;;
    *) cp "$file" "$vm/initrd/lib/$module.ko" ;;
    esac
done
cat > "$vm/initrd/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
# In the order in which they need each other.
for module in virtio_ring virtio virtio_mmio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk \
    crc16 crc32c_generic libcrc32c mbcache jbd2 ext4; do
    [ ! -e /lib/$module.ko ] || insmod /lib/$module.ko 2>/dev/null
done
tries=0
until [ -b /dev/vda ] || [ $tries -ge 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
mount -t ext4 -o rw /dev/vda /newroot || { echo "EDGEMON-VM: no root file system"; poweroff -f; }
umount /proc /sys
mount --move /dev /newroot/dev
exec switch_root /newroot /sbin/init
INIT
chmod +x "$vm/initrd/init"
(cd "$vm/initrd" && find . -print0 | cpio --quiet --null --create --format=newc) | gzip -1 > "$vm/initrd.gz"
rm -rf "$vm/unpacked" "$vm/debs"
touch "$vm/.done"
