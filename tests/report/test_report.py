"""`edgemon report`: what stands on the page is what is in the database, and a browser shows it and nothing else."""

from __future__ import annotations

import json
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from edgemon.cli import main
from edgemon.report.database import read
from edgemon.report.figures import Selection
from tests.report.database import ALARM, T0, Db, S
from tests.report.test_page import Tags
from tests.servers import wait_for

_EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\u202e\x1b[2J"


# -- figures


def test_rates_latencies_and_shares_are_those_of_the_windows(db: Db) -> None:
    one, two = db.batch("a"), db.batch("b")
    for minute in range(1, 11):
        db.window(one, 60 * minute)
        db.window(two, 60 * minute, n=1200)
        db.window(one, 60 * minute, "latency", n=100, p50=0.01, p95=0.02, p99=0.03)
        db.window(two, 60 * minute, "latency", n=300, p50=0.03, p95=0.06, p99=0.2)
        db.window(one, 60 * minute, "f:x", n=570, missing=20, nan=10, min=-1.0, mean=0.5, max=2.0)
    db.connection.commit()
    (model,) = read(db.path, Selection()).models
    assert (model.model, model.version, model.devices, model.predictions) == ("m", "1", 2, 18_000)
    # Windows of 60 s: 10 a second of one device, 20 of the other.
    assert {point.value for point in model.rate} == {30.0}
    assert {round(point.value or 0, 6) for point in model.p50} == {0.025}
    assert {point.value for point in model.p95} == {0.06}
    assert {point.value for point in model.p99} == {0.2}
    stream = next(stream for stream in model.streams if stream.name == "f:x")
    assert {point.value for point in stream.bad} == {30 / 600}
    assert (stream.low, stream.mean, stream.high) == (-1.0, 0.5, 2.0)
    assert (stream.missing, stream.nan) == (200, 100)


def test_the_threshold_is_that_of_full_windows_and_drift_is_over_when_it_is(db: Db) -> None:
    batch = db.batch()
    for minute, ks_n, d, h, drifted in (
        (1, 10, 0.9, 900, 0), (2, 100, 0.05, 50, 0), (3, 100, 0.3, 300, 1), (4, 100, 0.04, 40, 0),
    ):  # fmt: skip
        db.window(
            batch, 60 * minute, "f:x", d=d, ks_n=ks_n, ks_h=h, ks_threshold=110, drifted=drifted
        )
    db.connection.commit()
    ((stream,),) = (model.streams for model in read(db.path, Selection()).models)
    assert [point.value for point in stream.drift] == [None, 0.05, 0.3, 0.04]
    assert [point.value and round(point.value, 9) for point in stream.limit] == [
        None,
        0.11,
        0.11,
        0.11,
    ]
    assert len(stream.drifted_buckets) == 1
    assert not stream.drifted
    assert "drifted and is as before: x" in db.page()


def test_texts_are_counted_by_their_categories(db: Db) -> None:
    batch = db.batch()
    for minute in (1, 2):
        db.window(batch, 60 * minute, "f:kind", n=0, missing=10, categories='{"a": 60, "b": 30}')
    db.connection.commit()
    ((stream,),) = (model.streams for model in read(db.path, Selection()).models)
    assert (stream.n, stream.categories) == (180, {"a": 120, "b": 60})
    assert {point.value for point in stream.bad} == {0.1}
    page = db.page()
    assert "kind: shares of categories now" in page
    assert "10 % of kind is missing" in page


def test_whether_a_text_drifts_is_what_its_events_say(db: Db) -> None:
    batch = db.batch()
    db.window(batch, 60, "f:kind", n=0, categories='{"a": 5}')
    db.window(batch, 6000, "f:kind", n=0, categories='{"a": 5}')
    data = json.dumps({"by": "categories", "categories": {"a": [0.2, 0.9]}})
    db.event(batch, 500, "drift.started", "f:kind", data=data)
    assert "m 1 drifts</span>: kind (shares of categories moved)" in db.page()
    db.event(batch, 900, "drift.cleared", "f:kind", data=data)
    assert "m 1 drifted and is as before: kind" in db.page()


def test_rules_and_anomalies_stand_on_the_page_until_they_are_over(db: Db) -> None:
    one, two = db.batch("one", "event"), db.batch("two", "event")
    db.window(db.batch(), 1)
    for batch in (one, two):
        db.event(batch, 1, "agent.started", model="")
    slow, late = json.dumps({"rule": "slow"}), json.dumps({"rule": "late"})
    db.event(one, 60, "rule.fired", data=slow, message="slow: p99 is 3s", severity="warning")
    db.event(one, 61, "rule.fired", data=late, message="late: p99 is 4s")
    db.event(two, 62, "rule.fired", data=slow, message="slow: p99 is 5s", severity="warning")
    db.event(
        two, 63, "anomaly.started", "load_1m", model="", message="load_1m is 9", severity="warning"
    )
    db.event(two, 64, "anomaly.started", "net", model="", message="net is 7", severity="warning")
    page = db.page()
    listed = re.findall(r'<li>(one|two): <span class="bad">([^<]*)</span>', page)
    assert listed == [
        ("one", "late: p99 is 4s"), ("two", "net is 7"), ("two", "load_1m is 9"), ("two", "slow: p99 is 5s"),
        ("one", "slow: p99 is 3s"),
    ]  # fmt: skip
    db.event(one, 70, "rule.cleared", data=slow, severity="info")
    db.event(two, 71, "anomaly.cleared", "net", model="", severity="info")
    db.event(two, 72, "agent.started", model="")  # its rules begin anew
    page = db.page()
    listed = re.findall(r'<li>(one|two): <span class="bad">([^<]*)</span>', page)
    assert listed == [("one", "late: p99 is 4s"), ("two", "load_1m is 9")]


def test_faults_of_the_data_stand_on_the_page_until_they_are_over(db: Db) -> None:
    one, two = db.batch("cam-1"), db.batch("cam-2")
    for batch in (one, two):
        db.window(batch, 60)
        db.event(batch, 50, "quality.nan", "f:wing", data='{"kind": "nan"}')
        db.event(batch, 60, "quality.late", data='{"kind": "late"}')
        db.event(batch, 70, "quality.recovered", data='{"kind": "late"}')
    db.event(one, 80, "quality.recovered", "f:wing", data='{"kind": "nan"}')
    page = db.page()
    assert "m 1: wing nan</span>, since" in page and "late</span>" not in page
    db.event(two, 90, "quality.recovered", "f:wing", data='{"kind": "nan"}')
    page = db.page()
    assert "wing nan</span>" not in page
    assert "m 1 had faults of the data that are over: late, wing nan" in page
    db.event(one, 100, "quality.stuck", "f:wing", data='{"kind": "stuck"}')
    assert "wing stuck</span>" in db.page()
    db.event(one, 110, "model.retired")
    page = db.page()
    assert "wing stuck</span>" not in page and "over: late, wing nan, wing stuck" in page


def test_an_alarm_is_one_span_though_windows_are_longer_than_parts_of_the_time(db: Db) -> None:
    batch = db.batch()
    for at in range(0, 10_000, 500):
        drifted = int(2_000 <= at <= 6_000)
        db.window(batch, at, "f:x", d=0.1, ks_n=5, ks_h=1, ks_threshold=2, drifted=drifted)
    spans = re.findall(r'<rect class="alarm" x="[0-9.]+" y="10" width="([0-9.]+)"', db.page())
    assert len(spans) == 1
    assert 110 < float(spans[0]) < 130  # 4,000 of 9,500 s on an axis of 292


def test_what_stands_out_stands_first(db: Db) -> None:
    batch = db.batch()
    db.window(batch, 60, "f:wing", d=0.3, ks_n=100, ks_h=30, ks_threshold=11, drifted=1)
    db.event(batch, 50, "drift.started", "f:wing", data=ALARM)
    gap = {
        "stream": "0" * 32,
        "kind": "pred",
        "from_seq": 5,
        "to_seq": 8,
        "reason": "max_size",
        "rows": 44,
    }
    db.event(batch, 55, "gap", data=json.dumps(gap))
    db.batch(kind="pred", seq=4)
    page = db.page()
    head = page[: page.index('id="m0"')]
    assert "m 1 drifts</span>: wing (the distribution moved)" in head
    assert "3 batches missing" in head
    assert "4 batches lost" in head
    assert "max_size" in page
    calm = Db(Path(db.path).parent / "calm.db")
    calm.window(calm.batch(), 60)
    assert "No drift, no lost data, no alarm." in calm.page()


def test_both_curves_are_drawn_from_the_event(db: Db) -> None:
    batch = db.batch()
    db.window(batch, 60, "f:wing")
    db.event(batch, 50, "drift.started", "f:wing", data=ALARM)
    page = db.page()
    picture = page[page.index("wing at the alarm of 14 Nov 22:14:10") :]
    picture = picture[: picture.index("</figure>")]
    assert len(re.findall(r'<path class="[ab]" d="M[^"]*L[^"]*L[^"]*"', picture)) == 2
    assert 'class="mark"' in picture
    assert "60 % of the reference lie at or below, now 30 %" in picture


@pytest.mark.parametrize(
    "data",
    ["", "null", "[1]", '{"curves": 5}', '{"curves": {"x": [1, 2]}}', '{"curves": {"x": ["inf", null, 1e308]}}',
     '{"categories": {"a": 5, "b": [1], "c": ["x", 2]}}', '{"by": ["ks"], "D": "inf"}'],
)  # fmt: skip
def test_an_event_of_another_edgemon_breaks_nothing(db: Db, data: str) -> None:
    batch = db.batch()
    db.window(batch, 60, "f:x", d=0.5, ks_n=5, ks_h=1, ks_threshold=1, drifted=1, hist="[1, 2]")
    db.event(batch, 50, "drift.started", "f:x", data=data)
    assert "</html>" in db.page()


def test_a_choice_leaves_the_rest_out_and_a_misspelt_one_is_told(
    db: Db, capsys: pytest.CaptureFixture[str]
) -> None:
    db.window(db.batch("a"), 60, model="one")
    db.window(db.batch("b"), 3600, model="two")
    assert ">two 1</h2>" not in db.page(model="one")
    assert ">one 1</h2>" not in db.page(device="b")
    assert ">one 1</h2>" not in db.page(since_ns=T0 + 600 * S)
    for option, problem in (("--model", "no model tow there; there are: one, two"),
                            ("--device", "no device tow there; there are: a, b")):  # fmt: skip
        assert main(["report", db.path, "-o", "-", option, "tow"]) == 2
        assert problem in capsys.readouterr().err


def test_what_is_no_database_of_ours_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE t (x)").connection.close()
    text = tmp_path / "text.db"
    text.write_text("hello, this is no database at all" * 100)
    for path, code in ((other, 2), (text, 2), (tmp_path / "none.db", 2), (tmp_path, 2)):
        assert main(["report", str(path), "-o", str(tmp_path / "out.html")]) == code
        assert str(path) in capsys.readouterr().err
    assert not (tmp_path / "out.html").exists()


def test_an_empty_database_is_a_page_that_says_so(db: Db) -> None:
    assert "There is nothing in fleet.db yet" in db.page()


# -- the whole way


def test_from_the_spool_of_a_device_that_saw_a_drift(
    short_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (short_tmp / "edgemon.toml").write_text(
        '[agent]\nstate_dir = "state"\nrun_dir = "run"\n[ship]\nsink = "none"\n[models."*"]\nwindow = "1s"\n'
        "reference = { first = 1000 }\ndrift = { window = 200 }\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "edgemon", "agent"], cwd=short_tmp, stderr=subprocess.DEVNULL
    )
    try:
        wait_for((short_tmp / "run" / "ingest.sock").exists)
        draw = random.Random(1)
        lines = [
            json.dumps(
                {"model": "moths", "features": {"wing": draw.gauss(2.0 if i > 1500 else 0.0, 1.0)}}
            )
            for i in range(2500)
        ]
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20.0)
            client.connect(str(short_tmp / "run" / "ingest.sock"))
            client.sendall("\n".join(lines).encode() + b'\n{"ack":1,"level":"disk"}\n')
            assert b"disk" in client.recv(1000)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    out = short_tmp / "out.html"
    assert main(["report", str(short_tmp / "state" / "spool"), "--out", str(out)]) == 0
    page = out.read_text(encoding="utf-8")
    assert "moths drifts</span>: wing (the distribution moved" in page
    assert "wing at the alarm of" in page
    assert "2,500" in page
    assert Tags(page).open == []
    assert str(out) in capsys.readouterr().err


def test_a_damaged_batch_is_left_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "outbox"
    folder.mkdir()
    (folder / "1.zst").write_bytes(zstandard.compress(b"no batch"))
    assert main(["report", str(folder), "-o", str(tmp_path / "out.html")]) == 4
    assert "damaged batch" in capsys.readouterr().err


# -- how well models do


def truth_row(right: int, n: int) -> str:
    """Of two classes, "no" as often as "yes"; all wrong ones are "yes" that were taken for "no"."""
    counts = [[0, 0, n // 2], [1, 0, n - right], [1, 1, right - n // 2]]
    confusion = json.dumps({"classes": ["no", "yes", "(other)"], "counts": counts})
    return json.dumps(
        {"correct": right, "confusion": confusion, "brier_n": n, "brier_sum": 0.1 * n}
    )


def test_accuracy_is_that_of_all_windows_and_devices_together(db: Db) -> None:
    one, two = db.batch("a"), db.batch("b")
    estimated = json.dumps({"est_n": 600, "est_correct": 540.0, "errors": 6})
    for minute in range(1, 5):
        db.window(one, 60 * minute, extra=estimated)
        db.window(two, 60 * minute)
        db.window(one, 60 * minute, "truth", n=100, extra=truth_row(80, 100))
        db.window(two, 60 * minute, "truth", n=300, extra=truth_row(300, 300))
    db.event(one, 200, "performance.drop")
    db.connection.commit()
    (model,) = read(db.path, Selection()).models
    assert [stream.name for stream in model.streams] == []
    of = model.performance
    assert set(of.accuracy.values()) == {0.95} and set(of.estimate.values()) == {0.9}
    assert {round(share, 9) for share in of.errors.values()} == {round(6 / 1206, 9)}
    assert of.totals["classes"]["yes"] == {"n": 800, "precision": 1.0, "recall": 0.9}
    assert (of.totals["n"], of.totals["brier"]) == (1_600, pytest.approx(0.1))
    page = db.page()
    assert "1,600 predictions met their truth: 95.0 % right" in page
    assert "m 1 does worse than before: performance.drop of </span>" in page
    db.event(one, 230, "performance.recovered")
    db.event(two, 240, "errors.started", message="9 % failed")
    page = db.page()
    assert "does worse than before" not in page and "m 1: 9 % failed</span>" in page
    db.event(one, 250, "model.retired")  # on the other device
    assert "9 % failed</span>" in db.page()
    db.event(two, 250, "model.retired")
    assert "9 % failed</span>" not in db.page()


def test_errors_of_quantities_have_their_own_figures(db: Db) -> None:
    batch = db.batch()
    sums = json.dumps({"error_sum": -10.0, "abs_error_sum": 30.0, "sq_error_sum": 160.0})
    db.window(batch, 60, "truth", n=10, extra=sums)
    db.window(batch, 120, "truth", n=10, extra=sums)
    page = db.page()
    assert "20 predictions met their truth: MAE 3, RMSE 4, mean error -1" in page
    assert "Errors of predictions" in page


def test_a_class_cannot_say_html(db: Db) -> None:
    confusion = json.dumps({"classes": [_EVIL, "(other)"], "counts": [[0, 0, 5]]})
    extra = json.dumps({"correct": 5, "confusion": confusion})
    db.window(db.batch(), 60, "truth", n=5, extra=extra)
    assert "<script" not in db.page() and "onerror=alert" in db.page()
