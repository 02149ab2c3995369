"""Each fault of the data raises its event once and ends it once; a healthy twin raises none."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from edgemon.agent.pipeline import Pipeline
from edgemon.agent.status import model_status
from edgemon.config import parse
from edgemon.drift.build import ProfileBuilder
from edgemon.drift.profile import Profile
from edgemon.ingest.protocol import Connection, Limits
from edgemon.metrics import Counters
from edgemon.records import Event, Prediction, Row

SECOND = 10**9
WALL_S = 1_800_000_000.0
WINDOW = 200
READ = 40  # predictions in a read
Values = dict[str, Any]
Spoil = Callable[[Values, random.Random], Values]


def healthy(rng: random.Random, at_s: float) -> Values:
    features = {
        "a": rng.gauss(0.0, 1.0),
        "flag": float(rng.random() < 0.02),
        "level": float(rng.randrange(4)),
        "colour": rng.choice("rgb"),
    }
    return {
        "model": "m",
        "features": features,
        "output": rng.random(),
        "ts": WALL_S + at_s + rng.random() * 0.01,
    }


def without_text(values: Values) -> Values:
    """So that it goes past Python."""
    values["features"].pop("colour")
    return values


def profile(*, text: bool) -> Profile:
    rng, builder = random.Random(1), ProfileBuilder("m")
    for number in range(5_000):
        values = healthy(rng, number)
        for name, value in values["features"].items():
            if isinstance(value, str):
                if text:
                    builder.text(f"f:{name}", value)
            else:
                builder.number(f"f:{name}", value)
        builder.number("output", values["output"])
        builder.row_done()
    return Profile.from_bytes(builder.finish().to_bytes(1), window=WINDOW)


TOML = f"[drift]\nwindow = {WINDOW}\n"


class Device:
    """A pipeline that is fed as a socket would, by default 20 predictions a second."""

    def __init__(
        self, made: Profile | None, more: str = "", *, text: bool = False, every_s: float = 0.05
    ) -> None:
        config = parse(TOML + '[models."*"]\ncapture = "none"\n' + more, "/tmp/edgemon.toml")
        if made is not None:
            settings = config.models["*"]._replace(profile="p")
            config = config._replace(models={"*": settings})
        self.events: list[Event] = []
        self.rows: list[Row] = []
        self.pipeline = Pipeline(
            config,
            {"p": made} if made is not None else {},
            Counters(),
            lambda _kind, row, _mono: self.rows.append(row),
            lambda event, _mono: self.events.append(event),
        )
        self.connection = Connection(Limits(), Counters())
        self.rng = random.Random(7)
        self.number = 0
        self.every_s = every_s
        self.text = text
        self.last: Values = {}

    def run(self, count: int, spoil: Spoil | None = None) -> None:
        """So many predictions more."""
        for start in range(0, count, READ):
            batch = []
            for _ in range(min(READ, count - start)):
                values = healthy(self.rng, self.at_s)
                values = values if self.text else without_text(values)
                self.number += 1
                self.last = values if spoil is None else spoil(values, self.rng)
                batch.append(msgpack.packb(self.last))
            self.feed(b"".join(batch))

    def feed(self, data: bytes) -> None:
        now_s = 1_000.0 + self.at_s
        mono_ns = round(now_s * SECOND)
        self.pipeline.close_due_windows(mono_ns)
        self.pipeline.begin(mono_ns, WALL_S + self.at_s)
        for record in self.connection.feed_into(self.pipeline.table, data):
            assert isinstance(record, Prediction)
            self.pipeline.prediction(record, mono_ns, WALL_S)

    def wait(self, silent_s: float) -> None:
        """No prediction for so long, with the timers that the agent has."""
        end_s = 1_000.0 + self.at_s + silent_s
        while (due_s := self.pipeline.next_due_s()) is not None and due_s <= end_s:
            self.pipeline.close_due_windows(round((due_s + 0.001) * SECOND))
        self.number += round(silent_s / self.every_s)

    @property
    def at_s(self) -> float:
        """Seconds since the start."""
        return self.every_s * self.number

    def told(self) -> list[tuple[str, str]]:
        """(type, stream) of the events about quality."""
        return [(one.type, one.stream) for one in self.events if one.type.startswith("quality.")]

    def event(self, kind: str) -> Event:
        (found,) = [one for one in self.events if one.type == f"quality.{kind}"]
        return found


def put(name: str, value: Any, share: float = 1.0) -> Spoil:
    def spoil(values: Values, rng: random.Random) -> Values:
        if rng.random() < share:
            values["features"][name] = value
        return values

    return spoil


def drop(name: str, share: float = 1.0) -> Spoil:
    def spoil(values: Values, rng: random.Random) -> Values:
        if rng.random() < share:
            del values["features"][name]
        return values

    return spoil


def shift_time(by_s: float, share: float = 1.0) -> Spoil:
    def spoil(values: Values, rng: random.Random) -> Values:
        if rng.random() < share:
            values["ts"] += by_s
        return values

    return spoil


def repeat(values: Values, rng: random.Random, kept: list[Values] = []) -> Values:  # noqa: B006
    """Every second prediction has the features of the one before."""
    if kept and rng.random() < 0.3:
        values["features"] = dict(kept[0])
    kept[:] = [values["features"]]
    return values


FAULTS: dict[str, tuple[Spoil, str, str]] = {
    "null": (put("a", None, 0.2), "missing", "f:a"),
    "NaN": (put("a", math.nan, 0.2), "nan", "f:a"),
    "infinite": (put("a", math.inf, 0.2), "infinite", "f:a"),
    "minus infinite": (put("a", -math.inf, 0.2), "infinite", "f:a"),
    "another unit": (put("a", 250.0, 0.2), "out_of_range", "f:a"),
    "text": (put("a", "n/a", 0.2), "wrong_type", "f:a"),
    "absent": (drop("a", 0.3), "features_changed", ""),
    "repeated": (repeat, "repeated", ""),
    "late": (shift_time(-3_600.0, 0.2), "late", ""),
    "early": (shift_time(120.0, 0.2), "early", ""),
    "disorder": (shift_time(-20.0, 0.2), "out_of_order", ""),
    "stuck": (put("a", 0.123), "stuck", "f:a"),
}
WITH_PROFILE = profile(text=False)


# Without a profile there is no range that a value could be out of.
LEARNT = [(fault, None) for fault, (_, kind, _) in FAULTS.items() if kind != "out_of_range"]


@pytest.mark.parametrize(("fault", "made"), [*LEARNT, *((fault, WITH_PROFILE) for fault in FAULTS)])
def test_a_fault_is_told_once_and_its_end_once(fault: str, made: Profile | None) -> None:
    spoil, kind, stream = FAULTS[fault]
    device = Device(made)
    device.run(2_000)
    assert device.told() == []
    device.run(800, spoil)
    event = device.event(kind)
    assert event.stream == stream and event.message
    data: dict[str, Any] = event.data or {}
    assert 2_000 < data["prediction"] <= 2_600
    assert abs(data["since_prediction"] - 2_000) < 40
    device.run(1_000)
    told = device.told()
    assert told.count((f"quality.{kind}", stream)) == 1
    assert told.count(("quality.recovered", stream)) >= 1
    assert model_status(device.pipeline.find("m", None), 0.0)["quality"] == []


@pytest.mark.parametrize("made", [None, WITH_PROFILE], ids=["learnt", "profile"])
def test_a_healthy_twin_raises_nothing(made: Profile | None) -> None:
    device = Device(made)
    device.run(30_000)
    assert device.told() == []


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_what_was_so_from_the_start_is_normal_without_a_profile(share: float) -> None:
    device = Device(None)
    for spoil in (put("a", None, share), put("a", math.nan, share), shift_time(-3_600.0, share)):
        device.run(1_000, spoil)
        break
    device.run(20_000, put("a", None, share))
    assert device.told() == []


def test_times_that_were_ahead_of_the_clock_from_the_start_are_told_all_the_same() -> None:
    """Milliseconds for seconds, in every prediction from the first on."""

    def in_ms(values: Values, _rng: random.Random) -> Values:
        return values | {"ts": values["ts"] * 1000.0}

    device = Device(None)
    device.run(2_000, in_ms)
    assert device.told() == [("quality.early", "")]
    assert "seconds since 1970" in device.event("early").message
    late = Device(None)  # by an hour, always: somebody who sends what is stored
    late.run(2_000, shift_time(-3_600.0))
    assert late.told() == []


def test_a_new_category_is_told_and_a_known_one_is_not() -> None:
    for made in (None, profile(text=True)):
        device = Device(made, text=True)
        device.run(2_000)
        device.run(100, put("colour", "violet", 0.3))
        event = device.event("new_category")
        assert event.stream == "f:colour" and "; the latest is 'violet'" in event.message
        assert device.told().count(("quality.new_category", "f:colour")) == 1


def test_a_value_out_of_range_is_named() -> None:
    device = Device(WITH_PROFILE)
    device.run(2_000)
    device.run(800, put("a", 250.0, 0.2))
    assert "; the latest is 250.0;" in device.event("out_of_range").message


def test_a_duration_below_zero_is_out_of_range_without_a_profile() -> None:
    device = Device(None)
    device.run(2_000, lambda values, _: values | {"latency": 0.01})
    assert device.told() == []
    device.run(800, lambda values, rng: values | {"latency": -0.01 if rng.random() < 0.2 else 0.01})
    event = device.event("out_of_range")
    assert event.stream == "latency" and "the latest is -0.01" in event.message
    assert device.told() == [("quality.out_of_range", "latency")]


def test_a_feature_that_appears_is_told_once() -> None:
    device = Device(WITH_PROFILE)
    device.run(500)
    device.run(500, put("new", 1.0, 0.5))
    assert device.event("features_changed").stream == "f:new"


def test_flags_and_levels_may_stand_still_for_as_long_as_their_ties_let_expect() -> None:
    device = Device(WITH_PROFILE)
    device.run(2_000)
    device.run(400, put("flag", 0.0))
    assert device.told() == []
    device.run(200, put("level", 1.0))
    assert device.event("stuck").stream == "f:level"


def test_what_never_moved_while_it_was_learnt_may_stand_for_ever() -> None:
    device = Device(None)
    device.run(5_000, put("flag", 1.0))
    assert device.told() == []


def test_after_a_run_that_ended_only_one_twice_as_long_is_told() -> None:
    device = Device(None)
    device.run(2_000)
    for count in (300, 300, 700):
        device.run(count, put("a", 0.5))
        device.run(50)
    kinds = [kind for kind, stream in device.told() if stream == "f:a"]
    assert kinds == ["quality.stuck", "quality.recovered"] * 2


# -- rules


def test_rules_hold_without_any_profile() -> None:
    rules = '[models."*".quality]\nrange = { a = [-6, 6] }\nstuck_after = 20\nmay_stand_still = ["flag"]\n'
    device = Device(None, rules)
    device.run(2_000)
    device.run(60, put("a", 7.0, 0.5))
    assert device.event("out_of_range").data["range"] == [-6.0, 6.0]  # type: ignore[index]
    device.run(30, put("a", 1.0))
    assert device.event("stuck").data["run"] == 20  # type: ignore[index]
    assert device.event("stuck").message.endswith(
        "the same value 1.0, 20 is too often by stuck_after"
    )


def test_what_is_ignored_is_counted_and_not_told() -> None:
    device = Device(None, '[models."*".quality]\nignore = ["nan", "late"]\n')
    device.run(2_000)
    device.run(500, put("a", math.nan, 0.5))
    device.run(500, shift_time(-4_000.0, 0.5))
    assert [kind for kind, _ in device.told() if kind in ("quality.nan", "quality.late")] == []
    device.pipeline.close_all_windows(10**15)
    assert any(row.get("late") for row in device.rows)


def test_off_is_off() -> None:
    device = Device(None, '[models."*".quality]\nenabled = false\n')
    device.run(2_000)
    device.run(1_000, put("a", math.nan))
    assert device.told() == []
    assert device.pipeline.find("m", None).quality is None


# -- silence


def test_a_regular_model_that_falls_silent_is_told_and_heard_again() -> None:
    device = Device(None, every_s=2.0)
    device.run(45_000)  # more than a day
    device.wait(500.0)
    assert device.told() == []
    device.run(40)
    device.wait(6_500.0)
    device.run(40)
    assert device.told() == [("quality.silence", ""), ("quality.recovered", "")]
    assert device.event("silence").data["limit_s"] < 6_500  # type: ignore[index,operator]


def test_a_model_that_rests_at_night_is_never_missed() -> None:
    device = Device(None, every_s=5.0)
    for _ in range(4):
        device.run(4_000)
        device.wait(86_400.0 - 20_000.0)
    assert device.told() == []


def test_a_model_without_a_pace_of_its_own_is_never_missed() -> None:
    device = Device(None)
    chance = random.Random(3)
    for _ in range(200):
        device.run(chance.randrange(1, 30))
        device.wait(chance.paretovariate(0.8))
    assert device.told() == []


def test_a_longest_pause_by_rule_is_told_at_its_time() -> None:
    device = Device(None, '[models."*".quality]\nmax_silence = "10s"\n')
    device.run(40)
    device.wait(9.0)
    assert device.told() == []
    device.run(40)
    device.wait(12.0)
    assert device.told() == [("quality.silence", "")]


def test_an_old_version_is_not_missed_where_a_new_one_speaks() -> None:
    device = Device(None, '[models."*".quality]\nmax_silence = "10s"\n')
    device.run(40)

    def newer(values: Values, _rng: random.Random) -> Values:
        return values | {"version": "2"}

    for _ in range(20):
        device.run(40, newer)
        device.wait(2.0)
    assert device.told() == []


def test_a_model_that_is_expected_and_never_comes_is_told() -> None:
    device = Device(None, '[models.m.quality]\nmax_silence = "10s"\n')
    device.pipeline.silences.expect(device.pipeline._config, 1_000.0)
    device.wait(15.0)
    assert [(one.type, one.model) for one in device.events] == [("quality.silence", "m")]
    device.run(40)
    assert device.told() == [("quality.silence", ""), ("quality.recovered", "")]


def test_the_pace_of_a_version_that_was_let_go_is_known_when_it_comes_again() -> None:
    device = Device(None, '[models.m]\nversion_ttl = "5m"\nwindow = "10s"\n', every_s=2.0)
    device.run(45_000)
    for _ in range(3):
        device.wait(2_000.0)  # the first is told, the next are no longer than that
        device.run(2_000)
    types = [one.type for one in device.events]
    assert types.count("model.retired") == 3
    assert types.count("quality.silence") == 1


def test_what_the_agent_did_not_listen_to_is_no_silence() -> None:
    device = Device(None, '[models."*".quality]\nmax_silence = "10s"\n')
    device.run(40)
    now_s = 1_000.0 + device.at_s
    for step in range(1, 60):
        device.pipeline.close_due_windows(round((now_s + step) * SECOND), listening=False)
    assert device.told() == []


# -- counts and the clock


def test_counts_of_a_window_stand_in_its_rows() -> None:
    device = Device(WITH_PROFILE)
    device.run(200)
    device.pipeline.close_all_windows(2_000 * SECOND)
    device.rows.clear()
    device.run(10, put("a", 99.0))
    device.run(10, drop("a"))
    device.run(10, shift_time(-4_000.0))
    device.run(60, put("level", 2.0))
    device.pipeline.close_all_windows(3_000 * SECOND)
    rows: dict[Any, Any] = {row["stream"]: row for row in device.rows}
    assert rows["f:a"]["out_of_range"] == 10 and rows["f:a"]["missing"] == 10
    assert (rows[""]["features_changed"], rows[""]["late"], rows[""]["out_of_order"]) == (10, 10, 1)
    assert rows["f:level"]["longest_run"] >= 60


def test_a_step_of_the_clock_makes_nothing_late() -> None:
    device = Device(None, '[models."*".quality]\nlearn = 100\n')
    device.run(500)
    device.pipeline.close_all_windows(round((1_000.0 + device.at_s) * SECOND), "clock")
    device.run(100, shift_time(-90_000.0))  # sent before the step
    device.number += 2_000
    device.run(1_000)
    assert device.told() == []
