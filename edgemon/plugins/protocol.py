"""The line protocol between edgemon and a plugin: JSON lines, one answer to one question. Bytes in, values out.

docs/plugins.md is its specification. Whatever a plugin writes is bounded and checked here.
"""

from __future__ import annotations

import math
import re

from edgemon.log import LEVELS
from edgemon.std import json
from edgemon.typed import NamedTuple

VERSION = 1
MAX_LINE_BYTES = 64 * 1024
MAX_SERIES = 64
# Of a series, without the plugin's name.
MAX_NAME_CHARACTERS = 64
_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_MAX_TEXT = 500

COLLECT = b'{"op":"collect"}\n'
STOP = b'{"op":"stop"}\n'


class BadLineError(Exception):
    """A line that is not of the protocol; it is counted and passed over. The text says why."""


class Message(NamedTuple):
    """What a plugin said. kind: "hello" | "values" | "ack" | "retry" | "reject" | "error" | "log".

    text: a reason or a message, one line.  level: of a log line.  values: as they came, unchecked.
    """

    kind: str
    text: str = ""
    level: str = "info"
    values: dict[str, object] = {}  # noqa: RUF012 - never changed


def start(name: str, kind: str, options: dict[str, object], about: dict[str, str]) -> bytes:
    """The first line to a plugin. about: of the device, for its use."""
    head = {"op": "start", "version": VERSION, "name": name, "kind": kind}
    return _line(head | about | {"options": options})


def send(frame: bytes, about: dict[str, object]) -> bytes:
    """A batch for a sink. frame: its bytes.  about: kind, seq, stream, …"""
    import binascii  # the agent, which has collectors only, never sends

    text = binascii.b2a_base64(frame, newline=False).decode("ascii")
    return _line({"op": "send", **about, "batch": text})


def parse(line: bytes) -> Message:
    """One line of a plugin, without its end. Raises BadLineError."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        raise BadLineError("is not JSON") from None
    if not isinstance(said, dict):
        raise BadLineError("is not an object")
    if "hello" in said:
        if said["hello"] != VERSION or said["hello"] is True:
            raise BadLineError(f"says hello with a version that is not {VERSION}")
        return Message("hello")
    if "values" in said:
        if not isinstance(said["values"], dict):
            raise BadLineError('has "values" that are not an object')
        return Message("values", values=said["values"])
    for kind in ("ack", "retry", "reject", "error", "log"):
        if kind in said:
            level = said.get("level", "info")
            return Message(kind, _text(said[kind]), level if level in LEVELS else "info")
    raise BadLineError("has none of the keys of the protocol")


def readings(values: dict[str, object]) -> tuple[dict[str, float], list[str]]:
    """What of a plugin's values is fit to be a series, and for each that is not why: "name" | "number"."""
    good: dict[str, float] = {}
    bad: list[str] = []
    for name, value in values.items():
        number = _number(value)
        if len(name) > MAX_NAME_CHARACTERS or not _NAME.fullmatch(name):
            bad.append("name")
        elif number is None:
            bad.append("number")
        else:
            good[name] = number
    return good, bad


class Lines:
    """Cuts a stream of bytes into lines of at most MAX_LINE_BYTES."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes] | None:
        """The lines that are whole now, empty ones left out; None: one is too long."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(map(len, [*lines, self._rest])) > MAX_LINE_BYTES:
            self._rest = b""
            return None
        return [line for line in lines if line.strip()]


def one_line(text: str) -> str:
    """Text of a plugin for a log or a status: one line, cut."""
    text = " ".join(text.encode(errors="replace").decode().split())  # half a surrogate is no text
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def _text(raw: object) -> str:
    return one_line(raw) if isinstance(raw, str) else ""


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _line(message: dict[str, object]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
