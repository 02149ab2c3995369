"""`edgemon send`: predictions from a file or a pipe into the agent's socket."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from edgemon.cli import add_config_argument
from edgemon.cli._tables import add_column_arguments, open_bytes, roles, unpacked
from edgemon.cli._terminal import Progress, counted, human_bytes, printable
from edgemon.drift.csv_source import CsvTable, is_missing
from edgemon.drift.sources import Roles, SourceError
from edgemon.errors import EdgemonError, UnreachableError, UsageError

if TYPE_CHECKING:
    import argparse

EPILOG = """
printf 'age,score\\n31,0.2\\n47,0.9\\n58,0.7\\n' | edgemon send - --model fraud
edgemon send predictions.jsonl --rate 100 --ack disk
"""
_WRITE_EVENTS = 500
_ACK_TIMEOUT_S = 60.0


class RefusedError(EdgemonError):
    """The agent closed the connection or refused an event."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="CSV or JSON lines, also .gz; - is standard input")
    add_config_argument(parser)
    parser.add_argument("--socket", help="the ingest socket (default: from the configuration)")
    parser.add_argument("--model", default="", help="the model's name; needed for CSV")
    parser.add_argument("--version", default="", help="the model's version")
    parser.add_argument("--format", choices=("csv", "jsonl"), help="default: by the first byte")
    parser.add_argument(
        "--rate", type=float, default=0.0, metavar="N", help="events a second (default: no limit)"
    )
    parser.add_argument(
        "--ack",
        choices=("none", "memory", "disk"),
        default="disk",
        help="what the agent confirms at the end (default: disk)",
    )
    add_column_arguments(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary")


def run(arguments: argparse.Namespace) -> int:
    if arguments.rate < 0:
        raise UsageError("--rate is a number of events a second, 0 for no limit")
    path = arguments.socket
    if not path:
        from edgemon.config import find_config, load

        path = load(find_config(arguments.config)).ingest.socket
    with open_bytes(arguments.file) as raw, Sender(path) as client:
        lines = io.TextIOWrapper(unpacked(raw, arguments.file), encoding="utf-8", newline="")
        try:
            with contextlib.ExitStack() as stack:
                sent = client.send_all(
                    read_events(lines, arguments),
                    arguments.rate,
                    stack.enter_context(_progress(raw, arguments)),
                )
        except UnicodeDecodeError as error:
            raise SourceError(f"{arguments.file}: not UTF-8 text: {error.reason}") from None
        except (gzip.BadGzipFile, EOFError) as error:
            raise SourceError(f"{arguments.file}: the gzip file is damaged: {error}") from None
        answer = client.acknowledge(arguments.ack) if arguments.ack != "none" else None
    if answer is not None and "error" in answer:
        raise RefusedError(str(answer["error"]))
    if client.complaints:
        raise RefusedError(
            f"of {counted(sent, 'event')} the agent refused at least one: "
            + printable(client.complaints[0])
        )
    if not arguments.quiet:
        confirmed = {"disk": ", all on disk", "memory": ", all taken in"}
        print(f"{counted(sent, 'event')} sent{confirmed.get(arguments.ack, '')}")
    return 0


@contextlib.contextmanager
def _progress(raw: BinaryIO, arguments: argparse.Namespace) -> Iterator[Callable[[int], None]]:
    """What is to be called with the number of events of each write: a bar by the bytes read of a file."""
    if arguments.quiet:
        yield lambda _events: None
    elif arguments.file == "-":
        with Progress(None, "events") as counter:
            yield counter.advance
    else:
        with Progress(os.fstat(raw.fileno()).st_size, "sending", show=human_bytes) as bar:
            yield lambda _events: bar.update(raw.tell())


class Sender:
    """A connection to the ingest socket. What the agent complains about is raised, with its words."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(path)
        except PermissionError:
            self._socket.close()
            raise UnreachableError(
                f"no permission to write to {path}; see ingest.mode, ingest.group and its folder"
            ) from None
        except OSError as error:
            self._socket.close()
            raise UnreachableError(
                f"no agent listens on {path}: {error.strerror or error}; is `edgemon run` running?"
            ) from None
        self._received = b""
        self.complaints: list[str] = []

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send_all(
        self, events: Iterable[dict[str, Any]], rate: float, sent: Callable[[int], None]
    ) -> int:
        """Send all, at most `rate` a second (0: as fast as the agent reads); returns how many."""
        begun, total = time.monotonic(), 0
        at_once = max(1, min(_WRITE_EVENTS, int(rate / 20))) if rate else _WRITE_EVENTS
        chunk: list[bytes] = []
        for event in events:
            chunk.append(_line(event))
            if len(chunk) >= at_once:
                total += self._write(chunk, sent)
                if rate:
                    time.sleep(max(0.0, begun + total / rate - time.monotonic()))
        return total + self._write(chunk, sent)

    def _write(self, chunk: list[bytes], sent: Callable[[int], None]) -> int:
        count = len(chunk)
        if count:
            try:
                self._socket.sendall(b"".join(chunk))
            except OSError as error:
                raise RefusedError(
                    self._last_words() or f"the agent is gone: {error.strerror}"
                ) from None
            sent(count)
            chunk.clear()
        return count

    def acknowledge(self, level: str) -> dict[str, Any]:
        """Wait until the agent has everything. RefusedError where it closed the connection instead."""
        self._socket.settimeout(_ACK_TIMEOUT_S)
        try:
            self._socket.sendall(json.dumps({"ack": 1, "level": level}).encode() + b"\n")
            while True:
                for reply in self._replies():
                    if "ack" in reply:
                        return reply
                    self.complaints.append(str(reply.get("error")))
                if not self._read():
                    break
        except TimeoutError:
            raise UnreachableError(f"no acknowledgement within {_ACK_TIMEOUT_S:.0f} s") from None
        except OSError:
            pass
        raise RefusedError(self._last_words() or "the agent closed the connection")

    def _read(self) -> bool:
        data = self._socket.recv(65536)
        self._received += data
        return bool(data)

    def _replies(self) -> Iterator[dict[str, Any]]:
        while b"\n" in self._received:
            line, _, self._received = self._received.partition(b"\n")
            yield json.loads(line)

    def _last_words(self) -> str:
        """What the agent said before it closed the connection."""
        with contextlib.suppress(OSError):
            self._socket.settimeout(1.0)
            while self._read():
                pass
        return "; ".join(str(reply["error"]) for reply in self._replies() if "error" in reply)


def _line(event: dict[str, Any]) -> bytes:
    try:
        return json.dumps(event, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair: the agent says what it thinks of that
        return json.dumps(event).encode() + b"\n"


def read_events(lines: Iterator[str], arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Events of the protocol from the lines of a file. Errors name file and line."""
    first = next(lines, "")
    if not first:
        return
    kind = arguments.format or ("jsonl" if first.lstrip().startswith("{") else "csv")
    everything = _chain(first, lines)
    if kind == "jsonl":
        yield from _json_events(everything, arguments)
        return
    if not arguments.model:
        raise UsageError("a CSV file does not say which model it is of: give --model NAME")
    yield from _csv_events(everything, roles(arguments), arguments)


def _json_events(lines: Iterable[str], arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError as error:
            raise SourceError(f"{arguments.file}:{number}: not JSON: {error}") from None
        if not isinstance(event, dict):
            raise SourceError(f"{arguments.file}:{number}: an event is an object with a model")
        if arguments.model and "metric" not in event:
            event["model"] = arguments.model
        if arguments.version and "metric" not in event:
            event["version"] = arguments.version
        yield event


def _csv_events(
    lines: Iterable[str], columns: Roles, arguments: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    table = CsvTable(lines, columns, arguments.file)
    for row in table.rows():
        event: dict[str, Any] = {"model": arguments.model}
        if arguments.version:
            event["version"] = arguments.version
        features: dict[str, float | str | None] = {}
        for column, stream, cell in zip(table.columns, table.streams, row, strict=True):
            value = _cell(cell, as_text=column in columns.text)
            if stream.startswith("f:"):
                features[column] = value
            elif stream in ("output", "latency"):
                event[stream] = value
            elif (
                column in ("id", "ts", "label")
                and column not in columns.ignore
                and value is not None
            ):
                event[column] = cell if column == "id" else value
        if features and "label" not in event:
            event["features"] = features
        yield event


def _cell(cell: str, *, as_text: bool) -> float | str | None:
    if is_missing(cell):
        return None
    if as_text:
        return cell
    try:
        return float(cell)
    except ValueError:
        return cell


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from rest
