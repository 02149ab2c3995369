"""The report is counted in the received database; what is missing there is lost."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgemon import receive
from edgemon.demo import report
from edgemon.demo.play import MODEL, Plan, Play
from edgemon.demo.stage import Stage
from edgemon.demo.watch import Snapshot, arrived
from edgemon.errors import StorageError

PLAN = Plan(rate=10, clean=40, dirty=30, away=20, back=10, growth=10)


class Database:
    """A received database, made by hand."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._db = sqlite3.connect(path)
        self._db.executescript((Path(receive.__file__).parent / "schema.sql").read_text())
        self._seq = {"pred": 0, "event": 0}

    def batch(self, kind: str, rows: int, *, seq: int | None = None, dropped: int = 0) -> int:
        self._seq[kind] = self._seq[kind] + 1 if seq is None else seq
        cursor = self._db.execute(
            "INSERT INTO batches (device, stream_id, kind, seq, fleet, boot, wall_ns, mono_ns, dropped, rows,"
            " frame_bytes, received_ns, resource) VALUES ('d', 's', ?, ?, 'f', 'b', 0, 0, ?, ?, ?, 0, '{}')",
            (kind, self._seq[kind], dropped, rows, 20 * rows),
        )
        self._db.commit()
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def predictions(self, first: int, last: int, *, seq: int | None = None) -> None:
        batch = self.batch("pred", last - first + 1, seq=seq)
        self._db.executemany(
            "INSERT INTO predictions (batch, row, time_ns, model, version, prediction_id) VALUES (?, ?, 0, ?, '1', ?)",
            [(batch, number, MODEL, str(number)) for number in range(first, last + 1)],
        )
        self._db.commit()

    def event(self, kind: str, stream: str = "", **data: object) -> None:
        batch = self.batch("event", 1)
        self._db.execute(
            "INSERT INTO events (batch, row, time_ns, type, severity, model, version, stream, message, data)"
            " VALUES (?, 0, ?, ?, 'alarm', ?, '1', ?, ? || ' drifted', ?)",
            (batch, batch, kind, MODEL, stream, stream, json.dumps(data)),
        )
        self._db.commit()

    def drift(self, stream: str, prediction: int) -> None:
        self.event(
            "drift.started",
            stream,
            prediction=prediction,
            direction="down",
            D=0.31,
            threshold_D=0.22,
            by="ks",
        )

    def report(self, play: Play) -> report.Report:
        return report.make_report(play, report.receive(self.path), Snapshot())


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "received.db")


@pytest.fixture
def play() -> Play:
    """100 predictions: dirt from number 41 on, the broker away for 71 to 90; half of the dirty ones wrong."""
    correct = [True] * 45 + [False, True] * 27 + [False]
    return Play(
        PLAN, sent=100, correct=correct, away_from=71, away_to=90, away_s=2.0, sent_bytes=20_000
    )


def test_all_received_and_drift_seen_is_no_problem(database: Database, play: Play) -> None:
    database.predictions(1, 60)
    database.predictions(61, 100)
    database.drift("f:contrast", 52)
    found = database.report(play)
    assert found.problems == []
    assert (found.sent, found.lost, found.twice) == (100, 0, 0)
    assert (found.away_made, found.away_stored) == (20, 20)
    assert [alarm.prediction for alarm in found.after] == [52]


def test_a_prediction_that_is_not_there_is_lost(database: Database, play: Play) -> None:
    database.predictions(1, 80)
    database.predictions(83, 100)
    database.drift("f:contrast", 52)
    found = database.report(play)
    assert found.lost == 2
    assert found.away_stored == 18
    assert found.problems == ["2 predictions were lost"]
    assert "NOT WELL: 2 predictions were lost" in report.render(found, "Mosquitto", Stage("/demo"))


def test_a_prediction_in_two_batches_is_stored_twice(database: Database, play: Play) -> None:
    database.predictions(1, 100)
    database.predictions(5, 7)
    database.drift("f:contrast", 52)
    assert database.report(play).problems == ["3 predictions were stored twice"]


def test_drift_that_was_not_raised_is_a_problem(database: Database, play: Play) -> None:
    database.predictions(1, 100)
    found = database.report(play)
    assert found.problems == ["the drift was not seen"]
    assert "NOT SEEN" in report.render(found, "Mosquitto", Stage("/demo"))


def test_an_alarm_before_the_dirt_is_a_false_one_and_does_not_count_as_seen(
    database: Database, play: Play
) -> None:
    database.predictions(1, 100)
    database.drift("f:contrast", 40)
    found = database.report(play)
    assert [alarm.prediction for alarm in found.before] == [40]
    assert found.problems == ["the drift was not seen"]
    assert "false alarms: 1 (contrast at 40)" in report.render(found, "Mosquitto", Stage("/demo"))


def test_a_false_alarm_beside_the_true_one_is_told_and_no_failure(
    database: Database, play: Play
) -> None:
    database.predictions(1, 100)
    database.drift("f:contrast", 12)
    database.drift("f:sharpness", 41)
    found = database.report(play)
    assert found.problems == []
    assert [alarm.stream for alarm in found.after] == ["sharpness"]


@pytest.mark.parametrize("missing_seq", [True, False])
def test_batches_that_are_missing_are_a_problem(
    database: Database, play: Play, missing_seq: bool
) -> None:
    database.predictions(1, 60)
    if missing_seq:
        database.predictions(61, 100, seq=3)
    else:
        database.predictions(61, 100)
        database.batch("pred", 0, dropped=4)
    database.drift("f:contrast", 52)
    assert database.report(play).problems == ["batches are missing"]


def test_accuracy_is_split_where_the_dirt_begins_and_where_it_is_full(
    database: Database, play: Play
) -> None:
    database.predictions(1, 100)
    database.drift("f:contrast", 45)
    found = database.report(play)
    assert found.right_clean == 1.0
    assert found.right_at_alarm == 1.0
    assert found.right_dirty == pytest.approx(0.5, abs=0.03)


def test_wire_bytes_are_those_of_all_frames_by_prediction(database: Database, play: Play) -> None:
    database.predictions(1, 100)
    database.drift("f:contrast", 45)
    text = report.render(database.report(play), "Mosquitto", Stage("/demo"))
    assert "20 bytes a prediction" in text
    assert "200 as JSON lines" in text


def test_without_a_database_the_report_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"none\.db"):
        report.receive(str(tmp_path / "none.db"))
    assert arrived(str(tmp_path / "none.db")) is None


def test_what_has_arrived_is_counted_while_it_comes(database: Database) -> None:
    database.predictions(1, 60)
    database.drift("f:contrast", 52)
    database.drift("f:contrast", 58)
    found = arrived(database.path)
    assert found is not None
    assert (found.predictions, found.batches, dict(found.alarms)) == (60, 3, {"contrast": 52})
    assert not found.ended
    database.event("agent.stopped")
    found = arrived(database.path)
    assert found is not None and found.ended


@pytest.mark.parametrize("program", ["sqlite3", None])
def test_the_query_that_the_report_proposes_works_when_pasted(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    play: Play,
    program: str | None,
) -> None:
    if program and not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    monkeypatch.setattr(shutil, "which", lambda _: program)
    database.predictions(1, 100)
    database.event("drift.started", "f:contrast", prediction=52)
    text = report.render(database.report(play), "Mosquitto", Stage(str(tmp_path)))
    command = next(line for line in text.splitlines() if "SELECT" in line)
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "contrast drifted" in done.stdout


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"by": "ks", "D": 0.24, "threshold_D": 0.23}, "D 0.24, alarm at 0.23"),
        (
            {"by": "esr", "D": 0.19, "threshold_D": 0.23, "values_since_change": 151},
            "fast, within about 151 values",
        ),
        ({"by": "categories", "tv": 0.29, "threshold": 1.5e9}, "TV 0.29 between the categories"),
        ({"by": "missing"}, "missing"),
    ],
)
def test_an_alarm_is_explained_by_the_detector_that_raised_it(
    database: Database, data: dict[str, Any], why: str
) -> None:
    database.event("drift.started", "f:a", prediction=7, **data)
    (alarm,) = report.receive(database.path).alarms
    assert alarm.why == why
