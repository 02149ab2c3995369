"""The protocol as slow, obvious Python over json and msgpack: what the decoder in C must agree with, byte for byte.

Where the decoder is stricter than those two libraries, so is this: bin and ext are refused even when they are
empty, at most 64 lists and maps lie inside one another, and a line is UTF-8 without surrogates, nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import msgpack

from edgemon.errors import ProtocolError
from edgemon.ingest.protocol import DROPPED, DROPPED_VALUES, Limits, Record
from edgemon.metrics import Counters
from edgemon.records import AckRequest, Failure, Label, Metric, Prediction

# Position -> field of the compact form; trailing fields may be left out.
COMPACT = ("model", "output", "features", "latency", "id", "ts", "version")
_INF = float("inf")
_MAX_VECTOR = 1024
_KINDS = {
    type(None): "null", bool: "a boolean", int: "an integer", float: "a number", str: "a string"
}  # fmt: skip


class Outcome(NamedTuple):
    """All that bytes of a connection lead to. fault: (reason, at_byte, message)."""

    records: list[Record]
    counts: dict[str, int]
    complaint: str | None
    fault: tuple[str, int, str] | None


class _BadEventError(Exception):
    """A whole frame that is no valid event. args: (reason for the counter, message)."""


def decode(data: bytes, limits: Limits, *, ended: bool = True) -> Outcome:
    """What a connection that sends `data`, and then ends or not, must lead to."""
    counters = Counters()
    records: list[Record] = []
    complaint: str | None = None
    fault = None
    frames = _json_lines if data[:1] == b"{" else _msgpack_objects
    try:
        for at_byte, frame in frames(data, limits, ended):
            try:
                records.append(_record(frame, limits, counters))
            except _BadEventError as error:
                reason, message = error.args
                counters.add(DROPPED, reason=reason)
                message = message.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
                complaint = complaint or (
                    f"{message} (frame at byte {at_byte}); later faults are only counted"
                )
    except ProtocolError as error:
        fault = (error.reason, error.at_byte, str(error))
    return Outcome(records, counters.snapshot(), complaint, fault)


def _json_lines(data: bytes, limits: Limits, ended: bool) -> Iterator[tuple[int, object]]:
    lines = (data + (b"\n" if ended else b"")).split(b"\n")
    rest = lines.pop()
    at_byte = 0
    for line in lines:
        if len(line) > limits.max_frame_bytes:
            raise _too_large("line", limits, at_byte)
        if line and not line.isspace():
            yield at_byte, _json_line(line, limits, at_byte)
        at_byte += len(line) + 1
    if len(rest) > limits.max_frame_bytes:
        raise _too_large("line", limits, at_byte)


def _json_line(line: bytes, limits: Limits, at_byte: int) -> object:
    too_deep = ProtocolError("malformed", "bad JSON: too deep or too long", at_byte)
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError("bad_utf8", "not UTF-8", at_byte + error.start) from None
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if _json_depth(text[: error.pos]) > limits.max_nesting:
            raise too_deep from None
        offset = len(text[: error.pos].encode())
        message = error.msg if not text.startswith("\ufeff") else "Expecting value"
        raise ProtocolError("malformed", f"bad JSON: {message}", at_byte + offset) from None
    except (RecursionError, ValueError):  # ValueError: an integer of thousands of digits
        raise too_deep from None
    if _json_depth(text) > limits.max_nesting:
        raise too_deep
    return value


def _json_depth(text: str) -> int:
    """Of JSON that is whole up to here."""
    depth = deepest = 0
    for bracket in re.sub(r'"(?:[^"\\]|\\.)*"', "", text, flags=re.S):
        depth += (bracket in "[{") - (bracket in "]}")
        deepest = max(deepest, depth)
    return deepest


class _MoreError(Exception):
    """The object is not whole."""


class _Walk:
    """Over one msgpack object, in the order of its bytes, recursively: is it whole, and where does it end?"""

    def __init__(self, window: bytes, limits: Limits, at_byte: int) -> None:
        self.window = window
        self.at = 0
        self._limits = limits
        self._at_byte = at_byte

    def fault(self, message: str, reason: str = "malformed") -> ProtocolError:
        return ProtocolError(reason, message, self._at_byte)

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.window):
            raise _MoreError
        self.at += size
        return self.window[self.at - size : self.at]

    def value(self, depth: int, key: bool = False) -> None:
        head = self.take(1)[0]
        sizes = {0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
        plain = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8,
                 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}  # fmt: skip
        kind, size = "", 0
        if 0x80 <= head < 0xC0:
            kind = "a map" if head < 0x90 else "an array" if head < 0xA0 else "a string"
            size = head & (0x0F if head < 0xA0 else 0x1F)
        elif head in sizes:
            size = int.from_bytes(self.take(sizes[head]), "big")
            kind = "a string" if head < 0xDC else "an array" if head < 0xDE else "a map"
        elif head == 0xC1:
            raise self.fault("bad msgpack (the byte 0xc1)")
        elif head in (0xC4, 0xC5, 0xC6):
            raise self.fault("bad msgpack (bin is not taken)")
        elif head in (0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8):
            raise self.fault("bad msgpack (ext is not taken)")
        else:
            self.take(plain.get(head, 0))
        if size > self._limits.max_frame_bytes:
            most = self._limits.max_frame_bytes
            raise self.fault(f"bad msgpack ({kind} of more than {most} bytes or entries)")
        if kind == "a string":
            try:
                self.take(size).decode()
            except UnicodeDecodeError:
                raise self.fault("a string that is not UTF-8, in the object", "bad_utf8") from None
        elif key:
            raise self.fault("bad msgpack (a key of a map that is no string)")
        elif kind:
            if depth >= self._limits.max_nesting:
                most = self._limits.max_nesting
                raise self.fault(
                    f"msgpack nested too deeply: more than {most} levels (ingest.max_nesting)"
                )
            for _ in range(size):
                if kind == "a map":
                    self.value(depth + 1, key=True)
                self.value(depth + 1)


def _msgpack_objects(data: bytes, limits: Limits, ended: bool) -> Iterator[tuple[int, object]]:
    at_byte = 0
    while at_byte < len(data):
        window = data[at_byte : at_byte + limits.max_frame_bytes]
        walk = _Walk(window, limits, at_byte)
        try:
            walk.value(0)
        except _MoreError:
            _msgpack(window, limits, None)
            if len(data) - at_byte > limits.max_frame_bytes:
                raise _too_large("object", limits, at_byte) from None
            if ended:
                raise ProtocolError("malformed", "half a msgpack object", at_byte) from None
            return
        except ProtocolError as error:
            if "is not taken" not in str(error) and "nested" not in str(error):
                _msgpack(window, limits, None)
            raise
        yield at_byte, _msgpack(window, limits, walk.at)
        at_byte += walk.at


def _msgpack(window: bytes, limits: Limits, size: int | None) -> object:
    """The first object of the window by the msgpack library, which must find it in `size` bytes, or not at all."""
    unpacker = msgpack.Unpacker(
        raw=False,
        strict_map_key=True,
        max_buffer_size=len(window) + 1,
        max_str_len=limits.max_frame_bytes,
        max_bin_len=0,
        max_ext_len=0,
        max_array_len=limits.max_frame_bytes,
        max_map_len=limits.max_frame_bytes,
    )
    unpacker.feed(window)
    try:
        value = unpacker.unpack()
    except (msgpack.UnpackException, ValueError, TypeError):
        assert size is None
        return None
    assert size == unpacker.tell()
    return value


def _too_large(what: str, limits: Limits, at_byte: int) -> ProtocolError:
    return ProtocolError(
        "frame_size",
        f"{what} longer than {limits.max_frame_bytes} bytes (ingest.max_frame_bytes)",
        at_byte,
    )


def _record(frame: object, limits: Limits, counters: Counters) -> Record:
    if isinstance(frame, list):
        if len(frame) > len(COMPACT):
            raise _BadEventError(
                "not_an_event", f"a compact event has at most {len(COMPACT)} fields"
            )
        frame = dict(zip(COMPACT, frame, strict=False))
    elif not isinstance(frame, dict):
        raise _BadEventError(
            "not_an_event", f"an event is a map or an array, not {_KINDS[type(frame)]}"
        )
    if "model" in frame:
        return _model_record(frame, limits, counters)
    if "metric" in frame:
        return _metric(frame, limits)
    if "ack" in frame:
        return _ack(frame)
    raise _BadEventError("not_an_event", 'an event has "model", "metric" or "ack"')


def _model_record(
    frame: dict[str, object], limits: Limits, counters: Counters
) -> Prediction | Label | Failure:
    model = _name(frame, "model", limits)
    version = _identifier(frame.get("version"), "version", limits) or ""
    identifier = _identifier(frame.get("id"), "id", limits)
    ts = _optional_number(frame, "ts")
    if "label" in frame:
        if identifier is None:
            raise _BadEventError("bad_label", 'a "label" needs the "id" of its prediction')
        label = frame["label"]
        if isinstance(label, str):
            label = _text(label, "label", limits)
        elif isinstance(label, (int, float)):
            label = _number(label, "label")
        else:
            raise _BadEventError("bad_label", '"label" is a number or a string')
        return Label(model, version, identifier, label, ts)
    error = _identifier(frame.get("error"), "error", limits)
    if error is not None:
        return Failure(model, version, error, identifier, ts)
    return Prediction(
        model=model,
        version=version,
        features=_features(frame.get("features"), limits, counters),
        output=_output(frame.get("output"), limits),
        latency_s=_optional_number(frame, "latency"),
        id=identifier,
        ts=ts,
    )


def _metric(frame: dict[str, object], limits: Limits) -> Metric:
    name = _name(frame, "metric", limits)
    value = frame.get("value")
    if not isinstance(value, (int, float)):
        raise _BadEventError("bad_metric", '"value" of a metric is a number')
    step = frame.get("step")
    if step is not None and (not isinstance(step, int) or abs(step) >= 1 << 63):
        raise _BadEventError("bad_metric", '"step" of a metric is an integer')
    step = None if step is None else int(step)  # true is 1
    return Metric(name, _number(value, "value"), step, _optional_number(frame, "ts"))


def _ack(frame: dict[str, object]) -> AckRequest:
    token, level = frame["ack"], frame.get("level", "memory")
    if isinstance(token, bool) or not isinstance(token, (int, str)) or len(str(token)) > 64:
        raise _BadEventError("bad_ack", '"ack" is a number or a string of at most 64 characters')
    if level not in ("memory", "disk"):
        raise _BadEventError("bad_ack", '"level" of an ack is "memory" or "disk"')
    return AckRequest(token, str(level))


def _features(value: object, limits: Limits, counters: Counters) -> dict[str, float | str | None]:
    if value is None:
        return {}
    if isinstance(value, list):
        value = {f"f{index}": item for index, item in enumerate(value)}
    elif not isinstance(value, dict):
        raise _BadEventError("bad_features", '"features" is a list or a map')
    if len(value) > limits.max_features:
        raise _BadEventError(
            "too_many_features", f"more than {limits.max_features} features (ingest.max_features)"
        )
    features: dict[str, float | str | None] = {}
    for name, item in value.items():
        if not isinstance(name, str):
            raise _BadEventError("bad_features", "a feature's name is a string")
        if not name or len(name) > 256:
            raise _BadEventError("bad_features", "a feature's name has 1 to 256 characters")
        if type(item) is float or item is None:
            features[name] = item
        elif isinstance(item, str):
            features[name] = _text(item, f"features.{name}", limits)
        elif isinstance(item, int):
            features[name] = _number(item, name)
        else:  # a list or a map inside the features: the value is lost, the event is not
            counters.add(DROPPED_VALUES, reason="wrong_type")
            features[name] = None
        if not name.isascii():
            _text(name, "a feature's name", limits)
    return features


def _output(value: object, limits: Limits) -> float | str | list[float] | None:
    if value is None or type(value) is float:
        return value
    if isinstance(value, str):
        return _text(value, "output", limits)
    if isinstance(value, (int, float)):
        return _number(value, "output")
    if isinstance(value, list):
        if not 0 < len(value) <= _MAX_VECTOR:
            raise _BadEventError(
                "bad_output", f'"output" as a vector has 1 to {_MAX_VECTOR} numbers'
            )
        if not all(isinstance(item, (int, float)) for item in value):
            raise _BadEventError("bad_output", '"output" as a vector holds only numbers')
        return [_number(item, "output") for item in value]
    raise _BadEventError("bad_output", '"output" is a number, a string or a list of numbers')


def _number(value: int | float, what: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise _BadEventError("bad_number", f'"{what}" is too large for a float') from None


def _optional_number(frame: dict[str, object], key: str) -> float | None:
    value = frame.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _BadEventError("bad_number", f'"{key}" is a number')
    number = _number(value, key)
    if not -_INF < number < _INF:
        raise _BadEventError("bad_number", f'"{key}" is a finite number')
    return number


def _name(frame: dict[str, object], key: str, limits: Limits) -> str:
    value = frame[key]
    if not isinstance(value, str) or not 0 < len(value) <= 256:
        raise _BadEventError("bad_name", f'"{key}" is a string of 1 to 256 characters')
    return _text(value, key, limits)


def _identifier(value: object, key: str, limits: Limits) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise _BadEventError("bad_id", f'"{key}" is a string or an integer')
    text = value if isinstance(value, str) else str(value)
    if len(text) > 256:
        raise _BadEventError("bad_id", f'"{key}" has at most 256 characters')
    return _text(text, key, limits)


def _text(value: str, what: str, limits: Limits) -> str:
    if value.isascii():
        size = len(value)
    else:
        try:
            size = len(value.encode())
        except UnicodeEncodeError:  # a lone surrogate, which JSON can write and UTF-8 cannot
            raise _BadEventError("bad_utf8", f'"{what}" holds half a surrogate pair') from None
    if size > limits.max_string_bytes:
        raise _BadEventError(
            "string_size",
            f'"{what}" is longer than {limits.max_string_bytes} bytes (ingest.max_string_bytes)',
        )
    return value
