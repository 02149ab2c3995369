"""[system.anomalies]: rules per series, and what its keys must agree on."""

from __future__ import annotations

import pytest

from edgemon.config import SeriesRule, parse
from edgemon.config.describe import show
from tests.config.faults import faults

HEAD = "[system.anomalies]\n"


def test_rules_for_series_keep_their_order_and_say_what_is_different() -> None:
    text = (
        "[system.anomalies.series]\n"
        '"temperature_*" = { threshold = 5, min_duration = "30m" }\n'
        'cpu_percent = { method = "robust_z", min_effect = 0 }\n'
    )
    config = parse(text)
    assert config.system.anomalies.series == [
        SeriesRule("temperature_*", threshold=5.0, min_duration_s=1800.0),
        SeriesRule("cpu_percent", method="robust_z", min_effect=0.0),
    ]
    assert parse(show(config)).system == config.system


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("method = 'emwa'", 'method: is "emwa", must be "ewma",'),
        ("series = { a = { treshold = 5 } }", "series: has the unknown key treshold for a; did you"),
        ("series = { a = { threshold = 0 } }", "series: has for a a threshold that is 0, must be"),
        ("series = { a = 5 }", "series: has a = 5, must be a table of"),
        ("series = []", "series: is [], must be a table of"),
        ("include = [1]", "include: has 1, must be a list of at most 256 names of series"),
        ("window = '1h'", "window: window (1h) has 12 steps of 5m, must have 20 to 2016"),
        ("interval = '1s'", "interval: window (1d) has 8640 steps of 10s, must have 20 to 2016"),
        ("min_duration = '4h'", "min_duration: min_duration (4h) must be at most an eighth of window (1d)"),
        ("series = { a = { min_duration = '4h' } }", "series: min_duration (4h) must be at most"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(text: str, problem: str) -> None:
    assert faults(HEAD + text)[0].startswith(f"e.toml:2: system.anomalies.{problem}")


@pytest.mark.parametrize(
    "text",
    [
        "[system]\ninterval = '1h'",  # steps are as long as samples are apart
        "[system]\nenabled = false\n[system.anomalies]\nwindow = '1h'",
        "[system.anomalies]\nenabled = false\nwindow = '1h'",
        "[system.anomalies]\ninterval = '1m'\nwindow = '1d'",
    ],
)
def test_what_is_right_is_taken(text: str) -> None:
    assert faults(text) == []
