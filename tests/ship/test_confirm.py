"""What a receiver has to confirm: the cursor waits for it, and what is not confirmed goes again."""

from __future__ import annotations

import doctest

import pytest

from edgemon.errors import DamagedError
from edgemon.metrics import Counters
from edgemon.records import KINDS
from edgemon.ship import acks, lane
from edgemon.ship.progress import MAX_AHEAD
from edgemon.ship.shipper import Shipper
from tests.ship.fakes import STREAM, Clock, FakeSink, FakeSource
from tests.ship.test_shipper import SETTINGS, Bench

CONFIRMED = SETTINGS._replace(confirm="receiver", confirm_timeout_s=60.0)


class ConfirmedBench(Bench):
    def __init__(self) -> None:
        self.clock = Clock()
        self.source = FakeSource()
        self.counters = Counters()
        self.shipper = Shipper(self.source, CONFIRMED, self.counters, self.clock, lambda: 1.0)
        self.sink = FakeSink(1000)
        self.sink.events = self.shipper
        self.shipper.use(self.sink, CONFIRMED)

    def deliver_all(self) -> None:
        """The broker acknowledges; no receiver says anything."""
        self.acknowledge_all()

    def confirm(self, stream: str = STREAM, **stored: int) -> None:
        self.shipper.on_confirmed(stream, stored)
        self.shipper.step()


@pytest.fixture
def bench() -> ConfirmedBench:
    bench = ConfirmedBench()
    bench.source.add("pred", *range(1, 11))
    bench.connect()
    return bench


def test_the_cursor_waits_for_the_receiver(bench: ConfirmedBench) -> None:
    bench.deliver_all()
    assert bench.source.moving["pred"] == 0
    assert bench.shipper.settled and not bench.shipper.idle
    bench.confirm(pred=4)
    assert bench.source.moving["pred"] == 4
    bench.confirm(pred=10)
    assert bench.source.moving["pred"] == 10
    assert bench.shipper.idle


def test_a_broker_that_acknowledges_frees_the_window_at_once(bench: ConfirmedBench) -> None:
    bench.deliver_all()
    assert len(bench.sink.sent) == 10 > CONFIRMED.max_inflight


def test_the_cursor_never_goes_back(bench: ConfirmedBench) -> None:
    bench.deliver_all()
    bench.confirm(pred=7)
    bench.confirm(pred=3)
    assert bench.shipper.outbox.acked()["pred"] == 7


def test_each_numbering_of_a_copied_card_is_confirmed_by_itself() -> None:
    bench = ConfirmedBench()
    bench.source.add("pred", *range(1, 6))
    bench.source.bygone = {("pred", seq): "ee" * 16 for seq in (1, 2, 3)}
    bench.connect()
    bench.deliver_all()
    assert bench.shipper.outbox.asked() == ("ee" * 16, dict.fromkeys(KINDS, 0))
    bench.confirm(STREAM, pred=5)
    assert bench.shipper.outbox.acked()["pred"] == 0, "1 to 3 are of another stream"
    bench.confirm("ee" * 16, pred=9)
    assert bench.shipper.idle
    assert bench.source.moving["pred"] == 5


def test_receivers_are_asked_for_the_stream_of_the_oldest_batch_then_for_the_next() -> None:
    bench = ConfirmedBench()
    bench.source.add("pred", *range(1, 6))
    bench.source.bygone = {("pred", seq): "ee" * 16 for seq in (1, 2, 3)}
    bench.connect()
    bench.deliver_all()
    announced = bench.sink.announced
    bench.confirm("ee" * 16, pred=3)
    assert bench.sink.announced == announced + 1
    assert bench.shipper.outbox.asked() == (STREAM, dict.fromkeys(KINDS, 0) | {"pred": 3})
    bench.confirm(STREAM, pred=5)
    assert bench.shipper.idle


def test_a_confirmation_of_another_stream_is_ignored_and_counted(bench: ConfirmedBench) -> None:
    bench.deliver_all()
    bench.confirm("ee" * 16, pred=10)
    assert bench.shipper.outbox.acked()["pred"] == 0
    assert bench.counters.get("edgemon_ship_ignored_acks_total", reason="other_stream") == 1


def test_a_confirmation_above_what_was_sent_counts_for_what_was_sent(
    bench: ConfirmedBench,
) -> None:
    bench.deliver_all()
    bench.confirm(pred=10**9)
    assert bench.shipper.outbox.acked()["pred"] == 10
    assert bench.counters.get("edgemon_ship_ignored_acks_total", reason="not_sent") == 1
    bench.source.add("pred", 11)
    bench.shipper.wake()
    bench.shipper.step()
    bench.deliver_all()
    assert bench.shipper.outbox.acked()["pred"] == 10, "11 was not sent then"


def test_what_is_not_confirmed_in_time_is_sent_again_and_then_after_twice_as_long(
    bench: ConfirmedBench,
) -> None:
    bench.deliver_all()
    bench.confirm(pred=8)
    assert bench.shipper.deadline() <= bench.clock() + 60.0
    bench.wait(59.0)
    assert len(bench.sink.sent) == 10
    bench.wait(1.0)
    assert bench.sink.sent[10:] == [("pred", 9), ("pred", 10)]
    bench.deliver_all()
    bench.wait(119.0)
    assert len(bench.sink.sent) == 12
    bench.wait(1.0)
    assert bench.sink.sent[12:] == [("pred", 9), ("pred", 10)]


def test_a_batch_that_the_spool_dropped_meanwhile_is_passed_over(bench: ConfirmedBench) -> None:
    bench.deliver_all()
    for seq in range(1, 10):
        del bench.source.batches["pred", seq]
    bench.wait(60.0)
    bench.deliver_all()
    bench.confirm(pred=10)
    assert bench.shipper.outbox.acked()["pred"] == 10


def test_a_new_connection_sends_what_the_broker_did_not_acknowledge_and_no_more(
    bench: ConfirmedBench,
) -> None:
    bench.sink.acknowledge("pred", 1, 2)
    bench.sink.fail()
    bench.wait(1.0)
    bench.sink.connect()
    bench.shipper.step()
    assert bench.sink.in_flight == [("pred", 3), ("pred", 4), ("pred", 5), ("pred", 6)]


def test_a_kind_that_nobody_confirms_takes_no_more_than_its_bound() -> None:
    bench = ConfirmedBench()
    bench.source.add("pred", *range(1, MAX_AHEAD + 100))
    bench.connect()
    bench.deliver_all()
    assert len(bench.sink.sent) == MAX_AHEAD
    bench.confirm(pred=5)
    bench.deliver_all()
    assert len(bench.sink.sent) == MAX_AHEAD + 5


def test_with_the_brokers_word_a_confirmation_means_nothing() -> None:
    bench = Bench()
    bench.source.add("pred", 1)
    bench.connect()
    bench.shipper.on_confirmed(STREAM, {"pred": 1})
    assert bench.shipper.outbox.acked()["pred"] == 0


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"stream":1,"stored":{}}',
        b'{"stream":"a","stored":[]}',
        b'{"stream":"a","stored":{"pred":"7"}}',
        b'{"stream":"a","stored":{"pred":true}}',
        b'{"stream":"a","stored":{"pred":-1}}',
        b'{"stream":"a","stored":{"pred":9223372036854775808}}',
        b'{"stream":"a","stored":{"other":1}}',
        b'{"stream":"a","stored":{"pred":1e3}}',
        b"[" * 4000,
        b" " * 4097,
    ],
)
def test_a_confirmation_that_is_none_is_refused(payload: bytes) -> None:
    with pytest.raises(DamagedError):
        acks.decode(payload)


def test_the_examples_are_true() -> None:
    for module in (acks, lane):
        found = doctest.testmod(module)
        assert found.attempted and not found.failed
