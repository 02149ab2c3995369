"""The rows of open batches, so that what was captured survives until its batch does.

Between a prediction and its batch lies up to a minute. The agent hands its captured rows down in chunks;
each is one record (segment.py) of the journal of that (kind, seq). At open the chunks of a batch that is
not in a segment are given back, and the agent makes the same batch, with the same seq, of them.

A chunk is kept in memory until it is durable. After a failed write or sync the file is not trusted: its
chunks since the last good sync are written again, into another file of the same batch; a chunk that is
found in two files is known by its part number.
"""

from __future__ import annotations

from edgemon.spool import layout
from edgemon.spool.fs import File, FileSystem, join
from edgemon.spool.segment import encode_record


class Chunk:
    """One record that is not durable yet."""

    __slots__ = ("record", "written")

    def __init__(self, record: bytes) -> None:
        self.record = record
        self.written = False


class Journal:
    """The files of one open batch."""

    __slots__ = (
        "_dirty",
        "_durable_bytes",
        "_file",
        "_fs",
        "_size_bytes",
        "broken",
        "chunks",
        "files",
        "folder",
        "kind",
        "parts",
        "seq",
    )

    def __init__(self, fs: FileSystem, folder: str, kind: str, seq: int) -> None:
        self._fs = fs
        self.folder = folder
        self.kind = kind
        self.seq = seq
        self.parts = 0  # number of the next chunk
        self.files: list[tuple[str, int]] = []  # name, bytes; the last one may be open
        self.chunks: list[Chunk] = []  # not durable yet
        self.broken = False  # a chunk was given up: its rows are durable with the batch only
        self._file: File | None = None
        self._size_bytes = 0  # of the open file
        self._durable_bytes = 0
        self._dirty = False

    @property
    def size_bytes(self) -> int:
        return sum(size for _, size in self.files)

    @property
    def dirty(self) -> bool:
        return bool(self.chunks)

    def add(self, frame: bytes, rows: int, stream: bytes) -> int:
        """Take one chunk; nothing is written yet. Returns its bytes on disk."""
        record = encode_record(
            self.kind, self.seq, frame, rows=rows, stream=stream, journal=True, part=self.parts
        )
        self.parts += 1
        self.chunks.append(Chunk(record))
        return len(record)

    def unwritten_bytes(self) -> int:
        return sum(len(chunk.record) for chunk in self.chunks if not chunk.written)

    def write(self) -> None:
        """Write what is not written. Raises OSError: with room made, call again; else `distrust`."""
        for chunk in self.chunks:
            if chunk.written:
                continue
            if self._file is None:
                self._create()
            assert self._file is not None
            self._file.write_at(self._size_bytes, chunk.record)
            self._size_bytes += len(chunk.record)
            self.files[-1] = (self.files[-1][0], self._size_bytes)
            chunk.written = self._dirty = True

    @property
    def unnamed(self) -> bool:
        """Whether its folder must be synced before `synced` may be said."""
        return self._dirty and self._durable_bytes == 0

    def sync(self) -> None:
        """Make the data durable. Raises OSError; what was written is then unwritten again."""
        if not self._dirty or self._file is None:
            return
        try:
            self._file.sync()
        except OSError:
            self.distrust()
            raise

    def synced(self) -> None:
        """Data and name are durable."""
        self._durable_bytes = self._size_bytes
        self._dirty = False
        self.chunks = [chunk for chunk in self.chunks if not chunk.written]

    def distrust(self) -> None:
        """Write no more to the open file; what it took since the last good sync goes to another."""
        if self._file is None:
            return
        for chunk in self.chunks:
            chunk.written = False
        try:
            self._file.truncate(self._durable_bytes)
            self.files[-1] = (self.files[-1][0], self._durable_bytes)
        except OSError:
            pass  # its chunks are recognised by their part numbers
        self.close()

    def give_up(self) -> None:
        """Forget the chunks that no file holds: there is no memory left to keep them."""
        self.chunks = [chunk for chunk in self.chunks if chunk.written]
        self.broken = True

    def remove(self) -> None:
        """Unlink its files. Raises OSError when one could not be; recovery then knows them as done."""
        self.close()
        files, self.files, self.chunks = self.files, [], []
        failure: OSError | None = None
        for name, _ in files:
            try:
                self._fs.unlink(join(self.folder, name))
            except FileNotFoundError:
                pass
            except OSError as error:
                failure = error
        if failure is not None:
            raise failure

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _create(self) -> None:
        self._fs.make_dir(self.folder)
        taken = set(self._fs.listdir(self.folder))
        copy = 0
        while layout.journal_name(self.kind, self.seq, copy) in taken:
            copy += 1
        name = layout.journal_name(self.kind, self.seq, copy)
        self._file = self._fs.open(join(self.folder, name))
        self.files.append((name, 0))
        self._size_bytes = self._durable_bytes = 0


class Journals:
    """The journals of all open batches: one a kind, two for the moment in which a batch is handed over."""

    __slots__ = ("_by_batch", "_fs", "folder")

    def __init__(self, fs: FileSystem, directory: str) -> None:
        self._fs = fs
        self.folder = join(directory, layout.JOURNAL)
        self._by_batch: dict[tuple[str, int], Journal] = {}

    def get(self, kind: str, seq: int) -> Journal:
        """The journal of a batch, made when there is none."""
        journal = self._by_batch.get((kind, seq))
        if journal is None:
            journal = self._by_batch[kind, seq] = Journal(self._fs, self.folder, kind, seq)
        return journal

    def live(self) -> list[Journal]:
        return list(self._by_batch.values())

    @property
    def size_bytes(self) -> int:
        return sum(journal.size_bytes for journal in self.live())

    @property
    def dirty(self) -> bool:
        return any(journal.dirty for journal in self._by_batch.values())

    def finished(self, kind: str, durable_seq: int) -> list[Journal]:
        """Take out the journals whose batches need them no more."""
        keys = [key for key in self._by_batch if key[0] == kind and key[1] <= durable_seq]
        return [self._by_batch.pop(key) for key in keys]

    def take(self, kind: str, seq: int) -> Journal | None:
        """Take out the journal of one batch, None when it has none."""
        return self._by_batch.pop((kind, seq), None)

    def close(self) -> None:
        for journal in self._by_batch.values():
            journal.close()
