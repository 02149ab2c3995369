"""A plugin's process, whatever it does: asked, timed, limited, killed, counted. Real processes."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from edgemon.plugins.process import (
    BAD_LINES,
    DROPPED_LOGS,
    LOG_LINES_A_MINUTE,
    RESTARTS,
    TIMEOUTS,
)
from edgemon.plugins.protocol import COLLECT
from tests.plugins.rig import Watched, program, settings
from tests.servers import wait_for


def gone(pid: int) -> bool:
    """A zombie has gone too: somebody has yet to look."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def test_a_plugin_says_hello_answers_and_stops(tmp_path: Path) -> None:
    watched = Watched(settings(program(tmp_path)))
    watched.start()
    assert watched.hellos == 1
    assert watched.ask(COLLECT).values == {"a": 1}
    assert watched.ask(COLLECT).values == {"a": 1}
    watched.process.stop(time.monotonic())
    assert watched.end() == ("stopped", "")
    assert watched.process.watch() == {}
    assert watched.counters.snapshot() == {}


def test_it_is_told_its_name_its_options_and_the_device(tmp_path: Path) -> None:
    body = """
def turn(question):
    global started
    if question["op"] == "start":
        started = question
        say(hello=1)
    else: say(error=json.dumps(started))
"""
    watched = Watched(
        settings(program(tmp_path, body), "options = { pin = 4, names = ['a', 'é'] }")
    )
    watched.start()
    told = watched.ask(COLLECT).text
    watched.process.kill()
    assert '"options": {"pin": 4, "names": ["a", "\\u00e9"]}' in told
    assert '"op": "start", "version": 1, "name": "soil", "kind": "collector"' in told
    assert '"device": "cam-7", "fleet": "lab"' in told


def test_one_that_does_not_answer_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    body = """
import subprocess
child = subprocess.Popen(["sleep", "1000"])
def answer(question):
    print(child.pid, file=sys.stderr, flush=True)
    time.sleep(1000)
"""
    watched = Watched(settings(program(tmp_path, body), "timeout = '500ms'"))
    watched.start()
    pid = watched.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    watched.process.ask(COLLECT, time.monotonic())
    assert watched.end() == ("timeout", "did not answer within 0.5 s")
    assert watched.counters.get(TIMEOUTS) == 1
    assert len(children) == 1
    wait_for(lambda: gone(int(children[0])), 20, "the child of the plugin is gone")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_a_plugin_that_ended_had_started_is_killed(tmp_path: Path) -> None:
    body = """
import subprocess
def answer(question):
    quiet = subprocess.DEVNULL
    child = subprocess.Popen(["sleep", "1000"], stdin=quiet, stdout=quiet, stderr=quiet)
    sys.exit(str(child.pid))
"""
    watched = Watched(settings(program(tmp_path, body)))
    watched.start()
    watched.process.ask(COLLECT, time.monotonic())
    text = watched.end().text
    assert text.startswith("ended with exit code 1: ")
    wait_for(lambda: gone(int(text.split()[-1])), 20, "the child of the plugin is gone")


def test_one_that_never_says_hello_is_killed(tmp_path: Path) -> None:
    watched = Watched(settings(program(tmp_path, "time.sleep(1000)"), "start_timeout = '500ms'"))
    watched.start()
    assert watched.ends == [("start_timeout", "did not say hello within 0.5 s")]


def test_one_that_cannot_be_stopped_is_killed(tmp_path: Path) -> None:
    body = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def turn(question):
    if question["op"] == "start": say(hello=1)
    else: time.sleep(1000)
"""
    watched = Watched(settings(program(tmp_path, body)))
    watched.start()
    watched.process.stop(time.monotonic())
    assert watched.end() == ("stopped", "")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("sys.exit(3)", "ended with exit code 3"),
        ("os.kill(os.getpid(), 9)", "was killed by signal 9"),
        ("raise KeyError('no such pin')", "ended with exit code 1: KeyError: 'no such pin'"),
    ],
)
def test_a_crash_is_said_in_one_line_and_it_can_be_started_again(
    tmp_path: Path, body: str, text: str
) -> None:
    watched = Watched(settings(program(tmp_path, f"def answer(question): {body}")))
    watched.start()
    watched.process.ask(COLLECT, time.monotonic())
    assert watched.end() == ("exited", text)
    assert watched.process.status()["last_error"] == text
    watched.start()
    assert watched.hellos == 2
    assert watched.counters.get(RESTARTS, reason="exited") == 1
    watched.process.kill()


def test_one_that_closes_its_output_and_stays_is_killed(tmp_path: Path) -> None:
    body = "def answer(question):\n    os.close(1)\n    time.sleep(1000)"
    watched = Watched(settings(program(tmp_path, body)))
    watched.start()
    watched.process.ask(COLLECT, time.monotonic())
    assert watched.end() == ("exited", "closed its output and had to be killed")


def test_a_line_that_is_not_of_the_protocol_is_counted_and_passed_over(tmp_path: Path) -> None:
    body = """
def answer(question):
    print("debug: reading pin 4")
    print("[1, 2]")
    print('{"moisture": 3}')
    say(values={"a": 2})
    say(values={"a": 3})
"""
    watched = Watched(settings(program(tmp_path, body)))
    watched.start()
    assert watched.ask(COLLECT).values == {"a": 2}
    watched.drive(lambda: watched.process.bad_lines == 4)  # nobody asked for the last one
    assert watched.counters.get(BAD_LINES) == 4
    watched.process.kill()


@pytest.mark.parametrize(
    "flood",
    ["os.write(1, b'x' * 70_000)", "while True: os.write(1, b'x' * 500 + b'\\n')",
     "while True: os.write(2, b'x' * 65536)", "while True: say(log='x' * 100)"],
    ids=["long line", "lines", "errors", "log"],
)  # fmt: skip
def test_one_that_says_too_much_is_killed(tmp_path: Path, flood: str) -> None:
    watched = Watched(settings(program(tmp_path, f"def answer(question):\n    {flood}")))
    watched.start()
    watched.process.ask(COLLECT, time.monotonic())
    assert watched.end().reason == "too_much"


def test_log_lines_are_passed_on_and_limited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = """
def answer(question):
    for number in range(40): say(log=f"line {number}", level="error")
    say(values={})
"""
    watched = Watched(settings(program(tmp_path, body)))
    watched.start()
    watched.ask(COLLECT)
    watched.process.kill()
    said = capsys.readouterr().err
    assert "error: plugin soil: line 0\n" in said
    assert said.count("plugin soil: line") == LOG_LINES_A_MINUTE
    assert watched.counters.get(DROPPED_LOGS) == 40 - LOG_LINES_A_MINUTE


@pytest.mark.parametrize(
    ("limit", "body", "text"),
    [
        ("", "b = bytearray(1 << 30)", "MemoryError"),
        ("cpu_time = '1s'", "while True: pass", "was killed by signal 24 (its processor time"),
        ("open_files = 20", "[open('/dev/null') for _ in range(30)]; f = [os.dup(0) for _ in range(30)]",
         "Too many open files"),
    ],
    ids=["memory", "processor", "files"],
)  # fmt: skip
def test_limits_hold(tmp_path: Path, limit: str, body: str, text: str) -> None:
    """Each before the time-out, also where a second of a processor takes many."""
    path = program(tmp_path, f"def answer(question):\n    {body}")
    watched = Watched(settings(path, f"timeout = '5m'\n{limit}"))
    watched.start()
    watched.process.ask(COLLECT, time.monotonic())
    watched.drive(lambda: watched.ends, 120.0)
    assert text in watched.ends[0].text


def test_it_runs_with_less_priority_and_a_clean_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/manager")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/edgemon-ship.service")
    body = """
def answer(question):
    say(error=json.dumps([sorted(os.environ), os.nice(0), os.getcwd(), sorted(os.listdir("/proc/self/fd")),
        open("/proc/self/oom_score_adj").read().strip()]))
"""
    watched = Watched(settings(program(tmp_path, body), "nice = 7"))
    watched.start()
    told = watched.ask(COLLECT).text
    watched.process.kill()
    assert "EDGEMON_PLUGIN" in told and "PATH" in told
    assert "AWS" not in told and "NOTIFY_SOCKET" not in told and "CREDENTIALS" not in told
    assert (
        f', {min(os.nice(0) + 7, 19)}, "/", ["0", "1", "2", "3"], "500"]' in told
    )  # 3 is the folder that is listed


@pytest.mark.parametrize("asked", ["true", "false"])
def test_where_edgemons_secrets_are_is_told_to_who_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/edgemon-ship.service")
    body = "def answer(question): say(error=os.environ.get('CREDENTIALS_DIRECTORY', 'not told'))"
    watched = Watched(settings(program(tmp_path, body), f"credentials = {asked}"))
    watched.start()
    told = watched.ask(COLLECT).text
    watched.process.kill()
    assert told == ("/run/credentials/edgemon-ship.service" if asked == "true" else "not told")


def test_one_that_is_not_trusted_any_more_is_not_started(tmp_path: Path) -> None:
    path = program(tmp_path)
    watched = Watched(settings(path))
    path.chmod(0o777)
    watched.start()
    assert watched.ends == [("not_started", f'everybody may write "{path}": chmod o-w')]


def test_what_cannot_be_executed_says_so(tmp_path: Path) -> None:
    path = tmp_path / "plugin"
    path.write_text("#!/nonexistent/interpreter\n")
    path.chmod(0o755)
    watched = Watched(settings(path))
    watched.start()
    assert watched.ends == [
        ("exited", f"ended with exit code 126: {path}: No such file or directory")
    ]


def test_without_free_descriptors_it_is_not_started_and_none_is_lost(tmp_path: Path) -> None:
    watched = Watched(settings(program(tmp_path)))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                taken.append(os.dup(0))
        for free in range(1, 6):
            os.close(taken.pop())
            watched.process.start(time.monotonic())
            assert watched.ends[-1] == ("not_started", "cannot be started: Too many open files")
            spare = [os.dup(0) for _ in range(free)]
            for fd in spare:
                os.close(fd)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for fd in taken:
            os.close(fd)
    watched.start()
    assert watched.hellos == 1
    watched.process.kill()


def test_a_plugin_dies_with_edgemon(tmp_path: Path) -> None:
    """Even one that ignores the end of its input, when edgemon is killed."""
    body = """
def turn(question):
    say(hello=1)
    time.sleep(1000)
"""
    path = program(tmp_path, body)
    code = f"""
import sys, time
from pathlib import Path
from tests.plugins.rig import Watched, settings
watched = Watched(settings({str(path)!r}))
watched.start()
print(watched.process.pid, flush=True)
time.sleep(1000)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as keeper:
        assert keeper.stdout is not None
        pid = int(keeper.stdout.readline())
        assert not gone(pid)
        keeper.send_signal(signal.SIGKILL)
        wait_for(lambda: gone(pid), 20, "the plugin is gone")
