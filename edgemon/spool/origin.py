"""Whose spool this is: a copy must never use the numbers that the original goes on using.

Two things are remembered. `<dir>/origin` names the machine that wrote here: one line of text, three words,
each a hex number or "-":

    <hash of the machine id> <hash of the board's serial number> <suffix>

A cloned card, or a card that was put into another board, differs in one of the first two. The suffix is set
from then on; what must be unique among machines (an MQTT client id) is made so with it.

The witness is a file outside the directory. It knows the id of the numbering and the highest numbers that
were ever told to anyone, so that a directory which was restored from a backup is noticed. A machine
whose whole disk was rolled back cannot notice it. The witness is not synced: it may lag behind a power cut,
and then notices less; it is never ahead of what is durable. The payload of slots.py, little-endian: the
stream id, and for each kind in the order of records.KINDS one u64.
"""

from __future__ import annotations

import struct
from _blake2 import blake2b

from edgemon.records import KINDS
from edgemon.spool import layout, slots
from edgemon.spool.fs import FileSystem, join, write_atomically
from edgemon.std.collections.abc import Sequence
from edgemon.typed import NamedTuple

_MACHINE_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_SERIAL_FILES = (
    "/sys/firmware/devicetree/base/serial-number",
    "/sys/class/dmi/id/product_uuid",
    "/sys/class/dmi/id/board_serial",
)
# What boards say that were never given a number.
_NO_NUMBER = frozenset(
    (
        b"", b"0", b"0123456789", b"uninitialized", b"none", b"default string", b"not specified",
        b"not applicable", b"to be filled by o.e.m.", b"system serial number",
    )
)  # fmt: skip
_SLOT_BYTES = 512
_WITNESS = struct.Struct(f"<16s{len(KINDS)}Q")


class Machine(NamedTuple):
    """Hashes, 16 hex digits each, "" where nothing is known (a container; DMI, which only root reads)."""

    machine_id: str
    serial: str

    def is_another(self, other: Machine) -> bool:
        """Whether what is known of both differs."""
        return any(
            ours and theirs and ours != theirs for ours, theirs in zip(self, other, strict=True)
        )


class Origin(NamedTuple):
    """The file's contents. suffix: "" unless the spool was found on another machine."""

    machine: Machine
    suffix: str


def this_machine() -> Machine:
    """The machine that this process runs on."""
    return Machine(_hash_of(_MACHINE_FILES), _hash_of(_SERIAL_FILES))


def _hash_of(paths: Sequence[str]) -> str:
    for path in paths:
        try:
            with open(path, "rb") as file:
                told = file.read(256).strip(b"\0\n\r\t ")
        except OSError:
            continue
        if told.lower() not in _NO_NUMBER:
            return blake2b(told, digest_size=8, person=b"edgemon").hexdigest()
    return ""


def read_origin(fs: FileSystem, directory: str) -> Origin | None:
    """What is remembered, None when nothing is. For any process. Never raises OSError."""
    try:
        words = fs.read(join(directory, layout.ORIGIN), 0, 256).decode("ascii").split()
        for word in words:
            int(word.replace("-", "0"), 16)
    except (OSError, ValueError):
        return None
    if len(words) != 3:
        return None
    machine_id, serial, suffix = ("" if word == "-" else word for word in words)
    return Origin(Machine(machine_id, serial), suffix)


def write_origin(fs: FileSystem, directory: str, origin: Origin) -> None:
    """Remember, durably. Raises OSError."""
    text = " ".join(word or "-" for word in (*origin.machine, origin.suffix))
    write_atomically(fs, join(directory, layout.ORIGIN), text.encode() + b"\n")


def client_suffix(fs: FileSystem, directory: str) -> str:
    """What keeps the names of this machine apart from those of the one that its spool was copied from.

    "" on a machine whose spool began there; else 6 hex digits.
    """
    origin = read_origin(fs, directory)
    return "" if origin is None else origin.suffix


class Witness:
    """The memory outside the directory. path: "" for none."""

    __slots__ = ("_slots", "stream", "told")

    def __init__(self, fs: FileSystem, path: str) -> None:
        self._slots = slots.SlotFile(fs, path, _SLOT_BYTES) if path else None
        self.stream = b""  # as loaded; b"" when nothing is known
        self.told = dict.fromkeys(KINDS, 0)

    def load(self) -> None:
        """Read it; once, before the first store."""
        payload = self._slots.load() if self._slots is not None else None
        if payload is not None and len(payload) == _WITNESS.size:
            self.stream, *told = _WITNESS.unpack(payload)
            self.told = dict(zip(KINDS, told, strict=True))

    def contradicts(self, stream: bytes, tops: dict[str, int]) -> bool:
        """Whether numbers were told that a spool with these highest numbers does not know of."""
        if not self.stream:
            return False
        return self.stream != stream or any(self.told[kind] > tops[kind] for kind in KINDS)

    def store(self, stream: bytes, told: dict[str, int]) -> None:
        """Remember what readers may see from now on. Raises OSError."""
        if self._slots is not None:
            payload = _WITNESS.pack(stream, *(told[kind] for kind in KINDS))
            self._slots.store(payload, sync=False)

    def close(self) -> None:
        if self._slots is not None:
            self._slots.close()
