"""What the agent answers on its control socket, without the socket."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from edgemon.agent.agent import Agent
from edgemon.agent.control import Commands
from edgemon.agent.loop import Loop
from edgemon.agent.pipeline import Pipeline
from edgemon.agent.recording import ABANDONED_AFTER_S
from edgemon.config import parse
from edgemon.errors import UsageError
from edgemon.metrics import Counters
from edgemon.records import Prediction


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Device:
    def __init__(self) -> None:
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.counters = Counters()
        self.pipeline = Pipeline(parse(""), {}, self.counters, lambda *_: None, lambda *_: None)
        agent = SimpleNamespace(loop=self.loop, pipeline=self.pipeline, counters=self.counters)
        self.commands = Commands(cast("Agent", agent))
        self.predict()

    def predict(self) -> None:
        record = Prediction("m", "1", {"a": 1.0}, 0.5, None, None, None)
        self.pipeline.prediction(record, round(self.clock.now_s * 1e9), 1e9)

    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds
        self.loop.turn(0.0)


def test_a_recording_that_nobody_asks_for_any_more_is_let_go() -> None:
    device = Device()
    who: dict[str, object] = {"model": "m"}
    device.commands.record({**who, "predictions": 100})
    for _ in range(10):  # as long as somebody asks
        device.wait(ABANDONED_AFTER_S - 1)
        device.predict()
        device.commands.recorded(who)
    assert device.pipeline.find("m", None).recording is not None
    device.wait(ABANDONED_AFTER_S / 2)
    device.commands.take_recording({**who, "stream": "output"})
    device.wait(ABANDONED_AFTER_S - 1)
    assert device.pipeline.find("m", None).recording is not None
    device.wait(2)
    assert device.pipeline.find("m", None).recording is None
    assert device.counters.get("edgemon_agent_abandoned_recordings_total") == 1
    with pytest.raises(UsageError, match="nothing is being recorded"):
        device.commands.recorded(who)


def test_a_recording_that_was_fetched_leaves_the_next_one_alone() -> None:
    device = Device()
    who: dict[str, object] = {"model": "m"}
    device.commands.record({**who, "predictions": 100})
    device.commands.take_recording(who)
    device.wait(ABANDONED_AFTER_S / 2)
    device.commands.record({**who, "predictions": 100})
    device.wait(ABANDONED_AFTER_S / 2 + 1)
    assert device.pipeline.find("m", None).recording is not None
    assert device.counters.get("edgemon_agent_abandoned_recordings_total") == 0
