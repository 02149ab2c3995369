"""Commands of rules as real processes: what they get, how they end, and what holds them in bounds."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgemon.agent.execute import MAX_OUTPUT_BYTES, MAX_RUNNING, MAX_WAITING, Outcome, Runner, Task
from edgemon.agent.loop import Loop
from tests.servers import wait_for


class Bench:
    def __init__(self) -> None:
        self.skipped_s = 0.0  # so much later the commands believe it to be
        self.loop = Loop(lambda: time.monotonic() + self.skipped_s)
        self.outcomes: list[Outcome] = []
        self.runner = Runner(self.loop, self.outcomes.append)

    def run(self, *command: str, timeout_s: float = 60.0, **about: str) -> bool:
        return self.runner.run(Task("it", list(command), timeout_s, about))

    def wait(self, count: int = 1) -> list[Outcome]:
        until = time.monotonic() + 30.0
        while len(self.outcomes) < count:
            assert time.monotonic() < until, "the command did not end"
            self.loop.turn(1.0)
        return self.outcomes


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.runner.stop()
    made.loop.close()


def python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-c", program)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "Z"  # its parent has not looked yet


def test_a_command_gets_its_arguments_as_they_are_and_a_minimal_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the agent alone")
    program = "import os, sys, json; print(json.dumps([sys.argv[1:], dict(os.environ), os.listdir('/proc/self/fd')]))"
    left_open = os.dup(0)
    os.set_inheritable(left_open, True)
    bench.run(*python(program), "$HOME; echo x", "a b", EDGEMON_RULE="r'; rm -rf /")
    os.close(left_open)
    [outcome] = bench.wait()
    arguments, environ, descriptors = json.loads(outcome.output)
    assert outcome.ok
    assert arguments == ["$HOME; echo x", "a b"]
    assert environ.pop("EDGEMON_RULE") == "r'; rm -rf /"
    assert set(environ) - {"LC_CTYPE"} == {"PATH", "LANG"}
    assert len(descriptors) == 4  # 0, 1, 2 and the one that lists


def test_a_failure_is_told_with_its_exit_code_and_output(bench: Bench) -> None:
    bench.run(*python("import sys; print('no such camera', file=sys.stderr); sys.exit(3)"))
    [outcome] = bench.wait()
    assert (outcome.ok, outcome.words, outcome.output) == (
        False,
        "ended with exit code 3",
        "no such camera",
    )


def test_a_program_that_is_not_there_is_a_failure(bench: Bench) -> None:
    bench.run("/nowhere/restart")
    [outcome] = bench.wait()
    assert not outcome.ok
    assert outcome.words == 'is not run: "/nowhere/restart": no such file or directory'


def test_a_program_that_everybody_can_write_is_not_run(bench: Bench, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho ran\n")
    program.chmod(0o777)
    bench.run(str(program))
    [outcome] = bench.wait()
    assert outcome.words.startswith("is not run: everybody may write")
    program.chmod(0o755)
    bench.run(str(program))
    assert bench.wait(2)[1].output == "ran"


def test_text_that_no_locale_can_write_is_no_obstacle(bench: Bench) -> None:
    bench.run("/usr/bin/printenv", "EDGEMON_MODEL", EDGEMON_MODEL="漢\ud800\x1b[2J")
    [outcome] = bench.wait()
    assert outcome.output == "漢?\x1b[2J"


def test_one_that_takes_too_long_is_stopped_with_all_that_it_started(
    bench: Bench, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    program = (
        "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.fork()\n"
        f"open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\ntime.sleep(300)"
    )
    bench.run(*python(program), timeout_s=600.0)
    wait_for(lambda: pids.exists() and pids.read_text().count("\n") == 2, what="both run")
    bench.skipped_s = 600.0
    [outcome] = bench.wait()
    assert (outcome.ok, outcome.words) == (False, "did not end in 10m and was stopped")
    started = [int(line) for line in pids.read_text().split()]
    wait_for(lambda: all(map(is_gone, started)), what="nothing runs on")


def test_of_a_flood_of_output_the_end_is_kept(bench: Bench) -> None:
    bench.run(*python("print('x' * 10_000_000); print('the end')"))
    [outcome] = bench.wait()
    assert outcome.ok
    assert outcome.output.endswith("the end")
    assert len(outcome.output) <= MAX_OUTPUT_BYTES


def test_so_many_run_at_once_so_many_wait_and_one_more_is_refused(bench: Bench) -> None:
    for _ in range(MAX_RUNNING):
        assert bench.run("/bin/sleep", "300")
    for _ in range(MAX_WAITING):
        assert bench.run("/bin/true")
    assert not bench.run("/bin/true")
    for _ in range(5):
        bench.loop.turn(0.2)
    assert bench.outcomes == []


def test_what_waits_begins_when_there_is_room(bench: Bench) -> None:
    for _ in range(MAX_RUNNING + MAX_WAITING):
        assert bench.run("/bin/true")
    assert all(outcome.ok for outcome in bench.wait(MAX_RUNNING + MAX_WAITING))


def test_a_stop_ends_what_runs(bench: Bench, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    bench.run(
        *python(
            f"import os, time; open({str(ready)!r}, 'w').write(str(os.getpid())); time.sleep(300)"
        )
    )
    wait_for(lambda: ready.exists() and ready.read_text(), what="it runs")
    bench.runner.stop()
    assert is_gone(int(ready.read_text()))
    assert bench.outcomes == []


def test_a_command_that_somebody_else_waits_for_is_noticed(bench: Bench) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as some applications do
    try:
        bench.run("/bin/true")
        [outcome] = bench.wait()
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert outcome.words == "ended, and somebody else knows how"


def test_a_command_that_cannot_be_started_leaves_no_descriptor(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, *_: object) -> int:
        raise OSError(24, "Too many open files", path)

    before = os.listdir("/proc/self/fd")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        bench.run(sys.executable)
    assert not bench.outcomes[0].ok
    assert os.listdir("/proc/self/fd") == before
