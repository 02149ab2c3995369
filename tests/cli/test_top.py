"""`edgemon top` in a real terminal, over a real agent."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import heed_ctrl_c, wait_for

_CONFIG = '[agent]\nstate_dir = "state"\nrun_dir = "run"\n[system]\ninterval = "1s"\n[ship]\nsink = "none"\n'
_EDGEMON = [sys.executable, "-m", "edgemon"]


@pytest.fixture
def device(short_tmp: Path) -> Path:
    (short_tmp / "edgemon.toml").write_text(_CONFIG)
    return short_tmp


@contextmanager
def agent(device: Path) -> Iterator[None]:
    process = subprocess.Popen([*_EDGEMON, "agent"], cwd=device, stderr=subprocess.DEVNULL)
    try:
        wait_for((device / "run" / "agent.sock").exists)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def send(device: Path, model: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(device / "run" / "ingest.sock"))
        client.sendall(json.dumps({"model": model, "output": 1}).encode() + b"\n")


def _as_from_a_shell() -> None:
    """Ctrl-C is heeded; a hangup finds it blocked."""
    heed_ctrl_c()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


class Terminal:
    """A pseudo-terminal with `edgemon top` in it; `page` is what was drawn last."""

    def __init__(self, device: Path, **environ: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(80, 24)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.all = b""
        self.process = subprocess.Popen(
            [*_EDGEMON, "top", "--interval", "200ms"],
            preexec_fn=_as_from_a_shell,
            cwd=device, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={k: v for k, v in os.environ.items() if k != "NO_COLOR"}
            | {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"} | environ,
        )  # fmt: skip

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self) -> None:
        while select.select([self.master], [], [], 0.0)[0]:
            self.all += os.read(self.master, 65536)

    def page(self) -> list[str]:
        """Lines of the last page that was drawn whole, without styles."""
        self.read()
        pages = self.all.split(b"\x1b[H")[1:]
        whole = [one for one in pages if one.endswith(b"\x1b[J")]
        if not whole:
            return []
        drawn = whole[-1].removesuffix(b"\x1b[J").decode().split("\r\n")
        return [re.sub(r"\x1b\[[0-9;]*[mK]", "", line) for line in drawn]

    def shows(self, words: str) -> None:
        wait_for(lambda: words in "\n".join(self.page()), what=words)

    def end(self, key: bytes) -> int:
        os.write(self.master, key)
        code = self.process.wait(20)
        self.read()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(device: Path) -> Iterator[Terminal]:
    made = Terminal(device)
    yield made
    made.close()


def test_it_lives_through_an_agent_that_comes_goes_and_comes_back(
    device: Path, terminal: Terminal
) -> None:
    terminal.shows("No agent answers.")
    with agent(device):
        terminal.shows("No predictions yet")
        send(device, "moths")
        terminal.shows("moths")
        assert len(terminal.page()) == 24
        terminal.resize(120, 40)
        terminal.process.send_signal(signal.SIGWINCH)
        wait_for(lambda: len(terminal.page()) == 40)
    terminal.shows("NO AGENT ANSWERS for")
    with agent(device):
        terminal.shows("the agent was restarted 1x")
        assert terminal.end(b"q") == 0
    assert terminal.all.endswith(b"\x1b[?7h\x1b[?25h\x1b[?1049l")
    assert termios.tcgetattr(terminal.slave) == terminal.before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_as_it_was(terminal: Terminal, number: signal.Signals) -> None:
    terminal.shows("No agent answers.")
    terminal.process.send_signal(number)
    assert terminal.process.wait(20) == 0
    terminal.read()
    assert b"\x1b[?1049l" in terminal.all
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_suspended_it_gives_the_terminal_back_and_takes_it_again(terminal: Terminal) -> None:
    terminal.shows("No agent answers.")
    terminal.process.send_signal(signal.SIGTSTP)
    stopped = lambda: _state(terminal.process.pid) == "T"  # noqa: E731
    wait_for(stopped)
    assert termios.tcgetattr(terminal.slave) == terminal.before
    terminal.read()
    terminal.all = b""
    terminal.process.send_signal(signal.SIGCONT)
    terminal.shows("No agent answers.")
    assert b"\x1b[?1049h" in terminal.all
    assert terminal.end(b"q") == 0


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_colours_are_for_who_wants_them(device: Path) -> None:
    for environ, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        made = Terminal(device, **environ)
        try:
            made.shows("No agent answers.")
            assert (b"\x1b[1;31m" in made.all) == coloured
            assert made.end(b"q") == 0
        finally:
            made.close()


def test_a_terminal_without_blocks_and_umlauts_gets_a_page_too(device: Path) -> None:
    made = Terminal(device, PYTHONIOENCODING="ascii")
    try:
        with agent(device):
            send(device, "µ-moths")
            made.shows("?-moths")
            assert made.end(b"q") == 0
        made.all.decode("ascii")
    finally:
        made.close()


def test_a_dumb_terminal_gets_plain_pages_one_below_the_other(device: Path) -> None:
    made = Terminal(device, TERM="dumb")
    try:

        def shown_twice() -> bool:
            made.read()
            return made.all.count(b"No agent answers.") >= 2

        wait_for(shown_twice)
        assert b"\x1b" not in made.all
        made.process.send_signal(signal.SIGINT)
        assert made.process.wait(20) == 0
    finally:
        made.close()


def test_one_page_for_a_pipe(device: Path) -> None:
    def once(**environ: str) -> subprocess.CompletedProcess[bytes]:
        env = os.environ | environ
        return subprocess.run(
            [*_EDGEMON, "top", "--once"], cwd=device, capture_output=True, env=env, check=False
        )

    gone = once()
    assert gone.returncode == 5
    assert b"is `edgemon run` running?" in gone.stderr
    with agent(device):
        send(device, "µ-moths")
        deadline = time.monotonic() + 20
        while "µ-moths" not in (shown := once(PYTHONIOENCODING="utf-8").stdout.decode()):
            assert time.monotonic() < deadline
        assert "\x1b" not in shown
        assert max(map(len, shown.splitlines())) <= 80
        assert "?-moths" in once(PYTHONIOENCODING="ascii").stdout.decode("ascii")


def test_an_interval_that_is_none_is_refused(device: Path) -> None:
    done = subprocess.run(
        [*_EDGEMON, "top", "--interval", "5"],
        cwd=device,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--interval 5: must be a duration from 200ms to 1h" in done.stderr
