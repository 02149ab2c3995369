"""What `edgemon status` says, from both processes' answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from edgemon.cli import main
from edgemon.cli.status import render

AGENT: dict[str, Any] = {
    "version": "0.1.0",
    "pid": 42,
    "device": "trap-7",
    "fleet": "north",
    "uptime_s": 3_700.0,
    "rss_bytes": 15 << 20,
    "config": {"file": "edgemon.toml", "hash": "0123456789abcdef", "last_reload": ""},
    "ingest": {"socket": "/run/edgemon/ingest.sock", "predictions": 12_345, "rate_per_s": 3.5, "clients": [{}]},
    "models": [
        {"model": "moths", "version": "3", "predictions": 12_345, "rate_per_s": 3.5, "streams": 5,
         "profile": "aabbccddeeff0011", "drifted": ["f:wing"]},
        {"model": "flies", "version": "", "predictions": 1, "rate_per_s": 0.0, "streams": 1, "profile": "",
         "drifted": []},
    ],
    "system": {"cpu_percent": 12.4, "memory_used_percent": 40.2, "temperature_cpu_celsius": 51.0},
    "spool": {"bytes": 1 << 20, "max_bytes": 64 << 20, "waiting_batches": 7, "waiting_rows": 900,
              "oldest_wall_s": 1_000.0, "failure": ""},
    "counters": {"edgemon_ingest_predictions_total": 12_345},
}  # fmt: skip
SHIP: dict[str, Any] = {
    "sink": "mqtt",
    "connected": False,
    "last_error": "broker:1883: connection refused",
    "next_attempt_s": 12.0,
    "shipped": {"event": {"batches": 3, "bytes": 900}, "pred": {"batches": 4, "bytes": 90_000}},
    "counters": {},
}


def unwrapped(text: str) -> str:
    """Every line of the status on a line of its own."""
    return re.sub(r"\n {4,}(?=\S)", " ", text)


def test_a_person_finds_every_answer() -> None:
    text = unwrapped(render(AGENT, SHIP, wall_s=1_060.0))
    assert "trap-7" in text
    assert "alive 1h" in text
    assert "12,345 predictions, 3.5/s" in text
    assert "7 batches (900 rows) wait" in text
    assert "oldest 1m" in text
    assert "1 MiB of 64 MiB used (2 %)" in text
    assert "NOT connected, 7 batches shipped; last error: broker:1883: connection refused" in text
    assert "next attempt in 12" in text
    assert "f:wing" in text
    assert "no profile" in text
    assert "cpu 12 %, memory 40 %, 51 °C" in text
    assert "Nothing was dropped." in text


def test_faults_of_the_data_are_named_and_no_fault_takes_no_line() -> None:
    faults = [{"kind": "out_of_range", "stream": "f:wing"}, {"kind": "silence", "stream": ""}]
    moths, flies = AGENT["models"]
    text = render(AGENT | {"models": [moths | {"quality": faults}, flies]}, SHIP, wall_s=0.0)
    assert "moths 3: f:wing out of range, silence" in text
    assert "faults of the data" not in render(AGENT, SHIP, wall_s=0.0)


def test_streams_that_no_detector_watches_are_named_with_the_reason() -> None:
    moths, flies = AGENT["models"]
    blind = {f"f:{n}": f"the reference has {n} values" for n in range(6)}
    models = [moths | {"untested": blind}, flies | {"untested": {}}]
    text = unwrapped(render(AGENT | {"models": models}, SHIP, wall_s=0.0))
    assert "  f:3 of moths 3 is not tested for drift: the reference has 3 values" in text
    assert "f:4" not in text and "… and 2 more streams of moths 3" in text
    assert "not tested" not in render(AGENT, SHIP, wall_s=0.0)


def test_clients_are_listed_with_process_and_user_the_busiest_first() -> None:
    clients = [
        {"pid": 100 + n, "uid": 1000, "events": n, "bytes": n << 20, "silent_s": 2.0, "resting": n == 9}
        for n in range(10)
    ]  # fmt: skip
    text = render(AGENT | {"ingest": AGENT["ingest"] | {"clients": clients}}, SHIP, wall_s=0.0)
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("client's pid"))
    assert lines[start + 1].split() == ["109", "1000", "9", "9", "MiB", "not", "read"]
    assert lines[start + 2].split() == ["108", "1000", "8", "8", "MiB", "2.0s"]
    assert lines[start + 9] == "… and 2 more clients"


def test_a_rule_about_a_model_that_never_came_is_said_to_wait_for_it() -> None:
    rule = {
        "rule": "far",
        "severity": "alarm",
        "pending": 0,
        "firing": 0,
        "instances": [],
        "last": {},
    }
    known = AGENT["models"][0]["model"]
    rules = [
        rule | {"model": "*"},
        rule | {"model": known[:2] + "*"},
        rule | {"model": "frauud", "rule": "near"},
    ]
    text = render(AGENT | {"rules": rules}, SHIP, wall_s=1_060.0)
    assert text.count("none of that name was seen") == 1
    assert "  near is about model frauud, and none of that name was seen" in text


def test_a_model_without_an_output_is_named() -> None:
    """Keys of another name are passed over: {"prediction": 0.9} is a prediction that has no output."""
    moths, flies = AGENT["models"]
    models = [moths | {"has_output": True}, flies | {"has_output": False}]
    text = unwrapped(render(AGENT | {"models": models}, SHIP, wall_s=1_060.0))
    assert '  no output came yet of flies; its key is "output"' in text
    assert "no output came" not in render(AGENT, SHIP, wall_s=1_060.0)


def test_a_reason_comes_with_what_can_be_done_about_it() -> None:
    dropped = {
        'edgemon_ingest_dropped_events_total{reason="too_many_features"}': 3,
        'edgemon_ingest_dropped_values_total{reason="ts_future"}': 3,
        'edgemon_truth_unmatched_labels_total{reason="no_prediction"}': 7,
    }
    text = render(AGENT | {"counters": dropped}, SHIP, wall_s=1_060.0)
    assert "  too_many_features: ingest.max_features allows more" in text
    assert "not milliseconds" in text and "truths whose id no prediction had" in text
    assert "max_streams" not in text


def test_what_was_dropped_is_listed_by_reason_and_nothing_else_is() -> None:
    dropped = {
        'edgemon_ingest_dropped_events_total{reason="malformed"}': 3,
        "edgemon_ingest_labels_total": 9,
    }
    text = render(AGENT | {"counters": dropped}, SHIP, wall_s=1_060.0)
    assert 'edgemon_ingest_dropped_events_total{reason="malformed"}' in text
    assert "labels" not in text
    assert "Nothing was dropped." not in text


def test_a_sick_disk_and_a_missing_shipper_stand_out() -> None:
    spool = AGENT["spool"] | {"failure": "ENOSPC: no space left on device"}
    text = render(AGENT | {"spool": spool}, None, wall_s=1_060.0)
    assert "UNHEALTHY (ENOSPC: no space left on device)" in text
    assert "shipper  not running" in text


def test_what_the_spool_lost_is_told_by_reason() -> None:
    lost = {"max_size": {"batches": 3, "rows": 3_000}, "damaged": {"batches": 1, "rows": 0}}
    text = unwrapped(
        render(AGENT | {"spool": AGENT["spool"] | {"lost": lost}}, None, wall_s=1_060.0)
    )
    assert "lost since the start: 3 batches (3,000 rows) max_size, 1 batch (0 rows) damaged" in text


def test_applications_that_wait_for_a_full_spool_stand_out() -> None:
    text = render(AGENT | {"spool": AGENT["spool"] | {"held_back": True}}, None, wall_s=1_060.0)
    assert "FULL, applications wait: 7 batches" in text


def test_before_the_first_prediction_it_says_how_to_send_one() -> None:
    assert "edgemon send --help" in render(AGENT | {"models": []}, SHIP, wall_s=1_060.0)


def test_a_configuration_that_was_refused_still_leads_to_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def request(path: str, *_: object) -> dict[str, Any]:
        asked.append(path)
        return AGENT if path.endswith("agent.sock") else SHIP

    monkeypatch.setattr("edgemon.control.request", request)
    file = tmp_path / "edgemon.toml"
    file.write_text('[agent]\nrun_dir = "here"\n[ship]\nmax_row = 5\n')
    assert main(["status", "--config", str(file)]) == 0
    assert asked == [f"{tmp_path}/here/agent.sock", f"{tmp_path}/here/ship.sock"]
    assert "ship.max_row: unknown key" in capsys.readouterr().err
    for unreadable in ("[agent]\nrun_dir = 5\n", "agent = 5\n", "[agent\n"):
        file.write_text(unreadable)
        assert main(["status", "--config", str(file)]) == 3


def test_an_event_of_a_refusal_is_not_itself_refused() -> None:
    told = {'edgemon_agent_events_total{reason="config.refused"}': 2}
    assert "Nothing was dropped." in render(AGENT | {"counters": told}, SHIP, wall_s=1_060.0)


PERFORMANCE: dict[str, Any] = {
    "drop": ["truth"],
    "truth": {
        "task": "classification", "window": {"n": 40, "accuracy": 0.5, "accuracy_se": 0.08, "classes": {}},
        "since_start": {"n": 1_200, "accuracy": 0.935, "accuracy_se": 0.007, "classes": {}, "brier": 0.08, "ece": 0.02},
        "reference_lacks": 0, "reference_rate": 0.05, "blind": "",
    },
    "estimate": {"n": 5_000, "accuracy": 0.901, "se": 0.006, "reference": 0.94},
    "failures": {"alarm": True, "rate": 0.1, "reference_lacks": 0, "blind": ""},
}  # fmt: skip


def test_how_well_a_model_does_is_said_alarms_first() -> None:
    first, second = AGENT["models"]
    text = render(
        AGENT | {"models": [first | {"performance": PERFORMANCE, "errors": 17}, second]}, SHIP, 0.0
    )
    (line,) = (line for line in unwrapped(text).splitlines() if line.startswith("  moths 3: "))
    assert line == (
        "  moths 3: WORSE than before, by truths; FAILS more often than before; accuracy 93.5 %, Brier 0.080, "
        "calibration error 0.020 of 1,200 predictions with their truth; accuracy 50.0 % of the latest 40; "
        "accuracy 90.1 % ± 0.6, estimated without truths (reference 94.0 %); 17 errors reported"
    )
    assert "performance" not in render(AGENT, SHIP, 0.0)


def test_a_reference_that_is_made_and_one_that_cannot_be_used_are_said() -> None:
    truth = PERFORMANCE["truth"] | {
        "window": {}, "since_start": {"n": 9, "mae": 1.5, "rmse": 2.0, "bias": 0.0}
    }  # fmt: skip
    for changed, words in (
        ({"reference_lacks": 991}, "the reference of its errors lacks 991 truths"),
        ({"blind": "errors depend"}, "not watched: errors depend"),
    ):
        model = AGENT["models"][0] | {"performance": {"drop": [], "truth": truth | changed}}
        text = render(AGENT | {"models": [model]}, SHIP, 0.0)
        assert "moths 3: MAE 1.5, RMSE 2 of 9 predictions with their truth; " + words in unwrapped(
            text
        )


def test_no_line_is_longer_than_a_terminal_is_wide() -> None:
    streams = [f"f:sensor_{n}" for n in range(30)]
    moths, flies = AGENT["models"]
    faults = [{"kind": "out_of_range", "stream": stream} for stream in streams]
    plugin = {
        "name": "soil", "kind": "collector", "state": "down", "series": 0, "restarts": 12, "timeouts": 3,
        "bad_lines": 4, "last_error": "ended with code 1: the sensor at /dev/ttyUSB0 does not answer since the start",
    }  # fmt: skip
    rule = {
        "rule": "drift.d > 0.2 for 5m", "severity": "alarm", "firing": 2, "pending": 0,
        "instances": [{"model": "moths", "version": "3", "stream": stream, "since_s": 5.0} for stream in streams[:2]],
        "last": {"duty": {"words": "failed 3 minutes ago: " + "the program is not there " * 4}},
    }  # fmt: skip
    remote = {
        "in_force": 12, "keys": [f"models.moths.capture_{n}" for n in range(8)], "trial_s": 60.0,
        "status": "applied", "revision": 12, "reason": "", "refused": None,
    }  # fmt: skip
    agent = AGENT | {
        "models": [moths | {"drifted": streams, "quality": faults}, flies], "plugins": [plugin],
        "rules": [rule], "remote": remote, "collectors": dict.fromkeys("abcdefghijklmnopqrstuvwxyz", 3),
        "config": AGENT["config"] | {"last_reload": "refused: /etc/edgemon/edgemon.toml:4: batch.max_row: unknown key"},
    }  # fmt: skip
    text = render(agent, SHIP | {"last_error": "the broker is away " * 8}, wall_s=1_060.0)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert "moths 3: " + ", ".join(streams) in unwrapped(text)
    assert "soil: ended with code 1: the sensor" in text
    assert "1 rule, 1 firing" in text
