"""What a device remembers of desired configurations that came from afar.

THE FORMAT of `<agent.state_dir>/remote.json`, which the agent replaces as a whole (edgemon/remote/store.py): one JSON
object, a newline, and the crc32c of all before it as 8 hex digits. Keys: those of `Remembered`; `kept` and
`trial` are null or objects with the keys of `Overlay`.
"""

from __future__ import annotations

from edgemon._core.crc32c import crc32c
from edgemon.errors import DamagedError
from edgemon.std import json
from edgemon.typed import Any, NamedTuple

FILE = "remote.json"
MAX_TEXT_BYTES = 32 * 1024
MAX_FILE_BYTES = 8 * MAX_TEXT_BYTES  # two texts, each character of which may be escaped


class Overlay(NamedTuple):
    """One accepted message.  device, fleet: whom it was signed for; on a copied card it is another's."""

    revision: int
    device: str
    fleet: str
    text: str

    @property
    def name(self) -> str:
        """What stands in place of a file's name in faults."""
        return f"desired configuration {self.revision}"


class Remembered(NamedTuple):
    """What survives restarts, power cuts and the copying of a card.

    revision: the highest that was ever tried; it only rises.  digest: SHA-256 of what was signed, 64 hex digits.
    status: what became of it, "none" | "trial" | "applied" | "rolled_back" | "dropped" | "cleared".
    reason: one line, "" for none.  kept: what was confirmed last.  trial: what is not confirmed yet, in force in
    its place.  starts: of the agent, with that trial.  online: the trial is one of shipping too.  told: an event
    has said that it was rolled back or dropped.
    """

    revision: int = 0
    digest: str = ""
    status: str = "none"
    reason: str = ""
    kept: Overlay | None = None
    trial: Overlay | None = None
    starts: int = 0
    online: bool = False
    told: bool = True

    @property
    def in_force(self) -> Overlay | None:
        return self.trial or self.kept


def encode(remembered: Remembered) -> bytes:
    """The file's bytes."""
    named: dict[str, Any] = remembered._asdict()
    for key in ("kept", "trial"):
        if named[key] is not None:
            named[key] = named[key]._asdict()
    body = json.dumps(named, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    return body + b"%08x\n" % crc32c(body)


def decode(data: bytes, path: str = FILE) -> Remembered:
    """Raises DamagedError, which names the path."""
    body, _, check = data.removesuffix(b"\n").rpartition(b"\n")
    body += b"\n"
    try:
        if check != b"%08x" % crc32c(body):
            raise ValueError("its checksum does not fit")
        named = json.loads(body)
        for key in ("kept", "trial"):
            if named[key] is not None:
                named[key] = Overlay(**named[key])
        return Remembered(**named)
    except (ValueError, TypeError, KeyError) as error:
        problem = f"{path} is damaged: {error}; run: edgemon remote clear"
        raise DamagedError(problem) from None


def read(state_dir: str) -> Remembered:
    """What this device remembers; nothing where there is no such file. Raises DamagedError, OSError."""
    path = f"{state_dir}/{FILE}"
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES)
    except FileNotFoundError:
        return Remembered()
    return decode(data, path)
