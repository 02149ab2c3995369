"""The end of the demonstration: a short report, counted in the received database.

Of the application only what it alone can know is taken: which predictions it sent, when the lens got
dirty, how often the classifier was right. All that edgemon says comes from the other end of the line.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sqlite3
import sys
from typing import Any, NamedTuple

from edgemon.cli._terminal import human_bytes
from edgemon.demo.play import MODEL, Play
from edgemon.demo.stage import Stage
from edgemon.demo.watch import Snapshot, open_read_only
from edgemon.errors import StorageError

_LABEL = 12


class Alarm(NamedTuple):
    """A drift.started event as it was received. prediction: its number, from 1.  direction: "up" | "down" | "".
    why: what the detector that raised it saw."""

    prediction: int
    stream: str
    direction: str
    why: str


class Received(NamedTuple):
    """What the database holds. ids: of the predictions, as sent, each once.  rows: of predictions.
    bytes_by_kind, frames: on the wire.  gaps: batches that are neither here nor reported lost."""

    ids: frozenset[int]
    rows: int
    alarms: tuple[Alarm, ...]
    windows: int
    events: int
    frames: int
    frame_bytes: int
    prediction_bytes: int
    gaps: int
    reported_lost: int


class Report(NamedTuple):
    """Numbers of predictions count from 1. before: alarms that came while the lens was clean."""

    sent: int
    received: Received
    lost: int
    twice: int
    before: tuple[Alarm, ...]
    after: tuple[Alarm, ...]
    dirty_from: int
    right_clean: float
    right_at_alarm: float
    right_dirty: float
    away_s: float
    away_made: int
    away_stored: int
    sent_bytes: int
    agent_peak_bytes: int
    ship_peak_bytes: int

    @property
    def problems(self) -> list[str]:
        """Why the exit code is 1; empty when all is well. False alarms are reported, and no failure."""
        found = []
        if self.lost:
            found.append(f"{self.lost:,} predictions were lost")
        if self.twice:
            found.append(f"{self.twice:,} predictions were stored twice")
        if self.received.gaps or self.received.reported_lost:
            found.append("batches are missing")
        if not self.after:
            found.append("the drift was not seen")
        return found


def receive(database: str) -> Received:
    """Count. StorageError when the database cannot be read."""
    try:
        with open_read_only(database) as db:
            return _count(db)
    except sqlite3.Error as error:
        raise StorageError(f"{database}: {error}") from error


def _why(event: dict[str, Any]) -> str:
    by = event.get("by", "")
    if by == "ks":
        return f"D {event['D']:.2f}, alarm at {event['threshold_D']:.2f}"
    if by == "esr":
        return f"fast, within about {event['values_since_change']} values"
    if by == "categories":
        return f"TV {event['tv']:.2f} between the categories"
    return str(by)


def _count(db: sqlite3.Connection) -> Received:
    ids = [row[0] for row in db.execute(
        "SELECT prediction_id FROM predictions WHERE model = ?", (MODEL,)
    )]  # fmt: skip
    alarms = [
        Alarm(
            int(known.get("prediction", 0)),
            stream.removeprefix("f:"),
            str(known.get("direction", "")),
            _why(known),
        )
        for stream, data in db.execute(
            "SELECT stream, data FROM events WHERE type = 'drift.started' AND model = ?", (MODEL,)
        )
        for known in (json.loads(data or "{}"),)
    ]
    return Received(
        ids=frozenset(int(number) for number in ids if number is not None),
        rows=len(ids),
        alarms=tuple(sorted(alarms)),
        windows=_one(db, "SELECT count(*) FROM windows"),
        events=_one(db, "SELECT count(*) FROM events"),
        frames=_one(db, "SELECT count(*) FROM batches"),
        frame_bytes=_one(db, "SELECT coalesce(sum(frame_bytes), 0) FROM batches"),
        prediction_bytes=_one(
            db, "SELECT coalesce(sum(frame_bytes), 0) FROM batches WHERE kind = 'pred'"
        ),
        gaps=_one(db, "SELECT coalesce(sum(batches), 0) FROM gaps"),
        reported_lost=_one(db, "SELECT coalesce(sum(dropped), 0) FROM batches"),
    )


def _one(db: sqlite3.Connection, query: str) -> int:
    value: int = db.execute(query).fetchone()[0]
    return value


def make_report(play: Play, received: Received, last: Snapshot) -> Report:
    """play: what was sent.  last: for the memory, which no database knows."""
    expected = set(range(1, play.sent + 1))
    after = tuple(alarm for alarm in received.alarms if alarm.prediction >= play.dirty_from)
    alarm_at = after[0].prediction if after else play.sent
    away = range(play.away_from, play.away_to + 1) if play.away_from else range(0)
    return Report(
        sent=play.sent,
        received=received,
        lost=len(expected - received.ids),
        twice=received.rows - len(received.ids),
        before=tuple(alarm for alarm in received.alarms if alarm.prediction < play.dirty_from),
        after=after,
        dirty_from=play.dirty_from,
        right_clean=_share(play.correct[: play.dirty_from - 1]),
        right_at_alarm=_share(play.correct[play.dirty_from - 1 : alarm_at]),
        right_dirty=_share(play.correct[play.dirty_from - 1 + play.plan.growth :]),
        away_s=play.away_s,
        away_made=len(away),
        away_stored=sum(number in received.ids for number in away),
        sent_bytes=play.sent_bytes,
        agent_peak_bytes=last.agent_peak_bytes,
        ship_peak_bytes=last.ship_peak_bytes,
    )


def render(report: Report, broker: str, stage: Stage) -> str:
    """The report as text, at most 80 columns wide where paths allow."""
    received = report.received
    stored = len(received.ids)
    lines = [
        "What arrived, counted in the receiver's database",
        _line("predictions", f"{report.sent:,} sent, {stored:,} stored, {report.lost:,} lost, {report.twice:,} twice"),
        _line("clean lens", f"{report.dirty_from - 1:,} predictions, false alarms: {_false_alarms(report)}"),
        *_drift_lines(report),
        _line(
            "classifier",
            f"right for {report.right_clean:.1%} of the clean pictures, for {report.right_at_alarm:.1%} from the"
            " first",
        ),
        _line("", f"dirt to the alarm, and for {report.right_dirty:.1%} with a dirty lens"),
        _line(
            "outage",
            f"{broker} away for {report.away_s:.1f} s; {report.away_made:,} predictions made meanwhile,",
        ),
        _line(
            "",
            f"{report.away_stored:,} of them stored",
        ),
        *_wire_lines(report),
        _line(
            "memory",
            f"at most {human_bytes(report.agent_peak_bytes)} agent,"
            f" {human_bytes(report.ship_peak_bytes)} shipper",
        ),
        "",
    ]  # fmt: skip
    if report.problems:
        lines.append("NOT WELL: " + "; ".join(report.problems) + f". Logs are in {stage.folder}")
    else:
        lines.append("All arrived, each once, and the drift was seen.")
    return "\n".join([*lines, "", *_where_next(stage)])


def _line(label: str, text: str) -> str:
    return f"  {label:<{_LABEL}}{text}"


def _false_alarms(report: Report) -> str:
    if not report.before:
        return "0"
    named = ", ".join(f"{alarm.stream} at {alarm.prediction:,}" for alarm in report.before)
    return f"{len(report.before)} ({named})"


def _drift_lines(report: Report) -> list[str]:
    if not report.after:
        return [_line("drift", "NOT SEEN")]
    first = report.after[0]
    late = first.prediction - report.dirty_from + 1
    lines = [
        _line(
            "drift",
            f"raised at prediction {first.prediction:,}, {late:,} after the first dirt, by",
        )
    ]
    lines += [
        _line(
            "",
            f"  {alarm.stream:<12} {alarm.direction:<4} at {alarm.prediction:>6,}   {alarm.why}",
        )
        for alarm in report.after
    ]
    return lines


def _wire_lines(report: Report) -> list[str]:
    received, stored = report.received, max(1, len(report.received.ids))
    return [
        _line(
            "wire",
            f"{received.prediction_bytes / stored:.0f} bytes a prediction, raw rows kept;"
            f" {report.sent_bytes / max(1, report.sent):.0f} as JSON lines",
        ),
        _line(
            "",
            f"{received.frame_bytes / stored:.0f} with all {received.windows:,} windows and"
            f" {received.events:,} events, in {received.frames:,} batches",
        ),
    ]


def _where_next(stage: Stage) -> list[str]:
    """Commands that work when they are pasted, one after the other."""
    database, config = os.path.basename(stage.database), os.path.basename(stage.config)
    alarms = "SELECT message FROM events WHERE severity = 'alarm'"
    if shutil.which("sqlite3"):
        query = f'sqlite3 {database} "{alarms}"'
    else:
        code = (
            f'import sqlite3; print(*sqlite3.connect("{database}").execute("{alarms}"), sep="\\n")'
        )
        query = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"
    return [
        "Where to look next (remove the folder when you have seen it):",
        f"  cd {shlex.quote(stage.folder)}",
        f"  {_known_as_edgemon()}",
        f"  {query}",
        f"  edgemon profile show {MODEL}.profile",
        "  edgemon decode state/spool/3-pred/*.zst | head -3",
        f"  edgemon spool ls --config {config}",
        f"  edgemon run --config {config} &    # its broker is gone: it keeps all, and waits",
        f"  sleep 3; edgemon status --config {config}; kill %1",
    ]


def _known_as_edgemon() -> str:
    """What makes a shell find this very edgemon."""
    folder = os.path.dirname(sys.executable)
    if os.access(os.path.join(folder, "edgemon"), os.X_OK):
        return f"PATH={shlex.quote(folder)}:$PATH"
    return f"alias edgemon={shlex.quote(sys.executable + ' -m edgemon')}"


def _share(right: list[bool]) -> float:
    return sum(right) / len(right) if right else float("nan")
