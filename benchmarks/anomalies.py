"""Anomalies on real series with labelled windows, and on healthy noise: precision, recall, false alarms a week, cost.

Needs EDGEMON_DATA, a folder with nab_*.csv.gz and nab_windows.json (the Numenta Anomaly Benchmark). Each series goes
through `edgemon.anomaly.Anomalies` as a device's would, under a name that says its unit. An alarm is right when it
begins within a labelled window; a window is found when an alarm begins in it.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import os
import random
import statistics
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from edgemon.anomaly import Anomalies
from edgemon.anomaly.detector import EWMA_WEIGHT
from edgemon.anomaly.window import Window
from edgemon.config import AnomalySettings, SeriesRule, parse
from edgemon.metrics import Counters
from edgemon.records import Event

# File -> what a device would call that series.
SERIES = {
    "nab_machine_temperature_system_failure": "temperature_machine_celsius",
    "nab_cpu_utilization_asg_misconfiguration": "cpu_percent",
    "nab_ec2_cpu_utilization_24ae8d": "cpu_percent",
    "nab_ec2_network_in_257a54": "net_received_bytes_per_s",
    "nab_rds_cpu_utilization_e47b3b": "cpu_percent",
}
METHODS = ("ewma", "moving_average", "robust_z")
THRESHOLDS = (4.0, 8.0, 12.0, 16.0)
WEEK_S = 7 * 86_400.0
_STEP_S = 300.0
_NOISE_WEEKS = 50


class Recording(NamedTuple):
    """times_s: seconds; windows: (first, last) of what people labelled."""

    name: str
    series: str
    times_s: list[float]
    values: list[float]
    windows: list[tuple[float, float]]


class Score(NamedTuple):
    alarms: int
    right: int
    found: int
    windows: int
    weeks: float

    @property
    def cells(self) -> str:
        share = f"{self.right / self.alarms:.2f}" if self.alarms else "-"
        wrong = (self.alarms - self.right) / self.weeks
        return (
            f"{self.right} of {self.alarms} | {share} | {self.found} of {self.windows} | "
            f"{self.found / self.windows:.2f} | {wrong:.2f}"
        )


def load(folder: str) -> list[Recording]:
    """The recordings; FileNotFoundError where they are not."""
    with open(os.path.join(folder, "nab_windows.json"), encoding="utf-8") as file:
        labels = json.load(file)
    recordings = []
    for name, series in SERIES.items():
        with gzip.open(os.path.join(folder, f"{name}.csv.gz"), "rt") as file:
            rows = list(csv.DictReader(file))
        recordings.append(
            Recording(
                name,
                series,
                [_seconds(row["timestamp"]) for row in rows],
                [_value(series, float(row["value"])) for row in rows],
                [(_seconds(first), _seconds(last)) for first, last in labels[f"{name}.csv"]],
            )
        )
    return recordings


def _value(series: str, value: float) -> float:
    """The machine's temperature, around 85, is taken for degrees Fahrenheit."""
    return (value - 32) / 1.8 if series.endswith("_celsius") else value


def _seconds(text: str) -> float:
    return (datetime.fromisoformat(text) - datetime(2013, 1, 1)).total_seconds()


def settings(method: str = "", threshold: float = 0.0, **other: object) -> AnomalySettings:
    """The defaults, save what is given."""
    default = parse("").system.anomalies
    default = default._replace(
        method=method or default.method, threshold=threshold or default.threshold
    )
    return default._replace(**other)  # type: ignore[arg-type]


def events(
    what: AnomalySettings, series: str, samples: Iterable[tuple[float, float]]
) -> Iterator[tuple[float, Event]]:
    """(time, event) of one series."""
    watch = Anomalies(what, Counters())
    for now_s, value in samples:
        for event in watch.sample({series: value}, now_s):
            yield now_s, event


def judge(recording: Recording, what: AnomalySettings) -> Score:
    samples = zip(recording.times_s, recording.values, strict=True)
    starts = [
        # A step is judged when the next one begins.
        now_s - _STEP_S
        for now_s, event in events(what, recording.series, samples)
        if event.type == "anomaly.started"
    ]
    return score_of(recording, starts)


def score_of(recording: Recording, starts: list[float]) -> Score:
    inside = [any(first <= at <= last for first, last in recording.windows) for at in starts]
    found = sum(any(first <= at <= last for at in starts) for first, last in recording.windows)
    weeks = (recording.times_s[-1] - recording.times_s[0]) / WEEK_S
    return Score(len(starts), sum(inside), found, len(recording.windows), weeks)


def total(recordings: list[Recording], what: AnomalySettings) -> Score:
    return add([judge(recording, what) for recording in recordings])


def add(scores: list[Score]) -> Score:
    return Score(
        sum(of.alarms for of in scores),
        sum(of.right for of in scores),
        sum(of.found for of in scores),
        sum(of.windows for of in scores),
        sum(of.weeks for of in scores),
    )


def left_out(recordings: list[Recording]) -> list[tuple[Recording, str, float, Score]]:
    """Of each recording: method and threshold as the other recordings alone would have them chosen, and how well they
    do on it. Chosen is what finds most windows of those with at most 0.1 false alarms a week, of these what has
    fewest false alarms, and of these the highest threshold.
    """
    choices = [(method, threshold) for method in METHODS for threshold in THRESHOLDS]
    scores = {
        choice: [judge(recording, settings(*choice)) for recording in recordings]
        for choice in choices
    }
    chosen = []
    for index, recording in enumerate(recordings):

        def merit(choice: tuple[str, float], index: int = index) -> tuple[float, ...]:
            others = add([of for at, of in enumerate(scores[choice]) if at != index])
            wrong = others.alarms - others.right
            quiet = wrong / others.weeks <= 0.1
            return quiet, others.found if quiet else 0, -wrong, choice[1]

        best = max(choices, key=merit)
        chosen.append((recording, *best, scores[best][index]))
    return chosen


def textbook(recording: Recording, chart: str) -> Score:
    """Without the latch, the tails and the least effect; the past is the same day of steps.

    "z": |0.6745 (x - median) / MAD| > 3.5 (Iglewicz & Hoaglin 1993). "ewma": Roberts' chart, weight 0.2, limits of 3
    standard deviations; "mean": that of the mean of 6. An alarm is the first value outside after one inside.
    """
    past, starts, outside, average = Window(288), [], False, recording.values[0]
    recent: list[float] = []
    for now_s, value in zip(recording.times_s, recording.values, strict=True):
        recent = [*recent[-287:], value]
        average += EWMA_WEIGHT * (value - average)
        if len(past) >= 144:
            if chart == "z":
                score = 0.6745 * abs(value - past.median()) / max(past.mad(), 1e-9) / 3.5
            else:
                spread = 3 * max(statistics.pstdev(recent[:-1]), 1e-9)
                centre = statistics.fmean(recent[:-1])
                if chart == "ewma":
                    width = spread * math.sqrt(EWMA_WEIGHT / (2 - EWMA_WEIGHT))
                    score = abs(average - centre) / width
                else:
                    score = abs(statistics.fmean(recent[-6:]) - centre) / (spread / math.sqrt(6))
            if score > 1 and not outside:
                starts.append(now_s)
            outside = score > 1
        past.add(value)
    return score_of(recording, starts)


def noise(kind: str, weeks: int, seed: int) -> Iterator[tuple[float, float]]:
    """Healthy series in steps of five minutes, in percent around 50."""
    rng = random.Random(seed)
    level = 0.0
    for step in range(int(weeks * WEEK_S / _STEP_S)):
        if kind == "independent normal":
            value = rng.gauss(0, 10)
        elif kind == "AR(1), 0.9":
            level = 0.9 * level + rng.gauss(0, 10 * math.sqrt(1 - 0.81))
            value = level
        elif kind == "lognormal bursts":
            value = 5 * rng.lognormvariate(0, 1)
        elif kind == "a peak each day":
            value = 30 * (step % 288 in range(96, 108)) + rng.gauss(0, 2)
        else:
            value = 20 * math.sin(2 * math.pi * step / 288) + rng.gauss(0, 2)
        yield step * _STEP_S, 50 + value


NOISES = (
    "independent normal",
    "AR(1), 0.9",
    "lognormal bursts",
    "a day's rhythm",
    "a peak each day",
)


def false_alarms_a_week(kind: str, what: AnomalySettings) -> float:
    told = sum(
        event.type == "anomaly.started"
        for _, event in events(what, "cpu_percent", noise(kind, _NOISE_WEEKS, 1))
    )
    return told / _NOISE_WEEKS


def cost(series: int) -> tuple[float, float, float]:
    """(µs a sample, µs a series and step, KiB a series with a full window), of `series` series."""
    rng = random.Random(2)
    names = [f"series_{index}_percent" for index in range(series)]
    tracemalloc.start()
    watch = Anomalies(settings(), Counters())
    now_s = 0.0
    for _ in range(300):
        watch.sample({name: rng.gauss(50, 10) for name in names}, now_s)
        now_s += _STEP_S
    grown = tracemalloc.get_traced_memory()[0] / 1024
    tracemalloc.stop()
    rows = [{name: rng.gauss(50, 10) for name in names} for _ in range(100)]
    begun = time.process_time()
    for row in rows:
        now_s += _STEP_S
        watch.sample(row, now_s)
    steps_s = time.process_time() - begun
    begun = time.process_time()
    for row in rows:
        now_s += 1.0
        watch.sample(row, now_s)
    samples_s = time.process_time() - begun
    return 1e6 * samples_s / 100, 1e6 * steps_s / 100 / series, grown / series


def main() -> None:
    folder = os.environ.get("EDGEMON_DATA", "")
    sample_us, step_us, kib = cost(40)
    try:
        recordings = load(folder)
    except (OSError, KeyError) as error:
        print(f"no recordings: set EDGEMON_DATA to a folder with nab_*.csv.gz ({error})")
        return
    default = settings()
    weeks = sum((of.times_s[-1] - of.times_s[0]) / WEEK_S for of in recordings)
    print(
        f"{len(recordings)} recordings, {weeks:.1f} weeks, {sum(len(of.windows) for of in recordings)} windows\n"
    )
    print(
        "| method | threshold | right alarms | precision | windows found | recall | false alarms a week |"
    )
    print("|---|---|---|---|---|---|---|")
    for method in METHODS:
        for threshold in THRESHOLDS:
            mark = "**" if (method, threshold) == (default.method, default.threshold) else ""
            score = total(recordings, settings(method, threshold))
            print(f"| {mark}{method}{mark} | {mark}{threshold:g}{mark} | {score.cells} |")
    for text, chart in (
        ("Roberts' EWMA chart", "ewma"),
        ("moving average chart", "mean"),
        ("robust z-score", "z"),
    ):
        limit = "3.5" if chart == "z" else "3"
        score = add([textbook(recording, chart) for recording in recordings])
        print(f"| {text}, as in textbooks | {limit} | {score.cells} |")
    print("\nThe default, recording by recording:\n")
    print("| recording | right alarms | precision | windows found | recall | false alarms a week |")
    print("|---|---|---|---|---|---|")
    for recording in recordings:
        print(f"| {recording.name.removeprefix('nab_')} | {judge(recording, default).cells} |")
    print("\nMethod and threshold chosen on the other recordings:\n")
    print(
        "| recording | chosen | right alarms | precision | windows found | recall | false alarms a week |"
    )
    print("|---|---|---|---|---|---|---|")
    unseen = left_out(recordings)
    for recording, method, threshold, score in unseen:
        name = recording.name.removeprefix("nab_")
        print(f"| {name} | {method}, {threshold:g} | {score.cells} |")
    print(f"| all | | {add([score for *_, score in unseen]).cells} |")
    print("\nThe default, one thing changed:\n")
    print("| change | right alarms | precision | windows found | recall | false alarms a week |")
    print("|---|---|---|---|---|---|")
    everything = [SeriesRule("*", min_effect=0.0)]
    for text, what in (
        ("none", default),
        ("`min_duration` 5 m", default._replace(min_duration_s=300.0)),
        ("`min_duration` 30 m", default._replace(min_duration_s=1800.0)),
        ("`window` 12 h", default._replace(window_s=43_200.0)),
        ("`window` 2 d", default._replace(window_s=172_800.0)),
        ("`min_effect` 0", default._replace(series=everything)),
        ("`max_per_day` 1000", default._replace(max_per_day=1000)),
    ):
        print(f"| {text} | {total(recordings, what).cells} |")
    print(f"\nFalse alarms a week of healthy noise, {_NOISE_WEEKS} weeks of each:\n")
    print(f"| noise | {' | '.join(METHODS)} |")
    print(f"|---|{'---|' * len(METHODS)}")
    for kind in NOISES:
        told = [false_alarms_a_week(kind, settings(method)) for method in METHODS]
        print(f"| {kind} | {' | '.join(f'{rate:.2f}' for rate in told)} |")
    print(
        f"\nCost with 40 series: {sample_us:.0f} µs a sample of all, {step_us:.1f} µs a series and step, "
        f"{kib:.1f} KiB a series"
    )


if __name__ == "__main__":
    main()
