"""Anomalies of series: the window beside a slow oracle, the detector's life, the watch's bounds and events."""

from __future__ import annotations

import random
import statistics

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon.anomaly import Anomalies
from edgemon.anomaly.detector import EWMA_WEIGHT, Detector, Limits
from edgemon.anomaly.watch import DROPPED, MAX_SERIES, MUTED
from edgemon.anomaly.window import Window
from edgemon.config import AnomalySettings, parse
from edgemon.metrics import Counters
from edgemon.records import Event

METHODS = ("ewma", "moving_average", "robust_z")
_SIZED = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 1.0])


@given(st.lists(_SIZED, min_size=1, max_size=60), st.integers(1, 20))
def test_the_window_agrees_with_a_sort_of_the_latest_values(values: list[float], size: int) -> None:
    window = Window(size)
    for count, value in enumerate(values, 1):
        window.add(value)
        latest = values[max(0, count - size) : count]
        middle = statistics.median(latest)
        assert len(window) == len(latest)
        assert window.median() == pytest.approx(middle, abs=1e-9)
        away = statistics.median(abs(value - window.median()) for value in latest)
        assert window.mad() == pytest.approx(away, rel=1e-12, abs=1e-9)
        for share in (0.0, 0.025, 0.5, 0.975, 1.0):
            assert window.quantile(share) == pytest.approx(np.quantile(latest, share), abs=1e-6)


# --- one series ------------------------------------------------------------------------------------


def limits(method: str = "robust_z", **other: object) -> Limits:
    made = Limits(method, 8.0, 5.0, 0.0, window=100, guard=6, warm_up=50, lasting=3)
    return made._replace(**other)  # type: ignore[arg-type]


def changes(detector: Detector, values: list[float]) -> list[tuple[int, str]]:
    told = ((index, detector.update(value)) for index, value in enumerate(values))
    return [(index, change) for index, change in told if change]


def healthy(count: int, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(50, 2) for _ in range(count)]


def test_the_score_is_the_robust_z_score_of_the_window_before() -> None:
    values = healthy(60)
    detector = Detector(limits(min_effect=0.0))
    changes(detector, values)
    past = values[:-7]  # without the guard
    middle = statistics.median(past)
    spread = 1.4826 * statistics.median(abs(value - middle) for value in past)
    low, high = np.quantile(past, 0.025), np.quantile(past, 0.975)
    spread = max(
        spread, (high - middle) / 1.959964 if values[-1] > middle else (middle - low) / 1.959964
    )
    assert detector.latest is not None
    assert detector.latest.score == pytest.approx(abs(values[-1] - middle) / spread)
    assert detector.latest.expected == middle


def test_the_averages_are_those_of_their_definitions() -> None:
    values = healthy(80)
    ewma, mean = Detector(limits("ewma")), Detector(limits("moving_average"))
    changes(ewma, values)
    changes(mean, values)
    weights = [EWMA_WEIGHT * (1 - EWMA_WEIGHT) ** (79 - index) for index in range(80)]
    weights[0] /= EWMA_WEIGHT
    assert ewma.latest is not None and mean.latest is not None
    assert ewma.latest.statistic == pytest.approx(np.dot(weights, values))
    assert mean.latest.statistic == pytest.approx(np.mean(values[-6:]))


@pytest.mark.parametrize("method", METHODS)
def test_an_excursion_is_told_once_when_it_begins_and_once_when_it_is_over(method: str) -> None:
    values = healthy(80) + [90.0] * 6 + healthy(60, seed=2)
    told = changes(Detector(limits(method)), values)
    assert [change for _, change in told] == ["started", "back"]
    assert 82 <= told[0][0] <= 84  # three in a row; averages take a step or two more
    assert 86 + 2 <= told[1][0] <= 86 + 20


@pytest.mark.parametrize("method", METHODS)
def test_its_healthy_twin_tells_nothing(method: str) -> None:
    assert changes(Detector(limits(method)), healthy(2000)) == []


def test_what_is_shorter_than_min_duration_is_not_told() -> None:
    values = healthy(80)
    for at in (55, 60, 61, 70):
        values[at] = 99.0
    assert changes(Detector(limits()), values) == []


def test_nothing_is_told_during_warm_up() -> None:
    detector = Detector(limits())
    assert changes(detector, [*healthy(20), *[1e6] * (29 + 6)]) == []
    assert detector.latest is None


@pytest.mark.parametrize("method", METHODS)
def test_a_level_that_stays_is_the_new_normal(method: str) -> None:
    shifted = [value + 30 for value in healthy(200, seed=3)]
    told = changes(Detector(limits(method)), healthy(120) + shifted)
    assert [change for _, change in told] == ["started", "adapted"]
    assert (
        told[1][0] <= 120 + 6 + 3 + 3 + 6
    )  # guard, a fortieth of the window, as long as is calm, the average


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("to", "told"), [(54.9, 0), (75.0, 1)])
def test_a_constant_series_has_a_limit_of_its_least_effect(
    method: str, to: float, told: int
) -> None:
    values = [50.0] * 100 + [to] * 30
    assert len([c for _, c in changes(Detector(limits(method)), values) if c == "started"]) == told


def test_a_share_of_the_expected_is_a_least_effect_too() -> None:
    values = [1000.0] * 100 + [1090.0] * 20
    assert changes(Detector(limits(relative_effect=0.1)), values) == []
    assert changes(Detector(limits(relative_effect=0.05)), values) != []


def test_bursts_that_are_usual_are_no_anomaly() -> None:
    """Each tenth value is a burst: MAD says nothing of them, the tail does."""
    values = [90.0 if index % 10 == 0 else 5 + index % 7 / 10 for index in range(1000)]
    assert changes(Detector(limits(lasting=1)), values) == []


def test_below_is_an_anomaly_as_above_is() -> None:
    assert [c for _, c in changes(Detector(limits()), healthy(80) + [10.0] * 5)] == ["started"]


# --- all series of a device ---------------------------------------------------------------------------

_SMALL = "interval = '1s'\nwindow = '64s'\nmin_duration = '3s'\n"


def settings(more: str = "") -> AnomalySettings:
    return parse(f"[system]\ninterval = '1s'\n[system.anomalies]\n{_SMALL}{more}").system.anomalies


class Device:
    """Feeds samples a second apart, and keeps what is told."""

    def __init__(self, what: AnomalySettings) -> None:
        self.counters = Counters()
        self.watch = Anomalies(what, self.counters)
        self.now_s = 0.0
        self.events: list[Event] = []

    def run(self, count: int, **values: float) -> None:
        for _ in range(count):
            self.events += self.watch.sample(values, self.now_s)
            self.now_s += 1.0

    def types(self, series: str = "") -> list[str]:
        return [event.type for event in self.events if not series or event.stream == series]


def test_events_say_what_where_and_how_far() -> None:
    device = Device(settings("method = 'robust_z'"))
    device.run(40, cpu_percent=20.0, load_1m=1.0)
    device.run(6, cpu_percent=95.0, load_1m=1.0)
    [started] = device.events
    assert (started.type, started.severity) == ("anomaly.started", "warning")
    assert started.stream == "cpu_percent"
    assert started.message == "cpu_percent is 95, for 3s above its limit 30; expected 20"
    assert started.data is not None
    assert started.data["score"] == pytest.approx(90.0)
    assert set(device.watch.active()) == {"cpu_percent"}
    device.run(8, cpu_percent=21.0, load_1m=1.0)
    [_, cleared] = device.events
    assert (cleared.type, cleared.severity) == ("anomaly.cleared", "info")
    assert cleared.message == "cpu_percent is back at 21"
    assert device.watch.active() == {}


def test_a_step_is_the_mean_of_its_samples() -> None:
    steps = settings("method = 'robust_z'")
    device = Device(steps._replace(interval_s=10.0, window_s=400.0, min_duration_s=10.0))
    for _ in range(40):
        device.run(5, cpu_percent=10.0)
        device.run(5, cpu_percent=30.0)
    device.run(10, cpu_percent=90.0)
    device.run(1, cpu_percent=90.0)
    [started] = device.events
    assert started.data is not None
    assert started.data["expected"] == 20.0
    assert started.data["value"] == pytest.approx(90.0)


@pytest.mark.parametrize(
    ("more", "series", "told"),
    [
        ("", "cpu_percent", True),
        ('exclude = ["cpu_*"]', "cpu_percent", False),
        ('include = ["temperature_*"]', "cpu_percent", False),
        ('include = ["cpu_*"]', "cpu_percent", True),
        ('series = { "cpu_*" = { min_effect = 50 } }', "cpu_percent", False),
        ('series = { "mem*" = { min_effect = 50 } }', "cpu_percent", True),
        ('series = { "cpu_*" = { min_effect = 20 }, "*" = { min_effect = 50 } }', "cpu_percent", True),
        ('series = { "cpu_*" = { min_duration = "8s" } }', "cpu_percent", False),
        ("", "memory_free_bytes", False),  # 40 bytes are none
        ("", "process_cpu_percent.camera", True),
        ("", "throttle_throttled", True),
    ],
)  # fmt: skip
def test_what_is_watched_and_how_is_configured(more: str, series: str, told: bool) -> None:
    device = Device(settings(more))
    device.run(40, **{series: 20.0})
    device.run(7, **{series: 60.0})
    assert bool(device.events) is told


def test_a_flag_that_rises_is_an_anomaly() -> None:
    device = Device(settings())
    device.run(40, throttle_undervoltage=0.0)
    device.run(6, throttle_undervoltage=1.0)
    assert device.types() == ["anomaly.started"]


def test_a_series_that_ends_within_an_anomaly_ends_it() -> None:
    device = Device(settings())
    device.run(40, gpu_percent=5.0, cpu_percent=5.0)
    device.run(6, gpu_percent=99.0, cpu_percent=5.0)
    device.run(6, cpu_percent=5.0)
    assert device.types() == ["anomaly.started", "anomaly.cleared"]
    assert device.events[1].data is not None
    assert device.events[1].data["reason"] == "gone"


def test_at_most_so_many_are_told_in_a_day_and_the_rest_is_counted() -> None:
    device = Device(settings("method = 'robust_z'\nmax_per_day = 2"))
    device.run(40, cpu_percent=20.0)
    for _ in range(5):
        device.run(4, cpu_percent=95.0)
        device.run(90, cpu_percent=20.0)
    assert device.types() == ["anomaly.started", "anomaly.cleared"] * 2
    assert device.counters.get(MUTED, reason="started") == 3
    assert device.counters.get(MUTED, reason="cleared") == 3
    device.now_s += 86_400
    device.run(4, cpu_percent=95.0)
    device.run(2, cpu_percent=95.0)
    assert device.types()[-1] == "anomaly.started"


def test_series_are_bounded_and_silent_ones_make_room() -> None:
    device = Device(settings())
    device.run(3, **{f"a{index}_percent": 1.0 for index in range(MAX_SERIES + 5)})
    assert device.counters.get(DROPPED, reason="too_many") >= 5
    device.run(80, b_percent=1.0)
    device.run(40, c_percent=1.0, b_percent=1.0)
    device.run(8, c_percent=99.0, b_percent=1.0)
    assert device.types("c_percent") == ["anomaly.started"]


def test_numbers_that_are_none_are_passed_over() -> None:
    device = Device(settings())
    device.run(40, cpu_percent=20.0)
    device.run(10, cpu_percent=float("nan"))
    device.run(10, cpu_percent=float("inf"))
    device.run(10, cpu_percent=20.0)
    assert device.events == []
    device.run(6, cpu_percent=95.0)
    assert device.types() == ["anomaly.started"]


def test_a_device_that_slept_judges_on() -> None:
    device = Device(settings())
    device.run(40, cpu_percent=20.0)
    device.now_s += 100_000.0
    device.run(8, cpu_percent=95.0)
    assert device.types() == ["anomaly.started"]


# --- over a restart -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("at", [5, 40, 70, 101])
def test_a_restart_changes_nothing_that_is_told(method: str, at: int) -> None:
    rng = random.Random(7)
    values = [rng.gauss(50, 2) for _ in range(90)] + [95.0] * 8 + [50.0] * 30
    whole, first = (
        Device(settings(f"method = '{method}'")),
        Device(settings(f"method = '{method}'")),
    )
    second = Device(first.watch.settings)
    for index, value in enumerate(values):
        whole.run(1, cpu_percent=value)
        if index == at:
            # The step that is open is lost: it is closed before.
            first.events += first.watch.sample({}, first.now_s)
            second.watch.restore(first.watch.to_state())
        (first if index < at else second).run(1, cpu_percent=value)
    assert [event.type for event in whole.events] == ["anomaly.started", "anomaly.cleared"]
    told = [(event.type, event.message) for event in first.events + second.events]
    assert told == [(event.type, event.message) for event in whole.events]


def test_an_anomaly_that_goes_on_over_a_restart_is_told_once() -> None:
    first, second = Device(settings()), Device(settings())
    first.run(40, cpu_percent=20.0)
    first.run(6, cpu_percent=95.0)
    assert first.types() == ["anomaly.started"]
    second.watch.restore(first.watch.to_state())
    assert set(second.watch.active()) == {"cpu_percent"}
    second.run(30, cpu_percent=20.0)
    assert second.types() == ["anomaly.cleared"]


def test_a_past_that_was_judged_otherwise_is_left_alone() -> None:
    first = Device(settings())
    first.run(40, cpu_percent=20.0, load_1m=1.0)
    second = Device(settings('exclude = ["load_1m"]\nseries = { "cpu_*" = { threshold = 5 } }'))
    second.watch.restore(first.watch.to_state())
    second.run(6, cpu_percent=95.0, load_1m=99.0)
    assert second.events == []


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\xc1",
        msgpack.packb([1]),
        msgpack.packb({"cpu_percent": 1}),
        msgpack.packb({"cpu_percent": {}}),
        b"changed",
    ],
)
def test_what_is_no_past_is_refused_and_nothing_is_kept(damage: bytes) -> None:
    first, second = Device(settings()), Device(settings())
    first.run(40, cpu_percent=20.0)
    if damage == b"changed":
        state = msgpack.unpackb(first.watch.to_state())
        state["cpu_percent"]["window"][3] = float("nan")
        damage = msgpack.packb(state)
    with pytest.raises(ValueError, match="not the past of series"):
        second.watch.restore(damage)
    second.run(12, cpu_percent=95.0)
    assert second.events == []
