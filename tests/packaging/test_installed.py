"""install.sh under a real systemd, given the single file and the .deb: from nothing to a running status and back."""

from __future__ import annotations

import fcntl
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgemon.version import VERSION
from tests.packaging.container import AGENT, CONFIG, DEB, ROOT, SHIP, Container, booted
from tests.packaging.test_looking import GET
from tests.servers import wait_for

FILE = f"edgemon-{VERSION}-linux-amd64"
PLUGIN = """#!/bin/sh
while read -r line; do
    case $line in
    '{"op":"start",'*) echo '{"hello":1}' ;;
    *) echo '{"values":{"answer":42}}' ;;
    esac
done
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DEB.exists(), reason=f"needs {DEB.name}: make binary"),
]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """Without edgemon; /kit has install.sh and the units."""
    with booted(tmp_path_factory.mktemp("container")) as made:
        shutil.copytree(ROOT / "systemd", made.root / "kit/systemd")
        shutil.copy(ROOT / "packaging/install.sh", made.root / "kit")
        yield made


def install(container: Container, file: str) -> None:
    said = container.run("sh", "/kit/install.sh", f"/dist/{file}").stdout
    assert "checks done: 0 failed" in said  # of the self-test
    assert "  agent    alive" in said and "  shipper  file:" in said  # of the status
    for unit in (AGENT, SHIP):
        container.wait_active(unit)
        assert container.show(unit, "UnitFileState") == "enabled"
    stat = container.run("stat", "-c", "%U %G %a", "/var/lib/edgemon", "/run/edgemon").stdout
    assert stat == "edgemon edgemon 750\nedgemon edgemon 755\n"


def purge(container: Container) -> None:
    container.run("sh", "/kit/install.sh", "--uninstall", "--purge")
    for gone in ("var/lib/edgemon", "etc/edgemon", "usr/local/bin/edgemon", "usr/lib/edgemon"):
        assert not (container.root / gone).exists(), gone
    assert "edgemon" not in (container.root / "etc/passwd").read_text()
    units = container.run("systemctl", "list-unit-files", "edgemon*", "--no-legend", check=False)
    assert units.stdout == ""


def states(container: Container, *units: str) -> dict[str, tuple[str, str]]:
    """Of each unit whether it is enabled, and whether it runs."""
    return {
        unit: (container.show(unit, "UnitFileState"), container.show(unit, "ActiveState"))
        for unit in units
    }


def unpacked(container: Container) -> list[Path]:
    return list(container.root.glob("var/lib/edgemon/unpacked-edgemon-agent/_MEI*"))


def worker(container: Container) -> str:
    """The process that the unpacking one waits for."""
    main = container.show(AGENT, "MainPID")
    return container.run("cat", f"/proc/{main}/task/{main}/children").stdout.strip()


def test_the_single_file_as_units(bare: Container) -> None:
    install(bare, FILE)
    assert len(unpacked(bare)) == 1

    # A watchdog that bites, a plugin and a command of a rule: all from the file that unpacks itself.
    bare.write("/usr/local/bin/collects", PLUGIN, 0o755)
    bare.write("/usr/local/bin/note", "#!/bin/sh\necho fired >/var/lib/edgemon/noted\n", 0o755)
    bare.drop_in(AGENT, "[Service]\nWatchdogSec=4\n")
    bare.configure("""
[system]
interval = "1s"
[ship]
sink = "none"
[plugins.deep]
command = ["/usr/local/bin/collects"]
[[rules]]
when = "metric.queue > 3"
do = ["exec:note"]
[actions.note]
command = ["/usr/local/bin/note"]
""")
    bare.wait_active(AGENT)
    wait_for(
        lambda: bare.status().get("agent", {}).get("system", {}).get("deep_answer") == 42,
        60, "the plugin's value",
    )  # fmt: skip
    bare.send({"metric": "queue", "value": 9})
    wait_for((bare.root / "var/lib/edgemon/noted").exists, 60, "the command ran")

    before = bare.show(AGENT, "MainPID")
    bare.run("kill", "-STOP", worker(bare))
    wait_for(lambda: bare.show(AGENT, "MainPID") not in ("0", before), 60, "a new agent")
    bare.wait_active(AGENT)
    assert bare.show(AGENT, "NRestarts") == "1"
    assert len(unpacked(bare)) == 1  # what the killed one had unpacked is gone

    sockets = ("edgemon-agent.socket", "edgemon-metrics.socket")
    bare.run("systemctl", "stop", AGENT)
    bare.run("systemctl", "start", *sockets, AGENT)
    bare.wait_active(AGENT)
    assert "200 OK" in bare.run("bash", "-c", GET).stdout
    bare.run("systemctl", "stop", *sockets, AGENT)
    bare.run("systemctl", "start", AGENT)

    bare.send(*({"model": "m", "output": number} for number in range(100)))
    bare.run("systemctl", "stop", AGENT)
    assert bare.show(AGENT, "Result") == "success" and unpacked(bare) == []
    rows = bare.run("edgemon", "spool", "cat", "--kind", "agg", "--config", CONFIG).stdout
    assert '"n":100' in rows.replace(" ", "")
    purge(bare)


@pytest.mark.parametrize("file", [FILE, DEB.name], ids=["file", "deb"])
def test_taken_away_and_put_back_it_is_as_it_was(bare: Container, file: str) -> None:
    install(bare, file)
    bare.drop_in(SHIP, "[Service]\nNice=5\n")
    bare.run("sh", "/kit/install.sh", "--uninstall")
    assert bare.run("systemctl", "is-active", AGENT, SHIP, check=False).stdout == "inactive\n" * 2
    assert (bare.root / "var/lib/edgemon/spool").is_dir() and (bare.root / CONFIG[1:]).exists()
    install(bare, file)
    assert bare.show(SHIP, "Nice") == "5"
    purge(bare)


def test_what_was_disabled_stays_so_when_the_package_comes_back(bare: Container) -> None:
    install(bare, DEB.name)
    bare.run("systemctl", "disable", "--now", SHIP)
    bare.run("dpkg", "--remove", "edgemon")
    bare.run("dpkg", "--install", f"/dist/{DEB.name}")
    bare.wait_active(AGENT)
    assert bare.show(SHIP, "UnitFileState") == "disabled"
    assert bare.run("systemctl", "is-active", SHIP, check=False).stdout == "inactive\n"
    purge(bare)


@pytest.mark.parametrize("file", [FILE, DEB.name], ids=["file", "deb"])
def test_an_upgrade_keeps_what_is_disabled_and_what_runs(bare: Container, file: str) -> None:
    """Bursts in place of the shipper, a socket that was started by hand: as before, and then the agent disabled too."""
    timer, socket = "edgemon-burst.timer", "edgemon-agent.socket"
    install(bare, file)
    bare.run("systemctl", "disable", "--now", SHIP)
    bare.run("systemctl", "enable", "--now", timer)
    bare.run("systemctl", "stop", AGENT)
    bare.run("systemctl", "start", socket, AGENT)
    before = states(bare, AGENT, SHIP, timer, socket)
    assert before == {
        AGENT: ("enabled", "active"), SHIP: ("disabled", "inactive"),
        timer: ("enabled", "active"), socket: ("disabled", "active"),
    }  # fmt: skip
    pid = bare.show(AGENT, "MainPID")
    said = bare.run("sh", "/kit/install.sh", f"/dist/{file}").stdout
    assert "checks done: 0 failed" in said and "  agent    alive" in said
    assert states(bare, AGENT, SHIP, timer, socket) == before
    assert bare.show(AGENT, "MainPID") != pid

    bare.run("systemctl", "stop", socket)
    bare.run("systemctl", "disable", "--now", AGENT)
    bare.run("sh", "/kit/install.sh", f"/dist/{file}")
    assert states(bare, AGENT, SHIP) == dict.fromkeys((AGENT, SHIP), ("disabled", "inactive"))
    purge(bare)


@pytest.mark.parametrize(
    ("first", "then", "program"),
    [(FILE, DEB.name, "/usr/bin/edgemon"), (DEB.name, FILE, "/usr/local/bin/edgemon")],
    ids=["deb after file", "file after deb"],
)
def test_the_other_form_takes_the_place_of_the_first(
    bare: Container, first: str, then: str, program: str
) -> None:
    """With bursts in place of the shipper, which stays so, and what was collected."""
    install(bare, first)
    bare.run("systemctl", "disable", "--now", SHIP)
    bare.run("systemctl", "enable", "--now", "edgemon-burst.timer")
    before = states(bare, AGENT, SHIP, "edgemon-burst.timer", "edgemon-agent.socket")
    bare.send({"model": "m", "output": 1})
    said = bare.run("sh", "/kit/install.sh", f"/dist/{then}").stdout
    assert "checks done: 0 failed" in said and "  agent    alive" in said
    assert states(bare, AGENT, SHIP, "edgemon-burst.timer", "edgemon-agent.socket") == before
    assert f"path={program} " in bare.show(AGENT, "ExecStart")
    assert bare.run("sh", "-c", "command -v edgemon").stdout == f"{program}\n"
    links = list((bare.root / "etc/systemd/system").glob("*.wants/edgemon-*"))
    assert {(link.name, str(link.readlink())) for link in links} == {
        (unit, bare.show(unit, "FragmentPath")) for unit in (AGENT, "edgemon-burst.timer")
    }
    rows = bare.run("edgemon", "spool", "cat", "--kind", "agg", "--config", CONFIG).stdout
    assert '"model":"m"' in rows.replace(" ", "")
    purge(bare)


@pytest.mark.parametrize("file", [FILE, DEB.name], ids=["file", "deb"])
def test_nothing_starts_before_it_shall(bare: Container, file: str) -> None:
    """With --no-start never; else not before a self-test that passes."""
    said = bare.run("sh", "/kit/install.sh", "--no-start", f"/dist/{file}").stdout
    assert "checks done: 0 failed" in said and "alive" not in said
    assert states(bare, AGENT, SHIP) == dict.fromkeys((AGENT, SHIP), ("enabled", "inactive"))

    good = (bare.root / CONFIG[1:]).read_text()
    bare.run("sh", "/kit/install.sh", "--uninstall")
    bare.write(CONFIG, "[agent]\nunknown = 1\n")
    done = bare.run("sh", "/kit/install.sh", f"/dist/{file}", check=False)
    assert done.returncode == 1 and "nothing was started" in done.stderr
    assert states(bare, AGENT, SHIP) == dict.fromkeys((AGENT, SHIP), ("enabled", "inactive"))
    bare.write(CONFIG, good)
    install(bare, file)
    purge(bare)


@pytest.mark.parametrize("file", [FILE, DEB.name], ids=["file", "deb"])
def test_an_upgrade_that_fails_its_self_test_changes_nothing(bare: Container, file: str) -> None:
    """The old one runs on: the same process, the same files, and nothing of the new one is left."""
    install(bare, file)
    good = (bare.root / CONFIG[1:]).read_text()
    before = bare.show(AGENT, "MainPID"), bare.show(SHIP, "MainPID"), programs(bare)
    bare.write(CONFIG, "[agent]\nunknown = 1\n")
    done = bare.run("sh", "/kit/install.sh", f"/dist/{file}", check=False)
    assert done.returncode == 1 and "agent.unknown" in done.stdout
    assert done.stderr == (
        f"install.sh: the self-test of /dist/{file} failed, see above: nothing was changed, what was installed "
        "stays as it is\n"
    )
    assert (bare.show(AGENT, "MainPID"), bare.show(SHIP, "MainPID"), programs(bare)) == before
    bare.write(CONFIG, good)
    assert bare.status()["agent"]["pid"] > 0
    install(bare, file)
    purge(bare)


def test_a_unit_that_does_not_start_is_told(bare: Container) -> None:
    """After a self-test that passed; the other one runs."""
    install(bare, DEB.name)
    bare.write(
        f"/etc/systemd/system/{SHIP}.d/override.conf", "[Service]\nExecStartPre=/bin/false\n"
    )
    bare.run("systemctl", "daemon-reload")
    done = bare.run("sh", "/kit/install.sh", f"/dist/{DEB.name}", check=False)
    assert done.returncode == 1 and "not all of it started: journalctl" in done.stderr
    bare.wait_active(AGENT)
    purge(bare)


def programs(container: Container) -> set[tuple[str, int, int]]:
    """Path, inode and time of change of each file where programs are put."""
    return {
        (str(path), path.lstat().st_ino, path.lstat().st_mtime_ns)
        for folder in ("usr/local/bin", "usr/lib/edgemon", "etc/systemd/system")
        for path in (container.root / folder).rglob("*")
    } | {(path.name, 0, 0) for path in (container.root / "usr/lib").iterdir()}


def test_a_single_file_that_cannot_start_is_refused_before_anything_changes(
    bare: Container,
) -> None:
    """Half of one; without room to unpack itself, or the right to run there; without the one library that it wants of
    the system."""
    before = programs(bare)
    half = (ROOT / "dist" / FILE).read_bytes()[:5_000_000]
    (bare.root / "half").write_bytes(half)
    done = bare.run("sh", "/kit/install.sh", "/half", check=False)
    assert done.returncode == 1 and "/half is damaged, or not whole" in done.stderr
    (bare.root / "half").unlink()
    bare.run("mkdir", "-p", "/small")
    bare.run("mount", "-t", "tmpfs", "-o", "size=1m", "small", "/small")
    done = bare.run("env", "TMPDIR=/small", "sh", "/kit/install.sh", f"/dist/{FILE}", check=False)
    bare.run("umount", "/small")
    assert done.returncode == 1 and "(/small), which needs 25 MB" in done.stderr
    bare.run("mount", "-t", "tmpfs", "-o", "noexec", "small", "/small")
    done = bare.run("env", "TMPDIR=/small", "sh", "/kit/install.sh", f"/dist/{FILE}", check=False)
    bare.run("umount", "/small")
    assert done.returncode == 1 and "must not be mounted noexec" in done.stderr
    assert programs(bare) == before

    (library,) = (bare.root / "usr/lib/x86_64-linux-gnu").glob("libz.so.1")
    library.rename(library.with_suffix(".away"))
    done = bare.run("sh", "/kit/install.sh", f"/dist/{FILE}", check=False)
    library.with_suffix(".away").rename(library)
    assert done.returncode == 1
    assert done.stderr == (
        f"install.sh: /dist/{FILE} needs the library libz.so.1 (package zlib1g or zlib), which is not here: "
        "nothing was installed\n"
    )
    assert programs(bare) == before
    assert "edgemon" not in (bare.root / "etc/passwd").read_text()


def started(container: Container, file: str) -> subprocess.Popen[str]:
    """install.sh, at work."""
    return subprocess.Popen(
        container.words("sh", "/kit/install.sh", f"/dist/{file}"),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        # As in a shell's foreground, also where the tests run in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def script(container: Container) -> str:
    """The process of install.sh, as the container sees it; the oldest, since it starts subshells."""
    return container.run("pgrep", "-o", "-f", "^sh /kit/install.sh", check=False).stdout.strip()


@pytest.mark.parametrize("file", [FILE, DEB.name], ids=["file", "deb"])
@pytest.mark.parametrize("by", ["INT", "HUP"])
def test_an_upgrade_that_is_broken_off_while_it_tries_changes_nothing(
    bare: Container, file: str, by: str
) -> None:
    install(bare, file)
    before = bare.show(AGENT, "MainPID"), bare.show(SHIP, "MainPID"), programs(bare)
    running = started(bare, file)
    tried = [bare.root / "usr/local/bin/.edgemon.new", bare.root / "usr/lib/.edgemon.new"]
    wait_for(lambda: any(path.exists() for path in tried), 60, "a copy to try")
    bare.run("kill", f"-{by}", script(bare))
    running.communicate(timeout=60)
    assert running.returncode == 128 + getattr(signal, f"SIG{by}")
    assert (bare.show(AGENT, "MainPID"), bare.show(SHIP, "MainPID"), programs(bare)) == before
    purge(bare)


@pytest.mark.parametrize("file", [FILE, DEB.name], ids=["file", "deb"])
def test_what_was_begun_is_not_broken_off(bare: Container, file: str) -> None:
    """Ctrl-C and the end of an SSH connection, while the units are stopped."""
    install(bare, file)
    bare.write("/go", "")
    bare.drop_in(
        SHIP, "[Service]\nExecStopPost=/bin/sh -c 'while [ ! -e /go ]; do sleep 0.1; done'\n"
    )
    before = bare.show(AGENT, "MainPID")
    (bare.root / "go").unlink()
    running = started(bare, file)
    wait_for(lambda: "deactivating" in bare.show(SHIP, "ActiveState"), 60, "the shipper stops")
    for by in ("INT", "HUP", "PIPE", "TERM"):
        bare.run("kill", f"-{by}", script(bare))
    bare.write("/go", "")
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 0 and "  agent    alive" in said
    assert bare.show(AGENT, "MainPID") not in ("0", before)
    bare.wait_active(SHIP)
    purge(bare)
    (bare.root / "go").unlink()


@contextmanager
def locked(container: Container) -> Iterator[None]:
    """As while apt is at work."""
    with open(container.root / "var/lib/dpkg/lock-frontend", "w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def test_a_package_that_dpkg_refuses_leaves_the_single_file_running(bare: Container) -> None:
    install(bare, FILE)
    before = bare.show(AGENT, "MainPID"), bare.show(SHIP, "MainPID"), programs(bare)
    with locked(bare):
        done = bare.run("sh", "/kit/install.sh", f"/dist/{DEB.name}", check=False)
    assert done.returncode == 1 and "lock" in done.stdout, done
    assert "dpkg could not install" in done.stderr
    assert (bare.show(AGENT, "MainPID"), bare.show(SHIP, "MainPID"), programs(bare)) == before
    purge(bare)


def test_what_ran_runs_again_when_dpkg_fails_half_way(bare: Container) -> None:
    """The units are stopped by then; one that is not enabled ran, too."""
    install(bare, DEB.name)
    bare.run("systemctl", "disable", SHIP)
    bare.write("/etc/dpkg/dpkg.cfg.d/fails", "post-invoke=false\n")
    done = bare.run("sh", "/kit/install.sh", f"/dist/{DEB.name}", check=False)
    (bare.root / "etc/dpkg/dpkg.cfg.d/fails").unlink()
    assert done.returncode == 1 and "what ran runs again" in done.stderr
    assert states(bare, AGENT, SHIP) == {AGENT: ("enabled", "active"), SHIP: ("disabled", "active")}
    purge(bare)


def test_a_package_beside_the_single_file_leaves_it_alone(bare: Container) -> None:
    """By dpkg and apt, which do not know of it: put there, told so, taken away, purged."""
    install(bare, FILE)
    bare.run("systemctl", "disable", "--now", SHIP)
    before = bare.show(AGENT, "MainPID"), states(bare, AGENT, SHIP)
    for _ in range(2):  # the second time it is an upgrade
        said = bare.run("dpkg", "--install", f"/dist/{DEB.name}").stdout
        assert "/usr/local/bin/edgemon, the single file, runs on" in said
        assert (bare.show(AGENT, "MainPID"), states(bare, AGENT, SHIP)) == before
    for word in ("--remove", "--purge"):
        bare.run("dpkg", word, "edgemon")
        assert (bare.show(AGENT, "MainPID"), states(bare, AGENT, SHIP)) == before
    assert (bare.root / "var/lib/edgemon/spool").is_dir()
    purge(bare)


def test_the_single_file_is_stopped_before_it_is_taken_away(bare: Container) -> None:
    """Also where dpkg remembers a package that was there before."""
    install(bare, DEB.name)
    bare.run("dpkg", "--remove", "edgemon")
    install(bare, FILE)
    bare.run("sh", "/kit/install.sh", "--uninstall")
    assert bare.run("systemctl", "is-active", AGENT, SHIP, check=False).stdout == "inactive\n" * 2
    assert bare.run("pgrep", "edgemon", check=False).stdout == ""
    purge(bare)


def test_a_package_comes_back_to_a_device_whose_configuration_was_removed(bare: Container) -> None:
    """dpkg takes that for a decision and leaves it so."""
    install(bare, DEB.name)
    bare.run("dpkg", "--remove", "edgemon")
    (bare.root / CONFIG[1:]).unlink()
    install(bare, DEB.name)
    purge(bare)


def test_the_installed_file_itself_and_any_path_will_do(bare: Container) -> None:
    bare.run(
        "sh",
        "-c",
        f"mkdir '/a b' && cp /dist/{FILE} '/a b/edge mon' && cp /dist/{DEB.name} '/a b/edge mon.deb'",
    )
    for file in ("edge mon", "/usr/local/bin/edgemon", "./edge mon.deb"):
        words = ("sh", "-c", 'cd "/a b" && exec sh /kit/install.sh "$0"', file)
        assert "  agent    alive" in bare.run(*words).stdout
    bare.run("rm", "-r", "/a b")
    purge(bare)


def test_dpkg_alone_starts_it_unless_told_not_to(bare: Container) -> None:
    bare.run("env", "EDGEMON_START=no", "dpkg", "--install", f"/dist/{DEB.name}")
    assert states(bare, AGENT, SHIP) == dict.fromkeys((AGENT, SHIP), ("enabled", "inactive"))
    bare.run("dpkg", "--install", f"/dist/{DEB.name}")
    for unit in (AGENT, SHIP):
        bare.wait_active(unit)
    purge(bare)


@pytest.mark.parametrize("file", [FILE, DEB.name], ids=["file", "deb"])
def test_a_purge_leaves_a_partition_of_its_own_empty(bare: Container, file: str) -> None:
    bare.run("mkdir", "-p", "/var/lib/edgemon")
    bare.run("mount", "-t", "tmpfs", "data", "/var/lib/edgemon")
    install(bare, file)
    assert bare.run("ls", "/var/lib/edgemon").stdout
    bare.run("sh", "/kit/install.sh", "--uninstall", "--purge")
    assert bare.run("ls", "-A", "/var/lib/edgemon").stdout == ""
    assert "edgemon" not in (bare.root / "etc/passwd").read_text()
    bare.run("umount", "/var/lib/edgemon")
    bare.run("rmdir", "/var/lib/edgemon")
