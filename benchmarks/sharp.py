"""How soon is a change seen, and how often missed, at the same rate of false alarms for everybody?

Each run is 10,000 healthy rows (the reference; the others' warm-up, in which alarms do not count),
2,000 more healthy rows, then 10,000 changed ones. Standard normal before the change. Thresholds are
tuned by simulation on healthy streams of their own, so that 10 % of them raise a false alarm within
10,000 rows after the warm-up:

- KS, e-SR, KSWIN, Page-Hinkley: the largest statistic of each healthy stream is kept; the threshold
  is just above their 90 % point. For KSWIN that is the threshold of D, the same as one of alpha.
- ADWIN has no such statistic: delta is found by halving its logarithm.

What the tuned thresholds then do on fresh healthy streams is printed. Two columns are not tuned: KS
and e-SR with the thresholds of the real code for 1 % false alarms in 1,000,000 predictions, as one
stream. Delay: rows from the change to the alarm, of the runs that alarm within 10,000 rows and not
before the change; a miss is a run that does not.

With EDGEMON_DATA naming a folder that has abrupt_insects.csv.gz, the same on real data: 49 features,
whose law changes at row 1775.

Four to six minutes of processor time. Seeded: two runs print the same.
"""

from __future__ import annotations

import csv
import gzip
import math
import multiprocessing
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import _peers, _svg
from benchmarks._peers import Values
from benchmarks._settings import Budget, Settings
from edgemon._core.ks import Reference, SlidingKS
from edgemon.drift import esr
from edgemon.drift.budget import numeric_shares, stream_probability
from edgemon.drift.build import ProfileBuilder, distinct
from edgemon.drift.detector import ModelDetectors
from edgemon.drift.threshold import threshold

REFERENCE = 10_000
HEALTHY = 2_000
CHANGED = 10_000
RATE = 0.1
NULL_STREAMS = 400
RUNS = 200
# What the detectors of a model's only stream may spend of 1 %.
PROMISED = stream_probability(0.01, 1)

Rng = np.random.Generator
# ---- changes: what the rows after it look like ----


def _tail(rng: Rng, n: int) -> Values:
    z = rng.standard_normal(n)
    result: Values = np.where(z > 0.0, 1.5 * z, z)
    return result


def _mass(rng: Rng, n: int) -> Values:
    z = rng.standard_normal(n)
    result: Values = np.where(rng.random(n) < 0.05, 4.0 + 0.1 * z, z)
    return result


def _shift(by: float) -> Callable[[Rng, int], Values]:
    return lambda rng, n: rng.standard_normal(n) + by


CHANGES: dict[str, Callable[[Rng, int], Values]] = {
    "mean + 0.1 sd": _shift(0.1),
    "mean + 0.25 sd": _shift(0.25),
    "mean + 0.5 sd": _shift(0.5),
    "mean + 1 sd": _shift(1.0),
    "sd x 1.3": lambda rng, n: 1.3 * rng.standard_normal(n),
    "upper half x 1.5": _tail,
    "5 % moved to + 4 sd": _mass,
    "ramp to + 0.5 sd": lambda rng, n: (
        rng.standard_normal(n) + 0.5 * np.minimum(1.0, np.arange(n) / 5_000)
    ),
}


def healthy(seed: int, rows: int = REFERENCE + CHANGED) -> Values:
    return np.random.Generator(np.random.SFC64([1, seed])).standard_normal(rows)


def changed(change: str, seed: int) -> Values:
    """Reference, healthy rows, changed rows."""
    rng = np.random.Generator(np.random.SFC64([2, list(CHANGES).index(change), seed]))
    before = rng.standard_normal(REFERENCE + HEALTHY)
    return np.concatenate((before, CHANGES[change](rng, CHANGED)))


# ---- contestants ---------------------------------------------------------------------------------


class Contestant(NamedTuple):
    """first(values, limit, seed): the first row >= REFERENCE with an alarm, or -1.

    score(values, seed): the largest statistic of the rows from REFERENCE on; a limit just above it
    would not have been reached. None: `limits` are tried by halving; they run from deaf to nervous.
    fixed: a limit that is not tuned.
    """

    first: Callable[[Values, float, int], int]
    score: Callable[[Values, int], float] | None = None
    limits: tuple[float, float] = (0.0, 0.0)
    fixed: float | None = None


def reference_of(values: Values) -> Reference:
    return Reference(*distinct(np.sort(values).tolist()))


def sliding(window: int, fixed: float | None = None) -> Contestant:
    """The engine; its limits are h."""

    def first(values: Values, limit: float, _seed: int) -> int:
        ks = SlidingKS(reference_of(values[:REFERENCE]), window, math.ceil(limit))
        # The window is full when the comparison begins, as everybody's.
        ks.push_many(values[REFERENCE - window + 1 : REFERENCE].data)
        found = ks.push_many(values[REFERENCE:].data)
        return found + REFERENCE if found >= 0 else -1

    def score(values: Values, _seed: int) -> float:
        ks = SlidingKS(reference_of(values[:REFERENCE]), window, 1)
        ks.push_many(values[REFERENCE - window + 1 : REFERENCE].data)
        rest = values[REFERENCE:].data
        largest = 0
        while (crossed := ks.push_many(rest)) >= 0:
            largest = ks.h
            ks.threshold_h = largest + 1
            rest = rest[crossed + 1 :]
        return largest

    return Contestant(first, score, fixed=fixed)


def every_hundredth(window: int) -> Contestant:
    """The same statistic from scratch, at every hundredth row: its limits are D."""

    def distances(values: Values) -> list[tuple[int, float]]:
        ordered = np.sort(values[:REFERENCE])
        ends = range(REFERENCE + 100, len(values) + 1, 100)
        return [(end - 1, _peers.ks_d(ordered, values[end - window : end])) for end in ends]

    def first(values: Values, limit: float, _seed: int) -> int:
        return next((row for row, d in distances(values) if d >= limit), -1)

    return Contestant(first, lambda values, _seed: max(d for _, d in distances(values)))


def e_sr(fixed: float | None = None, probability: float = 0.01) -> Contestant:
    """The e-SR detector; its limits are A."""

    def detector(values: Values, limit: float) -> esr.EsrDetector:
        plan = esr.plan(reference_of(values[:REFERENCE]), 1_000_000, probability)
        return esr.EsrDetector(plan.table, limit)

    def first(values: Values, limit: float, _seed: int) -> int:
        found = detector(values, limit).push_many(values[REFERENCE:].data)
        return found + REFERENCE if found >= 0 else -1

    def score(values: Values, _seed: int) -> float:
        one = detector(values, 1e-3)
        rest = values[REFERENCE:].data
        largest = 1e-3
        while (crossed := one.push_many(rest)) >= 0:
            largest = math.exp(one.log_mean_r)
            one.limit = largest * (1.0 + 1e-9)
            rest = rest[crossed + 1 :]
        return largest

    return Contestant(first, score, fixed=fixed)


def together(window: int, h: float, log_a: float) -> Contestant:
    """KS and e-SR with one limit, a multiple of these two, which are about as rare."""
    ks, bets = sliding(window), e_sr()

    def first(values: Values, limit: float, seed: int) -> int:
        rows = ks.first(values, h * limit, seed), bets.first(values, math.exp(log_a * limit), seed)
        return min((row for row in rows if row >= 0), default=-1)

    def score(values: Values, seed: int) -> float:
        assert ks.score is not None
        assert bets.score is not None
        return max(ks.score(values, seed) / h, math.log(bets.score(values, seed)) / log_a)

    return Contestant(first, score)


def as_promised(window: int) -> Contestant:
    """KS and e-SR with the shares that a model of one stream gives them, thresholds of the real code."""
    shares = numeric_shares(PROMISED, 1.0)
    h = threshold(REFERENCE, window, 1_000_000, shares.ks).h
    ks = sliding(window)
    bets = e_sr(probability=shares.esr)
    level = esr.alarm_level(1_000_000, (1.0 - esr.REFERENCE_SHARE) * shares.esr)

    def first(values: Values, _limit: float, seed: int) -> int:
        found = (
            ks.first(values, h, seed),
            bets.first(values, level, seed),
        )
        return min((row for row in found if row >= 0), default=-1)

    return Contestant(first, fixed=0.0)


def kswin(window: int, stat: int) -> Contestant:
    def first(values: Values, limit: float, seed: int) -> int:
        return _peers.kswin_first(values, window, stat, REFERENCE, math.ceil(limit), seed)[0]

    def score(values: Values, seed: int) -> float:
        return _peers.kswin_first(values, window, stat, REFERENCE, stat + 1, seed)[1]

    return Contestant(first, score)


def _page_hinkley_first(values: Values, limit: float, _seed: int) -> int:
    above = np.flatnonzero(_peers.page_hinkley(values)[REFERENCE:] >= limit)
    return int(above[0]) + REFERENCE if len(above) else -1


def _adwin_first(values: Values, limit: float, _seed: int) -> int:
    drift: Any = _peers.optional("river.drift")
    return _peers.river_first(drift.ADWIN(delta=10.0**limit), values, REFERENCE)


def contestants() -> dict[str, Contestant]:
    """By name; river's only where it is installed."""
    found = {
        "KS, n = 1,000": sliding(1_000),
        "KS, n = 200": sliding(200),
        "e-SR": e_sr(),
        "KS + e-SR": together(1_000, 630.0, 10.5),
        "KS as promised": sliding(1_000, threshold(REFERENCE, 1_000, 1_000_000, PROMISED).h),
        "KS + e-SR as promised": as_promised(1_000),
        "KS every 100": every_hundredth(1_000),
        "KSWIN 100/30": kswin(100, 30),
        "KSWIN 1000/300": kswin(1_000, 300),
    }
    if _peers.optional("river.drift") is not None:
        found["ADWIN"] = Contestant(_adwin_first, limits=(-12.0, -0.5))
    found["Page–Hinkley"] = Contestant(
        _page_hinkley_first, lambda values, _: float(_peers.page_hinkley(values)[REFERENCE:].max())
    )
    return found


def tune(one: Contestant, streams: int = NULL_STREAMS, steps: int = 8) -> float:
    """The limit at which at most RATE of the healthy streams alarm."""
    if one.fixed is not None:
        return one.fixed
    allowed = int(RATE * streams)
    if one.score is not None:
        scores = sorted((one.score(healthy(i), i) for i in range(streams)), reverse=True)
        return math.nextafter(scores[allowed], math.inf)
    deaf, nervous = one.limits
    for _ in range(steps):
        middle = (deaf + nervous) / 2.0
        alarms = sum(one.first(healthy(i), middle, i) >= 0 for i in range(streams))
        deaf, nervous = (middle, nervous) if alarms <= allowed else (deaf, middle)
    return deaf


class Outcome(NamedTuple):
    """Of one contestant and one change. delays: in rows; early: false alarms before the change."""

    delays: list[int]
    misses: int
    early: int

    @property
    def median(self) -> float:
        """inf where half of the runs or more are missed."""
        known = sorted(self.delays) + [math.inf] * self.misses
        return statistics.median_low(known) if known else math.inf


def trial(one: Contestant, limit: float, change: str, runs: int = RUNS) -> Outcome:
    delays, misses, early = [], 0, 0
    begin = REFERENCE + HEALTHY
    for seed in range(runs):
        row = one.first(changed(change, seed), limit, seed)
        if row < 0:
            misses += 1
        elif row < begin:
            early += 1
        else:
            delays.append(row - begin + 1)
    return Outcome(delays, misses, early)


class Line(NamedTuple):
    """Of one contestant.  rate: false alarms on fresh healthy streams within CHANGED rows."""

    limit: float
    rate: float
    outcomes: dict[str, Outcome]


def _job(name: str) -> Line:
    one = contestants()[name]
    limit = tune(one)
    fresh = range(NULL_STREAMS, 2 * NULL_STREAMS)
    rate = sum(one.first(healthy(i), limit, i) >= 0 for i in fresh) / len(fresh)
    return Line(limit, rate, {change: trial(one, limit, change) for change in CHANGES})


def run() -> dict[str, Line]:
    """Everything, on all processors."""
    # The slowest first, so that they do not run alone at the end.
    names = sorted(contestants(), key=lambda name: name not in ("ADWIN", "KSWIN 1000/300"))
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        lines = dict(zip(names, pool.map(_job, names, chunksize=1), strict=True))
    return {name: lines[name] for name in contestants()}


def report(lines: dict[str, Line]) -> None:
    print(
        f"Median delay in rows (share missed within {CHANGED:,}), {RUNS} runs each; tuned to {RATE:.0%}"
        f" false alarms in {CHANGED:,} healthy rows\n"
    )
    width = max(map(len, lines)) + 2
    print(f"{'':{width}}{'false alarms':>14}" + "".join(f"{change:>21}" for change in CHANGES))
    for name, line in lines.items():
        cells = []
        for outcome in line.outcomes.values():
            told = len(outcome.delays) + outcome.misses
            missed = outcome.misses / told if told else math.nan
            middle = f"{outcome.median:,.0f}" if outcome.median < math.inf else "-"
            cells.append(f"{middle} ({missed:.0%})")
        print(f"{name:{width}}{line.rate:>14.1%}" + "".join(f"{cell:>21}" for cell in cells))


# ---- as a part of a model ---------------------------------------------------------------------

MODEL_STREAMS = 21
MODEL_RUNS = 20
MODEL_SHIFTS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)


class Seen(NamedTuple):
    """Of one shift. delay: median in values.  by: who saw it most often.  missed, early: runs."""

    delay: float
    by: str
    missed: int
    early: int


def in_a_model(shift: float, runs: int = MODEL_RUNS) -> Seen:
    """One stream of a model of MODEL_STREAMS, detectors and defaults of the real code."""
    delays: list[float] = []
    by: list[str] = []
    early = 0
    for seed in range(runs):
        rng = np.random.Generator(np.random.SFC64([77, seed]))
        builder = ProfileBuilder("model", ordered=True)
        for x in rng.standard_normal(REFERENCE).tolist():
            for stream in range(MODEL_STREAMS):
                builder.number(f"f:{stream}", x)
        builder.row_done(REFERENCE)
        detectors = ModelDetectors(
            builder.finish(), Settings(1_000, Budget(0.01, 1_000_000), min_effect=0.05)
        )
        values = rng.standard_normal(HEALTHY + CHANGED)
        values[HEALTHY:] += shift
        for row, x in enumerate(values.tolist()):
            if (news := detectors.push("f:0", x)) is not None and news.what == "started":
                early += row < HEALTHY
                delays.append(row - HEALTHY + 1)
                by.append(str(news.data["by"]))
                break
    known = sorted(delays) + [math.inf] * (runs - len(delays))
    most = statistics.mode(by) if by else ""
    return Seen(statistics.median(known), most, runs - len(delays), early)


def report_in_a_model() -> None:
    print(
        f"\nOne stream of {MODEL_STREAMS}, the default budget, m = {REFERENCE:,}, n = 1,000: median delay of"
        f" {MODEL_RUNS} runs\n"
    )
    print(f"{'shift':>8}{'delay':>10}{'mostly by':>12}{'missed':>8}{'early':>7}")
    for shift in MODEL_SHIFTS:
        seen = in_a_model(shift)
        print(f"{shift:>8g}{seen.delay:>10,.0f}{seen.by:>12}{seen.missed:>8}{seen.early:>7}")


# ---- real data -----------------------------------------------------------------------------------

INSECTS_REFERENCE = 1_000
INSECTS_WINDOW = 200
INSECTS_CHANGE = 1775
INSECTS_END = 3550


class Insects(NamedTuple):
    """Of one detector on all features.  early: features with an alarm before the change.  delay:
    rows to the first alarm after it, -1 for none.  features: that alarm before the next change."""

    early: int
    delay: int
    features: int


def insects_table(path: Path) -> tuple[list[str], Values]:
    with gzip.open(path, "rt") as lines:
        rows = list(csv.DictReader(lines))
    names = [name for name in rows[0] if name != "label"]
    return names, np.array([[float(row[name]) for name in names] for row in rows])


def insects_ours(names: list[str], table: Values, at_most: float, predictions: int) -> Insects:
    """Through the real builder and the real detectors."""
    builder = ProfileBuilder("insects")
    for row in table[:INSECTS_REFERENCE].tolist():
        for name, x in zip(names, row, strict=True):
            builder.number(f"f:{name}", x)
        builder.row_done()
    settings = Settings(INSECTS_WINDOW, Budget(at_most, predictions), min_effect=0.05)
    detectors = ModelDetectors(builder.finish(), settings)
    firsts: dict[str, int] = {}
    for i, row in enumerate(table[INSECTS_REFERENCE:INSECTS_END].tolist(), INSECTS_REFERENCE):
        for name, x in zip(names, row, strict=True):
            transition = detectors.push(f"f:{name}", x)
            if transition is not None and transition.what == "started":
                firsts.setdefault(name, i)
    return _insects(list(firsts.values()))


def insects_peer(table: Values, make: Callable[[], Any]) -> Insects:
    """A river detector a feature, warmed up with the reference; it goes on after an alarm."""
    early, firsts = 0, []
    for column in table[:INSECTS_END].T.tolist():
        detector = make()
        seen_early = False
        for i, x in enumerate(column):
            detector.update(x)
            if detector.drift_detected and i >= INSECTS_REFERENCE:
                if i >= INSECTS_CHANGE:
                    firsts.append(i)
                    break
                seen_early = True
        early += seen_early
    return _insects(firsts)._replace(early=early)


def _insects(firsts: list[int]) -> Insects:
    after = [row for row in firsts if row >= INSECTS_CHANGE]
    delay = min(after) - INSECTS_CHANGE + 1 if after else -1
    return Insects(len(firsts) - len(after), delay, len(after))


def insects(path: Path) -> dict[str, Insects]:
    names, table = insects_table(path)
    found = {
        "edgemon, 1 % in 1,000,000": insects_ours(names, table, 0.01, 1_000_000),
        "edgemon, 1 % in 10,000": insects_ours(names, table, 0.01, 10_000),
    }
    drift = _peers.optional("river.drift")
    if drift is not None:
        found |= {
            "KSWIN, defaults": insects_peer(table, lambda: drift.KSWIN(seed=1)),
            "KSWIN, alpha 1e-6": insects_peer(table, lambda: drift.KSWIN(alpha=1e-6, seed=1)),
            "ADWIN, defaults": insects_peer(table, drift.ADWIN),
            "Page–Hinkley, defaults": insects_peer(table, drift.PageHinkley),
        }
    return found


def report_insects(found: dict[str, Insects]) -> None:
    print(
        f"\nAbruptInsects: 49 features, reference = rows 0 to {INSECTS_REFERENCE - 1}, window"
        f" {INSECTS_WINDOW}, the law changes at row {INSECTS_CHANGE}\n"
    )
    print(f"{'':28}{'features with a':>18}{'rows from change':>18}{'features with':>18}")
    print(f"{'':28}{'false alarm':>18}{'to first alarm':>18}{'an alarm after':>18}")
    for name, (early, delay, features) in found.items():
        print(f"{name:28}{early:>18}{delay if delay >= 0 else '-':>18}{features:>18}")


SHIFTS = {"mean + 0.1 sd": 0.1, "mean + 0.25 sd": 0.25, "mean + 0.5 sd": 0.5, "mean + 1 sd": 1.0}
DRAWN = (
    "KS + e-SR", "KS + e-SR as promised", "KS, n = 1,000", "e-SR", "ADWIN", "Page–Hinkley",
    "KSWIN 1000/300",
)  # fmt: skip


def figure(lines: dict[str, Line]) -> str:
    series = [
        _svg.Series(
            name,
            [
                (by, lines[name].outcomes[change].median)
                for change, by in SHIFTS.items()
                if lines[name].outcomes[change].median < math.inf
            ],
            ours=name in ("KS + e-SR", "KS + e-SR as promised"),
            dashed=name == "KS + e-SR as promised",
        )
        for name in DRAWN
        if name in lines
    ]
    return _svg.chart(
        f"Median delay after a shift of the mean, at {RATE:.0%} false alarms in {CHANGED:,} rows",
        _svg.Axis("shift, standard deviations", 0.1, 1.0, log=True),
        _svg.Axis("rows to the alarm", 10.0, float(CHANGED), log=True),
        [one for one in series if one.points],
    )


def main() -> None:
    lines = run()
    report(lines)
    report_in_a_model()
    _svg.save("delay", figure(lines))
    path = Path(os.environ.get("EDGEMON_DATA", "")) / "abrupt_insects.csv.gz"
    if os.environ.get("EDGEMON_DATA") and path.exists():
        report_insects(insects(path))
    else:
        print("\n(AbruptInsects left out: EDGEMON_DATA names no folder that has it)")


if __name__ == "__main__":
    main()
