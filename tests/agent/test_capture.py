"""Which predictions leave as raw rows, with what weight, and what an alarm adds."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from edgemon.agent.capture import CAPTURED, FORGOTTEN, NEVER, Capture
from edgemon.agent.redact import Redaction
from edgemon.config import parse
from edgemon.metrics import Counters
from edgemon.records import Prediction, Row


class Device:
    """One model's capture, fed with numbered predictions as the pipeline feeds it."""

    def __init__(self, toml: str, seed: int = 1) -> None:
        settings = parse(f'[models."*"]\n{toml}').models["*"]
        self.counters = Counters()
        self.left: list[tuple[Row, int]] = []
        self.looked_at = 0
        self.count = 0
        self.capture = Capture(
            settings,
            Redaction(settings.redact, None),
            lambda row, mono_ns: self.left.append((row, mono_ns)),
            self.counters,
            random.Random(seed),
        )

    def predict(self, count: int, padding: str = "") -> None:
        for _ in range(count):
            number, self.count = self.count, self.count + 1
            if self.capture.skip:
                self.capture.skip -= 1
                continue
            self.looked_at += 1
            record = Prediction("m", "1", {}, float(number), None, padding or None, None)
            self.capture.take(record, {}, None, number)

    def take_rows(self) -> list[Row]:
        rows, self.left = [row for row, _ in self.left], []
        return rows


def numbers(rows: list[Row]) -> list[float]:
    return [float(row["output"]) for row in rows]  # type: ignore[arg-type]


def weight(rows: list[Row]) -> float:
    return sum(float(row["w"]) for row in rows)  # type: ignore[arg-type, misc]


def chi_square(counts: list[int], expected: float) -> float:
    return sum((count - expected) ** 2 / expected for count in counts)


# --- a share of all --------------------------------------------------------------------------


def test_all_leave_with_weight_one_and_none_are_never_looked_at() -> None:
    device = Device('capture = "all"')
    device.predict(5)
    assert [(row["output"], row["w"]) for row in device.take_rows()] == [(i, 1.0) for i in range(5)]
    nothing = Device('capture = "none"')
    nothing.predict(10_000)
    assert (nothing.looked_at, nothing.left, nothing.capture.skip) == (0, [], NEVER - 10_000)


def test_a_sample_looks_at_no_more_than_it_keeps_and_takes_each_with_the_same_chance() -> None:
    device = Device("capture = { sample = 0.02 }")
    device.predict(200_000)
    rows = device.take_rows()
    assert {row["w"] for row in rows} == {50.0}
    assert device.looked_at == len(rows) == device.counters.get(CAPTURED, reason="sample")
    assert abs(len(rows) - 4_000) < 4 * 63  # four standard deviations
    tenths = Counter(int(number) // 20_000 for number in numbers(rows))
    assert chi_square(list(tenths.values()), len(rows) / 10) < 27.9  # p = 0.001, 9 degrees


def test_a_sample_of_one_is_all_and_the_smallest_is_nearly_never() -> None:
    device = Device("capture = { sample = 1.0 }")
    device.predict(10)
    assert len(device.left) == 10
    rare = Device("capture = { sample = 1e-300 }")
    rare.predict(10_000)
    assert rare.left == []


# --- so many a window ------------------------------------------------------------------------


def test_a_reservoir_gives_each_prediction_of_a_window_the_same_chance() -> None:
    device = Device("capture = { reservoir = 10 }")
    included = [0] * 100
    for _ in range(4_000):
        start = device.count
        device.predict(100)
        device.capture.close_window()
        rows = device.take_rows()
        assert len({*numbers(rows)}) == 10
        assert {row["w"] for row in rows} == {10.0}
        for number in numbers(rows):
            included[int(number) - start] += 1
    # Without replacement the variance is 0.9 of a multinomial's: the bound is generous.
    assert chi_square(included, 400.0) < 148.2  # p = 0.001, 99 degrees
    assert device.looked_at < 4_000 * 60  # Algorithm L: 10 (1 + ln 10) of a hundred


def test_pairs_of_a_reservoir_are_as_likely_as_they_should_be() -> None:
    device = Device("capture = { reservoir = 2 }", seed=7)
    pairs: Counter[tuple[float, ...]] = Counter()
    for _ in range(15_000):
        device.count = 0
        device.predict(6)
        device.capture.close_window()
        pairs[tuple(sorted(numbers(device.take_rows())))] += 1
    assert len(pairs) == 15
    assert chi_square(list(pairs.values()), 1_000.0) < 36.1  # p = 0.001, 14 degrees


def test_weights_add_up_to_what_came_in() -> None:
    device = Device("capture = { reservoir = 50 }")
    for count in (0, 1, 49, 50, 51, 5_000):
        device.predict(count)
        device.capture.close_window()
        rows = device.take_rows()
        assert len(rows) == min(50, count)
        assert weight(rows) == pytest.approx(count)


def test_rows_of_a_reservoir_keep_their_own_time_and_come_in_order() -> None:
    device = Device("capture = { reservoir = 20 }")
    device.predict(500)
    assert device.left == []
    device.capture.close_window()
    times = [mono_ns for _, mono_ns in device.left]
    assert times == sorted(times)
    assert [row["output"] for row, _ in device.left] == times


def test_a_reservoir_that_passes_its_memory_holds_fewer_and_is_uniform_still() -> None:
    device = Device('capture = { reservoir = 1000 }\ncapture_size = "16KiB"')
    included = [0] * 60
    held = 0
    for _ in range(1_500):
        device.count = 0
        device.predict(60, padding="x" * 200)
        device.capture.close_window()
        rows = device.take_rows()
        assert weight(rows) == pytest.approx(60)
        held = len(rows)
        for number in numbers(rows):
            included[int(number)] += 1
    assert 20 < held < 40
    assert device.counters.get(FORGOTTEN, reason="capture_size") > 0
    assert chi_square(included, sum(included) / 60) < 99.6  # p = 0.001, 59 degrees


def test_a_row_that_alone_passes_the_memory_is_counted_and_nothing_else_happens() -> None:
    device = Device('capture = { reservoir = 3 }\ncapture_size = "4KiB"')
    device.predict(1, padding="x" * 5_000)
    device.predict(100)
    device.capture.close_window()
    assert device.left == []
    assert device.counters.get(FORGOTTEN, reason="capture_size") == 1
    device.predict(2)
    device.capture.close_window()
    assert numbers(device.take_rows()) == [101.0, 102.0]


# --- the flight recorder ---------------------------------------------------------------------


def test_an_alarm_ships_what_came_before_it_and_what_comes_after_and_no_more() -> None:
    device = Device('capture = "none"\nrecorder = 20')
    device.predict(100)
    assert device.left == []
    device.capture.alarm()
    assert numbers(device.take_rows()) == list(range(80, 100))
    device.predict(100)
    rows = device.take_rows()
    assert numbers(rows) == list(range(100, 120))
    assert {(row["w"], row["why"]) for row in rows} == {(0.0, "alarm")}
    assert device.counters.get(CAPTURED, reason="recorder") == 40


def test_two_alarms_ship_each_row_once() -> None:
    device = Device('capture = "none"\nrecorder = 20')
    device.predict(100)
    device.capture.alarm()
    device.capture.alarm()
    device.predict(5)
    device.capture.alarm()
    device.predict(100)
    device.capture.alarm()
    shipped = numbers(device.take_rows())
    assert shipped == [*range(80, 125), *range(185, 205)]


@pytest.mark.parametrize("policy", ["{ sample = 0.3 }", "{ reservoir = 7 }", '"all"', '"none"'])
def test_a_recording_is_whole_and_no_row_leaves_twice_whatever_the_policy(policy: str) -> None:
    device = Device(f"capture = {policy}\nrecorder = 20", seed=3)
    random_steps = random.Random(5)
    wanted: set[float] = set()
    rows: list[Row] = []
    for _ in range(400):
        device.predict(random_steps.randrange(60))
        if random_steps.random() < 0.3:
            device.capture.alarm()
            wanted |= set(map(float, range(max(0, device.count - 20), device.count + 20)))
        if random_steps.random() < 0.5:
            device.capture.close_window()
    device.capture.close_window()
    rows = device.take_rows()
    shipped = numbers(rows)
    assert len(shipped) == len(set(shipped))
    assert {number for number in wanted if number < device.count} <= set(shipped)
    flagged = {number for row, number in zip(rows, shipped, strict=True) if "why" in row}
    assert flagged <= wanted
    alone = {number for row, number in zip(rows, shipped, strict=True) if row["w"] == 0.0}
    assert alone <= flagged
    if policy != '"all"':
        assert set(shipped) - flagged == {
            number
            for row, number in zip(rows, shipped, strict=True)
            if row["w"] != 0.0 and "why" not in row
        }


@pytest.mark.parametrize("policy", ["{ sample = 0.1 }", "{ reservoir = 7 }"])
def test_a_recorder_does_not_change_what_the_policy_takes(policy: str) -> None:
    taken = []
    for recorder in (0, 30):
        device = Device(f"capture = {policy}\nrecorder = {recorder}")
        for _ in range(20):
            device.predict(150)
            if recorder:
                device.capture.alarm()
            device.capture.close_window()
        taken.append({(row["output"], row["w"]) for row in device.take_rows() if row["w"]})
    assert taken[0] == taken[1] != set()


def test_a_recorder_that_passes_its_memory_holds_the_newest() -> None:
    device = Device('capture = "none"\nrecorder = 1000\ncapture_size = "16KiB"')
    device.predict(500, padding="x" * 200)
    assert device.counters.get(FORGOTTEN, reason="recorder_size") > 0
    device.capture.alarm()
    shipped = numbers(device.take_rows())
    assert 20 < len(shipped) < 60
    assert shipped == list(range(500 - len(shipped), 500))


def test_what_is_forgotten_does_not_leave_and_is_counted_once() -> None:
    device = Device("capture = { reservoir = 5 }\nrecorder = 20")
    device.predict(30)
    device.capture.forget("redact")
    device.capture.alarm()
    device.capture.close_window()
    assert device.left == []
    forgotten = device.counters.get(FORGOTTEN, reason="redact")
    assert 20 <= forgotten <= 25  # the recorder's, and those of the reservoir that it no longer has


def test_the_example_of_the_page_is_a_configuration() -> None:
    page = (Path(__file__).parents[2] / "docs" / "capture.md").read_text()
    [example] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    fraud = parse(example).model("fraud")
    assert (fraud.capture.reservoir, fraud.recorder) == (100, 200)
    assert (fraud.redact.deny, fraud.redact.hash_ids) == (["name", "ip_*"], True)
