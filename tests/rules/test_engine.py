"""When rules fire and clear, for whom, and how often that is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon._core.sketch import QuantileSketch
from edgemon.config import parse
from edgemon.config.settings import RuleSettings
from edgemon.config.toml import quoted
from edgemon.performance.outcome import Classified, Measured
from edgemon.performance.scores import Scores
from edgemon.records import Row
from edgemon.rules.engine import MAX_METRICS, Engine
from edgemon.rules.rule import MAX_INSTANCES, Key, Notice


def rules(*texts: str) -> list[RuleSettings]:
    """Of the lines of one [[rules]] table each; a bare condition is its `when`."""
    tables = [text if text.startswith("when") else f"when = {quoted(text)}" for text in texts]
    return parse("".join(f"[[rules]]\n{table}\n" for table in tables)).rules


def told(notices: list[Notice]) -> list[tuple[str, str]]:
    return [(notice.state, notice.key.words()) for notice in notices]


def model_row(n: int, span_s: float = 60.0) -> Row:
    return {"stream": "", "n": n, "dur": round(span_s * 1e6)}


def stream_row(stream: str, **columns: Any) -> Row:
    full: Row = {"ks_threshold": 20} if "d" in columns else {}
    row: Row = {"stream": stream, "n": 100}
    return row | full | columns


class World:
    """An engine, and the models that there are."""

    def __init__(self, *texts: str, named: tuple[str, ...] = ()) -> None:
        self.engine = Engine(rules(*texts), named, 0.0)
        self.seen_s: dict[tuple[str, str], float] = {}

    def window(
        self, now_s: float, d: float | None, model: str = "m", stream: str = "f:a"
    ) -> list[tuple[str, str]]:
        """A window of version 1 whose one stream has this distance; None: nothing came."""
        rows = [] if d is None else [model_row(100), stream_row(stream, d=d)]
        if rows:
            self.seen_s[model, "1"] = now_s
        return told(self.engine.window(model, "1", rows, now_s))

    def look(self, now_s: float, **values: float) -> list[tuple[str, str]]:
        seen = {model: at for (model, _), at in sorted(self.seen_s.items())}
        named = {name.replace("__", "."): value for name, value in values.items()}
        return told(self.engine.look(named, seen, self.seen_s.keys(), now_s))

    def state(self) -> str:
        return str(self.engine.status(0.0)[0]["state"])


FIRED, CLEARED = (
    [("fired", "model m, version 1, stream f:a")],
    [("cleared", "model m, version 1, stream f:a")],
)


def test_a_rule_fires_at_once_and_clears_when_it_does_not_hold_any_more() -> None:
    world = World("drift.d > 0.2")
    assert world.window(0.0, 0.1) == []
    assert world.window(60.0, 0.3) == FIRED
    assert world.window(120.0, 0.4) == []
    assert world.window(180.0, 0.2) == CLEARED
    assert world.window(240.0, 0.1) == []


def test_for_is_how_long_it_must_hold_without_a_break() -> None:
    world = World("drift.d > 0.2 for 5m")
    assert world.window(0.0, 0.3) == []
    assert world.state() == "pending"
    assert world.window(240.0, 0.1) == []
    assert world.state() == "ok"
    assert world.window(300.0, 0.3) == []
    assert world.window(540.0, 0.3) == []
    assert world.look(599.9) == []
    assert world.look(600.0) == FIRED  # by time alone, between two windows


def test_a_window_without_the_figure_begins_nothing_and_ends_nothing() -> None:
    world = World("drift.d > 0.2 for 5m")
    world.window(0.0, 0.3)
    assert world.window(60.0, None) == []
    assert world.state() == "ok"  # what was pending begins anew
    world.window(120.0, 0.3)
    assert world.window(420.0, 0.3) == FIRED
    assert world.window(480.0, None) == []
    assert world.state() == "firing"
    assert world.window(540.0, 0.1) == CLEARED


def test_clear_is_a_way_out_of_its_own() -> None:
    world = World('when = "drift.d > 0.2"\nclear = "drift.d < 0.15 for 2m"\nmin_interval = "0s"')
    assert world.window(0.0, 0.3) == FIRED
    assert world.window(60.0, 0.18) == []  # between the two
    assert world.window(120.0, 0.1) == []
    assert world.window(180.0, 0.16) == []  # the way out has closed again
    assert world.window(240.0, 0.1) == []
    assert world.window(300.0, 0.1) == []
    assert world.look(359.0) == []
    assert world.look(360.0) == CLEARED
    assert world.window(420.0, 0.18) == []
    assert world.window(480.0, 0.21) == FIRED


def test_it_holds_for_each_stream_and_model_that_has_the_figure() -> None:
    world = World("drift.d > 0.2")
    rows = [
        model_row(9),
        stream_row("f:a", d=0.3),
        stream_row("f:b", d=0.1),
        stream_row("f:c", d=0.5),
        stream_row("f:t"),
    ]
    assert told(world.engine.window("m", "1", rows, 0.0)) == [
        ("fired", "model m, version 1, stream f:a"),
        ("fired", "model m, version 1, stream f:c"),
    ]
    assert told(world.engine.window("n", "2", rows[:2], 0.0)) == [
        ("fired", "model n, version 2, stream f:a")
    ]


def test_model_and_stream_restrict_it_by_pattern() -> None:
    world = World('when = "drift.d > 0.2"\nmodel = "cam*"\nstream = "f:?"')
    assert world.window(0.0, 0.3, "fraud") == []
    assert world.window(0.0, 0.3, "cam7", "f:amount") == []
    assert world.window(0.0, 0.3, "cam7") == [("fired", "model cam7, version 1, stream f:a")]


def test_figures_of_a_window() -> None:
    sketch = QuantileSketch()
    for value in range(1, 1001):
        sketch.push(value / 1000)
    rows: list[Row] = [
        model_row(1200) | {"errors": 300, "repeated": 600, "late": 120},
        stream_row("latency", mean=0.5, m2=25.0, max=1.0, sketch=sketch.to_bytes()),
        stream_row(
            "f:a",
            d=0.3,
            ks_h=30,
            ks_threshold=20,
            drifted=1,
            mean=2.0,
            m2=400.0,
            missing=50,
            out_of_range=10,
            longest_run=60,
            nan=25,
            wrong_type=25,
        ),
        {"stream": "f:t", "n": 0, "cats": '{"x": 30, "y": 60}', "missing": 10, "new_category": 20},
    ]
    expected = {
        "errors == 300": 1, "errors.share == 20%": 1, "rate >= 20": 1, "rate > 20": 0,
        "latency.mean >= 500ms": 1, "latency.max >= 1s": 1, "latency.p99 > 975ms and latency.p99 < 1s": 1,
        "latency.p50 > 490ms and latency.p50 < 511ms": 1, "value.p50 > 0.45": 1,
        "repeated == 50% and late == 10% and early == 0 and out_of_order == 0": 1, "features_changed == 0": 1,
        "new_category == 20%": 1, "out_of_range == 5%": 1, "longest_run == 60": 1,
        "drift.ratio >= 1.5 and drift.ratio <= 1.5": 1, "drift.drifted == 1": 1, "value.mean == 2": 1,
        "value.deviation == 2": 1, "missing == 25%": 1, "invalid == 25%": 1, "missing == 10%": 1,
    }  # fmt: skip
    for text, count in expected.items():
        engine = Engine(rules(text), (), 0.0)
        assert len(engine.window("m", "1", rows, 0.0)) == count, text


def test_a_tested_window_that_fills_has_no_distance_yet() -> None:
    """Sixty healthy values of a window of 1000 were told as a ratio of 66."""
    filling = stream_row("f:a", d=0.9, ks_n=60, ks_h=5_000, ks_threshold=None)
    for text in ("drift.d > 0.2", "drift.ratio > 1", "drift.d <= 0.99"):
        assert Engine(rules(text), (), 0.0).window("m", "1", [model_row(60), filling], 0.0) == [], (
            text
        )


def test_figures_of_truths() -> None:
    classes, quantity = Scores(), Scores()
    for true in ("a", "a", "a", "b"):
        classes.push(Classified(true, "a", 0.9, 0.5))
    for error in (3.0, -1.0):
        quantity.push(Measured(error))
    rows = [
        [model_row(10) | {"est_n": 8, "est_correct": 6.0}, {"stream": "truth", **classes.row()}],
        [model_row(10), {"stream": "truth", **quantity.row()}],
    ]
    expected = {
        "truths == 4 and accuracy == 75%": 0, "accuracy.estimated == 0.75": 0,
        "brier == 0.5 and ece > 0.14 and ece < 0.16": 0,
        "mae == 2 and bias == 1 and rmse > 2.23 and rmse < 2.24": 1, "truths == 2": 1,
    }  # fmt: skip
    for text, which in expected.items():
        fired = [len(Engine(rules(text), (), 0.0).window("m", "1", one, 0.0)) for one in rows]
        assert fired == [which == 0, which == 1], text


def test_an_empty_window_has_a_rate_of_zero() -> None:
    engine = Engine(rules("rate < 1/m"), (), 0.0)
    assert told(engine.window("m", "1", [], 0.0)) == [("fired", "model m, version 1")]


def test_silence_is_of_the_model_whatever_its_version() -> None:
    world = World("silence > 2m")
    world.seen_s = {("m", "1"): 0.0}
    assert world.look(120.0) == []
    world.seen_s["m", "2"] = 100.0  # a new version goes on where the old one ended
    assert world.look(150.0) == []
    assert world.look(220.5) == [("fired", "model m")]
    world.seen_s["m", "2"] = 230.0
    assert world.look(231.0) == [("cleared", "model m")]


def test_a_model_that_is_named_is_silent_from_the_beginning_and_stays_so_when_it_is_let_go() -> (
    None
):
    world = World('when = "silence > 2m"\nmodel = "camera"', named=("fraud",))
    assert world.look(121.0) == [("fired", "model camera")]
    assert world.look(9999.0) == []
    world = World("silence > 2m", named=("fraud",))
    world.seen_s = {("fraud", "1"): 10.0, ("other", "1"): 10.0}
    assert world.look(131.0) == [("fired", "model fraud"), ("fired", "model other")]
    world.seen_s = {}
    assert world.look(4000.0) == [("cleared", "model other")]
    assert world.look(4001.0) == []
    assert world.state() == "firing"


def test_a_model_that_another_rule_names_is_none_of_this_one_s_until_it_is_there() -> None:
    world = World('when = "silence > 1m"\nmodel = "camera"\nmin_interval = "0s"', "silence > 2m")
    assert world.look(130.0) == [("fired", "model camera")]
    world.seen_s = {("camera", "1"): 140.0}
    assert world.look(141.0) == [("cleared", "model camera")]
    assert world.look(300.0) == [("fired", "model camera"), ("fired", "model camera")]
    world.seen_s = {}  # let go: the rule that names it goes on
    assert world.look(301.0) == [("cleared", "model camera")]
    assert [bool(rule.instances) for rule in world.engine.rules] == [True, False]


def test_what_is_let_go_while_it_fires_is_told_to_be_over() -> None:
    world = World("drift.d > 0.2")
    assert world.window(0.0, 0.3) == FIRED
    world.seen_s = {}
    assert world.look(5.0) == CLEARED
    assert world.engine.rules[0].instances == {}


def test_a_pattern_of_series_is_a_rule_for_each_that_the_device_has() -> None:
    engine = Engine(rules("system.temperature_* > 80°C and clients > 0"), (), 0.0)
    engine.look({"clients": 1.0}, {}, (), 0.0)
    hot = {"temperature_cpu_celsius": 81.0, "temperature_gpu_celsius": 70.0, "cpu_percent": 99.0}
    assert told(engine.sample(hot, 10.0)) == [("fired", "series temperature_cpu_celsius")]
    assert (
        told(engine.sample({"temperature_gpu_celsius": 70.0}, 20.0)) == []
    )  # the sensor is gone: unknown
    assert told(engine.sample(hot | {"temperature_cpu_celsius": 79.0}, 30.0)) == [
        ("cleared", "series temperature_cpu_celsius")
    ]


def test_a_series_that_was_gone_begins_anew_when_it_is_back() -> None:
    engine = Engine(rules("system.temperature_* > 80°C for 1m"), (), 0.0)
    hot = {"temperature_cpu_celsius": 81.0}
    assert engine.sample(hot, 0.0) == []
    assert engine.sample({}, 30.0) == []
    assert engine.sample(hot, 40.0) == []
    assert engine.sample(hot, 99.0) == []
    assert told(engine.sample(hot, 100.0)) == [("fired", "series temperature_cpu_celsius")]


def test_a_series_of_a_plugin_is_named_without_being_known() -> None:
    engine = Engine(rules("plugin.soil_moisture_percent < 20%", "plugin.soil_* > 90"), (), 0.0)
    assert told(engine.sample({"soil_moisture_percent": 15.0}, 0.0)) == [("fired", "")]
    assert told(engine.sample({"soil_moisture_percent": 95.0}, 0.0)) == [
        ("cleared", ""),
        ("fired", "series soil_moisture_percent"),
    ]


def test_a_reported_metric_is_judged_as_it_comes() -> None:
    engine = Engine(rules('metric."queue length" > 3', "metric.x* > 1"), (), 0.0)
    assert engine.report("other", 9.0, 0.0) == []
    assert told(engine.report("queue length", 4.0, 0.0)) == [("fired", "")]
    assert told(engine.report("x1", 4.0, 0.0)) == [("fired", "series x1")]
    assert told(engine.report("queue length", 1.0, 1.0)) == [("cleared", "")]


def test_a_value_that_is_not_finite_is_no_value() -> None:
    engine = Engine(rules("metric.x > 1", "not metric.x > 1"), (), 0.0)
    for value in (float("nan"), float("inf")):
        assert engine.report("x", value, 0.0) == []


def test_firings_within_min_interval_are_counted_and_not_told() -> None:
    world = World('when = "drift.d > 0.2"\nmin_interval = "10m"')
    assert world.window(0.0, 0.3) == FIRED
    assert world.window(60.0, 0.1) == CLEARED
    for at in range(120, 600, 120):
        assert world.window(float(at), 0.3) == []
        assert world.state() == "firing"  # it is so, though it is not told
        assert world.window(float(at + 60), 0.1) == []
    [notice] = world.engine.window("m", "1", [model_row(9), stream_row("f:a", d=0.3)], 600.0)
    assert notice.suppressed == 4
    assert "4 more were not told" in notice.message
    assert world.engine.status(0.0)[0]["suppressed"] == 4


def test_what_was_not_told_when_it_began_is_told_when_it_goes_on_for_so_long() -> None:
    world = World('when = "drift.d > 0.2"\nclear = "drift.d < 0.1"\nmin_interval = "10m"')
    assert world.window(0.0, 0.3) == FIRED
    assert world.window(60.0, 0.05) == CLEARED
    assert world.window(120.0, 0.3) == []  # and it stays
    assert world.look(599.0) == []
    world.window(599.5, 0.15)
    assert world.look(600.0) == []  # it is between the two
    assert world.window(660.0, 0.3) == FIRED
    assert world.engine.status(0.0)[0]["suppressed"] == 1
    assert world.engine.rules[0].untold == 0
    assert world.window(720.0, 0.3) == []
    assert world.window(780.0, 0.05) == CLEARED


def test_no_more_than_max_per_hour_are_told_of_all_instances() -> None:
    engine = Engine(rules('when = "drift.d > 0.2"\nmax_per_hour = 3'), (), 0.0)
    rows = [stream_row(f"f:{number}", d=0.3) for number in range(10)]
    assert len(engine.window("m", "1", rows, 0.0)) == 3
    assert engine.status(0.0)[0]["suppressed"] == 7
    assert len(engine.window("n", "1", rows, 3600.0)) == 3


def test_metrics_are_bounded_and_a_reload_makes_room_for_those_that_are_named_then() -> None:
    engine = Engine(rules("metric.* > 1"), (), 0.0)
    for number in range(MAX_METRICS + 3):
        engine.report(f"junk{number}", 2.0, 0.0)
    assert engine.report("late", 2.0, 0.0) == []
    assert engine.ended.left_out == 4
    engine.reconfigure(rules("metric.l* > 1"), (), 1.0)
    assert [notice.key.series for notice in engine.report("late", 2.0, 2.0)] == ["late"]


DAY_S = 86_400.0


def test_a_metric_that_nobody_reports_for_a_day_makes_room_and_what_fired_for_it_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgemon.rules.engine.MAX_METRICS", 8)
    engine = Engine(
        rules('when = "metric.* > 1"\nmax_per_hour = 1000', "metric.x > 1 or spool.fill > 90"),
        (),
        0.0,
    )
    for name in ["x", *(f"junk{number}" for number in range(7))]:
        engine.report(name, 2.0, 0.0)
    engine.report("junk0", 2.0, DAY_S)
    assert engine.look({}, {}, [], DAY_S) == []
    assert engine.report("late", 2.0, DAY_S) == []
    over = engine.look({}, {}, [], DAY_S + 60.0)
    assert {notice.state for notice in over} == {"cleared"}
    assert "was not reported for 1d" in over[0].message
    assert [notice.key.series for notice in over if notice.key == Key()] == [""]
    firing = engine.status(DAY_S)[0]["instances"]
    assert [one["series"] for one in firing] == ["junk0"]  # type: ignore[attr-defined]
    assert engine.status(DAY_S)[1]["state"] == "ok"
    assert told(engine.report("late", 2.0, DAY_S + 61.0)) == [("fired", "series late")]
    assert told(engine.look({}, {}, [], 2 * DAY_S)) == []
    assert told(engine.look({}, {}, [], 2 * DAY_S + 60.0)) == [("cleared", "series junk0")]


def test_a_rule_goes_on_when_one_of_its_metrics_is_forgotten_and_another_figure_holds_it() -> None:
    engine = Engine(rules("metric.x > 1 or spool.fill > 90"), (), 0.0)
    assert told(engine.report("x", 2.0, 0.0)) == [("fired", "")]
    assert told(engine.look({"spool.fill": 95.0}, {}, [], 2 * DAY_S)) == []
    assert engine.status(0.0)[0]["state"] == "firing"
    assert told(engine.look({"spool.fill": 5.0}, {}, [], 2 * DAY_S + 1.0)) == []  # x is unknown


def test_a_metric_is_kept_for_as_long_as_a_rule_waits() -> None:
    engine = Engine(rules("metric.x > 1 for 3d"), (), 0.0)
    engine.report("x", 2.0, 0.0)
    assert engine.look({}, {}, [], 3 * DAY_S - 1.0) == []
    assert told(engine.look({}, {}, [], 3 * DAY_S + 100.0)) == [("fired", "")]
    assert engine.look({}, {}, [], 4 * DAY_S - 100.0) == []
    assert told(engine.look({}, {}, [], 4 * DAY_S + 100.0)) == [("cleared", "")]


def test_instances_are_bounded_and_those_without_a_place_are_counted() -> None:
    engine = Engine(rules("drift.d > 0.2 for 1h"), (), 0.0)
    rows = [stream_row(f"f:{number}", d=0.3) for number in range(MAX_INSTANCES + 5)]
    engine.window("m", "1", rows, 0.0)
    assert engine.status(0.0)[0]["pending"] == MAX_INSTANCES
    assert engine.status(0.0)[0]["left_out"] == 5


def test_an_instance_at_rest_takes_no_memory() -> None:
    world = World('when = "drift.d > 0.2"\nmin_interval = "5m"')
    world.window(0.0, 0.3)
    world.window(60.0, 0.1)
    assert len(world.engine.rules[0].instances) == 1  # remembered for min_interval
    world.window(300.0, 0.1)
    assert world.engine.rules[0].instances == {}


def test_a_reload_keeps_what_is_as_it_was() -> None:
    both = ("drift.d > 0.2 for 5m", 'when = "drift.d > 0.25"\nname = "b"')
    world = World(*both)
    world.window(0.0, 0.3)
    after = rules(both[0], 'when = "drift.d > 0.26"\nname = "b"')
    notices = world.engine.reconfigure(after, (), 100.0)
    assert [(notice.rule.name, notice.state) for notice in notices] == [("b", "cleared")]
    assert world.look(299.0) == []
    assert world.look(300.0) == FIRED  # it was pending all the time
    assert [rule.settings for rule in world.engine.rules] == after
    assert world.engine.ended.fired == 1


def test_a_message_says_what_where_and_how_much() -> None:
    sketch = QuantileSketch()
    sketch.push(0.312)
    engine = Engine(rules('when = "latency.p99 > 250ms"\nname = "slow"'), (), 0.0)
    rows = [model_row(9), stream_row("latency", sketch=sketch.to_bytes())]
    [notice] = engine.window("fraud", "3", rows, 7.0)
    assert notice.message == "slow: latency.p99 is 312ms (model fraud, version 3)"
    assert notice.key == Key("fraud", "3")
    assert notice.values == {"latency.p99": pytest.approx(0.312, rel=0.01)}


_steps = st.lists(
    st.tuples(st.integers(1, 120), st.none() | st.integers(0, 4)), min_size=1, max_size=40
)


def oracle(
    steps: list[tuple[float, int | None]], for_s: int, clear_for_s: int
) -> list[tuple[float, str]]:
    """When "x > 2 for …" fires and "x < 1 for …" clears, from all that has been so far, at each step anew."""
    said: list[tuple[float, str]] = []
    for now in range(len(steps)):
        at_s = steps[now][0]
        firing = bool(said) and said[-1][1] == "fired"
        begun = next((i for i, (t, _) in enumerate(steps) if said and t == said[-1][0]), -1)
        since = now
        while since > begun and _is(firing, steps[since][1]):
            since -= 1
        if since < now and at_s - steps[since + 1][0] >= (clear_for_s if firing else for_s):
            said.append((at_s, "cleared" if firing else "fired"))
    return said


def _is(firing: bool, value: int | None) -> bool:
    return value is not None and (value < 1 if firing else value > 2)


@given(_steps, st.sampled_from((0, 60, 200)), st.sampled_from((0, 60, 200)))
def test_it_fires_and_clears_when_a_slow_oracle_says_so(
    gaps: list[tuple[int, int | None]], for_s: int, clear_for_s: int
) -> None:
    when = "metric.x > 2" + (f" for {for_s}s" if for_s else "")
    clear = "metric.x < 1" + (f" for {clear_for_s}s" if clear_for_s else "")
    text = f'when = "{when}"\nclear = "{clear}"\nmin_interval = "0s"\nmax_per_hour = 1000'
    engine, steps, said, now_s = Engine(rules(text), (), 0.0), [], [], 0.0
    for gap_s, value in gaps:
        now_s += gap_s
        steps.append((now_s, value))
        given_value = float("nan") if value is None else float(value)
        said += [(now_s, notice.state) for notice in engine.report("x", given_value, now_s)]
    assert said == oracle(steps, for_s, clear_for_s)


def test_it_looks_as_often_as_the_shortest_time_asks_for() -> None:
    assert Engine(rules("drift.d > 0.2"), (), 0.0).step_s == 5.0
    assert Engine(rules("silence > 8s"), (), 0.0).step_s == 2.0
    assert Engine(rules("drift.d > 0.2 for 1s"), (), 0.0).step_s == 1.0
