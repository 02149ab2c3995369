"""What commands that read tables share: the options that say what columns are, and opening a file or a pipe."""

from __future__ import annotations

import gzip
import sys
from typing import TYPE_CHECKING, BinaryIO, cast

from edgemon.drift.sources import Roles

if TYPE_CHECKING:
    import argparse


def add_column_arguments(parser: argparse.ArgumentParser) -> None:
    """--output, --features, --ignore, --text; `roles` reads them back."""
    columns = parser.add_argument_group("what the columns are (lists are separated by commas)")
    columns.add_argument("--output", default="", metavar="NAME", help="the model's output")
    columns.add_argument("--features", default="", metavar="LIST", help="only these are features")
    columns.add_argument("--ignore", default="", metavar="LIST", help="leave these out")
    columns.add_argument("--text", default="", metavar="LIST", help="categories, also when numbers")


def roles(arguments: argparse.Namespace) -> Roles:
    """What the user said of the columns."""
    return Roles(
        arguments.output,
        *(_list(words) for words in (arguments.features, arguments.ignore, arguments.text)),
    )


def open_bytes(path: str) -> BinaryIO:
    """The file's bytes as they lie there; "-" is standard input."""
    return sys.stdin.buffer if path == "-" else open(path, "rb")


def unpacked(raw: BinaryIO, path: str) -> BinaryIO:
    """What a .gz file holds, or the file itself."""
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.endswith(".gz") else raw


def _list(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(",") if word.strip())
