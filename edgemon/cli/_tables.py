"""What commands that read tables share: the options that say what columns are, and opening a file or a pipe."""

from __future__ import annotations

import gzip
import sys
from typing import TYPE_CHECKING, BinaryIO, cast

from edgemon.drift.sources import Roles
from edgemon.errors import UsageError
from edgemon.performance.outcome import TASKS

if TYPE_CHECKING:
    import argparse


def add_column_arguments(parser: argparse.ArgumentParser) -> None:
    """--output, --features, --ignore, --text; `roles` reads them back."""
    columns = parser.add_argument_group("what the columns are (lists are separated by commas)")
    columns.add_argument("--output", default="", metavar="NAME", help="the model's output")
    columns.add_argument("--features", default="", metavar="LIST", help="only these are features")
    columns.add_argument("--ignore", default="", metavar="LIST", help="leave these out")
    columns.add_argument("--text", default="", metavar="LIST", help="categories, also when numbers")


def add_truth_arguments(parser: argparse.ArgumentParser) -> None:
    """--label, --confidence, --task: where the file holds the truth."""
    truth = parser.add_argument_group("the truth, where the file holds it")
    truth.add_argument("--label", default="", metavar="NAME", help="its column (default: label)")
    truth.add_argument(
        "--confidence", default="", metavar="NAME", help="how sure the model was of its class"
    )
    truth.add_argument(
        "--task", choices=TASKS, default="auto", help="what it does (default: seen from the values)"
    )


def roles(arguments: argparse.Namespace) -> Roles:
    """What the user said of the columns."""
    return Roles(
        arguments.output,
        _list(arguments.features),
        _list(arguments.ignore),
        _list(arguments.text),
        getattr(arguments, "label", ""),
        getattr(arguments, "confidence", ""),
    )


def open_bytes(path: str) -> BinaryIO:
    """The file's bytes as they lie there; "-" is standard input. UsageError where it cannot be opened."""
    if path == "-":
        return sys.stdin.buffer
    try:
        return open(path, "rb")
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or str(error)).lower()}") from error


def unpacked(raw: BinaryIO, path: str) -> BinaryIO:
    """What a .gz file holds, or the file itself."""
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.endswith(".gz") else raw


def _list(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(",") if word.strip())
