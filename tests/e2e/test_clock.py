"""A real agent whose wall clock is stepped: nothing is reordered, merged or dated by a clock of before."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from edgemon import wire
from edgemon.records import Batch
from tests.e2e.harness import Application, Device
from tests.e2e.test_agent_process import CONFIG, windows
from tests.servers import wait_for

HERE = Path(__file__).parent


@pytest.fixture
def clock(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file whose seconds are added to the wall clock of every process that the test starts."""
    library, file = short_tmp / "step_clock.so", short_tmp / "clock"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-o", library, HERE / "step_clock.c", "-ldl"], check=True
    )
    file.write_text("0")
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("STEP_CLOCK", str(file))
    return file


def step(clock: Path, seconds: int) -> None:
    """At one instant: a process that found the file empty would be on the right clock for a moment."""
    new = clock.with_name("clock.new")
    new.write_text(f"{seconds}")
    new.replace(clock)


def dates(batch: Batch) -> list[float]:
    """Wall clock of the rows, s since 1970."""
    return [batch.wall_ns / 1e9 + int(str(row["t"])) / 1e6 for row in wire.rows_from_columns(batch)]


def test_rows_before_and_after_a_step_are_dated_by_the_clock_of_their_time(
    short_tmp: Path, clock: Path
) -> None:
    born = -int(time.time()) + 60  # a boot without a clock: 1970
    clock.write_text(str(born))
    device = Device(short_tmp, CONFIG)
    device.start()
    application = Application(device)
    try:
        application.connect()
        application.send(0, 100)
        step(clock, 7200)  # NTP came, and was wrong
        application.send(100, 100)
        step(clock, 0)
        application.send(200, 100)
        wait_for(lambda: sum(len(dates(b)) for b in device.left() if b.kind == "pred") >= 200)
    finally:
        application.close()
        assert device.stop() == 0
    now = time.time()
    predictions = [batch for batch in device.left() if batch.kind == "pred"]
    assert [batch.seq for batch in predictions] == [1, 2, 3]
    assert [batch.rows for batch in predictions] == [100, 100, 100]
    for batch, offset in zip(predictions, (born, 7200, 0), strict=True):
        assert all(abs(date - offset - now) < 60 for date in dates(batch)), os.fspath(clock)
    # On the clock that does not step they are in order, whatever the wall clock said.
    mono = [
        batch.mono_ns + int(str(row["t"])) * 1000
        for batch in predictions
        for row in wire.rows_from_columns(batch)
    ]
    assert mono == sorted(mono)
    cut = [row for row in windows(device) if row.get("cut") == "clock"]
    assert sum(int(str(row["n"])) for row in cut) == 200
    assert sum(int(str(row["n"])) for row in windows(device)) == 300
    events = [
        row
        for batch in device.left()
        if batch.kind == "event"
        for row in wire.rows_from_columns(batch)
        if row["type"] == "clock.stepped"
    ]
    assert len(events) == 2
    assert "ahead" in str(events[0]["message"])
    assert "back by 7200.0 s" in str(events[1]["message"])
