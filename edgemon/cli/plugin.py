"""`edgemon plugin`: list what the configuration has, and try one by hand, as the agent or the shipper would run it."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from edgemon.cli import add_config_argument

if TYPE_CHECKING:
    from edgemon.config import Config, PluginSettings
    from edgemon.plugins.protocol import Message
    from edgemon.plugins.trial import Trial

EPILOG = """
edgemon plugin ls
edgemon plugin test soil
edgemon plugin test archive --send
"""
_MOST_TIMES = 1000


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
    return _try(config, settings, arguments)


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


def _try(config: Config, settings: PluginSettings, arguments: argparse.Namespace) -> int:
    from edgemon.plugins.trial import Trial

    trial, name = Trial(config, settings), settings.name
    begun = time.monotonic()
    try:
        good = trial.start()
        if good:
            _say(name, f"hello after {time.monotonic() - begun:.3f} s, process {trial.process.pid}")
        if good and settings.kind == "collector":
            good = _collect(trial, name, min(arguments.times, _MOST_TIMES), arguments.pause)
        elif good and arguments.send:
            good = _send(trial, name, config)
        elif good:
            _say(name, "takes batches; --send gives it one")
        trial.stop()
    finally:
        trial.process.kill()
    _say(name, trial.failure or "stopped")
    if bad_lines := trial.process.bad_lines:
        _say(name, f"lines that were not of the protocol: {bad_lines}")
    return 0 if good and not trial.failure and not bad_lines else 1


def _collect(trial: Trial, name: str, times: int, pause_s: float) -> bool:
    from edgemon.plugins import protocol

    for number in range(times):
        if number:
            trial.rest(pause_s)
        answer = _ask(trial, name, protocol.COLLECT)
        if answer is None:
            return False
        if answer.kind != "values":
            _say(name, f"no values: {answer.text or answer.kind}")
            return False
        good, bad = protocol.readings(answer.values)
        for series, value in good.items():
            _say(name, f"{name}_{series} = {value:g}")
        if bad:
            _say(name, f"{len(bad)} values are not taken: bad {', '.join(sorted(set(bad)))}")
            return False
    return True


def _send(trial: Trial, name: str, config: Config) -> bool:
    """One batch of one event, of a stream that no device has."""
    from edgemon import wire
    from edgemon.plugins import protocol
    from edgemon.records import Batch, Row

    wall_ns, agent = time.time_ns(), config.agent
    row: Row = {"t": 0, "type": "plugin.test", "severity": "info", "message": "edgemon plugin test"}
    batch = Batch(
        kind="event", seq=1, device=agent.device, fleet=agent.fleet, stream=bytes(16), boot=bytes(16),
        wall_ns=wall_ns, mono_ns=time.monotonic_ns(), clock_error_ms=None, dropped=0, resource={}, rows=1,
        columns=wire.columns_from_rows([row]),
    )  # fmt: skip
    frame = wire.encode(batch)
    told: dict[str, object] = {
        "device": agent.device, "fleet": agent.fleet, "kind": "event", "seq": 1, "stream": batch.stream.hex(),
        "rows": 1, "wall_ms": wall_ns // 10**6,
    }  # fmt: skip
    answer = _ask(trial, name, protocol.send(frame, told))
    if answer is not None:
        _say(name, f"a batch of {len(frame)} bytes: {answer.kind} {answer.text}".rstrip())
    return answer is not None and answer.kind == "ack"


def _ask(trial: Trial, name: str, line: bytes) -> Message | None:
    begun = time.monotonic()
    answer = trial.ask(line)
    if answer is not None:
        _say(name, f"answered in {1000 * (time.monotonic() - begun):.0f} ms")
    return answer


def _say(name: str, text: str) -> None:
    sys.stdout.write(f"{name}: {text}\n")
    sys.stdout.flush()
