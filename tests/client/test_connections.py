"""The client and an agent that comes late, goes away, or does not read."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

import msgpack
import pytest

import edgemon
from tests.client.collector import Collector, Listener, events, frames
from tests.servers import wait_for


def test_nothing_is_sent_before_the_agent_has_answered(listener: Listener) -> None:
    client = edgemon.Client(listener.path)
    client.log("m", 1)
    agent = listener.accept()
    assert agent.recv(100) == msgpack.packb({"ack": 0})
    agent.sendall(b'{"error":"too many clients: 1 (ingest.max_clients)"}\n')
    agent.close()
    agent = listener.welcome()  # it comes again, and nothing was lost
    found, _ = frames(agent.recv(100))
    assert events(found) == [["m", 1]]
    with pytest.warns(RuntimeWarning, match="the agent says: .*too many clients"):
        client.log("m", 2)
    stats = client.stats()
    assert (stats.connections, stats.complaints, stats.unconfirmed) == (1, 1, 0)
    client.close()
    agent.close()


def fill(client: edgemon.Client, size: int) -> int:
    """Log numbered events of about `size` bytes until some are dropped; how many came in."""
    number = 0
    while client.log("m", number, ["x" * size]):
        number += 1
    return number


def test_a_new_connection_gets_whole_events_and_none_twice(listener: Listener) -> None:
    client = edgemon.Client(listener.path, buffer_bytes=1 << 19, linger=0.01)
    taken = fill(client, 997)
    first = listener.welcome()
    # Much at once: the kernel takes half an event, and the rest of it stays in the client.
    old, torn = frames(first.recv(100_003, socket.MSG_WAITALL))
    first.close()
    second = listener.welcome()
    new: list[Any] = []
    rest = b""
    while taken - 1 not in [event[1] for event in events(new)]:
        found, rest = frames(rest + second.recv(65536))
        new += found
    assert torn and not rest
    early = [event[1] for event in events(old)]
    late = [event[1] for event in events(new)]
    assert early == list(range(len(early)))
    assert late == list(range(late[0], taken))
    assert late[0] > early[-1]  # what the kernel had, and nobody read, is gone
    # … and the client says so: it knows how many it gave away without an answer.
    assert client.stats().unconfirmed == late[0]
    assert client.flush("memory", timeout=0.1) is False
    client.close()
    second.close()


def test_half_an_event_that_the_agent_complains_of_is_not_sent_again(listener: Listener) -> None:
    client = edgemon.Client(listener.path, buffer_bytes=1 << 20, linger=0.01)
    client.log("m", -1)
    agent = listener.welcome()
    wait_for(lambda: client.stats().sent == 1)
    taken = fill(client, 50_000)
    agent.sendall(msgpack.packb({"error": "object longer than 4096 bytes at byte 12"}))
    wait_for(lambda: client.stats().complaints == 1)
    sent = client.stats().sent
    agent.close()
    agent = listener.welcome()
    found: list[Any] = []
    rest = b""
    while not events(found):
        more, rest = frames(rest + agent.recv(1 << 20))
        found += more
    assert events(found)[0][1] == sent  # -1 was the first: `sent - 1` is the one that was half gone
    assert client.dropped["refused"] == 1
    assert client.stats().unconfirmed == sent
    assert taken > sent
    client.close(0.1)
    agent.close()


def test_what_was_dropped_is_reported_when_the_agent_listens(listener: Listener) -> None:
    client = edgemon.Client(listener.path, buffer_bytes=16384, linger=0.01)
    for _ in range(5_000):
        client.log("m", 1, [0.5] * 4)
    dropped = client.dropped["buffer_full"]
    with pytest.warns(RuntimeWarning):
        client.log("m", object())
    agent = listener.welcome()
    found: list[Any] = []
    rest = b""
    while not any(isinstance(frame, dict) and "bad_event" in str(frame) for frame in found):
        more, rest = frames(rest + agent.recv(65536))
        found += more
    assert [frame for frame in found if isinstance(frame, dict) and "metric" in frame] == [
        {"metric": "edgemon/client/dropped/buffer_full", "value": dropped},
        {"metric": "edgemon/client/dropped/bad_event", "value": 1},
    ]
    client.close()
    agent.close()


def test_everything_is_confirmed_within_a_second_without_a_flush(collector: Collector) -> None:
    client = edgemon.Client(collector.path, linger=0.01)
    for number in range(3):
        client.log("m", number)
        wait_for(lambda: client.stats().confirmed == client.stats().taken)
    asked = [frame["ack"] for frame in collector.frames if isinstance(frame, dict)]
    assert asked == [0, 1, 2, 3]
    client.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"\xc1",
        b"\x93\x01\x02\x03",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa3ack\x81\x01\x02",
        b"\xd9\xff" + b"x" * 255,
        b"\xda\xff\xff" + b"x" * 8_000,
        b"{" * 8_000,
    ],
)
def test_an_agent_that_talks_nonsense_is_left(listener: Listener, answer: bytes) -> None:
    client = edgemon.Client(listener.path, linger=0.01)
    client.log("m", 1)
    agent = listener.accept()
    agent.sendall(answer)
    assert agent.recv(100) == msgpack.packb({"ack": 0})
    with contextlib.suppress(ConnectionResetError):  # it did not read it all
        assert agent.recv(100) == b""
    agent = listener.welcome()
    assert events(frames(agent.recv(100))[0]) == [["m", 1]]
    client.close()
    agent.close()


def test_answers_may_come_in_pieces_and_with_more_than_is_known(listener: Listener) -> None:
    client = edgemon.Client(listener.path, linger=0.01)
    client.log("m", 1)
    agent = listener.accept()
    assert agent.recv(6) == msgpack.packb({"ack": 0})
    answer = {"since": 1.5, "note": "x" * 300, "ack": 0, "ok": True, "low": -7, "none": None}
    for byte in msgpack.packb(answer):
        agent.sendall(bytes([byte]))
    assert events(frames(agent.recv(100))[0]) == [["m", 1]]
    # An answer to what was never asked confirms nothing.
    agent.sendall(msgpack.packb({"ack": 10**12}) + msgpack.packb({"ack": "text"}))
    agent.sendall(msgpack.packb({"ack": 1, "level": "disk"}))
    wait_for(lambda: client.stats().confirmed == 1)
    assert client.flush("disk", timeout=0.0)
    client.close()
    agent.close()


def test_a_disk_that_refuses_fails_the_flush_and_not_the_next(listener: Listener) -> None:
    client = edgemon.Client(listener.path, linger=0.01)
    client.log("m", 1)
    agent = listener.welcome()
    answers: list[bool] = []
    flushing = threading.Thread(target=lambda: answers.append(client.flush("disk", timeout=20)))
    flushing.start()
    rest, found = b"", []
    while {"ack": 1, "level": "disk"} not in found:
        more, rest = frames(rest + agent.recv(100))
        found += more
    agent.sendall(msgpack.packb({"ack": 1, "level": "memory", "error": "disk full"}))
    flushing.join()
    assert answers == [False]
    assert client.stats().confirmed == 1
    assert client.stats().last_complaint == "disk full"
    assert client.flush("disk", timeout=0.0) is True  # of what came since: nothing
    client.close()
    agent.close()


def test_a_flush_waits_for_another_connection_if_it_must(listener: Listener) -> None:
    client = edgemon.Client(listener.path, linger=0.01)
    client.log("m", 1)
    answers: list[bool] = []
    flushing = threading.Thread(target=lambda: answers.append(client.flush("memory", timeout=20)))
    flushing.start()
    listener.accept().close()
    agent = listener.welcome()
    rest, found = b"", []
    while {"ack": 1} not in found:
        more, rest = frames(rest + agent.recv(100))
        found += more
    agent.sendall(msgpack.packb({"ack": 1, "level": "memory"}))
    flushing.join()
    assert answers == [True]
    client.close()
    agent.close()


def test_a_flush_of_another_level_is_a_mistake(short_tmp: Path) -> None:
    client = edgemon.Client(str(short_tmp / "nobody"))
    with pytest.raises(ValueError, match="memory or disk"):
        client.flush("tape")
    assert client.flush("disk", timeout=0.0) is True  # nothing was logged
    client.close()
