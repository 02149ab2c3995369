"""The port that every store fills, and the values that cross it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from edgemon.errors import EdgemonError, StorageError, UsageError
from edgemon.receive.presence import DeviceState
from edgemon.receive.rows import TableRows
from edgemon.records import Batch
from edgemon.spool.fs import FileSystem

STORE_FORMS = "jsonl, jsonl:FILE, csv:FOLDER, parquet:FOLDER or sqlite:FILE"


class Incoming(NamedTuple):
    """A decoded batch on its way into a store.

    skipped: columns of an encoding that this version cannot read.  frame_bytes: size on the wire.
    received_ns: the receiver's wall clock.
    """

    batch: Batch
    tables: list[TableRows]
    skipped: list[str]
    frame_bytes: int
    received_ns: int


class Stored(NamedTuple):
    """What a write did.

    fresh: one flag a batch, False where the store had it already.  rows: by table.
    """

    fresh: list[bool]
    rows: dict[str, int]


class RefusedError(EdgemonError):
    """The store cannot take the batch at `index`, now or ever; nothing of the group was stored."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


class Store(Protocol):
    """Where rows end. A conformance suite (tests/receive/test_stores.py) holds for each."""

    def write(self, batches: Sequence[Incoming], states: Sequence[DeviceState]) -> Stored:
        """Store all of it or nothing; it is durable when this returns.

        Raises StorageError when the store cannot take anything now (full, locked, failing): try
        again later.
        Raises RefusedError when one batch is impossible: leave that one out.
        """

    def close(self) -> None:
        """Release what is open; everything written is stored already."""


def split_target(target: str) -> tuple[str, str]:
    """`--to` -> (form, path); path is "" for standard output. Raises UsageError."""
    form, _, path = target.partition(":")
    if (
        form not in ("jsonl", "csv", "parquet", "sqlite")
        or (form != "jsonl" and not path)
        or target == "jsonl:"
    ):
        raise UsageError(f"--to {target!r}: it takes {STORE_FORMS}")
    return form, path


def made_folder(fs: FileSystem, path: str) -> str:
    """The whole path of a folder, which is made when it is not there. StorageError when it cannot be."""
    folder = os.path.abspath(path)
    try:
        fs.make_dir(folder)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from None
    return folder
