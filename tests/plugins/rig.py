"""What the plugins' tests share: programs written on the spot, a process to drive, the documentation's examples."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgemon.config import PluginSettings, parse
from edgemon.metrics import Counters
from edgemon.plugins.process import End, PluginProcess, turn
from edgemon.plugins.protocol import Message

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "plugins"
PACKAGE = EXAMPLES / "edgemon-example"
ABOUT = {"device": "cam-7", "fleet": "lab", "edgemon": "0"}
# A plugin in Python: `turn(question)` of a test stands in for the rest.
_PROGRAM = """#!{python} -u
import json, os, sys, time
def say(**message): print(json.dumps(message), flush=True)
def turn(question):
    op = question["op"]
    if op == "start": say(hello=1)
    elif op == "stop": sys.exit(0)
    else: answer(question)
def answer(question): say(values={{"a": 1}})
{body}
for line in sys.stdin: turn(json.loads(line))
"""


def program(folder: Path, body: str = "", name: str = "plugin") -> Path:
    """A plugin that anybody may run. body: Python that replaces `turn` or `answer`, or runs at its start."""
    path = folder / name
    path.write_text(_PROGRAM.format(python=sys.executable, body=body))
    path.chmod(0o755)
    return path


def settings(command: Path | str, more: str = "") -> PluginSettings:
    text = f"[plugins.soil]\ncommand = ['{command}']\nmemory = '512MiB'\n{more}"
    return parse(text).plugins["soil"]


class Watched:
    """One process and what it reports; a loop to drive it."""

    def __init__(self, plugin: PluginSettings) -> None:
        self.counters = Counters()
        self.hellos = 0
        self.answers: list[Message] = []
        self.ends: list[End] = []
        self.process = PluginProcess(plugin, self.counters, self, ABOUT)

    def on_hello(self) -> None:
        self.hellos += 1

    def on_answer(self, message: Message) -> None:
        self.answers.append(message)

    def on_end(self, end: End) -> None:
        self.ends.append(end)

    def drive(self, until: Callable[[], object], timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not until():
            assert time.monotonic() < deadline, f"{self.process.state} {self.ends} {self.answers}"
            turn([self.process], time.monotonic() + 0.05)

    def start(self) -> None:
        """Until it may be asked, or ended."""
        before = self.hellos + len(self.ends)
        self.process.start(time.monotonic())
        self.drive(lambda: self.hellos + len(self.ends) > before)

    def ask(self, line: bytes) -> Message:
        before = len(self.answers)
        self.process.ask(line, time.monotonic())
        self.drive(lambda: len(self.answers) > before)
        return self.answers[-1]

    def end(self) -> End:
        """Until it has ended."""
        before = len(self.ends)
        self.drive(lambda: len(self.ends) > before)
        return self.ends[-1]


def installed(folder: Path) -> Path:
    """The example's package, installed into `folder` by pip, without a network."""
    version = importlib.metadata.version("setuptools").split(".")
    if (int(version[0]), int(version[1])) < (70, 1):
        pytest.skip("needs setuptools 70.1: make test installs it")
    source = folder / "source"
    source.mkdir()
    for file in PACKAGE.iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    target = folder / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "--target", str(target), str(source)],
        check=True, capture_output=True,
    )  # fmt: skip
    return target
