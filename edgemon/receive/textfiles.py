"""Rows as text: JSON lines on standard output or in a file, CSV in a folder.

Files are exact over restarts and `kill -9` as long as the sidecar `.state` stays with them and
one receiver writes (a lock sees to that). Standard output is deduplicated within one run, in
bounded memory; after a crash what was not yet acknowledged is printed again. Only SQLite promises
exactly once without conditions.
"""

from __future__ import annotations

import csv
import io
import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from json.encoder import encode_basestring
from typing import BinaryIO

from edgemon import log
from edgemon.errors import LockedError, StorageError, UsageError
from edgemon.receive.ledger import Ledger, key_of
from edgemon.receive.presence import DeviceState, supersedes
from edgemon.receive.rows import COLUMNS, JSON_COLUMNS, json_text
from edgemon.receive.store import Incoming, Stored, made_folder
from edgemon.records import Value
from edgemon.spool.fs import File, FileSystem, OsFileSystem, join

# Every row begins with where it is from.
IDENTITY = ("device", "fleet", "stream_id", "seq")
_MAX_DEVICES = 100_000


def json_lines(incoming: Incoming) -> str:
    """One JSON object a row; what is not set is left out."""
    batch = incoming.batch
    origin = (
        f'"device":{encode_basestring(batch.device)},"fleet":{encode_basestring(batch.fleet)},'
        f'"stream_id":"{batch.stream.hex()}","kind":"{batch.kind}","seq":{batch.seq}'
    )
    lines: list[str] = []
    for table, rows in incoming.tables:
        head = f'{{"table":"{table}",{origin}'
        columns = [(f',"{name}":', name in JSON_COLUMNS) for name in COLUMNS[table]]
        for row in rows:
            parts = [head]
            for (key, is_json), cell in zip(columns, row, strict=True):
                if cell is not None:
                    parts.append(key)
                    parts.append(cell if is_json and isinstance(cell, str) else json_text(cell))
            parts.append("}\n")
            lines.append("".join(parts))
    return "".join(lines)


def state_line(state: DeviceState) -> str:
    """A device's state as one line of the table `devices`."""
    return (
        f'{{"table":"devices","device":{encode_basestring(state.device)},'
        f'"fleet":{encode_basestring(state.fleet)},"online":{str(state.online).lower()},'
        f'"birth":{state.birth},"received_ns":{state.received_ns}}}\n'
    )


def csv_header(table: str) -> str:
    """The first line of a table's file."""
    return ",".join((*IDENTITY, *COLUMNS[table])) + "\n"


def csv_lines(incoming: Incoming, rows: Iterable[tuple[Value, ...]]) -> str:
    """Rows of one table; an empty cell is a missing one, bytes are base64, floats round-trip."""
    batch = incoming.batch
    origin = (batch.device, batch.fleet, batch.stream.hex(), batch.seq)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows((*origin, *map(_csv_cell, row)) for row in rows)
    return text.getvalue()


def _csv_cell(cell: Value) -> Value:
    return b64encode(cell).decode() if isinstance(cell, bytes) else cell


def _by_table(incoming: Incoming) -> dict[str, str]:
    return {f"{table}.csv": csv_lines(incoming, rows) for table, rows in incoming.tables}


class _Births:
    """Which states are news; of more than _MAX_DEVICES the one longest unheard is forgotten."""

    def __init__(self) -> None:
        self._births: dict[tuple[str, str], tuple[int, str]] = {}

    def news(self, states: Sequence[DeviceState]) -> list[DeviceState]:
        """Those that tell something new, each beside those before it."""
        found = []
        here: dict[tuple[str, str], tuple[int, str]] = {}
        for state in states:
            key = (state.fleet, state.device)
            known = here.get(key) or self._births.get(key)
            if known is None or supersedes(state, *known):
                found.append(state)
                here[key] = _life(state, known)
        return found

    def note(self, states: Sequence[DeviceState]) -> None:
        """These are written."""
        for state in states:
            key = (state.fleet, state.device)
            self._births[key] = _life(state, self._births.pop(key, None))
            if len(self._births) > _MAX_DEVICES:
                del self._births[next(iter(self._births))]


def _life(state: DeviceState, known: tuple[int, str] | None) -> tuple[int, str]:
    return state.birth, state.stream or (known[1] if known else "")


class StreamStore:
    """JSON lines on an open stream, deduplicated within this run."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._ledger = Ledger()
        self._births = _Births()

    def write(self, batches: Sequence[Incoming], states: Sequence[DeviceState]) -> Stored:
        """See `Store.write`.

        After a StorageError a line may come twice. BrokenPipeError passes through.
        """
        keys = [key_of(incoming) for incoming in batches]
        fresh = self._ledger.fresh(keys)
        news = self._births.news(states)
        parts = [state_line(state) for state in news]
        parts += [json_lines(item) for item, new in zip(batches, fresh, strict=True) if new]
        try:
            self._stream.write("".join(parts).encode())
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StorageError(f"standard output: {error.strerror}") from None
        self._births.note(news)
        for (key, seq), new in zip(keys, fresh, strict=True):
            if new:
                self._ledger.add(key, seq)
        return Stored(fresh, _count(batches, fresh))

    def close(self) -> None:
        """Standard output is not ours to close."""


class FileStore:
    """Text files that grow, with their sidecar.

    folder: where they are, must exist.  sidecar: name of the state file.
    headers: file name -> first line, "" = none.
    render: batch -> text by file name.  render_state: a device's state -> text by file name.
    """

    def __init__(
        self,
        folder: str,
        sidecar: str,
        headers: dict[str, str],
        render: Callable[[Incoming], dict[str, str]],
        render_state: Callable[[DeviceState], dict[str, str]],
        fs: FileSystem | None = None,
    ) -> None:
        self._fs = fs or OsFileSystem()
        self._folder = folder
        self._headers = headers
        self._render = render
        self._render_state = render_state
        self._births = _Births()
        self._ledger = Ledger()
        self._files: dict[str, File] = {}
        self._sidecar = join(folder, sidecar)
        try:
            self._lock = self._fs.lock(join(folder, sidecar + ".lock"))
        except LockedError:
            raise LockedError(f"another receiver writes {join(folder, sidecar)}") from None
        except OSError as error:
            raise StorageError(f"{folder}: {error.strerror}") from None
        try:
            known = self._ledger.load(self._fs, self._sidecar)
            for name in headers:
                self._adopt(name, known)
        except OSError as error:
            self.close()
            raise StorageError(f"{folder}: {error.strerror}") from None
        except BaseException:
            self.close()
            raise

    def write(self, batches: Sequence[Incoming], states: Sequence[DeviceState]) -> Stored:
        """See `Store.write`."""
        keys = [key_of(incoming) for incoming in batches]
        fresh = self._ledger.fresh(keys)
        texts: dict[str, list[str]] = {}
        news = self._births.news(states)
        rendered = [self._render_state(state) for state in news]
        rendered += [self._render(item) for item, new in zip(batches, fresh, strict=True) if new]
        for by_name in rendered:
            for name, text in by_name.items():
                texts.setdefault(name, []).append(text)
        lengths = dict(self._ledger.lengths)
        try:
            for name, parts in texts.items():
                lengths[name] = self._append(name, lengths.get(name, 0), "".join(parts))
            new_keys = [key for key, new in zip(keys, fresh, strict=True) if new]
            if texts or new_keys:
                self._ledger.save(self._fs, self._sidecar, lengths, new_keys)
        except OSError as error:
            # What was appended lies beyond the known length: the next attempt, or the next start,
            # goes over it.
            raise StorageError(f"{self._folder}: {error.strerror}") from None
        self._births.note(news)
        return Stored(fresh, _count(batches, fresh))

    def close(self) -> None:
        """See `Store.close`."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._lock.release()

    def _append(self, name: str, at: int, text: str) -> int:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = self._fs.open(join(self._folder, name))
            self._fs.sync_dir(self._folder)
        data = ((self._headers[name] if at == 0 else "") + text).encode()
        file.write_at(at, data)
        file.truncate(at + len(data))  # a failed attempt before may have written more
        file.sync()
        return at + len(data)

    def _adopt(self, name: str, known: bool) -> None:
        """Go on behind what an earlier run stored in this file."""
        path = join(self._folder, name)
        try:
            size = self._fs.size(path)
        except FileNotFoundError:
            self._ledger.lengths.pop(name, None)
            return
        length = self._ledger.lengths.get(name, 0) if known else size
        header = self._headers[name].encode()
        # A crash may have left a part of the header; anything else is not ours to cut.
        if not header.startswith(self._fs.read(path, 0, len(header))):
            raise UsageError(f"{path} is not a file of this table: its first line is another")
        if size > length:
            log.warning("cut back to what was stored as a whole", file=path, bytes=size - length)
            file = self._fs.open(path)
            file.truncate(length)
            file.sync()
            file.close()
        self._ledger.lengths[name] = min(size, length)


def jsonl_file(path: str) -> FileStore:
    """One file of JSON lines; `<path>.state` beside it."""
    folder, name = os.path.split(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise UsageError(f"--to jsonl:{path}: there is no folder {folder}")
    if os.path.isdir(path):
        raise UsageError(f"--to jsonl:{path}: that is a folder; name a file")
    return FileStore(
        folder,
        f"{name}.state",
        {name: ""},
        lambda incoming: {name: json_lines(incoming)},
        lambda state: {name: state_line(state)},
    )


def csv_folder(path: str) -> FileStore:
    """A folder with one file a table, made when its first row comes.

    No file for the devices' states.
    """
    fs = OsFileSystem()
    folder = made_folder(fs, path)
    headers = {f"{table}.csv": csv_header(table) for table in COLUMNS}
    return FileStore(folder, "receive.state", headers, _by_table, lambda _: {}, fs)


def _count(batches: Sequence[Incoming], fresh: Sequence[bool]) -> dict[str, int]:
    rows = dict.fromkeys(COLUMNS, 0)
    for incoming, new in zip(batches, fresh, strict=True):
        if new:
            for table, cells in incoming.tables:
                rows[table] += len(cells)
    return rows
