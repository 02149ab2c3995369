#!/usr/bin/env bash
# Debian's libexpat, linked once more with an arc4random of its own: the one function of the whole bundle that needs a newer
# glibc (2.36) than Ubuntu 22.04 and JetPack 6 have (2.35). The code is that of Debian's static library, of the same package.
# Takes the place of the shared one in the root file system.
#   packaging/expat.sh arm64|armhf
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/target.sh
target "${1:?arm64 or armhf}"
root=build/$1/root
made=build/$1/libexpat.so.1
static=$root/usr/lib/$TRIPLET/libexpat.a
shared=$(readlink -f "$root/usr/lib/$TRIPLET/libexpat.so.1")

"$TRIPLET-gcc" --sysroot="$root" -O2 -fPIC -Wall -Wextra -Werror -shared -static-libgcc -o "$made" \
    -Wl,-soname,libexpat.so.1 -Wl,-z,relro,-z,now -Wl,-Bsymbolic packaging/arc4random.c \
    -Wl,--whole-archive "$static" -Wl,--no-whole-archive
"$TRIPLET-strip" "$made"
# Nothing is missing, and nothing has to be written into code that is mapped.
names() { readelf --dyn-syms -W "$1" | awk '$7 != "UND" && $5 == "GLOBAL" { sub(/@.*/, "", $8); print $8 }' | sort; }
[ -n "$(names "$shared")" ] && [ "$(names "$shared")" = "$(names "$made")" ] ||
    die "what was made of $static is not what Debian made of it"
! readelf -d "$made" | grep -q TEXTREL || die "$static cannot be a shared library"
mv "$made" "$shared"
