#!/bin/sh
# Runs inside the virtual machine at each boot, as a unit; what it says on the console is what the test reads.
set -u
say() { echo "EDGEMON-VM: $*" > /dev/console; }
fail() {
    systemctl --no-pager status edgemon-agent > /dev/console
    say "failed: $*"
    poweroff -f
}
# Until a command succeeds, two minutes at most.
wait_for() {
    tries=0
    until "$@" > /dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 120 ] || fail "$*"
        sleep 1
    done
}
active() { systemctl is-active --quiet edgemon-agent.service; }
unit=edgemon-agent
property() { systemctl show $unit --property="$1" --value; }
status() { sed -n "s/^$1:[^0-9]*\([0-9]*\).*/\1/p" /proc/"$(property MainPID)"/status; }
page() { bash -c 'exec 3<>/dev/tcp/127.0.0.1/9464; printf "GET /metrics HTTP/1.1\r\n\r\n" >&3; cat <&3'; }
shows() { page | grep -q "$1"; }
say_memory() { say "$1: rss $(status VmRSS) KiB, memory $(property MemoryCurrent), tasks $(property TasksCurrent)"; }

if [ ! -e /test/installed ]; then
    say "first boot"
    dpkg --force-confold -i /test/edgemon.deb > /test/dpkg.log 2>&1 || { cat /test/dpkg.log > /dev/console; fail dpkg; }
    touch /test/installed
    sync
    wait_for active
    say "active"
    first=0
    while :; do
        number=$first
        while [ $number -lt $((first + 100)) ]; do
            echo "{\"model\":\"m\",\"id\":$number,\"output\":0.5}"
            number=$((number + 1))
        done | edgemon send --ack disk - > /test/send.log 2>&1 || { cat /test/send.log > /dev/console; fail send; }
        first=$((first + 100))
        say "acknowledged $first"
    done
fi
say "second boot"
wait_for active
say "active"
say "memory max $(property MemoryMax)"
say "tasks max $(property TasksMax)"
say "seccomp $(status Seccomp)"
say_memory "as installed"
edgemon spool cat --kind pred > /test/rows 2>/test/cat.log || cat /test/cat.log > /dev/console
say "rows $(wc -l < /test/rows)"
# Every number from 0 on that is there, up to the first that is not.
sed -n 's/.*"prediction_id": *"\([0-9]*\)".*/\1/p' /test/rows | sort -n | uniq > /test/ids
next=0
while read -r id && [ "$id" = $next ]; do next=$((next + 1)); done < /test/ids
say "kept $next"
edgemon selftest > /test/selftest.log 2>&1 || { cat /test/selftest.log > /dev/console; fail selftest; }
say "selftest $(tail -n 1 /test/selftest.log)"

# All that takes memory beside the agent's own: a plugin, a rule with a command, /metrics by its socket.
mkdir /run/soil
echo 41.5 > /run/soil/moisture
cp /test/all.toml /etc/edgemon/edgemon.toml
systemctl stop edgemon-agent
systemctl start edgemon-metrics.socket edgemon-agent
wait_for shows 'series="soil_moisture_percent"} 41.5'
echo '{"metric":"queue","value":9}' | edgemon send -
wait_for [ -s /var/lib/edgemon/forked ]
say "forked $(cat /var/lib/edgemon/forked)"
wait_for active
say "restarts $(property NRestarts)"
say_memory "with a plugin, rules and /metrics"

# A command that takes more than the unit has: the unit is stopped, comes again, and has what was acknowledged.
echo '{"model":"n","id":"last","output":0.5}' | edgemon send --ack disk -
echo '{"metric":"hunger","value":9}' | edgemon send -
restarted() { [ "$(property NRestarts)" -ge 1 ]; }
wait_for restarted
wait_for active
say "result $(journalctl --no-pager --output=cat --unit=edgemon-agent | grep -o "result 'oom-kill'" | head -n 1)"
edgemon spool cat --kind pred | grep -q '"prediction_id": *"last"' && say "kept the last"

# docs/install.md: what a device of 64 MB gives it.
systemctl set-property --runtime edgemon-agent MemoryMax=32M
systemctl restart edgemon-agent
wait_for active
number=0
while [ $number -lt 1000 ]; do
    echo "{\"model\":\"m\",\"output\":0.$number}"
    number=$((number + 1))
done | edgemon send --ack disk - || fail "send, in 32M"
active || fail "not active in 32M"
say_memory "in $(property MemoryMax)"

# The shipper, in what a device of 64 MB gives it: the broker is not there.
printf '[ship]\nsink = "mqtt"\n[mqtt]\nhost = "127.0.0.1"\nport = 1\n' > /etc/edgemon/edgemon.toml
systemctl set-property --runtime edgemon-ship MemoryMax=40M
systemctl restart edgemon-agent edgemon-ship
tried() { edgemon status | grep -q 'mqtt: NOT connected.*last error'; }
wait_for active
wait_for tried
unit=edgemon-ship
say_memory "shipper in $(property MemoryMax)"
say "done"
sync
poweroff -f
