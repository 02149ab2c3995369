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
from edgemon.records import Event, Prediction
from edgemon.ship.refused import Note
from tests.spool.helpers import Settings, new_spool
from tests.spool.memory_fs import MemoryFileSystem


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


def test_what_the_shipper_could_not_read_becomes_a_gap_unless_the_spool_knows_of_it() -> None:
    spool = new_spool(MemoryFileSystem(), Settings())
    spool.open()
    spool.drop("pred", spool.next_seq("pred"), 3, "dropped")
    told: list[Event] = []
    agent = SimpleNamespace(
        storage=SimpleNamespace(spool=spool), emit_event=lambda event, _: told.append(event)
    )
    commands = Commands(cast("Agent", agent))
    note: dict[str, object] = {
        **Note("ab" * 16, "pred", 1, 1, 0, "damaged", "it could not be read")._asdict()
    }
    assert commands.lost(dict(note)) == {} and told == []
    assert commands.lost(note | {"to_seq": 2}) == {}
    [gap] = told
    assert gap.type == "gap" and gap.data is not None
    assert (gap.data["to_seq"], gap.data["reason"]) == (2, "damaged")
    for wrong in ({"what": "bored"}, {"from_seq": 0}, {"to_seq": 0}, {"kind": "x"}, {"stream": ""}):
        with pytest.raises(UsageError):
            commands.lost(note | wrong)
    spool.close()
