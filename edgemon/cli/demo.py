"""`edgemon demo`: the whole way on real data, from a socket to a stored batch, in about a minute."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from typing import TYPE_CHECKING

from edgemon.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from types import FrameType

EPILOG = """
edgemon demo
edgemon demo --seed 7 --keep ./seen
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="another split, another show (default: 1)"
    )
    parser.add_argument("--fast", action="store_true", help="fewer predictions, about 20 s")
    parser.add_argument(
        "--broker",
        choices=("auto", "mosquitto", "nats"),
        default="auto",
        help="auto: Mosquitto when it is installed, else nats-server (default)",
    )
    parser.add_argument(
        "--keep",
        metavar="DIR",
        help="folder for everything, new or empty (default: a new one under the temporary folder)",
    )


def run(arguments: argparse.Namespace) -> int:
    from edgemon.demo.play import FAST, FULL
    from edgemon.demo.show import play_show

    if arguments.seed < 0:
        raise UsageError("--seed: 0 or more")
    folder = _new_folder(arguments.keep)
    # A supervisor's or a closed terminal's signal ends the children as Ctrl-C does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return play_show(
            folder, FAST if arguments.fast else FULL, seed=arguments.seed, broker=arguments.broker
        )
    except KeyboardInterrupt:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _new_folder(wanted: str | None) -> str:
    if wanted is None:
        return os.path.realpath(tempfile.mkdtemp(prefix="edgemon-demo-"))
    folder = os.path.realpath(wanted)
    os.makedirs(folder, exist_ok=True)
    if os.listdir(folder):
        raise UsageError(f"--keep {wanted}: the folder is not empty")
    return folder


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
