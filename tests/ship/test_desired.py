"""The courier: what it hands over, how often, and what it publishes; and the sink's part of it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from edgemon.control import Message
from edgemon.errors import EdgemonError, UnreachableError
from edgemon.metrics import Counters
from edgemon.ship import sink as sinks
from edgemon.ship.desired import MIN_GAP_S, RETRY_S, SUBSCRIBED_WITHIN_S, WATCH_S, Courier
from edgemon.ship.sink import NEVER
from tests.ship.brokers import ScriptedBroker, connack
from tests.ship.rig import Driver, make_config, parcel

REPORT: Message = {"status": "applied", "config": "aa", "trial_s": None}


class World:
    """An agent that answers to order, and a connection that keeps what is published."""

    def __init__(self) -> None:
        self.asked: list[Message] = []
        self.answer: Message | Exception = REPORT
        self.published: list[Message] = []
        self.changed: list[str] = []
        self.counters = Counters()
        self.courier = Courier(
            self._ask, lambda: {"connected": True}, self.changed.append, self.counters
        )

    def _ask(self, question: Message) -> Message:
        self.asked.append(question)
        if isinstance(self.answer, Exception):
            raise self.answer
        return dict(self.answer)

    def up(self, now: float) -> None:
        self.courier.on_up(lambda report: self.published.append(json.loads(report)), now)

    def handed_over(self) -> list[bytes]:
        return [
            base64.b64decode(str(question["message"]))
            for question in self.asked
            if question["cmd"] == "desired"
        ]


@pytest.fixture
def world() -> World:
    return World()


def test_a_message_is_handed_over_with_the_state_of_shipping(world: World) -> None:
    world.up(0.0)
    world.courier.on_message(b"\xffbytes as they came\n")
    world.courier.step(0.0)
    assert world.handed_over() == [b"\xffbytes as they came\n"]
    assert all(question["connected"] is True for question in world.asked)


def test_of_a_flood_the_last_one_is_handed_over_and_not_often(world: World) -> None:
    world.up(0.0)
    now = 0.0
    for number in range(1000):
        now = number * 0.01
        world.courier.on_message(b"%d" % number)
        world.courier.step(now)
    assert len(world.handed_over()) == 2  # in 10 s
    world.courier.step(now + MIN_GAP_S)
    assert world.handed_over()[-1] == b"999"
    dropped = world.counters.get("edgemon_ship_dropped_messages_total", reason="newer_came")
    assert dropped == 1000 - 3


def test_a_message_that_was_deleted_is_none(world: World) -> None:
    world.up(0.0)
    world.courier.on_message(b"")
    world.courier.step(0.0)
    assert world.handed_over() == []


def test_while_the_agent_is_away_the_last_message_waits(world: World) -> None:
    world.answer = UnreachableError("nobody")
    world.up(0.0)
    world.courier.on_message(b"one")
    world.courier.step(0.0)
    assert not world.courier.settled(0.0)
    world.courier.on_down()
    world.answer = REPORT
    assert world.courier.deadline() == RETRY_S
    world.courier.step(RETRY_S)
    assert world.handed_over() == [b"one", b"one"]
    assert world.courier.settled(RETRY_S) and world.courier.deadline() == NEVER
    assert world.published == []  # there is no connection


def test_an_agent_that_knows_no_such_command_ends_it(world: World) -> None:
    world.answer = EdgemonError("unknown command 'desired'")
    world.up(0.0)
    world.courier.on_message(b"one")
    world.courier.step(0.0)
    world.courier.step(100.0)
    assert world.handed_over() == [b"one"]
    assert world.counters.get("edgemon_ship_dropped_messages_total", reason="agent_refuses") > 0


def test_a_report_is_published_when_it_is_another_and_with_each_connection(world: World) -> None:
    world.up(0.0)
    world.courier.step(0.0)
    assert world.published == [{"status": "applied", "config": "aa"}]
    world.courier.look()
    world.courier.step(1.0)
    assert len(world.published) == 1
    world.answer = REPORT | {"status": "rolled_back"}
    world.courier.look()
    world.courier.step(2.0)
    assert world.published[-1]["status"] == "rolled_back"
    world.courier.on_down()
    world.up(3.0)
    world.courier.step(3.0)
    assert len(world.published) == 3


def test_on_trial_the_agent_is_told_again_and_again_and_else_not(world: World) -> None:
    world.answer = REPORT | {"trial_s": 60.0}
    world.up(0.0)
    world.courier.on_subscribed()
    world.courier.step(0.0)
    assert world.courier.deadline() == WATCH_S
    world.answer = REPORT
    world.courier.step(WATCH_S)
    assert len(world.asked) == 2 and world.courier.deadline() == NEVER
    assert world.changed == ["aa", "aa"]


def test_the_end_of_a_burst_waits_for_what_the_broker_retains(world: World) -> None:
    world.up(0.0)
    assert not world.courier.settled(0.0)
    world.courier.on_subscribed()
    assert world.courier.settled(0.0)
    world.up(10.0)
    assert not world.courier.settled(10.0 + SUBSCRIBED_WITHIN_S / 2)
    assert world.courier.settled(10.0 + SUBSCRIBED_WITHIN_S)  # a broker that never answers


def test_the_end_of_a_burst_does_not_wait_for_an_agent_that_is_away(world: World) -> None:
    """`ship --once` after the agent was stopped never ended where the broker retained a message."""
    world.answer = UnreachableError("no agent")
    world.up(0.0)
    world.courier.on_message(b"one")
    world.courier.on_subscribed()
    assert not world.courier.settled(0.0)
    world.courier.step(0.0)
    assert world.courier.settled(0.0)
    world.courier.on_message(b"two")  # is tried, too
    assert not world.courier.settled(0.0)


# ---- the sink


def driver_of(folder: Path, port: int, world: World, **mqtt: str) -> Driver:
    driver = Driver(make_config(folder, port, **mqtt))
    context = driver.sink._context._replace(courier=world.courier)  # type: ignore[attr-defined]
    driver.sink = sinks.make(context)
    return driver


def test_a_broker_that_forbids_the_topic_still_gets_the_batches(
    short_tmp: Path, world: World
) -> None:
    broker = ScriptedBroker(connack=connack())
    driver = driver_of(short_tmp, broker.port, world)
    try:
        driver.start()
        broker.send(b"\x90\x04\x00\x02\x00\x87")  # SUBACK of packet 2: not authorized
        driver.drive(
            lambda: driver.counters.get("edgemon_ship_errors_total", reason="desired_refused")
        )
        driver.send(parcel("pred", 1))
        assert driver.reports.downs == [] and world.courier.settled(0.0)
    finally:
        driver.sink.close()
        broker.close()


def test_a_report_that_the_broker_would_not_take_is_left_out(short_tmp: Path, world: World) -> None:
    """It would close the connection for it, again and again."""
    broker = ScriptedBroker(
        connack=connack(properties=b"\x27\x00\x00\x01\x00")
    )  # 256 bytes a packet
    driver = driver_of(short_tmp, broker.port, world)
    world.answer = REPORT | {"reason": "x" * 300}
    try:
        driver.start()
        world.courier.step(1e9)
        assert driver.counters.get("edgemon_ship_errors_total", reason="report_too_large") == 1
        world.answer = REPORT
        world.courier.look()
        world.courier.step(2e9)
        driver.drive(lambda: any(topic.endswith("/reported") for topic, _ in broker.published))
        assert len([topic for topic, _ in broker.published if topic.endswith("/reported")]) == 1
    finally:
        driver.sink.close()
        broker.close()


def test_the_report_is_retained_and_what_is_desired_reaches_the_courier(
    short_tmp: Path, world: World
) -> None:
    broker = ScriptedBroker(connack=connack())
    driver = driver_of(short_tmp, broker.port, world)
    try:
        driver.start()
        world.courier.step(0.0)
        world.courier.look()
        world.courier.step(1e9)
        driver.drive(lambda: any(topic.endswith("/reported") for topic, _ in broker.published))
        (report,) = [json.loads(p) for topic, p in broker.published if topic.endswith("/reported")]
        assert report == {"status": "applied", "config": "aa"}
        topic = b"edgemon/v1/lab/cam-7/desired"
        body = len(topic).to_bytes(2) + topic + b"\x00" + b"signed"
        broker.send(bytes([0x31, len(body)]) + body)
        driver.drive(lambda: not world.courier.settled(1e9))
        world.courier.step(2e9)
        assert world.handed_over() == [b"signed"]
    finally:
        driver.sink.close()
        broker.close()
