"""Rules in real processes: what an application does becomes events and commands; a reload keeps what holds."""

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

from edgemon.records import Row
from tests.e2e.harness import EDGEMON, Device
from tests.notice_servers import Hook, MailServer
from tests.servers import free_port, wait_for

CONFIG = """
[system]
enabled = false
[models."*"]
window = "1s"
version_ttl = "1h"
[batch]
max_age = "200ms"
[ship]
sink = "file"
[[rules]]
name = "slow"
when = "latency.p99 > 250ms"
clear = "latency.p99 < 100ms"
severity = "alarm"
min_interval = "0s"
do = ["event", "log", "exec:once", "exec:note"]
[[rules]]
name = "queue"
when = "metric.queue > 3 for 1h"
[[rules]]
name = "broken"
when = "errors.share >= 50%"
do = ["event", "exec:broken"]
[actions.note]
on = "both"
command = ["{folder}/note", "{folder}/noted"]
[actions.once]
command = ["{folder}/note", "{folder}/once"]
[actions.broken]
command = ["/bin/false"]
"""
NOTE = (
    '#!/bin/sh\necho "$EDGEMON_STATE $EDGEMON_RULE of $EDGEMON_MODEL: $EDGEMON_SEVERITY" >>"$1"\n'
)


@pytest.fixture
def device(short_tmp: Path) -> Iterator[Device]:
    note = short_tmp / "note"
    note.write_text(NOTE)
    note.chmod(0o755)
    with Device(short_tmp, CONFIG.format(folder=short_tmp)) as made:
        yield made


def send(device: Device, *events: dict[str, Any]) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30.0)
        client.connect(str(device.run_dir / "ingest.sock"))
        lines = "".join(json.dumps(event) + "\n" for event in events)
        client.sendall(lines.encode() + b'{"ack":1,"level":"memory"}\n')
        assert b"ack" in client.recv(1000)


def told(device: Device, what: str) -> list[Row]:
    """Events of a type that have left."""
    return [row for row in device.rows_left("event") if row["type"] == what]


def rule(device: Device, name: str) -> dict[str, Any]:
    status = device.status()
    assert status is not None
    return next(one for one in status["rules"] if one["rule"] == name)


def reloads(device: Device) -> dict[str, int]:
    status = device.status()
    assert status is not None
    return {name: count for name, count in status["counters"].items() if "reloads" in name}


def test_a_slow_model_is_told_done_about_and_told_to_be_over(device: Device) -> None:
    device.start()
    noted = device.folder / "noted"

    def until(latency_s: float, state: str) -> None:
        def is_so() -> bool:
            send(
                device,
                *({"model": "fraud", "output": 0.5, "latency": latency_s} for _ in range(50)),
            )
            return str(rule(device, "slow")["state"]) == state

        wait_for(is_so, what=state)

    until(0.3, "firing")
    said = subprocess.check_output([*EDGEMON, "status"], cwd=device.folder, text=True)
    assert "ALARM slow: model fraud, for" in said
    until(0.01, "ok")
    wait_for(lambda: len(told(device, "rule.cleared")) == 1, what="the event of its end")
    [fired] = told(device, "rule.fired")
    assert (fired["severity"], fired["model"]) == ("alarm", "fraud")
    data = json.loads(str(fired["data"]))
    assert data["rule"] == "slow"
    assert data["values"]["latency.p99"] == pytest.approx(0.3, rel=0.02)
    wait_for(
        lambda: noted.exists() and noted.read_text().count("\n") == 2, what="the command ran twice"
    )
    assert noted.read_text() == "fired slow of fraud: alarm\ncleared slow of fraud: alarm\n"
    assert (device.folder / "once").read_text() == "fired slow of fraud: alarm\n"
    assert "rule fired: slow: latency.p99 is" in device.log()
    wait_for(lambda: "last" in rule(device, "slow"), what="how the command ended")
    assert rule(device, "slow")["last"]["note"]["words"] == "ended with exit code 0"


def test_a_webhook_and_an_e_mail_leave_by_the_shipper_though_batches_stay(device: Device) -> None:
    hook, mail = Hook(), MailServer()
    hook.answers = [503]
    try:
        file = device.folder / "edgemon.toml"
        text = file.read_text().replace('sink = "file"', 'sink = "none"\ninitial_interval = "50ms"')
        text = text.replace('do = ["event", "exec:broken"]', 'do = ["webhook:duty", "email:boss"]')
        file.write_text(
            f'{text}[actions.duty]\nurl = "http://127.0.0.1:{hook.port}/"\n[actions.boss]\nto = ["boss@example.org"]\n'
            f'sender = "cam@example.org"\nsmtp_host = "127.0.0.1"\nsmtp_port = {mail.port}\nsecurity = "none"\n'
        )
        device.start()
        send(device, {"model": "fraud", "version": 3, "error": "Timeout"})
        wait_for(lambda: len(hook.posts) == 2 and mail.letters, what="both")
        said = json.loads(hook.posts[1].body)
        assert (said["rule"], said["state"], said["model"], said["version"]) == (
            "broken",
            "fired",
            "fraud",
            "3",
        )
        assert said["values"] == {"errors.share": 1.0}
        assert hook.posts[0].body == hook.posts[1].body  # the same, once more
        assert "broken: errors.share is 1 (model fraud, version 3)" in str(
            mail.letters[0]["Subject"]
        )

        def counted() -> bool:
            shown = subprocess.check_output([*EDGEMON, "status"], cwd=device.folder, text=True)
            return "2 notifications sent" in " ".join(shown.split())

        wait_for(counted, what="the status says so")
    finally:
        hook.stop()
        mail.stop()


def test_a_notification_survives_the_death_of_all_that_runs_and_comes_when_the_server_is_there(
    device: Device,
) -> None:
    port = free_port()
    text = CONFIG.format(folder=device.folder).partition("[[rules]]")[0]
    text = text.replace(
        'sink = "file"', 'sink = "none"\ninitial_interval = "50ms"\nmax_interval = "200ms"'
    )
    rules = '[[rules]]\nwhen = "errors > 0"\ndo = ["webhook:duty"]\n'
    action = f'[actions.duty]\nurl = "http://127.0.0.1:{port}/"\n'
    file = device.folder / "edgemon.toml"
    file.write_text(f'[agent]\nstate_dir = "state"\nrun_dir = "run"\n{text}{rules}{action}')
    device.start()
    send(device, {"model": "fraud", "error": "Timeout"})

    def refused() -> bool:
        ship = device.status("ship")
        return ship is not None and "connection refused" in str(ship["notices"])

    wait_for(refused, what="an attempt")
    pids = [status["pid"] for who in ("agent", "ship") if (status := device.status(who))]
    assert device.process is not None
    for pid in [device.process.pid, *pids]:
        os.kill(pid, signal.SIGKILL)
    device.process.wait(20)
    hook = Hook(port=port)
    try:
        device.start()
        wait_for(lambda: hook.posts, what="it arrives")
        assert json.loads(hook.posts[0].body)["rule"] == "errors > 0"
    finally:
        hook.stop()


def test_an_alarm_starts_a_burst_that_takes_its_webhook_along(device: Device) -> None:
    hook = Hook()
    try:
        text = CONFIG.format(folder=device.folder).partition("[[rules]]")[0]
        text = text.replace('sink = "file"', 'sink = "file"\nmode = "burst"\nevery = "1d"')
        rules = '[[rules]]\nwhen = "errors > 0"\nseverity = "alarm"\ndo = ["webhook:duty"]\n'
        action = f'[actions.duty]\nurl = "http://127.0.0.1:{hook.port}/"\n'
        file = device.folder / "edgemon.toml"
        file.write_text(f'[agent]\nstate_dir = "state"\nrun_dir = "run"\n{text}{rules}{action}')
        device.start()
        send(device, {"model": "fraud", "error": "Timeout"})
        wait_for(lambda: hook.posts, what="the webhook")
    finally:
        hook.stop()


def test_a_command_that_fails_is_told_and_counted(device: Device) -> None:
    device.start()
    send(device, {"model": "fraud", "error": "Timeout"}, {"model": "fraud", "error": "Timeout"})
    wait_for(lambda: told(device, "rule.action_failed"), what="the event of the failure")
    [event] = told(device, "rule.action_failed")
    assert event["message"] == "broken, the action of broken, ended with exit code 1"
    status = device.status()
    assert status is not None
    assert status["counters"]['edgemon_rules_action_failures_total{reason="exec"}'] == 1


def test_an_alarm_has_the_flight_recorder_ship_what_was_before_it(device: Device) -> None:
    file = device.folder / "edgemon.toml"
    recorder = 'window = "1s"\ncapture = "none"\nrecorder = 20'
    file.write_text(file.read_text().replace('window = "1s"', recorder))
    device.start()
    send(device, *({"model": "fraud", "output": n, "latency": 0.3} for n in range(100)))
    wait_for(lambda: len(device.rows_left("pred")) >= 20, what="the recorder's rows")
    rows = device.rows_left("pred")
    outputs = [row["output"] for row in rows]
    assert isinstance(outputs[0], float)
    assert outputs == [outputs[0] + n for n in range(len(rows))]  # the latest, none left out
    assert {row["why"] for row in rows} == {"alarm"}


def test_a_rule_shows_nothing_of_what_may_not_leave(device: Device) -> None:
    file = device.folder / "edgemon.toml"
    text = file.read_text().replace(
        'window = "1s"', 'window = "1s"\nredact = { deny = ["name", "amount"] }'
    )
    text = text.partition("[[rules]]")[0]
    for when, stream in (
        ("missing > 50%", "f:name"), ("value.max > 0", "f:amount"), ("value.p50 > 0", "f:amount"),
        ("value.mean > 0", "f:*"),
    ):  # fmt: skip
        text += f'[[rules]]\nwhen = "{when}"\nstream = "{stream}"\n'
    file.write_text(text)
    device.start()
    for name in ("Ada", "Ada", "Ada", None):
        features = {"name": name, "amount": 5.0}
        send(device, *({"model": "fraud", "output": 0.5, "features": features} for _ in range(25)))
    wait_for(lambda: rule(device, "value.mean > 0")["fired"], what="a window's end")
    fired = {
        name: rule(device, name)["fired"]
        for name in ("missing > 50%", "value.max > 0", "value.p50 > 0")
    }
    assert fired == {"missing > 50%": 0, "value.max > 0": 0, "value.p50 > 0": 0}


def test_a_reload_keeps_the_rules_that_are_as_they_were(device: Device) -> None:
    device.start()
    send(device, {"metric": "queue", "value": 9.0})
    wait_for(lambda: rule(device, "queue")["state"] == "pending", what="pending")
    file = device.folder / "edgemon.toml"
    text = file.read_text()
    agent = device.status()
    assert agent is not None

    def reload(changed: str) -> str:
        file.write_text(changed)
        before = reloads(device)
        os.kill(agent["pid"], signal.SIGHUP)
        wait_for(lambda: reloads(device) != before, what="the reload")
        status = device.status()
        assert status is not None
        return str(status["config"]["last_reload"])

    refused = reload(text.replace("latency.p99 > 250ms", "latncy.p99 > 250ms"))
    assert 'rules[0].when: column 1: there is no figure "latncy.p99"' in refused
    assert reload(text.replace("latency.p99 > 250ms", "latency.p99 > 200ms")) == "applied"
    assert rule(device, "queue")["state"] == "pending"
    assert reload(text.replace("queue > 3", "queue > 4")) == "applied"
    assert rule(device, "queue")["state"] == "ok"
    assert reload(text.partition("[[rules]]")[0]) == "applied"
    status = device.status()
    assert status is not None
    assert status["rules"] == []
