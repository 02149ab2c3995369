"""What becomes of an event beside its row: the log."""

from __future__ import annotations

import pytest

from edgemon import log
from edgemon.agent.events import Events
from edgemon.metrics import Counters
from edgemon.records import Event, Row


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Event("drift.started", "alarm", "a drifted", "fraud", "1", "f:a"), "warning: a drifted model=fraud version=1"),
        (Event("drift.cleared", "info", "a is as before", "fraud", "", "f:a"), "info: a is as before model=fraud"),
        (Event("quality.repeated", "warning", "rows come twice", "fraud"), "warning: rows come twice model=fraud"),
        (Event("quality.recovered", "info", "repeated is as rare", "fraud"), "info: repeated is as rare model=fraud"),
        (Event("anomaly.started", "warning", "it is hot", stream="t"), "warning: it is hot"),
        (Event("performance.recovered", "info", "as well as before"), "info: as well as before"),
        (Event("profile.refused", "warning", "not taken", "fraud"), "warning: not taken model=fraud"),
        (Event("drift.blind", "warning", "a is not tested", "fraud"), "warning: a is not tested model=fraud"),
        (Event("model.started", "info", "model fraud began", "fraud"), ""),
        (Event("rule.fired", "alarm", "slow: p99 is 1s"), ""),  # the rule has "log" among its actions, or not
    ],
)  # fmt: skip
def test_the_log_has_alarms_and_faults_and_their_ends_once(
    event: Event, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[Row] = []
    log.configure("edgemon-agent")
    Events(Counters(), lambda _kind, row, _ns: rows.append(row)).emit(event, 0)
    assert [row["type"] for row in rows] == [event.type]
    assert capsys.readouterr().err == (f"edgemon-agent: {line}\n" if line else "")
