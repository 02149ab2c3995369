"""Faults of values and paths, word for word: what a key holds, and what it allows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgemon.config import parse
from edgemon.errors import ConfigError
from tests.config.faults import faults

# -- values


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("batch.max_rows", '"many"', 'is "many", must be a whole number from 1 to 100000'),
        ("batch.max_rows", "0", "is 0, must be a whole number from 1 to 100000"),
        ("batch.max_rows", "1.0", "is 1.0, must be a whole number from 1 to 100000"),
        ("batch.max_rows", "true", "is true, must be a whole number from 1 to 100000"),
        ("drift.min_effect", "1.5", "is 1.5, must be a number from 0 to 1"),
        ("drift.min_effect", "nan", "is nan, must be a number from 0 to 1"),
        ("drift.clear_ratio", "0", "is 0, must be a number above 0 and at most 1"),
        ("ingest.max_rate", "inf", "is inf, must be a number from 0 to 10000000"),
        (
            "system.enabled",
            '"yes"',
            'is "yes", must be true or false; did you mean true, without quotes?',
        ),
        ("system.enabled", "[]", "is [], must be true or false"),
        (
            "system.interval",
            "10",
            'is 10, must be a duration from "1s" to "1h"; did you mean "10s"?',
        ),
        ("system.interval", '"2h"', 'is "2h", must be a duration from "1s" to "1h"'),
        (
            "system.interval",
            '"5 minutes"',
            'is "5 minutes", must be a duration from "1s" to "1h"; did you mean "5m"?',
        ),
        ("system.interval", '"soon"', 'is "soon", must be a duration from "1s" to "1h"'),
        (
            "mqtt.keepalive",
            '"5500ms"',
            'is "5500ms", must be a duration in whole seconds from "5s" to "18h"',
        ),
        (
            "spool.max_size",
            "67108864",
            'is 67108864, must be a size from "64KiB" to "1TiB"; did you mean "64MiB"?',
        ),
        (
            "spool.max_size",
            '"64M"',
            'is "64M", must be a size from "64KiB" to "1TiB"; did you mean "64MiB"?',
        ),
        ("spool.max_size", '"1KiB"', 'is "1KiB", must be a size from "64KiB" to "1TiB"'),
        (
            "log.level",
            '"warn"',
            'is "warn", must be "debug", "info", "warning" or "error"; did you mean "warning"?',
        ),
        ("log.format", '"JSON"', 'is "JSON", must be "text" or "json"; did you mean "json"?'),
        ("log.format", '"xml"', 'is "xml", must be "text" or "json"'),
        ("mqtt.version", "5", 'is 5, must be "5" or "3.1.1"; did you mean "5"?'),
        (
            "ship.sink",
            '"kafka"',
            'is "kafka", must be "mqtt", "s3", "file", "plugin" or "none"',
        ),
        (
            "spool.when_full",
            '"drop_oldes"',
            'is "drop_oldes", must be "drop_oldest", "drop_newest" or "block"; did you mean '
            '"drop_oldest"?',
        ),
        (
            "agent.device",
            '"pi 4"',
            'is "pi 4", must be "auto" or 1 to 64 of the characters A-Z a-z 0-9 . _ -',
        ),
        ("agent.fleet", '""', 'is "", must be 1 to 64 of the characters A-Z a-z 0-9 . _ -'),
        ("agent.state_dir", '""', 'is "", must be a path'),
        (
            "ingest.mode",
            "660",
            'is 660, must be octal permissions in quotes, such as "0660"; did you mean "0660"?',
        ),
        (
            "ingest.mode",
            "0o660",
            'is 432, must be octal permissions in quotes, such as "0660"',
        ),
        (
            "ingest.mode",
            '"rw-"',
            'is "rw-", must be octal permissions in quotes, such as "0660"',
        ),
        (
            "ingest.allow_uids",
            "[0, -1]",
            "has -1, must be a list of at most 64 whole numbers from 0 to 4294967294",
        ),
        (
            "ingest.allow_uids",
            "1000",
            "is 1000, must be a list of at most 64 whole numbers from 0 to 4294967294",
        ),
        (
            "system.collectors",
            '["cpu", "cpus"]',
            'has "cpus", must be a list of any of "cpu", "memory", "disk", "network", "temperature", '
            '"throttle", "gpu", "power", "process", each once, or ["all"]; did you mean "cpu"?',
        ),
        (
            "system.collectors",
            '["cpu", "cpu"]',
            'has "cpu" twice, must be a list of any of "cpu", "memory", "disk", "network", '
            '"temperature", "throttle", "gpu", "power", "process", each once, or ["all"]',
        ),
        ("mqtt.port", "70000", "is 70000, must be a whole number from 1 to 65535"),
        (
            "mqtt.host",
            '"mqtt://broker:1883"',
            'is "mqtt://broker:1883", must be a host name or an address, without a scheme or port',
        ),
        (
            "mqtt.topic_prefix",
            '"a/#"',
            'is "a/#", must be 1 to 100 characters without + and #, not beginning or ending with /',
        ),
        ("log.level", '"' + "x" * 99 + '"', 'is "' + "x" * 58 + "…, must be"),
    ],
)
def test_a_value_that_is_not_allowed_says_what_is(key: str, value: str, problem: str) -> None:
    section, name = key.split(".")
    (fault,) = faults(f"[{section}]\n\n{name} = {value}\n")
    assert fault.startswith(f"e.toml:3: {key}: {problem}")
    if not problem.endswith("must be"):
        assert fault == f"e.toml:3: {key}: {problem}"


CAPTURE = (
    'must be "none", "all", { sample = P } with a probability P above 0 and at most 1, or '
    "{ reservoir = N } with N rows a window from 1 to 100000"
)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ('"al"', f'is "al", {CAPTURE}; did you mean "all"?'),
        ("0.01", f"is 0.01, {CAPTURE}"),
        ("{ sample = 0 }", f"has sample = 0, {CAPTURE}"),
        ("{ sample = true }", f"has sample = true, {CAPTURE}"),
        ("{}", f"is {{}}, {CAPTURE}"),
        ("{ reservoir = 0 }", f"has reservoir = 0, {CAPTURE}"),
        ("{ reservoir = 0.5 }", f"has reservoir = 0.5, {CAPTURE}"),
        (
            "{ reservoir = 9, sample = 1 }",
            f"is {{ reservoir = 9, sample = 1 }}, {CAPTURE}",
        ),
    ],
)
def test_a_capture_policy_that_is_not_one_is_a_fault(value: str, problem: str) -> None:
    assert faults(f"[models.a]\ncapture = {value}") == [f"e.toml:2: models.a.capture: {problem}"]


PATTERNS = (
    'must be a list of at most 256 names of features, 1 to 256 characters, "*" for any of them'
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('redact = "all"', 'redact: is "all", must be a table: [models.a.redact]'),
        ('redact = { denny = ["x"] }', 'redact.denny: unknown key; did you mean "deny"?'),
        ('redact = { deny = "ssn" }', f'redact.deny: is "ssn", {PATTERNS}'),
        ('redact = { deny = ["ssn", ""] }', f'redact.deny: has "", {PATTERNS}'),
        (
            'redact = { deny = ["f:ssn"] }',
            'redact.deny: has "f:ssn": "f:" is what streams begin with, name the feature; '
            'did you mean "ssn"?',
        ),
        (
            'redact = { hash_ids = "yes" }',
            'redact.hash_ids: is "yes", must be true or false; did you mean true, without quotes?',
        ),
        ("recorder = -1", "recorder: is -1, must be a whole number from 0 to 100000"),
        ('capture_size = "1GiB"', 'capture_size: is "1GiB", must be a size from "4KiB" to "16MiB"'),
    ],
)
def test_a_rule_of_redaction_that_is_none_is_a_fault(text: str, problem: str) -> None:
    assert faults(f"[models.a]\n{text}") == [f"e.toml:2: models.a.{problem}"]


BUDGET = "must be { at_most = P, per_predictions = N } or { at_most = P, per = SPAN }"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("0.01", f"is 0.01, {BUDGET}"),
        ("{ at_most = 0.01 }", f"lacks per_predictions or per, {BUDGET}"),
        ('{ per = "30d" }', f"lacks at_most, {BUDGET}"),
        (
            '{ at_most = 0.01, per = "30d", per_predictions = 1000 }',
            f"has per_predictions and per, which say the same, {BUDGET}",
        ),
        (
            "{ at_most = 0.01, per = 30 }",
            'has per = 30, must be a duration from "1m" to "3650d"',
        ),
        (
            "{ at_most = 0.01, per_predictions = 1000, x = 1 }",
            f"has the unknown key x, {BUDGET}",
        ),
        (
            "{ at_most = 0.9, per_predictions = 1000 }",
            "has at_most = 0.9, must be a number above 0 and at most 0.5",
        ),
        (
            "{ at_most = 0.1, per_predictions = 1 }",
            "has per_predictions = 1, must be a whole number from 1000 to 1000000000000",
        ),
    ],
)
def test_a_false_alarm_budget_that_is_not_one_is_a_fault(value: str, problem: str) -> None:
    assert faults(f"[drift]\nfalse_alarms = {value}") == [
        f"e.toml:2: drift.false_alarms: {problem}"
    ]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ('"some"', 'is "some", must be "none" or { first = N } with N from 100 to 1000000'),
        (
            "{ first = 5 }",
            'has first = 5, must be "none" or { first = N } with N from 100 to 1000000',
        ),
        (
            "{ last = 500 }",
            'is { last = 500 }, must be "none" or { first = N } with N from 100 to 1000000',
        ),
    ],
)
def test_a_reference_that_is_not_one_is_a_fault(value: str, problem: str) -> None:
    assert faults(f"[models.a]\nreference = {value}") == [
        f"e.toml:2: models.a.reference: {problem}"
    ]


def test_a_profile_and_a_reference_of_its_own_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "p").touch()
    text = "[models.a]\nprofile = 'p'\nreference = { first = 5000 }"
    with pytest.raises(ConfigError) as caught:
        parse(text, str(tmp_path / "e.toml"))
    (fault,) = caught.value.faults
    assert (fault.line, fault.key) == (3, "models.a.reference")


def test_a_reference_smaller_than_the_window_is_a_fault() -> None:
    (fault,) = faults("[models.a]\nreference = { first = 500 }")
    assert fault.startswith("e.toml:2: models.a.reference: the first 500 predictions are fewer")
    parse("[models.a]\nreference = { first = 500 }\ndrift = { window = 500 }")


def test_all_faults_of_a_models_drift_table_are_told_each_in_its_line() -> None:
    text = "[models.a.drift]\nwindow = 1\nmin_efect = 0.1\nfalse_alarms = {}\n"
    assert faults(text) == [
        "e.toml:2: models.a.drift.window: is 1, must be a whole number from 20 to 100000",
        'e.toml:3: models.a.drift.min_efect: unknown key; did you mean "min_effect"?',
        f"e.toml:4: models.a.drift.false_alarms: lacks at_most, {BUDGET}",
    ]
    assert faults("[models.a]\ndrift = 5") == [
        "e.toml:2: models.a.drift: is 5, must be a table: [models.a.drift]"
    ]


def test_a_fault_cannot_steer_the_terminal() -> None:
    (fault,) = faults('[log]\nlevel = "\\u001b[2J\\u009b2J\\u007f"')
    assert fault.startswith('e.toml:2: log.level: is "\\u001b[2J\\u009b2J\\u007f", must be')
    (fault,) = faults('[models."\\u009b2J"]')
    assert fault.isprintable()


def test_a_fault_inside_a_value_has_the_line_inside_the_value() -> None:
    assert faults("[ingest]\nallow_uids = [\n  1,\n  'x',\n]") == [
        'e.toml:4: ingest.allow_uids: has "x", must be a list of at most 64 whole numbers '
        "from 0 to 4294967294"
    ]


# -- paths


def test_a_profile_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    file = str(tmp_path / "e.toml")
    assert faults("[models.a]\nprofile = 'a.profile'", file) == [
        f'{file}:2: models.a.profile: there is no file "{tmp_path}/a.profile"'
    ]
    (tmp_path / "a.profile").touch()
    assert faults("[models.a]\nprofile = 'a.profile'", file) == []


def test_a_folder_in_place_of_a_file_is_a_fault_and_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    file = str(tmp_path / "e.toml")
    assert faults("[models.a]\nprofile = '.'\n[system]\ndisk_path = 'f'", file) == [
        f'{file}:2: models.a.profile: "{tmp_path}" is not a file',
        f'{file}:4: system.disk_path: "{tmp_path}/f" is not a folder',
    ]


@pytest.mark.parametrize("size", [107, 108])
def test_a_socket_path_has_at_most_107_bytes(size: int) -> None:
    path = "/run/" + "é" * ((size - 5) // 2) + "x" * ((size - 5) % 2)
    assert len(os.fsencode(path)) == size
    expected = f"e.toml:2: ingest.socket: the path has {size} bytes, must be at most 107, "
    expected += "which is what the kernel allows"
    assert faults(f"[ingest]\nsocket = '{path}'") == ([expected] if size > 107 else [])


def test_a_run_folder_too_long_for_sockets_is_one_fault_of_its_own() -> None:
    run_dir = "/" + "r" * 96
    assert faults(f"[agent]\nrun_dir = '{run_dir[:-2]}'") == []
    assert faults(f"[agent]\nrun_dir = '{run_dir}'") == [
        "e.toml:2: agent.run_dir: a socket in it has a path of 109 bytes, must be at most 107, "
        "which is what the kernel allows; choose a shorter folder"
    ]
