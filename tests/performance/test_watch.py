"""Concept drift on errors: found with a stated delay, silent on healthy streams, with a latch and a way back."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest

from edgemon.performance.watch import CLEARED, STARTED, ErrorWatch, Promised

PROMISED = Promised(0.01 * 0.04, 1_000_000)  # of a model's default budget


def watch_of(hits: int = 500, rows: int = 10_000, window: int = 1_000) -> ErrorWatch:
    watch = ErrorWatch(PROMISED, window, 1_000)
    watch.refer(hits, rows)
    return watch


def draw(rate: float, count: int, seed: int) -> list[bool]:
    chance = random.Random(seed)
    return [chance.random() < rate for _ in range(count)]


def changes(watch: ErrorWatch, answers: list[bool]) -> list[tuple[int, str]]:
    told = [(at, watch.answer(wrong)) for at, wrong in enumerate(answers, 1)]
    return [(at, change) for at, change in told if change is not None]


@pytest.mark.parametrize(("rate", "at_most"), [(0.1, 2_500), (0.2, 350), (0.5, 75), (1.0, 10)])
def test_a_rise_of_the_error_rate_is_found_with_its_delay(rate: float, at_most: int) -> None:
    for seed in range(20):
        watch = watch_of()
        assert changes(watch, draw(0.05, 5_000, seed)) == []
        answers = draw(rate, at_most, seed + 100)
        delay = next(at for at, wrong in enumerate(answers, 1) if watch.answer(wrong) == STARTED)
        told = watch.explain()
        assert told["reference_rate"] == 0.05 and told["rate_upper"] < 0.065
        # Where it began is an estimate; a large change tells it well.
        assert rate < 0.2 or abs(told["since_answers"] - delay) < 200
        # Of the answers since then, and not of a window that is mostly from before.
        assert rate < 0.2 or told["rate"] > max(0.6 * rate, watch.recent_rate or 0.0)


def test_a_healthy_stream_and_one_that_gets_better_are_silent() -> None:
    for seed in range(10):
        assert changes(watch_of(), draw(0.05, 50_000, seed)) == []
        assert changes(watch_of(), draw(0.01, 50_000, seed)) == []


def test_the_share_of_healthy_streams_with_any_alarm_is_at_most_what_was_promised() -> None:
    """Reference and stream are drawn anew each time, so that the reference's chance is part of it; a promise that is
    loose enough to see alarms at all."""
    promised, runs, alarms = Promised(0.5, 2_000), 400, 0
    for seed in range(runs):
        watch = ErrorWatch(promised, 200, 500)
        alarms += bool(changes(watch, draw(0.1, 2_500, seed)))
    assert 0 < alarms / runs <= 0.5


def test_one_alarm_is_latched_until_a_whole_window_is_calm() -> None:
    watch = watch_of()
    told = changes(watch, [*draw(0.4, 5_000, 1), *draw(0.05, 5_000, 2), *draw(0.4, 500, 3)])
    assert [change for _, change in told] == [STARTED, CLEARED, STARTED]
    cleared = told[1][0]
    assert 6_000 <= cleared <= 7_100  # a whole window after the errors ended
    assert watch.latched


def test_where_an_alarm_ends_no_rate_is_made_up() -> None:
    watch = watch_of()
    assert watch.recent_rate is None
    changes(watch, draw(0.05, 4_000, 1))
    assert watch.recent_rate == pytest.approx(0.05, abs=0.02)
    changes(watch, draw(0.4, 1_000, 2))
    assert next(told for wrong in draw(0.05, 5_000, 3) if (told := watch.answer(wrong))) == CLEARED
    assert watch.explain()["rate"] is None


def test_the_reference_is_made_of_the_first_answers_where_there_is_none() -> None:
    watch = ErrorWatch(PROMISED, 1_000, 1_000)
    assert changes(watch, draw(0.05, 1_000, 1)) == []
    assert (watch.learning, watch.rows, watch.hits) == (0, 1_000, sum(draw(0.05, 1_000, 1)))
    assert changes(watch, draw(0.3, 300, 2))[0][1] == STARTED


def test_errors_that_depend_on_each_other_are_not_tested_and_that_is_said() -> None:
    watch = ErrorWatch(PROMISED, 1_000, 1_000)
    bursts = [at % 200 < 20 for at in range(1_000)]
    assert changes(watch, bursts + [True] * 1_000) == []
    assert "depend" in watch.blind


def test_a_reference_that_is_nearly_always_wrong_is_blind() -> None:
    watch = watch_of(10_000, 10_000)
    assert "cannot be seen to rise" in watch.blind
    assert changes(watch, [True] * 100) == []


def test_answers_at_once_are_as_one_after_the_other() -> None:
    """Right ones that are only counted (past Python) change nothing."""
    one, many = watch_of(10, 10_000), watch_of(10, 10_000)
    chance = random.Random(5)
    for _ in range(300):
        gap = chance.randrange(200)
        told = [one.answer(False) for _ in range(gap)]
        assert many.passed(gap) == next((change for change in told if change), None)
        assert one.answer(True) == many.answer(True)
        assert one.latched == many.latched
    assert one.to_state() == many.to_state() and one.answers > 20_000
    learning, counted = ErrorWatch(PROMISED, 100, 500), ErrorWatch(PROMISED, 100, 500)
    for _ in range(800):
        learning.answer(False)
    counted.passed(800)
    assert learning.to_state() == counted.to_state()


@pytest.mark.parametrize("before", [0, 500, 1_500, 3_000])
def test_a_watch_goes_on_where_it_was(before: int) -> None:
    answers = [*draw(0.05, 2_000, 1), *draw(0.3, 2_000, 2), *draw(0.05, 4_000, 3)]
    whole = ErrorWatch(PROMISED, 1_000, 1_000)
    expected = changes(whole, answers)
    assert len(expected) == 2
    first, second = ErrorWatch(PROMISED, 1_000, 1_000), ErrorWatch(PROMISED, 1_000, 1_000)
    told = changes(first, answers[:before])
    state: Any = msgpack.unpackb(msgpack.packb(first.to_state()))
    second.restore(state)
    told += [(at + before, change) for at, change in changes(second, answers[before:])]
    assert told == expected
