"""What the two halves start and talk to, from the .deb under the real units: plugins, commands and notifications of
rules, a configuration from afar. Each works within the sandbox, or with the lines that the documentation says to add.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.notice_servers import Hook, MailServer
from tests.packaging.container import AGENT, CONFIG, ROOT, SHIP, Container
from tests.servers import Listener, Mosquitto, wait_for

pytestmark = pytest.mark.slow

PLUGINS = "/usr/lib/edgemon/plugins"
# Tries what a plugin may do or not: 1 where it could.
TRIES = """#!/bin/sh
tried() { if "$@" >/dev/null 2>&1; then echo 1; else echo 0; fi; }
while read -r line; do
    case $line in
    '{"op":"start",'*) echo '{"hello":1}' ;;
    '{"op":"collect"}') echo "{\\"values\\":{
        \\"unix\\":$(tried perl -e 'socket(S, 1, 1, 0) or exit 1'),
        \\"inet\\":$(tried perl -e 'socket(S, 2, 1, 0) or exit 1'),
        \\"code\\":$(tried perl -e 'exit(syscall(9, 0, 4096, 7, 34, -1, 0) == -1)'),
        \\"room\\":$(tried perl -e '$room = "x" x 10_000_000'),
        \\"much\\":$(tried perl -e '$much = "x" x 80_000_000'),
        \\"nicer\\":$(tried perl -e 'setpriority(0, 0, 19); exit(getpriority(0, 0) != 19)'),
        \\"root\\":$(tried chroot / true),
        \\"state\\":$(tried touch /var/lib/edgemon/mine),
        \\"tmp\\":$(tried touch /tmp/mine),
        \\"etc\\":$(tried touch /etc/edgemon/mine),
        \\"archive\\":$(tried touch /srv/archive/mine),
        \\"home\\":$(tried ls /root),
        \\"files\\":$(ulimit -n)}}" | tr -d '\\n '
        echo ;;
    '{"op":"stop"}') exit 0 ;;
    esac
done
"""
SPINS = """#!/bin/sh
while read -r line; do
    case $line in
    '{"op":"start",'*) echo '{"hello":1}' ;;
    *) while :; do :; done ;;
    esac
done
"""
# A sink: a line for each batch, in a file.
KEEPS = """#!/bin/sh
while read -r line; do
    case $line in
    '{"op":"start",'*) echo '{"hello":1}' ;;
    '{"op":"send",'*) echo "$line" >>/var/lib/edgemon/kept && sync /var/lib/edgemon/kept && echo '{"ack":true}' ;;
    '{"op":"stop"}') exit 0 ;;
    esac
done
"""
COLLECTORS = f"""
[agent]
device = "cam-7"
fleet = "lab"
[system]
interval = "1s"
[batch]
max_age = "1s"
[plugins.soil]
command = ["{PLUGINS}/soil"]
options = {{ file = "/run/soil/moisture" }}
[plugins.tries]
command = ["{PLUGINS}/tries"]
memory = "64MiB"
open_files = 40
"""
NOTE = """#!/bin/sh
sandbox=$(grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status | tr -d '\\n\\t')
echo "$EDGEMON_STATE $EDGEMON_RULE as $(id -un), $sandbox" >>/var/lib/edgemon/noted
"""
RULES = """
[agent]
device = "cam-7"
[system]
enabled = false
[ship]
sink = "none"
initial_interval = "50ms"
[[rules]]
name = "queue"
when = "metric.queue > 3"
min_interval = "0s"
do = [{do}]
"""


@pytest.fixture
def broker(container: Container, mosquitto_folder: Path) -> Iterator[Mosquitto]:
    """A Mosquitto on the container's loopback."""
    with container.network():
        server = Mosquitto(mosquitto_folder)
        server.start()
    yield server
    server.stop()


def read(container: Container, path: str) -> str:
    file = container.root / path.removeprefix("/")
    return file.read_text() if file.exists() else ""


def install_plugins(container: Container) -> None:
    soil = (ROOT / "docs/examples/plugins/soil").read_text()
    for name, text in (("soil", soil), ("tries", TRIES), ("spins", SPINS), ("keeps", KEEPS)):
        container.write(f"{PLUGINS}/{name}", text, 0o755)
    container.run("sh", "-c", "mkdir -p /run/soil /srv/archive; echo 41.5 >/run/soil/moisture")
    container.run("chown", "edgemon", "/srv/archive")


def series(container: Container, name: str) -> dict[str, Any]:
    """Of a plugin that collects, without its name before it; {} before the first."""
    system = container.status().get("agent", {}).get("system", {})
    begin = f"{name}_"
    return {
        key.removeprefix(begin): value for key, value in system.items() if key.startswith(begin)
    }


def plugin(container: Container, half: str, name: str) -> dict[str, Any]:
    found = container.status().get(half, {}).get("plugins", [])
    return next((one for one in found if one["name"] == name), {})


def test_collectors_run_in_the_units_sandbox_and_with_what_the_docs_add(
    container: Container,
) -> None:
    install_plugins(container)
    container.configure(COLLECTORS)
    tries = wait_for(lambda: series(container, "tries"), 60, "values of the one that tries")
    expected = {"unix": 1, "inet": 0, "code": 0, "room": 1, "much": 0, "nicer": 0, "root": 0, "state": 1, "tmp": 1,
                "etc": 0, "archive": 0, "home": 0, "files": 40}  # fmt: skip
    assert tries == expected
    assert series(container, "soil") == {"moisture_percent": 41.5}
    assert not (container.root / "tmp/mine").exists()  # a /tmp of its own

    (said,) = re.findall(
        r"^```ini\n(\[Service\].*?)```$", (ROOT / "docs/plugins.md").read_text(), re.M | re.S
    )
    container.run("groupadd", "--force", "i2c")
    container.drop_in(AGENT, said)
    expected |= {"inet": 1, "code": 1, "nicer": 1, "archive": 1}
    try:
        wait_for(lambda: series(container, "tries") == expected, 60, "more is allowed")
    finally:
        container.drop_in(AGENT, "")


def test_a_plugin_that_uses_up_its_processor_time_is_started_again_and_edgemon_goes_on(
    container: Container,
) -> None:
    install_plugins(container)
    spins = f'[plugins.spins]\ncommand = ["{PLUGINS}/spins"]\ncpu_time = "1s"\ntimeout = "5m"\n'
    container.configure(COLLECTORS + spins)
    pid = container.show(AGENT, "MainPID")
    wait_for(
        lambda: "processor time" in (plugin(container, "agent", "spins").get("last_error") or ""),
        60, "it was killed",
    )  # fmt: skip
    wait_for(lambda: plugin(container, "agent", "spins")["restarts"], 60, "it was started again")
    assert series(container, "soil") == {"moisture_percent": 41.5}
    assert container.show(AGENT, "MainPID") == pid


def test_a_sink_that_is_a_plugin_runs_in_the_shippers_sandbox(container: Container) -> None:
    install_plugins(container)
    sink = (
        f'[ship]\nsink = "plugin"\n[plugins.keeps]\nkind = "sink"\ncommand = ["{PLUGINS}/keeps"]\n'
    )
    container.configure(COLLECTORS + sink)
    wait_for(lambda: '"kind":"sys"' in read(container, "/var/lib/edgemon/kept"), 60, "a batch")
    assert '"device":"cam-7"' in read(container, "/var/lib/edgemon/kept")


def test_a_rules_command_runs_in_the_agents_sandbox(container: Container) -> None:
    """And what it may not do, another unit does that waits for its file, as docs/rules.md says."""
    container.write("/usr/local/bin/note", NOTE, 0o755)
    container.write("/usr/local/bin/overreach", "#!/bin/sh\ntouch /etc/edgemon/mine\n", 0o755)
    container.write(
        "/etc/systemd/system/reboot-camera.path",
        "[Path]\nPathExists=/var/lib/edgemon/noted\nUnit=reboot-camera.service\n",
    )
    container.write(
        "/etc/systemd/system/reboot-camera.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/touch /etc/rebooted\n",
    )
    container.run("systemctl", "daemon-reload")
    container.run("systemctl", "start", "reboot-camera.path")
    container.configure(
        RULES.format(do='"event", "exec:note", "exec:overreach"')
        + '[actions.note]\ncommand = ["/usr/local/bin/note"]\n'
        + '[actions.overreach]\ncommand = ["/usr/local/bin/overreach"]\n'
    )
    container.wait_active(AGENT)
    container.send({"metric": "queue", "value": 9})
    wait_for(lambda: read(container, "/var/lib/edgemon/noted"), 60, "the command ran")
    noted = read(container, "/var/lib/edgemon/noted")
    assert noted == "fired queue as edgemon, NoNewPrivs:1Seccomp:2\n"
    wait_for((container.root / "etc/rebooted").exists, 60, "the other unit ran")

    def ended() -> dict[str, Any]:
        (rule,) = container.status()["agent"]["rules"]
        last: dict[str, Any] = rule.get("last", {})
        return last if {"note", "overreach"} <= last.keys() else {}

    last = wait_for(ended, 60, "how they ended")
    assert last["note"]["words"] == "ended with exit code 0"
    assert last["overreach"]["words"] == "ended with exit code 1"
    events = container.run("edgemon", "spool", "cat", "--kind", "event").stdout
    (failed,) = [json.loads(line) for line in events.splitlines() if "rule.action_failed" in line]
    assert "Read-only file system" in json.dumps(failed)
    assert not (container.root / "etc/edgemon/mine").exists()


def test_webhooks_and_e_mails_leave_from_the_shippers_unit(container: Container) -> None:
    with container.network():
        hook, mail = Hook(), MailServer()
    try:
        container.write("/etc/edgemon/hook.key", "a secret of two\n", 0o640)
        container.run("chgrp", "edgemon", "/etc/edgemon/hook.key")
        container.configure(
            RULES.format(do='"webhook:duty", "email:boss"')
            + f'[actions.duty]\nurl = "http://127.0.0.1:{hook.port}/duty"\n'
            + 'hmac_key_file = "/etc/edgemon/hook.key"\n'
            + '[actions.boss]\nto = ["boss@example.org"]\nsender = "cam@example.org"\n'
            + f'smtp_host = "127.0.0.1"\nsmtp_port = {mail.port}\nsecurity = "none"\n'
        )
        container.wait_active(AGENT)
        container.send({"metric": "queue", "value": 9})
        wait_for(lambda: hook.posts and mail.letters, 60, "both")
        (post,) = hook.posts
        assert json.loads(post.body)["rule"] == "queue"
        digest = hmac.new(b"a secret of two", post.body, hashlib.sha256).hexdigest()
        assert post.headers["X-Edgemon-Signature"] == f"sha256={digest}"
        assert "queue" in str(mail.letters[0]["Subject"])
        assert container.show(SHIP, "NRestarts") == "0"
    finally:
        hook.stop()
        mail.stop()


@pytest.mark.parametrize("kept_as", ["file", "credential"])
def test_a_configuration_from_afar_is_applied_confirmed_and_reported(
    container: Container, broker: Mosquitto, kept_as: str
) -> None:
    container.run("systemctl", "stop", AGENT, SHIP)
    shutil.rmtree(container.root / "var/lib/edgemon")
    container.run(
        "install", "-d", "-m", "0750", "-o", "edgemon", "-g", "edgemon", "/var/lib/edgemon"
    )
    container.run("rm", "-f", "/etc/edgemon/remote.key")
    container.run("edgemon", "remote", "key", "--out", "/etc/edgemon/remote.key")
    key_file = "/etc/edgemon/remote.key"
    if kept_as == "file":
        container.run("sh", "-c", f"chmod 0640 {key_file}; chgrp edgemon {key_file}")
    else:
        key_file = f"/run/credentials/{AGENT}/remote.key"
    container.write(
        CONFIG,
        f"""
[agent]
device = "cam-7"
fleet = "lab"
[remote]
enabled = true
key_file = "{key_file}"
allow = ["batch"]
confirm = "5s"
[ship]
sink = "mqtt"
initial_interval = "100ms"
[mqtt]
host = "127.0.0.1"
port = {broker.port}
""",
    )
    (said,) = re.findall(
        r"^```ini\n(\[Service\].*?)```$", (ROOT / "docs/remote.md").read_text(), re.M | re.S
    )
    if kept_as == "credential":
        container.drop_in(AGENT, said)
    container.run("systemctl", "restart", AGENT, SHIP)
    with container.network():
        listener = Listener(broker.port, "edgemon/v1/lab/cam-7/#")
    try:

        def reported() -> dict[str, Any]:
            found = listener.on("/reported")
            latest: dict[str, Any] = json.loads(found[-1].payload) if found else {}
            return latest

        wait_for(lambda: reported().get("status") == "none", 60, "nothing came yet")
        sign = ("edgemon", "remote", "sign", "-", "--key-file", "/etc/edgemon/remote.key", "--fleet", "lab",
                "--device", "cam-7", "--publish", f"mqtt://127.0.0.1:{broker.port}", "--revision")  # fmt: skip
        container.run(*sign, "1", text='[batch]\nmax_age = "5m"\n')
        wait_for(lambda: reported().get("status") == "applied", 90, f"applied: {reported()}")
        assert reported()["in_force"] == 1 and reported()["keys"] == ["batch.max_age"]
        shown = container.run("edgemon", "check", "--show", "--config", CONFIG).stdout
        assert re.search(r'max_age *= *"5m"', shown)
        container.run("systemctl", "restart", AGENT)
        container.wait_active(AGENT)
        assert container.status()["agent"]["remote"]["in_force"] == 1
    finally:
        listener.close()
        if kept_as == "credential":
            container.configure("")
            container.drop_in(AGENT, "")
