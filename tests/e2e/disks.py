"""Real file systems that can be filled up and cut off, and an agent whose spool lies on one. All need root.

Whatever happens, the mounts and loop devices of a test are gone when its `with` ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgemon import wire
from edgemon.control import request
from edgemon.errors import EdgemonError
from edgemon.spool.fs import OsFileSystem
from edgemon.spool.reader import SpoolReader
from tests.servers import wait_for

# ext4's "the power is gone": nothing more is written, not even the journal's log.
_EXT4_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = struct.pack("I", 2)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount file systems")


def sh(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"


class Disk:
    """One mounted file system. Paths are short enough for sockets."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / "disk"
        self.path.mkdir()

    def mount(self) -> None:
        raise NotImplementedError

    def unmount(self) -> None:
        if os.path.ismount(self.path):
            wait_for(self._unmounted, 20, f"{self.path} is unmounted")

    def used_bytes(self, below: str) -> int:
        """The sizes of all files below a folder of the disk."""
        total = 0
        for folder, _, names in os.walk(self.path / below):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    total += os.stat(os.path.join(folder, name)).st_size
        return total

    def fill(self, leave_bytes: int = 0) -> None:
        """Somebody else takes what is free, and keeps what they had taken before."""
        status = os.statvfs(self.path)
        size = status.f_bavail * status.f_frsize - leave_bytes
        with (self.path / "others").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while size > 0:
                size -= file.write(bytes(min(size, 1 << 20)))

    def empty(self) -> None:
        (self.path / "others").unlink(missing_ok=True)

    def _unmounted(self) -> bool:
        return subprocess.run(["umount", str(self.path)], capture_output=True).returncode == 0


class Tmpfs(Disk):
    def __init__(self, home: Path, size_mb: int) -> None:
        super().__init__(home)
        self._size_mb = size_mb

    def mount(self) -> None:
        sh("mount", "-t", "tmpfs", "-o", f"size={self._size_mb}m", "tmpfs", str(self.path))


class Ext4(Disk):
    """An image in a file, mounted by a loop device that goes with the mount."""

    def __init__(self, home: Path, size_mb: int) -> None:
        super().__init__(home)
        self._image = home / "image"
        with self._image.open("wb") as file:
            file.truncate(size_mb << 20)
        # Tables are written now: a thread that did it later would show in what is measured.
        sh(
            "mkfs.ext4",
            "-q",
            "-F",
            "-E",
            "lazy_itable_init=0,lazy_journal_init=0",
            str(self._image),
        )

    def mount(self) -> None:
        sh("mount", "-o", "loop", str(self._image), str(self.path))

    def unmount(self) -> None:
        """Until nobody has it. A program that made itself a mount namespace meanwhile, such as a build in a root file
        system, keeps a copy of the mount until it ends, and the next mount would find that, cut off as it was."""
        super().unmount()
        wait_for(self._let_go, 120, f"{self._image} is in no other mount namespace any more")

    def _let_go(self) -> bool:
        told = subprocess.run(["losetup", "-j", str(self._image)], capture_output=True, text=True)
        return not told.stdout.strip()

    def cut_the_power(self) -> None:
        """From here on nothing reaches the image. Unmount and mount to see what a reboot would find."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _EXT4_IOC_SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(fd)

    def written_bytes(self) -> int:
        """What reached the device since it was mounted."""
        device = os.stat(self.path).st_dev
        counters = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text()
        return int(counters.split()[6]) * 512


@contextlib.contextmanager
def mounted(kind: str, size_mb: int) -> Iterator[Any]:
    """A Tmpfs ("tmpfs") or an Ext4 ("ext4") disk; skips where this machine cannot mount one."""
    home = Path(tempfile.mkdtemp(prefix="em-", dir="/tmp"))
    disk: Disk | None = None
    # Sees to it when we are killed; the agents die with us, too.
    guardian = subprocess.Popen(
        [
            "sh",
            "-c",
            'read _; umount -l "$0/disk" 2>/dev/null; rm -rf --one-file-system "$0"',
            home,
        ],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        try:
            disk = Tmpfs(home, size_mb) if kind == "tmpfs" else Ext4(home, size_mb)
            disk.mount()
        except (AssertionError, FileNotFoundError) as error:
            pytest.skip(f"needs to mount {kind}: {error}")
        yield disk
    finally:
        try:
            if disk is not None:
                disk.unmount()
        finally:
            guardian.communicate()


_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Agent:
    """`edgemon agent` with its spool on the disk and no sink. prefix: what runs it, such as fiu-run."""

    def __init__(self, disk: Disk, toml: str = "", prefix: tuple[str, ...] = ()) -> None:
        self.folder = disk.home
        self.directory = str(disk.path / "spool")
        if "[spool]" not in toml:
            toml = f'[spool]\ndir = "disk/spool"\n{toml}'
        self._command = [*prefix, sys.executable, "-m", "edgemon", "agent"]
        self.process: subprocess.Popen[bytes] | None = None
        # A table that the test has more to say of comes with its own lines first.
        (self.folder / "edgemon.toml").write_text(
            f"""
            {toml}
            [agent]
            state_dir = "state"
            run_dir = "run"
            [models."*"]
            capture = "all"
            window = "1s"
            [system]
            interval = "1s"
            [ship]
            sink = "none"
            """
        )

    def start(self) -> None:
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stderr=log,
                preexec_fn=_die_with_parent,
            )
        wait_for(self._answers, what="the agent answers")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self.process = None
        return code

    def status(self) -> dict[str, Any]:
        return request(str(self.folder / "run" / "agent.sock"), {"cmd": "status"}, 10.0)

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(60.0)
        client.connect(str(self.folder / "run" / "ingest.sock"))
        return client

    def wait_until_durable(self) -> dict[str, Any]:
        """Ask for an acknowledgement on disk, and return what came."""
        with self.connect() as client:
            client.sendall(b'{"ack":1,"level":"disk"}\n')
            answer: dict[str, Any] = json.loads(client.makefile("rb").readline())
            return answer

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        try:
            self.status()
        except EdgemonError:
            return False
        return True


class Stream:
    """An application that sends numbered predictions at a rate, and notes what is acknowledged as on disk."""

    def __init__(self, agent: Agent, first: int, rate: int = 2_000) -> None:
        self.first = first
        self.acknowledged = first - 1  # all numbers up to here
        self.refused = 0
        self._rate = rate
        self._agent = agent
        self._sent_at: list[float] = []  # monotonic, by number less `first`

    @property
    def next(self) -> int:
        return self.first + len(self._sent_at)

    def run(
        self,
        seconds: float,
        asking_s: float = 1e9,
        enough: Callable[[], bool] = lambda: True,
    ) -> None:
        """Send, and ask for acknowledgements every quarter of a second without waiting for them.

        asking_s: ask no more after so many seconds; an acknowledgement is a sync.  enough: what has to come about, on
        a machine that is slow after more than `seconds`.
        """
        begun = asked = time.monotonic()
        with self._agent.connect() as client:
            answers = b""
            while (now := time.monotonic()) < begun + seconds or not enough():
                assert now < begun + seconds + 60.0, "not within a minute"
                count = int((now - begun) * self._rate) - len(self._sent_at)
                if count > 0:
                    lines = [prediction(self.next + i) for i in range(count)]
                    self._sent_at += [now] * count
                    client.sendall(b"".join(lines))
                if now > asked + 0.25 and now < begun + asking_s:
                    asked = now
                    client.sendall(b'{"ack":%d,"level":"disk"}\n' % (self.next - 1))
                while select.select([client], [], [], 0.0)[0] and (some := client.recv(65536)):
                    answers += some
                *whole, answers = answers.split(b"\n")
                self._note(whole)
                time.sleep(0.01)

    def _note(self, answers: list[bytes]) -> None:
        for answer in map(json.loads, answers):
            if answer["level"] == "disk":
                self.acknowledged = max(self.acknowledged, answer["ack"])
            else:
                self.refused += 1

    def age_s(self, number: int, at: float) -> float:
        """How long before the instant `at` that number was sent."""
        return at - self._sent_at[number - self.first]


def prediction(number: int) -> bytes:
    return b'{"model":"m","id":%d,"output":%d.5,"features":{"a":%d}}\n' % (
        number,
        number % 1000,
        number % 77,
    )


class Reader:
    """What the spool holds of predictions, batch by batch; each number may be there once."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._after = 0
        self.ids: set[int] = set()

    def read(self) -> None:
        """Read what came since the last call."""
        reader = SpoolReader(OsFileSystem(), self._directory)
        while (record := reader.next("pred", self._after)) is not None:
            self._after = record.seq
            found = [
                int(str(row["id"])) for row in wire.rows_from_columns(wire.decode(record.frame))
            ]
            assert len(set(found)) == len(found) and self.ids.isdisjoint(found), "stored twice"
            self.ids.update(found)


def rows(directory: str, kind: str) -> list[dict[str, Any]]:
    """All durable rows of a kind."""
    reader = SpoolReader(OsFileSystem(), directory)
    found: list[dict[str, Any]] = []
    after = 0
    while (record := reader.next(kind, after)) is not None:
        after = record.seq
        found += [dict(row) for row in wire.rows_from_columns(wire.decode(record.frame))]
    return found
