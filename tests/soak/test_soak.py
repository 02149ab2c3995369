"""A day of a device in minutes: five models, every feature, outages, kill -9 of each half."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import Mosquitto
from tests.soak import verdict
from tests.soak.clock import build
from tests.soak.soak import Soak

# 24 simulated hours in 510 s.
FACTOR = int(os.environ.get("EDGEMON_SOAK_FACTOR", "170"))
SEED = int(os.environ.get("EDGEMON_SOAK_SEED", "1"))
# When there is no broker, and how long the shipper may take to come back: a backoff of up to a minute is hours here.
AWAY = ((8.0, 10.0), (16.0, 18.0))
RECONNECTED_H = 1.0
QUEUE = ("rule.fired", "", "")
DIED = ("agent.died", "", "")
# What the soak causes itself, and what the fast clock does.
OUTAGE = {
    'edgemon_ship_errors_total{reason="connection"}',
    # Published again: the receiver comes back to the broker seconds of real time later, which are minutes here.
    "edgemon_ship_unconfirmed_batches_total",
}
# A retained confirmation of before, read by a shipper that has not sent anything yet.
CONFIRMED_BEFORE = {
    'edgemon_ship_ignored_acks_total{reason="not_sent"}',
    'edgemon_ship_ignored_acks_total{reason="other_stream"}',
}
# Ten seconds are 60 or 80 ms of the one who reads the page.
SLOW_READER = {'edgemon_metrics_closed_connections_total{reason="too_slow"}'}
DAY = OUTAGE | CONFIRMED_BEFORE | SLOW_READER | {
    # The table of predictions that wait for their truth goes with the agent that is killed (docs/performance.md).
    'edgemon_truth_unmatched_labels_total{reason="no_prediction"}',
    # Most predictions never get a truth.
    'edgemon_truth_forgotten_predictions_total{reason="expired"}',
    # The trial of the configuration from afar asks at the agent's own socket, and leaves.
    'edgemon_ingest_closed_connections_total{reason="gone"}',
}  # fmt: skip

# Who, from and to which hour, KiB by which memory may grow: 3 % of 32 MiB over all that happens, much less once it
# has happened. Series of the device take 7 KiB each until their window of a day is full.
FLAT = (
    ("agent", 2.0, 4.0, 512),
    ("agent", 6.0, 24.0, 1024),
    ("agent", 19.0, 24.0, 256),
    ("ship", 2.0, 5.0, 512),
    ("ship", 7.0, 24.0, 512),
    ("ship", 19.0, 24.0, 256),
)

Begin = Callable[[int, int], Soak]


@pytest.fixture
def begin(mosquitto: Mosquitto) -> Iterator[Begin]:
    """begin(factor, seed): a running device, whose applications send nothing yet."""
    begun: list[Soak] = []
    with tempfile.TemporaryDirectory(prefix="em-", dir="/tmp") as name:
        folder = Path(name)

        def make(factor: int, seed: int) -> Soak:
            soak = Soak(folder, mosquitto, build(folder), factor, seed)
            begun.append(soak)
            soak.start()
            return soak

        yield make
        for soak in begun:
            soak.close()


@pytest.mark.mosquitto
def test_ten_minutes_with_an_outage_lose_nothing_and_tell_nothing(
    begin: Begin, mosquitto: Mosquitto
) -> None:
    soak = begin(120, SEED)
    soak.run(1 / 6, [(0.04, mosquitto.stop), (0.1, mosquitto.start), (0.08, soak.reload)])
    soak.finish()
    verdict.nothing_is_lost(soak)
    assert verdict.told(soak) == []
    assert verdict.losses(soak).keys() <= OUTAGE | CONFIRMED_BEFORE | SLOW_READER


@pytest.mark.slow
@pytest.mark.mosquitto
def test_a_day_leaves_memory_flat_loses_nothing_and_tells_no_false_alarm(
    begin: Begin, mosquitto: Mosquitto
) -> None:
    soak = begin(FACTOR, SEED)
    soak.run(
        24.0,
        [
            (4.0, soak.kill_agent),
            (4.5, soak.reload),
            (5.0, soak.kill_shipper),
            (AWAY[0][0], mosquitto.stop),
            (AWAY[0][1], mosquitto.start),
            (12.0, soak.configure_from_afar),
            (14.0, soak.long_queue),
            (14.5, soak.short_queue),
            (AWAY[1][0], mosquitto.stop),
            (AWAY[1][1], mosquitto.start),
        ],
    )
    soak.finish()
    print()
    for line in verdict.report(soak):
        print(line)
    flat = []
    for who, first_h, last_h, at_most_kb in FLAT:
        said, is_flat = verdict.memory_is_flat(
            soak.usage[who],
            first_h,
            last_h,
            at_most_kb,
            [(first, last + RECONNECTED_H) for first, last in AWAY],
        )
        print(f"{who}, {said}")
        flat.append(is_flat)
    print("told:", verdict.told(soak))
    print("counted:", verdict.losses(soak))
    # A kill costs what came since the last checkpoint, five minutes apart, or what is in windows of a minute.
    verdict.nothing_is_lost(soak, lost_windows_s=360.0)
    assert verdict.told(soak) == [DIED, QUEUE]
    assert (soak.folder / "fired").exists()
    posts, letters = verdict.notified(soak)
    assert posts == {"queue fired", "queue cleared"}
    assert len(letters) == 2, letters
    assert verdict.losses(soak).keys() <= DAY
    assert len((soak.folder / "run.log").read_text()) < 64 << 10
    assert all(flat)
