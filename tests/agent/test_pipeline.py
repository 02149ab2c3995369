"""From records to rows and events, without a process, a socket or a disk."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest

from edgemon.agent.models import UNNAMED
from edgemon.agent.pipeline import FAILED, Pipeline
from edgemon.agent.recording import Recording
from edgemon.agent.status import model_status
from edgemon.config import Config, parse
from edgemon.drift.build import ProfileBuilder
from edgemon.drift.profile import Profile
from edgemon.errors import UsageError
from edgemon.flow.window import MAX_CATEGORIES, OTHER
from edgemon.ingest.protocol import DROPPED, DROPPED_VALUES
from edgemon.metrics import Counters
from edgemon.records import Event, Failure, Label, Metric, Prediction, Row

SECOND = 10**9
WALL_S = 1_800_000_000.0


class Harness:
    def __init__(
        self,
        toml: str = '[models."*"]\ncapture = "all"\n',
        profiles: dict[str, Profile] | None = None,
    ) -> None:
        self.config: Config = parse(toml, "/tmp/edgemon.toml")
        self.counters = Counters()
        self.rows: list[tuple[str, Row]] = []
        self.events: list[Event] = []
        self.pipeline = Pipeline(
            self.config,
            profiles or {},
            self.counters,
            lambda kind, row, _mono: self.rows.append((kind, row)),
            lambda event, _mono: self.events.append(event),
        )

    def predict(self, now_s: float = 100.0, **fields: object) -> None:
        record = Prediction("m", "1", {}, 0.5, None, None, None)._replace(**fields)  # type: ignore[arg-type]
        self.pipeline.prediction(record, round(now_s * SECOND), WALL_S)

    def close(self, now_s: float) -> dict[str, Row]:
        """Close what is due; the agg rows by stream."""
        before = len(self.rows)
        self.pipeline.close_due_windows(round(now_s * SECOND))
        return {str(row["stream"]): row for kind, row in self.rows[before:] if kind == "agg"}

    def types(self) -> list[str]:
        return [event.type for event in self.events]


def profile_of(make: Callable[[int], dict[str, float]], rows: int = 10_000) -> Profile:
    builder = ProfileBuilder("m")
    for index in range(rows):
        for stream, value in make(index).items():
            builder.number(stream, value)
        builder.row_done()
    return builder.finish()


def test_a_captured_prediction_becomes_a_row_with_its_weight() -> None:
    harness = Harness()
    harness.predict(features={"a": 1.5, "b": "x"}, latency_s=0.01, id="i", ts=WALL_S)
    assert harness.rows == [
        (
            "pred",
            {
                "model": "m", "version": "1", "id": "i", "output": 0.5, "latency": 0.01, "w": 1.0,
                "ts": round(WALL_S * 1e6), "f:a": 1.5, "f:b": "x",
            },
        )
    ]  # fmt: skip


def test_a_sample_keeps_about_its_share_and_weighs_it() -> None:
    harness = Harness('[models."*"]\ncapture = { sample = 0.1 }\n')
    for _ in range(5_000):
        harness.predict()
    kept = [row for kind, row in harness.rows if kind == "pred"]
    assert 350 < len(kept) < 650
    assert {row["w"] for row in kept} == {10.0}


def test_nothing_is_captured_when_that_is_asked() -> None:
    harness = Harness('[models."*"]\ncapture = "none"\n')
    harness.predict()
    assert harness.rows == []


def test_a_window_has_a_row_for_the_model_and_one_for_each_stream() -> None:
    harness = Harness()
    for index in range(10):
        harness.predict(features={"a": float(index)}, output="cat", latency_s=0.5)
    rows = harness.close(161.0)
    assert set(rows) == {"", "output", "latency", "f:a"}
    assert rows[""]["n"] == 10
    assert rows["f:a"]["mean"] == 4.5
    assert json.loads(str(rows["output"]["cats"])) == {"cat": 10}
    assert rows["f:a"]["dur"] == 61_000_000
    assert harness.close(300.0) == {}


@pytest.mark.parametrize(
    ("output", "has"), [(None, False), (0.5, True), ("cat", True), ([0.2, 0.8], True)]
)
def test_whether_an_output_ever_came_is_known(output: object, has: bool) -> None:
    harness = Harness()
    for index in range(10):
        harness.predict(features={"a": float(index)}, output=output)
    (model,) = harness.pipeline.models.values()
    assert model_status(model, 0.0)["has_output"] is has


def test_a_vector_becomes_confidence_and_class() -> None:
    harness = Harness()
    harness.predict(output=[0.1, 0.7, 0.2])
    rows = harness.close(161.0)
    assert rows["confidence"]["mean"] == 0.7
    assert json.loads(str(rows["class"]["cats"])) == {"1": 1}


def test_a_classifiers_window_says_which_class_follows_which_and_how_sure_it_is() -> None:
    harness = Harness()
    for output in ([0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [2.0, 1.0]):
        harness.predict(output=output)
    rows = harness.close(161.0)
    assert json.loads(str(rows["class"]["transitions"])) == {
        "classes": ["0", "1", None],
        "counts": [[1, 1, 0], [1, 0, 0], [0, 0, 0]],
    }
    hist = rows["confidence"]["confidence_hist"]
    assert isinstance(hist, list)
    assert (hist[18], hist[16], sum(hist), rows["confidence"]["invalid"]) == (2, 1, 3, 1)
    harness.predict(now_s=170.0, output=[0.1, 0.9])
    again = json.loads(str(harness.close(230.0)["class"]["transitions"]))
    assert again["counts"] == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]  # across the border of the windows


def test_what_is_no_number_is_counted_by_name_and_kept_in_the_captured_row() -> None:
    harness = Harness()
    for value in (1.0, math.nan, math.inf, -math.inf, None, "text"):
        harness.predict(features={"a": value})
    row = harness.close(161.0)["f:a"]
    assert {k: row[k] for k in ("n", "nan", "pinf", "ninf", "missing", "wrong_type")} == {
        "n": 1, "nan": 1, "pinf": 1, "ninf": 1, "missing": 1, "wrong_type": 1,
    }  # fmt: skip
    assert harness.rows[5][1]["f:a"] == "text"
    assert harness.counters.get(DROPPED_VALUES, reason="wrong_type") == 1


def test_errors_of_the_application_are_counted_by_model_and_name() -> None:
    harness = Harness()
    harness.predict()
    for error in ("timeout", "503", "timeout"):
        harness.pipeline.failure(Failure("m", "1", error, None, None), 100 * SECOND)
    rows = harness.close(161.0)
    assert (rows[""]["n"], rows[""]["errors"]) == (1, 3)
    assert json.loads(str(rows["error"]["cats"])) == {"timeout": 2, "503": 1}
    assert harness.counters.get(FAILED) == 3
    harness.predict(170.0)
    assert "errors" not in harness.close(230.0)[""]


def test_names_beyond_those_of_a_window_are_counted_together_and_told() -> None:
    harness = Harness()
    for number in range(MAX_CATEGORIES + 3):
        harness.pipeline.failure(Failure("m", "1", f"error {number}", None, None), 100 * SECOND)
        harness.predict(features={"a": f"text {number}"})
    rows = harness.close(161.0)
    for stream, reason in (("error", "error"), ("f:a", "category")):
        assert json.loads(str(rows[stream]["cats"]))[OTHER] == 3
        assert harness.counters.get(UNNAMED, reason=reason) == 3


def test_a_window_of_errors_alone_is_a_window() -> None:
    harness = Harness()
    harness.pipeline.failure(Failure("m", "1", "timeout", None, None), 100 * SECOND)
    assert harness.types() == ["model.started"]
    rows = harness.close(161.0)
    assert (rows[""]["n"], rows[""]["errors"]) == (0, 1)


def test_a_feature_that_is_left_out_counts_as_missing() -> None:
    harness = Harness()
    harness.predict(features={"a": 1.0, "b": 1.0})
    harness.predict(features={"a": 1.0})
    assert harness.close(161.0)["f:b"]["missing"] == 1


@pytest.mark.parametrize(
    ("ts", "reason"), [(WALL_S + 4000, "ts_future"), (-1.0, "ts_before_1970"), (1e300, "ts_future")]
)
def test_an_impossible_timestamp_is_dropped_and_the_event_stays(ts: float, reason: str) -> None:
    harness = Harness()
    harness.predict(ts=ts)
    assert harness.rows[0][1]["ts"] is None
    assert harness.counters.get(DROPPED_VALUES, reason=reason) == 1


def test_a_vanished_feature_is_missed_even_when_another_came_in_its_place() -> None:
    harness = Harness("[ingest]\nmax_streams = 3\n")
    harness.predict(features={"a": 1.0, "b": 1.0})
    harness.predict(features={"a": 1.0, "c": 1.0})
    assert harness.close(161.0)["f:b"]["missing"] == 1


def test_labels_and_metrics_become_rows() -> None:
    harness = Harness()
    harness.pipeline.label(Label("m", "", "i", 1.0, None), SECOND, WALL_S)
    harness.pipeline.metric(Metric("loss", 0.3, 7, WALL_S), SECOND, WALL_S)
    assert harness.rows == [
        ("pred", {"model": "m", "version": "", "id": "i", "label": 1.0, "ts": None}),
        ("sys", {"name": "loss", "value": 0.3, "step": 7, "ts": round(WALL_S * 1e6)}),
    ]


def test_a_new_version_starts_its_own_window_and_the_oldest_is_let_go() -> None:
    harness = Harness()
    for number, version in enumerate(("1", "2", "1", "3")):
        harness.predict(100.0 + number, version=version)
    assert [key[1] for key in harness.pipeline.models] == ["1", "3"]
    assert harness.types() == ["model.started", "model.started", "model.retired", "model.started"]
    last = [row for kind, row in harness.rows if kind == "agg" and row["stream"] == ""]
    assert [(row["version"], row["n"]) for row in last] == [("2", 1)]


def test_versions_that_take_turns_do_not_all_begin_anew_with_each_prediction() -> None:
    """Three of them, where there are two places: each prediction let another one go."""
    harness = Harness()
    for number in range(3_000):
        harness.predict(100.0 + number / 100, version=f"v{number % 3}")
    assert harness.types().count("model.retired") == 4
    left = {key[1] for key in harness.pipeline.models}
    assert len(left) == 2 and harness.pipeline.models["m", min(left)].predictions > 900
    dropped = harness.counters.get(
        "edgemon_ingest_dropped_events_total", reason="too_many_versions"
    )
    assert 900 < dropped < 1_000
    # One of them falls silent.
    for number in range(2_000):
        harness.predict(130.0 + number / 100, version=min(left) if number % 2 else "new")
    assert {key[1] for key in harness.pipeline.models} == {min(left), "new"}
    # A version for each prediction: one in ten seconds finds a place.
    for number in range(3_000):
        harness.predict(200.0 + number / 100, version=f"build-{number}")
    assert harness.types().count("model.retired") < 15


def test_a_silent_version_is_let_go_after_its_ttl_and_gives_its_streams_back() -> None:
    harness = Harness("[ingest]\nmax_streams = 2\n")
    harness.predict(100.0, features={"a": 1.0})
    harness.close(161.0)
    harness.close(100.0 + 3_700.0)
    assert harness.pipeline.models == {}
    harness.predict(4_000.0, model="other", features={"a": 1.0})
    assert harness.counters.get(DROPPED_VALUES, reason="too_many_streams") == 0


def test_too_many_models_are_refused_and_counted_and_the_known_ones_go_on() -> None:
    harness = Harness("[ingest]\nmax_models = 2\n")
    for name in ("a", "b", "c", "a"):
        harness.predict(model=name)
    assert [key[0] for key in harness.pipeline.models] == ["a", "b"]
    assert harness.counters.get(DROPPED, reason="too_many_models") == 1


def test_streams_are_bounded_over_all_models() -> None:
    harness = Harness("[ingest]\nmax_streams = 3\n")
    harness.predict(features={f"f{i}": 1.0 for i in range(5)})
    rows = harness.close(161.0)
    assert len(rows) == 1 + 3
    assert harness.counters.get(DROPPED_VALUES, reason="too_many_streams") == 3


def drift_harness(tmp: str = "/tmp/m.profile", window: int = 200) -> Harness:
    profile = profile_of(
        lambda i: {"output": (i * 7919 % 10_000) / 10_000, "f:a": (i * 104_729 % 10_000) / 10_000}
    )
    harness = Harness()
    toml = f'[models."*"]\ncapture = "none"\n[drift]\nwindow = {window}\n'
    harness.config = parse(toml, "/tmp/edgemon.toml")
    settings = harness.config.models["*"]._replace(profile=tmp)
    config = harness.config._replace(models={"*": settings})
    harness.pipeline = Pipeline(
        config,
        {tmp: profile},
        harness.counters,
        lambda kind, row, _mono: harness.rows.append((kind, row)),
        lambda event, _mono: harness.events.append(event),
    )
    return harness


def uniform(index: int) -> float:
    return (index * 6_700_417 % 9_973) / 9_973


def test_drift_of_a_feature_raises_one_alarm_that_explains_itself() -> None:
    harness = drift_harness()
    for index in range(1_000):
        harness.predict(
            100.0 + index / 1000, output=uniform(index), features={"a": uniform(index + 3)}
        )
    assert harness.types() == ["model.started"]
    for index in range(1_000):
        harness.predict(
            101.0 + index / 1000, output=uniform(index), features={"a": uniform(index) * 0.5 + 0.5}
        )
    (event,) = [event for event in harness.events if event.type == "drift.started"]
    assert (event.stream, event.severity) == ("f:a", "alarm")
    assert event.data is not None
    assert 1_000 < event.data["prediction"] < 1_200  # type: ignore[operator]
    assert event.data["direction"] == "up"
    rows = harness.close(161.0)
    assert (rows["f:a"]["drifted"], rows["output"]["drifted"]) == (1, 0)
    assert sum(rows["f:a"]["hist"]) == 2_000  # type: ignore[arg-type]


def test_a_window_row_has_the_threshold_once_the_tested_window_is_full() -> None:
    harness = drift_harness(window=200)
    for index in range(199):
        harness.predict(100.0, output=uniform(index), features={"a": uniform(index)})
    filling = harness.close(161.0)["output"]
    assert filling["ks_n"] == 199 and "ks_threshold" not in filling
    harness.predict(162.0, output=uniform(199), features={"a": uniform(199)})
    full = harness.close(230.0)["output"]
    assert full["ks_h"] < full["ks_threshold"]  # type: ignore[operator]


def test_an_unnamed_list_takes_the_profiles_names() -> None:
    harness = drift_harness()
    harness.predict(features={"f0": 0.5})
    assert "f:a" in harness.close(161.0)


def test_a_reload_with_the_same_profile_keeps_the_detectors_state() -> None:
    harness = drift_harness()
    harness.predict()
    model = harness.pipeline.models["m", "1"]
    harness.pipeline.reconfigure(
        harness.pipeline._config, harness.pipeline.factory.profiles, SECOND
    )
    assert harness.pipeline.models["m", "1"] is model
    other = harness.pipeline._config
    settings = other.model("m")
    drift = settings.drift._replace(min_effect=0.5)
    changed = other._replace(models=other.models | {"m": settings._replace(drift=drift)})
    harness.pipeline.reconfigure(changed, harness.pipeline.factory.profiles, SECOND)
    assert harness.pipeline.models["m", "1"] is not model


def test_a_reload_of_capture_or_window_leaves_the_detectors_alone() -> None:
    harness = drift_harness()
    harness.predict(10.0)
    model = harness.pipeline.models["m", "1"]
    other = harness.pipeline._config
    settings = other.model("m")
    changed = other._replace(
        models=other.models
        | {"m": settings._replace(capture=settings.capture._replace(probability=0.5), window_s=7.0)}
    )
    harness.pipeline.reconfigure(changed, harness.pipeline.factory.profiles, 20 * SECOND)
    assert harness.pipeline.models["m", "1"] is model
    assert (model.settings.capture.probability, model.window_end_s) == (0.5, 27.0)
    (whole,) = [row for kind, row in harness.rows if kind == "agg" and row["stream"] == ""]
    assert whole["dur"] == 10_000_000


def test_a_reload_to_fewer_versions_keeps_those_seen_last() -> None:
    harness = drift_harness()
    config = harness.pipeline._config
    settings = config.model("m")
    drift = settings.drift._replace(min_effect=0.5)
    for max_versions, left in ((3, {"7", "8", "9"}), (1, {"8"})):
        if max_versions == 3:
            wide = config._replace(models=config.models | {"m": settings._replace(max_versions=3)})
            harness.pipeline.reconfigure(wide, harness.pipeline.factory.profiles, SECOND)
            for now_s, version in ((10.0, "7"), (11.0, "9"), (12.0, "8")):
                harness.predict(now_s, version=version)
        else:
            narrow = settings._replace(max_versions=1, drift=drift)
            harness.pipeline.reconfigure(
                config._replace(models=config.models | {"m": narrow}),
                harness.pipeline.factory.profiles,
                20 * SECOND,
            )
        assert {version for _, version in harness.pipeline.models} == left
    retired = [event.version for event in harness.events if event.type == "model.retired"]
    assert retired == ["9", "7"]


def test_a_recording_takes_the_next_predictions_stream_by_stream() -> None:
    harness = Harness()
    with pytest.raises(UsageError, match="none yet"):
        harness.pipeline.record("m", None, 3)
    harness.predict(features={"a": 0.0, "b": "x"})
    harness.pipeline.record("m", None, 3)
    for index in range(5):
        harness.predict(features={"a": float(index), "b": "y"})
    recording = harness.pipeline.find("m", None).recording
    assert recording is not None
    assert recording.complete
    assert recording.streams() == {"output": "numeric", "f:a": "numeric", "f:b": "text"}
    assert recording.page("f:a", 0) == {"kind": "numeric", "values": [0.0, 1.0, 2.0], "more": False}
    assert recording.page("f:b", 1) == {"kind": "text", "values": ["y", "y"], "more": False}


def test_a_recording_is_bounded() -> None:
    harness = Harness()
    harness.predict(features={"a": 0.0})
    with pytest.raises(UsageError, match="takes 1 to 500000 predictions"):
        harness.pipeline.record("m", None, 600_000)


def test_a_recording_leaves_free_text_out_and_gives_long_text_in_small_pages() -> None:
    recording = Recording(predictions=2_000, streams=3)
    for index in range(2_000):
        recording.add("f:note", f"{index:04000}")
        recording.add("f:kind", "k" * 1_000)
        recording.add("f:a", float(index))
        recording.prediction_done()
    assert recording.streams() == {"f:a": "numeric", "f:kind": "text"}
    assert recording.left_out() == ["f:note"]
    page = recording.page("f:kind", 0)
    assert (page["more"], len(page["values"])) == (True, 400)  # type: ignore[arg-type]


def test_a_configured_model_finds_a_place_among_strangers_and_they_do_not_find_its() -> None:
    harness = Harness('[ingest]\nmax_models = 4\n[models.ours]\ncapture = "all"\n')
    for number in range(10):
        harness.predict(100.0 + number, model=f"stranger{number}")
    assert harness.counters.get(DROPPED, reason="too_many_models") == 6
    harness.predict(111.0, model="ours")
    assert {name for name, _ in harness.pipeline.models} == {
        "stranger1", "stranger2", "stranger3", "ours",
    }  # fmt: skip
    for number in range(10):
        harness.predict(112.0 + number, model=f"late{number}")
    harness.predict(130.0, model="ours")
    assert harness.pipeline.models["ours", "1"].predictions == 2
    assert [event.message for event in harness.events if event.type == "model.retired"] == [
        "model stranger0 version 1 was let go: a configured model needed its place"
    ]
