"""Notifications that rules have asked for and that have not left yet: a folder with a small file each.

The agent puts them there, the shipper takes them away once the other side has them: so each arrives at least once, over
restarts and power cuts of both. At most MAX_WAITING wait; one more, and the oldest goes and is counted.
A name is <nanoseconds since 1970>-<random>.<kind>.<action>; what is in it is the body that is sent.
"""

from __future__ import annotations

import os
import re
import time

from edgemon.spool.fs import FileSystem, join, write_atomically
from edgemon.std.contextlib import suppress
from edgemon.typed import NamedTuple

MAX_WAITING = 256
MAX_BYTES = 32 * 1024
_FOLDER = "notices"
_NAME = re.compile(r"[0-9]{20}-([0-9a-f]{16})\.(webhook|email)\.([A-Za-z0-9_-]{1,64})", re.ASCII)


class Waiting(NamedTuple):
    """One that waits. name: of its file.  key: 16 hex digits, the same at each attempt.  kind: "webhook" | "email"."""

    name: str
    key: str
    kind: str
    action: str


class Notices:
    """The folder, for either side. All raise OSError as the system gives it."""

    def __init__(self, fs: FileSystem, state_dir: str) -> None:
        self._fs = fs
        self._folder = join(state_dir, _FOLDER)

    def put(self, kind: str, action: str, key: str, body: bytes) -> int:
        """Durable when it returns: how many of the oldest had to go for it. key: 16 hex digits."""
        fs = self._fs
        fs.make_dir(self._folder)
        old = self.waiting()[: -(MAX_WAITING - 1)]
        for one in old:
            self.done(one)
        self._sweep()
        name = f"{time.time_ns():020d}-{key}.{kind}.{action}"
        write_atomically(fs, join(self._folder, name), body)
        return len(old)

    def _sweep(self) -> None:
        """Each has a name of its own, so that no later write takes the place of one that was broken off."""
        for name in self._fs.listdir(self._folder):
            if name.endswith(".tmp") and _NAME.fullmatch(name.removesuffix(".tmp")):
                self._fs.unlink(join(self._folder, name))

    def waiting(self) -> list[Waiting]:
        """The oldest first. What an interrupted write left behind is not among them."""
        try:
            names = self._fs.listdir(self._folder)
        except FileNotFoundError:
            return []
        return [
            Waiting(name, *match.groups()) for name in names if (match := _NAME.fullmatch(name))
        ]

    def path(self, one: Waiting) -> str:
        """Where its body is."""
        return join(self._folder, one.name)

    def done(self, one: Waiting) -> None:
        """It has left, or nobody will ever take it."""
        with suppress(FileNotFoundError):
            self._fs.unlink(self.path(one))


def new_key() -> str:
    """For one notification."""
    return os.urandom(8).hex()
