"""When bursts are due, with clocks that are set, daylight-saving changes, and none at all."""

from __future__ import annotations

import doctest
import time
from collections.abc import Iterator

import pytest

from edgemon.flow import schedule
from edgemon.flow.schedule import CHECK_S, NEVER, Schedule

DAY = 86400.0


@pytest.fixture(params=["UTC", "Europe/Berlin"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def local(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M"))


def test_every_is_due_at_once_and_then_so_often() -> None:
    plan = Schedule(3600.0, [], 100.0, 0.0)
    assert plan.due(100.0, 0.0) and not plan.due(3699.0, 0.0)
    assert plan.next_s(3699.0, 0.0) == 1.0
    assert plan.due(3700.0, 0.0)


def test_after_a_long_sleep_one_is_due_and_not_all_that_were_missed() -> None:
    plan = Schedule(10.0, [], 0.0, 0.0)
    assert plan.due(1000.0, 0.0) and not plan.due(1000.0, 0.0)


def test_every_does_not_look_at_the_wall_clock() -> None:
    plan = Schedule(10.0, [], 0.0, 1e9)
    assert plan.due(0.0, 1e9)
    assert not plan.due(5.0, 2e9) and not plan.due(6.0, 0.0)
    assert plan.wait_s(5.0, 5e8) == 5.0


@pytest.mark.usefixtures("zone")
def test_the_next_time_of_day_is_today_or_tomorrow() -> None:
    wall = local("2026-01-10 12:00")
    plan = Schedule(0.0, ["18:30", "02:00"], 0.0, wall)
    assert not plan.due(0.0, wall)
    assert plan.next_s(0.0, wall) == 6.5 * 3600
    assert plan.due(0.0, local("2026-01-10 18:30"))
    assert plan.next_s(0.0, local("2026-01-10 18:30")) == 7.5 * 3600
    assert plan.wait_s(0.0, local("2026-01-10 18:30")) == CHECK_S


@pytest.mark.usefixtures("zone")
def test_a_day_of_a_daylight_saving_change_has_each_time_once() -> None:
    wall = local("2026-03-28 12:00")
    plan = Schedule(0.0, ["02:30", "23:00"], 0.0, wall)
    fired = []
    while wall < local("2026-03-30 12:00"):
        if plan.due(0.0, wall):
            fired.append(time.strftime("%d", time.localtime(wall)))
        wall += 60
    assert fired == ["28", "29", "29", "30"]


def test_a_clock_that_is_set_makes_the_time_that_it_passed_due() -> None:
    plan = Schedule(0.0, ["02:00"], 0.0, 0.0)
    assert plan.due(0.0, 1.7e9) and not plan.due(1.0, 1.7e9 + 1)
    # Set back: the next one is a day away at most again.
    assert not plan.due(2.0, 1.6e9)
    assert plan.next_s(2.0, 1.6e9) <= DAY + 3600


def test_nothing_is_due_without_times() -> None:
    plan = Schedule(0.0, [], 0.0, 0.0)
    assert not plan.due(1e9, 1e9)
    assert plan.wait_s(0.0, 0.0) == plan.next_s(0.0, 0.0) == NEVER


def test_the_example_is_true() -> None:
    found = doctest.testmod(schedule)
    assert found.attempted and not found.failed
