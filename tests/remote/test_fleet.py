"""The whole way: an operator's shell, a real broker, `edgemon run`, and back on the topic `reported`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edgemon.cli import main
from edgemon.control import request
from edgemon.errors import EdgemonError
from tests.remote.device import GOOD, Device, message
from tests.servers import HOST, Listener, Mosquitto, Proxy, wait_for

BASE = "edgemon/v1/lab/cam-7"


class Operator:
    """Who signs and publishes, and sees what comes back."""

    def __init__(self, broker: Mosquitto, device: Device) -> None:
        self.broker, self.device = broker, device
        self.listener = Listener(broker.port, f"{BASE}/#")
        self._awaited = 0  # reports up to the last one that was waited for

    def publish(self, payload: bytes) -> None:
        """Retained."""
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect(HOST, self.broker.port)
        client.loop_start()
        client.publish(f"{BASE}/desired", payload, qos=1, retain=True).wait_for_publish(20)
        client.disconnect()
        client.loop_stop()

    def sign_and_publish(self, revision: int, text: str, key: str = "key") -> int:
        overlay = self.device.folder / "overlay.toml"
        overlay.write_text(text)
        words = f"remote sign {overlay} --key-file {self.device.folder}/{key} --device cam-7 --fleet lab"
        words += f" --revision {revision} --publish mqtt://{HOST}:{self.broker.port}"
        return main(words.split())

    def reports(self) -> list[dict[str, Any]]:
        return [json.loads(one.payload) for one in self.listener.on("/reported")]

    def latest(self) -> dict[str, Any]:
        reports = self.reports()
        return reports[-1] if reports else {"status": "", "revision": 0, "refused": None}

    def events(self) -> list[str]:
        types = [json.loads(one.payload)["type"] for one in self.listener.on("/event")]
        prefix = "edgemon.config.remote."
        return [one.removeprefix(prefix) for one in types if one.startswith(prefix)]

    def await_status(self, status: str, revision: int) -> dict[str, Any]:
        """The next report that says so, whatever was told since: on a busy machine a trial may be over already."""

        def reached() -> dict[str, Any] | None:
            for place, report in enumerate(self.reports()[self._awaited :], self._awaited + 1):
                if (report["status"], report["revision"]) == (status, revision):
                    self._awaited = place
                    return report
            return None

        try:
            found = wait_for(reached, 60.0, f"{status} {revision}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.reports()[-2:]} {self.device.log()}") from error
        assert found is not None
        return found


@pytest.fixture
def operator(mosquitto: Mosquitto, short_tmp: Path) -> Iterator[Operator]:
    device = Device(short_tmp, mosquitto.port, confirm="8s")
    made = Operator(mosquitto, device)
    yield made
    made.listener.close()
    device.kill()


def agent_pid(device: Device) -> int:
    pid: int = device.status()["pid"]
    return pid


def stop(device: Device, process: subprocess.Popen[bytes]) -> None:
    assert device.stop(process) == 0, device.log()


def test_from_the_operators_shell_to_the_device_and_back(operator: Operator) -> None:
    """Applied by both halves, killed on trial, confirmed, kept over a restart and over the deletion at the broker."""
    device = operator.device
    device.file.write_text(device.file.read_text() + 'allow = ["batch", "ship.max_inflight"]\n')
    program = device.run("run")
    assert operator.await_status("none", 0)["in_force"] is None
    assert operator.sign_and_publish(1, GOOD + "[ship]\nmax_inflight = 3\n") == 0
    trial = operator.await_status("trial", 1)
    assert trial["keys"] == ["batch.max_age", "ship.max_inflight"] and trial["in_force"] == 1
    os.kill(agent_pid(device), signal.SIGKILL)
    applied = operator.await_status("applied", 1)
    assert applied["config"] == trial["config"] and device.remembered().starts == 0
    wait_for(lambda: {"applied", "confirmed"} <= set(operator.events()))
    (retained,) = [m for m in operator.listener.on("/desired") if not m.retained]
    assert retained.payload == message(1, GOOD + "[ship]\nmax_inflight = 3\n")

    # What is retained comes again with each connection, and says nothing new.
    before = operator.events()
    stop(device, program)
    told = len(operator.reports())
    program = device.run("run")
    wait_for(lambda: len(operator.reports()) > told, what="it is connected and subscribed")
    assert operator.await_status("applied", 1)["refused"] is None
    operator.publish(b"")  # deleted
    wait_for(lambda: "was deleted at the broker" in device.log())
    assert operator.latest()["in_force"] == 1

    # A signature of somebody else's, then a slip: refused, with the reason and the line.
    device.folder.joinpath("other").write_text("f" * 64)
    device.folder.joinpath("other").chmod(0o600)
    assert operator.sign_and_publish(2, GOOD, "other") == 0
    wait_for(lambda: operator.latest()["refused"], 30.0)
    assert "no key" in operator.latest()["refused"]["reason"]
    assert operator.sign_and_publish(2, '[batch]\n\nmax_age = "5y"\n') == 0
    wait_for(
        lambda: "configuration 2:3: batch.max_age" in operator.latest()["refused"]["reason"], 30.0
    )
    wait_for(lambda: operator.events().count("refused") == 2)
    assert [one for one in operator.events() if one != "refused"] == before
    assert device.remembered().revision == 1
    stop(device, program)


def test_cut_off_on_trial_the_device_comes_back_and_tells_it_when_it_can(
    mosquitto: Mosquitto, short_tmp: Path
) -> None:
    proxy = Proxy(mosquitto.port)
    device = Device(short_tmp, proxy.port, confirm="8s")
    operator = Operator(mosquitto, device)
    try:
        program = device.run("run")
        local = operator.await_status("none", 0)["config"]
        operator.publish(message(1))
        operator.await_status("trial", 1)
        proxy.refuse = True
        proxy.cut()
        wait_for(lambda: device.report()["status"] == "rolled_back", 30.0)
        report = device.report()
        assert (report["config"], report["in_force"]) == (local, None)
        assert "the shipper is not connected: 127.0.0.1" in report["reason"]
        proxy.refuse = False
        told = operator.await_status("rolled_back", 1)
        assert told["reason"] == report["reason"]
        wait_for(lambda: "rolled_back" in operator.events())
        # The broker still has the message; it came again with the connection, and is known to be bad.
        assert device.report()["in_force"] is None and device.remembered().revision == 1
        stop(device, program)
    finally:
        operator.listener.close()
        device.kill()
        proxy.close()


def test_a_burst_brings_it_too(mosquitto: Mosquitto, short_tmp: Path) -> None:
    device = Device(short_tmp, mosquitto.port, confirm="2s")
    operator = Operator(mosquitto, device)
    try:
        operator.publish(message(1))
        device.start()
        once = [sys.executable, "-m", "edgemon", "ship", "--once", "--config", str(device.file)]
        assert subprocess.run(once, cwd=device.folder).returncode == 0
        assert device.report()["in_force"] == 1, device.log()
        assert operator.await_status("trial", 1)["in_force"] == 1
        wait_for(
            lambda: device.report()["status"] == "applied"
        )  # without a network, which it had not either
    finally:
        operator.listener.close()
        device.kill()


def test_between_bursts_the_supervisor_keeps_the_times_that_came_from_afar(
    mosquitto: Mosquitto, short_tmp: Path
) -> None:
    """And again those of the file, once a person drops what came: then nobody ships who could tell it."""
    device = Device(short_tmp, mosquitto.port)
    text = device.file.read_text().replace("[ship]\n", '[ship]\nmode = "burst"\nevery = "2s"\n')
    device.file.write_text(text + 'allow = ["ship.every"]\n')
    operator = Operator(mosquitto, device)

    def pause_s() -> float:
        """Until the next burst; 0 while one goes on."""
        try:
            told = request(str(device.folder / "ship.sock"), {"cmd": "status"}, 10.0)
        except EdgemonError:
            return 0.0
        return float(str(told.get("next_attempt_s") or 0.0)) if "bursts" in told else 0.0

    try:
        operator.publish(message(1, '[ship]\nevery = "20h"\n'))
        program = device.run("run")
        wait_for(lambda: pause_s() > 60_000, 60.0)
        assert operator.await_status("trial", 1)["keys"] == ["ship.every"]
        assert main(["remote", "clear", "--config", str(device.file)]) == 0
        wait_for(lambda: 0 < pause_s() <= 2, 30.0)
        stop(device, program)
    finally:
        operator.listener.close()
        device.kill()


def test_what_is_too_large_for_any_buffer_does_not_stop_the_shipping(
    mosquitto: Mosquitto, short_tmp: Path
) -> None:
    """MQTT 3.1.1 has no way to say what a client takes: the broker would send it with each connection."""
    device = Device(short_tmp, mosquitto.port)
    text = device.file.read_text().replace("[mqtt]\n", '[mqtt]\nversion = "3.1.1"\n')
    device.file.write_text(text)
    operator = Operator(mosquitto, device)
    try:
        operator.publish(bytes(100_000))
        program = device.run("run")
        wait_for(lambda: "retains what is too large" in device.log(), 30.0)
        wait_for(lambda: operator.listener.on("/batch"), 30.0)
        stop(device, program)
    finally:
        operator.listener.close()
        device.kill()
