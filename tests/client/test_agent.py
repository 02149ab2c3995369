"""The client and a real agent: what arrives on the device's disk, through kills, stops and restarts."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import numpy as np
import pytest

import edgemon
from tests.e2e.harness import Device
from tests.servers import wait_for


def client_of(device: Device, **options: Any) -> edgemon.Client:
    return edgemon.Client(str(device.run_dir / "ingest.sock"), **options)


def ids(device: Device) -> list[int]:
    return sorted(int(str(row["id"])) for row in device.rows_left("pred"))


def agent_pid(device: Device) -> int:
    status = device.status()
    assert status is not None
    return int(status["pid"])


def counted(device: Device) -> int:
    status = device.status()
    return int(status["ingest"]["predictions"]) if status is not None else 0


def test_all_that_eight_threads_log_is_on_disk_after_a_flush(device: Device) -> None:
    device.start()
    client = client_of(device, buffer_bytes=1 << 24)
    each = 1_500

    def work(first: int) -> None:
        for number in range(first, first + each):
            client.log("fraud", number / 7, {"amount": number, "country": "DE"}, id=number)

    threads = [threading.Thread(target=work, args=(each * index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush("disk", timeout=60)
    os.kill(agent_pid(device), signal.SIGKILL)  # what is on disk needs nobody to live
    client.close()
    assert client.stats().complaints == 0
    device.stop()
    device.start()
    device.stop()
    assert ids(device) == list(range(8 * each))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_parent_and_child_of_a_fork_both_arrive_once(device: Device) -> None:
    device.start()
    client = client_of(device, linger=60.0)
    for number in range(100):
        client.log("m", 0, id=number)
    pid = os.fork()
    if pid == 0:
        for number in range(100, 200):
            client.log("m", 0, id=number)
        os._exit(0 if client.flush("disk", timeout=30) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert client.flush("disk", timeout=30)
    client.close()
    device.stop()
    assert ids(device) == list(range(200))


def test_an_agent_that_is_killed_again_and_again_gets_each_event_at_most_once(
    device: Device,
) -> None:
    device.start()
    client = client_of(device, linger=0.005)
    number = 0
    kept: set[int] = set()
    for _ in range(2):
        pid = agent_pid(device)
        client.log("m", 0, id=number)
        number += 1
        client.flush(
            "disk", timeout=60
        )  # the backlog, too; what was lost with the killed one it knows
        for _ in range(2_000):
            client.log("m", 0, [0.5, number], id=number)
            number += 1
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not client.stats().connected)
        kept |= set(range(number, number + 2_000))  # while there is no agent
        for _ in range(2_000):
            client.log("m", 0, [0.5, number], id=number)
            number += 1
        wait_for(lambda: (device.status() or {"pid": pid})["pid"] != pid)  # noqa: B023
    client.flush("disk", timeout=60)
    last = number
    for number in range(last, last + 100):
        client.log("m", 0, [0.5, number], id=number)
    assert client.flush("disk", timeout=60)
    stats = client.stats()
    client.close()
    device.stop()
    got = ids(device)
    assert len(got) == len(set(got))
    assert got[-100:] == list(range(last, last + 100))
    assert stats.dropped["buffer_full"] == 0
    assert stats.connections == 3
    assert stats.taken == last + 100 == stats.confirmed + stats.unconfirmed
    assert kept <= set(got)


def test_an_agent_that_is_restarted_properly_takes_all_that_was_confirmed(device: Device) -> None:
    device.start()
    client = client_of(device, linger=0.005)
    for number in range(500):
        client.log("m", 0, id=number)
    assert client.flush("memory", timeout=30)
    device.stop()
    for number in range(500, 1_000):
        client.log("m", 0, id=number)
    device.start()
    assert client.flush("memory", timeout=30)
    assert client.stats().connections == 2
    client.close()
    device.stop()
    assert ids(device) == list(range(1_000))


def test_an_agent_that_is_stopped_costs_events_and_says_so_later(device: Device) -> None:
    device.start()
    client = client_of(device, buffer_bytes=32768, linger=0.01)
    client.log("m", 0, id=0)
    assert client.flush("memory", timeout=30)
    pid = agent_pid(device)
    os.kill(pid, signal.SIGSTOP)
    try:
        results = [client.log("m", 0, [0.5] * 8, id=number) for number in range(1, 20_001)]
        stats = client.stats()
        assert stats.taken == 1 + sum(results)
        assert stats.dropped["buffer_full"] == 20_000 - sum(results) > 0
        assert client.flush("memory", timeout=0.05) is False
    finally:
        os.kill(pid, signal.SIGCONT)
    client.log("m", 0, id=30_000)
    assert client.flush("memory", timeout=30) is True
    dropped = client.dropped["buffer_full"]
    client.close()
    wait_for(lambda: counted(device) == stats.taken + 1)
    device.stop()
    assert ids(device) == [0, *(n for n, taken in enumerate(results, 1) if taken), 30_000]
    told = [
        row for row in device.rows_left("sys") if str(row.get("name")).startswith("edgemon/client/")
    ]
    assert {row["name"] for row in told} == {"edgemon/client/dropped/buffer_full"}
    assert sum(float(str(row["value"])) for row in told) == dropped


def test_one_event_arrives_without_another_call(device: Device) -> None:
    client = client_of(device)
    client.log("m", 0.5)  # before there is an agent
    device.start()
    wait_for(lambda: counted(device) == 1)
    client.close()


def test_arrays_truths_and_metrics_arrive_as_they_are(device: Device) -> None:
    device.start()
    table = np.arange(12, dtype=np.float64).reshape(3, 4) / 7
    with client_of(device) as client:
        client.log_many("a", np.array([1, 2, 3], dtype=np.float32), table[:, ::2], names=["x", "y"])
        client.log_many("b", table[0], table.T.astype(np.float32), ids=range(4))
        client.truth(2, "cat", "b", version="7")
        client.metric("train/loss", 0.25, step=1200)
        assert client.flush("disk", timeout=30)
        assert client.stats().complaints == 0
    device.stop()
    got = device.rows_left("pred")
    first = [(row["output"], row["f:x"], row["f:y"]) for row in got if row["model"] == "a"]
    assert first == [(index + 1, *table[index, ::2]) for index in range(3)]
    second = [row for row in got if row["model"] == "b" and "label" not in row]
    assert [[row[f"f:f{index}"] for index in range(3)] for row in second] == table.T.astype(
        np.float32
    ).tolist()
    (truth,) = [row for row in got if "label" in row]
    assert (truth["model"], truth["version"], truth["id"], truth["label"]) == ("b", "7", "2", "cat")
    metrics = [row for row in device.rows_left("sys") if row.get("name") == "train/loss"]
    assert [(row["value"], row["step"]) for row in metrics] == [(0.25, 1200)]


def test_an_event_that_the_agent_refuses_is_told_once(device: Device) -> None:
    device.start()
    client = client_of(device)
    features = {f"f-{index}": 0.5 for index in range(300)}  # more than ingest.max_features
    client.log("m", 0, features)
    client.log("m", 0, features)
    client.log("m", 0)
    with pytest.warns(RuntimeWarning, match="the agent says: .*more than 256 features") as told:
        assert client.flush("memory", timeout=30)
        client.log("m", 0)
    assert len(told) == 1
    client.close()
