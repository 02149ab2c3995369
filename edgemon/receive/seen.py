"""Which objects of a bucket are stored already: a small SQLite file beside the store.

It saves reading them again. Without it everything is read again, and the store drops what it has;
so it is synced less strictly than the store, and may be deleted. It holds one row an object that is
in the bucket: what a lifecycle rule removed there is forgotten here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from edgemon.errors import StorageError


class Listed(Protocol):
    """What a listing tells of an object.  tag: changes with its content."""

    @property
    def key(self) -> str: ...
    @property
    def tag(self) -> str: ...


T = TypeVar("T", bound=Listed)

_TABLES = """
CREATE TABLE IF NOT EXISTS seen (
    source TEXT NOT NULL, key TEXT NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (source, key)
) WITHOUT ROWID
"""


class Seen:
    """path: made when it is not there; ":memory:" remembers for this run.

    Everything raises StorageError where the disk refuses.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._pending: list[tuple[str, str, str]] = []
        try:
            self._connection = sqlite3.connect(path)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(_TABLES)
            self._connection.execute("CREATE TEMP TABLE here (key TEXT PRIMARY KEY) WITHOUT ROWID")
        except sqlite3.Error as error:
            raise self._trouble(error) from None

    def new(self, source: str, listed: Iterable[T], *, forget: bool) -> Iterator[T]:
        """Those that are not stored yet, in their order.

        forget: `listed` is all there is; what is known beyond it is forgotten once it is through.
        """
        try:
            if forget:
                self._connection.execute("DELETE FROM here")
            for one in listed:
                if forget:
                    self._connection.execute("INSERT OR IGNORE INTO here VALUES (?)", (one.key,))
                row = self._connection.execute(
                    "SELECT tag FROM seen WHERE source = ? AND key = ?", (source, one.key)
                ).fetchone()
                if row is None or row[0] != one.tag:
                    yield one
            if forget:
                self._connection.execute(
                    "DELETE FROM seen WHERE source = ? AND key NOT IN (SELECT key FROM here)",
                    (source,),
                )
                self._connection.execute("DELETE FROM here")
                self._connection.commit()
        except sqlite3.Error as error:
            raise self._trouble(error) from None

    def add(self, source: str, key: str, tag: str) -> None:
        """All of this object was taken; it counts from the next commit() on."""
        self._pending.append((source, key, tag))

    def commit(self) -> None:
        """What was added is stored now: remember it."""
        try:
            with self._connection:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", self._pending
                )
        except sqlite3.Error as error:
            raise self._trouble(error) from None
        self._pending.clear()

    def close(self) -> None:
        """What was added and not committed is forgotten."""
        self._connection.close()

    def _trouble(self, error: sqlite3.Error) -> StorageError:
        return StorageError(f"{self._path}: {error}")
