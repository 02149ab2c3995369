"""The receiver as a process against real brokers: nothing missed, nothing twice, whatever is killed."""

from __future__ import annotations

import json
import queue
import signal
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edgemon.errors import UsageError
from edgemon.receive.broker import Address, parse_url
from tests.receive.batches import make_frame
from tests.receive.processes import Receiver, edgemon, query, seqs
from tests.servers import HOST, Mosquitto, Nats, Proxy, free_port, wait_for

BATCH = "edgemon/v1/default/dev-1/batch"
STATE = "edgemon/v1/default/dev-1/state"


class Publisher:
    """Publishes and waits for the broker's PUBACK."""

    def __init__(
        self, port: int, protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5
    ) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        self._client.max_inflight_messages_set(100)
        self._client.connect(HOST, port)
        self._client.loop_start()

    def batches(self, first: int, last: int, rows: int = 3) -> None:
        """Batches `first` … `last`, the broker has them on return."""
        self.send(
            *(
                make_frame(seq, [{"t": row} for row in range(rows)])
                for seq in range(first, last + 1)
            )
        )

    def send(self, *payloads: bytes, topic: str = BATCH, retain: bool = False) -> None:
        for info in [
            self._client.publish(topic, payload, qos=1, retain=retain) for payload in payloads
        ]:
            info.wait_for_publish(20)
            assert info.is_published()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def publisher(mosquitto: Mosquitto) -> Iterator[Publisher]:
    client = Publisher(mosquitto.port)
    yield client
    client.close()


def receive(folder: Path, port: int, *words: str) -> Receiver:
    return Receiver(folder, f"mqtt://{HOST}:{port}", "--to", "sqlite:fleet.db", *words)


def test_a_killed_receiver_misses_nothing_and_stores_nothing_twice(
    mosquitto: Mosquitto, publisher: Publisher, tmp_path: Path
) -> None:
    database = tmp_path / "fleet.db"
    receiver = receive(tmp_path, mosquitto.port)
    try:
        receiver.wait_for_log("receiving")
        publisher.batches(1, 20)
        wait_for(lambda: len(seqs(database)) > 0)
        # In the middle of a flood, several times; what comes in between waits in the session.
        for first in (100, 200, 300, 400):
            flood = threading.Thread(target=publisher.batches, args=(first, first + 99, 300))
            flood.start()
            wait_for(lambda seq=first: seq in seqs(database))  # type: ignore[misc]
            receiver.kill()
            flood.join()
            publisher.batches(1, 20)  # duplicates, while nobody is there
            receiver = receive(tmp_path, mosquitto.port)
        expected = [*range(1, 21), *range(100, 500)]
        wait_for(lambda: len(seqs(database)) >= len(expected))
        publisher.batches(900, 900)
        wait_for(lambda: 900 in seqs(database))
        assert receiver.stop() == 0
    finally:
        receiver.kill()
    assert seqs(database) == [*expected, 900]
    counts = query(database, "SELECT batch, count(*) FROM predictions GROUP BY batch")
    assert len(counts) == len(expected) + 1
    assert query(database, "SELECT sum(rows) FROM batches") == query(
        database, "SELECT count(*) FROM predictions"
    )


def test_a_receiver_that_is_stopped_between_loses_nothing_of_a_session(
    mosquitto: Mosquitto, publisher: Publisher, tmp_path: Path
) -> None:
    with receive(tmp_path, mosquitto.port) as receiver:
        receiver.wait_for_log("a new session at the broker")
        receiver.wait_for_log("receiving")
        assert receiver.stop() == 0
    publisher.batches(1, 50)
    with receive(tmp_path, mosquitto.port, "--until-idle", "1s") as receiver:
        assert receiver.wait() == 0
    assert seqs(tmp_path / "fleet.db") == list(range(1, 51))
    assert receiver.log().count("a new session") == 1
    assert "warning" not in receiver.log()


def test_a_broker_that_goes_and_comes_back_is_waited_for(
    mosquitto: Mosquitto, publisher: Publisher, tmp_path: Path
) -> None:
    database = tmp_path / "fleet.db"
    with receive(tmp_path, mosquitto.port) as receiver:
        receiver.wait_for_log("receiving")
        publisher.batches(1, 5)
        wait_for(lambda: len(seqs(database)) == 5)
        mosquitto.stop()
        receiver.wait_for_log("next try in")
        mosquitto.start()
        again = Publisher(mosquitto.port)
        again.batches(6, 10)
        again.close()
        wait_for(lambda: len(seqs(database)) == 10)
        assert receiver.stop() == 0


def test_a_connection_that_is_cut_over_and_over_still_stores_each_batch_once(
    mosquitto: Mosquitto, publisher: Publisher, tmp_path: Path
) -> None:
    proxy = Proxy(mosquitto.port)
    try:
        with receive(tmp_path, proxy.port) as receiver:
            receiver.wait_for_log("receiving")
            for round_ in range(4):
                publisher.batches(1 + 50 * round_, 50 + 50 * round_, 200)
                proxy.cut()
                receiver.wait_for_log("receiving", times=2 + round_)
            wait_for(lambda: len(seqs(tmp_path / "fleet.db")) == 200)
            assert receiver.stop() == 0
    finally:
        proxy.close()
    assert seqs(tmp_path / "fleet.db") == list(range(1, 201))


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Nobody else can write to it meanwhile."""
    lock = sqlite3.connect(database, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        lock.execute("ROLLBACK")
        lock.close()


def test_what_is_not_stored_is_not_acknowledged(
    mosquitto: Mosquitto, publisher: Publisher, tmp_path: Path
) -> None:
    database = tmp_path / "fleet.db"
    with receive(tmp_path, mosquitto.port) as receiver:
        receiver.wait_for_log("receiving")
        with locked(database):
            publisher.batches(1, 10)
            receiver.wait_for_log("cannot store, nothing is acknowledged")
            receiver.kill()
    assert seqs(database) == []
    with receive(tmp_path, mosquitto.port, "--max-batches", "10") as receiver:
        assert receiver.wait() == 0
    assert seqs(database) == list(range(1, 11))


def test_a_store_that_works_again_goes_on_in_the_same_process(
    mosquitto: Mosquitto, publisher: Publisher, tmp_path: Path
) -> None:
    database = tmp_path / "fleet.db"
    with receive(tmp_path, mosquitto.port) as receiver:
        receiver.wait_for_log("receiving")
        with locked(database):
            publisher.batches(1, 10)
            receiver.wait_for_log("cannot store, nothing is acknowledged")
        wait_for(lambda: len(seqs(database)) == 10, timeout_s=40)
        assert receiver.stop() == 0
    assert "storing again" in receiver.log()


def test_a_damaged_batch_goes_to_quarantine_is_acknowledged_and_the_next_is_stored(
    mosquitto: Mosquitto, publisher: Publisher, tmp_path: Path
) -> None:
    damaged = bytearray(make_frame(2))
    damaged[-10] ^= 1
    with receive(tmp_path, mosquitto.port) as receiver:
        receiver.wait_for_log("receiving")
        publisher.send(make_frame(1), bytes(damaged), b"", make_frame(3))
        publisher.send(make_frame(4), topic="edgemon/v1/default/somebody-else/batch")
        publisher.batches(5, 5)
        wait_for(lambda: seqs(tmp_path / "fleet.db") == [1, 3, 5])
        assert receiver.stop() == 0
    assert len(list((tmp_path / "fleet.db.quarantine").iterdir())) == 3
    # Acknowledged: nothing comes again.
    with receive(tmp_path, mosquitto.port, "--until-idle", "1s") as receiver:
        assert receiver.wait() == 0
    assert receiver.log().endswith("received 0 batches, 0 rows, 0 devices\n")


def test_devices_come_and_go_with_their_state(
    mosquitto: Mosquitto, publisher: Publisher, tmp_path: Path
) -> None:
    publisher.send(b'{"online":true,"birth":5,"stream":"ab"}', topic=STATE, retain=True)
    online = "SELECT device, online, birth FROM devices"
    database = tmp_path / "fleet.db"
    with receive(tmp_path, mosquitto.port) as receiver:
        wait_for(lambda: query(database, online) == [("dev-1", 1, 5)])
        publisher.send(b'{"online":false,"birth":4}', topic=STATE, retain=True)
        publisher.send(b"nonsense", topic=STATE, retain=True)
        publisher.send(b'{"online":false,"birth":5}', topic=STATE, retain=True)
        wait_for(lambda: query(database, online) == [("dev-1", 0, 5)])
        publisher.send(b"", topic=STATE, retain=True)
        publisher.batches(1, 1)
        wait_for(lambda: seqs(database) == [1])
        assert receiver.stop() == 0
    assert query(database, online) == [("dev-1", 0, 5)]


def test_one_fleet_under_another_prefix(
    mosquitto: Mosquitto, publisher: Publisher, tmp_path: Path
) -> None:
    with receive(
        tmp_path, mosquitto.port, "--topic-prefix", "plant/7/em", "--fleet", "default"
    ) as receiver:
        receiver.wait_for_log("receiving")
        publisher.send(make_frame(1), topic="plant/7/em/default/dev-1/batch")
        publisher.send(make_frame(2), topic="plant/7/em/other/dev-1/batch")
        publisher.batches(3, 3)
        publisher.send(make_frame(4), topic="plant/7/em/default/dev-1/batch")
        wait_for(lambda: len(seqs(tmp_path / "fleet.db")) == 2)
        assert receiver.stop() == 0
    assert seqs(tmp_path / "fleet.db") == [1, 4]


def test_two_receivers_of_one_session_are_told_why_they_lose_it(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    with receive(tmp_path, mosquitto.port) as first:
        first.wait_for_log("receiving")
        (tmp_path / "second").mkdir()
        words = (
            f"mqtt://{HOST}:{mosquitto.port}",
            "--to",
            "sqlite:x.db",
            "--client-id",
            client_id(first),
        )
        with Receiver(tmp_path / "second", *words) as second:
            wait_for(lambda: "does another client use the id" in first.log() + second.log())


def test_a_session_that_is_taken_over_is_given_up(tmp_path: Path) -> None:
    """What MQTT 5 asks of brokers; Mosquitto 2.0 closes in silence, so this one is scripted."""
    with socket.create_server((HOST, 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)  # CONNECT
                client.sendall(bytes.fromhex("2003000000"))  # CONNACK
                mid = client.recv(4096)[
                    2:4
                ]  # SUBSCRIBE: every packet here is shorter than 128 bytes
                client.sendall(b"\x90\x05" + mid + bytes.fromhex("000101"))  # SUBACK
                client.sendall(bytes.fromhex("e0028e00"))  # DISCONNECT, session taken over

        broker = threading.Thread(target=serve)
        broker.start()
        done = edgemon(
            "receive", f"mqtt://{HOST}:{server.getsockname()[1]}", "--client-id", "me", cwd=tmp_path
        )
        broker.join()
    assert done.returncode == 6
    assert (
        b"another client took over the session 'me': two receivers need two --client-id"
        in done.stderr
    )


def client_id(receiver: Receiver) -> str:
    return receiver.log().partition("client_id=")[2].split()[0]


def test_standard_output_leaves_no_session_behind(
    mosquitto: Mosquitto, publisher: Publisher, tmp_path: Path
) -> None:
    with Receiver(tmp_path, f"mqtt://{HOST}:{mosquitto.port}", "--max-batches", "2") as receiver:
        receiver.wait_for_log("receiving")
        publisher.batches(1, 2)
        assert receiver.process.stdout is not None
        lines = [json.loads(line) for line in receiver.process.stdout]
        assert receiver.wait() == 0
    assert [line["seq"] for line in lines] == [1, 1, 1, 2, 2, 2]
    publisher.batches(3, 4)
    done = edgemon("receive", f"mqtt://{HOST}:{mosquitto.port}", "--once", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"")


def test_mqtt_3_1_1_and_nats(nats: Nats, tmp_path: Path) -> None:
    publisher = Publisher(nats.port, MQTTProtocolVersion.MQTTv311)
    database = tmp_path / "fleet.db"
    try:
        with receive(tmp_path, nats.port, "--mqtt-version", "3.1.1") as receiver:
            receiver.wait_for_log("receiving")
            publisher.batches(1, 30)
            wait_for(lambda: len(seqs(database)) > 0)
            receiver.kill()
        publisher.batches(20, 60)
        with receive(tmp_path, nats.port, "--mqtt-version", "3.1.1") as receiver:
            # What was under way to the killed one comes again after the server's ack_wait of 30 s.
            wait_for(lambda: len(seqs(database)) == 60, timeout_s=60)
            assert receiver.stop() == 0
        assert seqs(database) == list(range(1, 61))
    finally:
        publisher.close()


def test_mqtt_3_1_1_and_mosquitto(
    mosquitto: Mosquitto, publisher: Publisher, tmp_path: Path
) -> None:
    with receive(tmp_path, mosquitto.port, "--mqtt-version", "3.1.1") as receiver:
        receiver.wait_for_log("receiving")
        receiver.kill()
    publisher.batches(1, 100)
    with receive(
        tmp_path, mosquitto.port, "--mqtt-version", "3.1.1", "--max-batches", "100"
    ) as receiver:
        assert receiver.wait() == 0
    assert seqs(tmp_path / "fleet.db") == list(range(1, 101))


def test_a_broker_without_mqtt_5_gives_a_hint(nats: Nats, tmp_path: Path) -> None:
    done = edgemon("receive", f"mqtt://{HOST}:{nats.port}", "--once", cwd=tmp_path)
    assert done.returncode == 5
    assert b"try --mqtt-version 3.1.1" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_script_does_not_wait_for_a_broker_that_is_not_there(tmp_path: Path) -> None:
    done = edgemon("receive", f"mqtt://{HOST}:{free_port()}", "--until-idle", "5s", cwd=tmp_path)
    assert done.returncode == 5
    assert b"Connection refused" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_service_waits_for_its_broker_and_stops_when_it_is_told(
    mosquitto_folder: Path, tmp_path: Path
) -> None:
    server = Mosquitto(mosquitto_folder)
    with receive(tmp_path, server.port) as receiver:
        receiver.wait_for_log("next try in")
        server.start()
        try:
            receiver.wait_for_log("receiving")
        finally:
            server.stop()
        receiver.wait_for_log("connection lost")
        assert receiver.stop(signal.SIGINT) == 130


def test_a_broker_that_stays_away_does_not_fill_the_log(tmp_path: Path) -> None:
    """Tried again and again, told once a minute."""
    with (
        socket.create_server((HOST, 0)) as server,
        receive(tmp_path, server.getsockname()[1]) as receiver,
    ):
        for _ in range(5):
            server.accept()[0].close()
        assert receiver.log().count("next try in") == 1
        assert receiver.stop(signal.SIGINT) == 130


def test_a_password_is_needed_and_taken_from_a_file(mosquitto_folder: Path, tmp_path: Path) -> None:
    server = Mosquitto(mosquitto_folder, users={"hub": "secret"})
    server.start()
    try:
        (tmp_path / "password").write_text("secret\n")
        url = f"mqtt://hub@{HOST}:{server.port}"
        good = edgemon(
            "receive", url, "--password-file", "password", "--until-idle", "1s", cwd=tmp_path
        )
        assert good.returncode == 0, good.stderr
        (tmp_path / "password").write_text("wrong\n")
        bad = edgemon(
            "receive", url, "--password-file", "password", "--until-idle", "1s", cwd=tmp_path
        )
        assert bad.returncode == 5
        assert b"refused: not authorized" in bad.stderr
        assert b"secret" not in bad.stderr + good.stderr
    finally:
        server.stop()


def certificates(folder: Path) -> None:
    """An authority of one certificate, valid for the loopback address."""
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
            "-days", "2", "-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{HOST}",
        ],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


def test_tls_is_checked_against_the_authority(mosquitto_folder: Path, tmp_path: Path) -> None:
    certificates(tmp_path)
    port = free_port()
    settings = f"listener {port} {HOST}\ncertfile {tmp_path}/cert.pem\nkeyfile {tmp_path}/key.pem"
    server = Mosquitto(mosquitto_folder, settings=settings)
    server.start()
    publisher = Publisher(server.port)
    try:
        words = (f"mqtts://{HOST}:{port}", "--to", "sqlite:fleet.db")
        with Receiver(tmp_path, *words, "--ca", "cert.pem") as receiver:
            receiver.wait_for_log("receiving")
            publisher.batches(1, 300, 100)
            wait_for(lambda: len(seqs(tmp_path / "fleet.db")) == 300)
            assert receiver.stop() == 0
        stranger = edgemon("receive", *words, "--once", cwd=tmp_path)
        assert stranger.returncode == 5
        assert b"certificate verify failed" in stranger.stderr
    finally:
        publisher.close()
        server.stop()


def test_memory_stays_bounded_while_a_backlog_is_drained(
    mosquitto: Mosquitto, publisher: Publisher, tmp_path: Path
) -> None:
    with receive(tmp_path, mosquitto.port) as receiver:
        receiver.wait_for_log("receiving")
        receiver.kill()
    publisher.batches(1, 1500, 200)
    peaks: queue.SimpleQueue[int] = queue.SimpleQueue()
    with receive(tmp_path, mosquitto.port, "--max-batches", "1500") as receiver:
        status = Path(f"/proc/{receiver.process.pid}/status")

        def drained() -> bool:
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peaks.put(int(line.split()[1]) // 1024)
            return receiver.process.poll() is not None

        wait_for(drained, timeout_s=60)
        assert receiver.wait() == 0
    found = []
    while not peaks.empty():
        found.append(peaks.get())
    assert len(seqs(tmp_path / "fleet.db")) == 1500
    assert max(found) < 250, f"{max(found)} MiB"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://localhost", Address("localhost", 1883, False, "")),
        ("mqtts://hub@broker.lan", Address("broker.lan", 8883, True, "hub")),
        ("mqtt://a@b@h:1/", Address("h", 1, False, "a@b")),
        ("mqtt://[::1]:1884", Address("::1", 1884, False, "")),
    ],
)
def test_urls(url: str, address: Address) -> None:
    assert parse_url(url) == address


@pytest.mark.parametrize(
    "url", ["mqtt://", "mqtt://:1883", "mqtt://h:0", "mqtt://h:x", "mqtt://h/topic", "mqtt://[::1"]
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(UsageError):
        parse_url(url)
