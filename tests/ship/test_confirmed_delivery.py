"""`ship.confirm = "receiver"` for real: broker, shipper and receiver as processes that are killed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgemon.errors import UnreachableError
from edgemon.records import KINDS
from edgemon.ship import acks
from edgemon.spool.fs import OsFileSystem
from edgemon.spool.origin import Machine, Origin, this_machine, write_origin
from tests.receive.processes import Receiver, query
from tests.servers import HOST, Listener, Mosquitto, wait_for
from tests.ship.brokers import ScriptedBroker, connack
from tests.ship.rig import Driver, Feeder, ShipProgram, config_text, make_config, parcel

CONFIRM = 'confirm = "receiver"\nconfirm_timeout = "300ms"'


class Site:
    """A device's spool and shipper, a broker without a memory, a receiver that confirms."""

    def __init__(self, folder: Path, broker_folder: Path) -> None:
        self.broker = Mosquitto(broker_folder, persistence=False)
        self.broker.start()
        self.folder = folder
        text = config_text(folder, self.broker.port, ship=CONFIRM)
        self.config = make_config(folder, self.broker.port, ship=CONFIRM)
        self.feeder = Feeder(self.config)
        self.program = ShipProgram(self.config, text)
        self.receiver: Receiver | None = None

    def receive(self) -> None:
        self.receiver = Receiver(
            self.folder, f"mqtt://{HOST}:{self.broker.port}", "--to", "sqlite:x.db", "--confirm"
        )
        self.receiver.wait_for_log("receiving")

    def kill_receiver(self) -> None:
        assert self.receiver is not None
        self.receiver.kill()

    def status(self, name: str) -> dict[str, Any]:
        with contextlib.suppress(UnreachableError):  # it is still starting
            found = self.program.status()[name]
            assert isinstance(found, dict)
            return found
        return {}

    def shipped(self) -> int:
        return sum(kind["batches"] for kind in self.status("shipped").values())

    def acked(self) -> dict[str, int]:
        return self.status("acked") or dict.fromkeys(KINDS, 0)

    def stored(self) -> list[tuple[object, ...]]:
        return query(self.folder / "x.db", "SELECT kind, seq FROM batches ORDER BY kind, seq")

    def close(self) -> None:
        if self.receiver is not None:
            self.receiver.kill()
        self.program.process.kill()
        self.program.process.wait()
        self.feeder.close()
        self.broker.stop()


@pytest.fixture
def site(short_tmp: Path, mosquitto_folder: Path) -> Iterator[Site]:
    site = Site(short_tmp, mosquitto_folder)
    yield site
    site.close()


def test_a_broker_that_forgets_everything_and_a_killed_receiver_lose_nothing(site: Site) -> None:
    site.receive()
    site.feeder.add_all_kinds(5)
    wait_for(lambda: site.acked() == dict.fromkeys(KINDS, 5), what="confirmed")
    # The receiver is away, the broker takes what comes for it, and forgets it.
    site.kill_receiver()
    before = site.shipped()
    site.feeder.add_all_kinds(5)
    wait_for(lambda: site.shipped() >= before + 20, what="the broker has all")
    site.broker.kill()
    assert site.acked() == dict.fromkeys(KINDS, 5), "nobody confirmed these"
    site.broker.start()
    site.receive()
    wait_for(lambda: site.acked() == dict.fromkeys(KINDS, 10), what="confirmed after both")
    # And the receiver in the middle of a flood.
    site.feeder.add("pred", 200)
    wait_for(lambda: len(site.stored()) > 50)
    site.kill_receiver()
    site.receive()
    wait_for(lambda: site.acked()["pred"] == 210, what="confirmed after the flood")
    site.program.end()
    assert site.feeder.cursor() == dict.fromkeys(KINDS, 10) | {"pred": 210}
    assert site.stored() == sorted(site.feeder.sent)


def test_a_copied_card_with_a_backlog_is_confirmed_to_the_end(site: Site) -> None:
    """What waits is of the original's numbering, what comes is of the copy's own."""
    if not any(this_machine()):
        pytest.skip("needs a machine id or a serial number (/etc/machine-id)")
    site.broker.stop()
    site.feeder.add("pred", 3)
    original = site.feeder.stream
    site.feeder.close()
    write_origin(OsFileSystem(), site.config.spool.dir, Origin(Machine("0a", "0b"), ""))
    site.feeder = Feeder(site.config)
    assert site.feeder.stream != original
    site.feeder.add("pred", 3)
    site.broker.start()
    site.receive()
    wait_for(lambda: site.acked()["pred"] == 6, what="both are confirmed, or need not be")
    rows = query(site.folder / "x.db", "SELECT stream_id, seq FROM batches ORDER BY seq")
    assert [seq for _, seq in rows] == [1, 2, 3, 4, 5, 6]
    assert len({stream for stream, _ in rows}) == 2


def test_without_a_receiver_the_cursor_stays_and_once_says_why(site: Site) -> None:
    site.feeder.add("pred", 3)
    wait_for(lambda: site.shipped() >= 6, what="sent, and sent again")
    assert site.acked()["pred"] == 0
    site.program.end()
    assert site.feeder.cursor()["pred"] == 0
    assert site.program.spawn("--once").wait(30) == 5
    assert "no receiver confirmed all that was shipped" in site.program.log()
    site.receive()
    # A receiver speaks once a second: 300 ms are too few for it.
    file = Path(site.config.file)
    file.write_text(file.read_text().replace("300ms", "20s"))
    assert site.program.spawn("--once").wait(30) == 0
    assert site.feeder.cursor()["pred"] == 3


def test_a_quarantined_batch_and_a_reported_gap_do_not_hold_up_the_cursor(site: Site) -> None:
    """The receiver cannot read one batch: it keeps it, and says so."""
    site.receive()
    seq = site.feeder.add_damaged("pred")
    site.feeder.add("pred", 2)
    wait_for(lambda: site.acked()["pred"] == seq + 2, what="confirmed over the damaged one")
    assert site.stored() == [("pred", seq + 1), ("pred", seq + 2)]


def test_the_confirmation_is_retained_and_names_stream_and_receiver(site: Site) -> None:
    site.receive()
    site.feeder.add("pred", 2)
    wait_for(lambda: site.acked()["pred"] == 2)
    listener = Listener(site.broker.port, "edgemon/v1/lab/cam-7/ack")
    try:
        (message,) = wait_for(lambda: listener.on("/ack"))
        assert message.retained
        document = json.loads(message.payload)
        assert document["stream"] == site.feeder.stream and document["stored"]["pred"] == 2
        assert document["receiver"].startswith("edgemon-receive-")
    finally:
        listener.close()


# ---- what comes from the broker is a stranger's


def publish_packet(topic: str, payload: bytes, qos: int = 0) -> bytes:
    """MQTT 5."""
    name = topic.encode()
    body = len(name).to_bytes(2) + name + (b"\x00\x01" if qos else b"") + b"\x00" + payload
    length = bytearray()
    left = len(body)
    while True:
        left, byte = divmod(left, 128)
        length.append(byte | (128 if left else 0))
        if not left:
            return bytes([0x30 | qos << 1]) + bytes(length) + body


@pytest.fixture
def strange(short_tmp: Path) -> Iterator[tuple[ScriptedBroker, Driver]]:
    broker = ScriptedBroker(connack=connack())
    driver = Driver(make_config(short_tmp, broker.port, ship=CONFIRM))
    driver.start()
    driver.send(parcel("pred", 1))
    yield broker, driver
    driver.sink.close()
    broker.close()


ACK = "edgemon/v1/lab/cam-7/ack"


def test_damaged_confirmations_are_counted_and_the_next_good_one_counts(
    strange: tuple[ScriptedBroker, Driver],
) -> None:
    broker, driver = strange
    for payload in (b"", b"\xff\xfe", b"[" * 5000, b'{"stream":"a","stored":{"pred":-1}}'):
        broker.send(publish_packet(ACK, payload))
    broker.send(publish_packet("edgemon/v1/lab/cam-8/ack", acks.encode("a", {"pred": 1}, "x")))
    broker.send(publish_packet(ACK, acks.encode("a", {"pred": 1}, "x")))
    driver.drive(lambda: driver.reports.confirmed, what="the good one")
    assert driver.reports.confirmed == [("a", {"pred": 1})]
    ignored = driver.counters.get("edgemon_ship_ignored_acks_total", reason="damaged")
    assert ignored == 5 and driver.reports.downs == []


def test_a_packet_that_is_too_large_is_refused_before_it_is_read(
    strange: tuple[ScriptedBroker, Driver],
) -> None:
    broker, driver = strange
    broker.send(publish_packet(ACK, bytes(20_000))[:200])
    driver.drive(lambda: driver.reports.downs, what="the end of the connection")
    (line,) = driver.reports.downs
    assert "it sent a packet of 20" in line


def test_a_message_of_qos_2_for_which_nobody_asked_ends_the_connection(
    strange: tuple[ScriptedBroker, Driver],
) -> None:
    broker, driver = strange
    broker.send(publish_packet(ACK, b"{}", qos=2))
    driver.drive(lambda: driver.reports.downs, what="the end of the connection")
    assert "QoS 2" in driver.reports.downs[0]


def test_a_broker_that_forbids_the_ack_topic_is_one_clear_line(
    strange: tuple[ScriptedBroker, Driver],
) -> None:
    broker, driver = strange
    broker.send(b"\x90\x04\x00\x01\x00\x87")
    driver.drive(lambda: driver.reports.downs, what="the end of the connection")
    assert driver.reports.downs == [
        f"127.0.0.1:{broker.port} refuses our subscription to {ACK} (ship.confirm): Not authorized"
    ]
