"""Telling the same thing again and again is bounded, and different things do not share the bound."""

from __future__ import annotations

from edgemon.flow.limit import TellLimit


def test_a_flood_is_cut_off_and_begins_anew_with_the_next_span() -> None:
    limit = TellLimit(count=30, span_s=60.0)
    assert sum(limit.allow("model.started", 5.0 + i / 100) for i in range(1_000)) == 30
    assert sum(limit.allow("model.started", 65.0 + i / 100) for i in range(1_000)) == 30


def test_each_name_has_its_own_count() -> None:
    limit = TellLimit(count=1, span_s=60.0)
    assert limit.allow("a", 0.0)
    assert limit.allow("b", 0.0)
    assert not limit.allow("a", 0.0)
