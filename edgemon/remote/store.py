"""What a device remembers of desired configurations, changed as a whole or not at all.

Each method writes the one file once, atomically and durably, before it returns; what is to happen
because of it happens afterwards. A crash therefore finds the device before a step or behind it:

    none, applied, … ──begin──▶ trial ──confirm──▶ applied
                                  │
                                  └──give_up──▶ rolled_back       the text before it is in force again

`revision` never falls, whatever happens. A text on trial counts the starts of the agent.
"""

from __future__ import annotations

from edgemon.config import remembered as memory
from edgemon.config.remembered import Remembered
from edgemon.errors import DamagedError, StorageError
from edgemon.remote.message import RefusedError, Signed
from edgemon.spool.fs import FileSystem, join, write_atomically

MAX_STARTS = 3  # of an agent with a text on trial; at the next one it is given up
_MAX_REASON = 500


class Store:
    """One writer at a time: the agent, or a command while no agent runs. Raises StorageError, DamagedError."""

    def __init__(self, fs: FileSystem, state_dir: str) -> None:
        self._fs = fs
        self._state_dir = state_dir
        self.path = join(state_dir, memory.FILE)

    def load(self) -> Remembered:
        """What is remembered; nothing where there is no file."""
        try:
            data = self._fs.read(self.path, 0, memory.MAX_FILE_BYTES)
        except FileNotFoundError:
            return Remembered()
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror or error}") from error
        return memory.decode(data, self.path)

    def is_new(self, signed: Signed) -> bool:
        """Whether this message is to be tried; False for the one that was tried last. RefusedError for others."""
        now, revision = self.load(), signed.overlay.revision
        if revision > now.revision:
            return True
        if revision < now.revision:
            raise RefusedError("old", f"revision {revision} is old, {now.revision} has been here")
        if signed.digest != now.digest:
            raise RefusedError("old", f"revision {revision} has been here with other contents")
        return False

    def begin(self, signed: Signed, *, online: bool) -> None:
        """On trial from now on, at every start too. online: shipping is judged too."""
        self._write(
            self.load()._replace(
                revision=signed.overlay.revision,
                digest=signed.digest,
                status="trial",
                reason="",
                trial=signed.overlay,
                starts=0,
                online=online,
            )
        )

    def count_start(self) -> bool:
        """The agent begins to start; False when it did so too often with what is on trial."""
        now = self.load()
        if now.trial is None:
            return True
        self._write(now._replace(starts=now.starts + 1))
        return now.starts < MAX_STARTS

    def confirm(self) -> None:
        """The trial is over, and well."""
        now = self.load()
        self._write(now._replace(status="applied", reason="", kept=now.trial, trial=None, starts=0))

    def give_up(self, reason: str) -> None:
        """The trial is over, and not well: what was confirmed before it is in force again."""
        self._write(self._ended("rolled_back", reason))

    def drop(self, reason: str) -> None:
        """What is in force cannot be any more: the local file counts alone."""
        self._write(self._ended("dropped", reason)._replace(kept=None))

    def clear(self, revision: int = 0) -> Remembered:
        """A person wants the local file alone. Of a damaged file nothing is left.

        revision: what is to count as the highest that was here, where that is more than what is known.
        """
        try:
            now = self.load()
        except DamagedError:
            now = Remembered()
        if revision > now.revision:
            now = now._replace(revision=revision, digest="")
        cleared = now._replace(
            status="cleared", reason="by a person at the device", kept=None, trial=None, starts=0
        )
        self._write(cleared)
        return cleared

    def mark_told(self) -> None:
        """The event that says how it ended is on its way."""
        self._write(self.load()._replace(told=True))

    def _ended(self, status: str, reason: str) -> Remembered:
        now = self.load()
        reason = reason[:_MAX_REASON]
        return now._replace(status=status, reason=reason, trial=None, starts=0, told=False)

    def _write(self, remembered: Remembered) -> None:
        try:
            self._fs.make_dir(self._state_dir)
            write_atomically(self._fs, self.path, memory.encode(remembered))
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror or error}") from error
