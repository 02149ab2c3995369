"""The .deb under a real systemd: sandbox in force, watchdog, a stop that drains, upgrade, downgrade, removal, purge."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from edgemon.version import VERSION
from tests.packaging.container import AGENT, DEB, SHIP, Container
from tests.servers import wait_for

pytestmark = pytest.mark.slow

# Of a system whose root is read-only; its journal is not in question.
READ_ONLY = ("/etc", "/usr", "/opt", "/srv", "/root", "/var/lib")

# Asks the kernel for a ring of io_uring, and for a context of its older asynchronous I/O.
URING = """#!/usr/bin/perl
my $parameters = chr(0) x 120;
my $context = pack 'Q', 0;
print 'io_uring_setup: ', (syscall(425, 1, $parameters) < 0 ? $! : 'done'), qq(\\n);
print 'io_setup: ', (syscall(206, 1, $context) < 0 ? $! : 'done'), qq(\\n);
"""


def send(container: Container, first: int, count: int) -> None:
    container.send(
        *(
            {"model": "m", "id": number, "output": number / 7}
            for number in range(first, first + count)
        )
    )


def process_status(container: Container, unit: str) -> dict[str, str]:
    pid = container.show(unit, "MainPID")
    lines = container.run("cat", f"/proc/{pid}/status").stdout.splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def probe(container: Container, unit: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script of bash in the very sandbox of a unit."""
    text = (container.root / "usr/lib/systemd/system" / unit).read_text()
    text = re.sub(r"(?m)^(Exec\w+|Restart\w*|Watchdog\w+|RuntimeDirectory\w*)=.*\n", "", text)
    text = re.sub(r"(?m)^Type=.*$", f"Type=oneshot\nExecStart=/bin/bash -c '{script}'", text)
    (container.root / "etc/systemd/system/probe.service").write_text(text)
    container.run("systemctl", "daemon-reload")
    container.run("systemctl", "reset-failed", "probe.service", check=False)
    container.run("systemctl", "start", "probe.service", check=False)
    return container.run(
        "journalctl", "--unit=probe.service", "--output=cat", "--no-pager", "--lines=8"
    )


def test_sandbox_is_in_force(container: Container) -> None:
    for unit in (AGENT, SHIP):
        status = process_status(container, unit)
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
        assert int(status["CapEff"], 16) == 0 == int(status["CapBnd"], 16)
        assert status["Uid"].split()[0] != "0"


def test_the_agent_cannot_connect_to_a_network_and_the_shipper_can(container: Container) -> None:
    connect = "exec 3<>/dev/tcp/127.0.0.1/9"
    assert "not supported by protocol" in probe(container, AGENT, connect).stdout
    # Nobody listens there: it came as far as that.
    assert "Connection refused" in probe(container, SHIP, connect).stdout


@pytest.mark.parametrize("unit", [AGENT, SHIP])
def test_io_uring_is_taken_away(container: Container, unit: str) -> None:
    """Sockets that it opens would not pass the filter of address families. Outside of the units it is there."""
    container.write("/usr/local/bin/uring", URING, 0o755)
    assert container.run("uring").stdout == "io_uring_setup: done\nio_setup: done\n"
    said = probe(container, unit, "uring").stdout
    for call in ("io_uring_setup", "io_setup"):
        assert f"{call}: Operation not permitted" in said and f"{call}: done" not in said


def test_the_agent_can_write_its_own_folder_only(container: Container) -> None:
    said = probe(
        container, AGENT, "touch /var/lib/edgemon/mine && echo fine; touch /etc/theirs"
    ).stdout
    assert "fine" in said and "Read-only file system" in said


def test_socket_is_for_the_group(container: Container) -> None:
    shown = container.run("stat", "-c", "%a %U %G", "/run/edgemon/ingest.sock").stdout.split()
    assert shown == ["660", "edgemon", "edgemon"]


def test_the_watchdog_restarts_an_agent_that_does_not_turn(container: Container) -> None:
    drop_in = container.root / f"etc/systemd/system/{AGENT}.d"
    drop_in.mkdir()
    (drop_in / "soon.conf").write_text("[Service]\nWatchdogSec=2\n")
    container.run("systemctl", "daemon-reload")
    container.run("systemctl", "restart", AGENT)
    container.wait_active(AGENT)
    before = container.show(AGENT, "MainPID")
    container.run("kill", "-STOP", before)
    wait_for(lambda: container.show(AGENT, "MainPID") not in ("0", before), 60, "a new agent")
    container.wait_active(AGENT)
    assert container.show(AGENT, "NRestarts") == "1"
    assert "atchdog" in container.run("journalctl", "-u", AGENT, "-o", "cat", "--no-pager").stdout
    (drop_in / "soon.conf").unlink()
    container.run("systemctl", "daemon-reload")
    container.run("systemctl", "restart", AGENT)
    container.wait_active(AGENT)


def stored_rows(container: Container) -> int:
    """Predictions counted by windows that are in the spool."""
    spool = container.run("edgemon", "spool", "cat", "--kind", "agg", check=False).stdout
    counted = 0
    for line in spool.splitlines():
        row = json.loads(line)
        if row.get("model") == "m" and row.get("stream", "") == "":
            counted += int(row.get("n", 0))
    return counted


def test_a_stop_drains_in_time(container: Container) -> None:
    container.run("systemctl", "stop", SHIP)  # what is drained stays in the spool, to be seen
    before = stored_rows(container)
    send(container, 0, 500)
    container.run("systemctl", "stop", AGENT)
    assert container.show(AGENT, "Result") == "success"
    assert stored_rows(container) - before == 500
    container.run("systemctl", "start", AGENT, SHIP)
    container.wait_active(AGENT)


def test_socket_activation(container: Container) -> None:
    container.run("systemctl", "stop", AGENT)
    container.run("systemctl", "start", "edgemon-agent.socket")
    assert container.run("systemctl", "is-active", AGENT, check=False).stdout != "active\n"
    send(container, 1000, 10)
    container.wait_active(AGENT)
    container.run("systemctl", "stop", "edgemon-agent.socket", AGENT)
    container.run("systemctl", "start", AGENT)
    container.wait_active(AGENT)


def test_a_burst_ships_and_ends(container: Container) -> None:
    container.run("systemctl", "stop", SHIP)
    send(container, 2000, 10)
    container.run("systemctl", "start", "edgemon-burst.service")
    assert container.show("edgemon-burst.service", "Result") == "success"
    assert container.show("edgemon-burst.service", "ActiveState") == "inactive"
    container.run("systemctl", "start", SHIP)


def test_a_read_only_root_with_the_data_on_a_partition(container: Container) -> None:
    """As docs/install.md says: the units wait for the partition, and write nowhere else but to /run."""
    mount = "var-lib-edgemon.mount"
    container.run("systemctl", "stop", AGENT, SHIP)
    for folder in READ_ONLY:
        container.run("mount", "--bind", "--make-private", folder, folder)
    container.write(
        f"/etc/systemd/system/{mount}", "[Mount]\nWhat=data\nWhere=/var/lib/edgemon\nType=tmpfs\n"
    )
    container.run("systemctl", "daemon-reload")
    for folder in READ_ONLY:
        container.run("mount", "-o", "remount,bind,ro", folder)
    try:
        assert "Read-only" in container.run("touch", "/etc/mine", check=False).stderr
        container.run("systemctl", "start", AGENT, SHIP)
        assert container.show(mount, "ActiveState") == "active"
        send(container, 5000, 20)
        assert "0 failed" in container.run("edgemon", "selftest").stdout
        container.run("systemctl", "stop", AGENT, SHIP)
        assert container.show(AGENT, "Result") == container.show(SHIP, "Result") == "success"
    finally:
        container.run("systemctl", "stop", AGENT, SHIP, mount)
        container.run("umount", "--lazy", *reversed(READ_ONLY))
        container.run("rm", f"/etc/systemd/system/{mount}")
        container.run("systemctl", "daemon-reload")
        container.run("systemctl", "start", AGENT, SHIP)
    container.wait_active(AGENT)


def test_commands_of_root_leave_nothing_that_the_services_cannot_read(
    container: Container,
) -> None:
    container.run("systemctl", "stop", SHIP)
    send(container, 4000, 10)
    container.run("systemctl", "stop", AGENT)
    for words in ("selftest", "spool repair", "ship --once", "remote clear"):
        container.run("edgemon", *words.split())
    theirs = container.run("find", "/var/lib/edgemon", "/run/edgemon", "!", "-user", "edgemon")
    assert theirs.stdout == ""
    container.run("systemctl", "start", AGENT, SHIP)
    container.wait_active(AGENT)


def test_upgrade_and_downgrade_keep_the_spool_then_removal_and_purge(
    container: Container, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    subprocess.run(["dpkg-deb", "-R", str(DEB), str(tree)], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {VERSION}\n", "Version: 99.0\n"))
    newer = container.root / "var/newer.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "-b", str(tree), str(newer)], check=True
    )

    configuration = container.root / "etc/edgemon/edgemon.toml"
    configuration.write_text(configuration.read_text() + "\n# edited here\n")
    # Nobody ships, neither now nor after dpkg: what is stored stays to be counted.
    container.run("systemctl", "disable", "--now", SHIP)
    before = stored_rows(container)
    send(container, 3000, 300)
    for number, (package, version) in enumerate(
        (("/var/newer.deb", "99.0"), (f"/dist/{DEB.name}", VERSION)), 1
    ):
        pid = container.show(AGENT, "MainPID")
        container.run("dpkg", "--force-confold", "-i", package)
        container.wait_active(AGENT)
        assert container.show(AGENT, "MainPID") != pid
        shown = container.run("dpkg-query", "--show", "--showformat=${Version}", "edgemon")
        assert shown.stdout == version
        # The window that was open is stored by the stop; the one before stays stored.
        assert stored_rows(container) - before == 300 * number
        assert container.run("systemctl", "is-active", SHIP, check=False).stdout == "inactive\n"
        send(container, 3000 + 300 * number, 300)
    container.run("systemctl", "stop", AGENT)
    assert stored_rows(container) - before == 900
    assert "# edited here" in configuration.read_text()
    assert container.run("edgemon", "spool", "verify", check=False).returncode == 0

    container.run("dpkg", "--remove", "edgemon")
    assert not (container.root / "usr/lib/edgemon").exists()
    assert (container.root / "var/lib/edgemon/spool").is_dir() and configuration.exists()
    assert container.run("systemctl", "is-active", AGENT, check=False).stdout != "active\n"
    container.run("dpkg", "--purge", "edgemon")
    for gone in ("var/lib/edgemon", "etc/edgemon", "usr/lib/systemd/system/edgemon-agent.service"):
        assert not (container.root / gone).exists(), gone
    assert "edgemon" not in (container.root / "etc/passwd").read_text()
    listed = container.run(
        "systemctl", "list-unit-files", "edgemon*", "--no-legend", check=False
    ).stdout
    assert listed.strip() == ""
