"""A real agent on another device's /proc and /sys: what it finds, an anomaly and its end; and whoever feeds it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgemon import wire
from edgemon.records import Row
from tests.collect.devices import RASPBERRY_PI, plant
from tests.e2e.harness import EDGEMON, Application, Device
from tests.servers import wait_for

CONFIG = """
[system]
interval = "1s"
root = "{root}"
[system.anomalies]
method = "robust_z"
interval = "1s"
window = "20s"
min_duration = "1s"
[batch]
max_age = "200ms"
[ship]
sink = "file"
"""
TEMPERATURE = "temperature_cpu_thermal_celsius"


@pytest.fixture
def pi(short_tmp: Path) -> Iterator[Device]:
    root = plant(short_tmp / "pi", RASPBERRY_PI)
    with Device(short_tmp, CONFIG.format(root=root)) as made:
        yield made


def status(device: Device) -> dict[str, Any]:
    found = device.status()
    assert found is not None
    return found


def instants(device: Device, kind: str, wanted: Callable[[Row], bool]) -> list[int]:
    """Of rows that have left, ns of the monotonic clock."""
    return [
        batch.mono_ns + 1000 * int(str(row["t"]))
        for batch in device.left(kind)
        for row in wire.rows_from_columns(batch)
        if wanted(row)
    ]


def heat(device: Device, celsius: float) -> None:
    plant(
        device.folder / "pi",
        {"sys/class/hwmon/hwmon0/temp1_input": f"{round(1000 * celsius)}\n"},
    )


def test_a_raspberry_pi_that_overheats_and_cools_down(pi: Device) -> None:
    pi.start()
    wait_for(lambda: "net_sent_bytes_per_s" in status(pi)["system"], what="the first rates")
    found = status(pi)["collectors"]
    assert (found["throttle"], found["temperature"], found["gpu"], found["power"]) == (4, 2, 0, 0)
    said = subprocess.run([*EDGEMON, "status"], cwd=pi.folder, capture_output=True, text=True, check=True)  # fmt: skip
    assert "throttle 4" in said.stdout
    assert "nothing found of gpu, power, process" in said.stdout

    def learned() -> bool:
        """Half a window of samples, and some more, are past."""
        return len([row for row in pi.rows_left("sys") if TEMPERATURE in row]) >= 12

    wait_for(learned, what="enough samples")
    heat(pi, 85.0)
    wait_for(lambda: status(pi)["anomalies"], what="the anomaly")
    [anomaly] = status(pi)["anomalies"]
    assert anomaly["series"] == TEMPERATURE
    heat(pi, 48.3)
    wait_for(lambda: not status(pi)["anomalies"], what="its end")
    assert pi.stop() == 0
    told = [row for row in pi.rows_left("event") if str(row["type"]).startswith("anomaly.")]
    assert [row["type"] for row in told] == ["anomaly.started", "anomaly.cleared"]
    assert {row["stream"] for row in told} == {TEMPERATURE}
    # What leaves is what the files said.
    samples = [row[TEMPERATURE] for row in pi.rows_left("sys") if TEMPERATURE in row]
    assert set(samples) >= {48.312, 85.0}
    # After a restart the past is there: nothing has to be learned anew.
    heat(pi, 20.0)
    pi.start()
    wait_for(lambda: status(pi)["anomalies"], what="the anomaly after the restart")
    assert pi.stop() == 0
    began_ns = max(instants(pi, "event", lambda row: row["type"] == "anomaly.started"))
    cold_ns = instants(pi, "sys", lambda row: row.get(TEMPERATURE) == 20.0)
    assert sum(one < began_ns for one in cold_ns) < 10, "half a window"


def test_the_application_that_feeds_the_agent_is_measured(short_tmp: Path) -> None:
    """On this machine, by the process id of the socket's peer."""
    device = Device(short_tmp, CONFIG.format(root="/"))
    device.start()
    try:
        application = Application(device)
        application.connect()
        application.send(0, 10)

        def measured() -> list[str]:
            names = status(device)["system"]
            return [name for name in names if name.startswith("process_")]

        wait_for(lambda: len(measured()) >= 2, what="its memory and CPU")
        name = Path("/proc/self/comm").read_text().strip().replace(".", "_")
        assert f"process_memory_bytes.{name}" in measured()
        assert f"process_cpu_percent.{name}" in measured()
        memory = status(device)["system"][f"process_memory_bytes.{name}"]
        assert memory > 5e6  # a Python interpreter
        application.close()
        wait_for(lambda: not measured(), what="it is gone")
    finally:
        assert device.stop() == 0
    assert any(f"process_memory_bytes.{name}" in row for row in device.rows_left("sys"))


def test_check_names_what_is_wrong_with_a_rule_for_series(short_tmp: Path) -> None:
    device = Device(short_tmp, "[system.anomalies]\nseries = { cpu_percent = { limit = 3 } }\n")
    run = subprocess.run([*EDGEMON, "check"], cwd=device.folder, capture_output=True, text=True)
    assert run.returncode == 3
    assert "edgemon.toml:5: system.anomalies.series: has the unknown key limit" in run.stderr
