"""Each failure of predictions is injected into a running agent, after its healthy twin, which raises nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.failures.catalogue import OF_PREDICTIONS, Failure
from tests.failures.world import World, data_of

HEALTHY_ROWS = 3000


@pytest.mark.parametrize("failure", OF_PREDICTIONS, ids=lambda failure: failure.name)
def test_the_failure_is_told_and_its_twin_is_not(
    failure: Failure, world: World, note_delay: Callable[[str, str], None]
) -> None:
    model = failure.model
    send = world.send_with_truths if failure.truths else world.send
    send(model, failure.healthy(world.plant, HEALTHY_ROWS))
    world.settle()
    assert [row["message"] for row in world.alarms()] == []

    first, began_s = world.sent[model], time.monotonic()
    send(model, failure.bad(world.plant, failure.within))
    row = world.wait_for_event(failure.event, failure.stream, 20.0)
    assert row["severity"] in ("alarm", "warning")
    delay = f"{time.monotonic() - began_s:.1f} s"
    if (prediction := data_of(row).get("prediction")) is not None:
        assert first < prediction <= first + failure.within
        delay = "at once" if prediction == first + 1 else f"{prediction - first} predictions"
    note_delay(failure.name, delay)
