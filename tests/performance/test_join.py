"""Which truth finds which prediction, and what becomes of all others."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon._core.join import ENTRY_BYTES, join_id
from edgemon.metrics import Counters
from edgemon.performance import join
from edgemon.performance.join import FORGOTTEN, JOINED, UNMATCHED, JoinTable, Pair

SEED = 7


class Table:
    def __init__(self, keep: int = 100, max_bytes: int = 1 << 20, ttl_s: float = 60.0) -> None:
        self.counters = Counters()
        self.table = JoinTable(keep, max_bytes, ttl_s, self.counters, SEED)

    def predict(
        self, identifier: str, output: Any = 0.5, now_s: float = 0.0, version: str = "1"
    ) -> Any:
        return self.table.predicted(identifier, version, output, now_s)

    def label(
        self, identifier: str, label: Any = 1.0, now_s: float = 0.0, version: str = ""
    ) -> Any:
        return self.table.labelled(identifier, version, label, now_s)

    def predict_block(self, predictions: list[tuple[str, float]], now_s: float = 0.0) -> list[Pair]:
        """As they come from the hot path."""
        ids = array("Q", [join_id(SEED, identifier) for identifier, _ in predictions])
        outputs = array("d", [output for _, output in predictions])
        return self.table.predicted_block(ids.tobytes(), "1", outputs.tobytes(), now_s)

    def forgotten(self, reason: str) -> int:
        return self.counters.get(FORGOTTEN, reason=reason)

    def unmatched(self, reason: str) -> int:
        return self.counters.get(UNMATCHED, reason=reason)


def test_a_late_label_finds_its_prediction_within_the_time() -> None:
    table = Table(ttl_s=60.0)
    assert table.predict("a", [0.25, 0.75]) is None
    assert table.label("a", "1", now_s=59.9) == Pair("1", [0.25, 0.75], "1")
    assert table.counters.get(JOINED) == 1


def test_a_label_that_is_too_late_finds_nothing() -> None:
    table = Table(ttl_s=60.0)
    table.predict("a")
    assert table.label("a", now_s=60.0) is None
    assert table.forgotten("expired") == 1
    table.table.expire(120.0)
    assert (table.unmatched("no_prediction"), table.table.early) == (1, 0)


def test_a_label_may_come_before_its_prediction() -> None:
    table = Table()
    assert table.label("a", 0.0) is None
    assert table.predict("a", 0.9, now_s=10.0) == Pair("1", 0.9, 0.0)
    assert table.label("a", 1.0) is None  # the first one holds
    assert table.unmatched("twice") == 1


def test_an_early_label_of_another_version_waits_for_its_own() -> None:
    table = Table()
    table.label("a", version="2")
    assert table.predict("a", version="1") is None
    assert table.predict("a", version="2") == Pair("2", 0.5, 1.0)
    assert table.forgotten("reused") == 1


def test_a_second_label_is_told_apart_and_the_first_holds() -> None:
    table = Table()
    table.predict("a")
    assert table.label("a", 1.0) is not None
    assert table.label("a", 0.0) is None
    assert table.unmatched("twice") == 1
    table.label("b")
    assert table.label("b") is None
    assert table.unmatched("twice") == 2


def test_a_label_of_another_version_finds_nothing_and_the_prediction_waits_on() -> None:
    table = Table()
    table.predict("a", version="1")
    assert table.label("a", version="2") is None
    assert table.unmatched("other_version") == 1
    assert table.label("a", version="1") is not None


def test_an_id_that_is_reused_belongs_to_the_newest() -> None:
    table = Table()
    table.predict("a", 0.1)
    table.predict("a", 0.2)
    assert table.forgotten("reused") == 1
    assert table.label("a") == Pair("1", 0.2, 1.0)
    table.predict("a", 0.3)  # its truth was there: nothing is lost
    assert table.forgotten("reused") == 1
    assert table.label("a") == Pair("1", 0.3, 1.0)


def test_the_oldest_goes_where_there_are_too_many() -> None:
    table = Table(keep=2)
    for name in "abc":
        table.predict(name)
    assert table.forgotten("full") == 1
    assert table.label("a") is None
    assert table.label("b") is not None
    for name in "xyz":
        table.label(name)
    assert table.unmatched("full") == 2  # a, and x


def test_one_that_has_its_truth_goes_without_being_counted() -> None:
    table = Table(keep=1)
    table.predict("a")
    table.label("a")
    table.predict("b")
    assert table.forgotten("full") == 0


def test_memory_is_bounded_whatever_an_output_takes() -> None:
    table = Table(keep=1_000, max_bytes=100_000)
    for index in range(100):
        table.predict(f"{index:03}", [0.0] * 1024)
    assert table.table.waiting == 100_000 // (ENTRY_BYTES + 8 * 1024)
    assert table.forgotten("full") == 100 - table.table.waiting
    table.label("early", "x" * 200_000)
    assert (table.table.early, table.unmatched("full")) == (0, 1)


def test_a_block_gives_what_one_after_the_other_gives() -> None:
    predictions = [("a", 0.1), ("b", 0.2), ("a", 0.3), ("c", 0.4), ("d", 0.5)]
    one, block = Table(keep=3), Table(keep=3)
    for table in (one, block):
        table.predict("b", 0.0)
        table.label("c")
    pairs = [pair for name, y in predictions if (pair := one.predict(name, y)) is not None]
    assert block.predict_block(predictions) == pairs == [Pair("1", 0.4, 1.0)]
    assert one.counters.snapshot() == block.counters.snapshot()
    for name in "abcd":
        assert one.label(name) == block.label(name)


def test_versions_that_wait_are_bounded_and_old_ones_make_room(monkeypatch: Any) -> None:
    monkeypatch.setattr(join, "MAX_VERSIONS", 3)
    table = Table(ttl_s=60.0)
    for index in range(10):
        table.predict(f"a{index}", now_s=100.0 * index, version=str(index))
        assert table.label(f"a{index}", now_s=100.0 * index) == Pair(str(index), 0.5, 1.0)
    for index in range(10, 14):
        table.predict(f"a{index}", now_s=1_000.0, version=str(index))
    assert table.forgotten("full") == 3
    assert table.label("a13", now_s=1_000.0) == Pair("13", 0.5, 1.0)


Steps = list[tuple[bool, int, int]]


@pytest.mark.parametrize("in_blocks", [False, True])
@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 20)), max_size=60))
def test_every_label_and_prediction_is_accounted_for(in_blocks: bool, steps: Steps) -> None:
    table = Table(keep=3, ttl_s=30.0)
    now_s, labels, predictions, pairs = 0.0, 0, 0, 0
    for is_label, identifier, later_s in steps:
        now_s += later_s
        if is_label:
            labels += 1
            pairs += table.label(str(identifier), 1.0, now_s) is not None
        else:
            predictions += 1
            if in_blocks:
                pairs += len(table.predict_block([(str(identifier), 0.5)] * 2, now_s))
                predictions += 1
            else:
                pairs += table.predict(str(identifier), 0.5, now_s) is not None
        assert table.table.waiting <= 3 and table.table.early <= 3
    table.table.expire(now_s + 30.0)
    assert (table.table.waiting, table.table.early, table.table.size_bytes) == (0, 0, 0)
    counts = table.counters.snapshot()
    assert counts.get(JOINED, 0) == pairs
    assert labels == pairs + sum(n for name, n in counts.items() if name.startswith(UNMATCHED))
    assert predictions == pairs + sum(n for name, n in counts.items() if name.startswith(FORGOTTEN))
