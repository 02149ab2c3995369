#!/bin/sh
# Installs edgemon from a file that is here already; nothing is downloaded.
#   install.sh edgemon_VERSION_ARCH.deb         on Debian and its kind: by dpkg
#   install.sh edgemon-VERSION-linux-ARCH       anywhere: the single file, user, folders and units by hand
#   install.sh --uninstall [--purge]            takes it away; --purge: with what was collected, and the configuration
# Given to what is there already it upgrades, once the new one has passed its self-test; until then the old one runs on. What is
# enabled or ran is started again, what is disabled stays so.
# Options: --no-start (stopped until the next boot), and --root DIR for an image that is being made (nothing is run in it).
# For POSIX sh and busybox.
set -eu

root="" start=yes uninstall="" purge="" file=""
config=/etc/edgemon/edgemon.toml

die() {
    echo "install.sh: $*" >&2
    exit 1
}
say() { echo "install.sh: $*"; }
have() { command -v "$1" >/dev/null 2>&1; }
# systemd runs here, and this is not an image.
systemd() { [ -z "$root" ] && [ -d "${EDGEMON_SYSTEMD_RUNS:-/run/systemd/system}" ] && have systemctl; }

usage() {
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit "$1"
}

while [ $# -gt 0 ]; do
    case "$1" in
    --uninstall) uninstall=yes ;;
    --purge) purge=yes ;;
    --no-start) start="" ;;
    --root)
        [ $# -gt 1 ] || die "--root needs a folder"
        root=${2%/} start=""
        shift
        ;;
    --help | -h) usage 0 ;;
    -*) die "no option $1 (see --help)" ;;
    *)
        [ -z "$file" ] || die "one file, not two: $file and $1"
        file=$1
        ;;
    esac
    shift
done
[ -n "$file$uninstall" ] || usage 2
[ "$(id -u)" = 0 ] || die "needs root: it makes a user, folders and units"

# -- what runs here

# Of an ELF file, in hexadecimal: class (01: 32 bits, 02: 64) and machine (0028 ARM, 00b7 AArch64, 003e x86-64).
elf() {
    # shellcheck disable=SC2046  # words are wanted
    set -- $(dd if="$1" bs=1 count=20 2>/dev/null | od -An -v -tx1)
    [ "${1:-}${2:-}${3:-}${4:-}" = 7f454c46 ] || return 1
    echo "$5 ${20}${19}"
}
# The processor that programs here are compiled for, which is not always the kernel's.
userland() {
    for program in /bin/sh /bin/busybox /usr/bin/env; do
        if [ -e "$root$program" ] && elf "$(readlink -f "$root$program" 2>/dev/null || echo "$root$program")"; then
            return 0
        fi
    done
    return 1
}
named() {
    case "$1" in
    "01 0028") echo "32-bit ARM (armhf)" ;;
    "02 00b7") echo "64-bit ARM (arm64)" ;;
    "02 003e") echo "x86-64 (amd64)" ;;
    *) echo "another processor ($1)" ;;
    esac
}
machine() { echo "${EDGEMON_MACHINE:-$(uname -m)}"; }
# major.minor of glibc, empty where there is another C library. $1: class and machine of what is to be installed.
glibc() {
    if [ -n "${EDGEMON_GLIBC:-}" ]; then
        echo "$EDGEMON_GLIBC"
    elif [ -n "$root" ]; then
        # Nothing of an image is run: the library's own words say it.
        for library in "$root"/lib/libc.so.6 "$root"/lib/*/libc.so.6 "$root"/lib64/libc.so.6 \
            "$root"/usr/lib/libc.so.6 "$root"/usr/lib/*/libc.so.6 "$root"/usr/lib64/libc.so.6; do
            [ -e "$library" ] || continue
            [ "$(elf "$library")" = "$1" ] || continue
            LC_ALL=C tr -c ' -~' '\n' < "$library" |
                sed -n 's/^GNU C Library .* version \([0-9][0-9]*\.[0-9][0-9]*\).*/\1/p'
            return 0
        done
    elif have getconf; then
        getconf GNU_LIBC_VERSION 2>/dev/null | sed -n 's/^glibc //p'
    else
        for library in /lib/ld-linux*.so.* /lib64/ld-linux*.so.* /lib/*/ld-linux*.so.*; do
            [ -x "$library" ] || continue
            "$library" --version 2>/dev/null | sed -n '1s/.*version \([0-9]*\.[0-9]*\).*/\1/p'
            return 0
        done
    fi
}
older() { # $1 is older than $2
    [ "${1%%.*}" -lt "${2%%.*}" ] || { [ "${1%%.*}" -eq "${2%%.*}" ] && [ "${1#*.}" -lt "${2#*.}" ]; }
}

# The oldest glibc that the single files run on; the .deb of the same build depends on it.
FLOOR=2.35

check_machine() { # $1: class and machine of what is to be installed
    case "$(machine)" in
    armv6* | armv5* | armv4*)
        die "this is an $(machine) processor (Raspberry Pi 1 or Zero); edgemon needs ARMv7 or newer: nothing was installed"
        ;;
    esac
    here=$(userland) || die "cannot tell what programs here are compiled for: /bin/sh is no ELF file"
    [ "$1" = "$here" ] || die "$file is for $(named "$1"), programs here are for $(named "$here")$(
        case "$here-$(machine)" in "01 0028-aarch64") echo ", under a 64-bit kernel" ;; esac
    ): take the other file, nothing was installed"
}
check_glibc() { # $1: what it needs, $2: class and machine of what is to be installed
    found=$(glibc "$2")
    [ -n "$found" ] || die "there is no glibc here (musl?), and edgemon needs $1 or newer: nothing was installed"
    ! older "$found" "$1" || die "glibc here is $found, edgemon needs $1 or newer: nothing was installed"
}

# -- units

# In the order in which they are started: a socket belongs to the agent that starts after it.
UNITS="edgemon-agent.socket edgemon-metrics.socket edgemon-agent.service edgemon-ship.service edgemon-burst.timer"

those() { # which of them are: active, enabled
    for unit in $UNITS; do
        if systemctl "is-$1" --quiet "$unit" 2>/dev/null; then echo "$unit"; fi
    done
}
stop_all() {
    # shellcheck disable=SC2086  # words are wanted
    systemctl stop edgemon-burst.timer edgemon-burst.service $UNITS 2>/dev/null || true
}
start_those() { # $1: what ran before; with what is enabled it is what shall run
    enabled=$(those enabled) wanted=""
    for unit in $UNITS; do
        if printf '%s\n' "$1" "$enabled" | grep -qx "$unit"; then wanted="$wanted $unit"; fi
    done
    # shellcheck disable=SC2086  # words are wanted
    [ -z "$wanted" ] || systemctl start $wanted
}

# -- take away

# The single file, its units, and what enabled those.
remove_file() {
    rm -f "$root/usr/local/bin/edgemon"
    for unit in $UNITS edgemon-burst.service; do
        path=$root/etc/systemd/system/$unit
        # Of a .deb's units what is enabled stays so, for when it comes back.
        [ ! -e "$path" ] || rm -f "$path" "$root/etc/systemd/system/"*".wants/$unit"
        rm -f "$path.d/single-file.conf"
        # Others than that are the administrator's.
        if [ -n "$purge" ]; then rm -rf "$path.d"; else rmdir "$path.d" 2>/dev/null || true; fi
    done
    if systemd; then systemctl daemon-reload || true; fi
}
remove() {
    if [ -z "$root" ] && have dpkg && dpkg -s edgemon >/dev/null 2>&1; then
        if [ -n "$purge" ]; then dpkg --purge edgemon; else dpkg --remove edgemon; fi
    elif systemd; then
        systemctl disable --now edgemon-burst.timer edgemon-agent.socket edgemon-metrics.socket edgemon-agent.service \
            edgemon-ship.service >/dev/null 2>&1 || true
    fi
    remove_file
    if [ -n "$purge" ]; then
        rm -rf "$root/etc/edgemon" "$root/run/edgemon"
        # A partition of its own is left empty.
        rm -rf "$root/var/lib/edgemon" 2>/dev/null || [ -z "$(ls -A "$root/var/lib/edgemon")" ] ||
            die "$root/var/lib/edgemon cannot be removed"
        if [ -z "$root" ]; then
            if have userdel; then userdel edgemon 2>/dev/null || true
            elif have deluser; then deluser edgemon 2>/dev/null || true; fi
            if have groupdel; then groupdel edgemon 2>/dev/null || true
            elif have delgroup; then delgroup edgemon 2>/dev/null || true; fi
        fi
        say "edgemon is gone, with what it had collected"
    else
        say "edgemon is gone; $root/etc/edgemon and $root/var/lib/edgemon stay (--purge takes them too)"
    fi
}

# -- put there

exists() { grep -q "^$2:" "$root/etc/$1" 2>/dev/null; } # passwd or group, a name
make_user() {
    if [ -n "$root" ]; then
        # In an image: the first free number below 1000 for both.
        number=999
        while cut -d: -f3 "$root/etc/passwd" "$root/etc/group" 2>/dev/null | grep -qx "$number"; do
            number=$((number - 1))
        done
        exists group edgemon || echo "edgemon:x:$number:" >> "$root/etc/group"
        group=$(sed -n 's/^edgemon:[^:]*:\([0-9]*\):.*/\1/p' "$root/etc/group")
        exists passwd edgemon ||
            echo "edgemon:x:$number:$group::/var/lib/edgemon:/usr/sbin/nologin" >> "$root/etc/passwd"
        return
    fi
    exists group edgemon || if have groupadd; then groupadd --system edgemon; else addgroup -S edgemon; fi
    exists passwd edgemon || if have useradd; then
        useradd --system --gid edgemon --no-create-home --home-dir /var/lib/edgemon --shell /usr/sbin/nologin edgemon
    else
        adduser -S -D -H -G edgemon -h /var/lib/edgemon -s /sbin/nologin edgemon
    fi
}
units_from() { # the folder of the units: beside the script, or in the sources
    for folder in "$(dirname "$0")/systemd" "$(dirname "$0")/../systemd"; do
        [ ! -e "$folder/edgemon-agent.service" ] || { echo "$folder"; return; }
    done
    die "the units are missing: systemd/ must stand beside install.sh: nothing was installed"
}

# Whether there is one that the new one takes the place of.
upgrade() {
    [ -z "$root" ] && [ -e "$config" ] && { [ -x /usr/local/bin/edgemon ] || [ -x /usr/lib/edgemon/edgemon ]; }
}
# $1: the new program, not in its place yet.
try() {
    tried=yes
    "$1" selftest --config "$config" ||
        die "the self-test of $file failed, see above: nothing was changed, what was installed stays as it is"
}
check_start() { # $1: a copy of the single file
    said=$("$1" --version 2>&1) && return
    case "$said" in
    *libz.so*) die "$file needs the library libz.so.1 (package zlib1g or zlib), which is not here: nothing was installed" ;;
    esac
    die "$file does not start; it unpacks itself into \$TMPDIR (${TMPDIR:-/tmp}), which needs 25 MB and must not be mounted \
noexec: nothing was installed. It said: $(echo "$said" | tail -n 1)"
}

install_file() {
    kind=$(elf "$file") || die "$file is no program, and no .deb"
    check_machine "$kind"
    check_glibc "$FLOOR" "$kind"
    units=""
    if [ -d "$root/etc/systemd" ] || systemd; then units=$(units_from); fi
    mkdir -p "$root/usr/local/bin"
    # Never half a file under its name.
    new=$root/usr/local/bin/.edgemon.new
    cp "$file" "$new" || die "cannot copy $file to $new: nothing was installed"
    chmod 0755 "$new"
    [ -n "$root" ] || check_start "$new"
    if upgrade; then try "$new"; fi
    mkdir -p "$root/etc/edgemon"
    make_user
    ids=$(sed -n 's/^edgemon:[^:]*:\([0-9]*\):\([0-9]*\):.*/\1:\2/p' "$root/etc/passwd")
    mkdir -p "$root/var/lib/edgemon"
    chmod 0750 "$root/var/lib/edgemon"
    chown "$ids" "$root/var/lib/edgemon"
    if systemd; then stop_all; fi
    mv -f "$new" "$root/usr/local/bin/edgemon"
    if [ ! -e "$root$config" ]; then
        if [ -n "$root" ]; then
            say "no configuration yet: edgemon init --out $config, on the device"
        else
            /usr/local/bin/edgemon init --out "$config" >/dev/null
        fi
    fi
    if [ -n "$units" ]; then
        first=""
        if systemd; then
            for name in edgemon-agent.service edgemon-ship.service; do
                systemctl cat "$name" >/dev/null 2>&1 || first="$first $name"
            done
        fi
        mkdir -p "$root/etc/systemd/system"
        for unit in "$units"/edgemon-*; do
            name=$(basename "$unit")
            sed 's#/usr/bin/edgemon#/usr/local/bin/edgemon#' "$unit" > "$root/etc/systemd/system/$name"
            case "$name" in
            *.service)
                # A single file unpacks itself and goes on in a child: that is who speaks to systemd. It unpacks to the
                # disk, since a tmpfs counts as memory of the service, and a killed one leaves its files behind.
                mkdir -p "$root/etc/systemd/system/$name.d"
                printf '%s\n' '[Service]' NotifyAccess=all StateDirectory=edgemon/unpacked-%N \
                    Environment=TMPDIR=/var/lib/edgemon/unpacked-%N \
                    "ExecStopPost=/bin/sh -c 'rm -rf /var/lib/edgemon/unpacked-%N/_MEI*'" \
                    > "$root/etc/systemd/system/$name.d/single-file.conf"
                ;;
            esac
        done
        if systemd; then
            systemctl daemon-reload
            # The first time: enabled. Later it is as the administrator wants it.
            # shellcheck disable=SC2086  # words are wanted
            [ -z "$first" ] || systemctl enable $first >/dev/null 2>&1 ||
                say "the units could not be enabled: systemctl enable$first"
        fi
    fi
}

install_deb() {
    [ -z "$root" ] || die "a .deb goes into an image with: dpkg --root=$root -i $file"
    have dpkg || die "there is no dpkg here: take the single file, edgemon-VERSION-linux-ARCH"
    fields=$(dpkg-deb -f "$file") || die "$file is not whole"
    wanted=$(echo "$fields" | sed -n 's/^Architecture: *//p')
    here=${EDGEMON_DEB_ARCH:-$(dpkg --print-architecture)}
    case "$(machine)" in
    armv6* | armv5* | armv4*) check_machine "01 0028" ;;
    esac
    [ "$wanted" = "$here" ] || die "$file is for $wanted, Debian here is $here: take the other file, nothing was installed"
    check_glibc "$(echo "$fields" | sed -n 's/^Depends:.*libc6 (>= \([0-9.]*\)).*/\1/p')" ""
    if upgrade; then
        # Where programs may stand; dpkg needs as much room there when it replaces the old one.
        new=/usr/lib/.edgemon.new
        rm -rf "$new"
        dpkg-deb --extract "$file" "$new" || die "cannot unpack $file into $new: nothing was changed"
        try "$new/usr/lib/edgemon/edgemon"
        rm -rf "$new"
    fi
    # A single file and its units would come before the package's.
    followed="" enabled=""
    if [ -e /usr/local/bin/edgemon ]; then
        followed=yes
        if systemd; then
            enabled=$(those enabled)
            stop_all
        fi
        remove_file
    fi
    # It starts nothing; that is done below, after the self-test.
    EDGEMON_START=no DEBIAN_FRONTEND=noninteractive dpkg --install --force-confold "$file"
    if [ -n "$followed" ] && systemd; then
        # shellcheck disable=SC2086  # words are wanted
        systemctl --quiet disable $UNITS
        # shellcheck disable=SC2086  # words are wanted
        [ -z "$enabled" ] || systemctl --quiet enable $enabled
    fi
}

if [ -n "$uninstall" ]; then
    remove
    exit 0
fi
[ -r "$file" ] || die "cannot read $file"
ran="" tried=""
new="" # a copy that is being tried
trap '[ -z "$new" ] || rm -rf "$new"' EXIT
if systemd; then ran=$(those active); fi
case "$file" in
*.deb) install_deb ;;
*) install_file ;;
esac
if [ -n "$root" ]; then
    say "put into $root; on the device: systemctl enable --now edgemon-agent edgemon-ship"
    exit 0
fi

program=$(command -v edgemon || echo /usr/local/bin/edgemon)
[ -n "$tried" ] || "$program" selftest --config "$config" ||
    die "it is installed, but the self-test failed, so nothing was started: see above"
if [ -n "$start" ] && systemd; then
    start_those "$ran"
    # Whoever has disabled the agent is not told that it does not answer.
    systemctl is-active --quiet edgemon-agent.service || exit 0
    tries=0
    until "$program" status --config "$config" >/dev/null 2>&1 || [ $tries -ge 20 ]; do
        tries=$((tries + 1))
        sleep 0.5
    done
    "$program" status --config "$config"
elif [ -n "$start" ]; then
    say "no systemd runs here; start it with: $program run --config $config"
fi
