"""What was told to begin and not to end, beside drift and faults of the data: models that do worse or fail more often,
rules that fire, anomalies of devices."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from edgemon.typed import NamedTuple

MAX_STANDING = 20
_BEGIN = ("rule.fired", "anomaly.started", "performance.drop", "errors.started")
_END = ("rule.cleared", "anomaly.cleared", "performance.recovered", "errors.cleared")
# With an agent its rules begin anew, with a version that is let go ends what was wrong with it.
_END_OF_ALL = ("agent.started", "model.retired")


class Standing(NamedTuple):
    """One of them.

    severity: of its event.  since_ns: when the event was told.  message: for a person.
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
    types = ", ".join(f"'{name}'" for name in (*_BEGIN, *_END, *_END_OF_ALL))
    on: dict[tuple[object, ...], Standing] = {}
    for device, type_, severity, message, at, *key in query(
        "SELECT b.device, e.type, e.severity, e.message, e.time_ns, e.model, e.version, e.stream,"
        " CASE WHEN json_valid(e.data) THEN json_extract(e.data, '$.rule') END,"
        " CASE WHEN json_valid(e.data) THEN json_extract(e.data, '$.series') END"
        " FROM events AS e JOIN batches AS b ON b.id = e.batch"
        f" WHERE e.type IN ({types}) AND {where} ORDER BY e.time_ns",
        values,
    ):
        area = str(type_).partition(".")[0]
        this = (device, area, *key)
        if type_ == "agent.started":
            on = {which: one for which, one in on.items() if which[:2] != (device, "rule")}
        elif type_ == "model.retired":
            gone = (device, *key[:2])
            on = {
                which: one
                for which, one in on.items()
                if which[1] == "rule" or (which[0], *which[2:4]) != gone
            }
        elif type_ in _END:
            on.pop(this, None)
        else:
            said = _said(area, f"{key[0]} {key[1]}".strip(), str(message))
            on[this] = Standing(str(device), str(severity), said, int(at))
    return sorted(on.values(), key=lambda one: (one.severity != "alarm", -one.since_ns))


def _said(area: str, model: str, message: str) -> str:
    """Rules and anomalies say themselves whom they are about."""
    if area == "performance":
        return f"{model} does worse than before: {message}"
    return f"{model}: {message}" if area == "errors" else message
