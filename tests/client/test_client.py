"""The client against a socket whose other end does as the test says: what is sent, how often, and what is dropped."""

from __future__ import annotations

import array
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

import edgemon
from tests.client.collector import Collector, Listener, events, frames
from tests.client.test_encoder import BAD
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


# ---- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "options"), BAD)
def test_a_bad_argument_is_counted_told_once_and_never_raised(
    short_tmp: Path, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    client = edgemon.Client(str(short_tmp / "nobody"))
    with pytest.warns(RuntimeWarning, match=r"edgemon\.Client: dropped, for") as told:
        assert client.log(*arguments, **options) is False
        assert client.log(*arguments, **options) is False
    assert len(told) == 1
    assert client.dropped["bad_event"] == 2
    assert client.log("m", 1)
    client.close()


def test_a_warning_that_is_an_error_does_not_hurt_either(short_tmp: Path) -> None:
    client = edgemon.Client(str(short_tmp / "nobody"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert client.log("m", object()) is False
        assert client.log("m", 1, {"a": object()}) is True
        assert client.log("m", "x" * 70_000) is False
    client.close()
    assert client.stats().lost_values == 1


def test_values_that_are_none_are_counted_and_the_event_stays(collector: Collector) -> None:
    client = edgemon.Client(collector.path)
    with pytest.warns(RuntimeWarning, match="sent as missing"):
        assert client.log("m", 1, {"a": object(), "b": 2}, latency=float("nan"))
    client.close()
    wait_for(lambda: collector.events)
    assert collector.events == [["m", 1, {"a": None, "b": 2}, None]]
    assert client.stats().lost_values == 2


@pytest.mark.parametrize(
    "options",
    [{"buffer_bytes": 8191}, {"buffer_bytes": 1 << 31}, {"linger": 0.0}, {"linger": 61.0}],
)
def test_sizes_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        edgemon.Client("x", **options)


def test_truth_and_metric_say_what_the_protocol_needs(collector: Collector) -> None:
    client = edgemon.Client(collector.path)
    assert client.truth("a-17", 1, "fraud")
    assert client.truth(18, "cat", "pets", version=3, ts=1.5)
    assert client.metric("train/loss", np.float32(0.5), step=np.int64(1200))
    assert client.metric("temperature", 21, ts=2)
    with pytest.warns(RuntimeWarning):
        assert not client.truth(None, 1, "fraud")  # type: ignore[arg-type]
    assert not client.truth("a", None, "fraud")  # type: ignore[arg-type]
    assert not client.metric("", 1)
    assert not client.metric("x", "1")  # type: ignore[arg-type]
    assert not client.metric("x", 1, step=1.5)  # type: ignore[arg-type]
    assert client.dropped["bad_event"] == 5
    client.close()
    wait_for(lambda: len(collector.events) == 4)
    assert collector.events == [
        {"model": "fraud", "id": "a-17", "label": 1},
        {"model": "pets", "id": 18, "label": "cat", "version": 3, "ts": 1.5},
        {"metric": "train/loss", "value": 0.5, "step": 1200},
        {"metric": "temperature", "value": 21, "ts": 2.0},
    ]


def test_an_error_has_a_name_a_code_or_an_exception(collector: Collector) -> None:
    client = edgemon.Client(collector.path)
    assert client.error("fraud")
    assert client.error("fraud", "timeout", version=3, id="a-17", ts=1.5)
    assert client.error("fraud", 503)
    assert client.error("fraud", ValueError("what it says may be secret"))
    with pytest.warns(RuntimeWarning):
        assert not client.error("fraud", None)  # type: ignore[arg-type]
    assert not client.error("", "timeout")
    assert not client.error("fraud", "x" * 257)
    assert client.dropped["bad_event"] == 3
    client.close()
    wait_for(lambda: len(collector.events) == 4)
    assert collector.events == [
        {"model": "fraud", "error": "error"},
        {"model": "fraud", "error": "timeout", "version": 3, "id": "a-17", "ts": 1.5},
        {"model": "fraud", "error": 503},
        {"model": "fraud", "error": "ValueError"},
    ]


# ---- many at once ----------------------------------------------------------------------------------------------------


def many(collector: Collector, *arguments: Any, **options: Any) -> list[Any]:
    """What arrives of one log_many."""
    with edgemon.Client(collector.path) as client:
        taken = client.log_many("m", *arguments, **options)
        assert client.flush("memory")
        assert client.stats().taken == taken
    return collector.events


WHOLE = np.arange(24, dtype=np.float64).reshape(6, 4) / 7


@pytest.mark.parametrize(
    "rows",
    [
        WHOLE,
        WHOLE.astype(np.float32),
        (WHOLE * 7).astype(np.int16),
        WHOLE[::2],
        WHOLE[:, ::-1],
        WHOLE[1:, 1:3],
        np.asfortranarray(WHOLE),
        WHOLE.T,
        WHOLE.astype(object),
        WHOLE.astype(">f4"),
        WHOLE.tolist(),
        WHOLE.data,
    ],
    ids=lambda rows: (
        f"{type(rows).__name__}-{getattr(rows, 'dtype', '')}-{getattr(rows, 'strides', '')}"
    ),
)
def test_rows_of_any_array_become_events(collector: Collector, rows: Any) -> None:
    outputs = array.array("f", [index / 3 for index in range(len(rows))])
    expected = rows.tolist() if hasattr(rows, "tolist") else rows
    assert many(collector, outputs, rows) == [
        ["m", output, row] for output, row in zip(outputs.tolist(), expected, strict=True)
    ]


def test_columns_names_vectors_ids_and_seconds(collector: Collector) -> None:
    got = many(
        collector,
        np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32),
        {"amount": np.array([1, 2], dtype=np.int8), "country": ["DE", None]},
        version="7",
        ids=np.array([10, 11]),
        ts=np.array([1.5, 2.5], dtype=np.float32),
        latency=0.5,
    )
    assert got == [
        ["m", [0.25, 0.75], {"amount": 1, "country": "DE"}, 0.5, 10, 1.5, "7"],
        ["m", [0.5, 0.5], {"amount": 2, "country": None}, 0.5, 11, 2.5, "7"],
    ]


def test_named_columns_of_an_array_and_outputs_of_one_column(collector: Collector) -> None:
    got = many(collector, np.array([[1], [0]]), WHOLE[:2], names=["a", "b", "ü", "d"], ts=[1, None])
    assert got == [
        ["m", 1, dict(zip("abüd", WHOLE[0].tolist(), strict=True)), None, None, 1.0],
        ["m", 0, dict(zip("abüd", WHOLE[1].tolist(), strict=True)), None, None, None],
    ]


def test_outputs_alone_of_any_kind(collector: Collector) -> None:
    assert many(collector, ["cat", 1, [0.5, 0.5], None]) == [
        ["m", "cat"],
        ["m", 1],
        ["m", [0.5, 0.5]],
        ["m", None],
    ]


def test_a_row_that_is_wrong_costs_only_itself(collector: Collector) -> None:
    with (
        pytest.warns(RuntimeWarning, match="not bytes") as told,
        edgemon.Client(collector.path) as client,
    ):
        assert client.log_many("m", [1, b"", b"", 2]) == 2
        assert client.dropped["bad_event"] == 2
    assert len(told) == 1
    wait_for(lambda: len(collector.events) == 2)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (([1, 2], WHOLE), {}),
        (([1] * 6, WHOLE), {"names": ["a"]}),
        (([1] * 6, WHOLE), {"ids": [1]}),
        (([1] * 6, WHOLE), {"ts": [1.0]}),
        (([1] * 6, np.zeros(6)), {}),
        (([1] * 6, {"a": [1]}), {}),
        (([1] * 6, np.zeros((6, 1, 1))), {}),
    ],
)
def test_columns_that_do_not_fit_together_drop_the_call(
    short_tmp: Path, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    client = edgemon.Client(str(short_tmp / "nobody"))
    with pytest.warns(RuntimeWarning, match="dropped, for"):
        assert client.log_many("m", *arguments, **options) == 0
    assert client.dropped["bad_event"] == len(arguments[0])
    client.close()


def test_the_examples_of_the_page_do_what_they_say(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Model:
        def predict_proba(self, rows: Any) -> Any:
            return np.full((len(rows), 2), 0.5)

    monkeypatch.setenv("EDGEMON_SOCKET", collector.path)
    page = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
    names = {"edgemon": edgemon, "model": Model(), "table": WHOLE[:2, :2]}
    first, second = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(first, names)
    wait_for(lambda: len(collector.events) == 3)
    exec(second, names)
    wait_for(lambda: len(collector.events) == 7)
    assert collector.events == [
        ["fraud", 0.93, {"amount": 12.5, "country": "DE"}, 0.003, "a-17"],
        {"model": "fraud", "id": "a-17", "label": 1},
        {"metric": "queue/length", "value": 3},
        *(
            ["pets", [0.5, 0.5], {"weight": row[0], "height": row[1]}, 0.004]
            for row in WHOLE[:2, :2].tolist()
        ),
        ["fraud", 0.1, {"amount": 1.0, "country": "DE"}, None, "a"],
        ["fraud", 0.9, {"amount": 2.0, "country": None}, None, "b"],
    ]


# ---- connections -----------------------------------------------------------------------------------------------------


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


# ---- processes -------------------------------------------------------------------------------------------------------


def ids(collector: Collector) -> list[int]:
    return sorted(event[4] for event in collector.events)


def open_descriptors() -> set[int]:
    found = set()
    for descriptor in range(256):
        with contextlib.suppress(OSError):
            os.fstat(descriptor)
            found.add(descriptor)
    return found


def in_child(work: Any) -> int:
    """Fork, do the work there, leave without any cleaning up; the child's answer."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = int(work())
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("flushed", [False, True])
def test_parent_and_child_of_a_fork_both_deliver_and_nothing_twice(
    collector: Collector, flushed: bool
) -> None:
    before = open_descriptors()
    client = edgemon.Client(collector.path, linger=60.0)
    for number in range(100):
        client.log("m", 0, id=number)
    wait_for(lambda: client.stats().connected)
    if flushed:
        assert client.flush("memory")
        client.log("m", 0, id=100)  # in the ring while the process is forked
    of_the_client = open_descriptors() - before

    def child() -> bool:
        assert client.stats().taken == 0
        # The parent's connection is not the child's to hold: what is left of these is the collector's.
        assert len(of_the_client) == 3
        assert len(open_descriptors() & of_the_client) == 1
        for number in range(200, 300):
            client.log("m", 0, id=number)
        return client.flush("memory", timeout=20) and client.stats().taken == 100

    assert in_child(child) == 1
    client.log("m", 0, id=199)
    assert client.flush("memory")
    client.close()
    last = 101 if flushed else 100
    assert ids(collector) == [*range(last), *range(199, 300)]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_while_other_threads_log_leaves_no_lock_behind(collector: Collector) -> None:
    client = edgemon.Client(collector.path, linger=0.001, buffer_bytes=1 << 23)
    stopping = threading.Event()

    def work() -> None:
        while not stopping.is_set():
            client.log("m", 0, [0.5] * 20)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()

    def child() -> bool:
        for number in range(10):
            client.log("child", 0, id=number)
        return client.flush("memory", timeout=20)

    try:
        assert [in_child(child) for _ in range(20)] == [1] * 20
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    client.close()
    assert len([event for event in collector.events if event[0] == "child"]) == 200


def run(code: str, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60
    )


def test_the_end_of_the_process_sends_what_waits(collector: Collector) -> None:
    code = """
import sys, edgemon
client = edgemon.Client(sys.argv[1], linger=60)
for number in range(1000):
    client.log("m", 0, id=number)
"""
    done = run(code, collector.path)
    assert (done.returncode, done.stderr) == (0, "")
    wait_for(lambda: ids(collector) == list(range(1000)))


def test_the_end_of_a_worker_process_too(collector: Collector) -> None:
    code = """
import multiprocessing, sys, edgemon
client = edgemon.Client(sys.argv[1], linger=60)
def work(first):
    for number in range(first, first + 100):
        client.log("m", 0, id=number)
if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    client.log("m", 0, id=0)
    workers = [context.Process(target=work, args=(first,)) for first in (1, 101)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
"""
    done = run(code, collector.path)
    assert (done.returncode, done.stderr) == (0, "")
    wait_for(lambda: ids(collector) == list(range(201)))


def test_a_silent_agent_does_not_keep_the_process(listener: Listener) -> None:
    code = """
import sys, edgemon
client = edgemon.Client(sys.argv[1])
for number in range(100_000):
    client.log("m", 0, id=number)
print(client.stats().taken, client.dropped["buffer_full"])
"""
    done = run(code, listener.path)
    taken, dropped = map(int, done.stdout.split())
    assert taken + dropped == 100_000
    assert (done.returncode, done.stderr) == (0, "")


def test_an_agent_that_goes_away_sends_no_signal(listener: Listener) -> None:
    code = """
import signal, sys, edgemon
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
client = edgemon.Client(sys.argv[1], linger=0.001)
features = [0.5] * 200
while client.stats().connections < 20 or client.stats().connected:
    for _ in range(20):
        client.log("m", 0, features)
print("alive")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, listener.path], stdout=subprocess.PIPE, text=True
    )
    for _ in range(20):
        agent = listener.welcome()
        for _ in range(60):  # until the application's own thread sends
            agent.recv(65536)
        agent.close()
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "alive\n")


def test_the_clients_thread_takes_no_signals(collector: Collector) -> None:
    client = edgemon.Client(collector.path)
    client.log("m", 1)
    wait_for(lambda: collector.events)
    masks = [
        line.split()[1]
        for thread in Path("/proc/self/task").iterdir()
        if (thread / "comm").read_text() == "edgemon-client\n"
        for line in (thread / "status").read_text().splitlines()
        if line.startswith("SigBlk:")
    ]
    assert len(masks) == 1
    blocked = int(masks[0], 16)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1):
        assert blocked >> (number - 1) & 1
    client.close()


def test_a_client_that_is_forgotten_leaves_no_thread_and_no_descriptor(
    collector: Collector,
) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors(), threading.active_count(), len(os.listdir("/proc/self/task"))
    for _ in range(20):
        client = edgemon.Client(collector.path, linger=60.0)
        client.log("m", 1)
        assert client.flush("memory")
        client.log("m", 2)
        del client
    wait_for(lambda: len(collector.events) == 40)
    collector.stop()
    after = descriptors(), threading.active_count(), len(os.listdir("/proc/self/task"))
    assert after[0] <= before[0]
    assert after[1:] <= before[1:]
