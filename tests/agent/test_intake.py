"""The hot path gives exactly what taking each prediction apart in Python gives, and makes no object of it."""

from __future__ import annotations

import itertools
import json
import math
import random
import sys
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemon.agent.pipeline import SLOW, Pipeline
from edgemon.config import Config, parse
from edgemon.drift.build import ProfileBuilder
from edgemon.drift.profile import Profile
from edgemon.ingest.protocol import Connection, Limits
from edgemon.metrics import Counters
from edgemon.records import AckRequest, Event, Failure, Label, Metric, Prediction

SECOND = 10**9
WALL_S = 1_800_000_000.0
TOML = """
[models."*"]
capture = {capture}
[models.m]
profile = "m.profile"
capture = {capture}
drift.window = 40
drift.min_effect = 0.05
drift.false_alarms = {{ at_most = 0.5, per_predictions = 1000 }}
{more}
"""


def normal(rng: random.Random, shift: float = 0.0) -> dict[str, float]:
    return {name: round(rng.gauss(shift, 1.0), 3) for name in ("a", "b")}


def profile() -> Profile:
    rng = random.Random(1)
    builder = ProfileBuilder("m")
    for _ in range(2_000):
        for name, value in normal(rng).items():
            builder.number(f"f:{name}", value)
        builder.number("output", rng.random())
        builder.row_done()
    return builder.finish()


# As an agent has it: read from a file.
PROFILE = profile().to_bytes(3)
FOLDER = ""


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    global FOLDER
    made = tmp_path_factory.mktemp("intake")
    (made / "m.profile").write_bytes(PROFILE)
    FOLDER = str(made)


def configuration(capture: str, more: str = "") -> Config:
    return parse(TOML.format(capture=capture, more=more), FOLDER + "/edgemon.toml")


class Side:
    """A pipeline, and all that left it."""

    def __init__(self, config: Config, *, fast: bool) -> None:
        self.counters = Counters()
        self.out: list[object] = []
        self.pipeline = Pipeline(
            config,
            {path: Profile.from_bytes(PROFILE, window=40) for path in [config.model("m").profile]},
            self.counters,
            # A cell that is None is none, and rows have no order of their cells.
            lambda kind, row, mono: self.out.append(
                (kind, {key: row[key] for key in sorted(row) if row[key] is not None}, mono)
            ),
            lambda event, mono: self.out.append((event, mono)),
        )
        self.pipeline._chance.seed(7)
        self.connection = Connection(Limits(), self.counters)
        self.fast = fast
        self.complaints: list[str | None] = []

    def feed(self, data: bytes, mono_ns: int) -> None:
        pipeline = self.pipeline
        pipeline.begin(mono_ns, WALL_S)
        table = pipeline.table if self.fast else None
        for record in self.connection.feed_into(table, data) if data else ():
            if isinstance(record, Prediction):
                pipeline.prediction(record, mono_ns, WALL_S)
            elif isinstance(record, Label):
                pipeline.label(record, mono_ns, WALL_S)
            elif isinstance(record, Failure):
                pipeline.failure(record, mono_ns)
            elif isinstance(record, Metric):
                pipeline.metric(record, mono_ns, WALL_S)
            elif not isinstance(record, AckRequest):
                pipeline.shown(*record)
        self.complaints.append(self.connection.complaint)

    def state(self) -> dict[str, object]:
        """All that a model is made of, and rows and events, each kind in the order in which they left."""
        kinds: dict[str, list[object]] = {}
        for one in self.out:
            assert isinstance(one, tuple)
            kinds.setdefault("event" if isinstance(one[0], Event) else str(one[0]), []).append(one)
        counts = self.counters.snapshot()
        counts.pop(SLOW, None)
        return {
            "out": dict(sorted(kinds.items())),
            "counters": counts,
            "events": self.connection.events,
            "complaints": self.complaints,
            "models": {
                key: (
                    model.predictions,
                    model.counted,
                    model.last_seen_s,
                    model.rate.rate(model.last_seen_s),
                    model.capture.skip,
                    model.detectors.to_state() if model.detectors is not None else b"",
                    model.detectors.unknown() if model.detectors is not None else [],
                    msgpack.unpackb(model.quality.to_state(), strict_map_key=False)
                    if model.quality is not None
                    else None,
                    model.quality.latched() if model.quality is not None else [],
                    model.recording.have if model.recording is not None else None,
                    model.baseline.have if model.baseline is not None else None,
                    model.performance.to_state() if model.performance is not None else b"",
                )
                for key, model in self.pipeline.models.items()
            },
        }


def assert_same(one: object, other: object) -> None:
    # By repr: NaN equals itself, and every bit of a float counts.
    assert repr(one) == repr(other)


Step = Callable[[Side, int], None]


def play(steps: list[Step], capture: str = '"none"', more: str = "") -> tuple[Side, Side]:
    """The same steps on both ways, a second apart; windows close at the end."""
    config = configuration(capture, more)
    sides = Side(config, fast=True), Side(config, fast=False)
    for side in sides:
        for number, step in enumerate(steps):
            step(side, (100 + number) * SECOND)
        side.pipeline.close_all_windows((200 + len(steps)) * SECOND)
        side.pipeline.give_rows()
    assert_same(sides[0].state(), sides[1].state())
    assert len(sides[0].pipeline.table) == len(sides[0].pipeline.models)
    assert sides[1].pipeline.table.predictions == 0
    return sides


def feeding(events: list[object], encoding: str = "msgpack") -> Step:
    if encoding == "json":
        data = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    else:
        data = b"".join(msgpack.packb(event) for event in events)
    return lambda side, mono_ns: side.feed(data, mono_ns)


def predictions(count: int, seed: int = 2, shift: float = 0.0, **more: object) -> list[object]:
    rng = random.Random(seed)
    return [
        {
            "model": "m", "features": normal(rng, shift), "output": rng.random(), "latency": 0.001 * rng.random(),
            "ts": WALL_S,
        } | more
        for _ in range(count)
    ]  # fmt: skip


# -- one by one


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
def test_healthy_predictions_give_the_same_and_all_but_the_first_pass_python(encoding: str) -> None:
    fast, _ = play([feeding(predictions(700), encoding), feeding(predictions(600, 3), encoding)])
    assert fast.counters.get(SLOW) == 1
    assert fast.pipeline.table.predictions == 1_299


def test_alarms_come_at_the_same_prediction_and_clear_at_the_same() -> None:
    steps = [
        feeding(predictions(300)),
        feeding(predictions(300, 3, 2.0)),
        feeding(predictions(600, 4)),
    ]
    fast, slow = play(steps)
    kinds = [event.type for event, _ in slow.state()["out"]["event"]]  # type: ignore[index]
    assert "drift.started" in kinds and "drift.cleared" in kinds
    assert fast.counters.get(SLOW) == 1


def vectors(count: int, seed: int = 2, sure: float = 2.0, **more: object) -> list[object]:
    """Of a classifier of three classes, whose first is likelier the larger `sure` is."""
    rng, made = random.Random(seed), []
    for _ in range(count):
        weights = [
            rng.gammavariate(sure, 1.0),
            rng.gammavariate(1.0, 1.0),
            rng.gammavariate(1.0, 1.0),
        ]
        output = [round(weight / sum(weights), 4) for weight in weights]
        made.append({"model": "m", "features": normal(rng), "output": output} | more)
    return list(made)


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
@pytest.mark.parametrize("capture", ['"none"', '"all"', "{ sample = 0.1 }", "{ reservoir = 20 }"])
def test_vectors_of_confidences_give_the_same_and_need_no_record(
    encoding: str, capture: str
) -> None:
    odd: list[list[Any]] = [
        [0.5, 0.5, 0.5], [math.nan, 0.5, 0.5], [-0.1, 0.6, 0.5], [math.inf, 0.0, 0.0], [0.0, 0.0, 0.0],
        [1.0], [1, 0, 0], [0.1] * 10,
    ]  # fmt: skip
    faults: list[object] = [{"model": "m", "output": output} for output in odd * 3]
    mixed: list[object] = [
        one for pair in zip(vectors(60, 3), predictions(60), strict=True) for one in pair
    ]
    steps = [feeding(vectors(800), encoding), feeding(vectors(900, 4, 9.0), encoding)]
    steps += [
        feeding(faults, encoding),
        feeding(mixed, encoding),
        feeding(vectors(400, 5), encoding),
    ]
    steps.insert(2, lambda side, mono_ns: side.pipeline.close_all_windows(mono_ns))
    fast, slow = play(steps, capture)
    assert fast.counters.get(SLOW) < 20 < slow.counters.get(SLOW)
    rows: Any = slow.state()["out"]
    assert {"confidence", "entropy", "class"} <= {row["stream"] for _, row, _ in rows["agg"]}


@pytest.mark.parametrize("more", ["", "recorder = 30"])
def test_classes_that_drift_are_told_at_the_same_prediction(more: str) -> None:
    def adopt(side: Side, _mono_ns: int) -> None:
        side.pipeline.references.adopt("m", None, 400)

    steps: list[Step] = [feeding(vectors(10)), adopt, feeding(vectors(500, 3))]
    steps += [feeding(vectors(600, 4)), feeding(vectors(700, 5, 9.0)), feeding(vectors(900, 6))]
    steps += [feeding(vectors(100, 7) + [{"model": "m", "output": [0.0, 0.1, 0.0, 0.9]}] * 30)]
    fast, slow = play(steps, more=more)
    told = {(event.type, event.stream) for event, _ in slow.state()["out"]["event"]}  # type: ignore[index]
    assert {("drift.started", "class"), ("drift.started", "confidence")} <= told, told
    assert fast.counters.get(SLOW) < 0.5 * slow.counters.get(SLOW)


def test_vectors_whose_truths_are_joined_pass_python() -> None:
    events = [event | {"id": str(i)} for i, event in enumerate(vectors(300))]  # type: ignore[operator]
    labels: list[object] = [{"model": "m", "id": str(i), "label": 0} for i in range(300)]
    _, slow = play([feeding(events), feeding(labels), feeding(events[:200]), feeding(labels)])
    assert slow.counters.get("edgemon_truth_joined_labels_total") == 200


def test_numbers_that_are_none_are_counted_the_same() -> None:
    odd = [math.nan, math.inf, -math.inf, None, -0.0, 5e-324, 1e308]
    events = predictions(120) + [
        {"model": "m", "features": {"a": odd[i % 7], "b": odd[i % 5]}, "output": odd[i % 3]}
        for i in range(600)
    ]
    fast, _ = play([feeding(events), feeding(predictions(50)), feeding(events[::-1])])
    assert fast.counters.get(SLOW) == 1


def faulty(seed: int) -> list[object]:
    """Each kind of fault in turn, with healthy stretches between them."""
    rng = random.Random(seed)
    made: list[Any] = []
    for fault in (
        "",
        "nan",
        "null",
        "inf",
        "far",
        "absent",
        "again",
        "late",
        "early",
        "back",
        "stuck",
        "",
    ):
        some: list[Any] = predictions(150, rng.randrange(1_000))
        for event in some:
            event["ts"] = WALL_S + 0.01 * len(made)
            features = event["features"]
            if rng.random() < 0.4 and fault in ("nan", "null", "inf", "far"):
                odd = {"nan": math.nan, "null": None, "inf": -math.inf, "far": 1e9}
                features["a"] = odd[fault]
            elif rng.random() < 0.4 and fault == "absent":
                del features["b"]
            elif fault == "stuck":
                features["a"] = 0.25
            elif rng.random() < 0.4 and fault in ("late", "early", "back"):
                event["ts"] += {"late": -4_000.0, "early": 90.0, "back": -5.0}[fault]
            elif fault == "again" and made:
                event["features"] = made[-1]["features"]
            made.append(event)
    return made


@pytest.mark.parametrize("more", ["", "quality.learn = 100", "quality.stuck_after = 30"])
@pytest.mark.parametrize("model", ["m", "learnt"])
def test_faults_of_the_data_are_told_at_the_same_prediction(model: str, more: str) -> None:
    events: list[Any] = [event | {"model": model} for event in faulty(3)]  # type: ignore[operator]
    general = "" if model == "m" else "[models.learnt]\nquality.learn = 100\n"
    fast, _ = play([feeding(events[:777]), feeding(events[777:])], more=f"{more}\n{general}")
    kinds = {
        one[0].type for one in fast.out if isinstance(one, tuple) and isinstance(one[0], Event)
    }
    told = {kind.removeprefix("quality.") for kind in kinds if kind.startswith("quality.")}
    if model == "learnt" or more == "quality.learn = 100":
        assert told >= {"repeated", "late", "early", "out_of_order", "features_changed"}
    assert told >= {"nan", "missing", "infinite", "stuck", "recovered"}
    assert fast.pipeline.table.predictions >= len(events) - 101


def test_rows_that_repeat_are_seen_across_reads() -> None:
    rows = [(1.0, 5.0), (1.0, 5.0), (2.0, 5.0), (2.0, 5.0), (2.0, 6.0), (None, 6.0), (None, 6.0)]
    events = [
        {"model": "m", "output": 0.5, "features": {"a": a, "b": b}} for a, b in [*rows, *rows[::-1]]
    ]
    fast, _ = play([feeding(predictions(2)), *(feeding([event]) for event in events)])
    rows_out: Any = fast.state()["out"]
    repeated = [row["repeated"] for _, row, _ in rows_out["agg"] if row["stream"] == ""]
    assert repeated == [7]


def test_what_is_absent_is_told_once_and_needs_no_python() -> None:
    events = predictions(10)
    events += [{"model": "m", "output": 0.5, "features": {"b": 0.1}}] * 30
    events += [{"model": "m", "latency": 0.5}, {"model": "m"}] * 30 + predictions(100, 9)
    fast, slow = play([feeding(events)])
    told = [event.type for event, _ in slow.state()["out"]["event"]]  # type: ignore[index]
    assert told.count("quality.missing") == 2
    assert fast.counters.get(SLOW) == 1


def test_names_in_any_order_are_found() -> None:
    rng = random.Random(5)
    events: list[object] = []
    for _ in range(400):
        names = [f"n{i}" for i in range(12)]
        rng.shuffle(names)
        events.append({"model": "x", "features": {name: rng.random() for name in names}})
    fast, _ = play([feeding(events)])
    assert fast.counters.get(SLOW) == 100  # the schema is learnt from as many


def test_unnamed_features_take_the_names_of_the_profile() -> None:
    rng = random.Random(5)
    events: list[object] = predictions(3)
    events += [{"model": "m", "features": [rng.random(), rng.random()]} for _ in range(200)]
    events += [{"model": "m", "features": [rng.random()]} for _ in range(5)]
    events += [{"model": "m", "features": {"f0": 1.0, "f1": 2.0}}] * 5
    events += [{"model": "m", "features": [1.5, 2.5]}] * 5
    events += [{"model": "m", "features": {"f1": 2.0, "f0": 1.0}}] * 5
    fast, slow = play([feeding(events)])
    assert fast.pipeline.table.predictions > 200
    rows = slow.state()["out"]["agg"]  # type: ignore[index]
    assert {row["stream"] for _, row, _ in rows} >= {"f:a", "f:b", "f:f0"}


def test_features_without_names_and_profile() -> None:
    events: list[object] = [{"model": "x", "features": [i, i + 1, i + 2]} for i in range(300)]
    fast, _ = play([feeding(events)])
    assert fast.pipeline.table.predictions == 200


def test_text_in_a_stream_of_numbers_and_numbers_in_one_of_text() -> None:
    events: list[object] = predictions(10)
    events += [{"model": "m", "features": {"a": "x", "b": 1.0, "c": "red"}}] * 3
    events += [{"model": "m", "features": {"a": 0.1, "b": 1.0, "c": "red"}}] * 3
    events += [{"model": "m", "features": {"a": 0.1, "b": 1.0, "c": 7}}] * 3
    events += [{"model": "m", "features": {"a": 0.1, "b": [1], "c": "red"}}] * 3
    events += [{"model": "m", "output": "cat"}, {"model": "m", "output": [0.3, 0.7]}] * 4
    play([feeding(events + predictions(50, 3))])


def test_many_models_and_versions_share_the_table() -> None:
    rng = random.Random(5)
    events: list[object] = [
        {"model": f"model {i % 5}", "version": str(i % 2), "features": {"x": rng.gauss(0, 1)}}
        for i in range(3_000)
    ]
    fast, _ = play([feeding(events)])
    assert fast.pipeline.table.predictions == 3_000 - 10 * 100


@pytest.mark.parametrize(("swaps", "slow"), [(100, 24), (4, 6)], ids=["all", "as many as may"])
def test_versions_that_push_each_other_out(
    swaps: int, slow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgemon.agent.pipeline.SWAPS", swaps)
    rng = random.Random(5)
    events: list[object] = []
    for version in range(12):
        events += [
            {"model": "m", "version": version, "features": normal(rng), "output": 0.5}
            for _ in range(60)
        ]
    fast, _ = play([feeding(events), feeding(events)])
    assert fast.counters.get(SLOW) == slow


def test_no_more_streams_than_allowed() -> None:
    events: list[object] = predictions(50)
    events += [{"model": "m", "features": {f"g{i}": 1.0}} for i in range(20)]
    events += [{"model": "wide", "features": {f"w{i}": i for i in range(200)}}] * 130
    play([feeding(events)], more="[ingest]\nmax_streams = 12\n")


def test_a_wide_model_has_smaller_blocks() -> None:
    events: list[object] = [
        {"model": "wide", "features": {f"w{i}": i * k for i in range(200)}} for k in range(300)
    ]
    fast, _ = play([feeding(events)])
    assert fast.pipeline.table.predictions == 200


def test_a_sample_is_captured_and_everything_counted() -> None:
    events = [event | {"id": str(i)} for i, event in enumerate(predictions(2_000))]  # type: ignore[operator]
    fast, slow = play([feeding(events)], capture="{ sample = 0.05 }")
    assert 60 < len(slow.state()["out"]["pred"]) < 140  # type: ignore[index]
    assert fast.counters.get(SLOW) == 1


@pytest.mark.parametrize(
    ("capture", "more"),
    [
        ('"all"', ""),
        ("{ reservoir = 20 }", ""),
        ('"none"', "recorder = 30"),
        ("{ sample = 0.1 }", "recorder = 30"),
        ("{ reservoir = 20 }", "recorder = 30"),
    ],
)
def test_every_policy_captures_the_same_rows(capture: str, more: str) -> None:
    steps = [feeding(predictions(200)), feeding(predictions(150, 3, 2.5)), feeding(predictions(90))]
    steps.insert(2, lambda side, mono_ns: side.pipeline.close_all_windows(mono_ns))
    fast, _ = play(steps, capture, more)
    assert fast.counters.get(SLOW) <= 2


def test_recordings_and_references_made_here_see_every_value() -> None:
    def record(side: Side, _mono_ns: int) -> None:
        side.pipeline.record("m", None, 70)

    def adopt(side: Side, _mono_ns: int) -> None:
        side.pipeline.references.adopt("m", None, 100)

    steps: list[Step] = [feeding(predictions(50)), record, feeding(predictions(100, 3))]
    steps += [feeding(predictions(100, 4)), adopt, feeding(predictions(400, 5, 0.5))]
    fast, slow = play(steps)
    page = [side.pipeline.find("m", None).recording for side in (fast, slow)]
    assert page[0] is not None and page[1] is not None and page[0].have == 70
    assert page[0].page("f:a", 0) == page[1].page("f:a", 0)
    assert fast.pipeline.table.predictions > 400


def test_new_settings_hold_from_the_next_prediction_on() -> None:
    def reload(capture: str) -> Step:
        def step(side: Side, mono_ns: int) -> None:
            config = configuration(capture)
            loaded = Profile.from_bytes(PROFILE, window=40)
            side.pipeline.reconfigure(config, {config.model("m").profile: loaded}, mono_ns)

        return step

    steps: list[Step] = [feeding(predictions(100)), reload('"all"'), feeding(predictions(30, 3))]
    steps += [reload("{ sample = 0.2 }"), feeding(predictions(300, 4)), reload('"none"')]
    play([*steps, feeding(predictions(50, 5))])


def test_bad_events_and_other_records_keep_their_place() -> None:
    events: list[object] = []
    for event in predictions(40):
        events += [event, {"model": ""}, {"metric": "loss", "value": 1.0}, 7]
        events += [{"model": "m", "id": "7", "label": 1}]
    play([feeding(events, "json")], '"all"')


@pytest.mark.parametrize("join", ["auto", "always"])
@pytest.mark.parametrize("capture", ['"none"', '"all"', "{ sample = 0.1 }"])
def test_truths_find_the_same_predictions(capture: str, join: str) -> None:
    rng = random.Random(5)
    steps: list[Step] = []
    for turn in range(6):
        events = predictions(900, turn + 10)
        for number, event in enumerate(events):
            assert isinstance(event, dict)
            if rng.random() < 0.9:
                event["id"] = (
                    "again"
                    if rng.random() < 0.01
                    else f"{turn}-{number}" + "x" * rng.randrange(120)
                )
            if rng.random() < 0.05:
                event["output"] = rng.choice([None, "cat", [0.1, 0.9], math.nan])
        known = [event["id"] for event in events if isinstance(event, dict) and "id" in event]
        labels: list[object] = [
            {"model": "m", "id": name, "label": int(rng.random() < 0.5)} for name in known
        ]
        labels += [{"model": "m", "id": "nobody", "label": 1}, {"model": "m", "error": "timeout"}]
        if turn % 2:  # among predictions
            mixed = events + labels
            rng.shuffle(mixed)
            steps.append(feeding(mixed))
        else:
            rng.shuffle(labels)
            steps += [feeding(events), feeding(labels)]
    fast, slow = play(steps, capture, f'truth = {{ join = "{join}", keep = 700 }}')
    joined = slow.counters.get("edgemon_truth_joined_labels_total")
    assert joined > 2_000
    assert slow.counters.get("edgemon_truth_forgotten_predictions_total", reason="reused")
    assert fast.counters.get(SLOW) < 0.5 * slow.counters.get(SLOW)


def test_frames_in_pieces() -> None:
    data = b"".join(msgpack.packb(event) for event in predictions(300))
    cuts = [0, 1, 50, 51, 1_000, 1_003, 9_000, len(data) - 1, len(data)]

    def piece(start: int, end: int) -> Step:
        return lambda side, mono_ns: side.feed(data[start:end], mono_ns)

    fast, _ = play([piece(a, b) for a, b in itertools.pairwise(cuts)])
    assert fast.pipeline.table.predictions == 299


# -- anything at all

values = st.one_of(
    st.floats(-4, 4), st.floats(), st.none(), st.sampled_from(["x", "red"]), st.integers(-3, 3)
)
features = st.one_of(
    st.dictionaries(st.sampled_from(["a", "b", "c", "f0", "f1"]), values, max_size=5),
    st.lists(values, max_size=3),
)
events = st.fixed_dictionaries(
    {"model": st.sampled_from(["m", "m", "m", "other"])},
    optional={
        "version": st.sampled_from(["1", "2"]),
        "features": features,
        "output": st.one_of(values, st.lists(st.floats(0, 1), min_size=1, max_size=3)),
        "latency": st.floats(0, 1),
    },
)


@st.composite
def streams(draw: st.DrawFn) -> list[list[object]]:
    """Runs of like events, as applications send them, between odd ones."""
    made: list[list[object]] = []
    for _ in range(draw(st.integers(1, 4))):
        part: list[object] = []
        for _ in range(draw(st.integers(1, 4))):
            part += draw(st.lists(events, max_size=4))
            shift = draw(st.sampled_from([0.0, 0.0, 3.0]))
            count, seed = draw(st.integers(0, 90)), draw(st.integers(0, 99))
            part += draw(st.sampled_from([predictions(count, seed, shift), vectors(count, seed)]))
        made.append(part)
    return made


@settings(max_examples=40, deadline=None)
@given(
    streams(),
    st.sampled_from(['"none"', "{ sample = 0.1 }", '"all"']),
    st.sampled_from(["", "recorder = 5", 'reference = { first = "60" }']),
    st.sampled_from(["json", "msgpack"]),
)
def test_any_stream_of_events_gives_the_same(
    parts: list[list[object]], capture: str, more: str, encoding: str
) -> None:
    if more.startswith("reference"):
        more = ""
    play([feeding(part, encoding) for part in parts], capture, more)


# -- no object of an event


def test_predictions_leave_no_trace_in_python() -> None:
    side = Side(configuration('"none"'), fast=True)
    events = [event | {"model": "plain"} for event in predictions(20_000)]  # type: ignore[operator]
    data = b"".join(msgpack.packb(event) for event in events)
    side.feed(data[: len(data) // 20], 100 * SECOND)
    side.feed(data[len(data) // 20 :], 101 * SECOND)
    calls = 0

    def profiler(_frame: object, _event: str, _argument: object) -> None:
        nonlocal calls
        calls += 1

    blocks = sys.getallocatedblocks()
    sys.setprofile(profiler)
    try:
        side.feed(data, 102 * SECOND)
    finally:
        sys.setprofile(None)
    assert side.counters.get(SLOW) == 100
    assert side.pipeline.table.predictions == 39_900
    # 20 blocks of 1,024 are told of one by one; their predictions are not.
    assert calls < 20 * 30
    assert sys.getallocatedblocks() - blocks < 200
