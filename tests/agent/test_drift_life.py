"""The life of a model's detectors in the agent: references made here, adoption, restarts, rates."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from edgemon.agent.checkpoint import Saved, decode, encode
from edgemon.agent.pipeline import Pipeline
from edgemon.agent.store import (
    FAILED,
    MAX_PROFILES_OF_A_MODEL,
    REMOVED,
    StateStore,
    profile_name,
)
from edgemon.config import Config, parse
from edgemon.drift.build import ProfileBuilder
from edgemon.drift.profile import Profile
from edgemon.errors import DamagedError, EdgemonError, UnsupportedError, UsageError
from edgemon.metrics import Counters
from edgemon.records import Event, Prediction, Row
from tests.spool.memory_fs import MemoryFileSystem

SECOND = 10**9
DRIFT = "[drift]\nwindow = 100\nmin_effect = 0.0\n"
FIRST = DRIFT + '[models."*"]\ncapture = "none"\nreference = { first = 1000 }\n'


class Device:
    """A pipeline over a disk that outlives it. Writes happen at once."""

    def __init__(self, toml: str, profiles: dict[str, Profile] | None = None) -> None:
        self.disk = MemoryFileSystem()
        self.disk.make_dir("/state")
        self.toml = toml
        self.profiles = profiles or {}
        self.now_s = 100.0
        self.start()

    def start(self) -> None:
        """A new agent on the same disk."""
        self.events: list[Event] = []
        self.rows: list[Row] = []
        self.counters = Counters()
        store = StateStore(self.disk, "/state", self.counters, self.counters, self.write)
        store.load_checkpoint()
        config: Config = parse(self.toml, "/tmp/edgemon.toml")
        if self.profiles:
            settings = config.models["*"]._replace(profile=next(iter(self.profiles)))
            config = config._replace(models={"*": settings})
        self.pipeline = Pipeline(
            config,
            self.profiles,
            self.counters,
            lambda _kind, row, _mono: self.rows.append(row),
            lambda event, _mono: self.events.append(event),
            store,
        )

    @staticmethod
    def write(job: Any, _size: int) -> bool:
        job()
        return True

    def restart(self) -> None:
        self.pipeline.save()
        self.start()

    def predict(self, output: object, version: str = "1", **features: float | str | None) -> None:
        record = Prediction("m", version, dict(features), output, None, None, None)  # type: ignore[arg-type]
        self.now_s += 0.01
        self.pipeline.prediction(record, round(self.now_s * SECOND), 1.8e9)

    def run(self, chance: random.Random, predictions: int, shift: float = 0.0) -> None:
        for _ in range(predictions):
            self.predict(chance.gauss(shift, 1.0), a=chance.gauss(0.0, 1.0), c=chance.choice("xyz"))

    def data(self, index: int) -> dict[str, Any]:
        """Of an event."""
        return self.events[index].data or {}

    def types(self) -> list[str]:
        return [event.type for event in self.events]


def profile_of(seed: int, rows: int = 2_000) -> Profile:
    chance = random.Random(seed)
    builder = ProfileBuilder("m")
    for _ in range(rows):
        builder.number("output", chance.gauss(0.0, 1.0))
        builder.number("f:a", chance.gauss(0.0, 1.0))
        builder.text("f:c", chance.choice("xyz"))
        builder.row_done()
    return builder.finish()


# -- a reference from the first predictions


def test_the_first_predictions_become_the_profile_and_then_drift_begins() -> None:
    device, chance = Device(FIRST), random.Random(1)
    device.run(chance, 1_010)
    assert device.types() == ["model.started", "profile.built"]
    assert device.data(1)["rows"] == 1_000
    assert device.data(1)["streams"] == ["output", "f:a", "f:c"]
    device.run(chance, 1_000)
    assert "drift.started" not in device.types()
    device.run(chance, 1_000, shift=3.0)
    assert device.types()[2:] == ["drift.started"]
    started = device.events[2]
    assert (started.stream, device.data(2)["profile"]) == ("output", device.data(1)["profile"])
    # Since when, in predictions of the model: it was number 2,011.
    assert abs(device.data(2)["since_prediction"] - 2_011) < 20
    assert json.loads(json.dumps(started.data, allow_nan=False)) == started.data


def test_a_stream_that_came_too_rarely_is_not_tested_and_the_others_are() -> None:
    """One feature that is seldom there kept the whole model from being tested, for ever."""
    device, chance = Device(FIRST), random.Random(1)

    def run(predictions: int, shift: float = 0.0) -> None:
        for index in range(predictions):
            rare: dict[str, Any] = {"rare": chance.random()} if index % 20 == 0 else {}
            device.predict(chance.gauss(shift, 1.0), a=chance.gauss(0.0, 1.0), **rare)

    run(1_010)
    assert device.types() == ["model.started", "profile.built", "drift.blind"]
    blind = device.events[2]
    assert (blind.severity, blind.stream) == ("warning", "f:rare")
    assert (
        "f:rare is not tested for drift: the reference is smaller than the window" in blind.message
    )
    device.restart()
    run(1_000)
    assert device.types() == ["model.started"]
    run(300, shift=3.0)
    assert [(one.type, one.stream) for one in device.events[1:]] == [("drift.started", "output")]


def test_the_profile_made_here_is_there_after_a_restart() -> None:
    device, chance = Device(FIRST), random.Random(1)
    device.run(chance, 1_010)
    device.start()
    device.run(chance, 10)
    assert device.types() == ["model.started"]
    assert device.data(0)["profile"] != ""
    assert device.disk.listdir("/state/profiles") == ["m-1.profile"]


def test_each_version_makes_its_own() -> None:
    device, chance = Device(FIRST), random.Random(1)
    device.run(chance, 1_010)
    device.predict(0.5, version="2")
    assert device.pipeline.find("m", "2").baseline is not None


def test_a_damaged_profile_made_here_is_told_counted_and_made_anew() -> None:
    device, chance = Device(FIRST), random.Random(1)
    device.run(chance, 1_010)
    file = device.disk.open("/state/profiles/m-1.profile")
    file.write_at(100, b"damage")
    device.start()
    device.predict(0.5)
    assert device.pipeline.find("m", "1").baseline is not None
    assert device.counters.get(FAILED, reason="read") == 1


def test_a_checkpoint_has_no_more_than_it_may_and_keeps_the_models_seen_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device, counters = Device(FIRST), Counters()
    store = StateStore(device.disk, "/state", counters, Counters(), device.write)
    states = [Saved(name, "1", "", random.Random(name).randbytes(400)) for name in "abc"]
    monkeypatch.setattr("edgemon.agent.checkpoint.MAX_BODY_BYTES", 1_200)
    store.save_checkpoint(states, 64)
    assert counters.get(FAILED, reason="too_large") == 1
    again = StateStore(device.disk, "/state", counters, Counters(), device.write)
    again.load_checkpoint()
    assert again.take("a", "1") is None
    assert [again.take(name, "1") for name in "bc"] == states[1:]
    again.save_past(b"p" * 1_201)
    assert counters.get(FAILED, reason="too_large") == 2
    assert device.disk.listdir("/state") == ["checkpoint"]
    assert counters.get(FAILED, reason="read") == 0


def test_profiles_made_here_are_bounded_in_number() -> None:
    device = Device(FIRST)
    store = StateStore(device.disk, "/state", Counters(), Counters(), device.write)
    for version in range(30):
        store.save_profile("m", f"{version:02}", "", b"x")
        store.save_profile("m-n", f"{version:02}", "", b"x")
    names = device.disk.listdir("/state/profiles")
    assert len([name for name in names if name.startswith("m-n-")]) == MAX_PROFILES_OF_A_MODEL
    assert len(names) == 2 * MAX_PROFILES_OF_A_MODEL
    assert "m-29.profile" in names


def test_profiles_of_all_models_are_bounded_and_the_one_that_nobody_uses_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgemon.agent.store.MAX_PROFILES", 5)
    device, counters = Device(FIRST), Counters()
    before = StateStore(device.disk, "/state", Counters(), Counters(), device.write)
    for model in "abcde":
        before.save_profile(model, "1", "", profile_of(1, 100).to_bytes())
    store = StateStore(device.disk, "/state", Counters(), counters, device.write)
    assert store.profile("a", "1", "", 100) is not None
    store.save_profile("f", "1", "", b"x")
    store.save_profile("g", "1", "", b"x")
    assert device.disk.listdir("/state/profiles") == [f"{m}-1.profile" for m in "adefg"]
    for model in "hij":  # now one that was used, longest ago
        store.save_profile(model, "1", "", b"x")
    assert device.disk.listdir("/state/profiles") == [f"{m}-1.profile" for m in "fghij"]
    assert counters.get(REMOVED, reason="too_many") == 5


def test_profiles_of_all_models_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgemon.agent.store.MAX_PROFILES_BYTES", 1_000)
    device = Device(FIRST)
    store = StateStore(device.disk, "/state", Counters(), Counters(), device.write)
    for model in "abc":
        store.save_profile(model, "1", "", bytes(400))
    assert device.disk.listdir("/state/profiles") == ["b-1.profile", "c-1.profile"]
    store.save_profile("d", "1", "", bytes(2_000))  # alone it is over the bound, and new
    assert device.disk.listdir("/state/profiles") == ["d-1.profile"]


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a-b", "c", ""), ("a", "b-c", "")), (("a", "b", "01"), ("a", "b", "")), (("a/b", "", ""), ("a%2fb", "", ""))],
)  # fmt: skip
def test_names_of_profiles_differ(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert profile_name(*one) != profile_name(*other)
    assert "/" not in profile_name(*one)


def test_a_name_of_any_length_makes_a_short_one() -> None:
    names = {profile_name("m" * 128, "v" * length, "0" * 16) for length in (100, 4_000)}
    assert len(names) == 2
    assert all(len(name) < 250 for name in names)


# -- adoption


def configured() -> Device:
    return Device(DRIFT + '[models."*"]\ncapture = "none"\n', {"/tmp/m.profile": profile_of(5)})


def test_adopting_takes_the_next_predictions_as_what_is_normal() -> None:
    device, chance = configured(), random.Random(2)
    device.run(chance, 400)
    device.run(chance, 300, shift=3.0)
    assert device.types() == ["model.started", "drift.started"]
    before = device.data(0)["profile"]
    device.pipeline.references.adopt("m", None, 1_000)
    device.run(chance, 1_010, shift=3.0)
    assert device.types()[2:] == ["profile.adopted"]
    assert device.data(2)["was"] == before
    device.run(chance, 1_000, shift=3.0)
    assert device.types()[3:] == []
    # It is kept, and goes before what is configured.
    device.start()
    device.predict(0.5)
    assert device.data(0)["profile"] != before


def test_another_configured_profile_ends_what_was_adopted() -> None:
    device, chance = configured(), random.Random(2)
    device.run(chance, 10)
    device.pipeline.references.adopt("m", None, 1_000)
    device.run(chance, 1_010)
    other = profile_of(6)
    device.profiles = {"/tmp/m.profile": other}
    device.start()
    device.predict(0.5)
    assert device.data(0)["profile"] == other.hash


def test_a_given_profile_is_adopted_at_once() -> None:
    device, chance = configured(), random.Random(2)
    device.run(chance, 10)
    other = profile_of(7)
    device.pipeline.references.adopt_profile(
        "m", None, other.to_bytes(), "other.profile", 200 * SECOND
    )
    assert device.events[-1].type == "profile.adopted"
    model = device.pipeline.find("m", None)
    assert model.profile is not None and model.profile.hash == other.hash
    with pytest.raises(DamagedError, match=r"^x\.profile: not a profile"):
        device.pipeline.references.adopt_profile("m", None, b"none", "x.profile", 200 * SECOND)
    blind = profile_of(8, rows=30)
    with pytest.raises(EdgemonError, match="smaller than the window"):
        device.pipeline.references.adopt_profile(
            "m", None, blind.to_bytes(), "x.profile", 200 * SECOND
        )
    builder = ProfileBuilder("m")
    for row in range(2_000):
        builder.number("output", random.Random(row).random())
        if row < 30:
            builder.number("f:rare", float(row))
        builder.row_done()
    with pytest.raises(EdgemonError, match="f:rare: the reference is smaller than the window"):
        device.pipeline.references.adopt_profile(
            "m", None, builder.finish().to_bytes(), "x.profile", 200 * SECOND
        )
    assert model.profile.hash == other.hash


def test_adopting_fewer_predictions_than_a_window_is_refused() -> None:
    device = configured()
    device.predict(0.5)
    with pytest.raises(UsageError, match="fewer than a window of drift, 100"):
        device.pipeline.references.adopt("m", None, 99)


def test_a_reload_with_the_same_settings_keeps_what_was_adopted() -> None:
    device, chance = configured(), random.Random(2)
    device.run(chance, 10)
    device.pipeline.references.adopt("m", None, 1_000)
    device.run(chance, 1_010)
    model = device.pipeline.find("m", None)
    device.pipeline.reconfigure(device.pipeline._config, device.profiles, 300 * SECOND)
    assert device.pipeline.find("m", None) is model


# -- restarts


def test_a_restart_through_the_checkpoint_changes_no_alarm() -> None:
    """The same stream with and without restarts, in the middle of windows and of a latched alarm."""

    def life(restarts: tuple[int, ...]) -> list[tuple[int, str, str, str]]:
        device, chance = configured(), random.Random(3)
        found = []
        for step in range(60):
            shift = 1.0 if 20 <= step < 30 or step >= 50 else 0.0
            missing = 40 <= step < 42
            for i in range(47):
                before = len(device.events)
                value = None if missing and i % 3 == 0 else chance.gauss(0.0, 1.0)
                text = "new" if step in (14, 15) else chance.choice("xyz")
                device.predict(chance.gauss(shift, 1.0), a=value, c=text)
                for event in device.events[before:]:
                    if event.type.startswith(("drift", "quality")):
                        found.append((47 * step + i, event.type, event.stream, event.message))
            if step in restarts:
                device.restart()
        return found

    expected = life(())
    kinds = {(kind, stream) for _, kind, stream, _ in expected}
    assert {("drift.started", "output"), ("drift.cleared", "output")} <= kinds
    assert {("quality.missing", "f:a"), ("drift.started", "f:c")} <= kinds
    assert life((3, 15, 24, 41, 42, 51)) == expected


def test_a_checkpoint_of_other_settings_is_ignored_and_counted() -> None:
    device, chance = configured(), random.Random(4)
    device.run(chance, 300)
    device.pipeline.save()
    device.toml = device.toml.replace("window = 100", "window = 200")
    device.start()
    device.predict(0.5)
    assert device.counters.get("edgemon_drift_state_refused_total") == 1
    state = device.pipeline.find("m", None).detectors.state("output")  # type: ignore[union-attr]
    assert state is not None and state.n == 1


def test_a_damaged_checkpoint_is_counted_and_begins_anew() -> None:
    device, chance = configured(), random.Random(4)
    device.run(chance, 300)
    device.pipeline.save()
    device.disk.open("/state/checkpoint").write_at(40, b"damage")
    device.start()
    assert device.counters.get(FAILED, reason="read") == 1
    device.run(chance, 1)
    assert device.types() == ["model.started"]


def test_what_is_not_seen_again_at_once_survives_the_next_checkpoint() -> None:
    device, chance = configured(), random.Random(4)
    device.run(chance, 300)
    device.restart()
    device.predict(0.5, version="2")
    device.restart()
    device.predict(0.5)
    state = device.pipeline.find("m", "1").detectors.state("output")  # type: ignore[union-attr]
    assert state is not None and state.n == 100


SAVED = [Saved("m", "1", "0123", b"state"), Saved("m", "2", "", b"")]


def test_a_checkpoint_round_trips() -> None:
    assert decode(encode(SAVED)[0], "checkpoint") == SAVED
    assert decode(encode([])[0], "checkpoint") == []


@pytest.mark.parametrize("at", [0, 9, 10, 13, 17, 30, -1])
def test_a_checkpoint_with_any_part_damaged_is_refused(at: int) -> None:
    data = bytearray(encode(SAVED)[0])
    data[at] ^= 0xFF
    with pytest.raises((DamagedError, UnsupportedError), match=r"^checkpoint: "):
        decode(bytes(data), "checkpoint")


def test_a_checkpoint_that_is_cut_off_is_refused() -> None:
    data = encode(SAVED)[0]
    for length in (0, 7, 23, 30, len(data) - 1):
        with pytest.raises(DamagedError):
            decode(data[:length], "checkpoint")


def test_a_full_disk_costs_the_checkpoint_and_nothing_else() -> None:
    device, chance = configured(), random.Random(4)
    device.run(chance, 300)
    device.disk.capacity_bytes = 0
    device.pipeline.save()
    assert device.counters.get(FAILED, reason="write") == 1
    device.run(chance, 10)


# -- missing values and rates


@pytest.mark.parametrize(
    ("gone", "kind"),
    [({"a": None}, "missing"), ({}, "missing"), ({"a": float("nan")}, "nan")],
)
def test_null_and_absence_are_missing_and_nan_is_nan(
    gone: dict[str, float | str | None], kind: str
) -> None:
    device, chance = configured(), random.Random(6)
    device.run(chance, 300)
    for _ in range(9):
        device.predict(chance.gauss(0.0, 1.0), "1", **{**gone, "c": chance.choice("xyz")})
        if f"quality.{kind}" in device.types():
            break
    (event,) = [event for event in device.events if event.type.startswith("quality.")]
    assert (event.type, event.stream, event.severity) == (f"quality.{kind}", "f:a", "alarm")


def test_a_budget_for_a_span_of_time_follows_the_rate() -> None:
    toml = (
        DRIFT + 'false_alarms = { at_most = 0.01, per = "30d" }\n[models."*"]\ncapture = "none"\n'
    )
    device = Device(toml, {"/tmp/m.profile": profile_of(5)})
    device.run(random.Random(7), 100)
    detectors = device.pipeline.find("m", None).detectors
    assert detectors is not None
    before = {detector.stream: detector.threshold_d for detector in detectors}
    # 100 predictions in 600 s: fewer than the 100 a second that are assumed before.
    device.pipeline.close_due_windows(round((device.now_s + 600.0) * SECOND))
    assert all(detector.threshold_d < before[detector.stream] for detector in detectors)


def test_a_vector_is_three_streams(tmp_path: Path) -> None:  # noqa: ARG001
    device = Device(FIRST)
    device.predict([0.25, 0.5, 0.25])
    model = device.pipeline.find("m", None)
    rows = {row["stream"]: row for row in model.close_window(device.now_s + 1.0)}
    assert rows["confidence"]["mean"] == 0.5
    assert abs(float(str(rows["entropy"]["mean"])) - 1.0397) < 1e-4
    assert json.loads(str(rows["class"]["cats"])) == {"1": 1}
