"""Truths, failures and estimates of a model through the pipeline, without a process, a socket or a disk."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from edgemon.agent.status import model_status
from edgemon.agent.truths import MAX_AUTO_TABLES, MAX_OLD_TABLES
from edgemon.drift.build import ProfileBuilder
from edgemon.drift.profile import Profile
from edgemon.errors import DamagedError
from edgemon.performance.join import FORGOTTEN, UNMATCHED
from edgemon.records import Failure, Label, Prediction, Row
from tests.agent.test_pipeline import SECOND, WALL_S, Harness


class Device(Harness):
    """Predictions and labels in numbers that tell themselves apart; one a millisecond from second 100 on."""

    def __init__(self, toml: str = "", profile: Profile | None = None) -> None:
        super().__init__('[models."*"]\ncapture = "none"\n' + toml)
        if profile is not None:
            settings = self.config.models["*"]._replace(profile="m.profile")
            self.config = self.config._replace(models={"*": settings})
            self.pipeline.reconfigure(self.config, {"m.profile": profile}, 0)
        self.number = 0

    @property
    def now_s(self) -> float:
        return 100.0 + self.number / 1_000

    def predicted(self, output: object = 0.9, **fields: object) -> str:
        self.number += 1
        self.predict(self.now_s, output=output, id=str(self.number), **fields)
        return str(self.number)

    def labelled(
        self, identifier: str, label: float | str, version: str = "", model: str = "m"
    ) -> None:
        record = Label(model, version, identifier, label, None)
        self.pipeline.label(record, round(self.now_s * SECOND), WALL_S)

    def failed(self, error: str = "timeout") -> None:
        self.number += 1
        record = Failure("m", "1", error, None, None)
        self.pipeline.failure(record, round(self.now_s * SECOND))

    def pairs(self, count: int, wrong: float, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(count):
            self.labelled(self.predicted(0.9), float(chance.random() >= wrong))

    def unmatched(self, reason: str) -> int:
        return self.counters.get(UNMATCHED, reason=reason)

    def of(self, kind: str) -> list[Any]:
        return [event for event in self.events if event.type == kind]

    def windows(self) -> dict[str, Row]:
        """All that is open, closed."""
        before = len(self.rows)
        self.pipeline.close_all_windows(round(self.now_s * SECOND))
        return {str(row["stream"]): row for kind, row in self.rows[before:] if kind == "agg"}


def profile_of(rows: int = 10_000) -> Profile:
    """Of scores that are as often right as they say, and labels."""
    builder, chance = ProfileBuilder("m"), random.Random(1)
    for _ in range(rows):
        score = chance.random()
        builder.number("output", score)
        builder.labelled.pair(score, float(chance.random() < score))
        builder.row_done()
    return builder.finish()


def test_the_first_label_begins_the_table_and_what_came_before_is_not_in_it() -> None:
    device = Device()
    before = device.predicted()
    model = device.pipeline.models["m", "1"]
    joins = [model.joins]
    device.labelled(before, 1.0)
    assert [*joins, model.joins] == [False, True]
    device.labelled(device.predicted(0.9), 1.0)
    device.labelled(device.predicted(0.2), 1.0)
    row = device.windows()["truth"]
    assert (row["n"], row["correct"], row["brier_n"]) == (2, 1, 2)
    assert row["brier_sum"] == pytest.approx(0.01 + 0.64)
    confusion = json.loads(str(row["confusion"]))
    assert confusion == {"classes": ["1", "0", "(other)"], "counts": [[0, 0, 1], [0, 1, 1]]}
    assert "truth" not in device.windows()


def test_a_model_may_join_from_the_start_or_never() -> None:
    device = Device('truth = { join = "always" }\n')
    device.labelled(device.predicted(), 1.0)
    assert device.windows()["truth"]["n"] == 1
    device = Device('truth = { join = "never" }\n')
    device.labelled(device.predicted(), 1.0)
    assert "truth" not in device.windows()
    assert device.unmatched("not_joined") == 1


def test_labels_that_find_nothing_are_counted_by_reason() -> None:
    device = Device('truth = { join = "always", ttl = "10s" }\n')
    device.labelled("x", 1.0, model="nobody")
    assert device.unmatched("no_model") == 1
    known = device.predicted()
    device.labelled(known, "cat", version="2")
    assert device.unmatched("other_version") == 1
    device.labelled(known, float("nan"))
    assert device.unmatched("unlike") == 1
    device.labelled("never-came", 1.0)
    device.close(200.0)
    assert device.unmatched("no_prediction") == 1
    device.predicted()
    device.close(300.0)
    assert device.counters.get(FORGOTTEN, reason="expired") == 1


def test_a_label_of_a_version_that_was_let_go_is_counted() -> None:
    device = Device('truth = { join = "always" }\nmax_versions = 1\n')
    old = device.predicted(version="1")
    new = device.predicted(version="2")
    device.labelled(old, 1.0)
    assert device.unmatched("version_gone") == 1
    device.labelled(new, 1.0)
    assert device.windows()["truth"]["version"] == "2"


def test_labels_alone_make_a_window() -> None:
    device = Device('truth = { join = "always" }\n')
    known = device.predicted()
    device.close(200.0)
    device.labelled(known, 1.0)
    rows = device.close(300.0)
    assert (rows["truth"]["n"], rows[""]["n"]) == (1, 0)
    assert device.close(400.0) == {}


def test_regressions_have_sums_of_errors() -> None:
    device = Device('truth = { join = "always" }\n')
    for output, label in ((21.0, 20.0), (18.0, 20.0)):
        device.labelled(device.predicted(output), label)
    row = device.windows()["truth"]
    assert (row["n"], row["error_sum"], row["abs_error_sum"], row["sq_error_sum"]) == (2, -1, 3, 5)
    assert "correct" not in row


def test_what_looks_like_scores_and_turns_out_to_be_quantities_begins_anew() -> None:
    device = Device('truth = { join = "always" }\n')
    device.labelled(device.predicted(0.5), 1.0)
    device.labelled(device.predicted(21.0), 20.0)
    row = device.windows()["truth"]
    assert (row["n"], row["error_sum"]) == (1, 1.0)
    model = model_status(device.pipeline.models["m", "1"], 0.0)
    assert model["performance"]["truth"]["task"] == "regression"  # type: ignore[index]


def test_concept_drift_is_told_once_with_its_delay_and_its_end() -> None:
    device = Device('truth = { join = "always" }\n')
    device.pairs(5_000, wrong=0.05, seed=1)
    assert device.of("performance.drop") == []
    began = device.number
    device.pairs(3_000, wrong=0.3, seed=2)
    (drop,) = device.of("performance.drop")
    assert drop.severity == "alarm" and "concept drift" in drop.message
    assert (
        f" of the last {drop.data['since_answers']} predictions with a truth are wrong"
        in drop.message
    )
    assert (drop.data["by"], drop.model, drop.version) == ("truth", "m", "1")
    assert 0 < drop.data["prediction"] - began < 300
    assert drop.data["rate"] > 0.2
    status: Any = model_status(device.pipeline.models["m", "1"], 0.0)["performance"]
    assert status["drop"] == ["truth"]
    device.pairs(3_000, wrong=0.05, seed=3)
    assert len(device.of("performance.recovered")) == 1
    assert model_status(device.pipeline.models["m", "1"], 0.0)["performance"]["drop"] == []  # type: ignore[index]


def test_errors_of_quantities_that_grow_are_concept_drift_too() -> None:
    device, chance = Device('truth = { join = "always" }\n'), random.Random(4)

    def pairs(count: int, sd: float) -> None:
        for _ in range(count):
            device.labelled(device.predicted(20.0 + chance.gauss(0.0, sd)), 20.0)

    pairs(6_000, 1.0)
    assert device.of("performance.drop") == []
    began = device.number
    pairs(1_000, 2.0)
    (drop,) = device.of("performance.drop")
    assert drop.data["prediction"] - began < 400
    assert 1.2 < drop.data["limit"] < 2.1  # the 90 % quantile of |N(0, 1)| is 1.64


def test_the_profiles_errors_are_the_reference_from_the_first_truth_on() -> None:
    profile = profile_of()
    device = Device('truth = { join = "always" }\n', profile)
    assert profile.labelled is not None
    device.pairs(100, wrong=0.9, seed=1)
    (drop,) = device.of("performance.drop")
    assert drop.data["reference_rows"] == 10_000
    assert drop.data["prediction"] < 60


def test_accuracy_is_estimated_without_a_truth_and_a_fall_is_told() -> None:
    device, chance = Device("", profile_of()), random.Random(2)
    for _ in range(5_000):
        device.predicted(chance.random())
    row = device.windows()[""]
    accuracy = row["est_correct"] / row["est_n"]  # type: ignore[operator]
    assert row["est_n"] == 5_000 and abs(accuracy - 0.75) < 0.02
    assert device.of("performance.drop") == []
    for _ in range(3_000):
        device.predicted(chance.uniform(0.4, 0.6))
    row = device.windows()[""]
    assert abs(row["est_correct"] / row["est_n"] - 0.55) < 0.03  # type: ignore[operator]
    (drop,) = device.of("performance.drop")
    assert drop.data["by"] == "estimate" and drop.data["accuracy"] < 0.6
    for _ in range(3_000):
        device.predicted(chance.random())
    device.windows()
    assert len(device.of("performance.recovered")) == 1


def test_a_drop_that_truths_and_estimate_see_is_one_event_and_over_when_both_are_calm() -> None:
    device, chance = Device('truth = { join = "always" }\n', profile_of()), random.Random(2)

    def both(count: int, low: float, high: float) -> None:
        for _ in range(count):
            score = chance.uniform(low, high)
            device.labelled(device.predicted(score), float(chance.random() < score))
        device.windows()

    both(4_000, 0.0, 1.0)
    both(3_000, 0.45, 0.55)
    status: Any = model_status(device.pipeline.models["m", "1"], 0.0)["performance"]
    assert status["drop"] == ["estimate", "truth"]
    assert [event.type for event in device.events if event.type.startswith("performance")] == [
        "performance.drop"
    ]
    both(1_000, 0.0, 1.0)  # the estimate is calm at once, the truths after a whole window
    assert device.of("performance.recovered") == []
    both(4_000, 0.0, 1.0)
    assert len(device.of("performance.recovered")) == len(device.of("performance.drop")) == 1


def test_without_a_calibration_nothing_is_estimated() -> None:
    builder = ProfileBuilder("m")
    for k in range(2_000):
        builder.number("output", k / 2_000)
        builder.row_done()
    device = Device("", builder.finish())
    device.predicted(0.5)
    assert "est_n" not in device.windows()[""]
    assert device.pipeline.models["m", "1"].performance is None


def test_failures_that_rise_are_told_and_their_end_too() -> None:
    device = Device()
    for _ in range(20_000):
        device.predict(device.now_s)
    for number in range(20_000):
        device.failed() if number % 20 == 0 else device.predict(device.now_s)
    (started,) = device.of("errors.started")
    assert started.severity == "alarm"
    assert started.data["prediction"] < 20_500
    for _ in range(3_000):
        device.predict(device.now_s)
    device.windows()
    assert len(device.of("errors.cleared")) == 1
    status: Any = model_status(device.pipeline.models["m", "1"], 0.0)["performance"]
    assert status["failures"]["alarm"] is False


def test_failures_as_rare_as_ever_are_silent() -> None:
    device, chance = Device(), random.Random(3)
    for _ in range(50_000):
        device.failed() if chance.random() < 0.01 else device.predict(device.now_s)
    assert device.of("errors.started") == []


def test_another_configuration_of_truths_begins_anew() -> None:
    device = Device('truth = { join = "always" }\n')
    known = device.predicted()
    changed = Device('truth = { join = "always", keep = 5 }\n').config
    device.pipeline.reconfigure(changed, {}, round(device.now_s * SECOND))
    assert device.counters.get(FORGOTTEN, reason="reconfigured") == 1
    device.labelled(known, 1.0)
    assert "truth" not in device.windows()
    device.labelled(device.predicted(), 1.0)
    assert device.windows()["truth"]["n"] == 1


def test_labels_begin_only_so_many_tables_by_themselves() -> None:
    device = Device()
    for number in range(MAX_AUTO_TABLES + 2):
        record = Prediction(f"m{number}", "", {}, 0.5, None, str(number), None)
        device.pipeline.prediction(record, 100 * SECOND, WALL_S)
        device.labelled(str(number), 1.0, model=f"m{number}")
    assert device.unmatched("too_many_tables") == 2
    device.labelled("0", 1.0, model="m0")
    assert device.unmatched("twice") == 1  # the first waits: its prediction was before the table


def test_tables_of_models_that_are_gone_are_few() -> None:
    device = Device('truth = { join = "always", ttl = "1d" }\nversion_ttl = "60s"\n')
    for number in range(MAX_OLD_TABLES + 3):
        now_ns = (100 + 200 * number) * SECOND
        record = Prediction(f"m{number}", "", {}, 0.5, None, "a", None)
        device.pipeline.prediction(record, now_ns, WALL_S)
        device.pipeline.close_due_windows(now_ns + 100 * SECOND)
    assert list(device.pipeline.models) == []
    assert len(device.pipeline.truths._tables) == MAX_OLD_TABLES + 1
    assert device.counters.get(FORGOTTEN, reason="model_gone") == 2


# -- restarts


def restarted(device: Device) -> Device:
    """Another one with what the first would have saved."""
    model = device.pipeline.models["m", "1"]
    assert model.performance is not None
    again = Device('truth = { join = "always" }\n')
    again.predicted()
    performance = again.pipeline.models["m", "1"].performance
    assert performance is not None
    performance.restore(model.performance.to_state())
    return again


@pytest.mark.parametrize("kind", ["classes", "quantities", "half a reference"])
def test_references_and_alarms_survive_a_restart(kind: str) -> None:
    chance = random.Random(6)

    def pairs(device: Device, count: int, bad: float) -> None:
        for _ in range(count):
            if kind == "quantities":
                device.labelled(device.predicted(20.0 + chance.gauss(0, 1 + 2 * bad)), 20.0)
            else:
                device.labelled(device.predicted(0.9), float(chance.random() >= bad))

    device = Device('truth = { join = "always" }\n')
    pairs(device, 600 if kind.startswith("half") else 1_500, 0.05)
    device = restarted(device)
    pairs(device, 1_000, 0.05)
    assert device.of("performance.drop") == []
    pairs(device, 800, 0.6)
    assert len(device.of("performance.drop")) == 1
    device = restarted(device)
    pairs(device, 800, 0.6)
    assert device.of("performance.drop") == []  # it was told
    pairs(device, 4_000, 0.05)
    assert len(device.of("performance.recovered")) == 1


def test_a_state_of_other_settings_or_damaged_is_refused_and_it_begins_anew() -> None:
    device = Device('truth = { join = "always" }\n')
    device.pairs(1_500, wrong=0.05, seed=1)
    performance = device.pipeline.models["m", "1"].performance
    assert performance is not None
    state = performance.to_state()
    other = Device('truth = { join = "always", first = 200 }\n')
    other.pairs(1, wrong=0.0, seed=1)
    fresh = other.pipeline.models["m", "1"].performance
    assert fresh is not None
    for data in (state, state[:-5], b"", b"\xc0", b"\x80"):
        with pytest.raises(DamagedError, match="performance state"):
            fresh.restore(data)
    other.pairs(500, wrong=0.05, seed=2)
    assert fresh.status()["truth"]["reference_rate"] is not None


def test_a_profile_with_errors_that_is_adopted_is_the_reference_from_then_on() -> None:
    device = Device('truth = { join = "always" }\n')
    device.pairs(50, wrong=0.5, seed=1)
    data = profile_of().to_bytes(3)
    device.pipeline.references.adopt_profile(
        "m", "1", data, "m.profile", round(device.now_s * SECOND)
    )
    device.pairs(100, wrong=0.9, seed=2)
    (drop,) = device.of("performance.drop")
    assert drop.data["reference_rows"] == 10_000
