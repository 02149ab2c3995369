"""How often healthy data are said to be faulty, with the defaults: recorded series, and simulated weeks of odd habits.

Recorded (needs EDGEMON_DATA, a folder with nab_*.csv.gz, nab_windows.json and abrupt_insects.csv.gz): each series is a
model with one feature, as it was recorded, once learnt from its own first values and once against a profile made on the
device of its first 1,500; the insects are one model of 49 features a second. Simulated: a week at 2 predictions a
second of models whose data are odd and in order.

All goes through the pipeline, decoded from bytes, as in an agent. Seeded: two runs print the same. Some five minutes.
"""

from __future__ import annotations

import csv
import gzip
import math
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgpack

from benchmarks import anomalies
from edgemon.agent.pipeline import Pipeline
from edgemon.config import parse
from edgemon.ingest.protocol import Connection, Limits
from edgemon.metrics import Counters
from edgemon.records import Event, Prediction

WEEK_S = anomalies.WEEK_S
WALL_S = 1_800_000_000.0
_PER_READ = 64
_RATE = 2.0
# When something comes, and what: seconds, an event of the protocol.
Events = Iterable[tuple[float, dict[str, Any]]]


def told(events: Events, more: str = "") -> tuple[Counter[str], float]:
    """How often each event of quality was told, and for how many weeks; fed as from a socket."""
    found: Counter[str] = Counter()

    def tell(event: Event, _mono_ns: int) -> None:
        if event.type.startswith("quality.") and event.type != "quality.recovered":
            found[
                event.type.removeprefix("quality.") + (f" {event.stream}" if event.stream else "")
            ] += 1

    config = parse(f'[models."*"]\ncapture = "none"\n{more}', "/tmp/edgemon.toml")
    pipeline = Pipeline(config, {}, Counters(), lambda *_: None, tell)
    connection = Connection(Limits(), Counters())
    first_s = last_s = -1.0
    waiting: list[bytes] = []

    def read(now_s: float) -> None:
        mono_ns = round((now_s + 1_000.0) * 1e9)
        pipeline.begin(mono_ns, WALL_S + now_s)
        for record in connection.feed_into(pipeline.table, b"".join(waiting)):
            assert isinstance(record, Prediction)
            pipeline.prediction(record, mono_ns, WALL_S + now_s)
        waiting.clear()

    for at_s, event in events:
        first_s = at_s if first_s < 0 else first_s
        due_s = pipeline.next_due_s()
        while due_s is not None and due_s < at_s + 1_000.0:
            if waiting:
                read(last_s)
            pipeline.close_due_windows(round(due_s * 1e9) + 1)
            due_s = pipeline.next_due_s()
        if waiting and (at_s > last_s + 5.0 or len(waiting) >= _PER_READ):
            read(last_s)
        last_s = at_s
        waiting.append(msgpack.packb(event))
    read(last_s)
    return found, (last_s - first_s) / WEEK_S


# -- recorded


def recorded(recording: anomalies.Recording) -> Iterator[tuple[float, dict[str, Any]]]:
    begin_s = recording.times_s[0]
    for at_s, value in zip(recording.times_s, recording.values, strict=True):
        now_s = at_s - begin_s
        yield now_s, {"model": "m", "features": {"x": value}, "ts": WALL_S + now_s}


def insects(folder: str) -> Iterator[tuple[float, dict[str, Any]]]:
    with gzip.open(os.path.join(folder, "abrupt_insects.csv.gz"), "rt") as file:
        for number, row in enumerate(csv.reader(file)):
            try:
                features = [float(cell) for cell in row[:-1]]
            except ValueError:
                continue  # the names
            yield float(number), {"model": "m", "features": features, "ts": WALL_S + number}


# -- simulated


def _week(make: Callable[[random.Random, float], dict[str, Any] | None], seed: int) -> Events:
    rng = random.Random(seed)
    for number in range(round(WEEK_S * _RATE)):
        at_s = number / _RATE
        event = make(rng, at_s)
        if event is not None:
            yield at_s, {"model": "m", "ts": WALL_S + at_s} | event


def _plain(rng: random.Random, _at_s: float) -> dict[str, Any]:
    names = [f"x{i}" for i in range(6)]
    return {"features": {name: rng.gauss(0.0, 1.0) for name in names}, "output": rng.random()}


class Held:
    """Sensors that are read every few seconds, rounded, with a day's course; a model asks more often."""

    def __init__(self) -> None:
        self._next_s = [0.0] * 4
        self._held = [0.0] * 4

    def __call__(self, rng: random.Random, at_s: float) -> dict[str, Any]:
        course = math.sin(2 * math.pi * at_s / 86_400.0)
        for i, every_s in enumerate((1.0, 10.0, 60.0, 300.0)):
            if at_s >= self._next_s[i]:
                self._next_s[i] = at_s + every_s * (0.9 + 0.2 * rng.random())
                self._held[i] = round(20.0 + 5.0 * course + rng.gauss(0.0, 0.3), 1)
        return {"features": {f"t{i}": value for i, value in enumerate(self._held)}}


def _light(rng: random.Random, at_s: float) -> dict[str, Any]:
    """Exactly 0 at night."""
    sun = max(0.0, math.sin(2 * math.pi * at_s / 86_400.0))
    return {"features": {"light": sun * (1.0 + 0.1 * rng.gauss(0.0, 1.0)), "n": rng.gauss(0, 1)}}


def _flags(rng: random.Random, _at_s: float) -> dict[str, Any]:
    rare, often = float(rng.random() < 1e-4), float(rng.random() < 0.3)
    return {"features": {"rare": rare, "often": often, "constant": 1.0, "level": rng.randrange(5)}}


def _holes(rng: random.Random, at_s: float) -> dict[str, Any]:
    """Optional features, NaN now and then, infinite ratios, a clock that is four minutes behind for one in ten."""
    features: dict[str, Any] = {"a": rng.gauss(0, 1), "ratio": 1.0 / rng.randrange(1, 9)}
    if rng.random() < 0.3:
        features["optional"] = rng.random()
    if rng.random() < 0.01:
        features["a"] = math.nan
    if rng.random() < 0.02:
        features["ratio"] = math.inf
    late = 400.0 if rng.random() < 0.1 else rng.random()
    return {"features": features, "ts": WALL_S + at_s - late}


class Wanders:
    """An autoregressive series and a random walk between two walls."""

    def __init__(self) -> None:
        self._x = self._walk = 0.0

    def __call__(self, rng: random.Random, _at_s: float) -> dict[str, Any]:
        self._x = 0.99 * self._x + rng.gauss(0.0, 1.0)
        self._walk = min(100.0, max(-100.0, self._walk + rng.gauss(0.0, 1.0)))
        return {"features": {"ar": self._x, "walk": self._walk}}


def _office(rng: random.Random, at_s: float) -> dict[str, Any] | None:
    """From 8 to 18 on working days, fewer at noon; and never on time."""
    hour, day = at_s / 3_600.0 % 24.0, int(at_s // 86_400.0)
    if day >= 5 or not 8.0 <= hour < 18.0 or (12.0 <= hour < 13.0 and rng.random() < 0.95):
        return None
    return _plain(rng, at_s)


SIMULATED: dict[str, Callable[[], Callable[[random.Random, float], dict[str, Any] | None]]] = {
    "independent values": lambda: _plain,
    "readings that are held": Held,
    "light, 0 at night": lambda: _light,
    "flags and levels": lambda: _flags,
    "holes, NaN, inf, late": lambda: _holes,
    "values that wander": Wanders,
    "office hours": lambda: _office,
}
LEARNT, MADE = "", "reference = { first = 1500 }\n"


def _print(name: str, found: Counter[str], weeks: float) -> None:
    what = ", ".join(f"{count} {kind}" for kind, count in sorted(found.items())) or "none"
    print(f"| {name} | {weeks:.2f} | {what} |", flush=True)


def main() -> None:
    """Print both tables."""
    print("| data | weeks | events of quality |\n|---|---|---|")
    folder = os.environ.get("EDGEMON_DATA", "")
    all_, all_weeks = 0, 0.0
    if folder:
        for recording in anomalies.load(folder):
            for how, more in (("learnt", LEARNT), ("profile", MADE)):
                found, weeks = told(recorded(recording), more)
                _print(f"{recording.name}, {how}", found, weeks)
                all_, all_weeks = all_ + found.total(), all_weeks + weeks
        for how, more in (("learnt", LEARNT), ("profile", MADE)):
            found, weeks = told(insects(folder), more)
            _print(f"abrupt_insects, {how}", found, weeks)
        print(f"\nRecorded series: {all_} events in {all_weeks:.1f} weeks.\n")
    for seed, (name, make) in enumerate(SIMULATED.items()):
        for how, more in (("learnt", LEARNT), ("profile", MADE)):
            _print(f"{name}, {how}", *told(_week(make(), seed), more))


if __name__ == "__main__":
    main()
