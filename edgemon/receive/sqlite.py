"""Rows in one SQLite file: exactly once, because the key is UNIQUE and a group is one transaction.

WAL, so that people may query while the receiver writes; synchronous = FULL, because the broker
forgets a batch on our acknowledgement: a commit must survive a power cut.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from importlib.resources import files

from edgemon.errors import StorageError, UnsupportedError, UsageError
from edgemon.receive.anchor import anchor
from edgemon.receive.confirm import Identity, Range
from edgemon.receive.presence import DeviceState
from edgemon.receive.rows import COLUMNS
from edgemon.receive.store import Incoming, RefusedError, Stored

SCHEMA_VERSION = 2
APPLICATION_ID = 0x65_64_6D_6E  # "edmn"
# From schema version -> the statements that lead to the next; a statement ends where a line does.
MIGRATIONS: dict[int, str] = {
    1: """
ALTER TABLE batches ADD COLUMN shifted_ns INTEGER;
CREATE INDEX batches_dated ON batches (device, boot, mono_ns) WHERE clock_error_ms IS NOT NULL;
CREATE INDEX batches_undated ON batches (device, boot) WHERE clock_error_ms IS NULL AND shifted_ns IS NULL;
CREATE TABLE set_aside (
    device      TEXT    NOT NULL,
    stream_id   TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    seq         INTEGER NOT NULL,
    reason      TEXT    NOT NULL,
    received_ns INTEGER NOT NULL,
    PRIMARY KEY (device, stream_id, kind, seq)
) WITHOUT ROWID;
"""
}

_BUSY_TIMEOUT_MS = 5000
# Holds a whole group: pages that spill before the commit are written twice, which halves the speed.
_CACHE_KIB = 32 * 1024
_INSERT_BATCH = (
    "INSERT INTO batches (device, stream_id, kind, seq, fleet, boot, wall_ns, mono_ns,"
    " clock_error_ms, dropped, rows, frame_bytes, received_ns, resource, skipped)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (device, stream_id, kind, seq) DO NOTHING"
)
_SEEN = (
    "INSERT INTO devices (fleet, device, last_seen_ns) VALUES (?, ?, ?)"
    " ON CONFLICT (fleet, device) DO UPDATE"
    " SET last_seen_ns = max(excluded.last_seen_ns, coalesce(last_seen_ns, 0))"
)
# The condition is presence.supersedes.
_STATE = (
    "INSERT INTO devices (fleet, device, online, birth, stream_id, since_ns, last_seen_ns, state)"
    " VALUES (?, ?, ?, ?, nullif(?, ''), ?, ?, ?)"
    " ON CONFLICT (fleet, device) DO UPDATE SET online = excluded.online, birth = excluded.birth,"
    " stream_id = coalesce(excluded.stream_id, stream_id), since_ns = excluded.since_ns,"
    " last_seen_ns = excluded.last_seen_ns, state = excluded.state"
    " WHERE devices.birth IS NULL OR excluded.birth > devices.birth"
    " OR (excluded.birth = devices.birth AND NOT excluded.online)"
    " OR (excluded.online AND excluded.stream_id <> devices.stream_id)"
)
_AFTER = (
    "SELECT seq FROM batches WHERE device = ? AND stream_id = ? AND kind = ? AND seq > ?"
    " ORDER BY seq"
)
_REPORTED = (
    "SELECT kind, from_seq, to_seq FROM reported_gaps WHERE device = ? AND stream_id = ?"
    " AND NOT partial AND kind IS NOT NULL ORDER BY time_ns DESC LIMIT ?"
)
_ASIDE = (
    "SELECT kind, seq, seq FROM set_aside WHERE device = ? AND stream_id = ?"
    " ORDER BY received_ns DESC LIMIT ?"
)


class SqliteStore:
    """path: created when it is not there; its folder must be.

    Raises StorageError when the file cannot be opened, UsageError when it is somebody else's
    database and UnsupportedError when a newer edgemon made it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        folder = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(folder):
            raise UsageError(f"--to sqlite:{path}: there is no folder {folder}")
        try:
            self._connection = sqlite3.connect(path, isolation_level=None)
        except sqlite3.Error as error:
            raise StorageError(f"{path}: {error}") from None
        self._rows_sql = {
            table: f"INSERT INTO {table} (batch, {', '.join(columns)})"
            f" VALUES (?{', ?' * len(columns)})"
            for table, columns in COLUMNS.items()
        }
        try:
            self._connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._migrate()
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        except sqlite3.Error as error:
            self._connection.close()
            raise StorageError(f"{path}: {error}") from None
        except BaseException:
            self._connection.close()
            raise

    def write(self, batches: Sequence[Incoming], states: Sequence[DeviceState]) -> Stored:
        """One transaction. See `Store.write`."""
        index = 0
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            fresh: list[bool] = []
            rows = dict.fromkeys(COLUMNS, 0)
            for index, incoming in enumerate(batches):  # noqa: B007 (read by the handler below)
                fresh.append(self._insert(incoming, rows))
            seen = {(item.batch.fleet, item.batch.device): item.received_ns for item in batches}
            self._connection.executemany(_SEEN, [(*key, ns) for key, ns in seen.items()])
            self._connection.executemany(_STATE, map(_state_row, states))
            self._connection.execute("COMMIT")
        except (sqlite3.OperationalError, sqlite3.InternalError) as error:
            self._rollback()
            raise StorageError(f"{self._path}: {error}") from None
        except (sqlite3.Error, OverflowError, ValueError) as error:
            self._rollback()
            if type(error) is sqlite3.DatabaseError:  # "malformed", "file is not a database"
                raise StorageError(f"{self._path}: {error}") from None
            raise RefusedError(index, f"{type(error).__name__}: {error}") from None
        return Stored(fresh, rows)

    # -- for `edgemon receive --confirm`, see confirm.Confirming

    def stored_after(self, device: str, stream: str, kind: str, seq: int) -> Iterator[int]:
        try:
            for (found,) in self._connection.execute(_AFTER, (device, stream, kind, seq)):
                yield found
        except sqlite3.Error as error:
            raise StorageError(f"{self._path}: {error}") from None

    def never_comes(self, device: str, stream: str, limit: int) -> list[Range]:
        try:
            reported = self._connection.execute(_REPORTED, (device, stream, limit)).fetchall()
            aside = self._connection.execute(_ASIDE, (device, stream, limit)).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"{self._path}: {error}") from None
        return [(kind, first, last) for kind, first, last in reported + aside if last >= first]

    def set_aside(self, batch: Identity, reason: str, received_ns: int) -> None:
        row = (batch.device, batch.stream, batch.kind, batch.seq, reason, received_ns)
        try:
            self._connection.execute(
                "INSERT OR IGNORE INTO set_aside VALUES (?, ?, ?, ?, ?, ?)", row
            )
        except sqlite3.Error as error:
            raise StorageError(f"{self._path}: {error}") from None

    def close(self) -> None:
        """See `Store.close`. The last one to close folds the write-ahead log into the file."""
        self._connection.close()

    def _insert(self, incoming: Incoming, rows: dict[str, int]) -> bool:
        batch = incoming.batch
        cursor = self._connection.execute(
            _INSERT_BATCH,
            (
                batch.device, batch.stream.hex(), batch.kind, batch.seq, batch.fleet,
                batch.boot.hex(), batch.wall_ns, batch.mono_ns, batch.clock_error_ms,
                batch.dropped, batch.rows, incoming.frame_bytes, incoming.received_ns,
                json.dumps(batch.resource, sort_keys=True),
                json.dumps(incoming.skipped) if incoming.skipped else None,
            ),
        )  # fmt: skip
        if cursor.rowcount == 0:
            return False
        number = cursor.lastrowid
        for table, cells in incoming.tables:
            self._connection.executemany(self._rows_sql[table], [(number, *row) for row in cells])
            rows[table] += len(cells)
        assert number is not None
        anchor(self._connection, batch, number)
        return True

    def _rollback(self) -> None:
        # A full disk rolls back by itself; a failing one may refuse even this, and then recovers
        # at the next open.
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _migrate(self) -> None:
        """Bring the file to SCHEMA_VERSION in one transaction: two receivers may start at once."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            version = self._pragma("user_version")
            tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if tables and self._pragma("application_id") != APPLICATION_ID:
                raise UsageError(f"{self._path} is a database of another program")
            if version > SCHEMA_VERSION:
                raise UnsupportedError(
                    f"{self._path} has tables of version {version},"
                    f" this edgemon knows {SCHEMA_VERSION}: upgrade it"
                )
            if version == 0:
                script = files("edgemon.receive").joinpath("schema.sql").read_text()
                version = SCHEMA_VERSION
                self._run(script)
            while version < SCHEMA_VERSION:
                self._run(MIGRATIONS[version])
                version += 1
                if version == SCHEMA_VERSION:
                    self._make_views()
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._connection.execute("COMMIT")
        except BaseException:
            self._rollback()
            raise

    def _run(self, script: str) -> None:
        for statement in _statements(script):
            self._connection.execute(statement)

    def _make_views(self) -> None:
        """As this version has them: they hold no data."""
        for name in ("gaps", "reported_gaps"):
            self._connection.execute(f"DROP VIEW IF EXISTS {name}")
        script = files("edgemon.receive").joinpath("schema.sql").read_text()
        for statement in _statements(script):
            if "CREATE VIEW" in statement:
                self._connection.execute(statement)

    def _pragma(self, name: str) -> int:
        value: int = self._connection.execute(f"PRAGMA {name}").fetchone()[0]
        return value


def read_only(path: str, timeout_s: float) -> sqlite3.Connection:
    """A connection that cannot change the file. sqlite3.Error when it is not there.

    timeout_s: how long it waits for who writes.
    """
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return sqlite3.connect(f"file:{quoted}?mode=ro", uri=True, timeout=timeout_s)


def _statements(script: str) -> Iterator[str]:
    """One at a time: `executescript` would commit the transaction that is open."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _state_row(state: DeviceState) -> tuple[object, ...]:
    now = state.received_ns
    who = (state.fleet, state.device, state.online, state.birth, state.stream)
    return (*who, now, now, state.json)
