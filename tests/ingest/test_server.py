"""The ingest socket with real connections, in one process."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import threading
from pathlib import Path

import msgpack
import pytest

from edgemon.errors import LockedError
from edgemon.ingest.protocol import DROPPED
from edgemon.records import Prediction
from tests.ingest.harness import CLOSED, EVENT, REFUSED, Clock, Harness


def test_events_arrive_and_an_ack_is_answered(harness: Harness) -> None:
    client = harness.connect()
    client.sendall(EVENT * 3 + b'{"ack":7}\n')
    assert json.loads(harness.answer(client)) == {"ack": 7, "level": "memory"}
    assert len(harness.records) == 3


def test_a_msgpack_client_is_answered_in_msgpack(harness: Harness) -> None:
    client = harness.connect()
    client.sendall(msgpack.packb(["m", 0.5]) + msgpack.packb({"ack": "t"}))
    assert msgpack.unpackb(harness.answer(client)) == {"ack": "t", "level": "memory"}


def test_a_malformed_frame_closes_that_connection_with_one_line_and_no_other(
    harness: Harness,
) -> None:
    good, bad = harness.connect(), harness.connect()
    bad.sendall(EVENT + b"oops\n")
    line = harness.answer(bad)
    assert json.loads(line) == {"error": "bad JSON: Expecting value at byte 25"}
    assert harness.answer(bad) == b""
    good.sendall(EVENT)
    harness.until(lambda: len(harness.records) == 2)
    assert harness.counters.get(DROPPED, reason="malformed") == 1
    assert harness.counters.get("edgemon_ingest_closed_connections_total", reason="malformed") == 1


def test_an_invalid_event_is_reported_once_and_the_connection_stays(harness: Harness) -> None:
    client = harness.connect()
    client.sendall(b'{"model":1}\n{"model":2}\n' + EVENT)
    assert b"later faults are only counted" in harness.answer(client)
    client.setblocking(True)
    client.sendall(b'{"model":3}\n{"ack":1}\n')
    assert json.loads(harness.answer(client)) == {"ack": 1, "level": "memory"}
    assert harness.counters.get(DROPPED, reason="bad_name") == 3


def test_one_client_too_many_is_refused_with_a_line(harness: Harness) -> None:
    clients = [harness.connect() for _ in range(4)]
    harness.until(lambda: len(harness.server.clients) == 4)
    assert b"too many clients: 4" in harness.answer(harness.connect())
    clients[0].close()
    harness.until(lambda: len(harness.server.clients) == 3)
    late = harness.connect()
    late.sendall(EVENT)
    harness.until(lambda: len(harness.records) == 1)


def test_a_uid_that_is_not_allowed_is_refused(short_tmp: Path) -> None:
    harness = Harness(short_tmp, allow_uids=(os.getuid() + 1,))
    assert b"may not connect" in harness.answer(harness.connect())
    assert harness.counters.get("edgemon_ingest_refused_connections_total", reason="uid") == 1
    harness.close()


def test_the_socket_has_the_mode_that_was_asked_for(harness: Harness) -> None:
    assert stat.S_IMODE(os.stat(harness.server.settings.path).st_mode) == 0o662


@pytest.mark.usefixtures("harness")
def test_a_stale_socket_file_is_replaced_and_a_live_one_is_not(short_tmp: Path) -> None:
    with pytest.raises(LockedError, match="answers on"):
        Harness(short_tmp)
    other = short_tmp / "other"
    other.mkdir()
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(other / "ingest.sock"))
    stale.close()
    second = Harness(other)
    second.connect().close()
    second.close()
    assert not (other / "ingest.sock").exists()


def test_paused_clients_wait_and_lose_nothing(harness: Harness) -> None:
    client = harness.connect()
    harness.until(lambda: len(harness.server.clients) == 1)
    harness.server.pause()
    client.sendall(EVENT * 10)
    harness.loop.turn(0.05)
    assert harness.records == []
    harness.server.resume()
    harness.until(lambda: len(harness.records) == 10)


def test_pausing_survives_a_client_that_went_with_an_answer_on_its_way(harness: Harness) -> None:
    gone = harness.connect()
    harness.until(lambda: len(harness.server.clients) == 1)
    harness.connect()
    harness.until(lambda: len(harness.server.clients) == 2)
    first = next(iter(harness.server.clients.values()))
    first.sock.send(b"x" * (1 << 22))  # the kernel's buffer is full: the answer has to wait
    first.reply({"ack": 1})
    gone.close()
    harness.server.pause()
    harness.until(lambda: first not in harness.server.clients.values())
    assert len(harness.server.clients) == 1


def test_without_descriptors_the_listener_rests_and_then_accepts(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = Harness(short_tmp)
    monkeypatch.setattr("edgemon.ingest.listener._ACCEPT_AGAIN_S", 0.05)
    listening = harness.server._listener
    assert listening is not None
    real = listening.sock

    class Exhausted:
        tries = 0

        def fileno(self) -> int:
            return real.fileno()

        def accept(self) -> tuple[socket.socket, object]:
            self.tries += 1
            if self.tries == 1:
                raise OSError(errno.EMFILE, "too many open files")
            return real.accept()

        def close(self) -> None:
            real.close()

    listener = Exhausted()
    listening.sock = listener  # type: ignore[assignment]
    client = harness.connect()
    client.sendall(EVENT)
    harness.loop.turn(0.0)
    harness.loop.turn(0.0)
    assert listener.tries == 1
    harness.until(lambda: len(harness.records) == 1)
    assert harness.counters.get(REFUSED, reason="accept_failed") == 1
    harness.close()


def test_a_last_line_without_an_end_counts_and_half_a_frame_is_counted(harness: Harness) -> None:
    for data in (EVENT.rstrip(), b'{"model":"m","out', msgpack.packb({"model": "m"})[:-1]):
        client = harness.connect()
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        while harness.answer(client):
            pass
    assert len(harness.records) == 1
    assert harness.counters.get(DROPPED, reason="malformed") == 2


def test_a_client_above_its_rate_is_read_more_slowly_but_loses_nothing(short_tmp: Path) -> None:
    clock = Clock()
    harness = Harness(short_tmp, clock=clock, max_rate=200.0)
    client = harness.connect()
    client.sendall(EVENT * 240)
    harness.until(lambda: len(harness.records) == 240)
    assert harness.counters.get("edgemon_ingest_rests_total", reason="rate") == 1
    client.sendall(EVENT)
    before_s = clock.now_s
    while len(harness.records) == 240:
        clock.now_s += 0.01
        harness.loop.turn(0.0)
    assert 0.1 < clock.now_s - before_s < 0.5
    assert len(harness.records) == 241
    harness.close()


def test_stopping_reads_what_was_already_written(harness: Harness) -> None:
    client = harness.connect()
    harness.until(lambda: len(harness.server.clients) == 1)
    client.sendall(EVENT * 5)
    harness.server.stop()
    assert sum(isinstance(record, Prediction) for record in harness.records) == 5
    assert client.recv(10) == b""


def test_a_client_that_does_not_read_its_answers_is_not_read_until_it_does(
    harness: Harness,
) -> None:
    client = harness.connect()
    client.setblocking(False)
    request = b'{"ack":"' + b"x" * 60 + b'"}\n'
    asked = 0
    rests = "edgemon_ingest_rests_total"
    unsent = b""
    while not harness.counters.get(rests, reason="replies_not_read"):
        unsent = unsent or request * 200
        with contextlib.suppress(BlockingIOError):
            sent = client.send(unsent)
            asked, unsent = asked + sent, unsent[sent:]
        harness.loop.turn(0.0)
    with contextlib.suppress(BlockingIOError):  # as much as the kernel takes for it
        while True:
            asked += client.send(request)
    turns = harness.loop.turns
    harness.loop.turn(0.01)
    assert harness.loop.turns == turns + 1  # its requests do not keep the loop busy
    asked //= len(request)
    answered = 0

    def all_answered() -> bool:
        nonlocal answered
        with contextlib.suppress(BlockingIOError):
            answered += client.recv(1 << 16).count(b"\n")
        return answered >= asked

    harness.until(all_answered)
    assert len(harness.server.clients) == 1


def test_what_was_written_is_read_though_the_answer_finds_nobody(harness: Harness) -> None:
    client = harness.connect()
    harness.until(lambda: len(harness.server.clients) == 1)
    [known] = harness.server.clients.values()
    client.sendall(EVENT * 3)
    client.close()
    known.reply({"ack": 1})
    known.flush()
    harness.until(lambda: not harness.server.clients)
    assert len(harness.records) == 3
    assert harness.counters.get("edgemon_ingest_lost_replies_total") == 1


def test_a_client_that_lets_64_kib_of_late_answers_pile_up_is_closed(harness: Harness) -> None:
    harness.connect()
    harness.until(lambda: len(harness.server.clients) == 1)
    [client] = harness.server.clients.values()
    while client.fd >= 0:
        client.reply({"ack": "x" * 60, "level": "disk"})
        client.flush()
    assert harness.counters.get(CLOSED, reason="replies_not_read") == 1
    client.reply({"ack": 1, "level": "disk"})
    assert harness.counters.get("edgemon_ingest_lost_replies_total") == 1


def test_many_acks_in_one_write_are_all_answered_to_a_client_that_reads(harness: Harness) -> None:
    client = harness.connect()
    client.sendall(b'{"ack":1}\n' * 6_000)
    answered = b""
    while answered.count(b"\n") < 6_000:
        answered += harness.answer(client)
    assert harness.counters.get(CLOSED, reason="replies_not_read") == 0


# --- the end ---------------------------------------------------------------------------------


def test_draining_reads_all_that_was_written_even_by_those_not_accepted_yet(
    short_tmp: Path,
) -> None:
    harness = Harness(short_tmp, max_clients=8)
    clients = [harness.connect() for _ in range(6)]
    harness.until(lambda: len(harness.server.clients) == 6)
    late = [harness.connect() for _ in range(2)]
    payload = EVENT * 3_000  # more than one read
    for client in clients + late:
        client.sendall(payload)
    harness.server.drain()
    assert len(harness.records) == 8 * 3_000
    assert not os.path.exists(harness.server.settings.path)
    clients[0].sendall(EVENT)
    harness.loop.turn(0.0)
    assert len(harness.records) == 8 * 3_000
    for known in list(harness.server.clients.values()):
        known.reply({"ack": 9, "level": "disk"})  # the disk answers after the last read
    harness.server.stop()
    assert late[0].recv(100) == b'{"ack": 9, "level": "disk"}\n'
    assert late[0].recv(100) == b""
    harness.close()


def test_a_client_that_writes_without_end_does_not_hold_up_the_end(harness: Harness) -> None:
    client = harness.connect()
    harness.until(lambda: len(harness.server.clients) == 1)
    writing = True

    def write() -> None:
        with contextlib.suppress(OSError):
            while writing:
                client.sendall(EVENT * 1_000)

    client.settimeout(None)
    thread = threading.Thread(target=write)
    thread.start()
    harness.until(lambda: len(harness.records) > 1_000)
    harness.server.stop()
    writing = False
    thread.join(10)
    assert not thread.is_alive()


def test_a_socket_file_that_another_took_over_is_left_alone(harness: Harness) -> None:
    path = harness.server.settings.path
    os.unlink(path)
    other = socket.socket(socket.AF_UNIX)
    other.bind(path)
    harness.server.stop()
    assert os.path.exists(path)
    other.close()


def test_a_closed_client_keeps_no_buffers_however_long_it_is_remembered(harness: Harness) -> None:
    peer = harness.connect()
    harness.until(lambda: len(harness.server.clients) == 1)
    [client] = harness.server.clients.values()
    peer.sendall(b'{"model":"' + b"x" * 60_000)
    harness.until(lambda: client.received_bytes > 60_000)
    framing = client.connection
    peer.close()
    harness.until(lambda: client.fd < 0)
    assert client.connection is not framing


def test_the_log_is_not_filled_by_clients_that_break_the_protocol(
    harness: Harness, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(40):
        client = harness.connect()
        client.sendall(b"{oops\n")
        while harness.answer(client):
            pass
    assert capsys.readouterr().err.count("connection closed") == 30
    assert harness.counters.get("edgemon_ingest_untold_faults_total") == 10
    assert harness.counters.get(DROPPED, reason="malformed") == 40
