"""What will not arrive and the agent may not know of: it writes the gap record, we cannot.

That is what was quarantined, and what could not be read when its turn came. The numbers are kept in
`<state_dir>/refused` until the agent has taken them, over restarts of both. At most MAX_NOTES wait;
then no further batch is given up or passed over. A crash between the agent's taking and our
forgetting tells it twice, which says nothing new.
"""

from __future__ import annotations

from edgemon import log
from edgemon.errors import EdgemonError
from edgemon.spool.fs import FileSystem, join, write_atomically
from edgemon.std import json
from edgemon.std.collections.abc import Callable
from edgemon.typed import NamedTuple

MAX_NOTES = 256
_MAX_REASON = 200
_MAX_FILE_BYTES = 256 * 1024
_NAME = "refused"


class Note(NamedTuple):
    """Batches that will not arrive. Its fields are those of the agent's command "lost".

    what: one of spool.gaps.REASONS.  reason: in a person's words.
    """

    stream: str
    kind: str
    from_seq: int
    to_seq: int
    rows: int
    what: str
    reason: str


class Refused:
    """tell: gives a note to the agent; raises EdgemonError when it did not take it."""

    def __init__(self, fs: FileSystem, state_dir: str, tell: Callable[[Note], object]) -> None:
        self._fs = fs
        self._state_dir = state_dir
        self._path = join(state_dir, _NAME)
        self._tell = tell
        self._notes = self._load()

    @property
    def waiting(self) -> int:
        """Notes that the agent has not taken."""
        return len(self._notes)

    def note(self, note: Note) -> bool:
        """Durable when it returns True; False when there is no room, or the disk refuses."""
        note = note._replace(reason=note.reason[:_MAX_REASON])
        if any(known[:4] == note[:4] for known in self._notes):
            return True
        return len(self._notes) < MAX_NOTES and self._store([*self._notes, note])

    def hand_over(self) -> None:
        """Give the agent what it will take now."""
        while self._notes:
            try:
                self._tell(self._notes[0])
            except EdgemonError as error:
                log.debug("the agent does not take a gap record now", error=error)
                return
            if not self._store(self._notes[1:]):
                return

    def _store(self, notes: list[Note]) -> bool:
        try:
            self._fs.make_dir(self._state_dir)
            write_atomically(self._fs, self._path, json.dumps(notes).encode())
        except OSError as error:
            log.warning("cannot store which batches are refused", path=self._path, error=error)
            return False
        self._notes = notes
        return True

    def _load(self) -> list[Note]:
        try:
            found = json.loads(self._fs.read(self._path, 0, _MAX_FILE_BYTES))
            return [
                Note(
                    str(stream), str(kind), int(first), int(last), int(rows), str(what), str(reason)
                )
                for stream, kind, first, last, rows, what, reason in found[:MAX_NOTES]
            ]
        except (OSError, ValueError, TypeError):
            return []
