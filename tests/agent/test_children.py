"""Children as real processes, without any signal to the keeper."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from edgemon.agent.children import UNKNOWN_CODE, Child, Lifeline
from edgemon.agent.loop import Loop
from edgemon.control import PARENT_FD
from tests.servers import wait_for

_READY = "import sys; open(sys.argv[1], 'w').close()\n"
_STUBBORN = (
    f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{_READY}time.sleep(60)"
)
_UNTIL_THE_PIPE_ENDS = f"import os\n{_READY}os.read(int(os.environ['{PARENT_FD}']), 1)"


class Keeper:
    def __init__(self, program: str, folder: Path) -> None:
        self.loop = Loop()
        self.lifeline = Lifeline()
        self.codes: list[int] = []
        self.ready = folder / "ready"
        command = [sys.executable, "-c", program, str(self.ready)]
        self.child = Child(self.loop, self.lifeline, "child", command, self.codes.append)

    def start(self) -> None:
        self.child.start()
        wait_for(self.ready.exists)

    def end(self) -> int:
        """Turn the loop until a child has ended."""
        before = len(self.codes)
        self.loop.call_at(self.loop.now() + 20.0, lambda: pytest.fail("the child did not end"))
        while len(self.codes) == before:
            self.loop.turn()
        return self.codes[-1]


def test_the_end_of_a_child_is_told_with_its_exit_code(tmp_path: Path) -> None:
    keeper = Keeper(f"{_READY}sys.exit(7)", tmp_path)
    keeper.start()
    assert keeper.end() == 7
    assert keeper.child.pid == 0
    keeper.child.start()
    assert keeper.end() == 7


def test_a_killed_child_is_started_again_after_a_pause(tmp_path: Path) -> None:
    keeper = Keeper(f"{_READY}import time; time.sleep(60)", tmp_path)
    keeper.start()
    first = keeper.child.pid
    keeper.child.send(signal.SIGKILL)
    code = keeper.end()
    assert code == -signal.SIGKILL
    keeper.child.start_later(code)
    while not keeper.child.pid:
        keeper.loop.turn()
    assert keeper.child.pid != first
    assert keeper.child.stop(20.0)
    assert len(keeper.codes) == 1  # a child that is stopped is not told of


def test_a_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    keeper = Keeper(_STUBBORN, tmp_path)
    keeper.start()
    pid = keeper.child.pid
    assert not keeper.child.stop(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert keeper.child.stop(0.0)  # nothing is left to stop


def test_a_child_sees_when_its_keeper_is_gone(tmp_path: Path) -> None:
    keeper = Keeper(_UNTIL_THE_PIPE_ENDS, tmp_path)
    keeper.start()
    keeper.lifeline.close()
    assert keeper.end() == 0


def test_a_child_that_the_application_waited_for_is_noticed_all_the_same(tmp_path: Path) -> None:
    keeper = Keeper(_READY, tmp_path)
    keeper.start()
    os.waitpid(keeper.child.pid, 0)
    assert keeper.end() == UNKNOWN_CODE


def test_a_restart_that_the_system_refuses_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(f"{_READY}import time; time.sleep(60)", tmp_path)
    keeper.start()
    keeper.child.send(signal.SIGKILL)
    code = keeper.end()
    keeper.ready.unlink()
    spawn = os.posix_spawn
    refused: list[object] = []

    def refuse_once(*arguments: Any, **options: Any) -> int:
        if not refused:
            refused.append(arguments)
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return spawn(*arguments, **options)

    monkeypatch.setattr(os, "posix_spawn", refuse_once)
    before = len(os.listdir("/proc/self/fd"))
    keeper.child.start_later(code)
    until_s = keeper.loop.now() + 30.0
    while not refused:
        keeper.loop.turn(1.0)
    assert (keeper.child.pid, len(os.listdir("/proc/self/fd"))) == (0, before)
    while not keeper.child.pid:
        assert keeper.loop.now() < until_s
        keeper.loop.turn(1.0)
    assert keeper.child.stop(20.0)
