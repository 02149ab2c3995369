"""The promise of the rates and runs, and what survives a restart."""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import pytest

from edgemon.drift.build import ProfileBuilder
from edgemon.drift.profile import Profile
from edgemon.errors import DamagedError
from edgemon.quality.kinds import QualityNews
from edgemon.quality.model import ModelQuality
from edgemon.quality.ties import longest_run
from tests.drift.data import Budget, Settings


class Quality(NamedTuple):
    """What ModelQuality reads of config.QualitySettings."""

    learn: int = 500
    range: dict[str, tuple[float, float]] = {}  # noqa: RUF012 - never changed
    tolerance: float = 0.001
    stuck_after: int = 0
    may_stand_still: list[str] = []  # noqa: RUF012
    max_late_s: float = 300.0
    max_early_s: float = 60.0
    max_disorder_s: float = 1.0
    ignore: list[str] = []  # noqa: RUF012


def habits(rng: random.Random) -> tuple[float | None, float, str]:
    """A number that is missing or NaN now and then, a level, a text."""
    x = rng.random()
    number = None if x < 0.03 else math.nan if x < 0.05 else rng.gauss(0.0, 1.0)
    return number, float(rng.randrange(3)), rng.choices("abcdefg", (90, 5, 3, 1, 0.6, 0.3, 0.1))[0]


def feed(quality: ModelQuality, values: tuple[float | None, float, str]) -> list[QualityNews]:
    number, level, text = values
    a, b, c = (
        quality.stream("f:a", text=False),
        quality.stream("f:b", text=False),
        quality.stream("f:c", text=True),
    )
    found: list[QualityNews] = []
    for check, told in (
        (a, a.missing() if number is None else a.number(number)),
        (b, b.number(level)),
        (c, c.category(text)),
    ):
        found += check.told(told) if told else []
    return found


def profile(rng: random.Random, rows: int) -> Profile:
    builder = ProfileBuilder("m")
    for _ in range(rows):
        number, level, text = habits(rng)
        if number is not None:
            builder.number("f:a", number)
        builder.number("f:b", level)
        builder.text("f:c", text)
        builder.row_done()
    return builder.finish()


@pytest.mark.parametrize("learnt", [True, False])
def test_healthy_habits_keep_the_promise(learnt: bool) -> None:
    """A budget of 50 % over 2,000 predictions, a fifth of which is for quality; 60 models, each with a reference of its
    own."""
    drift = Settings(window=100, false_alarms=Budget(0.5, 2_000))
    alarmed = 0
    for seed in range(60):
        rng = random.Random(seed)
        made = None if learnt else profile(rng, 1_000)
        quality = ModelQuality(Quality(), drift, made, None)
        alarmed += bool([news for _ in range(2_500) for news in feed(quality, habits(rng))])
    assert alarmed <= 6  # a tenth


def test_a_restart_changes_no_alarm() -> None:
    drift = Settings(window=100)

    def values(rng: random.Random, number: int) -> tuple[float | None, float, str]:
        number_, level, text = habits(rng)
        if 1_500 <= number < 1_700 and number % 3 == 0:
            return None, 1.0, text
        if 1_500 <= number < 1_800:
            return number_, 1.0, text
        return number_, level, "new" if 2_600 <= number < 2_650 else text

    def life(restarts: frozenset[int]) -> list[tuple[int, str, str, bool]]:
        quality = ModelQuality(Quality(), drift, None, None)
        rng, found = random.Random(5), []
        for number in range(4_000):
            if number in restarts:
                quality = ModelQuality(Quality(), drift, None, None, quality.to_state())
            for news in feed(quality, values(rng, number)):
                found.append((number, news.what, news.message, news.over))
        return found

    expected = life(frozenset())
    assert {what for _, what, _, over in expected if not over} == {
        "missing",
        "stuck",
        "new_category",
    }
    assert sum(over for *_, over in expected) == 3
    assert life(frozenset({100, 499, 500, 1_550, 1_610, 1_750, 2_620, 2_800})) == expected


def test_a_state_of_something_else_or_a_damaged_one_is_refused() -> None:
    drift = Settings(window=100)
    quality = ModelQuality(Quality(), drift, None, None)
    rng = random.Random(1)
    for number in range(1_000):
        feed(quality, (None, 1.0, "x") if number > 900 else habits(rng))
    state = quality.to_state()
    with pytest.raises(DamagedError, match="settings have changed"):
        ModelQuality(Quality(), Settings(window=200), None, None, state)
    with pytest.raises(DamagedError, match="profile has changed"):
        ModelQuality(Quality(), drift, profile(rng, 500), None, state)
    for length in range(1, len(state), 53):
        with pytest.raises(DamagedError):
            ModelQuality(Quality(), drift, None, None, state[:length])
    for _ in range(300):
        damaged = bytearray(state)
        damaged[rng.randrange(len(state))] ^= 1 << rng.randrange(8)
        try:
            feed(ModelQuality(Quality(), drift, None, None, bytes(damaged)), (0.0, 1.0, "x"))
        except DamagedError as error:
            assert str(error).startswith("quality state: ")


def test_runs_are_as_long_as_said_with_the_chance_that_is_said() -> None:
    rng = random.Random(3)
    limit = longest_run(500, 1_000, 2_000, 0.2)
    reached = 0
    for _ in range(300):
        run = longest = 1
        for _ in range(2_000):
            run = run + 1 if rng.random() < 0.5 else 1
            longest = max(longest, run)
        reached += longest >= limit
    assert reached <= 0.2 * 300
    assert longest_run(500, 1_000, 2_000, 0.2, tau=10.0) > 8 * limit


def test_memory_grows_only_where_something_is_wrong() -> None:
    quality = ModelQuality(Quality(), Settings(window=100), None, None)
    rng = random.Random(1)
    for _ in range(3_000):
        feed(quality, (rng.gauss(0.0, 1.0), float(rng.randrange(3)), "a"))
    assert quality.memory_bytes == 0
    for _ in range(50):
        feed(quality, (None, 1.0, "a"))
    assert 0 < quality.memory_bytes < 3_000
    assert quality.latched() == [("missing", "f:a")]
