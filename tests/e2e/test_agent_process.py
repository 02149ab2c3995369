"""The agent and its supervisor as real processes, without a broker: reload, crashes, a second start, a bad start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgemon import wire
from edgemon.agent.capture import CAPTURED
from edgemon.records import Row
from tests.e2e.harness import EDGEMON, Application, Device
from tests.servers import wait_for

CONFIG = """
[models."*"]
capture = "all"
[batch]
max_age = "60s"
[system]
interval = "1s"
[ship]
sink = "file"
drain_timeout = "30s"
"""


@pytest.fixture
def device(short_tmp: Path) -> Iterator[Device]:
    with Device(short_tmp, CONFIG) as made:
        yield made


def ids(device: Device) -> list[int]:
    return sorted(int(str(row["id"])) for row in device.rows_left("pred"))


def agent_status(device: Device) -> dict[str, Any]:
    status = device.status()
    assert status is not None
    return status


def send(device: Device, first: int, count: int) -> None:
    application = Application(device)
    application.connect()
    application.send(first, count)
    application.close()


def send_at_once(device: Device, first: int, count: int) -> None:
    """As `send`, and the agent reads them in one turn: no timer of its comes between. count: of less than 64 KiB."""
    application = Application(device)
    application.connect()
    pid = agent_status(device)["pid"]
    os.kill(pid, signal.SIGSTOP)
    application.write(first, count)
    os.kill(pid, signal.SIGCONT)
    application.settle(first + count)
    application.close()


def test_rows_acknowledged_in_an_open_batch_survive_kill_9(device: Device) -> None:
    device.start()
    send(device, 0, 300)  # far from full: these rows are in the journal alone
    device.kill_agent()
    send(device, 300, 10)
    wait_for(lambda: len(ids(device)) >= 300, what="the replayed batch is shipped")
    assert device.stop() == 0
    assert ids(device) == list(range(310))
    numbers = sorted(batch.seq for batch in device.left() if batch.kind == "pred")
    assert numbers == list(range(1, len(numbers) + 1))


def captured(device: Device) -> int:
    """Rows of a sample that the agent counted as taken."""
    return int(agent_status(device)["counters"].get(CAPTURED + '{reason="sample"}', 0))


def numbers_only(first: int, count: int) -> bytes:
    """Predictions that pass Python by, as JSON lines."""
    return b"".join(
        json.dumps({"model": "plain", "id": str(number), "output": number / 7}).encode() + b"\n"
        for number in range(first, first + count)
    )


def test_a_few_sampled_rows_wait_for_more_but_not_past_an_acknowledgement(short_tmp: Path) -> None:
    """Nor past the end, nor for longer than the journal's interval."""
    config = CONFIG.replace('"all"', "{ sample = 0.05 }")
    device = Device(short_tmp, config + '[spool]\nsync_interval = "200ms"\n')
    device.start()
    try:
        with socket.socket(socket.AF_UNIX) as application:
            application.settimeout(60)
            application.connect(str(device.run_dir / "ingest.sock"))
            application.sendall(numbers_only(0, 600) + b'{"ack":1,"level":"disk"}\n')
            assert json.loads(application.recv(4096)) == {"ack": 1, "level": "disk"}
            asked = captured(device)
            device.kill_agent()
        wait_for(lambda: len(ids(device)) >= asked, what="acknowledged rows are replayed")
        assert asked > 0
        assert len(ids(device)) == asked
        with socket.socket(socket.AF_UNIX) as application:
            application.connect(str(device.run_dir / "ingest.sock"))
            application.sendall(numbers_only(600, 600))

            def journaled() -> bool:
                # Not by its status: who asks for that asks for the rows too.
                journals = (device.folder / "state/spool").rglob("pred-*")
                return any(path.stat().st_size > 200 for path in journals)

            wait_for(journaled, what="rows for which nobody asked are in the journal")
            kept = asked + captured(device)
            device.kill_agent()
            wait_for(lambda: len(ids(device)) >= kept, what="they are replayed")
            assert kept > asked
        with socket.socket(socket.AF_UNIX) as application:
            application.connect(str(device.run_dir / "ingest.sock"))
            application.sendall(numbers_only(1_200, 600))
    finally:
        assert device.stop() == 0
    found = ids(device)
    assert len(found) == len(set(found)) > kept
    assert max(found) >= 1_200


def test_who_closes_one_half_still_gets_the_answer(device: Device) -> None:
    """As `nc -N` does; and a connection that nobody waits at is closed."""
    device.start()
    with socket.socket(socket.AF_UNIX) as application:
        application.settimeout(20)
        application.connect(str(device.run_dir / "ingest.sock"))
        application.sendall(b'{"model":"fraud","id":1,"output":0.5}\n{"ack":7,"level":"disk"}\n')
        application.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: application.recv(4096), b""))
    assert json.loads(answer) == {"ack": 7, "level": "disk"}
    wait_for(lambda: not agent_status(device)["ingest"]["clients"], what="the connection is closed")


def windows(device: Device) -> list[Row]:
    """The model rows of all windows."""
    return [
        row
        for batch in device.left()
        if batch.kind == "agg"
        for row in wire.rows_from_columns(batch)
        if not row.get("stream")
    ]


def test_open_windows_survive_kill_9_as_they_were_at_the_last_checkpoint(short_tmp: Path) -> None:
    """And no prediction is counted in two windows."""
    config = CONFIG.replace('[models."*"]', '[models."*"]\nwindow = "1h"')
    device = Device(short_tmp, 'checkpoint_interval = "1s"\n' + config)
    device.start()
    try:
        send_at_once(device, 0, 400)

        def saved() -> bool:
            journals = (device.folder / "state/spool").rglob("*agg*")
            return any(path.stat().st_size > 500 for path in journals)

        wait_for(saved, what="the open windows are in the journal")
        device.kill_agent()
        send(device, 400, 30)
        device.kill_agent()  # at once: these 30 are in no checkpoint, or they are
        send(device, 430, 5)
    finally:
        assert device.stop() == 0
    rows = windows(device)
    cut = [row for row in rows if row.get("cut") == "restart"]
    assert {(row["model"], row["n"]) for row in cut} >= {("fraud", 360), ("churn", 40)}
    counted = sum(int(str(row["n"])) for row in rows)
    assert 405 <= counted <= 435
    assert [row["n"] for row in rows if row["model"] == "fraud" and "cut" not in row] == [4]
    assert len(ids(device)) == 435


def test_a_window_that_began_after_the_last_checkpoint_is_told_after_kill_9(
    short_tmp: Path,
) -> None:
    """The table says of each model from when on what came is not counted, and until when."""
    config = CONFIG.replace('[models."*"]', '[models."*"]\nwindow = "1h"')
    device = Device(short_tmp, 'checkpoint_interval = "1h"\n' + config)
    device.start()
    try:
        send(device, 0, 400)
        file = device.folder / "edgemon.toml"
        file.write_text(file.read_text().replace('window = "1h"', 'window = "30m"'))
        assert device.process is not None
        device.process.send_signal(signal.SIGHUP)  # the windows close
        wait_for(lambda: agent_status(device)["config"]["last_reload"] == "applied")
        send(device, 401, 9)
        device.kill_agent()
    finally:
        assert device.stop() == 0
    rows = windows(device)
    told = [(row["model"], row["n"], row.get("cut")) for row in rows]
    assert sorted(told, key=str) == [
        ("churn", 40, None),
        ("fraud", 0, "restart"),
        ("fraud", 360, None),
    ]
    (cut,) = [row for row in rows if "cut" in row]
    assert cut["dur"] == 0
    assert 0 < int(str(cut["uncounted"])) < 600_000_000, (
        "until the next start, not for half an hour"
    )


def test_a_batch_that_leaves_does_not_take_the_open_windows_with_it(short_tmp: Path) -> None:
    """The journal of the next batch has what the last one's had of windows that are still open."""
    config = CONFIG.replace(
        '[models."*"]', '[models.churn]\nwindow = "2s"\n[models."*"]\nwindow = "1h"'
    )
    config = config.replace('max_age = "60s"', 'max_age = "100ms"')
    device = Device(short_tmp, 'checkpoint_interval = "1s"\n' + config)
    device.start()
    try:
        send_at_once(device, 0, 400)
        wait_for(lambda: windows(device), what="the batch with churn's window is shipped")
        device.kill_agent()
    finally:
        assert device.stop() == 0
    rows = [(row["model"], row["n"], row.get("cut")) for row in windows(device)]
    assert sorted(rows, key=str) == [("churn", 40, None), ("fraud", 360, "restart")]


def test_sigterm_loses_nothing_that_was_written_to_the_socket(device: Device) -> None:
    device.start()
    application = Application(device)
    application.connect()
    application.write(0, 2_000)
    assert device.stop() == 0
    application.close()
    assert ids(device) == list(range(2_000))
    kinds = {batch.kind for batch in device.left()}
    assert kinds >= {"event", "agg", "pred"}


def test_a_good_reload_is_applied_and_a_bad_one_changes_nothing(device: Device) -> None:
    device.start()
    first = agent_status(device)["config"]["hash"]
    file = device.folder / "edgemon.toml"
    good = file.read_text().replace('capture = "all"', 'capture = "none"')
    file.write_text(good)
    assert device.process is not None
    device.process.send_signal(signal.SIGHUP)
    wait_for(lambda: agent_status(device)["config"]["last_reload"] == "applied")
    second = agent_status(device)["config"]["hash"]
    assert second != first
    send(device, 0, 5)
    file.write_text(good.replace('"none"', '"sometimes"'))
    device.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "refused" in agent_status(device)["config"]["last_reload"])
    assert agent_status(device)["config"]["hash"] == second
    assert device.stop() == 0
    assert ids(device) == []
    types = {
        row["type"]
        for batch in device.left()
        if batch.kind == "event"
        for row in wire.rows_from_columns(batch)
    }
    assert types >= {"config.reloaded", "config.refused"}


def test_a_reload_that_turns_shipping_on_starts_the_shipper(short_tmp: Path) -> None:
    device = Device(short_tmp, CONFIG.replace('"file"', '"none"'))
    device.start()
    try:
        assert device.status("ship") is None
        file = device.folder / "edgemon.toml"
        file.write_text(file.read_text().replace('sink = "none"', 'sink = "file"'))
        assert device.process is not None
        device.process.send_signal(signal.SIGHUP)
        wait_for(lambda: device.status("ship") is not None, what="the shipper runs")
    finally:
        device.stop()


def test_when_the_supervisor_is_killed_its_children_stop_by_themselves(device: Device) -> None:
    device.start()
    send(device, 0, 10)
    pids = [agent_status(device)["pid"]]
    wait_for(lambda: device.status("ship") is not None)
    pids.append((device.status("ship") or {})["pid"])
    assert device.process is not None
    device.process.kill()
    device.process.wait()
    wait_for(
        lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), what="both halves ended"
    )
    device.start()
    send(device, 10, 10)
    assert device.stop() == 0
    assert ids(device) == list(range(20))


def test_a_shipper_that_dies_is_started_again(device: Device) -> None:
    device.start()
    wait_for(lambda: device.status("ship") is not None)
    before = (device.status("ship") or {})["pid"]
    os.kill(before, signal.SIGKILL)
    wait_for(
        lambda: (device.status("ship") or {}).get("pid", before) != before,
        what="another shipper runs",
    )


def test_a_second_agent_on_the_same_spool_is_refused_in_one_line(device: Device) -> None:
    device.start()
    second = subprocess.run(
        [*EDGEMON, "agent"], cwd=device.folder, capture_output=True, text=True, timeout=30
    )
    assert second.returncode == 6
    assert len(second.stderr.strip().splitlines()) == 1
    assert str(agent_status(device)["pid"]) in second.stderr


def test_a_wrong_configuration_is_refused_with_all_faults_and_exit_code_3(short_tmp: Path) -> None:
    device = Device(short_tmp, "[batch]\nmax_rows = 0\n[shop]\n")
    run = subprocess.run(
        [*EDGEMON, "run"], cwd=device.folder, capture_output=True, text=True, timeout=30
    )
    assert run.returncode == 3
    assert "edgemon.toml:5: batch.max_rows" in run.stderr
    assert "did you mean [ship]?" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_damaged_spool_does_not_stop_the_agent(device: Device) -> None:
    device.start()
    send(device, 0, 2_500)
    assert device.stop() == 0
    (segment,) = sorted(device.folder.glob("state/spool/3-pred/*.zst"))
    data = bytearray(segment.read_bytes())
    data[100:140] = bytes(40)
    segment.write_bytes(data[:-50])
    (device.folder / "state" / "spool" / "cursor").unlink()
    device.start()
    send(device, 2_500, 10)
    counters = agent_status(device)["counters"]
    assert device.stop() == 0
    assert any("damaged" in name or "torn" in name for name in counters), json.dumps(counters)


def test_a_client_that_breaks_the_protocol_harms_nobody_else(device: Device) -> None:
    import socket

    device.start()
    with socket.socket(socket.AF_UNIX) as bad:
        bad.settimeout(10.0)
        bad.connect(str(device.run_dir / "ingest.sock"))
        bad.sendall(b'{"model":"m","output":1}\n{"model"\n')
        answer = bad.recv(1000)
        assert b"at byte" in answer
        assert bad.recv(1000) == b""
    send(device, 0, 10)
    counters = agent_status(device)["counters"]
    assert counters['edgemon_ingest_dropped_events_total{reason="malformed"}'] == 1
    assert agent_status(device)["ingest"]["predictions"] == 11


def test_a_shipper_that_cannot_run_does_not_stop_the_agent(device: Device) -> None:
    device.start()
    assert device.stop() == 0
    alone = subprocess.Popen([*EDGEMON, "ship"], cwd=device.folder, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: device.status("ship") is not None, what="a shipper of its own runs")
        device.start()
        wait_for(
            lambda: "ship ended with exit code 6" in device.log(),
            what="the second shipper is refused",
        )
        send(device, 0, 10)
        assert device.stop() == 0
    finally:
        alone.terminate()
        alone.wait(20)
