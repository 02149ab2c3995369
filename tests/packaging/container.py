"""A Debian with systemd in a container of its own (systemd-nspawn): the .deb is installed there as on a device.

The root file system is made once, in build/amd64/system; each container writes to a copy of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.servers import wait_for

ROOT = Path(__file__).parent.parent.parent
SYSTEM = ROOT / "build/amd64/system"
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
            ["mmdebstrap", "--quiet", "--variant=minbase", "--include=systemd,systemd-sysv,dbus,passwd,procps",
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

    def run(
        self, *words: str, check: bool = True, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        inside = ["nsenter", "-t", str(self.leader), "-m", "-p", "-u", "-i", "-n", "--"]
        done = subprocess.run(
            [*inside, *words], input=text, capture_output=True, text=True, timeout=120, check=False
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

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
