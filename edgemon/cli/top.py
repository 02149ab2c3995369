"""`edgemon top`: a page that is drawn again every two seconds, over the agent's control socket."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

from edgemon.cli import add_config_argument

EPILOG = """example:
  edgemon top
  edgemon top --once
  ssh device edgemon top --once
"""
_TIMEOUT_S = 2.0
_PLAIN_WIDTH = 80


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)
    parser.add_argument(
        "--interval", default="2s", metavar="TIME", help="time between two pages (2s; 200ms to 1h)"
    )
    parser.add_argument("--once", action="store_true", help="print one page and end")


def run(arguments: argparse.Namespace) -> int:
    from edgemon.cli._screen import is_screen
    from edgemon.cli.status import run_dir_of
    from edgemon.config import find_config

    interval_s = _interval(arguments.interval)
    run_dir = run_dir_of(find_config(arguments.config))
    if arguments.once:
        return _once(run_dir)
    if is_screen(sys.stdout) and sys.stdin.isatty():
        return _live(run_dir, interval_s)
    return _plainly(run_dir, interval_s)


def _interval(text: str) -> float:
    from edgemon.config.units import parse_duration
    from edgemon.errors import UsageError

    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = 0.0
    if not 0.2 <= seconds <= 3600:
        raise UsageError(f"--interval {text}: must be a duration from 200ms to 1h, such as 2s")
    return seconds


def _ask(run_dir: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Status of agent and shipper; None where no shipper answers. UnreachableError without an agent."""
    from edgemon.control import AGENT_SOCKET, SHIP_SOCKET, request
    from edgemon.errors import UnreachableError

    agent = request(os.path.join(run_dir, AGENT_SOCKET), {"cmd": "status"}, _TIMEOUT_S)
    try:
        return agent, request(
            os.path.join(run_dir, SHIP_SOCKET), {"cmd": "status"}, _TIMEOUT_S, who="shipper"
        )
    except UnreachableError:
        return agent, None


def _look(seen: Any, run_dir: str) -> None:
    from edgemon.errors import EdgemonError

    try:
        seen.take(*_ask(run_dir), time.time())
    except EdgemonError as error:
        seen.lose(str(error), time.time())


def _once(run_dir: str) -> int:
    from edgemon.cli._lines import BLOCKS, PLAIN
    from edgemon.cli._screen import colours, encodable, has_blocks, plain, styled
    from edgemon.cli._top_page import page
    from edgemon.cli._top_seen import Seen

    seen = Seen()
    seen.take(*_ask(run_dir), time.time())
    width = os.get_terminal_size().columns if sys.stdout.isatty() else _PLAIN_WIDTH
    show = styled if colours(sys.stdout) else plain
    blocks = BLOCKS if has_blocks(sys.stdout) else PLAIN
    for line in page(seen, width or _PLAIN_WIDTH, None, time.time(), blocks):
        print(encodable(show(line), sys.stdout))
    return 0


def _plainly(run_dir: str, interval_s: float) -> int:
    """A page an interval, one below the other, for a log or a terminal that cannot do more."""
    from edgemon.cli._lines import BLOCKS, PLAIN
    from edgemon.cli._screen import encodable, has_blocks, plain
    from edgemon.cli._top_page import page
    from edgemon.cli._top_seen import Seen

    seen = Seen()
    blocks = BLOCKS if has_blocks(sys.stdout) else PLAIN
    try:
        while True:
            _look(seen, run_dir)
            for line in page(seen, _PLAIN_WIDTH, None, time.time(), blocks):
                print(encodable(plain(line), sys.stdout))
            print(flush=True)
            time.sleep(interval_s)
    except KeyboardInterrupt:
        return 0


def _live(run_dir: str, interval_s: float) -> int:
    from edgemon.cli._lines import BLOCKS, PLAIN, Piece, cut
    from edgemon.cli._screen import Screen, colours, has_blocks
    from edgemon.cli._top_page import page
    from edgemon.cli._top_seen import Seen

    seen = Seen()
    blocks = BLOCKS if has_blocks(sys.stdout) else PLAIN
    with Screen(sys.stdin, sys.stdout, colour=colours(sys.stdout)) as screen:
        try:
            key = " "
            due = 0.0
            while key not in ("q", "Q", "\x03", "end"):
                if time.monotonic() >= due or key == " ":
                    _look(seen, run_dir)
                    due = time.monotonic() + interval_s
                width, height = screen.size()
                lines = page(seen, width, max(1, height - 1), time.time(), blocks)
                keys = "q leaves, space looks again"
                lines += [[]] * (height - 1 - len(lines))
                screen.draw([*lines, cut([Piece(keys, "dim")], width)][:height])
                key = screen.wait(min(1.0, due - time.monotonic()))
        except KeyboardInterrupt:
            pass
    return 0
