"""Each failure of a device is made to happen to a running agent, after its healthy twin, which raises nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.failures.acts import OF_DEVICES, DeviceFailure
from tests.failures.world import World


@pytest.mark.parametrize("failure", OF_DEVICES, ids=lambda failure: failure.name)
def test_the_failure_is_told_and_its_twin_is_not(
    failure: DeviceFailure, world: World, note_delay: Callable[[str, str], None]
) -> None:
    world.send("wear", world.plant.wear(1000))
    failure.twin(world)
    world.settle()
    assert [row["message"] for row in world.alarms()] == []
    began = time.monotonic()
    failure.act(world)
    row = world.wait_for_event(failure.event, failure.stream, 30.0)
    seconds = time.monotonic() - began
    assert row["severity"] in ("alarm", "warning")
    note_delay(failure.name, f"{seconds:.1f} s")
