"""Plugins in a real agent: rows, status, /metrics, crashes, stalls, reload, stop. And the documentation's examples."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import EDGEMON, Application, Device
from tests.plugins.rig import EXAMPLES, program
from tests.servers import wait_for

CONFIG = """
[system]
interval = "1s"
collectors = ["memory"]
anomalies = { enabled = false }
[batch]
max_age = "200ms"
"""
TO_A_FOLDER = '[ship]\nsink = "file"\n'


@pytest.fixture
def devices() -> Iterator[list[Device]]:
    made: list[Device] = []
    yield made
    for device in made:
        device.end()


def plugin(device: Device, name: str) -> dict[str, Any]:
    status = device.status()
    assert status is not None
    (found,) = (one for one in status["plugins"] if one["name"] == name)
    return dict(found)


def started(devices: list[Device], folder: Path, toml: str) -> Device:
    device = Device(folder, CONFIG + toml)
    devices.append(device)
    device.start()
    return device


def test_one_that_others_may_write_is_off_and_told_and_all_else_works(
    devices: list[Device], short_tmp: Path
) -> None:
    path = program(short_tmp)
    path.chmod(0o757)
    device = started(devices, short_tmp, f'[plugins.soil]\ncommand = ["{path}"]\n' + TO_A_FOLDER)
    assert wait_for(lambda: device.rows_left("sys"), what="samples of the device")
    assert plugin(device, "soil")["state"] == "down"
    assert plugin(device, "soil")["last_error"] == f'everybody may write "{path}": chmod o-w'
    assert device.stop() == 0
    told = [row for row in device.rows_left("event") if row["type"] == "plugin.refused"]
    assert [row["message"] for row in told] == [f'soil: everybody may write "{path}": chmod o-w']


def test_a_sink_that_others_may_write_is_not_started_and_status_says_so(
    devices: list[Device], short_tmp: Path
) -> None:
    path = program(short_tmp)
    path.chmod(0o757)
    sink = f'[ship]\nsink = "plugin"\n[plugins.mine]\nkind = "sink"\ncommand = ["{path}"]\n'
    device = started(devices, short_tmp, sink)
    problem = f'everybody may write "{path}": chmod o-w'

    def shown() -> str:
        done = subprocess.run([*EDGEMON, "status"], cwd=short_tmp, capture_output=True, text=True)
        return " ".join(done.stdout.split())  # as one line: it is wrapped

    said = wait_for(lambda: found if problem in (found := shown()) else "", what="the refusal")
    assert f"plugin: NOT connected, 0 batches shipped; last error: plugin mine: {problem};" in said
    assert "mine sink NOT running" in said and f" mine: {problem} dropped and refused" in said
    assert "edgemon_plugin_refused_starts_total" in said
    assert device.stop() == 0
    assert f"plugin mine: {problem}" in device.log()


def test_the_examples_collect_beside_edgemons_own(
    devices: list[Device],
    short_tmp: Path,
    example_site: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(example_site))
    reading = short_tmp / "moisture"
    reading.write_text("41.5\n")
    soil = shutil.copy(EXAMPLES / "soil", short_tmp)
    plugins = f"""
[plugins.soil]
command = ["{soil}"]
options = {{ file = "{reading}" }}
[plugins.tasks]
entry_point = "processes"
"""
    device = started(devices, short_tmp, TO_A_FOLDER + plugins)
    wait_for(
        lambda: (
            {"soil", "tasks"}
            <= {name.split("_")[0] for row in device.rows_left("sys") for name in row}
        )
    )
    (soil_row, *_) = (
        row for row in device.rows_left("sys") if row.get("soil_moisture_percent") is not None
    )
    assert soil_row["soil_moisture_percent"] == 41.5
    assert soil_row["memory_used_percent"] is not None
    (tasks_row, *_) = (
        row for row in device.rows_left("sys") if row.get("tasks_running") is not None
    )
    running = tasks_row["tasks_running"]
    assert isinstance(running, float) and running >= 3
    shown = subprocess.run(
        [*EDGEMON, "status"], cwd=short_tmp, check=True, capture_output=True, text=True
    ).stdout
    assert "soil    collector  runs" in shown
    reading.unlink()
    wait_for(lambda: plugin(device, "soil")["last_error"] == "there is no reading")
    assert plugin(device, "soil")["restarts"] == 0
    pids = [plugin(device, name)["pid"] for name in ("soil", "tasks")]
    assert device.stop() == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_crash_and_a_stall_are_contained_and_counted(
    devices: list[Device], short_tmp: Path
) -> None:
    stalls = program(short_tmp, "def answer(question): time.sleep(1000)", "stalls")
    crashes = program(short_tmp, "def answer(question): os.kill(os.getpid(), 11)", "crashes")
    floods = program(short_tmp, "def answer(question):\n    while True: print('x' * 999)", "floods")
    works = program(short_tmp, name="works")
    plugins = "".join(
        f"[plugins.{path.name}]\ncommand = ['{path}']\n"
        for path in (crashes, floods, works, stalls)
    )
    plugins += "timeout = '300ms'\n"
    device = started(devices, short_tmp, '[ship]\nsink = "none"\n' + plugins)
    application = Application(device)
    application.connect()
    bad = ("stalls", "crashes", "floods")
    # They fail, come back and fail again; the agent goes on, and its own answers do not wait for them.
    sent = 0
    while not all(plugin(device, name)["restarts"] >= 1 for name in bad):
        application.send(sent, 100)
        sent += 100
    application.close()
    status = device.status()
    assert status is not None
    assert status["ingest"]["predictions"] == sent
    counters = status["counters"]
    assert counters['edgemon_plugin_restarts_total{reason="exited"}'] >= 1
    assert counters['edgemon_plugin_restarts_total{reason="timeout"}'] >= 1
    assert counters['edgemon_plugin_restarts_total{reason="too_much"}'] >= 1
    assert plugin(device, "works")["restarts"] == 0
    assert plugin(device, "crashes")["last_error"] == "was killed by signal 11"
    wait_for(lambda: (device.status() or {}).get("system", {}).get("works_a") == 1.0)
    assert device.stop() == 0
    assert "plugin stalls did not answer within 0.3 s; it is started again in" in device.log()


def test_a_reload_starts_stops_and_leaves_alone(devices: list[Device], short_tmp: Path) -> None:
    names = ("stays", "goes", "changes", "comes")
    paths = {name: program(short_tmp, name=name) for name in names}
    tables = {name: f"[plugins.{name}]\ncommand = ['{path}']\n" for name, path in paths.items()}
    before = "".join(tables[name] for name in ("stays", "goes", "changes"))
    after = "".join(tables[name] for name in ("stays", "comes", "changes")) + "timeout = '3s'\n"
    device = started(devices, short_tmp, '[ship]\nsink = "none"\n' + before)
    wait_for(
        lambda: all(plugin(device, name)["state"] == "idle" for name in names if name != "comes")
    )
    pids = {name: plugin(device, name)["pid"] for name in names if name != "comes"}
    file = short_tmp / "edgemon.toml"
    file.write_text(file.read_text().replace(before, after))
    assert device.process is not None
    device.process.send_signal(signal.SIGHUP)

    def running() -> set[str]:
        plugins = (device.status() or {}).get("plugins", [])
        return {one["name"] for one in plugins if one["state"] == "idle"}

    wait_for(lambda: running() == {"stays", "changes", "comes"}, what="the new plugins")
    assert plugin(device, "stays")["pid"] == pids["stays"]
    assert plugin(device, "changes")["pid"] != pids["changes"]
    old = [Path(f"/proc/{pids[name]}") for name in ("goes", "changes")]
    wait_for(lambda: not any(path.exists() for path in old), what="the old ones are gone")


def test_a_sink_that_is_a_plugin_takes_what_the_agent_made(
    devices: list[Device], short_tmp: Path
) -> None:
    archive = shutil.copy(EXAMPLES / "archive", short_tmp)
    sink = f"""
[ship]
sink = "plugin"
initial_interval = "100ms"
[plugins.archive]
kind = "sink"
command = ["{archive}"]
options = {{ folder = "{short_tmp}/state/outbox" }}
"""
    device = started(devices, short_tmp, sink)
    wait_for(lambda: device.rows_left("sys"), what="batches of the device")
    wait_for(lambda: (device.status("ship") or {}).get("connected"))
    shipper = device.status("ship")
    assert shipper is not None
    (state,) = shipper["plugins"]
    os.kill(state["pid"], signal.SIGKILL)
    before = len(device.rows_left("sys"))
    wait_for(
        lambda: len(device.rows_left("sys")) > before, what="batches after a crash of the sink"
    )
    shipper = device.status("ship")
    assert shipper is not None
    assert shipper["counters"]['edgemon_plugin_restarts_total{reason="exited"}'] == 1
    shown = subprocess.run(
        [*EDGEMON, "status"], cwd=short_tmp, check=True, capture_output=True, text=True
    ).stdout
    assert "archive  sink" in shown
    kept = (short_tmp / "state/outbox").glob("*.zst")  # not what is being written
    names = [path.name.split(".")[0].split("-") for path in kept]
    seqs = sorted(int(seq) for kind, _, seq in names if kind == "sys")
    assert seqs == list(range(1, len(seqs) + 1))
