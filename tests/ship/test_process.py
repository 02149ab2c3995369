"""`edgemon ship` as a real process, with a real spool and a real broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgemon import control
from edgemon.records import KINDS
from edgemon.ship.sink import Key
from tests.servers import Listener, Mosquitto, Nats, Proxy, free_port, wait_for
from tests.ship.rig import Feeder, ShipProgram, config_text, make_config


class Place:
    """One device: its folder, its spool, its shipper."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.feeder: Feeder | None = None
        self.program: ShipProgram | None = None
        self._text = ""

    def configure(self, port: int, **more: str) -> Feeder:
        self._text = config_text(self.folder, port, **more)
        self.port, self.more = port, more
        self.feeder = Feeder(make_config(self.folder, port, **more))
        return self.feeder

    def ship(self) -> ShipProgram:
        config = make_config(self.folder, self.port, **self.more)
        self.program = ShipProgram(config, self._text)
        return self.program

    def once(self) -> subprocess.CompletedProcess[str]:
        config = make_config(self.folder, self.port, **self.more)
        Path(config.file).write_text(self._text)
        return subprocess.run(
            [sys.executable, "-m", "edgemon", "ship", "--once", "--config", config.file],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def close(self) -> None:
        if self.program is not None and self.program.process.poll() is None:
            self.program.end(signal.SIGKILL)
        if self.feeder is not None:
            self.feeder.close()


@pytest.fixture
def place(short_tmp: Path) -> Iterator[Place]:
    made = Place(short_tmp)
    yield made
    made.close()


def keys(listener: Listener) -> list[Key]:
    """Batches that came, in order of arrival, by their MQTT 5 properties."""
    found = [message.properties for message in listener.on("/batch")]
    return [(properties["kind"], int(properties["seq"])) for properties in found]


def states(listener: Listener) -> list[tuple[object, object]]:
    found = [json.loads(message.payload) for message in listener.on("/state")]
    return [(state["online"], state["birth"]) for state in found]


def test_all_batches_arrive_alarms_first_and_the_cursor_says_so(
    mosquitto: Mosquitto, place: Place
) -> None:
    listener = Listener(mosquitto.port)
    feeder = place.configure(mosquitto.port)
    feeder.add_all_kinds(30)
    program = place.ship()
    wait_for(lambda: len(keys(listener)) == 120)
    assert keys(listener) == [(kind, seq) for kind in KINDS for seq in range(1, 31)]
    assert {m.payload for m in listener.on("/batch")} == set(feeder.sent.values())
    assert program.end() == 0
    assert feeder.cursor() == dict.fromkeys(KINDS, 30)
    wait_for(lambda: states(listener) == [(True, 1), (False, 1)])
    listener.close()


def test_batches_leave_soon_after_the_nudge_of_the_agent(
    mosquitto: Mosquitto, place: Place
) -> None:
    listener = Listener(mosquitto.port)
    feeder = place.configure(mosquitto.port)
    program = place.ship()
    program.wait_status(lambda status: status["connected"], "connected")
    for number in range(1, 11):
        feeder.add("event")
        wait_for(lambda n=number: len(keys(listener)) == n)  # type: ignore[misc]
    listener.close()


def test_a_broker_that_is_stopped_and_comes_back_gets_every_batch(
    mosquitto: Mosquitto, place: Place
) -> None:
    listener = Listener(mosquitto.port, session="archive")
    feeder = place.configure(mosquitto.port)
    program = place.ship()
    feeder.add("pred", 200)
    wait_for(lambda: len(keys(listener)) > 50)
    mosquitto.stop()
    feeder.add_all_kinds(100)
    program.wait_status(lambda s: not s["connected"] and s["failures"], "it notices")
    assert "refuses connections" in str(program.status()["last_error"])
    mosquitto.start()
    listener.wait_ready()
    program.wait_status(
        lambda s: s["acked"] == {"event": 100, "agg": 100, "sys": 100, "pred": 300}, "all acked"
    )
    wait_for(lambda: set(keys(listener)) == set(feeder.sent), what="every batch at least once")
    assert program.end() == 0
    assert feeder.cursor() == {"event": 100, "agg": 100, "sys": 100, "pred": 300}
    listener.close()


def test_a_connection_that_is_cut_in_the_middle_again_and_again_loses_nothing(
    mosquitto: Mosquitto, place: Place
) -> None:
    listener = Listener(mosquitto.port)
    proxy = Proxy(mosquitto.port)
    feeder = place.configure(proxy.port)
    feeder.add("pred", 100, noise=5_000)
    feeder.add("event", 20)
    proxy.cut_after_bytes = 90_000
    place.ship()
    for _ in range(5):
        wait_for(lambda: proxy.cut_after_bytes is None)
        proxy.cut_after_bytes = 90_000
    proxy.cut_after_bytes = 10**9
    wait_for(lambda: set(keys(listener)) == set(feeder.sent))
    ids = {json.loads(message.payload)["id"] for message in listener.on("/event")}
    assert len(ids) == 60
    proxy.close()
    listener.close()


def test_killed_the_will_is_seen_and_the_next_process_goes_on(
    mosquitto: Mosquitto, place: Place
) -> None:
    listener = Listener(mosquitto.port)
    feeder = place.configure(mosquitto.port)
    feeder.add("pred", 50)
    program = place.ship()
    wait_for(lambda: len(keys(listener)) == 50)
    program.end(signal.SIGKILL)
    wait_for(lambda: states(listener) == [(True, 1), (False, 1)], what="the last will")
    feeder.add("pred", 50)
    program.spawn()
    wait_for(lambda: set(keys(listener)) == set(feeder.sent))
    (_, birth) = states(listener)[2]
    assert isinstance(birth, int) and birth > 1
    assert program.end() == 0
    assert feeder.cursor()["pred"] == 100
    listener.close()


def test_a_network_that_swallows_acknowledgements_only_delays(
    mosquitto: Mosquitto, place: Place
) -> None:
    listener = Listener(mosquitto.port)
    proxy = Proxy(mosquitto.port)
    feeder = place.configure(proxy.port, mqtt='keepalive = "5s"')
    program = place.ship()
    program.wait_status(lambda status: status["connected"], "connected")
    proxy.swallow_down = True
    feeder.add("pred", 20)
    wait_for(lambda: keys(listener), what="something arrives")
    assert feeder.cursor()["pred"] == 0
    proxy.swallow_down = False
    proxy.cut()
    program.wait_status(lambda s: s["acked"]["pred"] == 20, "all acked")  # type: ignore[index]
    wait_for(lambda: set(keys(listener)) == set(feeder.sent))
    proxy.close()
    listener.close()


def test_a_batch_too_large_for_the_broker_is_in_quarantine_and_the_rest_arrives(
    mosquitto_folder: Path, place: Place
) -> None:
    broker = Mosquitto(mosquitto_folder, settings="max_packet_size 4000")
    broker.start()
    listener = Listener(broker.port)
    feeder = place.configure(broker.port)
    feeder.add("pred")
    feeder.add("pred", noise=8_000)
    feeder.add("pred", 3)
    program = place.ship()
    program.wait_status(lambda s: s["acked"]["pred"] == 5, "the poison is passed")  # type: ignore[index]
    wait_for(lambda: set(keys(listener)) == {("pred", n) for n in (1, 3, 4, 5)})
    (kept,) = (place.folder / "spool" / "quarantine").iterdir()
    assert kept.read_bytes() == feeder.sent["pred", 2]
    assert "refused-pred-" in kept.name
    counters = program.status()["counters"]
    assert isinstance(counters, dict)
    assert counters["edgemon_ship_quarantined_batches_total"] == 1
    listener.close()
    broker.stop()


def test_a_plain_broker_without_mqtt_5_takes_everything(nats: Nats, place: Place) -> None:
    listener = Listener(nats.port, mqtt5=False)
    feeder = place.configure(nats.port, mqtt='version = "3.1.1"')
    feeder.add_all_kinds(20)
    program = place.ship()
    wait_for(lambda: {m.payload for m in listener.on("/batch")} == set(feeder.sent.values()))
    assert program.end() == 0
    assert feeder.cursor() == dict.fromkeys(KINDS, 20)
    listener.close()


def test_a_full_folder_is_tried_again_until_somebody_empties_it(place: Place) -> None:
    feeder = place.configure(1, ship='sink = "file"\nfolder_max_bytes = "1MiB"')
    feeder.add("pred", 12, noise=100_000)
    feeder.add("event", 1)
    program = place.ship()
    program.wait_status(lambda s: s["failures"], "it is full")
    assert "is full" in str(program.status()["last_error"])
    outbox = place.folder / "outbox" / "lab" / "cam-7"
    assert sum(path.stat().st_size for path in outbox.iterdir()) <= 1 << 20
    for path in outbox.iterdir():
        path.unlink()
    program.wait_status(
        lambda s: s["acked"] == {"event": 1, "agg": 0, "sys": 0, "pred": 12}, "all acked"
    )
    assert program.end() == 0
    assert feeder.cursor()["pred"] == 12


def test_once_empties_the_spool_and_exits(mosquitto: Mosquitto, place: Place) -> None:
    listener = Listener(mosquitto.port)
    feeder = place.configure(mosquitto.port)
    feeder.add_all_kinds(40)
    result = place.once()
    assert result.returncode == 0, result.stderr
    wait_for(lambda: len(keys(listener)) == 160)
    assert feeder.cursor() == dict.fromkeys(KINDS, 40)
    listener.close()


def test_once_with_nothing_to_ship_does_not_need_a_broker(place: Place) -> None:
    place.configure(free_port())
    assert place.once().returncode == 0


def test_once_without_a_broker_exits_with_5_and_says_why(place: Place) -> None:
    feeder = place.configure(free_port())
    feeder.add("pred")
    result = place.once()
    assert result.returncode == 5
    assert "edgemon: not all was shipped: 127.0.0.1:" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_second_shipper_is_refused(place: Place) -> None:
    feeder = place.configure(free_port())
    feeder.add("pred")
    program = place.ship()
    program.wait_status(lambda s: s["failures"], "it runs")
    result = place.once()
    assert result.returncode == 6
    assert "another process answers on" in result.stderr


def test_a_secret_that_everybody_can_read_is_refused_with_exit_code_3(place: Place) -> None:
    password = place.folder / "password"
    password.write_text("secret")
    password.chmod(0o644)
    feeder = place.configure(1, mqtt=f'username = "cam"\npassword_file = "{password}"')
    feeder.add("pred")
    result = place.once()
    assert result.returncode == 3
    assert "can be read by everybody" in result.stderr


def test_a_reload_changes_the_sink_and_goes_on(mosquitto: Mosquitto, place: Place) -> None:
    listener = Listener(mosquitto.port)
    feeder = place.configure(mosquitto.port)
    feeder.add("pred", 5)
    program = place.ship()
    program.wait_status(lambda s: s["acked"]["pred"] == 5, "five acked")  # type: ignore[index]
    text = config_text(place.folder, mosquitto.port, ship='sink = "file"')
    Path(program.config.file).write_text(text)
    program.process.send_signal(signal.SIGHUP)
    program.wait_status(lambda s: s["sink"] == "file", "the new sink")
    feeder.add("pred", 5)
    program.wait_status(lambda s: s["acked"]["pred"] == 10, "ten acked")  # type: ignore[index]
    assert len(list((place.folder / "outbox" / "lab" / "cam-7").iterdir())) == 5
    wait_for(lambda: states(listener)[-1:] == [(False, 1)], what="a goodbye to the broker")
    listener.close()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('sink = "pigeon"', "ship.sink"),
        ("max_inflight = 0", "ship.max_inflight"),
    ],
)
def test_a_reload_that_is_wrong_is_refused_and_the_old_stays_in_force(
    mosquitto: Mosquitto, place: Place, lines: str, words: str
) -> None:
    feeder = place.configure(mosquitto.port)
    program = place.ship()
    program.wait_status(lambda status: status["connected"], "connected")
    before = program.status()["config_hash"]
    Path(program.config.file).write_text(config_text(place.folder, mosquitto.port, ship=lines))
    program.process.send_signal(signal.SIGHUP)
    program.wait_status(lambda s: s["reload_error"], "the refusal")
    assert words in str(program.status()["reload_error"])
    assert program.status()["config_hash"] == before
    feeder.add("pred")
    program.wait_status(lambda s: s["acked"]["pred"] == 1, "it goes on")  # type: ignore[index]


def test_a_stop_without_a_broker_is_quick(place: Place) -> None:
    feeder = place.configure(free_port())
    feeder.add("pred", 3)
    program = place.ship()
    program.wait_status(lambda s: s["failures"], "a failure")
    assert program.end() == 0
    assert not os.path.exists(program.socket)


def test_the_process_loads_nothing_that_it_does_not_need() -> None:
    code = (
        "import sys; from edgemon.cli import ship; import edgemon.ship.process, edgemon.ship.mqtt,"
        " edgemon.ship.file; print(*sorted(sys.modules))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    modules = set(output.stdout.split())
    heavy = {"numpy", "boto3", "sqlite3", "psutil", "asyncio", "concurrent.futures", "scipy"}
    assert not modules & heavy
    assert not {name for name in modules if name.startswith(("edgemon.agent", "edgemon.receive"))}


def test_the_folder_sink_does_without_paho_and_ssl() -> None:
    code = "import sys; import edgemon.ship.process, edgemon.ship.file; print(*sorted(sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not set(output.stdout.split()) & {"paho", "paho.mqtt.client", "ssl", "logging"}


def test_a_nudge_is_answered(mosquitto: Mosquitto, place: Place) -> None:
    place.configure(mosquitto.port)
    program = place.ship()
    program.wait_status(lambda status: status["connected"], "connected")
    assert control.nudge(program.socket)
    assert control.request(program.socket, {"cmd": "nudge"}, 10.0) == {}
