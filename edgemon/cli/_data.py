"""Data files of any kind that commands take, read into a profile."""

from __future__ import annotations

import gzip
import io
import os
from typing import TYPE_CHECKING

from edgemon.cli._tables import open_bytes, roles, unpacked
from edgemon.cli._terminal import Progress, human_bytes, human_count
from edgemon.drift.build import ProfileBuilder
from edgemon.drift.csv_source import read_csv
from edgemon.drift.json_source import read_json_lines
from edgemon.drift.npy_source import read_npy
from edgemon.drift.profile import Profile
from edgemon.drift.sources import SourceError

if TYPE_CHECKING:
    import argparse

FORMATS = ("csv", "jsonl", "npy")


def read_file(builder: ProfileBuilder, path: str, arguments: argparse.Namespace) -> None:
    """CSV, JSON lines or .npy, also gzipped, "-" is CSV on standard input.

    arguments: with format ("" or None: by the name), model, and what add_column_arguments adds.
    """
    kind = arguments.format or _format(path)
    source = "standard input" if path == "-" else path
    with open_bytes(path) as raw:
        total = None if path == "-" else os.fstat(raw.fileno()).st_size
        plain = unpacked(raw, path)
        if kind == "npy":
            rows = read_npy(plain, builder, roles(arguments), source)
        else:
            lines = io.TextIOWrapper(plain, encoding="utf-8", newline="")
            if kind == "jsonl":
                rows = read_json_lines(lines, builder, roles(arguments), source, arguments.model)
            else:
                rows = read_csv(lines, builder, roles(arguments), source)
        label, show = ("rows", human_count) if total is None else ("reading", human_bytes)
        with Progress(total, label, show=show) as progress:
            try:
                for count in rows:
                    progress.update(count if total is None else raw.tell())
            except UnicodeDecodeError as error:
                raise SourceError(
                    f"{source}: behind row {builder.rows}: not UTF-8 text: {error.reason}"
                ) from error
            except (gzip.BadGzipFile, EOFError) as error:
                raise SourceError(f"{source}: the gzip file is damaged: {error}") from error


def read_profile(path: str) -> Profile:
    """The profile in a file."""
    with open_bytes(path) as file:
        return Profile.from_bytes(file.read(), path)


def is_profile(path: str) -> bool:
    """Whether that is a profile rather than data."""
    if path == "-":
        return False
    with open_bytes(path) as file:
        return file.read(8) == b"EDGEPROF"


def stem(path: str) -> str:
    """A file's name without folders and endings."""
    return os.path.basename(path).removesuffix(".gz").rpartition(".")[0] or os.path.basename(path)


def _format(path: str) -> str:
    name = path.removesuffix(".gz").lower()
    if name.endswith(".npy"):
        return "npy"
    return "jsonl" if name.endswith((".jsonl", ".ndjson", ".json")) else "csv"
