"""`edgemon init`: a commented configuration that works as it is."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

from edgemon.config import default_text, parse
from edgemon.errors import UsageError

if TYPE_CHECKING:
    import argparse

EPILOG = """
edgemon init --out edgemon.toml
edgemon init --out - | less
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        metavar="FILE",
        default="edgemon.toml",
        help='where to write it, "-" for standard output (default: edgemon.toml)',
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there already")


def run(arguments: argparse.Namespace) -> int:
    path: str = arguments.out
    text = default_text(root=os.geteuid() == 0)
    if path == "-":
        sys.stdout.write(text)
        return 0
    write_new(path, text, force=arguments.force)
    sys.stdout.write(_next_steps(path, text))
    return 0


def write_new(path: str, text: str, *, force: bool) -> None:
    """A file that is there already stays as it is, unless `force`."""
    try:
        with open(path, "w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(
            f"{path} is there already and stays as it is; --force replaces it, --out writes another"
        ) from None


def _next_steps(path: str, text: str) -> str:
    config = parse(text, path)
    option = f" --config {shlex.quote(path)}"
    if path == "edgemon.toml":
        option = ""  # found by itself, from this folder
    return f"""\
wrote {path}

It ships into the folder {config.ship.folder}.
For a broker, set sink = "mqtt" in [ship] and host in [mqtt].

next:
  edgemon check{option}
  edgemon run{option}
  echo '{{"model": "fraud", "output": 0.93}}' | edgemon send{option} -
  edgemon status{option}
"""
