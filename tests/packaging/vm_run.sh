#!/bin/sh
# Runs inside the virtual machine at each boot, as a unit; what it says on the console is what the test reads.
set -u
say() { echo "EDGEMON-VM: $*" > /dev/console; }
wait_active() {
    tries=0
    until systemctl is-active --quiet edgemon-agent.service; do
        tries=$((tries + 1))
        [ $tries -lt 120 ] || { say "failed: the agent is not active"; systemctl --no-pager status edgemon-agent > /dev/console; poweroff -f; }
        sleep 1
    done
}
if [ ! -e /test/installed ]; then
    say "first boot"
    dpkg --force-confold -i /test/edgemon.deb > /test/dpkg.log 2>&1 || { cat /test/dpkg.log > /dev/console; say "failed: dpkg"; poweroff -f; }
    touch /test/installed
    sync
    wait_active
    say "active"
    first=0
    while :; do
        number=$first
        while [ $number -lt $((first + 100)) ]; do
            echo "{\"model\":\"m\",\"id\":$number,\"output\":0.5}"
            number=$((number + 1))
        done | edgemon send --ack disk - > /test/send.log 2>&1 || { cat /test/send.log > /dev/console; say "failed: send"; }
        first=$((first + 100))
        say "acknowledged $first"
    done
fi
say "second boot"
wait_active
say "active"
pid=$(systemctl show edgemon-agent --property=MainPID --value)
say "memory max $(systemctl show edgemon-agent --property=MemoryMax --value)"
say "memory current $(systemctl show edgemon-agent --property=MemoryCurrent --value)"
say "rss $(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' /proc/"$pid"/status) KiB"
say "seccomp $(sed -n 's/^Seccomp:[^0-9]*//p' /proc/"$pid"/status)"
edgemon spool cat --kind pred > /test/rows 2>/test/cat.log || cat /test/cat.log > /dev/console
say "rows $(wc -l < /test/rows)"
# Every number from 0 on that is there, up to the first that is not.
sed -n 's/.*"prediction_id": *"\([0-9]*\)".*/\1/p' /test/rows | sort -n | uniq > /test/ids
next=0
while read -r id && [ "$id" = $next ]; do next=$((next + 1)); done < /test/ids
say "kept $next"
edgemon selftest > /test/selftest.log 2>&1 && say "selftest passed" || { cat /test/selftest.log > /dev/console; say "selftest failed"; }
say "done"
sync
poweroff -f
