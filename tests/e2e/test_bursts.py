"""`ship.mode = "burst"` with real processes: no shipper in memory but at its time and at an alarm."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgemon.control import nudge
from tests.e2e.harness import Device
from tests.servers import wait_for

CONFIG = """
[system]
enabled = false
[batch]
max_age = "100ms"
[models."*"]
window = "1h"
capture = "none"
reference = { first = 1000 }
[drift]
window = 200
[ship]
sink = "file"
mode = "burst"
initial_interval = "50ms"
max_interval = "200ms"
"""


class Site:
    def __init__(self, folder: Path, more: str = "") -> None:
        self.device = Device(folder, CONFIG + more)
        self.device.start()

    def send(self, shift: float, count: int = 1000) -> None:
        draw = random.Random(1)
        lines = (json.dumps({"model": "m", "output": draw.gauss(shift, 1.0)}) for _ in range(count))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.device.run_dir / "ingest.sock"))
            sock.sendall("\n".join(lines).encode() + b'\n{"ack":1,"level":"disk"}\n')
            sock.settimeout(20)
            assert sock.recv(1000)

    def bursts(self) -> int:
        """So far; waits until none runs."""

        def resting() -> object:
            status = self.device.status("ship")
            return status is not None and "bursts" in status and status

        status = wait_for(resting, what="the supervisor answers for the shipper")
        assert isinstance(status, dict)
        return int(status["bursts"])

    def event_types(self) -> list[object]:
        """Of all events in the outbox."""
        return [row["type"] for row in self.device.rows_left("event")]


@pytest.fixture
def sites() -> Iterator[list[Site]]:
    made: list[Site] = []
    yield made
    for site in made:
        site.device.end()


def test_an_alarm_starts_a_burst_and_all_else_waits(sites: list[Site], short_tmp: Path) -> None:
    far_from_now = time.strftime("%H:%M", time.localtime(time.time() + 12 * 3600))
    site = Site(short_tmp, f'at = ["{far_from_now}"]\n')
    sites.append(site)
    site.send(0.0)
    wait_for(lambda: site.device.durable()["event"] > 0, what="the start is on disk")
    assert site.bursts() == 0 and site.event_types() == []
    site.send(3.0)
    wait_for(lambda: "drift.started" in site.event_types(), what="the alarm in the outbox")
    assert site.bursts() >= 1
    log = site.device.log()
    assert "ship started" in log and "ship ended" not in log, "a burst that ends is no crash"
    bursts = site.bursts()
    assert nudge(str(site.device.run_dir / "ship.sock"))
    assert site.bursts() == bursts, "a nudge without an alarm starts nothing"
    assert site.device.stop() == 0


def test_bursts_come_by_the_clock_and_leave_nothing_behind(
    sites: list[Site], short_tmp: Path
) -> None:
    site = Site(short_tmp, 'every = "1s"\non_alarm = false\n')
    sites.append(site)
    wait_for(lambda: "agent.started" in site.event_types(), what="the first burst")
    before = site.bursts()
    wait_for(lambda: site.bursts() > before, what="the next one")
    status = site.device.status("ship")
    if status is not None and "bursts" in status:
        assert status["next_attempt_s"] <= 1.0 and status["last_error"] is None


def test_a_burst_that_fails_is_tried_again(sites: list[Site], short_tmp: Path) -> None:
    folder = short_tmp / "state" / "outbox"
    folder.parent.mkdir()
    folder.write_text("in the way")
    site = Site(short_tmp, 'every = "1s"\n')
    sites.append(site)

    def failed() -> bool:
        status = site.device.status("ship")
        return status is not None and "exit code 5" in str(status.get("last_error"))

    wait_for(failed, what="a burst fails")
    folder.unlink()
    wait_for(lambda: "agent.started" in site.event_types(), what="it works after mending")
