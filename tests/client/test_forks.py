"""The client in processes that fork, and at their end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import edgemon
from tests.client.collector import Collector, Listener
from tests.servers import wait_for


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
    others = set(Path("/proc/self/task").iterdir())  # clients of earlier tests may still be ending
    client = edgemon.Client(collector.path)
    client.log("m", 1)
    wait_for(lambda: collector.events)
    masks = [
        line.split()[1]
        for thread in set(Path("/proc/self/task").iterdir()) - others
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
