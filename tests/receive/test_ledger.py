"""The memory of text stores: exact while it fits, bounded when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon.receive import ledger
from edgemon.receive.ledger import Ledger, SeqRanges
from edgemon.spool.fs import OsFileSystem


@given(st.lists(st.integers(0, 40)))
def test_ranges_are_a_set(seqs: list[int]) -> None:
    ranges, oracle = SeqRanges(), set[int]()
    for seq in seqs:
        assert ranges.add(seq) == (seq not in oracle)
        oracle.add(seq)
        assert [seq for seq in range(42) if seq in ranges] == sorted(oracle)
    for (_, end), (start, _) in zip(ranges.pairs, ranges.pairs[1:], strict=False):
        assert end + 1 < start


def test_ranges_are_bounded_and_forget_the_lowest() -> None:
    ranges = SeqRanges()
    for seq in range(0, 2 * ledger.MAX_RANGES + 4, 2):
        ranges.add(seq)
    assert len(ranges.pairs) == ledger.MAX_RANGES
    assert 0 not in ranges
    assert 2 * ledger.MAX_RANGES in ranges


def test_a_ledger_survives_its_file_and_forgets_the_stream_longest_unused(tmp_path: Path) -> None:
    path, fs = str(tmp_path / "state"), OsFileSystem()
    first = Ledger()
    keys = [(f"dev-{number}", "ab", "pred") for number in range(ledger.MAX_STREAMS + 1)]
    first.save(fs, path, {"a": 5}, [(keys[0], 1), (keys[1], 1)])
    first.save(fs, path, {"a": 6}, [(keys[0], 2)])
    first.save(fs, path, {"a": 7}, [(key, 1) for key in keys[2:]])
    second = Ledger()
    assert second.load(fs, path)
    assert second.lengths == {"a": 7}
    assert second.has(keys[0], 1)
    assert second.has(keys[0], 2)
    assert not second.has(keys[0], 3)
    assert not second.has(keys[1], 1)
    assert second.has(keys[-1], 1)


def test_a_ledger_that_cannot_be_saved_believes_nothing_new(tmp_path: Path) -> None:
    book, key = Ledger(), ("d", "s", "pred")
    with pytest.raises(OSError, match="No such file"):
        book.save(OsFileSystem(), str(tmp_path / "missing" / "state"), {"a": 1}, [(key, 1)])
    assert not book.has(key, 1)
    assert book.lengths == {}
