"""The client against a socket whose other end does as the test says: what is sent, how often, and what is dropped."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import msgpack
import pytest

import edgemon
from tests.client.collector import Collector
from tests.servers import wait_for


def test_a_single_event_leaves_without_another_call(collector: Collector) -> None:
    client = edgemon.Client(collector.path, linger=0.05)
    assert client.log("fraud", 0.93, {"amount": 12.5}, latency=0.003, id="a-17", version=7, ts=1.5)
    wait_for(lambda: collector.events)
    client.close()
    assert collector.events == [["fraud", 0.93, {"amount": 12.5}, 0.003, "a-17", 1.5, 7]]


def test_every_event_of_many_threads_arrives_once(collector: Collector) -> None:
    client = edgemon.Client(collector.path, buffer_bytes=1 << 24)
    each = 3_000

    def work(thread: int) -> None:
        for number in range(each):
            assert client.log("m", number, [thread, number / 7], id=thread * each + number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush("memory", timeout=20)
    stats = client.stats()
    assert (stats.taken, stats.sent, stats.confirmed, stats.pending) == (8 * each,) * 3 + (0,)
    assert sum(stats.dropped.values()) == stats.unconfirmed == 0
    client.close()
    ids = [event[4] for event in collector.events]
    assert sorted(ids) == list(range(8 * each))
    for who in range(8):  # and each thread's in its order
        mine = [one for one in ids if one // each == who]
        assert mine == sorted(mine)


def test_a_small_ring_goes_round_and_round(collector: Collector) -> None:
    client = edgemon.Client(collector.path, buffer_bytes=8192)
    expected: list[Any] = []
    for turn in range(60):
        for number in range(100):
            features = ["x" * turn] if number % 10 == 0 else None
            assert client.log("m", number, features)
            expected.append(["m", number] if features is None else ["m", number, features])
        assert client.flush("memory", timeout=20)
    client.close()
    assert collector.events == expected


def test_a_flush_says_that_something_was_dropped_and_the_next_does_not(
    collector: Collector,
) -> None:
    client = edgemon.Client(collector.path)
    client.log("m", 1)
    with pytest.warns(RuntimeWarning):
        client.log("m", object())
    assert client.flush("memory", timeout=20) is False
    assert client.flush("memory", timeout=20) is True
    client.close()
    assert len(collector.events) == 1


def test_without_an_agent_memory_is_bounded_and_nothing_waits(short_tmp: Path) -> None:
    client = edgemon.Client(str(short_tmp / "nobody"), buffer_bytes=16384)
    size = len(msgpack.packb(["m", 1.0, [0.5] * 4]))
    results = [client.log("m", 1.0, [0.5] * 4) for _ in range(50_000)]
    stats = client.stats()
    assert stats.taken == stats.pending == sum(results) == (16384 - 512) // size
    assert stats.dropped["buffer_full"] == 50_000 - stats.taken
    assert not stats.connected
    wait_for(lambda: "No such file or directory" in client.stats().last_error)
    assert client.flush("memory", timeout=0.05) is False
    client.close(timeout=60.0)  # there is nobody to wait for
    assert client.dropped["closed"] == stats.pending
    assert client.log("m", 1.0) is False
    assert client.stats().pending == 0


def test_small_events_are_bounded_by_their_number(short_tmp: Path) -> None:
    client = edgemon.Client(str(short_tmp / "nobody"), buffer_bytes=16384)
    for _ in range(2_000):
        client.log("m", 1)
    assert client.stats().pending == 16384 // 32 - 16
    client.close()


def test_an_agent_that_comes_later_gets_what_waited(short_tmp: Path) -> None:
    path = str(short_tmp / "ingest.sock")
    client = edgemon.Client(path)
    assert client.log("m", 1)
    wait_for(lambda: client.stats().last_error)
    collector = Collector(short_tmp)
    wait_for(lambda: collector.events)
    client.close()
    collector.stop()
    assert collector.events == [["m", 1]]
    assert client.stats().last_error == ""


def test_a_path_that_is_too_long_is_an_agent_that_is_not_there(short_tmp: Path) -> None:
    client = edgemon.Client(str(short_tmp / ("x" * 200)))
    assert client.log("m", 1)
    wait_for(lambda: "name too long" in client.stats().last_error)
    client.close()
    assert client.dropped["closed"] == 1


def test_the_environment_names_the_socket(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEMON_SOCKET", collector.path)
    with edgemon.Client() as client:
        client.log("m", 1)
    wait_for(lambda: collector.events)


def test_events_larger_than_the_stack_or_the_protocol(collector: Collector) -> None:
    client = edgemon.Client(collector.path)
    large = {f"feature-{index:03d}": index / 7 for index in range(256)}
    assert client.log("m", 0.5, large, id="x", version="7")
    assert client.log_many("m", [0.5], [large]) == 1
    assert client.truth("x" * 200, "y" * 5_000, "m")
    with pytest.warns(RuntimeWarning, match="at most 65536 bytes"):
        assert not client.log("m", "x" * 70_000)
    assert client.dropped == {
        "buffer_full": 0, "too_large": 1, "bad_event": 0, "closed": 0, "refused": 0,
    }  # fmt: skip
    client.close()
    wait_for(lambda: len(collector.events) == 3)
    assert collector.events[0] == ["m", 0.5, large, None, "x", None, "7"]
    assert collector.events[1] == ["m", 0.5, large]
    assert collector.events[2] == {"model": "m", "id": "x" * 200, "label": "y" * 5_000}
