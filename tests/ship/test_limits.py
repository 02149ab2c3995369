"""Bytes a second and a month, the share of what is new, and who goes first and last."""

from __future__ import annotations

import calendar
from pathlib import Path

import pytest

from edgemon.metrics import Counters
from edgemon.ship.limits import Limits
from edgemon.ship.shipper import Shipper
from edgemon.ship.sink import HISTORICAL_S
from edgemon.spool.fs import OsFileSystem
from tests.servers import Mosquitto, wait_for
from tests.ship.fakes import Clock, FakeSink, FakeSource
from tests.ship.rig import Feeder, ShipProgram, config_text, make_config
from tests.ship.test_shipper import SETTINGS, Bench

NOVEMBER = float(calendar.timegm((2026, 11, 20, 0, 0, 0)))


class LimitedBench(Bench):
    def __init__(self, folder: Path, **settings: int) -> None:
        self.clock = Clock()
        self.wall = NOVEMBER
        self.folder = folder
        self.source = FakeSource()
        self.counters = Counters()
        self.settings = SETTINGS._replace(**settings)  # type: ignore[arg-type]
        self.limits = self.new_limits()
        self.shipper = Shipper(
            self.source,
            self.settings,
            self.counters,
            self.clock,
            lambda: 1.0,
            self.limits,
            lambda: self.wall,
        )
        self.sink = FakeSink(1000)
        self.sink.events = self.shipper
        self.shipper.use(self.sink, self.settings)

    def new_limits(self) -> Limits:
        return Limits(
            self.settings,
            OsFileSystem(),
            str(self.folder),
            self.counters,
            self.clock,
            lambda: self.wall,
        )

    def drain(self, seconds: float, step_s: float = 0.25) -> None:
        """Everything is acknowledged at once, for so long; wakes no more often than it must."""
        end = self.clock() + seconds
        while self.clock() < end:
            self.acknowledge_all()
            assert self.shipper.deadline() > self.clock(), "it would spin"
            self.clock.now += min(step_s, self.shipper.deadline() - self.clock())
            self.wall += step_s
            self.shipper.step()


def test_the_rate_is_kept_and_events_do_not_wait_for_it(tmp_path: Path) -> None:
    bench = LimitedBench(tmp_path, rate_limit_bytes=1000)
    bench.source.add("pred", *range(1, 200), size=680)  # 1,000 with what surrounds it
    bench.connect()
    bench.drain(10.0)
    assert 10 <= len(bench.sink.sent) <= 13
    bench.source.add("event", 1, 2, 3, size=680)
    bench.shipper.wake()
    bench.shipper.step()
    assert bench.sink.sent[-3:] == [("event", 1), ("event", 2), ("event", 3)]
    before = len(bench.sink.sent)
    bench.drain(3.0)
    assert len(bench.sink.sent) - before <= 2, "events count, though they do not wait"


def test_what_is_new_keeps_a_share_while_a_backlog_drains(tmp_path: Path) -> None:
    bench = LimitedBench(tmp_path, rate_limit_bytes=1000)
    old_ms = int((NOVEMBER - 2 * HISTORICAL_S) * 1000)
    bench.source.add("pred", *range(1, 101), size=680)
    bench.source.wall_ms = {("pred", seq): old_ms for seq in range(1, 101)}
    bench.connect()
    bench.acknowledge_all()
    bench.source.add("pred", *range(101, 201), size=680)
    bench.source.wall_ms |= {("pred", seq): int(NOVEMBER * 1000) for seq in range(101, 201)}
    bench.shipper.wake()
    bench.drain(60.0)
    while bench.sink.in_flight:
        bench.sink.acknowledge(*bench.sink.in_flight[0])
    fresh = [seq for _, seq in bench.sink.sent if seq > 100]
    old = [seq for _, seq in bench.sink.sent if seq <= 100]
    assert fresh == list(range(101, 101 + len(fresh))) and old == list(range(1, 1 + len(old)))
    assert 0.2 < len(fresh) / len(bench.sink.sent) < 0.3
    assert bench.source.moving["pred"] == len(old), "the cursor follows the backlog"
    bench.drain(200.0)
    assert bench.source.moving["pred"] == 200
    assert sorted(seq for _, seq in bench.sink.sent) == list(range(1, 201)), "each once"


def test_a_backlog_whose_end_was_evicted_joins_what_is_new(tmp_path: Path) -> None:
    bench = LimitedBench(tmp_path)
    bench.source.add("pred", *range(1, 11))
    bench.source.wall_ms = {("pred", seq): 1 for seq in range(1, 11)}
    bench.connect()
    for seq in range(6, 11):
        del bench.source.batches["pred", seq]
    bench.source.add("pred", 11, 12)
    bench.shipper.wake()
    bench.shipper.step()
    bench.acknowledge_all()
    assert bench.source.moving["pred"] == 12
    assert bench.shipper.idle


def test_a_connection_that_breaks_in_a_backlog_sends_both_rows_again(tmp_path: Path) -> None:
    bench = LimitedBench(tmp_path)
    bench.source.add("pred", *range(1, 11))
    bench.source.wall_ms = {("pred", seq): 1 for seq in range(1, 11)}
    bench.connect()
    bench.source.add("pred", 11, 12)
    bench.shipper.wake()
    bench.sink.acknowledge("pred", 1)
    bench.shipper.step()
    bench.sink.fail()
    bench.wait(1.0)
    bench.sink.connect()
    bench.shipper.step()
    bench.acknowledge_all()
    assert bench.source.moving["pred"] == 12
    assert {seq for _, seq in bench.sink.sent} == set(range(1, 13))


# ---- the month


def test_the_last_tenth_of_a_month_is_for_events_and_then_all_rests(tmp_path: Path) -> None:
    bench = LimitedBench(tmp_path, monthly_limit_bytes=100_000)
    bench.connect()
    bench.limits.carried(80_000)
    bench.source.add("pred", 1)
    bench.shipper.wake()
    bench.shipper.step()
    assert bench.sink.sent == [("pred", 1)]
    bench.acknowledge_all()
    bench.limits.carried(5_600)
    assert bench.limits.events_only and not bench.limits.exhausted
    bench.source.add("pred", 2)
    bench.source.add("event", 1)
    bench.shipper.wake()
    bench.shipper.step()
    assert bench.sink.sent == [("pred", 1), ("event", 1)]
    bench.acknowledge_all()
    bench.limits.carried(10_000)
    bench.shipper.step()
    assert bench.sink.stopping, "even an idle connection costs"
    bench.sink.up = bench.sink.stopping = False
    bench.shipper.on_down("")
    starts = bench.sink.starts
    for _ in range(10):
        bench.wait(60.0)
    assert bench.sink.starts == starts
    assert "ship.monthly_limit" in bench.shipper.last_error
    bench.wall += 15 * 86400  # December
    bench.wait(60.0)
    assert bench.sink.starts == starts + 1
    bench.sink.connect()
    bench.shipper.step()
    assert bench.sink.sent[-1] == ("pred", 2)


def test_the_month_survives_a_kill_and_never_counts_too_little(tmp_path: Path) -> None:
    bench = LimitedBench(tmp_path, monthly_limit_bytes=1_000_000)
    total = 0
    for size in (10, 500, 1400, 5000, 77):
        bench.limits.carried(size)
        total += size
    after = bench.new_limits()
    counted = after.status()["month_bytes"]
    assert isinstance(counted, int) and total <= counted <= total + 20 * 80 + 1000
    bench.limits.close()
    exact = bench.new_limits().status()["month_bytes"]
    assert exact == bench.limits.status()["month_bytes"]


def test_a_clock_that_is_not_set_yet_counts_on(tmp_path: Path) -> None:
    bench = LimitedBench(tmp_path, monthly_limit_bytes=1_000_000)
    bench.limits.carried(500_000)
    bench.limits.close()
    bench.wall = 0.0
    again = bench.new_limits()
    used = again.status()["month_bytes"]
    assert isinstance(used, int) and used >= 500_000


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"month":1,"bytes":"x"}', b"\xff" * 300])
def test_a_damaged_count_begins_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "month").write_bytes(content)
    bench = LimitedBench(tmp_path, monthly_limit_bytes=1000)
    assert not bench.limits.events_only


def test_without_a_limit_nothing_is_written(tmp_path: Path) -> None:
    bench = LimitedBench(tmp_path)
    bench.limits.carried(10**9)
    bench.limits.close()
    assert list(tmp_path.iterdir()) == [] and not bench.limits.exhausted


def test_the_bytes_of_a_real_connection_are_counted_and_shown(
    mosquitto: Mosquitto, short_tmp: Path
) -> None:
    more = 'monthly_limit = "10MB"'
    config = make_config(short_tmp, mosquitto.port, ship=more)
    feeder = Feeder(config)
    feeder.add("pred", 5, noise=10_000)
    program = ShipProgram(config, config_text(short_tmp, mosquitto.port, ship=more))
    try:
        program.wait_status(lambda status: status["acked"]["pred"] == 5, "shipped")  # type: ignore[index]
        limits = program.status()["limits"]
        assert isinstance(limits, dict)
        sizes = sum(map(len, feeder.sent.values()))
        assert sizes < limits["month_bytes"] < sizes + 20_000
        assert limits["monthly_limit_bytes"] == 10_000_000
        program.end()
        wait_for(lambda: (short_tmp / "month").exists())
    finally:
        program.process.kill()
        program.process.wait()
        feeder.close()
