"""What waits, against an ordered dict that keeps everything in Python."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemon._core.join import ENTRY_BYTES, MAX_TAGS, Waiting, join_id, siphash

Value = float | str | list[float] | None
VALUES: st.SearchStrategy[Value] = st.one_of(
    st.none(), st.floats(allow_nan=False), st.text(max_size=5), st.lists(st.floats(0, 1), max_size=4)
)  # fmt: skip
# Ids with one home in the index, among others.
IDS = st.sampled_from([0, 1, 2, 1 << 32, 1 << 33, 7 << 40, (1 << 64) - 1, 63, 127, 255])
STEP = st.one_of(
    st.tuples(st.just("put"), IDS, VALUES),
    st.tuples(st.just("answer"), IDS, st.none()),
    st.tuples(st.just("take"), IDS, st.none()),
    st.tuples(st.just("wait"), st.integers(0, 30), st.none()),
)


class Oracle:
    def __init__(self, keep: int, max_bytes: int, ttl_s: float) -> None:
        self.keep, self.max_bytes, self.ttl_s = keep, max_bytes, ttl_s
        self.entries: OrderedDict[int, tuple[int, Value, float]] = OrderedDict()

    @property
    def bytes(self) -> int:
        return sum(ENTRY_BYTES + size(value) for _, value, _ in self.entries.values())

    def put(self, key: int, tag: int, value: Value, now_s: float) -> int:
        self.entries[key] = tag, value, now_s
        lost = 0
        while len(self.entries) > self.keep or self.bytes > self.max_bytes:
            lost += self.entries.popitem(last=False)[1][1] is not None
        return lost

    def answer(self, key: int) -> None:
        if key in self.entries:
            self.entries[key] = self.entries[key][0], None, self.entries[key][2]

    def take(self, key: int) -> bool:
        entry = self.entries.pop(key, None)
        return entry is not None and entry[1] is not None

    def expire(self, now_s: float) -> int:
        old = [key for key, (_, _, at_s) in self.entries.items() if now_s - at_s >= self.ttl_s]
        return sum(self.take(key) for key in old)


def size(value: Value) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    return 8 * len(value) if isinstance(value, list) else 0


@settings(max_examples=300)
@given(st.integers(1, 12), st.integers(100, 2000), st.lists(STEP, max_size=80))
def test_it_is_an_ordered_dict_with_bounds(keep: int, max_bytes: int, steps: list[Any]) -> None:
    ours, oracle, now_s = Waiting(keep, max_bytes, 60.0), Oracle(keep, max_bytes, 60.0), 0.0
    for tag, (what, which, value) in enumerate(steps):
        if what == "put":
            assert ours.take(which) == oracle.take(which)
            assert ours.put(which, tag, value, now_s) == oracle.put(which, tag, value, now_s)
        elif what == "answer":
            ours.answer(which)
            oracle.answer(which)
        elif what == "take":
            assert ours.take(which) == oracle.take(which)
        else:
            now_s += which
            assert ours.expire(now_s) == oracle.expire(now_s)
        assert (len(ours), ours.bytes) == (len(oracle.entries), oracle.bytes)
        for key, (own, held, _) in oracle.entries.items():
            assert ours.find(key) == (own, held)
        assert ours.tags() == {own for own, _, _ in oracle.entries.values()}
    assert ours.clear() == sum(value is not None for _, value, _ in oracle.entries.values())
    assert (len(ours), ours.bytes, ours.find(1)) == (0, 0, None)


def test_a_day_of_a_full_table_takes_no_more_memory_than_its_first_hour() -> None:
    waiting, taken = Waiting(1000, 1 << 30, 3600.0), []
    for index in range(50_000):
        waiting.put(join_id(1, str(index)), 0, 0.5, float(index))
        if index % 3 == 0 and index > 500:
            waiting.take(join_id(1, str(index - 400)))
        if index >= 5_000 and index % 1000 == 0:
            taken.append(waiting.memory_bytes)
    assert len(waiting) <= 1000
    assert len(set(taken)) == 1
    assert taken[0] <= ENTRY_BYTES * 1000


def test_siphash_is_that_of_the_paper() -> None:
    """J.-P. Aumasson, D. J. Bernstein, SipHash (2012), appendix A; and the reference's vectors of 0 and 8 bytes."""
    key = 0x0706050403020100, 0x0F0E0D0C0B0A0908
    assert siphash(*key, bytes(range(15))) == 0xA129CA6149BE45E5
    assert siphash(*key, b"") == 0x726FDB47DD0E0E31
    assert siphash(*key, bytes(range(8))) == 0x93F5F5799A932462


def test_ids_are_told_apart_and_hang_on_the_secret() -> None:
    ids = {join_id(1, f"{kind}{index}") for kind in ("a", "b-") for index in range(10_000)}
    assert len(ids) == 20_000
    assert join_id(1, "a") == join_id(1, "a") != join_id(2, "a")
    assert join_id(1, "\ud800") != join_id(1, "\ud801")


def test_bad_input_is_refused_and_changes_nothing() -> None:
    for keep in (0, -1, (1 << 24) + 1):
        with pytest.raises(ValueError, match="keep must be"):
            Waiting(keep, 1000, 1.0)
    waiting = Waiting(2, 1000, 1.0)
    waiting.put(1, 0, 0.5, 0.0)
    with pytest.raises(ValueError, match="waits already"):
        waiting.put(1, 0, 0.5, 0.0)
    with pytest.raises(TypeError):
        waiting.put(2, 0, object(), 0.0)  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        waiting.put(2, MAX_TAGS, 0.5, 0.0)
    with pytest.raises(ValueError, match="as many numbers"):
        waiting.put_numbers(bytes(8), bytes(16), 0, 0.0, waiting)
    with pytest.raises(ValueError, match="as many numbers"):
        waiting.put_numbers(bytes(9), bytes(9), 0, 0.0, waiting)
    assert (len(waiting), waiting.find(1)) == (1, (0, 0.5))
