"""A Debian with systemd in a container of its own (systemd-nspawn): the .deb is installed there as on a device.

The root file system is made once, in build/amd64/system; each container writes to a copy of it. It has a loopback of
its own and no other network; `Container.network` brings a test's servers there.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from edgemon.version import VERSION
from tests.servers import wait_for

ROOT = Path(__file__).parent.parent.parent
SYSTEM = ROOT / "build/amd64/system"
DEB = ROOT / f"dist/edgemon_{VERSION}_amd64.deb"
AGENT, SHIP = "edgemon-agent.service", "edgemon-ship.service"
CONFIG = "/etc/edgemon/edgemon.toml"
NEEDED = ("systemd-nspawn", "mmdebstrap", "nsenter")


def system() -> Path:
    """The root file system, made if it is not there; skips where that cannot be."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root, and {', '.join(NEEDED)} (systemd-container, mmdebstrap)")
    if not (SYSTEM / ".done").exists():
        shutil.rmtree(SYSTEM, ignore_errors=True)
        SYSTEM.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["unshare", "--mount", "--propagation", "private",  # its mounts vanish with it
             "mmdebstrap", "--quiet", "--variant=minbase", "--include=systemd,systemd-sysv,dbus,passwd,procps",
             "--aptopt=Acquire::Languages \"none\"", "--aptopt=Acquire::Check-Valid-Until \"false\"",
             "--dpkgopt=path-exclude=/usr/share/doc/*", "bookworm", str(SYSTEM),
             "/etc/apt/sources.list.d/debian.sources"],
            check=True, timeout=300,
        )  # fmt: skip
        (SYSTEM / ".done").touch()
    return SYSTEM


class Container:
    """A booted system. leader: its process 1, as this machine sees it."""

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self.leader = leader

    def words(self, *words: str) -> list[str]:
        """A command that runs inside."""
        return ["nsenter", "-t", str(self.leader), "-m", "-p", "-u", "-i", "-n", "--", *words]

    def run(
        self, *words: str, check: bool = True, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        done = subprocess.run(
            self.words(*words), input=text, capture_output=True, text=True, timeout=120, check=False
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file of root's."""
        file = self.root / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def configure(self, text: str) -> None:
        """Start both halves anew with this configuration."""
        self.write(CONFIG, text)
        self.run("systemctl", "restart", AGENT, SHIP)

    def drop_in(self, unit: str, text: str) -> None:
        """What `systemctl edit` makes; "" takes it away. The unit starts anew."""
        folder = self.root / f"etc/systemd/system/{unit}.d"
        if text:
            self.write(f"/etc/systemd/system/{unit}.d/override.conf", text)
        else:
            shutil.rmtree(folder)
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "restart", unit)

    def send(self, *events: dict[str, Any]) -> None:
        """As an application, until all are on disk."""
        lines = "".join(json.dumps(event) + "\n" for event in events)
        self.run("edgemon", "send", "-", text=lines)

    def status(self) -> dict[str, Any]:
        """{"agent": …, "ship": …}; {} while the agent does not answer."""
        said = self.run("edgemon", "status", "--json", check=False).stdout
        found: dict[str, Any] = json.loads(said) if said.startswith("{") else {}
        return found

    @contextmanager
    def network(self) -> Iterator[None]:
        """What this thread opens and starts is on the container's loopback."""
        ours = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        theirs = os.open(f"/proc/{self.leader}/ns/net", os.O_RDONLY)
        try:
            _enter(theirs)
            yield
        finally:
            _enter(ours)
            os.close(ours)
            os.close(theirs)

    def show(self, unit: str, property_: str) -> str:
        """A property of a unit."""
        return self.run(
            "systemctl", "show", unit, f"--property={property_}", "--value"
        ).stdout.strip()

    def wait_active(self, unit: str) -> None:
        wait_for(
            lambda: self.run("systemctl", "is-active", unit, check=False).stdout == "active\n",
            60, f"{unit} is active",
        )  # fmt: skip


def _enter(network: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(network, 0x40000000) != 0:  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def booted(folder: Path) -> Iterator[Container]:
    """A container with a file system of its own in `folder`, without a network."""
    root = folder / "system"
    subprocess.run(["cp", "-a", str(system()), str(root)], check=True)
    # The journal of this machine is not to be linked, and nothing registers with a machine manager.
    process = subprocess.Popen(
        ["systemd-nspawn", "--quiet", "--directory", str(root), "--register=no", "--keep-unit", "--boot",
         "--private-network", "--console=read-only", "--link-journal=no", f"--bind-ro={ROOT}/dist:/dist"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:

        def leader() -> int:
            """0 at first: before it there is a child that makes the namespaces and ends."""
            listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            assert process.poll() is None, "systemd-nspawn ended"
            for pid in listed:
                with suppress(OSError):
                    if Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                        return int(pid)
            return 0

        container = Container(root, wait_for(leader, 30, "the container's process 1"))
        wait_for(
            lambda: container.run("systemctl", "is-system-running", check=False).stdout.strip()
            in ("running", "degraded"),
            60, "the container is up",
        )  # fmt: skip
        yield container
        container.run("systemctl", "poweroff", check=False)
        process.wait(60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
