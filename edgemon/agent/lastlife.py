"""How the life of the agent before this one ended: by a stop, or without one."""

from __future__ import annotations

from edgemon import log
from edgemon.records import Event
from edgemon.spool.fs import FileSystem, join, write_atomically

MARK = "running"


class LastLife:
    """Keeps a file in the state folder from the start to an orderly stop. boot: id of this boot of the device.

    Nothing raises: a disk that does not take the mark is the spool's to complain of.
    """

    def __init__(self, fs: FileSystem, state_dir: str, boot: bytes) -> None:
        self._fs = fs
        self._path = join(state_dir, MARK)
        self._boot = boot.hex().encode()
        self._begun = False

    def begin(self) -> Event | None:
        """Set the mark. An event where one stood there: what was in memory then is lost."""
        before = None
        try:
            before = self._fs.read(self._path, 0, 64)
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning(f"{self._path}: {error.strerror or error}")
        self._begun = True
        if before != self._boot:
            try:
                write_atomically(self._fs, self._path, self._boot)
            except OSError as error:
                log.warning(f"{self._path}: {error.strerror or error}")
        if before is None:
            return None
        if before == self._boot:
            why, message = "process", "the agent ended without a stop: it was killed or it crashed"
        else:
            why, message = "device", "the device ended without a stop: the power went or it crashed"
        return Event("agent.died", "warning", message, data={"what": why})

    def end(self) -> None:
        """Take the mark away; without `begin` it is another agent's."""
        if not self._begun:
            return
        try:
            self._fs.unlink(self._path)
        except OSError as error:
            log.warning(f"{self._path}: {error.strerror or error}")
