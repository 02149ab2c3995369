"""Many clients at one server: who is read when, and who makes room for whom."""

from __future__ import annotations

import contextlib
import select
import subprocess
import sys
from pathlib import Path

from edgemon.ingest.server import TURN_BYTES
from edgemon.records import Prediction
from tests.ingest.harness import CLOSED, EVENT, REFUSED, Clock, Harness

# -- fairness and coalescing


def test_a_flood_does_not_keep_others_waiting(harness: Harness) -> None:
    """Whoever has written is read in each turn, and a turn reads a bounded amount."""
    floods = [harness.connect() for _ in range(3)]
    polite = harness.connect()
    harness.until(lambda: len(harness.server.clients) == 4)
    received = "edgemon_ingest_received_bytes_total"
    unsent = [b""] * 3
    for number in range(20):
        for index, flood in enumerate(floods):
            flood.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    unsent[index] = unsent[index] or EVENT * 5_000
                    unsent[index] = unsent[index][flood.send(unsent[index]) :]
        polite.sendall(b'{"model":"polite","output":%d}\n' % number)
        before = harness.counters.get(received)
        harness.loop.turn(0.0)
        assert harness.counters.get(received) - before <= TURN_BYTES
        mine = [r for r in harness.records if isinstance(r, Prediction) and r.model == "polite"]
        assert len(mine) == number + 1
    assert len(harness.records) > 20 * 1_000


def test_small_writes_that_follow_closely_cost_one_turn_for_many(short_tmp: Path) -> None:
    clock = Clock()
    turns = {}
    for coalesce_s in (0.0, 0.02):
        (short_tmp / str(coalesce_s)).mkdir()
        harness = Harness(short_tmp / str(coalesce_s), clock=clock, coalesce_s=coalesce_s)
        client = harness.connect()
        harness.until(lambda harness=harness: len(harness.server.clients) == 1)  # type: ignore[misc]
        for _ in range(100):
            client.sendall(EVENT)
            harness.loop.turn(0.0)
            clock.now_s += 0.001
        clock.now_s += 1.0
        harness.until(lambda harness=harness: len(harness.records) == 100)  # type: ignore[misc]
        turns[coalesce_s] = harness.counters.get("edgemon_ingest_coalesced_turns_total")
        harness.close()
    assert turns[0.0] == 0
    assert 1 <= turns[0.02] <= 30


def test_a_first_write_after_a_rest_is_read_at_once(short_tmp: Path) -> None:
    clock = Clock()
    harness = Harness(short_tmp, clock=clock, coalesce_s=0.005)
    client = harness.connect()
    harness.until(lambda: len(harness.server.clients) == 1)
    for number in range(5):
        clock.now_s += 1.0
        client.sendall(EVENT)
        harness.loop.turn(0.0)
        assert len(harness.records) == number + 1
    harness.close()


def test_a_client_is_left_alone_for_no_longer_than_it_says(short_tmp: Path) -> None:
    clock = Clock()
    harness = Harness(short_tmp, clock=clock, coalesce_s=0.005)
    client = harness.connect()
    harness.until(lambda: len(harness.server.clients) == 1)
    clock.now_s += 1.0
    for _ in range(2):  # the second follows closely
        clock.now_s += 0.001
        client.sendall(EVENT)
        harness.loop.turn(0.0)
    assert len(harness.records) == 2
    client.sendall(EVENT + b'{"ack":1}\n')
    harness.loop.turn(0.0)
    assert len(harness.records) == 2
    clock.now_s += 0.0051
    harness.loop.turn(0.0)
    assert len(harness.records) == 3
    assert client.recv(100) == b'{"ack": 1, "level": "memory"}\n'
    client.sendall(EVENT)  # who asked and was answered goes on at once
    harness.loop.turn(0.0)
    assert len(harness.records) == 4
    harness.close()


def test_who_writes_fast_is_left_alone_for_less_and_never_made_to_wait(short_tmp: Path) -> None:
    clock = Clock()
    harness = Harness(short_tmp, clock=clock, coalesce_s=0.02)
    client = harness.connect()
    harness.until(lambda: len(harness.server.clients) == 1)
    event = EVENT[:-1].ljust(120) + b"\n"
    sent, had_to_wait = 0, []
    for step in range(300):
        clock.now_s += 0.001
        for _ in range(20):
            if select.select([], [client], [], 0.0)[1]:
                client.sendall(event)
                sent += 1
            else:
                had_to_wait.append(step)
        harness.loop.turn(0.0)
    assert all(step < 100 for step in had_to_wait)
    assert harness.counters.get("edgemon_ingest_coalesced_turns_total") > 50
    clock.now_s += 1.0
    harness.until(lambda: len(harness.records) == sent)
    harness.close()


# -- a process that hoards connections


def test_clients_that_have_gone_make_room_before_anybody_is_refused(harness: Harness) -> None:
    for _ in range(4):
        harness.connect()
    harness.until(lambda: len(harness.server.clients) == 4)
    sockets = harness._sockets
    for sock in sockets:
        sock.sendall(EVENT * 1_000)
        sock.close()
    late = harness.connect()
    late.sendall(b'{"ack":1}\n')
    # The listener may well be told of the newcomer before the clients' ends are seen.
    listener = harness.server._listener
    assert listener is not None
    listener.accept()
    harness.until(lambda: len(harness.server.clients) == 1)
    assert b"memory" in harness.answer(late)
    assert harness.counters.get(REFUSED, reason="too_many_clients") == 0
    assert len(harness.records) == 4_000


def test_a_process_with_most_connections_makes_room_for_another_process(harness: Harness) -> None:
    hoard = [harness.connect() for _ in range(4)]
    harness.until(lambda: len(harness.server.clients) == 4)
    for index in (0, 1, 3):
        hoard[index].sendall(EVENT)
    harness.until(lambda: len(harness.records) == 3)
    script = (
        "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "s.sendall(sys.argv[2].encode()); print(s.recv(100))"
    )
    words = EVENT.decode() + '{"ack":1}\n'
    other = subprocess.Popen(
        [sys.executable, "-c", script, harness.server.settings.path, words], stdout=subprocess.PIPE
    )
    harness.until(lambda: len(harness.records) == 4)
    harness.until(lambda: other.poll() is not None)
    assert b"memory" in other.communicate()[0]
    assert harness.counters.get(CLOSED, reason="made_room") == 1
    assert harness.answer(hoard[2]) == b""  # the one that was silent longest
