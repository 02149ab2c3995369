"""The rows of an event batch as CloudEvents 1.0 JSON, for whatever speaks MQTT but not our format.

The batch is the record; these messages are copies for people and home automation. A copy sent twice
has the same `id`: `<device>/<stream>/<seq>/<row>`.

    {"specversion":"1.0","id":"cam-7/0f3a…/12/0","source":"/edgemon/fleet-a/cam-7",
     "type":"edgemon.drift.started","subject":"fraud","time":"2025-05-01T12:00:00.000Z",
     "severity":"alarm","datacontenttype":"application/json",
     "data":{"severity":"alarm","message":"…","model":"fraud","version":"2","stream":"f:amount",
             "details":{…}}}

`subject` is the model, absent where there is none. `time` is absent when the device's clock had not
been set. `severity` is an extension attribute, so that a rule need not look into `data`.
"""

from __future__ import annotations

import time

from edgemon import wire
from edgemon.records import Batch, Row
from edgemon.std import json
from edgemon.std.collections.abc import Iterator

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"

# A wall clock before this is one that nobody has set: devices without a battery start in 1970.
_EARLIEST_NS = 1_577_836_800 * 10**9  # 2020-01-01


def messages(batch: Batch) -> Iterator[bytes]:
    """One JSON document a row, in order."""
    for number, row in enumerate(wire.rows_from_columns(batch)):
        yield json.dumps(_document(batch, number, row), separators=(",", ":")).encode()


def _document(batch: Batch, number: int, row: Row) -> dict[str, object]:
    stream = batch.stream.hex()
    document: dict[str, object] = {
        "specversion": "1.0",
        "id": f"{batch.device}/{stream}/{batch.seq}/{number}",
        "source": f"/edgemon/{batch.fleet}/{batch.device}",
        "type": f"edgemon.{_text(row, 'type') or 'event'}",
    }
    if model := _text(row, "model"):
        document["subject"] = model
    after_us = row.get("t")
    if batch.wall_ns >= _EARLIEST_NS and isinstance(after_us, int):
        document["time"] = _rfc3339(batch.wall_ns // 10**6 + after_us // 1000)
    document["severity"] = _text(row, "severity")
    document["datacontenttype"] = "application/json"
    document["data"] = {
        name: text
        for name in ("severity", "message", "model", "version", "stream")
        if (text := _text(row, name))
    } | {"details": _details(_text(row, "data"))}
    return document


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _details(text: str) -> object:
    try:
        return json.loads(text) if text else {}
    except ValueError:
        return text


def _rfc3339(wall_ms: int) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(wall_ms // 1000))
    return f"{whole}.{wall_ms % 1000:03d}Z"
