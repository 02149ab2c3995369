"""MQTT connections that go wrong: each failure is one line that says what to do."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from pathlib import Path

import pytest

from edgemon.errors import ConfigError
from edgemon.ship.connect import Connector
from edgemon.ship.sink import HISTORICAL_S
from edgemon.spool.fs import OsFileSystem
from tests.servers import HOST, Listener, Mosquitto, Proxy, free_port, wait_for
from tests.ship.brokers import ScriptedBroker, connack, disconnect, puback
from tests.ship.rig import Driver, down, make_config, parcel, up

# -- connections that go wrong


def test_nobody_listens(short_tmp: Path, drivers: list[Driver]) -> None:
    port = free_port()
    line = down(drivers, short_tmp, port)
    assert line == f"127.0.0.1:{port} refuses connections; is the broker running there?"


def test_a_name_that_does_not_exist(short_tmp: Path, drivers: list[Driver]) -> None:
    config = make_config(short_tmp, 1)
    config = config._replace(mqtt=config.mqtt._replace(host="no-such-host.invalid"))
    driver = Driver(config)
    driver.start()
    (line,) = driver.reports.downs
    assert line.startswith("cannot resolve 'no-such-host.invalid': ")


def test_a_resolver_that_hangs_does_not_hold_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **options: object) -> None:
        if options.get("flags") == socket.AI_NUMERICHOST:
            raise OSError("not numeric")
        time.sleep(60)

    monkeypatch.setattr("edgemon.ship.connect.socket.getaddrinfo", hang)
    connector = Connector("slow.example", 1883, 5.0)
    began = time.monotonic()
    connector.start(100.0)
    connector.tick(104.9)
    assert not connector.finished
    connector.tick(105.0)
    assert connector.failure == "cannot resolve 'slow.example' within 5 s"
    assert time.monotonic() - began < 50.0  # it sleeps for 60


def test_localhost_falls_back_to_the_address_that_answers() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        connector = Connector("localhost", server.getsockname()[1], 5.0)
        connector.start(time.monotonic())
        while not connector.finished:
            for fd in connector.watch():
                connector.handle(fd, time.monotonic())
        assert connector.socket is not None
        connector.socket.close()


def test_a_host_that_swallows_packets_is_given_up_in_time(
    short_tmp: Path, drivers: list[Driver]
) -> None:
    # A listener with a full queue: the kernel leaves further connections without an answer.
    with socket.create_server((HOST, 0), backlog=0) as full:
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex((HOST, port))
        line = down(drivers, short_tmp, port, mqtt='connect_timeout = "1s"')
        assert line in (
            f"127.0.0.1:{port} does not answer in time",
            f"127.0.0.1:{port} does not answer our CONNECT in time",
        )
        for filler in fillers:
            filler.close()


def test_a_server_that_never_answers_connect(short_tmp: Path, drivers: list[Driver]) -> None:
    broker = ScriptedBroker(connack=None)
    line = down(drivers, short_tmp, broker.port, mqtt='connect_timeout = "1s"')
    assert line == f"127.0.0.1:{broker.port} does not answer our CONNECT in time"
    broker.close()


def test_a_server_that_hangs_up_at_connect(short_tmp: Path, drivers: list[Driver]) -> None:
    broker = ScriptedBroker()
    proxy = Proxy(broker.port)
    proxy.refuse = True
    line = down(drivers, short_tmp, proxy.port)
    assert line == (
        f"127.0.0.1:{proxy.port} closed the connection instead of accepting it; does this port want "
        'TLS (mqtt.tls)? does it speak MQTT 5 (mqtt.version = "3.1.1" otherwise)?'
    )
    proxy.close()
    broker.close()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_wrong_password(
    mosquitto_folder: Path, short_tmp: Path, drivers: list[Driver], version: str
) -> None:
    broker = Mosquitto(mosquitto_folder, users={"cam": "right"})
    broker.start()
    password = short_tmp / "password"
    password.write_text("wrong\n")
    password.chmod(0o600)
    settings = f'version = "{version}"\nusername = "cam"\npassword_file = "{password}"'
    line = down(drivers, short_tmp, broker.port, mqtt=settings)
    assert line == (
        f"127.0.0.1:{broker.port} refuses the user name or the password (mqtt.username, "
        "mqtt.password_file): Not authorized"
    )
    assert drivers[-1].counters.get("edgemon_ship_errors_total", reason="not_mqtt") == 0
    password.write_text("right\na second line is ignored\n")
    drivers[-1].start()
    assert drivers[-1].reports.ups == 1, "the file is read at each attempt"
    broker.stop()


def test_a_broker_without_mqtt_5(short_tmp: Path, drivers: list[Driver]) -> None:
    broker = ScriptedBroker(connack=connack(0x84))
    line = down(drivers, short_tmp, broker.port)
    assert line.endswith('does not speak MQTT 5; set mqtt.version = "3.1.1"')
    broker.close()


def test_a_broker_without_mqtt_3_1_1(short_tmp: Path, drivers: list[Driver]) -> None:
    """Its refusal is MQTT, and none that paho hands on."""
    broker = ScriptedBroker(connack=b"\x20\x02\x00\x01")
    line = down(drivers, short_tmp, broker.port, mqtt='version = "3.1.1"')
    assert line.endswith('does not speak MQTT 3.1.1; set mqtt.version = "5"')
    assert drivers[-1].counters.get("edgemon_ship_errors_total", reason="not_mqtt") == 0
    broker.close()


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (0x8B, "closed the connection: Server shutting down"),
        (0x8E, "another client uses the id 'edgemon-cam-7'"),
    ],
)
def test_a_broker_that_hangs_up_and_says_why(
    short_tmp: Path, drivers: list[Driver], reason: int, words: str
) -> None:
    broker = ScriptedBroker()
    driver = up(drivers, short_tmp, broker.port)
    broker.send(disconnect(reason))
    driver.drive(lambda: driver.reports.downs)
    assert words in driver.reports.downs[0]
    assert driver.reports.by_peer == [True]
    broker.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x20\x00",
        b"\x20\x02\x00\x00",
        b"\x20\x05\x00\x00\x02\xff\xff",
        b"\x20\xff\xff\xff\xff\xff",
        b"\x40\x00",
        b"\x15\x03\x01\x00\x02\x02\x46",
        bytes(64),
    ],
    ids=["empty", "of 3.1.1", "properties", "length", "another packet", "TLS alert", "zeros"],
)
def test_an_answer_that_is_not_mqtt_is_called_so(
    short_tmp: Path, drivers: list[Driver], garbage: bytes
) -> None:
    broker = ScriptedBroker(connack=garbage)
    line = down(drivers, short_tmp, broker.port, mqtt='connect_timeout = "15s"')
    broker.close()
    assert line == (
        f"127.0.0.1:{broker.port} answers with what is not MQTT; does this port want TLS (mqtt.tls)? "
        'does it speak MQTT 5 (mqtt.version = "3.1.1" otherwise)?'
    )
    assert drivers[-1].counters.get("edgemon_ship_errors_total", reason="not_mqtt") == 1


def test_half_an_answer_is_given_up_in_time(short_tmp: Path, drivers: list[Driver]) -> None:
    broker = ScriptedBroker(connack=b"\x20\x02")
    line = down(drivers, short_tmp, broker.port, mqtt='connect_timeout = "1s"')
    broker.close()
    assert line == f"127.0.0.1:{broker.port} does not answer our CONNECT in time"


@pytest.mark.parametrize("size", [5, 400])
def test_a_captive_portal_is_called_so(short_tmp: Path, drivers: list[Driver], size: int) -> None:
    page = b"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n" + bytes(400)
    broker = ScriptedBroker(connack=page[:size])
    line = down(drivers, short_tmp, broker.port)
    assert line == (
        f"127.0.0.1:{broker.port} answers in HTTP: a captive portal or a proxy stands between, or "
        "this is no broker's port (mqtt.port)"
    )
    broker.close()


class Drip:
    """A condition to drive until: one byte more every few milliseconds until the sink is down."""

    def __init__(self, broker: ScriptedBroker, driver: Driver) -> None:
        self._broker = broker
        self._driver = driver
        self._next = 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 0.01
            with contextlib.suppress(OSError):
                self._broker.send(b"\x00")
        return bool(self._driver.reports.downs)


def test_a_connack_that_drips_in_has_the_time_of_connecting_and_no_more(
    short_tmp: Path, drivers: list[Driver]
) -> None:
    broker = ScriptedBroker(connack=b"\x20\xff\x7f\x00\x00")
    driver = Driver(make_config(short_tmp, broker.port, mqtt='connect_timeout = "2s"'))
    drivers.append(driver)
    driver.sink.start(time.monotonic())
    driver.drive(Drip(broker, driver), what="it is given up")
    broker.close()
    assert driver.reports.downs == [f"127.0.0.1:{broker.port} does not answer our CONNECT in time"]


def test_an_answer_that_never_ends_does_not_stand_for_an_acknowledgement(
    short_tmp: Path, drivers: list[Driver]
) -> None:
    """Bytes drip in for ever, so the keep-alive is content."""
    broker = ScriptedBroker(
        on_publish=lambda number, mid: b"\x30\xff\x7f" if number == 1 else puback(mid)
    )
    driver = up(drivers, short_tmp, broker.port, keepalive_s=1.0)
    driver.drive(lambda: len(broker.published) == 1, what="the state")
    driver.sink.submit(parcel("pred", 1), time.monotonic())
    driver.drive(lambda: len(broker.published) == 2, what="the batch")
    driver.drive(Drip(broker, driver), what="it is left")
    broker.close()
    assert "acknowledges nothing" in driver.reports.downs[0]


def test_a_broker_whose_quota_is_used_up_is_tried_again_later(
    short_tmp: Path, drivers: list[Driver]
) -> None:
    broker = ScriptedBroker(connack=connack(0x97))
    assert "Quota exceeded" in down(drivers, short_tmp, broker.port)
    broker.connack = connack()
    drivers[0].start()
    assert drivers[0].reports.ups == 1
    broker.close()


def test_old_batches_are_marked_historical(
    mosquitto: Mosquitto, short_tmp: Path, drivers: list[Driver]
) -> None:
    listener = Listener(mosquitto.port)
    driver = up(drivers, short_tmp, mosquitto.port)
    now_ms = round(time.time() * 1000)
    ages_s = (0.0, HISTORICAL_S - 60, HISTORICAL_S + 60)
    for seq, age_s in enumerate(ages_s, 1):
        driver.send(parcel("pred", seq)._replace(wall_ms=now_ms - round(age_s * 1000)))
    driver.send(parcel("pred", 4))  # nobody knows how old
    found = wait_for(lambda: len(listener.on("/batch")) == 4 and listener.on("/batch"))
    assert isinstance(found, list)
    marks = [message.properties.get("historical") for message in found]
    assert marks == [None, None, "1", None]
    listener.close()


def test_garbage_on_a_connection_in_use_is_a_lost_connection(
    short_tmp: Path, drivers: list[Driver]
) -> None:
    broker = ScriptedBroker()
    driver = up(drivers, short_tmp, broker.port)
    broker.send(b"\x40\x03\x00\x01\xff\x42\x00\x00")
    driver.drive(lambda: driver.reports.downs)
    assert driver.reports.downs[0].startswith(f"127.0.0.1:{broker.port} sent what is not MQTT")
    driver.start()
    driver.send(parcel("pred", 1))
    assert driver.reports.acks == [("pred", 1)]
    broker.close()


def test_a_half_open_connection_is_closed_by_the_keep_alive(
    mosquitto: Mosquitto, short_tmp: Path, drivers: list[Driver]
) -> None:
    proxy = Proxy(mosquitto.port)
    driver = up(drivers, short_tmp, proxy.port, keepalive_s=1.0)
    driver.send(parcel("pred", 1))
    proxy.swallow_down = proxy.swallow_up = True
    driver.drive(lambda: driver.reports.downs, what="the keep-alive ends it")
    assert driver.reports.downs == [f"127.0.0.1:{proxy.port} does not answer the keep-alive"]
    assert driver.reports.by_peer == [False]
    proxy.close()


def test_a_server_that_answers_pings_and_acknowledges_nothing_is_left(
    short_tmp: Path, drivers: list[Driver]
) -> None:
    broker = ScriptedBroker(on_publish=lambda number, mid: None if number else puback(mid))
    driver = up(drivers, short_tmp, broker.port, keepalive_s=1.0)
    driver.sink.submit(parcel("pred", 1), time.monotonic())
    driver.drive(lambda: driver.reports.downs)
    assert "acknowledges nothing (waited " in driver.reports.downs[0]
    assert driver.reports.by_peer == [False]
    broker.close()


def test_a_quiet_connection_is_kept_open_by_pings(short_tmp: Path, drivers: list[Driver]) -> None:
    broker = ScriptedBroker()
    driver = up(drivers, short_tmp, broker.port, keepalive_s=3.0)
    driver.drive(lambda: broker.pings >= 2)
    driver.send(parcel("pred", 1))
    assert driver.reports.downs == []
    broker.close()


def test_an_idle_connection_wakes_the_process_once_in_a_keep_alive(
    mosquitto: Mosquitto, short_tmp: Path, drivers: list[Driver]
) -> None:
    driver = up(drivers, short_tmp, mosquitto.port, keepalive_s=60.0)
    before = time.monotonic()
    driver.send(parcel("pred", 1))
    assert driver.sink.deadline() >= before + 60.0


@pytest.mark.parametrize(("wanted_s", "asleep_s"), [(0, math.inf), (30, 30.0)])
def test_the_broker_has_the_last_word_on_the_keep_alive(
    short_tmp: Path, drivers: list[Driver], wanted_s: int, asleep_s: float
) -> None:
    """0: it wants none, so nobody wakes for one."""
    server_keep_alive = b"\x13" + wanted_s.to_bytes(2, "big")
    broker = ScriptedBroker(connack=connack(properties=server_keep_alive))
    driver = up(drivers, short_tmp, broker.port, keepalive_s=60.0)
    before = time.monotonic()
    driver.send(parcel("pred", 1))
    assert before + asleep_s <= driver.sink.deadline() <= time.monotonic() + asleep_s + 1.0
    broker.close()


# -- files with secrets


def test_a_password_may_come_from_the_environment(
    mosquitto_folder: Path,
    short_tmp: Path,
    drivers: list[Driver],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = Mosquitto(mosquitto_folder, users={"cam": "secret"})
    broker.start()
    monkeypatch.setenv("EDGEMON_MQTT_PASSWORD", "secret")
    up(drivers, short_tmp, broker.port, mqtt='username = "cam"')
    with pytest.raises(ConfigError, match=r"mqtt\.username: is needed with EDGEMON_MQTT_PASSWORD"):
        Driver(make_config(short_tmp, broker.port))
    # A file that the configuration names comes first.
    password = short_tmp / "password"
    password.write_text("wrong\n")
    password.chmod(0o600)
    line = down(
        drivers,
        short_tmp,
        broker.port,
        mqtt=f'username = "cam"\npassword_file = "{password}"',
    )
    assert "refuses the user name or the password" in line
    broker.stop()


def test_a_password_file_that_everybody_can_read_is_refused(short_tmp: Path) -> None:
    password = short_tmp / "password"
    password.write_text("secret")
    password.chmod(0o644)
    text = f'username = "cam"\npassword_file = "{password}"'
    with pytest.raises(ConfigError) as caught:
        Driver(make_config(short_tmp, 1, mqtt=text))
    assert str(caught.value).endswith(
        f"mqtt.password_file: {password} can be read by everybody; run: chmod o-rwx {password}"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is no password"), (b"\n", "is no password"), (b"\xff\n", "is not UTF-8")],
)
def test_a_password_file_without_a_password_is_refused(
    short_tmp: Path, content: bytes, words: str
) -> None:
    password = short_tmp / "password"
    password.write_bytes(content)
    password.chmod(0o600)
    text = f'username = "cam"\npassword_file = "{password}"'
    with pytest.raises(ConfigError, match=words):
        Driver(make_config(short_tmp, 1, mqtt=text))


def test_a_password_file_that_goes_away_is_one_line_at_the_next_attempt(
    short_tmp: Path, drivers: list[Driver]
) -> None:
    password = short_tmp / "password"
    password.write_text("secret")
    password.chmod(0o640)
    text = f'username = "cam"\npassword_file = "{password}"'
    driver = Driver(make_config(short_tmp, free_port(), mqtt=text))
    password.unlink()
    driver.start()
    assert driver.reports.downs[0].endswith(f"cannot read {password}: No such file or directory")


def test_an_unreadable_birth_file_does_not_stop_anything(
    mosquitto: Mosquitto, short_tmp: Path, drivers: list[Driver]
) -> None:
    (short_tmp / "birth").write_bytes(b"\xff\x00nonsense")
    driver = up(drivers, short_tmp, mosquitto.port)
    driver.send(parcel("pred", 1))
    assert int(OsFileSystem().read(f"{short_tmp}/birth", 0, 20)) >= 1
