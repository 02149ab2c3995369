"""A boot whose clock was not known at first: its rows get their times once it is."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from edgemon.receive.sqlite import SqliteStore
from edgemon.records import Batch
from tests.receive.batches import WALL_NS, incoming, make_batch
from tests.receive.processes import query

HOUR = 3600 * 10**9


def at(seq: int, kind: str, wall_ns: int, mono_ns: int, clock: float | None, boot: bytes) -> Batch:
    rows = {
        "pred": [{"t": 0, "model": "m", "output": 1.0}, {"t": 2_000_000, "label": 1.0, "id": "x"}],
        "agg": [{"t": 1_000_000, "dur": 1_000_000, "model": "m", "stream": "", "n": 1}],
        "sys": [{"t": 0, "cpu_percent": 1.0}],
        "event": [{"t": 0, "type": "x", "message": "m"}],
    }[kind]
    batch = make_batch(seq, rows, kind=kind)  # type: ignore[arg-type]
    return batch._replace(wall_ns=wall_ns, mono_ns=mono_ns, clock_error_ms=clock, boot=boot)


# One boot: up for an hour in 1970, then the clock is set. Monotonic time 0 was at WALL_NS.
BOOT = b"1" * 16
UNSET = [
    at(1, "pred", 100, 1 * HOUR, None, BOOT),
    at(1, "agg", 200, 1 * HOUR + 5, None, BOOT),
    at(1, "sys", 300, 1 * HOUR + 7, None, BOOT),
]
SET = at(1, "event", WALL_NS + 2 * HOUR, 2 * HOUR, 3.0, BOOT)
TRUE = [
    ("events", WALL_NS + 2 * HOUR),
    ("labels", WALL_NS + HOUR + 2 * 10**9),
    ("predictions", WALL_NS + HOUR),
    ("samples", WALL_NS + HOUR + 7),
    ("windows", WALL_NS + HOUR + 5 + 10**9),
]
TIMES = (
    "SELECT 'events' AS t, time_ns FROM events UNION SELECT 'labels', time_ns FROM labels"
    " UNION SELECT 'predictions', time_ns FROM predictions"
    " UNION SELECT 'samples', time_ns FROM samples UNION SELECT 'windows', end_ns FROM windows"
    " ORDER BY t"
)


@pytest.mark.parametrize("order", list(permutations([*UNSET, SET]))[::5])
def test_times_are_put_right_in_whatever_order_batches_come(
    tmp_path: Path, order: tuple[Batch, ...]
) -> None:
    path = tmp_path / "x.db"
    store = SqliteStore(str(path))
    for batch in order:
        store.write([incoming(batch)], [])
        store.write([incoming(batch)], [])  # a duplicate moves nothing twice
    store.close()
    assert query(path, TIMES) == TRUE
    assert query(path, "SELECT start_ns FROM windows") == [(WALL_NS + HOUR + 5,)]


def test_what_the_device_said_stays_beside_the_shift(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store = SqliteStore(str(path))
    store.write([incoming(batch) for batch in (*UNSET, SET)], [])
    store.close()
    shift = WALL_NS + HOUR - 100
    assert query(
        path, "SELECT wall_ns, shifted_ns FROM batches WHERE kind IN ('pred', 'event')"
    ) == [
        (100, shift),
        (WALL_NS + 2 * HOUR, None),
    ]


def test_another_boot_or_device_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store = SqliteStore(str(path))
    store.write([incoming(at(1, "pred", 100, HOUR, None, b"2" * 16))], [])
    store.write([incoming(UNSET[0]._replace(seq=9, device="dev-2"))], [])
    store.write([incoming(SET)], [])
    store.close()
    assert query(path, "SELECT count(*) FROM batches WHERE shifted_ns IS NOT NULL") == [(0,)]


def test_a_clock_far_beyond_dates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store = SqliteStore(str(path))
    store.write([incoming(UNSET[0])], [])
    store.write([incoming(SET._replace(wall_ns=2**62 + 3 * HOUR))], [])
    store.close()
    assert query(path, "SELECT time_ns FROM predictions") == [(100,)]
