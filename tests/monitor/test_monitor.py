"""EdgeMonitor as an application has it: real threads, a real spool, the real shipper, and a database at the end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from edgemon import EdgeMonitor
from edgemon.cli import main
from edgemon.config import load, parse
from edgemon.errors import ConfigError, EdgemonError, LockedError, StorageError, UsageError
from tests.e2e.harness import EDGEMON, Receiver
from tests.monitor.helpers import log, received, write_config
from tests.servers import Mosquitto, wait_for


def test_what_threads_log_is_stored_exactly_once_with_its_features(
    config: Path, short_tmp: Path
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    keys: list[str] = []
    with EdgeMonitor(config, device_id="till-7") as monitor:
        threads = [
            threading.Thread(
                target=lambda first=first: keys.extend(log(monitor, range(first, first + 500)))
            )
            for first in range(0, 2000, 500)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert monitor.flush("memory", 30)
        status = monitor.get_status()
    assert status["predictions"] == 2000
    assert status["agent"]["device"] == "till-7"
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before
    rows = received(
        short_tmp,
        "SELECT prediction_id, device, fleet, model, output_number, latency_s,"
        " json_extract(features, '$.number'), json_extract(features, '$.shop')"
        " FROM predictions JOIN batches ON batches.id = batch",
    )
    assert sorted(row[0] for row in rows) == sorted(keys)
    assert {row[1:4] for row in rows} == {("till-7", "shop", "fraud")}
    assert sorted(row[6] for row in rows) == list(range(2000))
    assert all(row[4] == row[6] / 2 and row[7] == f"s{int(row[6]) % 3}" for row in rows)
    assert all(0 < row[5] < 10 for row in rows)
    counted = "SELECT sum(n) FROM windows WHERE stream = ''"
    assert received(short_tmp, counted) == [(2000,)]
    kinds = "SELECT kind, count(*), max(seq) FROM batches GROUP BY kind"
    assert all(count == last for _, count, last in received(short_tmp, kinds))
    stopped = "SELECT count(*) FROM events WHERE type IN ('agent.started', 'agent.stopped')"
    assert received(short_tmp, stopped) == [(2,)]


@pytest.mark.mosquitto
def test_it_ships_to_a_broker_and_what_waits_goes_with_the_next_start(
    short_tmp: Path, mosquitto: Mosquitto
) -> None:
    receiver = Receiver(short_tmp, f"mqtt://127.0.0.1:{mosquitto.port}")
    receiver.start()
    config = write_config(
        short_tmp,
        "mqtt",
        'drain_timeout = "300ms"',
        f'[mqtt]\nhost = "127.0.0.1"\nport = {mosquitto.port}',
    )
    try:
        monitor = EdgeMonitor(config)
        with monitor:
            log(monitor, range(300))
            wait_for(lambda: monitor.get_status()["shipper"], what="the shipper answers")
        mosquitto.stop()
        with monitor:
            log(monitor, range(300, 500))
        mosquitto.start()
        config.write_text(config.read_text().replace('"300ms"', '"2m"'))
        monitor = EdgeMonitor(config)
        with monitor:
            log(monitor, range(500, 700))
            wait_for(lambda: receiver.count("predictions") >= 500, what="the backlog is stored")
            wait_for(lambda: (monitor.get_status()["shipper"] or {}).get("connected"))
        wait_for(lambda: receiver.count("predictions") >= 700, what="all is stored")
        numbers = receiver.query("SELECT json_extract(features, '$.number') FROM predictions")
        assert sorted(number for (number,) in numbers) == list(range(700))
    finally:
        receiver.stop()


def test_a_reference_makes_drift_seen_and_can_be_set_while_running(
    config: Path, short_tmp: Path
) -> None:
    normal = random.Random(1)
    with EdgeMonitor(config) as monitor:
        monitor.set_reference_data("amount", [normal.gauss(50, 9) for _ in range(5000)], "fraud")
        monitor.set_reference_data("output", [normal.gauss(0, 1) for _ in range(5000)], "fraud")
        for amount in (50, 70):
            for _ in range(1500):
                key = monitor.log_model_input({"amount": normal.gauss(amount, 9)}, name="fraud")
                monitor.log_model_output(key, normal.gauss(0, 1))
            assert monitor.flush("memory", 30)
            status = monitor.get_status()
            drifted = ["f:amount"] if amount == 70 else []
            assert status["drifted"] == {"fraud": drifted}
        (model,) = status["agent"]["models"]
        assert [stream["stream"] for stream in model["drift"]] == ["output", "f:amount"]
    alarms = "SELECT stream FROM events WHERE severity = 'alarm'"
    assert received(short_tmp, alarms) == [("f:amount",)]


def test_a_reference_that_could_never_show_drift_is_refused_and_the_one_before_stays(
    config: Path,
) -> None:
    normal = random.Random(1)
    with EdgeMonitor(config) as monitor:
        monitor.set_reference_data("amount", [normal.gauss(50, 9) for _ in range(5000)])
        log(monitor, range(1), "default")
        before = monitor.get_status()["agent"]["models"][0]["profile"]
        with pytest.raises(EdgemonError, match=r"values|window|few"):
            monitor.set_reference_data("amount", [1.0, 2.0, 3.0])
        for wrong in (b"abc", [object()], [], [None], [1.0, "x"]):
            with pytest.raises(EdgemonError):
                monitor.set_reference_data("amount", wrong)
        assert monitor.get_status()["agent"]["models"][0]["profile"] == before != ""


def test_nothing_that_is_logged_ever_raises_or_waits_and_all_is_counted(
    config: Path,
) -> None:
    monitor = EdgeMonitor(config, max_open=10)
    key = monitor.log_model_input([1.0])
    monitor.log_model_output(key, 1.0)  # before start
    with monitor:
        monitor.log_model_output("unknown", 1.0)
        monitor.log_model_output([], 1.0)  # type: ignore[arg-type]
        monitor.log_model_output(monitor.log_model_input(b"\x00"), 1.0)
        monitor.log_model_output(monitor.log_model_input([1.0]), object())
        with pytest.warns(RuntimeWarning, match="bad_event|dropped"):
            monitor.log_model_output(monitor.log_model_input([1.0], name=""), 1.0)
            monitor.log_model_output(monitor.log_model_input([1.0]), [])
        for _ in range(25):
            monitor.log_model_input([1.0])
        status = monitor.get_status()
    monitor.log_model_output(monitor.log_model_input([1.0]), 1.0)
    monitor.log_truth(key, 1)
    monitor.log_error()
    assert status["predictions"] == 1  # the input was bad, its output was not
    assert status["open_inputs"] == 10
    assert status["client"]["dropped"]["bad_event"] == 2
    assert monitor.get_status()["client"]["dropped"]["bad_event"] == 2
    dropped = monitor.get_status()["dropped"]
    assert dropped == {
        "bad_input": 1,
        "bad_output": 1,
        "unknown_id": 2,
        "not_running": 4,
        "input_without_output": 25,
    }


def test_the_truth_joins_its_prediction(config: Path, short_tmp: Path) -> None:
    with EdgeMonitor(config) as monitor:
        (key,) = log(monitor, range(1))
        monitor.log_truth(key, "fraud", name="fraud")
        monitor.log_error(TimeoutError("it took too long"), "fraud")
    errors = "SELECT categories FROM windows WHERE stream = 'error'"
    assert received(short_tmp, errors) == [('{"TimeoutError": 1}',)]
    joined = "SELECT p.output_number, l.label_text FROM predictions p JOIN labels l USING (prediction_id)"
    assert received(short_tmp, joined) == [(0.0, "fraud")]


def test_the_device_is_sampled_when_it_is_asked_for(short_tmp: Path) -> None:
    config = write_config(short_tmp, "none")
    with EdgeMonitor(config) as monitor:
        assert monitor.get_status()["agent"]["system"] == {}
        assert monitor.get_status()["shipper"] is None
        config_of = load(str(config))
        fast = config_of._replace(system=config_of.system._replace(interval_s=1.0))
    monitor = EdgeMonitor(fast)
    monitor.start_system_monitoring()
    try:
        wait_for(lambda: "memory_used_percent" in monitor.get_status()["agent"]["system"])
    finally:
        monitor.stop()


# -- two of them, and other processes


def test_a_second_one_on_the_same_spool_is_told_who_has_it(config: Path) -> None:
    with EdgeMonitor(config) as monitor:
        second = EdgeMonitor(config)
        with pytest.raises(LockedError, match=f"in use by process {os.getpid()}"):
            second.start()
        agent = subprocess.run(
            [*EDGEMON, "agent", "--config", str(config)], capture_output=True, check=False
        )
        assert agent.returncode == LockedError.exit_code
        log(monitor, range(10))
        assert monitor.get_status()["predictions"] == 10
    second.start()  # now it may
    assert second.get_status()["running"]
    second.stop()


def test_edgemon_status_knows_it(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with EdgeMonitor(config) as monitor:
        log(monitor, range(3))
        monitor.get_status()
        assert main(["status", "--config", str(config)]) == 0
    assert "3 predictions" in capsys.readouterr().out


def test_a_shipper_that_dies_is_started_again(config: Path, short_tmp: Path) -> None:
    with EdgeMonitor(config) as monitor:
        first = wait_for(lambda: monitor.get_status()["shipper"])
        os.kill(first["pid"], signal.SIGKILL)
        again = wait_for(
            lambda: (now := monitor.get_status()["shipper"]) and now["pid"] != first["pid"] and now
        )
        log(monitor, range(50))
    with pytest.raises(ProcessLookupError):
        os.kill(again["pid"], 0)
    assert received(short_tmp, "SELECT count(*) FROM predictions") == [(50,)]


def test_with_bursts_no_shipper_runs_between_them(short_tmp: Path) -> None:
    config = write_config(
        short_tmp, "file", 'mode = "burst"\nevery = "1s"', '[batch]\nmax_age = "100ms"'
    )
    with EdgeMonitor(config) as monitor:
        log(monitor, range(50))
        wait_for(lambda: list(short_tmp.glob("state/outbox/*/*/pred-*.zst")), what="a burst")
        wait_for(lambda: (monitor.get_status()["shipper"] or {}).get("bursts"))
    assert received(short_tmp, "SELECT count(*) FROM predictions") == [(50,)]


def test_an_alarm_starts_a_burst(short_tmp: Path) -> None:
    normal = random.Random(1)
    config = write_config(short_tmp, "file", 'mode = "burst"')
    with EdgeMonitor(config) as monitor:
        monitor.set_reference_data("output", [normal.gauss(0, 1) for _ in range(5000)])
        for _ in range(1500):
            monitor.log_model_output(monitor.log_model_input(None), normal.gauss(2, 1))
        wait_for(lambda: list(short_tmp.glob("state/outbox/*/*/event-*.zst")), what="a burst")
    alarms = "SELECT stream FROM events WHERE severity = 'alarm'"
    assert received(short_tmp, alarms) == [("output",)]


# -- what is wrong is said at once


def test_a_configuration_that_is_refused_names_its_faults(short_tmp: Path) -> None:
    path = short_tmp / "edgemon.toml"
    path.write_text("[ship]\nsink = 'nowhere'\n")
    with pytest.raises(ConfigError, match=r"edgemon\.toml:2: ship\.sink"):
        EdgeMonitor(path)
    with pytest.raises(ConfigError, match=r"agent\.device"):
        EdgeMonitor(write_config(short_tmp), device_id="not a name")
    with pytest.raises(ConfigError, match=r"edgemon config convert config\.yaml"):
        EdgeMonitor("config.yaml")
    with pytest.raises(UsageError, match="max_open"):
        EdgeMonitor(write_config(short_tmp), max_open=0)


def test_folders_that_cannot_be_written_are_named() -> None:
    config = parse('[agent]\nstate_dir = "/proc/edgemon"\nrun_dir = "/proc/edgemon"')
    monitor = EdgeMonitor(config)
    with pytest.raises(StorageError, match=r"/proc/edgemon: .*agent\.state_dir"):
        monitor.start()
    with pytest.raises(StorageError, match=r"agent\.state_dir"):
        monitor.set_reference_data("a", [float(n) for n in range(5000)])
    assert monitor.get_status()["running"] is False
