"""When a model is silent, by its own pace or by rule."""

from __future__ import annotations

import math
import random

import pytest

from edgemon.quality.silence import Silence

DAY_S = 86_400.0


def regular(every_s: float, for_s: float) -> Silence:
    silence, now_s = Silence(0.0, 0.0), 0.0
    while now_s < for_s:
        now_s += every_s
        assert silence.heard(now_s) is None
    return silence


def is_told(silence: Silence, now_s: float) -> bool:
    """As the agent asks: when it is due, and a second later."""
    return any(silence.check(at_s) is not None for at_s in (now_s, now_s + 1.0))


def test_ten_times_the_longest_pause_of_a_day_is_told_once() -> None:
    silence = regular(30.0, DAY_S + 60.0)
    last_s = silence.last_s
    assert silence.due_s == pytest.approx(last_s + 300.0)
    assert not is_told(silence, last_s + 200.0)
    assert is_told(silence, last_s + 301.0)
    assert not is_told(silence, last_s + 900.0)
    news = silence.heard(last_s + 1_000.0)
    assert news is not None and news.over and news.data["silent_s"] == 1_000.0
    assert silence.due_s == pytest.approx(silence.last_s + 10_000.0)


@pytest.mark.parametrize("seen_s", [60.0, 3_600.0, DAY_S / 2])
def test_who_was_not_seen_for_a_day_is_not_asked(seen_s: float) -> None:
    assert regular(1.0, seen_s).due_s == math.inf


def test_pauses_with_a_long_tail_are_never_told() -> None:
    rng = random.Random(2)
    silence, now_s = Silence(0.0, 0.0), 0.0
    told = 0
    for _ in range(20_000):
        pause_s = rng.paretovariate(1.0)
        told += is_told(silence, now_s + pause_s - 1e-3)
        now_s += pause_s
        silence.heard(now_s)
    assert told == 0


def test_a_pause_is_forgotten_after_two_weeks() -> None:
    silence = regular(60.0, DAY_S)
    silence.heard(DAY_S + 30_000.0)
    limit_s = silence.limit_s
    now_s = silence.last_s
    while now_s < 17 * DAY_S:
        now_s += 60.0
        silence.heard(now_s)
    assert silence.limit_s == pytest.approx(600.0) and limit_s != silence.limit_s


def test_by_rule_there_is_nothing_to_learn() -> None:
    silence = Silence(10.0, 100.0)
    assert not is_told(silence, 105.0)
    assert is_told(silence, 110.5)


def test_what_the_agent_did_not_hear_is_not_counted() -> None:
    silence = Silence(10.0, 100.0)
    silence.away(109.0)
    assert not is_told(silence, 112.0)
    assert is_told(silence, 119.5)


def test_the_first_look_only_makes_it_suspect() -> None:
    """What waits in a socket is read between the two: the agent itself may have been away."""
    silence = Silence(10.0, 100.0)
    assert silence.check(500.0) is None
    silence.heard(500.1)
    assert silence.check(501.0) is None


def test_the_pace_goes_on_after_a_restart() -> None:
    silence = regular(30.0, DAY_S + 60.0)
    again = Silence(0.0, 5.0)
    again.restore(silence.to_state())
    assert again.due_s == pytest.approx(5.0 + 300.0)
    for bad in ([1.0], [-1.0] * 5, [math.nan] * 5, ["x"] * 5):
        with pytest.raises((ValueError, TypeError)):
            Silence(0.0, 0.0).restore(bad)
