"""What is particular to MQTT: state and will, properties, events, limits."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from edgemon.spool.fs import OsFileSystem
from edgemon.spool.origin import Machine, Origin, write_origin
from edgemon.version import VERSION
from tests.servers import Listener, Mosquitto, wait_for
from tests.ship.brokers import ScriptedBroker, connack, puback
from tests.ship.rig import STREAM, Driver, make_config, parcel, up


def states(listener: Listener) -> list[dict[str, object]]:
    return [json.loads(message.payload) for message in listener.on("lab/cam-7/state")]


# -- state, birth and will


def test_the_birth_is_retained_and_says_who_is_there(
    mosquitto: Mosquitto, short_tmp: Path, drivers: list[Driver]
) -> None:
    driver = up(drivers, short_tmp, mosquitto.port)
    driver.send(parcel("pred", 1))  # the birth went before it
    listener = Listener(mosquitto.port)
    (message,) = wait_for(lambda: listener.on("edgemon/v1/lab/cam-7/state"))
    config_hash = make_config(short_tmp, mosquitto.port).hash
    assert message.retained
    assert json.loads(message.payload) == {
        "online": True,
        "birth": 1,
        "agent": VERSION,
        "stream": STREAM,
        "config": config_hash,
    }
    listener.close()


def test_a_copied_card_does_not_throw_the_original_out(
    mosquitto: Mosquitto, short_tmp: Path, drivers: list[Driver]
) -> None:
    """Two devices of one name; the second one's spool says that it was made on the first."""
    first = up(drivers, short_tmp, mosquitto.port)
    copy = short_tmp / "copy"
    fs = OsFileSystem()
    fs.make_dir(str(copy))
    write_origin(fs, str(copy), Origin(Machine("0a", ""), "c0ffee"))
    second = up(drivers, short_tmp, mosquitto.port, spool=f'dir = "{copy}"')
    second.send(parcel("pred", 1))
    first.send(parcel("pred", 1))
    assert first.reports.downs == second.reports.downs == []
    assert " as edgemon-cam-7-c0ffee " in mosquitto.log()
    assert " as edgemon-cam-7 " in mosquitto.log()


def test_a_clean_stop_says_so_and_leaves_no_will(
    mosquitto: Mosquitto, short_tmp: Path, drivers: list[Driver]
) -> None:
    listener = Listener(mosquitto.port)
    driver = up(drivers, short_tmp, mosquitto.port)
    driver.stop()
    driver.start()
    driver.drive(lambda: len(states(listener)) == 3)
    assert [(state["online"], state["birth"]) for state in states(listener)] == [
        (True, 1),
        (False, 1),
        (True, 2),
    ]
    listener.close()


def test_the_will_carries_the_number_of_the_birth_that_it_undoes(
    mosquitto: Mosquitto, short_tmp: Path, drivers: list[Driver]
) -> None:
    listener = Listener(mosquitto.port)
    driver = up(drivers, short_tmp, mosquitto.port)
    driver.send(parcel("pred", 1))
    driver.sink.close()  # the broker sees a connection that ends without DISCONNECT
    wait_for(lambda: len(states(listener)) == 2)
    assert states(listener)[-1] == {"online": False, "birth": 1}
    listener.close()
    later = Listener(mosquitto.port)
    (retained,) = wait_for(lambda: later.on("/state"))
    assert retained.retained and json.loads(retained.payload) == {"online": False, "birth": 1}
    later.close()


def test_births_grow_over_restarts_of_the_process(
    mosquitto: Mosquitto, short_tmp: Path, drivers: list[Driver]
) -> None:
    listener = Listener(mosquitto.port)
    births: list[object] = []
    for number in range(3):
        driver = up(drivers, short_tmp, mosquitto.port)
        driver.send(parcel("pred", number + 1))
        wait_for(lambda: states(listener)[-1:] and states(listener)[-1]["online"])
        births.append(states(listener)[-1]["birth"])
        driver.sink.close()
        wait_for(lambda: not states(listener)[-1]["online"])
    assert births == sorted(set(births))  # type: ignore[type-var]
    listener.close()


def test_births_take_the_disk_once_in_many_connections(
    mosquitto: Mosquitto, short_tmp: Path, drivers: list[Driver]
) -> None:
    driver = up(drivers, short_tmp, mosquitto.port)
    for _ in range(10):
        driver.stop()
        driver.start()
    assert driver.counters.get("edgemon_ship_fsyncs_total", reason="birth") == 2  # file and folder


# -- batches and events


def test_a_batch_carries_its_identity_as_user_properties(
    mosquitto: Mosquitto, short_tmp: Path, drivers: list[Driver]
) -> None:
    listener = Listener(mosquitto.port)
    driver = up(drivers, short_tmp, mosquitto.port)
    driver.send(parcel("agg", 17))
    (message,) = wait_for(lambda: listener.on("/batch"))
    assert message.topic == "edgemon/v1/lab/cam-7/batch"
    assert not message.retained
    assert message.properties == {
        "schema": "edgemon/1",
        "codec": "msgpack+zstd",
        "kind": "agg",
        "seq": "17",
        "stream": STREAM,
    }
    listener.close()


def test_bytes_are_counted_while_the_connection_lasts(
    mosquitto: Mosquitto, short_tmp: Path, drivers: list[Driver]
) -> None:
    """They were counted at its end, so that one of months had sent nothing."""
    driver = up(drivers, short_tmp, mosquitto.port)
    before = driver.counters.get("edgemon_ship_sent_bytes_total")
    sent = parcel("agg", 17)
    driver.send(sent)
    after = driver.counters.get("edgemon_ship_sent_bytes_total")
    assert before > 0 and after >= before + len(sent.frame)
    assert driver.counters.get("edgemon_ship_received_bytes_total") > 0
    driver.sink.close()
    assert driver.counters.get("edgemon_ship_sent_bytes_total") == after  # once


def test_each_row_of_an_event_batch_is_a_readable_message_of_its_own(
    mosquitto: Mosquitto, short_tmp: Path, drivers: list[Driver]
) -> None:
    listener = Listener(mosquitto.port)
    driver = up(drivers, short_tmp, mosquitto.port)
    driver.send(parcel("event", 5, 2))
    messages = wait_for(lambda: len(listener.on("/event")) == 2 and listener.on("/event"))
    assert isinstance(messages, list)
    assert json.loads(messages[1].payload) == {
        "specversion": "1.0",
        "id": f"cam-7/{STREAM}/5/1",
        "source": "/edgemon/lab/cam-7",
        "type": "edgemon.drift.started",
        "subject": "digits",
        "time": "2025-06-15T15:06:40.001Z",
        "severity": "alarm",
        "datacontenttype": "application/json",
        "data": {
            "severity": "alarm",
            "message": "drift 1",
            "model": "digits",
            "version": "1",
            "stream": "output",
            "details": {"d": 0.25},
        },
    }
    assert not messages[1].retained
    assert len(listener.on("/batch")) == 1
    listener.close()


def test_an_event_batch_is_acknowledged_after_all_its_events(
    short_tmp: Path, drivers: list[Driver]
) -> None:
    # 0 is the birth, 1 the batch, 2 … 4 its events: the last one is never acknowledged.
    broker = ScriptedBroker(on_publish=lambda number, mid: None if number == 4 else puback(mid))
    driver = up(drivers, short_tmp, broker.port)
    driver.sink.submit(parcel("event", 1, 3), time.monotonic())
    driver.drive(lambda: len(broker.published) == 5)
    driver.send(parcel("pred", 1))
    assert driver.reports.acks == [("pred", 1)]
    broker.close()


def test_events_sent_again_after_a_broken_connection_have_the_same_ids(
    short_tmp: Path, drivers: list[Driver]
) -> None:
    broker = ScriptedBroker(on_publish=lambda number, mid: None if number == 4 else puback(mid))
    driver = up(drivers, short_tmp, broker.port)
    driver.sink.submit(parcel("event", 1, 3), time.monotonic())
    driver.drive(lambda: len(broker.published) == 5)
    broker.on_publish = lambda _number, mid: puback(mid)
    driver.sink.close()
    driver.start()
    driver.send(parcel("event", 1, 3))
    events = [json.loads(payload)["id"] for topic, payload in broker.published if "/event" in topic]
    assert events[:3] == events[3:] and len(set(events)) == 3
    broker.close()


def test_hundreds_of_events_in_one_batch_go_through_a_small_window(
    mosquitto: Mosquitto, short_tmp: Path, drivers: list[Driver]
) -> None:
    listener = Listener(mosquitto.port)
    driver = up(drivers, short_tmp, mosquitto.port, ship="max_inflight = 2")
    driver.send(parcel("event", 1, 300), parcel("event", 2, 300))
    wait_for(lambda: len(listener.on("/event")) == 600)
    assert driver.reports.acks == [("event", 1), ("event", 2)]
    listener.close()


def test_a_damaged_event_batch_is_sent_without_events(
    mosquitto: Mosquitto, short_tmp: Path, drivers: list[Driver]
) -> None:
    driver = up(drivers, short_tmp, mosquitto.port)
    driver.send(parcel("event", 1)._replace(frame=b"not a frame"))
    assert driver.reports.acks == [("event", 1)]
    assert driver.counters.get("edgemon_ship_errors_total", reason="event_not_decoded") == 1


# -- limits of the broker


def test_a_batch_over_the_brokers_packet_size_is_refused_and_the_connection_stays(
    mosquitto_folder: Path, short_tmp: Path, drivers: list[Driver]
) -> None:
    broker = Mosquitto(mosquitto_folder, settings="max_packet_size 2000")
    broker.start()
    driver = up(drivers, short_tmp, broker.port)
    large = parcel("pred", 1)._replace(frame=bytes(3000))
    driver.send(large, parcel("pred", 2))
    ((key, reason),) = driver.reports.refused
    assert key == ("pred", 1)
    assert "takes 2000 bytes a packet, this one has" in reason and "batch.max_bytes" in reason
    assert driver.reports.acks == [("pred", 2)]
    assert driver.reports.downs == []
    broker.stop()


def test_no_more_is_under_way_than_the_broker_allows(
    short_tmp: Path, drivers: list[Driver]
) -> None:
    receive_maximum = b"\x21\x00\x02"
    broker = ScriptedBroker(connack=connack(properties=receive_maximum))
    driver = up(drivers, short_tmp, broker.port)
    driver.drive(lambda: len(broker.published) == 1, what="the birth")
    broker.on_publish = lambda _number, _mid: None
    driver.drive(driver.sink.ready)
    sent = 0
    while driver.sink.ready():
        sent += 1
        driver.sink.submit(parcel("pred", sent), time.monotonic())
    assert sent <= 2
    broker.close()


@pytest.mark.parametrize("reason", [0x80, 0x99])
def test_a_puback_that_says_no_to_the_message_refuses_the_batch(
    short_tmp: Path, drivers: list[Driver], reason: int
) -> None:
    broker = ScriptedBroker(
        on_publish=lambda number, mid: puback(mid, reason if number == 1 else 0)
    )
    driver = up(drivers, short_tmp, broker.port)
    driver.send(parcel("pred", 1), parcel("pred", 2))
    assert [key for key, _ in driver.reports.refused] == [("pred", 1)]
    assert driver.reports.acks == [("pred", 2)]
    broker.close()


@pytest.mark.parametrize(("reason", "words"), [(0x87, "Not authorized"), (0x97, "Quota exceeded")])
def test_a_puback_that_says_no_to_us_ends_the_connection_and_blames_no_batch(
    short_tmp: Path, drivers: list[Driver], reason: int, words: str
) -> None:
    broker = ScriptedBroker(on_publish=lambda number, mid: puback(mid, reason if number else 0))
    driver = up(drivers, short_tmp, broker.port)
    driver.sink.submit(parcel("pred", 1), time.monotonic())
    driver.drive(lambda: driver.reports.downs)
    assert driver.reports.downs == [
        f"127.0.0.1:{broker.port} refuses a message on edgemon/v1/lab/cam-7/batch: {words}"
    ]
    assert driver.reports.refused == [] and driver.reports.by_peer == [False]
    broker.close()


def test_a_state_topic_that_is_forbidden_does_not_hold_back_the_data(
    short_tmp: Path, drivers: list[Driver]
) -> None:
    broker = ScriptedBroker(on_publish=lambda number, mid: puback(mid, 0 if number else 0x87))
    driver = up(drivers, short_tmp, broker.port)
    driver.send(parcel("pred", 1))
    assert driver.reports.acks == [("pred", 1)]
    assert driver.counters.get("edgemon_ship_errors_total", reason="copy_refused") == 1
    broker.close()
