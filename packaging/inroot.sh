#!/usr/bin/env bash
# Runs a command in a foreign root file system, with the project's folder at /project. Mounts, and processes that are
# left over, vanish with the namespaces.
#   packaging/inroot.sh ROOT COMMAND…
set -euo pipefail
root=$(realpath "${1:?root file system}")
shift
project=$(realpath "$(dirname "$0")/..")
export root project
exec unshare --mount --propagation private --pid --fork --kill-child sh -euc '
    mkdir -p "$root/project"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mount --bind "$project" "$root/project"
    exec chroot "$root" env -i HOME=/root TERM=dumb LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        PYTHONDONTWRITEBYTECODE= "$@"
' sh "$@"
