"""Which batches a text store has, and how long its files were when that was true.

A text file has no transactions. The sidecar `<store>.state` stands in for them: rows are appended
and synced first, then the sidecar is replaced as a whole. At the next start every file is cut
back to the length that the sidecar knows, so a group that was cut in two by a crash is gone as a
whole and comes again.
"""

from __future__ import annotations

import json
from bisect import bisect_right

from edgemon.errors import DamagedError
from edgemon.receive.store import Incoming
from edgemon.spool.fs import FileSystem, write_atomically

MAX_STREAMS = 10_000
MAX_RANGES = 1_000
_VERSION = 1

Key = tuple[str, str, str]  # device, stream (hex), kind


def key_of(incoming: Incoming) -> tuple[Key, int]:
    """The dedupe key of a batch."""
    batch = incoming.batch
    return (batch.device, batch.stream.hex(), batch.kind), batch.seq


class SeqRanges:
    """A set of seqs as disjoint ranges, ascending; a device that loses nothing needs one.

    Bounded: of more than MAX_RANGES the lowest is forgotten, and what it held would be taken again.

    >>> ranges = SeqRanges()
    >>> [ranges.add(seq) for seq in (1, 2, 4, 2, 3)]
    [True, True, True, False, True]
    >>> ranges.pairs
    [[1, 4]]
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[list[int]] | None = None) -> None:
        self.pairs: list[list[int]] = pairs or []

    def __contains__(self, seq: int) -> bool:
        at = bisect_right(self.pairs, seq, key=_first)
        return at > 0 and seq <= self.pairs[at - 1][1]

    def add(self, seq: int) -> bool:
        """False when it was in the set."""
        at = bisect_right(self.pairs, seq, key=_first)
        if at > 0 and seq <= self.pairs[at - 1][1]:
            return False
        joins_left = at > 0 and self.pairs[at - 1][1] == seq - 1
        joins_right = at < len(self.pairs) and self.pairs[at][0] == seq + 1
        if joins_left and joins_right:
            self.pairs[at - 1][1] = self.pairs.pop(at)[1]
        elif joins_left:
            self.pairs[at - 1][1] = seq
        elif joins_right:
            self.pairs[at][0] = seq
        else:
            self.pairs.insert(at, [seq, seq])
            if len(self.pairs) > MAX_RANGES:
                del self.pairs[0]
        return True


def _first(pair: list[int]) -> int:
    return pair[0]


class Ledger:
    """Seqs by stream, and file lengths.

    Of more than MAX_STREAMS streams the one longest unused is forgotten.
    """

    def __init__(self) -> None:
        self._seen: dict[Key, SeqRanges] = {}
        self.lengths: dict[str, int] = {}

    def has(self, key: Key, seq: int) -> bool:
        """Whether this batch is stored."""
        ranges = self._seen.get(key)
        return ranges is not None and seq in ranges

    def add(self, key: Key, seq: int) -> None:
        """This batch is stored."""
        ranges = self._seen.pop(key, None) or SeqRanges()
        self._seen[key] = ranges
        ranges.add(seq)
        if len(self._seen) > MAX_STREAMS:
            del self._seen[next(iter(self._seen))]

    def fresh(self, batches: list[tuple[Key, int]]) -> list[bool]:
        """One flag a batch: True where it is not stored and not before in this list."""
        flags = []
        here: set[tuple[Key, int]] = set()
        for key, seq in batches:
            flags.append((key, seq) not in here and not self.has(key, seq))
            here.add((key, seq))
        return flags

    def save(
        self, fs: FileSystem, path: str, lengths: dict[str, int], new: list[tuple[Key, int]]
    ) -> None:
        """Write the sidecar as it is with `new` and `lengths`, and then believe it.

        Raises OSError: then the ledger is what it was.
        """
        changed: dict[Key, SeqRanges] = {}
        for key, seq in new:
            if key not in changed:
                known = self._seen.get(key)
                changed[key] = SeqRanges([list(pair) for pair in known.pairs] if known else [])
            changed[key].add(seq)
        # What changed goes to the end: the first is the one longest unused.
        seen = {key: ranges for key, ranges in self._seen.items() if key not in changed} | changed
        for key in list(seen)[: max(0, len(seen) - MAX_STREAMS)]:
            del seen[key]
        state = {
            "version": _VERSION,
            "files": lengths,
            "seen": [[*key, ranges.pairs] for key, ranges in seen.items()],
        }
        write_atomically(fs, path, json.dumps(state, separators=(",", ":")).encode())
        self._seen = seen
        self.lengths = lengths

    def load(self, fs: FileSystem, path: str) -> bool:
        """False when there is no sidecar. Raises DamagedError with what to do."""
        try:
            text = fs.read(path, 0, fs.size(path))
        except FileNotFoundError:
            return False
        try:
            state = json.loads(text)
            if state["version"] != _VERSION:
                raise ValueError(f"version {state['version']}")
            self.lengths = {str(name): int(length) for name, length in state["files"].items()}
            for device, stream, kind, pairs in state["seen"]:
                self._seen[(device, stream, kind)] = SeqRanges([[int(a), int(b)] for a, b in pairs])
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(
                f"{path} cannot be read ({error}); move it away to append without its memory"
            ) from None
        return True
