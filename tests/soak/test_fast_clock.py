"""The clock that runs faster, by itself: a soak under a clock that is wrong proves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.clock import FastClock, build

FACTOR = 500
# Each way to wait 60 s. Prints by its name: s of the clock that stays real, at least and at most (whoever else runs
# meanwhile comes between two readings), and simulated s that passed.
_WAITS = """
import json, select, socket, threading, time
a, b = socket.socketpair()
a.settimeout(60)
epoll, poll = select.epoll(), select.poll()
epoll.register(a, select.EPOLLIN)
poll.register(a, select.POLLIN)
def timed_out():
    try:
        a.recv(1)
    except TimeoutError:
        pass
held = threading.Lock()
held.acquire()
waits = {
    "sleep": lambda: time.sleep(60),
    "lock": lambda: held.acquire(timeout=60),
    "condition": lambda: threading.Event().wait(60),
    "epoll": lambda: epoll.poll(60),
    "poll": lambda: poll.poll(60_000),
    "select": lambda: select.select([a], [], [], 60),
    "socket": timed_out,
}
told = {}
for name, wait in waits.items():
    before = [time.clock_gettime(c) for c in (4, 1, 0, 7, 4)]
    wait()
    after = [time.clock_gettime(c) for c in (4, 1, 0, 7, 4)]
    simulated = [now - then for then, now in zip(before[1:4], after[1:4])]
    told[name] = [after[0] - before[4], after[4] - before[0], *simulated]
print(json.dumps(told))
"""
_INSTANTS = """
import time
offsets, before = set(), (0, 0)
for _ in range(200_000):
    now = time.monotonic_ns(), time.time_ns()
    assert now[0] > before[0] and now[1] > before[1], (before, now)
    offsets.add(now[1] - now[0])
    before = now
print(max(offsets) - min(offsets))
"""


@pytest.fixture
def fast(tmp_path: Path) -> FastClock:
    return FastClock(build(tmp_path), FACTOR)


def run(fast: FastClock, program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | fast.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=50,  # less than one wait of 60 s that is not shortened
    ).stdout


def test_every_wait_is_shorter_by_the_factor_and_never_ends_too_early(fast: FastClock) -> None:
    for name, (least, most, mono, wall, boot) in json.loads(run(fast, _WAITS)).items():
        assert mono >= 60.0, name
        assert least < 50.0, name
        # A thousandth is what NTP may do.
        for simulated in (mono, wall, boot):
            assert 0.95 * least - 0.001 < simulated / FACTOR < 1.05 * most + 0.001, name


def test_clocks_that_are_read_together_show_one_instant_and_never_go_back(fast: FastClock) -> None:
    assert int(run(fast, _INSTANTS)) == 0


def test_processes_and_the_test_agree(fast: FastClock) -> None:
    before = fast.elapsed_s, fast.wall_s
    program = "import time; print(time.time())"
    shown = [float(run(fast, program)) for _ in range(2)]
    assert before[1] <= shown[0] <= shown[1] <= fast.wall_s
    assert fast.elapsed_s > before[0] + FACTOR * 0.01
