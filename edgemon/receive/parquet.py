"""Rows in Parquet files, for analysts: one folder a table, typed columns, few files. Needs pyarrow.

    <folder>/<table>/part-<ns>.parquet     one group of batches, as it came
    <folder>/<table>/rows-<ns>.parquet     parts joined: at the end of a run, and every MAX_PARTS
    <folder>/receive.state                 which files count, and which batches are in them

A Parquet file cannot grow, so each commit makes a file a table. It counts once the sidecar names it
(ledger.py): what a crash left unnamed is removed at the next start, and parts that were being
joined count until the joined file does. So it is exact over restarts, as the other files are, with
one receiver at a time. Whoever reads the folder meanwhile may see rows twice while parts are
joined.

Columns are those of the SQLite tables. Times are timestamp[ns, UTC] under their names there,
vectors and histograms are lists, JSON objects stay text.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from edgemon import log
from edgemon.errors import LockedError, StorageError
from edgemon.receive.ledger import Ledger, key_of
from edgemon.receive.presence import DeviceState
from edgemon.receive.rows import COLUMNS
from edgemon.receive.store import Incoming, RefusedError, Stored, made_folder
from edgemon.receive.textfiles import IDENTITY
from edgemon.records import Value
from edgemon.spool.fs import FileSystem, OsFileSystem, join, write_atomically

MAX_PARTS = 64
_SIDECAR = "receive.state"
_ENDING = ".parquet"
_TIME = pa.timestamp("ns", tz="UTC")
_INTEGERS = (
    "n", "missing", "nan", "pinf", "ninf", "wrong_type", "ks_n", "ks_h", "ks_threshold", "step",
)  # fmt: skip
_FLOATS = (
    "output_number", "latency_s", "weight", "label_number", "value", "d",
    "mean", "m2", "min", "max", "p50", "p95", "p99",
)  # fmt: skip
# What is not here is text.
_TYPES = {
    "seq": pa.int64(),
    "row": pa.int32(),
    "drifted": pa.bool_(),
    "sketch": pa.binary(),
    "output_vector": pa.list_(pa.float64()),
    "hist": pa.list_(pa.int64()),
    **dict.fromkeys(("time_ns", "app_time_ns", "start_ns", "end_ns"), _TIME),
    **dict.fromkeys(_INTEGERS, pa.int64()),
    **dict.fromkeys(_FLOATS, pa.float64()),
}
SCHEMAS = {
    table: pa.schema([(name, _TYPES.get(name, pa.string())) for name in (*IDENTITY, *columns)])
    for table, columns in COLUMNS.items()
}


def parquet_folder(path: str) -> ParquetStore:
    """The store in this folder, which is made when it is not there."""
    fs = OsFileSystem()
    folder = made_folder(fs, path)
    return ParquetStore(folder, fs)


class ParquetStore:
    """folder: must exist.  Memory: one group of batches, or one part while parts are joined.

    Raises LockedError when another receiver writes there, DamagedError for an unreadable sidecar.
    """

    def __init__(self, folder: str, fs: FileSystem) -> None:
        self._fs = fs
        self._folder = folder
        self._sidecar = join(folder, _SIDECAR)
        self._ledger = Ledger()
        self._last_ns = 0
        try:
            self._lock = fs.lock(self._sidecar + ".lock")
        except LockedError:
            raise LockedError(f"another receiver writes {self._sidecar}") from None
        except OSError as error:
            raise StorageError(f"{folder}: {error.strerror}") from None
        try:
            known = self._ledger.load(fs, self._sidecar)
            for table in SCHEMAS:
                self._adopt(table, known)
        except OSError as error:
            self._lock.release()
            raise StorageError(f"{folder}: {error.strerror}") from None
        except BaseException:
            self._lock.release()
            raise

    def write(self, batches: Sequence[Incoming], states: Sequence[DeviceState]) -> Stored:
        """See `Store.write`."""
        del states  # as in CSV, there is no table of them
        keys = [key_of(incoming) for incoming in batches]
        fresh = self._ledger.fresh(keys)
        pieces: dict[str, list[Any]] = {table: [] for table in SCHEMAS}
        for index, (incoming, new) in enumerate(zip(batches, fresh, strict=True)):
            for table, rows in incoming.tables if new else ():
                try:
                    pieces[table].append(_typed(table, incoming, rows))
                except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
                    raise RefusedError(index, f"{table}: {error}") from None
        files = dict(self._ledger.lengths)
        try:
            for table, found in pieces.items():
                if found:
                    data = _encode(pa.concat_tables(found))
                    name = self._name(table, "part")
                    write_atomically(self._fs, join(self._folder, name), data)
                    files[name] = len(data)
            if new_keys := [key for key, new in zip(keys, fresh, strict=True) if new]:
                self._ledger.save(self._fs, self._sidecar, files, new_keys)
            for table in SCHEMAS:
                if len(self._parts(table)) >= MAX_PARTS:
                    self._join(table)
        except OSError as error:
            raise StorageError(f"{self._folder}: {error.strerror or error}") from None
        return Stored(fresh, {t: sum(len(one) for one in found) for t, found in pieces.items()})

    def close(self) -> None:
        """Join the parts of this run. See `Store.close`."""
        try:
            for table in SCHEMAS:
                if len(self._parts(table)) > 1:
                    self._join(table)
        except OSError as error:
            log.warning("parts stay as they are", folder=self._folder, error=error)
        finally:
            self._lock.release()

    def _parts(self, table: str) -> list[str]:
        begin = f"{table}/part-"
        return sorted(name for name in self._ledger.lengths if name.startswith(begin))

    def _join(self, table: str) -> None:
        """Replace the parts of a table by one file. Raises OSError: then they stay."""
        parts = self._parts(table)
        name = self._name(table, "rows")
        path = join(self._folder, name)
        temporary = path + ".tmp"
        with pq.ParquetWriter(temporary, SCHEMAS[table], compression="zstd") as writer:
            for part in parts:
                try:
                    writer.write_table(pq.read_table(join(self._folder, part), partitioning=None))
                except FileNotFoundError:
                    log.warning("a file was taken away", file=part)
        file = self._fs.open(temporary)
        file.sync()
        file.close()
        self._fs.rename(temporary, path)
        self._fs.sync_dir(join(self._folder, table))
        files = {known: size for known, size in self._ledger.lengths.items() if known not in parts}
        files[name] = self._fs.size(path)
        self._ledger.save(self._fs, self._sidecar, files, [])
        for part in parts:
            self._remove(part)

    def _adopt(self, table: str, known: bool) -> None:
        """Leave in the table's folder what counts; without a sidecar all of it does."""
        self._fs.make_dir(join(self._folder, table))
        there = set()
        for file in self._fs.listdir(join(self._folder, table)):
            name = f"{table}/{file}"
            ours = file.startswith(("part-", "rows-"))
            if ours and file.endswith(_ENDING) and (name in self._ledger.lengths or not known):
                there.add(name)
                self._ledger.lengths[name] = self._fs.size(join(self._folder, name))
            elif ours and file.endswith((_ENDING, ".tmp")):
                log.warning("removed what was not stored as a whole", file=name)
                self._remove(name)
        for name in [name for name in self._ledger.lengths if name.startswith(f"{table}/")]:
            if name not in there:
                del self._ledger.lengths[name]  # taken away by its owner

    def _remove(self, name: str) -> None:
        try:
            self._fs.unlink(join(self._folder, name))
        except FileNotFoundError:
            return

    def _name(self, table: str, what: str) -> str:
        """A name that was never used before."""
        self._last_ns = max(time.time_ns(), self._last_ns + 1)
        return f"{table}/{what}-{self._last_ns:020d}{_ENDING}"


def _typed(table: str, incoming: Incoming, rows: Sequence[tuple[Value, ...]]) -> Any:
    """The rows of one batch as an Arrow table."""
    batch = incoming.batch
    schema = SCHEMAS[table]
    origin = (batch.device, batch.fleet, batch.stream.hex(), batch.seq)
    columns: list[Sequence[Any]] = [[cell] * len(rows) for cell in origin]
    columns += [list(cells) for cells in zip(*rows, strict=True)]
    arrays = [
        pa.array(_converted(field.type, cells), type=field.type)
        for field, cells in zip(schema, columns, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _converted(kind: Any, cells: Sequence[Any]) -> Sequence[Any]:
    """Cells of the receiver's rows as Arrow takes them."""
    if pa.types.is_list(kind):
        number = float if pa.types.is_floating(kind.value_type) else int
        return [
            None if cell is None else [number(one) for one in json.loads(cell)] for cell in cells
        ]
    if pa.types.is_boolean(kind):
        return [None if cell is None else bool(cell) for cell in cells]
    if pa.types.is_string(kind):
        return [cell if cell is None or isinstance(cell, str) else str(cell) for cell in cells]
    return cells


def _encode(table: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data
