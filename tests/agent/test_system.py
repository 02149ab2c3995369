"""Device health in the agent: collectors that fail, what is found, what is judged, what a reload keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemon.agent.system import FAILED, SystemMonitor
from edgemon.config import SystemSettings, parse
from edgemon.metrics import Counters
from edgemon.records import Event, Row
from tests.collect.devices import JETSON_ORIN, RASPBERRY_PI, plant

SMALL = "[system.anomalies]\ninterval = '1s'\nwindow = '40s'\nmin_duration = '2s'\n"


def settings(root: Path, anomalies: str = SMALL, more: str = "") -> SystemSettings:
    return parse(f"[system]\ninterval = '1s'\nroot = '{root}'\n{more}\n{anomalies}").system


class Bench:
    def __init__(self) -> None:
        self.counters = Counters()
        self.rows: list[Row] = []
        self.events: list[Event] = []
        self.now_s = 0.0

    def monitor(self, what: SystemSettings, before: SystemMonitor | None = None) -> SystemMonitor:
        return SystemMonitor(what, self.counters, self.rows.append, self.events.append, tuple, before)  # fmt: skip

    def tick(self, monitor: SystemMonitor, count: int = 1) -> None:
        for _ in range(count):
            monitor.tick(self.now_s)
            self.now_s += 1.0


def test_one_row_has_the_series_of_all_collectors(tmp_path: Path) -> None:
    bench = Bench()
    monitor = bench.monitor(settings(plant(tmp_path, JETSON_ORIN)))
    bench.tick(monitor)
    [row] = bench.rows
    assert row["gpu_percent"] == pytest.approx(43.7)
    assert set(row) >= {"memory_used_percent", "power_ina3221_vdd_in_watts", "throttle_cooling_ratio"}  # fmt: skip
    assert monitor.found["gpu"] == 1
    assert monitor.found["temperature"] == 2
    assert monitor.found["process"] == 0


def test_a_collector_that_fails_is_counted_and_harms_no_other(tmp_path: Path) -> None:
    bench = Bench()
    monitor = bench.monitor(settings(plant(tmp_path, RASPBERRY_PI)))
    plant(tmp_path, {"proc/meminfo": "MemTotal: 1 kB\nMemAvailable: 1 kB\n", "proc/loadavg": "?\n"})
    bench.tick(monitor, 2)
    assert bench.counters.get(FAILED, reason="cpu") == 2
    assert monitor.found["cpu"] == 0
    assert "memory_used_percent" in bench.rows[-1]
    plant(tmp_path, RASPBERRY_PI)
    bench.tick(monitor)
    assert bench.counters.get(FAILED, reason="cpu") == 2
    assert bench.rows[-1]["load_1m"] == 0.42


HOT = {
    "sys/class/hwmon/hwmon0/temp1_input": "84000\n",
    "sys/class/thermal/thermal_zone0/temp": "84000\n",
}


def test_a_device_that_overheats_is_told_of_once(tmp_path: Path) -> None:
    bench = Bench()
    monitor = bench.monitor(settings(plant(tmp_path, RASPBERRY_PI)))
    bench.tick(monitor, 30)
    assert bench.events == []
    plant(tmp_path, HOT)
    bench.tick(monitor, 4)
    [event] = bench.events
    assert (event.type, event.stream) == ("anomaly.started", "temperature_cpu_thermal_celsius")
    [now] = monitor.anomalies_now()
    assert now["series"] == "temperature_cpu_thermal_celsius"
    assert now["value"] == 84.0


@pytest.mark.parametrize(
    ("anomalies", "told"), [(SMALL, 1), (SMALL.replace("40s", "48s"), 0), ("", 0)]
)
def test_a_reload_keeps_what_was_learned_unless_it_is_asked_for_other_things(
    anomalies: str, told: int, tmp_path: Path
) -> None:
    bench = Bench()
    first = bench.monitor(settings(plant(tmp_path, RASPBERRY_PI)))
    bench.tick(first, 30)
    second = bench.monitor(settings(tmp_path, anomalies, "collectors = ['temperature']"), first)
    plant(tmp_path, HOT)
    bench.tick(second, 4)
    assert len(bench.events) == told


def test_without_anomalies_none_are_judged(tmp_path: Path) -> None:
    bench = Bench()
    monitor = bench.monitor(settings(plant(tmp_path, RASPBERRY_PI), SMALL + "enabled = false"))
    bench.tick(monitor, 30)
    plant(tmp_path, HOT)
    bench.tick(monitor, 6)
    assert bench.events == []
    assert monitor.anomalies_now() == []
