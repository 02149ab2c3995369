# Read by the scripts beside it, not run: what differs between the processors we build for.
# Sets DEBIAN (Debian's name), FILE_ARCH (in file names), and for another processor than this one TRIPLET,
# PYTHON_PLATFORM, QEMU (name in binfmt_misc), PIP_PLATFORMS.

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

target() {
    case "$1" in
    arm64)
        DEBIAN=arm64 TRIPLET=aarch64-linux-gnu PYTHON_PLATFORM=linux-aarch64 QEMU=qemu-aarch64
        PIP_PLATFORMS="manylinux_2_28_aarch64 manylinux_2_17_aarch64 manylinux2014_aarch64 linux_aarch64"
        ;;
    armhf)
        DEBIAN=armhf TRIPLET=arm-linux-gnueabihf PYTHON_PLATFORM=linux-armv7l QEMU=qemu-arm
        PIP_PLATFORMS="linux_armv7l"
        ;;
    host)
        case "$(uname -m)" in
        x86_64) DEBIAN=amd64 ;;
        aarch64) DEBIAN=arm64 ;;
        armv7l) DEBIAN=armhf ;;
        *) DEBIAN="$(uname -m)" ;;
        esac
        ;;
    *) die "no target \"$1\": arm64, armhf or host" ;;
    esac
    FILE_ARCH=$DEBIAN
}

# The one place that knows the version.
version() {
    sed -n 's/^VERSION = "\(.*\)"$/\1/p' edgemon/version.py
}
