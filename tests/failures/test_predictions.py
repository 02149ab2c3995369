"""Each failure of predictions is injected into a running agent, after its healthy twin, which raises nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.failures.catalogue import OF_PREDICTIONS, Failure
from tests.failures.world import World, data_of

HEALTHY_ROWS = 3000


@pytest.fixture
def world(request: pytest.FixtureRequest, short_tmp: Path, profiles: Path) -> Iterator[World]:
    failure = request.getfixturevalue("failure")
    made = World(short_tmp, profiles, failure.toml, seed=2)
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize("failure", OF_PREDICTIONS, ids=lambda failure: failure.name)
def test_the_failure_is_told_and_its_twin_is_not(
    failure: Failure, world: World, note_delay: Callable[[str, str], None]
) -> None:
    model = failure.model
    rows = failure.healthy(world.plant, HEALTHY_ROWS)
    world.send(model, rows)
    if failure.truths:
        world.tell_truths(model, rows)
    world.settle()
    assert [row["message"] for row in world.alarms()] == []

    began = world.sent[model]
    rows = failure.bad(world.plant, failure.within)
    world.send(model, rows)
    if failure.truths:
        world.tell_truths(model, rows)
    world.settle()
    row = world.find(failure.event, failure.stream)
    assert row is not None, [(one["type"], one["stream"]) for one in world.alarms()]
    assert row["severity"] in ("alarm", "warning")
    delay = data_of(row)["prediction"] - began
    assert 0 < delay <= failure.within
    note_delay(failure.name, f"{delay} predictions")
