"""Is the promise about false alarms kept? Simulated models whose streams never change.

A model has 20 streams of one kind. A profile is made of 10,000 fresh rows by the real ProfileBuilder
(which estimates sqrt(tau) from them), the thresholds are those of the real ModelDetectors with the
budget asked for, minimum effect 0; then every stream runs 1,000,000 predictions, and a window more,
through the KS engine, and where sqrt(tau) allows it through the e-SR too. The
share of models with any false alarm must be at most what was asked. One run of the KS answers for
all budgets: the moments are kept at which h was larger than ever before. What is left out can only
take alarms away: the live estimate of dependence, and the time in which an alarm is latched.

Beside it, single streams of the same kinds through what others offer, at their defaults, to the
first alarm or 20,000 rows. KSWIN is ours in C (kswin.c), the same in law as river's, which would take
an hour where it does not alarm.

About five minutes of processor time. Seeded: two runs print the same.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import time
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmarks import _peers, _svg
from benchmarks._settings import Budget, Settings
from benchmarks._streams import KINDS, Stream, Values
from edgemon._core.ks import Reference, SlidingKS
from edgemon.drift.budget import numeric_shares, stream_probability
from edgemon.drift.build import ProfileBuilder
from edgemon.drift.detector import ModelDetectors
from edgemon.drift.esr import MAX_SQRT_TAU, REFERENCE_SHARE, EsrDetector, alarm_level
from edgemon.drift.parts import esr_table
from edgemon.drift.profile import FeatureProfile, Profile

BUDGETS = (0.01, 0.1)
MODELS = 40
FEATURES = 20
REFERENCE = 10_000
WINDOW = 1_000
HORIZON = 1_000_000
CHUNK = 100_000
PEER_ROWS = 20_000
PEER_STREAMS = 100


class Trial(NamedTuple):
    """Sizes of one simulated model."""

    kind: str
    seed: int
    features: int = FEATURES
    reference: int = REFERENCE
    window: int = WINDOW
    horizon: int = HORIZON


class Run(NamedTuple):
    """One stream. Alarms: for each budget the predictions to its first false alarm, -1 for none.

    ks, others: of the KS; of the e-SR, which is off where sqrt(tau) is large.  seen: the
    moments at which h was larger than ever, from 0.7 of the lowest threshold on.  m: of the reference.
    """

    ks: tuple[int, ...]
    others: tuple[int, ...]
    sqrt_tau: float
    threshold_d: tuple[float, ...]
    seen: list[tuple[int, int]]
    m: int

    @property
    def alarms(self) -> tuple[int, ...]:
        pairs = zip(self.ks, self.others, strict=True)
        return tuple(min((x for x in pair if x >= 0), default=-1) for pair in pairs)


class Records:
    """Keeps (rows pushed, h) each time h is larger than ever before and at least start_h."""

    def __init__(self, ks: SlidingKS, start_h: int) -> None:
        self._ks = ks
        self._rows = 0
        ks.threshold_h = start_h
        self.found: list[tuple[int, int]] = []

    def push(self, values: Values) -> None:
        ks = self._ks
        offset = 0
        while (crossed := ks.push_many(values[offset:].data)) >= 0:
            offset += crossed + 1
            self.found.append((self._rows + offset, ks.h))
            ks.threshold_h = ks.h + 1
        self._rows += len(values)


class Others:
    """e-SR of one stream under one budget, as the real detector makes it."""

    def __init__(
        self, feature: FeatureProfile, reference: Reference, trial: Trial, part: float
    ) -> None:
        shares = numeric_shares(part, feature.sqrt_tau)
        self._rows = 0
        self._esr: EsrDetector | None = None
        if shares.esr and (table := esr_table(feature, reference, part)) is not None:
            limit = alarm_level(trial.horizon, (1.0 - REFERENCE_SHARE) * shares.esr)
            self._esr = EsrDetector(table, limit)
        self.first = -1

    def push(self, values: Values) -> None:
        """Until the first alarm; a chunk is looked at as a whole."""
        if self.first >= 0:
            return
        alarms = []
        if self._esr is not None and (crossed := self._esr.push_many(values.data)) >= 0:
            alarms.append(self._rows + crossed + 1)
        self.first = min(alarms, default=-1)
        self._rows += len(values)


def profile_of(streams: Sequence[Stream], rows: int) -> Profile:
    """Through the real builder, value by value."""
    builder = ProfileBuilder("simulated", ordered=True)
    for i, stream in enumerate(streams):
        for x in stream(rows).tolist():
            builder.number(f"f:{i}", x)
    builder.row_done(rows)
    return builder.finish()


def thresholds(profile: Profile, window: int, at_most: float, horizon: int) -> dict[str, int]:
    """Stream -> the h at which the real detectors alarm."""
    detectors = ModelDetectors(profile, Settings(window, Budget(at_most, horizon), min_effect=0.0))
    return {d.stream: d.state().threshold_h for d in detectors}


def simulate(trial: Trial, budgets: Sequence[float] = BUDGETS) -> list[Run]:
    """All streams of one model."""
    rng = np.random.Generator(np.random.SFC64([zlib.crc32(trial.kind.encode()), trial.seed]))
    streams = [KINDS[trial.kind](rng) for _ in range(trial.features)]
    profile = profile_of(streams, trial.reference)
    limits = [thresholds(profile, trial.window, b, trial.horizon) for b in budgets]
    runs = []
    for i, stream in enumerate(streams):
        name = f"f:{i}"
        feature, reference = profile.feature(name), profile.reference(name, trial.window)
        assert feature is not None
        wanted = [limit[name] for limit in limits]
        ks = SlidingKS(reference, trial.window, min(wanted))
        seen = Records(ks, max(1, min(wanted) * 7 // 10))
        others = [
            Others(feature, reference, trial, stream_probability(b, trial.features))
            for b in budgets
        ]
        left = trial.horizon + trial.window
        while left > 0:
            values = stream(min(CHUNK, left))
            left -= len(values)
            seen.push(values)
            for other in others:
                other.push(values)
        first = tuple(next((row for row, h in seen.found if h >= w), -1) for w in wanted)
        runs.append(
            Run(
                first,
                tuple(other.first for other in others),
                feature.sqrt_tau,
                tuple(w / ks.lcm for w in wanted),
                seen.found,
                reference.m,
            )
        )
    return runs


def first_of_model(model: Sequence[Run], budget: int) -> int:
    """Predictions to the first false alarm on any stream, -1 for none."""
    return min((run.alarms[budget] for run in model if run.alarms[budget] >= 0), default=-1)


def clopper_pearson(count: int, of: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a share.

    >>> [round(x, 3) for x in clopper_pearson(0, 60)]
    [0.0, 0.06]
    """
    tail = (1.0 - confidence) / 2.0
    low = float(stats.beta.ppf(tail, count, of - count + 1)) if count else 0.0
    high = float(stats.beta.ppf(1.0 - tail, count + 1, of - count)) if count < of else 1.0
    return low, high


# ---- peers ---------------------------------------------------------------------------------------


def peers() -> dict[str, Callable[[Stream, int, int], int]]:
    """Name -> (stream, rows, seed) -> rows to the first alarm, -1 for none. Defaults throughout."""

    def every_100(stream: Stream, rows: int, _seed: int) -> int:
        reference = stream(WINDOW)
        return _peers.ks_every(stream(rows), reference, WINDOW, 100, 0.05)

    def kswin(stream: Stream, rows: int, seed: int) -> int:
        return _peers.kswin_first(
            stream(rows), 100, 30, 0, _peers.kswin_threshold(30, 0.005), seed
        )[0]

    found: dict[str, Callable[[Stream, int, int], int]] = {
        "KS, p < 0.05 every 100": every_100,
        "KSWIN": kswin,
    }
    drift = _peers.optional("river.drift")
    if drift is not None:
        found |= {
            "ADWIN": lambda s, rows, _: _peers.river_first(drift.ADWIN(), s(rows)),
            "Page–Hinkley": lambda s, rows, _: _peers.river_first(drift.PageHinkley(), s(rows)),
        }
    return found


def peer_run_lengths(kind: str, name: str, streams: int, rows: int) -> list[int]:
    """Rows to the first alarm of each stream, -1 for none."""
    lengths = []
    for seed in range(streams):
        rng = np.random.Generator(np.random.SFC64([zlib.crc32(kind.encode()), 10**6 + seed]))
        first = peers()[name](KINDS[kind](rng), rows, seed)
        lengths.append(first + 1 if first >= 0 else -1)
    return lengths


# ---- tables --------------------------------------------------------------------------------------


class Results(NamedTuple):
    """models: kind -> for each model its streams.  peers: (kind, name) -> run lengths."""

    models: dict[str, list[list[Run]]]
    peers: dict[tuple[str, str], list[int]]


def _peer_job(job: tuple[str, str]) -> list[int]:
    return peer_run_lengths(*job, PEER_STREAMS, PEER_ROWS)


def run(models: int = MODELS) -> Results:
    """Everything, on all processors."""
    trials = [Trial(kind, seed) for seed in range(models) for kind in KINDS]
    jobs = [(kind, name) for kind in KINDS for name in peers()]
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        outcomes = pool.map(simulate, trials, chunksize=1)
        lengths = pool.map(_peer_job, jobs, chunksize=1)
        pool.close()
        pool.join()  # so that their processor time is known
    by_kind: dict[str, list[list[Run]]] = {kind: [] for kind in KINDS}
    for trial, outcome in zip(trials, outcomes, strict=True):
        by_kind[trial.kind].append(outcome)
    return Results(by_kind, dict(zip(jobs, lengths, strict=True)))


def _share(count: int, of: int) -> str:
    low, high = clopper_pearson(count, of)
    return f"{count}/{of} = {count / of:.1%} [{low:.1%}, {high:.1%}]"


def report(results: Results) -> None:
    """Print the tables."""
    print(
        f"Models with any false alarm in {HORIZON:,} predictions: {FEATURES} streams, m = {REFERENCE:,},"
        f" n = {WINDOW:,}; 95 % Clopper-Pearson interval\n"
    )
    print(
        f"{'streams':26}{'sqrt tau':>9}{'D':>7}" + "".join(f"{f'asked {b:g}':>30}" for b in BUDGETS)
    )
    totals = [0] * len(BUDGETS)
    models = 0
    for kind, outcomes in results.models.items():
        streams = [run for model in outcomes for run in model]
        counts = [sum(first_of_model(m, i) >= 0 for m in outcomes) for i in range(len(BUDGETS))]
        totals = [a + b for a, b in zip(totals, counts, strict=True)]
        models += len(outcomes)
        tau = float(np.median([run.sqrt_tau for run in streams]))
        d = float(np.median([run.threshold_d[0] for run in streams]))
        shares = "".join(f"{_share(count, len(outcomes)):>30}" for count in counts)
        print(f"{kind:26}{tau:>9.2f}{d:>7.3f}{shares}")
    print(f"{'all':42}" + "".join(f"{_share(count, models):>30}" for count in totals))
    streams = [run for outcomes in results.models.values() for model in outcomes for run in model]
    on = sum(run.sqrt_tau <= MAX_SQRT_TAU for run in streams)
    print(
        f"\nStreams with e-SR on (sqrt(tau) <= {MAX_SQRT_TAU}): {on} of {len(streams)}. False"
        " alarms of streams, by the KS / by e-SR: "
        + ", ".join(
            f"{sum(run.ks[i] >= 0 for run in streams)} / {sum(run.others[i] >= 0 for run in streams)}"
            f" (asked {budget:g})"
            for i, budget in enumerate(BUDGETS)
        )
    )

    print(
        f"\nOne healthy stream each, {PEER_STREAMS} streams: share with an alarm within {PEER_ROWS:,} rows,"
        " and the median rows to it\n"
    )
    names = list(dict.fromkeys(name for _, name in results.peers))
    ours = f"edgemon, {BUDGETS[0]:.0%} a model"
    print(f"{'stream':26}{ours:>22}" + "".join(f"{name:>26}" for name in names))
    for kind, outcomes in results.models.items():
        early = [0 <= run.alarms[0] <= PEER_ROWS + WINDOW for model in outcomes for run in model]
        cells = [f"{np.mean(early):.2%}"]
        for name in names:
            lengths = results.peers[kind, name]
            alarmed = [length for length in lengths if length >= 0]
            share = len(alarmed) / len(lengths)
            middle = sorted(x if x >= 0 else math.inf for x in lengths)[len(lengths) // 2]
            cells.append(
                f"{share:.0%}, {f'{middle:,.0f}' if middle < math.inf else 'none in half'}"
            )
        print(f"{kind:26}{cells[0]:>22}" + "".join(f"{cell:>26}" for cell in cells[1:]))


def share_alarmed(lengths: Sequence[int], until: int) -> list[tuple[float, float]]:
    """The share with an alarm so far, as points of a step line; -1: none."""
    points = [(100.0, 0.0)]
    for k, length in enumerate(sorted(x for x in lengths if x >= 0), 1):
        points.append((max(100.0, float(length)), k / len(lengths)))
    return [*points, (float(until), points[-1][1])]


def figure(results: Results) -> str:
    """Peers on normal streams, one each; ours on models of all kinds, 20 streams each."""
    models = [model for outcomes in results.models.values() for model in outcomes]
    series = []
    for i, budget in enumerate(BUDGETS):
        firsts = [first_of_model(model, i) for model in models]
        name = f"edgemon, {100 * budget:g} % asked"
        points = share_alarmed(firsts, HORIZON)
        series.append(_svg.Series(name, points, step=True, dashed=bool(i), ours=True))
    series += [
        _svg.Series(name, share_alarmed(lengths, PEER_ROWS), step=True)
        for (kind, name), lengths in results.peers.items()
        if kind == "normal"
    ]
    return _svg.chart(
        "Healthy streams that have raised a false alarm",
        _svg.Axis("predictions", 100.0, 1_000_000.0, log=True),
        _svg.Axis("share with an alarm so far", 0.0, 1.0, percent=True),
        series,
    )


def main() -> None:
    begin = time.process_time()
    results = run()
    report(results)
    _svg.save("false_alarms", figure(results))
    children = os.times().children_user
    print(f"\nProcessor time: {(time.process_time() - begin + children) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
