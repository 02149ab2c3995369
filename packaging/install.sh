#!/bin/sh
# Installs edgemon from a file that is here already; nothing is downloaded.
#   install.sh edgemon_VERSION_ARCH.deb         on Debian and its kind: by dpkg
#   install.sh edgemon-VERSION-linux-ARCH       anywhere: the single file, user, folders and units by hand
#   install.sh --uninstall [--purge]            takes it away; --purge: with what was collected, and the configuration
# Given to what is there already it upgrades, once the new one has passed its self-test; until then the old one runs on. What is
# enabled or ran is started again, what is disabled stays so. A file is compared with the .sha256 that stands beside it.
# Options: --no-start (stopped until the next boot), and --root DIR for an image that is being made (nothing is run in it).
# For POSIX sh and busybox.
set -eu
# Services and users read what is put there, whatever root keeps to himself.
umask 022

root="" start=yes uninstall="" purge="" file=""
config=/etc/edgemon/edgemon.toml

die() {
    echo "install.sh: $*" >&2
    exit 1
}
say() { echo "install.sh: $*" || true; }
have() { command -v "$1" >/dev/null 2>&1; }
# systemd runs here, and this is not an image.
systemd() { [ -z "$root" ] && [ -d /run/systemd/system ] && have systemctl; }

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
        root=$(CDPATH='' cd -- "${2:-/nowhere}" 2>/dev/null && pwd -P) || die "--root '$2' is no folder: nothing was done"
        case "$root" in / | //) die "--root / is no image but this system: nothing was done" ;; esac
        start=""
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
[ -z "$file" ] || [ -z "$uninstall" ] || die "--uninstall needs no file: nothing was done"
[ -z "$purge" ] || [ -n "$uninstall" ] || die "--purge goes with --uninstall: nothing was done"
[ "$(id -u)" = 0 ] || die "needs root: it makes a user, folders and units"

# -- one at a time, and to its end

lock=${EDGEMON_LOCK:-/run}
if [ -z "$root" ] && [ -d "$lock" ] && have flock; then
    exec 9< "$lock"
    flock -n 9 || die "another install.sh is at work: nothing was done"
fi

new="" staged="" # copies that are not in their places yet
ran="" stopped=""
finish() {
    [ -z "$new" ] || rm -rf "$new"
    [ -z "$staged" ] || rm -rf "$staged"
    # shellcheck disable=SC2086  # words are wanted
    [ -z "$stopped" ] || [ -z "$ran" ] || systemctl start $ran || true
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
# From the first change on neither Ctrl-C nor the end of an SSH connection leaves it half done; a failure starts what ran.
begin() {
    trap '' HUP INT PIPE TERM
    stopped=yes
}
end() {
    stopped=""
    trap - HUP INT PIPE TERM
}

# -- what runs here

# Of an ELF file, in hexadecimal: class (01: 32 bits, 02: 64) and machine (0028 ARM, 00b7 AArch64, 003e x86-64).
elf() {
    # shellcheck disable=SC2046  # words are wanted
    set -- $(dd if="$1" bs=1 count=20 2>/dev/null | od -An -v -tx1)
    [ "${1:-}${2:-}${3:-}${4:-}" = 7f454c46 ] || return 1
    echo "$5 ${20}${19}"
}
# The file that a path leads to. In an image an absolute link means the image.
followed() {
    path=$1 links=0
    while [ -h "$root$path" ] && [ $links -lt 20 ]; do
        link=$(readlink "$root$path")
        case "$link" in /*) path=$link ;; *) path=$(dirname "$path")/$link ;; esac
        links=$((links + 1))
    done
    echo "$root$path"
}
# The processor that programs here are compiled for, which is not always the kernel's.
userland() {
    for program in /bin/sh /bin/busybox /usr/bin/env; do
        ! elf "$(followed "$program")" || return 0
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

check_sum() { # that a .sha256 beside the file names the sum that it has
    have sha256sum || return 0
    for sums in "$(dirname "$file")"/*.sha256; do
        [ -r "$sums" ] || continue
        while read -r sum name; do
            [ "${name#\*}" = "$(basename "$file")" ] || continue
            [ "$(sha256sum < "$file" | cut -d ' ' -f 1)" = "$sum" ] ||
                die "$file is not what $sums says: it is damaged, or not whole; fetch both again, nothing was installed"
            return 0
        done < "$sums"
    done
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
    [ -z "$wanted" ] || systemctl start $wanted ||
        die "it is installed, but not all of it started: journalctl -u edgemon-agent -u edgemon-ship says why"
}

# A single file, and not what pip puts there.
is_file() { elf "$root/usr/local/bin/edgemon" >/dev/null; }
# Whether the units below /etc/systemd are a single file's, and not the administrator's. Packages ask for that file too.
are_files() { [ -e "$root/etc/systemd/system/edgemon-agent.service.d/single-file.conf" ]; }

# After units came or went: what enables them points to where they are now.
relink() {
    systemctl daemon-reload
    for link in /etc/systemd/system/*.wants/edgemon-*; do
        [ -h "$link" ] || continue
        path=$(systemctl show --property=FragmentPath --value "$(basename "$link")")
        [ -z "$path" ] || ln -sf "$path" "$link"
    done
}

# -- take away

# The single file and its units; what enables those stays.
remove_file() {
    ! is_file || rm -f "$root/usr/local/bin/edgemon"
    are_files || return 0
    for unit in $UNITS edgemon-burst.service; do
        rm -f "$root/etc/systemd/system/$unit"
    done
    for unit in $UNITS edgemon-burst.service; do
        rm -f "$root/etc/systemd/system/$unit.d/single-file.conf"
    done
}
remove() {
    files=""
    ! are_files || files=yes
    begin
    if systemd; then stop_all; fi
    known=""
    if [ -z "$root" ] && have dpkg-query; then known=$(dpkg-query -W -f '${Status}' edgemon 2>/dev/null || true); fi
    case "$known$purge" in
    "" | yes | *" not-installed"* | *" config-files") ;;
    *) dpkg "--$([ -n "$purge" ] && echo purge || echo remove)" edgemon || die "dpkg could not take edgemon away, see above" ;;
    esac
    remove_file
    for unit in $UNITS edgemon-burst.service; do
        # Of a .deb's units what is enabled stays so, for when it comes back.
        [ -z "$files" ] || rm -f "$root/etc/systemd/system/"*".wants/$unit"
        # Other drop-ins are the administrator's.
        path=$root/etc/systemd/system/$unit.d
        if [ -n "$purge" ]; then rm -rf "$path"; else rmdir "$path" 2>/dev/null || true; fi
    done
    if systemd; then systemctl daemon-reload || true; fi
    end
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
    *"libz.so.1: cannot open"*) die "$file needs the library libz.so.1 (package zlib1g or zlib), which is not here: nothing was installed" ;;
    *"PKG archive"*) die "$file is damaged, or not whole: fetch it again, nothing was installed" ;;
    esac
    die "$file does not start; it unpacks itself into \$TMPDIR (${TMPDIR:-/tmp}), which needs 25 MB and must not be mounted \
noexec (another one: TMPDIR=/var/tmp before the command): nothing was installed. It said: $(echo "$said" | tail -n 1)"
}

# Units that call the single file, into a folder.
make_units() { # $1: where they are, $2: the folder
    for unit in "$1"/edgemon-*; do
        name=$(basename "$unit")
        sed 's#/usr/bin/edgemon#/usr/local/bin/edgemon#' "$unit" > "$2/$name"
        case "$name" in
        *.service)
            # A single file unpacks itself and goes on in a child: that is who speaks to systemd. It unpacks to the
            # disk, since a tmpfs counts as memory of the service, and a killed one leaves its files behind.
            mkdir "$2/$name.d"
            printf '%s\n' '[Service]' NotifyAccess=all StateDirectory=edgemon/unpacked-%N \
                Environment=TMPDIR=/var/lib/edgemon/unpacked-%N \
                "ExecStopPost=/bin/sh -c 'rm -rf /var/lib/edgemon/unpacked-%N/_MEI*'" > "$2/$name.d/single-file.conf"
            ;;
        esac
    done
}
put_units() { # $1: the folder that they were made in; each takes its place at once
    for unit in "$1"/edgemon-*; do
        name=$(basename "$unit")
        if [ -d "$unit" ]; then
            mkdir -p "$root/etc/systemd/system/$name"
            mv -f "$unit/single-file.conf" "$root/etc/systemd/system/$name/"
        else
            mv -f "$unit" "$root/etc/systemd/system/$name"
        fi
    done
}

install_file() {
    program=/usr/local/bin/edgemon
    kind=$(elf "$file") || die "$file is no program, and no .deb"
    check_machine "$kind"
    check_glibc "$FLOOR" "$kind"
    [ ! -e "$root$program" ] || is_file ||
        die "$root$program is another program, a script of pip perhaps: take it away first, nothing was installed"
    units=""
    if [ -d "$root/etc/systemd" ] || systemd; then units=$(units_from); fi
    mkdir -p "$root/usr/local/bin" || die "cannot make $root/usr/local/bin: nothing was installed"
    new=$root/usr/local/bin/.edgemon.new
    rm -rf "$new"
    cp "$file" "$new" || die "cannot copy $file to $new: nothing was installed"
    chmod 0755 "$new"
    [ -n "$root" ] || check_start "$new"
    if upgrade; then try "$new"; fi
    make_user || die "cannot make the user edgemon: nothing was installed"
    ids=$(sed -n 's/^edgemon:[^:]*:\([0-9]*\):\([0-9]*\):.*/\1:\2/p' "$root/etc/passwd")
    mkdir -p "$root/etc/edgemon" "$root/var/lib/edgemon"
    chmod 0750 "$root/var/lib/edgemon"
    chown "$ids" "$root/var/lib/edgemon"
    if [ -e "$root$config" ]; then
        :
    elif [ -n "$root" ]; then
        say "no configuration yet: edgemon init --out $config, on the device"
    else
        "$new" init --out "$config" >/dev/null
    fi
    first=""
    if [ -n "$units" ]; then
        if systemd; then
            for name in edgemon-agent.service edgemon-ship.service; do
                systemctl cat "$name" >/dev/null 2>&1 || first="$first $name"
            done
        fi
        mkdir -p "$root/etc/systemd/system"
        staged=$root/etc/systemd/system/.edgemon.new
        rm -rf "$staged"
        mkdir "$staged"
        make_units "$units" "$staged"
    fi
    # All of it is there; a power cut between here and the end leaves the old or the new of each, whole.
    [ -n "$root" ] || sync
    begin
    if systemd; then stop_all; fi
    mv -f "$new" "$root$program"
    if [ -n "$units" ]; then
        put_units "$staged"
        if systemd; then
            relink
            # The first time: enabled. Later it is as the administrator wants it.
            # shellcheck disable=SC2086  # words are wanted
            [ -z "$first" ] || systemctl enable $first >/dev/null 2>&1 ||
                say "the units could not be enabled: systemctl enable$first"
        fi
    fi
    [ -n "$root" ] || [ ! -e /usr/lib/edgemon/edgemon ] ||
        say "the package edgemon is not used any more: dpkg --remove edgemon (without --purge) frees its room"
}

install_deb() {
    program=/usr/bin/edgemon
    [ -z "$root" ] || die "a .deb goes into an image with: dpkg --root=$root -i $file"
    have dpkg || die "there is no dpkg here: take the single file, edgemon-VERSION-linux-ARCH"
    fields=$(dpkg-deb -f "$file") || die "$file is not whole: nothing was installed"
    name=$(echo "$fields" | sed -n 's/^Package: *//p')
    [ "$name" = edgemon ] || die "$file is the package $name: nothing was installed"
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
    begin
    # It starts nothing; that is done below, after the self-test. Its words come by way of us: it would stop half way where
    # a terminal that is gone does not take them.
    failed=""
    said=$(EDGEMON_START=no DEBIAN_FRONTEND=noninteractive dpkg --install --force-confold "$file" 2>&1) || failed=yes
    printf '%s\n' "$said" || true
    [ -z "$failed" ] || die "dpkg could not install $file, see above${ran:+; what ran runs again}"
    # A single file and its units come before the package's. It ran until here.
    if are_files || is_file; then
        if systemd; then stop_all; fi
        remove_file
        if systemd; then relink; fi
    fi
    [ -e "$config" ] || "$program" init --out "$config" >/dev/null
}

if systemd; then ran=$(those active); fi
if [ -n "$uninstall" ]; then
    remove
    exit 0
fi
[ -r "$file" ] || die "cannot read $file"
check_sum
tried=""
case "$file" in
*.deb) install_deb ;;
*) install_file ;;
esac
if [ -n "$root" ]; then
    say "put into $root; on the device: systemctl enable --now edgemon-agent edgemon-ship"
    exit 0
fi

if [ -z "$tried" ]; then
    end
    "$program" selftest --config "$config" ||
        die "it is installed, but the self-test failed, so nothing was started: see above"
fi
if [ -n "$start" ] && systemd; then
    stopped=""
    start_those "$ran"
    end
    # Whoever has disabled the agent is not told that it does not answer.
    systemctl is-active --quiet edgemon-agent.service || exit 0
    tries=0
    until "$program" status --config "$config" >/dev/null 2>&1 || [ $tries -ge 10 ]; do
        tries=$((tries + 1))
        sleep 1
    done
    "$program" status --config "$config"
elif [ -n "$start" ]; then
    say "no systemd runs here; ${tried:+re}start it with: $program run --config $config"
fi
end
