"""`edgemon plugin`: list what the configuration has, and try one by hand, as the agent or the shipper would run it."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgemon.cli import add_config_argument

if TYPE_CHECKING:
    from edgemon.config import Config, PluginSettings
    from edgemon.plugins.process import End
    from edgemon.plugins.protocol import Message

EPILOG = """
edgemon plugin ls
edgemon plugin test soil
edgemon plugin test archive --send
"""
_MOST_TIMES = 1000
_LONGEST_TURN_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    summary = "list the plugins of the configuration"
    ls = commands.add_parser("ls", help=summary, description=summary, epilog="edgemon plugin ls")
    add_config_argument(ls)
    summary = "start a plugin, ask it, and print what it says"
    test = commands.add_parser(
        "test",
        help=summary,
        description=summary,
        epilog="edgemon plugin test soil --times 5\nedgemon plugin test archive --send",
    )
    test.add_argument("name", metavar="NAME", help="its name in the configuration")
    test.add_argument(
        "--times", type=int, default=3, metavar="N", help="ask a collector so often (3)"
    )
    test.add_argument(
        "--pause", type=float, default=1.0, metavar="S", help="seconds between two questions (1)"
    )
    test.add_argument(
        "--send", action="store_true", help="give a sink one batch of one row; it is really sent"
    )
    add_config_argument(test)
    summary = "what agent and shipper start for a plugin; not for people"
    host = commands.add_parser(
        "host", help=summary, description=summary, epilog="edgemon plugin host JOB"
    )
    host.add_argument("job", metavar="JOB", help="limits and program, as JSON")


def run(arguments: argparse.Namespace) -> int:
    if arguments.subcommand == "host":
        from edgemon.plugins import host

        return host.main(arguments.job)
    from edgemon.config import find_config, load
    from edgemon.errors import UsageError

    config = load(find_config(arguments.config))
    if arguments.subcommand == "ls":
        sys.stdout.write(_list(config))
        return 0
    settings = config.plugins.get(arguments.name)
    if settings is None:
        names = ", ".join(config.plugins) or "none"
        raise UsageError(f'the configuration has no plugin "{arguments.name}"; it has: {names}')
    return _Trial(config, settings).run(arguments)


def _list(config: Config) -> str:
    from edgemon.cli._terminal import table
    from edgemon.config import format_duration

    if not config.plugins:
        return "no plugins: see docs/plugins.md\n"
    rows = [
        [
            name,
            plugin.kind,
            format_duration(plugin.interval_s) if plugin.kind == "collector" else "",
            " ".join(plugin.command) or f"entry point {plugin.entry_point}",
        ]
        for name, plugin in config.plugins.items()
    ]
    return table(rows, ["plugin", "kind", "asked every", "what runs"])


class _Trial:
    """One plugin, run as it will be, with its limits; what it says is printed."""

    def __init__(self, config: Config, settings: PluginSettings) -> None:
        from edgemon.metrics import Counters
        from edgemon.plugins.process import PluginProcess
        from edgemon.version import VERSION

        agent = config.agent
        self._config, self._settings = config, settings
        self._about = {"device": agent.device, "fleet": agent.fleet}
        self._answer: Message | None = None
        self._ended: End | None = None
        self._process = PluginProcess(
            settings, Counters(), self, self._about | {"edgemon": VERSION}
        )

    def run(self, arguments: argparse.Namespace) -> int:
        process = self._process
        begun = time.monotonic()
        process.start(begun)
        self._drive(lambda: process.state != "starting")
        if process.state == "idle":
            took = time.monotonic() - begun
            self._print(f"hello after {took:.3f} s, process {process.pid}")
        good = process.state == "idle"
        try:
            if good and self._settings.kind == "collector":
                good = self._collect(min(arguments.times, _MOST_TIMES), arguments.pause)
            elif good and arguments.send:
                good = self._send()
            elif good:
                self._print("takes batches; --send gives it one")
            if process.state == "idle":
                process.stop(time.monotonic())
                self._drive(lambda: process.state == "down")
                self._print("stopped")
        finally:
            process.kill()
        if self._ended is not None and self._ended.text:
            self._print(self._ended.text)
        if process.bad_lines:
            self._print(f"{process.bad_lines} lines were not of the protocol")
        return 0 if good and not process.bad_lines else 1

    def _collect(self, times: int, pause_s: float) -> bool:
        from edgemon.plugins import protocol

        for number in range(times):
            if number:
                self._drive(lambda: self._process.state == "down", time.monotonic() + pause_s)
            answer = self._ask(protocol.COLLECT)
            if answer is None:
                return False
            if answer.kind != "values":
                self._print(f"no values: {answer.text or answer.kind}")
                return False
            good, bad = protocol.readings(answer.values)
            for name, value in good.items():
                self._print(f"{self._settings.name}_{name} = {value:g}")
            if bad:
                self._print(f"{len(bad)} values not taken: bad {', '.join(sorted(set(bad)))}")
                return False
        return True

    def _send(self) -> bool:
        from edgemon import wire
        from edgemon.plugins import protocol
        from edgemon.records import Batch

        wall_ns = time.time_ns()
        batch = Batch(
            kind="event", seq=1, device=self._config.agent.device, fleet=self._config.agent.fleet,
            stream=bytes(16), boot=bytes(16), wall_ns=wall_ns, mono_ns=time.monotonic_ns(),
            clock_error_ms=None, dropped=0, resource={}, rows=1,
            columns=wire.columns_from_rows(
                [{"t": 0, "type": "plugin.test", "severity": "info", "message": "edgemon plugin test"}]
            ),
        )  # fmt: skip
        frame = wire.encode(batch)
        about: dict[str, object] = {
            "kind": "event", "seq": 1, "stream": batch.stream.hex(), "rows": 1,
            "wall_ms": wall_ns // 10**6,
        }  # fmt: skip
        answer = self._ask(protocol.send(frame, self._about | about))
        if answer is not None:
            self._print(f"a batch of {len(frame)} bytes: {answer.kind} {answer.text}".rstrip())
        return answer is not None and answer.kind == "ack"

    def _ask(self, line: bytes) -> Message | None:
        """Its answer; None: it ended instead."""
        process, self._answer = self._process, None
        if process.state != "idle":
            return None
        begun = time.monotonic()
        process.ask(line, begun)
        self._drive(lambda: process.state in ("idle", "down"))
        if process.state == "idle":
            self._print(f"answered in {1000 * (time.monotonic() - begun):.0f} ms")
        return self._answer

    def _drive(self, until: Callable[[], bool], until_s: float = math.inf) -> None:
        """Turn until that holds, or until that second."""
        from edgemon.plugins.process import turn

        while not until() and time.monotonic() < until_s:
            turn([self._process], min(until_s, time.monotonic() + _LONGEST_TURN_S))

    def _print(self, text: str) -> None:
        sys.stdout.write(f"{self._settings.name}: {text}\n")
        sys.stdout.flush()

    # -- what its process reports

    def on_hello(self) -> None:
        pass  # its state says so

    def on_answer(self, message: Message) -> None:
        self._answer = message

    def on_end(self, end: End) -> None:
        self._ended = end
