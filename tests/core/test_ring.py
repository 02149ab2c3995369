"""The ring of doubles, against a deque."""

from __future__ import annotations

import math
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon._core.ring import Ring


@given(st.integers(1, 12), st.lists(st.one_of(st.floats(), st.just(None)), max_size=60))
def test_ring_keeps_the_last_values_oldest_first(
    capacity: int, actions: list[float | None]
) -> None:
    ring, oracle = Ring(capacity), deque[float](maxlen=capacity)
    for x in actions:
        if x is None:
            ring.clear()
            oracle.clear()
        else:
            ring.push(x)
            oracle.append(x)
        # repr, because NaN equals nothing and -0.0 equals 0.0
        assert list(map(repr, ring.to_list())) == list(map(repr, oracle))
        assert len(ring) == len(oracle)
        assert repr(ring.last) == repr(oracle[-1] if oracle else None)
    assert ring.capacity == capacity


@pytest.mark.parametrize("capacity", [0, -1, 2**28 + 1])
def test_impossible_capacities_are_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match="capacity must be 1 to"):
        Ring(capacity)


def test_bool_and_text_are_no_numbers() -> None:
    ring = Ring(2)
    for wrong in (True, "1", None):
        with pytest.raises(TypeError):
            ring.push(wrong)  # type: ignore[arg-type]
    ring.push(math.nan)
    assert len(ring) == 1


def test_memory_is_as_stated() -> None:
    assert Ring(1000).memory_bytes - Ring(1).memory_bytes == 8 * 999
