"""A configuration of edge-mlops-monitor becomes one of ours, and nothing of it is left out in silence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgemon.config import Config, parse
from edgemon.config.convert import _RULES, Conversion, convert
from edgemon.config.settings import FalseAlarms
from edgemon.errors import ConfigError

# The form, with every key of it.
FULL: dict[str, dict[str, Any]] = {
    "system": {"sampling_interval_seconds": 30, "max_memory_buffer_mb": 25},
    "model_logging": {"buffer_size": 500, "log_level": "CRITICAL"},
    "drift_detection": {
        "algorithm": "ks_test",
        "threshold": 0.05,
        "reference_data_path": "/data/reference_data.json",
        "check_frequency": 100,
    },
    "telemetry": {
        "upload_interval_seconds": 900,
        "max_batch_size": 120,
        "retry_base_delay_seconds": 2,
        "retry_max_delay_seconds": 120,
        "retry_max_attempts": 5,
    },
    "storage": {
        "type": "s3",
        "bucket": "edge-telemetry",
        "prefix": "/raspberry-pi/",
        "sqlite_path": "/data/buffer.db",
        "max_sqlite_size_mb": 200,
    },
}
NO_EQUAL = {
    "system.max_memory_buffer_mb",
    "model_logging.buffer_size",
    "drift_detection.reference_data_path",
    "drift_detection.check_frequency",
    "telemetry.retry_max_attempts",
    "storage.sqlite_path",
}


def made_of(document: object) -> tuple[Conversion, Config]:
    made = convert(document, "old.yaml", state_dir="/var/lib/edgemon", run_dir="/run/edgemon")
    return made, parse(made.text)


def test_every_key_of_the_form_is_converted_or_named() -> None:
    made, config = made_of(FULL)
    keys = {f"{section}.{name}" for section, table in FULL.items() for name in table}
    assert keys == set(_RULES)
    assert {one.key for one in made.no_equal} == NO_EQUAL
    assert set(made.converted) == keys - NO_EQUAL
    for key in NO_EQUAL:
        assert f"#   {key} = " in made.text
    assert config.system.interval_s == 30.0
    assert config.log.level == "error"
    assert config.drift.false_alarms == FalseAlarms(0.05, 1_000_000)
    assert config.batch.max_rows == 120
    assert (config.ship.initial_interval_s, config.ship.max_interval_s) == (2.0, 120.0)
    assert (config.ship.sink, config.s3.bucket) == ("s3", "edge-telemetry")
    assert (config.s3.prefix, config.s3.max_age_s) == ("raspberry-pi/", 900.0)
    assert config.spool.max_size_bytes == 200 << 20
    assert (config.agent.state_dir, config.agent.run_dir) == ("/var/lib/edgemon", "/run/edgemon")


def test_local_storage_becomes_a_folder_that_a_receiver_reads() -> None:
    made, config = made_of(FULL | {"storage": {"type": "sqlite", "max_sqlite_size_mb": 50}})
    assert (config.ship.sink, config.ship.folder_max_bytes) == ("file", 50 << 20)
    assert config.batch.max_age_s == 900.0
    assert "edgemon receive FOLDER --to sqlite:FILE" in made.text


def test_what_is_beyond_a_key_s_bounds_is_cut_and_said() -> None:
    made, config = made_of(
        {
            "system": {"sampling_interval_seconds": 0.25},
            "telemetry": {"upload_interval_seconds": 7200, "max_batch_size": 10**7},
            "storage": {"type": "s3", "bucket": "b-1", "max_sqlite_size_mb": 1},
        }
    )
    assert config.system.interval_s == 1.0
    assert config.batch.max_rows == 100_000
    assert config.spool.max_size_bytes == 4 << 20
    assert config.s3.max_age_s == 7200.0
    assert "was 0.25 s" in made.text
    assert "was 10000000" in made.text
    assert "was 1 MB" in made.text


def test_s3_without_a_bucket_keeps_all_on_the_device() -> None:
    made, config = made_of({"storage": {"type": "s3", "bucket": ""}})
    assert config.ship.sink == "none"
    assert "until s3.bucket is given" in made.text
    assert [one.key for one in made.no_equal] == ["storage.bucket"]


@pytest.mark.parametrize(
    ("telemetry", "first_s", "longest_s"),
    [
        ({"retry_base_delay_seconds": 30, "retry_max_delay_seconds": 5}, 30.0, 30.0),
        ({"retry_base_delay_seconds": 400}, 400.0, 400.0),  # beyond the default of the longest
        ({"retry_max_delay_seconds": 0.5}, 0.5, 0.5),  # below the default of the first
        ({"retry_base_delay_seconds": 10**6, "retry_max_delay_seconds": 10**7}, 3600.0, 86_400.0),
    ],
)
def test_the_longest_pause_is_never_below_the_first(
    telemetry: dict[str, float], first_s: float, longest_s: float
) -> None:
    _, config = made_of({"telemetry": telemetry})
    assert (config.ship.initial_interval_s, config.ship.max_interval_s) == (first_s, longest_s)


def test_unknown_keys_and_sections_are_named_and_cannot_write_toml() -> None:
    made, config = made_of(
        {"system": {"colour\n[ship]\nsink = 'file'": "red\x1b"}, "new\nsection": {"a": 1}, 7: None}
    )
    assert config.ship.sink == "mqtt"
    assert [one.why for one in made.no_equal] == ["edgemon does not know it"] * 3
    assert made.no_equal[1].key == "new\\nsection"
    made = convert(FULL, "old\n[ship]\udcff.yaml", state_dir="/s", run_dir="/r")
    parse(made.text)
    made.text.encode()


@pytest.mark.parametrize(
    ("document", "key", "problem"),
    [
        (None, "", "has none of the sections"),
        (["system"], "", "has none of the sections"),
        ({"models": {}}, "", "has none of the sections"),
        ({"system": [1]}, "system", "must be a section"),
        ({"system": {"sampling_interval_seconds": "10s"}}, "system.sampling_interval_seconds", "a number above 0"),
        ({"system": {"sampling_interval_seconds": True}}, "system.sampling_interval_seconds", "a number above 0"),
        ({"telemetry": {"max_batch_size": -1}}, "telemetry.max_batch_size", "a number above 0"),
        ({"storage": {"type": "gcs"}}, "storage.type", '"s3" or "sqlite"'),
        ({"drift_detection": {"threshold": 1.5}}, "drift_detection.threshold", "between 0 and 1"),
        ({"model_logging": {"log_level": 3}}, "model_logging.log_level", "DEBUG"),
    ],
)  # fmt: skip
def test_what_the_old_program_would_not_take_is_a_fault_at_its_key(
    document: object, key: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        made_of(document)
    assert caught.value.faults[0].key == key
    assert problem in str(caught.value)


_VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.floats(min_value=1e-9, max_value=1e11)
    | st.text(max_size=20)
    | st.lists(st.integers(), max_size=2)
    | st.sampled_from(["s3", "sqlite", "ks_test", "INFO", "bucket-1", 0.05, 10, 300])
)


@settings(max_examples=300)
@example({"telemetry.retry_base_delay_seconds": 301})
@example({"storage.sqlite_path": "\x1f"})
@given(st.dictionaries(st.sampled_from(sorted(_RULES)), _VALUES, min_size=1))
def test_any_values_give_a_configuration_that_passes_or_a_fault_that_names_the_key(
    flat: dict[str, object],
) -> None:
    document: dict[str, dict[str, object]] = {}
    for key, value in flat.items():
        section, _, name = key.partition(".")
        document.setdefault(section, {})[name] = value
    try:
        made = convert(document, "old.yaml", state_dir="/s", run_dir="/r")
    except ConfigError as error:
        assert {fault.key for fault in error.faults} <= set(flat)
        return
    parse(made.text)
    assert {*made.converted, *(one.key for one in made.no_equal)} == set(flat)
