"""Order, window, retries, cursor and quarantine, with a fake spool, sink and clock."""

from __future__ import annotations

import doctest
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemon.config import ShipSettings
from edgemon.metrics import Counters
from edgemon.records import KINDS
from edgemon.ship import outbox, progress, shipper, trouble
from edgemon.ship.progress import Progress
from edgemon.ship.shipper import Shipper
from edgemon.ship.sink import Key
from tests.ship.fakes import Clock, FakeSink, FakeSource

SETTINGS = ShipSettings(
    sink="mqtt",
    folder="",
    folder_max_bytes=1 << 30,
    max_inflight=4,
    initial_interval_s=1.0,
    max_interval_s=300.0,
    multiplier=2.0,
    drain_timeout_s=5.0,
    confirm="broker",
    confirm_timeout_s=120.0,
    rate_limit_bytes=0,
    monthly_limit_bytes=0,
    mode="continuous",
    every_s=0.0,
    at=[],
    on_alarm=True,
)


class Bench:
    """A shipper with everything around it under control. Jitter draws are at their ceiling."""

    def __init__(self, source: FakeSource | None = None, room: int = 1000) -> None:
        self.clock = Clock()
        self.source = source or FakeSource()
        self.counters = Counters()
        self.shipper = Shipper(self.source, SETTINGS, self.counters, self.clock, lambda: 1.0)
        self.sink = FakeSink(room)
        self.sink.events = self.shipper
        self.shipper.use(self.sink, SETTINGS)

    def ending(self) -> tuple[bool, bool, bool]:
        """(the sink was asked to stop, it was closed, the shipper has stopped)"""
        return self.sink.stopping, self.sink.closed, self.shipper.stopped

    def connect(self) -> None:
        self.shipper.step()
        self.sink.connect()
        self.shipper.step()

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.shipper.step()

    def acknowledge_all(self) -> None:
        while self.sink.in_flight:
            for kind, seq in list(self.sink.in_flight):
                self.sink.acknowledge(kind, seq)
            self.shipper.step()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_alarms_overtake_raw_rows(bench: Bench) -> None:
    bench.source.add("pred", 1, 2)
    bench.source.add("sys", 1)
    bench.source.add("agg", 1)
    bench.source.add("event", 1)
    bench.connect()
    bench.acknowledge_all()
    assert bench.sink.sent == [("event", 1), ("agg", 1), ("sys", 1), ("pred", 1), ("pred", 2)]


def test_an_alarm_that_comes_later_leaves_before_the_backlog(bench: Bench) -> None:
    bench.source.add("pred", *range(1, 20))
    bench.connect()
    bench.source.add("event", 1)
    bench.shipper.wake()
    bench.sink.acknowledge("pred", 1)
    bench.shipper.step()
    assert bench.sink.sent[4] == ("event", 1)


def test_at_most_max_inflight_batches_are_under_way(bench: Bench) -> None:
    bench.source.add("pred", *range(1, 100))
    bench.connect()
    assert len(bench.sink.in_flight) == SETTINGS.max_inflight
    bench.sink.acknowledge("pred", 1, 2)
    bench.shipper.step()
    assert bench.sink.in_flight == [("pred", 3), ("pred", 4), ("pred", 5), ("pred", 6)]


def test_nothing_is_submitted_while_the_sink_is_down(bench: Bench) -> None:
    bench.source.add("pred", 1)
    bench.shipper.step()
    assert bench.sink.sent == []
    assert bench.sink.starts == 1


def test_acknowledgements_out_of_order_move_the_cursor_over_the_contiguous_part_only(
    bench: Bench,
) -> None:
    bench.source.add("pred", 1, 2, 3, 4)
    bench.connect()
    bench.sink.acknowledge("pred", 3, 2)
    assert bench.source.moving["pred"] == 0
    bench.sink.acknowledge("pred", 1)
    assert bench.source.moving["pred"] == 3


def test_each_kind_has_a_cursor_of_its_own(bench: Bench) -> None:
    bench.source.add("event", 1, 2)
    bench.source.add("pred", 1, 2)
    bench.connect()
    bench.sink.acknowledge("event", 1)
    bench.sink.acknowledge("pred", 1, 2)
    assert bench.source.moving == {"event": 1, "agg": 0, "sys": 0, "pred": 2}


def test_a_hole_in_the_numbers_is_passed_over(bench: Bench) -> None:
    bench.source.add("pred", 1, 7, 8)
    bench.connect()
    bench.acknowledge_all()
    assert bench.source.moving["pred"] == 8


def test_what_was_in_flight_when_the_connection_broke_is_sent_again(bench: Bench) -> None:
    bench.source.add("pred", 1, 2, 3)
    bench.connect()
    bench.sink.acknowledge("pred", 1)
    bench.sink.fail()
    bench.wait(1.0)
    bench.sink.connect()
    bench.shipper.step()
    assert bench.sink.sent == [("pred", n) for n in (1, 2, 3, 2, 3)]


def test_a_late_acknowledgement_of_a_broken_connection_is_ignored(bench: Bench) -> None:
    bench.source.add("pred", 1, 2)
    bench.connect()
    bench.sink.fail()
    bench.shipper.on_ack(("pred", 1))
    assert bench.source.moving["pred"] == 0


def test_attempts_go_on_for_ever_with_growing_capped_delays(bench: Bench) -> None:
    delays = []
    for _ in range(100):
        bench.shipper.step()
        bench.sink.fail("refused")
        delay = bench.shipper.status()["next_attempt_s"]
        assert isinstance(delay, float)
        delays.append(delay)
        bench.clock.now += delay
    assert bench.sink.starts == 100
    assert delays[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert delays[-1] == 300


def test_the_next_attempt_is_not_made_before_its_time(bench: Bench) -> None:
    bench.shipper.step()
    bench.sink.fail()
    bench.wait(0.99)
    assert bench.sink.starts == 1
    bench.wait(0.02)
    assert bench.sink.starts == 2


def test_a_connection_that_brings_no_acknowledgement_does_not_reset_the_backoff(
    bench: Bench,
) -> None:
    for expected in (1.0, 2.0, 4.0):
        bench.shipper.step()
        bench.sink.connect()
        bench.sink.fail("closed")
        assert bench.shipper.deadline() - bench.clock.now == expected
        bench.clock.now += expected


def test_an_acknowledgement_resets_the_backoff(bench: Bench) -> None:
    bench.source.add("pred", 1)
    for _ in range(5):
        bench.shipper.step()
        bench.sink.fail()
        bench.clock.now += 20
    bench.connect()
    bench.sink.acknowledge("pred", 1)
    bench.sink.fail()
    status = bench.shipper.status()
    assert status["next_attempt_s"] == 1.0
    assert status["failures"] == 1


def test_the_cursor_is_stored_now_and_then_and_not_per_acknowledgement(bench: Bench) -> None:
    bench.source.add("pred", *range(1, 1001))
    bench.connect()
    for seq in range(1, 1001):
        bench.sink.acknowledge("pred", seq)
        bench.wait(0.02)
    assert bench.source.stores == 4  # 20 s
    bench.shipper.outbox.store()
    assert bench.source.stored["pred"] == 1000


def test_the_cursor_is_stored_early_when_much_was_acknowledged(bench: Bench) -> None:
    bench.source.add("pred", *range(1, 11), size=1 << 20)
    bench.connect()
    bench.acknowledge_all()
    assert bench.source.stores == 2  # 4 MiB a time; the last two wait for their time


def test_a_cursor_that_cannot_be_stored_is_counted_and_tried_again(bench: Bench) -> None:
    bench.source.add("pred", 1)
    bench.source.disk_full = True
    bench.connect()
    bench.sink.acknowledge("pred", 1)
    bench.shipper.step()
    assert bench.counters.get("edgemon_ship_errors_total", reason="cursor_not_stored") == 1
    bench.source.disk_full = False
    bench.wait(outbox.STORE_INTERVAL_S)
    assert bench.source.stored["pred"] == 1


def test_new_batches_are_found_after_a_nudge_and_otherwise_by_the_slow_poll(bench: Bench) -> None:
    bench.connect()
    bench.source.add("pred", 1)
    bench.wait(1.0)
    assert bench.sink.sent == []
    bench.shipper.wake()
    bench.shipper.step()
    assert bench.sink.sent == [("pred", 1)]
    bench.source.add("pred", 2)
    bench.wait(shipper.POLL_S)
    assert bench.sink.sent == [("pred", 1), ("pred", 2)]


def test_the_slow_poll_joins_what_else_wakes_the_process(bench: Bench) -> None:
    bench.connect()
    bench.wait(shipper.POLL_S / 2 - 1.0)
    bench.source.add("pred", 1)
    bench.wait(0.5)
    assert bench.sink.sent == []
    bench.wait(0.5)
    assert bench.sink.sent == [("pred", 1)]
    assert bench.shipper.deadline() == bench.clock.now + shipper.POLL_S
    bench.wait(1.0)
    bench.shipper.wake()
    bench.shipper.step()
    assert bench.shipper.deadline() == bench.clock.now + shipper.POLL_S, "a nudge was a look"


def test_a_refused_batch_is_tried_again_then_quarantined_while_others_go_on(bench: Bench) -> None:
    bench.source.add("pred", 1, 2, 3)
    bench.connect()
    bench.sink.refuse("pred", 1)
    bench.sink.acknowledge("pred", 2, 3)
    assert bench.source.moving["pred"] == 0
    bench.wait(1.0)
    bench.sink.refuse("pred", 1)
    bench.wait(2.0)
    bench.sink.refuse("pred", 1)
    assert bench.source.quarantined == []
    bench.wait(4.0)
    assert bench.source.quarantined == [("pred", 1)]
    assert bench.source.moving["pred"] == 3
    assert bench.counters.get("edgemon_ship_quarantined_batches_total") == 1
    assert bench.sink.sent.count(("pred", 1)) == trouble.REFUSALS


def test_a_batch_accepted_at_the_second_attempt_is_not_quarantined(bench: Bench) -> None:
    bench.source.add("pred", 1)
    bench.connect()
    bench.sink.refuse("pred", 1)
    bench.wait(1.0)
    bench.sink.acknowledge("pred", 1)
    assert bench.source.moving["pred"] == 1
    assert bench.shipper.status()["retrying"] == 0


def test_refusals_are_remembered_over_a_reconnect(bench: Bench) -> None:
    bench.source.add("pred", 1)
    for _ in range(trouble.REFUSALS):
        bench.connect()
        bench.sink.refuse("pred", 1)
        bench.sink.fail()
        bench.clock.now += 20
    bench.connect()
    assert bench.source.quarantined == [("pred", 1)]


def test_a_refused_batch_stays_when_the_quarantine_cannot_be_written(bench: Bench) -> None:
    bench.source.add("pred", 1)
    bench.source.disk_full = True
    bench.connect()
    for pause in (1.0, 2.0, 4.0):
        bench.sink.refuse("pred", 1)
        bench.wait(pause)
    assert bench.source.moving["pred"] == 0
    assert bench.counters.get("edgemon_ship_errors_total", reason="quarantine_failed") == 1
    bench.source.disk_full = False
    bench.wait(8.0)
    assert bench.source.quarantined == [("pred", 1)]


def test_a_refused_batch_that_the_spool_dropped_meanwhile_is_passed_over(bench: Bench) -> None:
    bench.source.add("pred", 1, 2)
    bench.connect()
    bench.sink.refuse("pred", 1)
    bench.sink.acknowledge("pred", 2)
    del bench.source.batches["pred", 1]
    bench.wait(1.0)
    assert bench.source.moving["pred"] == 2
    assert bench.source.quarantined == []


def test_many_refused_batches_stop_new_ones_from_being_taken(bench: Bench) -> None:
    bench.source.add("pred", *range(1, 1000))
    bench.connect()
    while bench.sink.in_flight:
        bench.sink.refuse(*bench.sink.in_flight[0])
        bench.shipper.step()
    assert len(bench.sink.sent) < trouble.MAX_TROUBLES + SETTINGS.max_inflight


def test_a_batch_that_makes_the_other_side_close_is_found_and_quarantined(bench: Bench) -> None:
    bench.source.add("pred", 1, 2, 3, 4, 5)
    poison = ("pred", 3)
    for _ in range(100):
        bench.connect()
        while bench.sink.in_flight and poison not in bench.sink.in_flight:
            bench.sink.acknowledge(*bench.sink.in_flight[0])
            bench.shipper.step()
        if not bench.sink.in_flight:
            break
        bench.sink.fail("closed", by_peer=True)
        bench.clock.now += 300
    assert bench.source.quarantined == [poison]
    assert bench.source.moving["pred"] == 5


def test_connections_that_end_after_acknowledgements_blame_no_batch(bench: Bench) -> None:
    bench.source.add("pred", *range(1, 100))
    for seq in range(1, 3 * trouble.STRIKES):
        bench.connect()
        assert len(bench.sink.in_flight) == SETTINGS.max_inflight
        bench.sink.acknowledge("pred", seq)
        bench.sink.fail("closed", by_peer=True)
        bench.clock.now += 300
    assert bench.source.quarantined == []


def test_a_broker_that_is_merely_gone_never_sends_a_batch_to_quarantine(bench: Bench) -> None:
    bench.source.add("pred", 1)
    for _ in range(5 * trouble.STRIKES):
        bench.connect()
        bench.sink.fail("does not answer the keep-alive")
        bench.clock.now += 300
    assert bench.source.quarantined == []


def test_stopping_waits_for_what_is_in_flight_and_takes_no_more(bench: Bench) -> None:
    bench.source.add("pred", *range(1, 10))
    bench.connect()
    bench.shipper.begin_stop()
    bench.shipper.step()
    assert bench.ending() == (False, False, False)
    bench.sink.acknowledge("pred", 1, 2, 3, 4)
    bench.shipper.step()
    assert bench.ending() == (True, False, False)
    assert len(bench.sink.sent) == 4
    bench.sink.fail("")
    assert bench.ending() == (True, False, True)
    assert bench.source.moving["pred"] == 4


def test_stopping_gives_up_after_the_drain_timeout(bench: Bench) -> None:
    bench.source.add("pred", 1)
    bench.connect()
    bench.shipper.begin_stop()
    bench.wait(SETTINGS.drain_timeout_s - 0.1)
    assert bench.ending() == (False, False, False)
    assert bench.shipper.deadline() == pytest.approx(bench.clock.now + 0.1)
    bench.wait(0.2)
    assert bench.ending() == (True, False, False)
    bench.wait(shipper.GOODBYE_S)
    assert bench.ending() == (True, True, True)


def test_stopping_while_down_needs_no_connection(bench: Bench) -> None:
    bench.shipper.step()
    bench.sink.fail()
    bench.shipper.begin_stop()
    bench.shipper.step()
    bench.sink.fail("")
    assert bench.shipper.stopped
    assert bench.sink.starts == 1


def test_another_sink_goes_on_where_the_first_one_stopped(bench: Bench) -> None:
    bench.source.add("pred", 1, 2)
    bench.connect()
    bench.sink.acknowledge("pred", 1)
    bench.shipper.begin_stop()
    bench.wait(10.0)
    bench.sink.fail("")
    second = FakeSink()
    second.events = bench.shipper
    bench.shipper.use(second, SETTINGS)
    bench.shipper.step()
    second.connect()
    bench.shipper.step()
    assert second.sent == [("pred", 2)]


def test_another_spool_in_the_folder_is_read_from_its_beginning(bench: Bench) -> None:
    bench.source.add("pred", 5)
    bench.connect()
    bench.acknowledge_all()
    bench.source.batches.clear()
    bench.source.moving["pred"] = bench.source.stored["pred"] = 0
    bench.source.add("pred", 1)
    bench.source.new_numbering = True
    bench.wait(shipper.POLL_S)
    assert bench.sink.sent[-1] == ("pred", 1)


def test_a_sink_that_acknowledges_at_once_does_not_hold_the_loop() -> None:
    bench = Bench()
    bench.source.add("pred", *range(1, 1001))
    bench.connect()

    def submit(parcel: object, now: float) -> None:
        bench.shipper.on_ack(parcel.key)  # type: ignore[attr-defined]

    bench.sink.in_flight.clear()
    bench.sink.submit = submit  # type: ignore[method-assign]
    bench.sink.fail()
    bench.wait(1.0)
    bench.sink.connect()
    bench.shipper.step()
    moved = bench.source.moving["pred"]
    assert moved == shipper.BATCHES_A_STEP
    assert bench.shipper.deadline() <= bench.clock.now
    bench.shipper.step()
    assert bench.source.moving["pred"] == 2 * moved


def test_the_loop_sleeps_when_nothing_can_be_done(bench: Bench) -> None:
    bench.source.add("pred", *range(1, 100))
    bench.connect()
    bench.sink.refuse("pred", 1)
    bench.wait(2.0)
    assert len(bench.sink.in_flight) == SETTINGS.max_inflight
    assert bench.shipper.deadline() > bench.clock.now


def test_the_examples_of_progress_are_true() -> None:
    assert doctest.testmod(progress) == (0, 7)


def test_a_lane_takes_no_more_when_too_many_wait_for_one() -> None:
    lane = Progress(0)
    for seq in range(1, progress.MAX_AHEAD + 1):
        lane.take(seq)
        if seq > 1:
            lane.finish(seq)
    assert lane.full and lane.acked == 0
    lane.finish(1)
    assert lane.acked == progress.MAX_AHEAD and not lane.full


Action = tuple[str, int]


@settings(max_examples=300, deadline=None)
@given(
    script=st.lists(
        st.tuples(
            st.sampled_from(["add", "ack", "fail", "peer", "refuse", "wait", "evict", "connect"]),
            st.integers(0, 5),
        ),
        max_size=120,
    ),
    seed=st.integers(0, 1000),
)
def test_the_cursor_is_never_ahead_of_what_was_delivered(script: list[Action], seed: int) -> None:
    """Whatever happens in whatever order: below the cursor all was acknowledged, quarantined or evicted."""
    bench = Bench()
    rng = random.Random(seed)
    delivered: set[Key] = set()
    evicted: set[Key] = set()
    next_seq = dict.fromkeys(KINDS, 1)

    def add(n: int) -> None:
        kind = KINDS[n % 4]
        bench.source.add(kind, next_seq[kind])
        next_seq[kind] += 1 + n // 4
        bench.shipper.wake()

    def on_flying(act: Callable[[str, int], None]) -> None:
        if bench.sink.in_flight:
            act(*rng.choice(bench.sink.in_flight))

    def ack(kind: str, seq: int) -> None:
        delivered.add((kind, seq))
        bench.sink.acknowledge(kind, seq)

    for what, n in script:
        if what == "add":
            add(n)
        elif what == "ack":
            on_flying(ack)
        elif what == "refuse":
            on_flying(bench.sink.refuse)
        elif what in ("fail", "peer") and bench.sink.starts and not bench.shipper.stopped:
            if bench.sink.up:
                bench.sink.fail(by_peer=what == "peer")
        elif what == "wait":
            bench.clock.now += 10.0**n / 100
        elif what == "evict" and bench.source.batches:
            key = rng.choice(sorted(bench.source.batches))
            del bench.source.batches[key]
            evicted.add(key)
        elif what == "connect" and not bench.sink.up:
            bench.clock.now += 1000.0
            bench.shipper.step()
            bench.sink.connect()
        bench.shipper.step()
        done = delivered | evicted | set(bench.source.quarantined)
        for kind in KINDS:
            below = [key for key in bench.source.batches if key[0] == kind]
            assert all(key in done for key in below if key[1] <= bench.source.moving[kind])
        assert len(bench.sink.in_flight) <= SETTINGS.max_inflight
