"""What may leave the device, from a prediction to rows, aggregates and events."""

from __future__ import annotations

import json
import os
import random
import stat
from pathlib import Path

import pytest

from edgemon.agent.pipeline import Pipeline
from edgemon.agent.redact import KEY_FILE, Pseudonyms, load_pseudonyms
from edgemon.config import parse
from edgemon.drift.build import ProfileBuilder
from edgemon.drift.profile import Profile
from edgemon.errors import StorageError
from edgemon.metrics import Counters
from edgemon.records import Event, Label, Prediction, Row
from edgemon.spool.fs import OsFileSystem

SECOND = 10**9
WALL_S = 1_800_000_000.0
KEY = bytes(range(32))


class Device:
    def __init__(self, toml: str, profiles: dict[str, Profile] | None = None) -> None:
        self.counters = Counters()
        self.rows: list[tuple[str, Row]] = []
        self.events: list[Event] = []
        self.config = parse(toml, "/tmp/edgemon.toml")
        self.pipeline = Pipeline(
            self.config,
            profiles or {},
            self.counters,
            lambda kind, row, _: self.rows.append((kind, row)),
            lambda event, _: self.events.append(event),
            None,
            Pseudonyms(KEY),
        )

    def predict(self, features: dict[str, float | str | None], **fields: object) -> None:
        record = Prediction("m", "1", features, 0.5, None, "a-17", None)._replace(**fields)  # type: ignore[arg-type]
        self.pipeline.prediction(record, 100 * SECOND, WALL_S)

    def label(self) -> None:
        self.pipeline.label(Label("m", "1", "a-17", 1.0, None), 100 * SECOND, WALL_S)

    def of(self, kind: str) -> list[Row]:
        return [row for what, row in self.rows if what == kind]


def features_of(row: Row) -> set[str]:
    return {name[2:] for name in row if name.startswith("f:")}


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ("", {"age", "ip_a", "ip_b", "name"}),
        ('deny = ["name"]', {"age", "ip_a", "ip_b"}),
        ('deny = ["ip_*", "name"]', {"age"}),
        ('allow = ["a?e", "ip_*"]', {"age", "ip_a", "ip_b"}),
        ('allow = ["ip_*"]\ndeny = ["*_b"]', {"ip_a"}),
        ('allow = ["Age", "ag", "age2", "a.e"]', set()),
        ('deny = ["*"]', set()),
    ],
)
def test_only_features_that_may_leave_stand_in_rows(rules: str, left: set[str]) -> None:
    device = Device(f'[models."*"]\ncapture = "all"\n[models."*".redact]\n{rules}')
    device.predict({"age": 1.0, "ip_a": "1.2.3.4", "ip_b": "1.2.3.5", "name": "Ada"})
    [row] = device.of("pred")
    assert features_of(row) == left
    assert row["output"] == 0.5


def test_a_model_of_its_own_adds_to_the_rules_for_all() -> None:
    device = Device(
        '[models."*"]\ncapture = "all"\nredact = { deny = ["name"] }\n'
        "[models.m]\nredact = { output = false }\n"
    )
    device.predict({"name": "Ada", "age": 1.0})
    [row] = device.of("pred")
    assert (features_of(row), row["output"]) == ({"age"}, None)


def test_ids_leave_as_hashes_and_labels_still_find_their_predictions() -> None:
    device = Device('[models."*"]\ncapture = "all"\nredact = { hash_ids = true }\n')
    device.predict({})
    device.label()
    prediction, label = device.of("pred")
    assert prediction["id"] == label["id"] == Pseudonyms(KEY).of("a-17")
    assert "a-17" not in repr(device.rows)
    assert Pseudonyms(bytes(32)).of("a-17") != prediction["id"]


def test_no_single_value_of_a_denied_feature_leaves_in_an_aggregate() -> None:
    device = Device('[models."*"]\nredact = { deny = ["name", "age"] }\n')
    for number in range(10):
        device.predict({"name": "Ada Lovelace", "age": 30.0 + number, "size": float(number)})
    assert not any(
        "Ada" in json.dumps(row, default=repr) for row in device.pipeline.open_windows(101 * SECOND)
    )
    device.pipeline.close_all_windows(101 * SECOND)
    rows = {str(row["stream"]): row for row in device.of("agg")}
    assert (rows["f:size"]["min"], rows["f:size"]["max"]) == (0.0, 9.0)
    assert rows["f:age"]["mean"] == 34.5
    assert not {"min", "max", "sketch", "cats"} & {*rows["f:age"], *rows["f:name"]}
    assert "Ada" not in repr(rows)


@pytest.mark.parametrize("output", ["true", "false"])
def test_no_class_that_was_predicted_leaves_beside_its_truth(output: str) -> None:
    device = Device(f'[models."*"]\nredact = {{ output = {output} }}\n')
    device.predict({}, output="somebody")
    device.label()  # from now on predictions wait for their truth
    device.predict({}, output="Ada Lovelace", id="b-1")
    device.pipeline.label(Label("m", "1", "b-1", "somebody", None), 100 * SECOND, WALL_S)
    open_rows = device.pipeline.open_windows(101 * SECOND)
    device.pipeline.close_all_windows(101 * SECOND)
    [row] = [row for row in device.of("agg") if row["stream"] == "truth"]
    assert (row["n"], row["correct"]) == (1, 0)
    assert ("Ada" in repr(row)) == ("Ada" in repr(open_rows)) == (output == "true")


def test_an_alarm_of_a_denied_feature_says_so_without_its_values() -> None:
    chance = random.Random(1)
    builder = ProfileBuilder("m")
    for _ in range(4_000):
        builder.text("f:name", chance.choice(("Ada", "Bob")))
        builder.row_done()
    toml = (
        '[drift]\nwindow = 200\n[models."*"]\ncapture = "none"\nrecorder = 10\n'
        'redact = { deny = ["name"], hash_ids = true }\n'
    )
    device = Device(toml)
    settings = device.config.models["*"]._replace(profile="/tmp/m.profile")
    device.pipeline.reconfigure(
        device.config._replace(models={"*": settings}),
        {"/tmp/m.profile": builder.finish()},
        0,
        Pseudonyms(KEY),
    )
    for number in range(2_000):
        device.predict({"name": "Charles" if number > 1_000 else chance.choice(("Ada", "Bob"))})
    [alarm] = [event for event in device.events if event.severity == "alarm"]
    assert (alarm.type, alarm.stream) == ("drift.started", "f:name")
    assert alarm.data is not None
    assert alarm.data["values_since_change"] == 10
    assert not {"Ada", "Bob", "Charles"} & {
        word.strip("'\",:{}") for word in repr(device.events).split()
    }
    recorded = device.of("pred")
    assert len(recorded) == 20
    assert {(row["why"], row["id"]) for row in recorded} == {("alarm", Pseudonyms(KEY).of("a-17"))}
    assert all(features_of(row) == set() for row in recorded)


def test_stricter_rules_after_a_reload_hold_for_rows_that_wait() -> None:
    toml = '[models."*"]\ncapture = { reservoir = 10 }\n'
    device = Device(toml)
    for _ in range(5):
        device.predict({"name": "Ada"})
    strict = parse(toml + 'redact = { deny = ["name"] }\n', "/tmp/edgemon.toml")
    device.pipeline.reconfigure(strict, {}, 101 * SECOND)
    device.predict({"name": "Ada"})
    device.pipeline.close_all_windows(102 * SECOND)
    assert [features_of(row) for row in device.of("pred")] == [set()]
    assert device.counters.get("edgemon_capture_forgotten_rows_total", reason="redact") == 5


def test_rows_that_wait_leave_when_only_the_policy_changes() -> None:
    device = Device('[models."*"]\ncapture = { reservoir = 10 }\n')
    for _ in range(5):
        device.predict({})
    device.pipeline.reconfigure(parse('[models."*"]\ncapture = "all"\n'), {}, 101 * SECOND)
    device.predict({})
    assert len(device.of("pred")) == 6


# --- the key ---------------------------------------------------------------------------------


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    toml = f'[agent]\nstate_dir = "{tmp_path}"\n[models.m.redact]\nhash_ids = true\n'
    before = os.umask(0)
    try:
        first = load_pseudonyms(parse(toml), OsFileSystem())
    finally:
        os.umask(before)
    again = load_pseudonyms(parse(toml), OsFileSystem())
    assert first is not None
    assert again is not None
    assert first.of("x") == again.of("x")
    path = tmp_path / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_bytes()) == 32
    assert os.listdir(tmp_path) == [KEY_FILE]


def test_no_key_is_made_where_nobody_wants_one(tmp_path: Path) -> None:
    toml = f'[agent]\nstate_dir = "{tmp_path}"\n'
    assert load_pseudonyms(parse(toml), OsFileSystem()) is None
    assert os.listdir(tmp_path) == []


def test_a_damaged_key_is_refused_rather_than_replaced(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(b"short")
    toml = f'[agent]\nstate_dir = "{tmp_path}"\n[models.m.redact]\nhash_ids = true\n'
    with pytest.raises(
        StorageError, match=r"ids.key: the key .* has 5 bytes and not 32; restore it"
    ):
        load_pseudonyms(parse(toml), OsFileSystem())


def test_a_key_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).mkdir()
    toml = f'[agent]\nstate_dir = "{tmp_path}"\n[models.m.redact]\nhash_ids = true\n'
    with pytest.raises(StorageError, match="the key for hash_ids"):
        load_pseudonyms(parse(toml), OsFileSystem())
