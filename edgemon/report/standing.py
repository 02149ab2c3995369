"""What was told to begin and not to end, beside drift and faults of the data: rules that fire, anomalies of devices."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from edgemon.typed import NamedTuple

MAX_STANDING = 20


class Standing(NamedTuple):
    """One of them.

    severity: of its event.  since_ns: when the event was told.  message: of the event, for a person.
    """

    device: str
    severity: str
    message: str
    since_ns: int


def read(
    query: Callable[..., sqlite3.Cursor], where: str, values: tuple[object, ...]
) -> list[Standing]:
    """Those that stand at the end, the gravest and then the latest first.

    where, values: a selection of events `e` in batches `b`.
    """
    on: dict[tuple[object, ...], Standing] = {}
    for device, type_, severity, message, at, *key in query(
        "SELECT b.device, e.type, e.severity, e.message, e.time_ns, e.model, e.version, e.stream,"
        " CASE WHEN json_valid(e.data) THEN json_extract(e.data, '$.rule') END,"
        " CASE WHEN json_valid(e.data) THEN json_extract(e.data, '$.series') END"
        " FROM events AS e JOIN batches AS b ON b.id = e.batch WHERE e.type IN"
        " ('rule.fired', 'rule.cleared', 'anomaly.started', 'anomaly.cleared', 'agent.started')"
        f" AND {where} ORDER BY e.time_ns",
        values,
    ):
        area, _, what = str(type_).partition(".")
        if area == "agent":  # it begins all rules anew
            on = {which: one for which, one in on.items() if which[:2] != (device, "rule")}
        elif what == "cleared":
            on.pop((device, area, *key), None)
        else:
            on[device, area, *key] = Standing(str(device), str(severity), str(message), int(at))
    return sorted(on.values(), key=lambda one: (one.severity != "alarm", -one.since_ns))
