"""The exact sliding Kolmogorov-Smirnov statistic: nanoseconds per slide, all in one run.

A slide takes one observation in and one out and decides whether h has reached the threshold, here
the one that keeps a single stream's false alarms at 1 % in 1,000,000 predictions. m = n.

    edgemon      SlidingKS.push_many on a stream without drift
    floor        rank lookup, one ring slot, two counters and no decision (treap.c): what is left if
                 everything else cost nothing
    treap        the published incremental method in C (treap.c)
    hovering     edgemon where h stays one step below the threshold: the same healthy window again and
                 again
    worst        edgemon's worst case, a full scan at every slide: h one step below the threshold, and
                 all values of the window between two reference values
    one by one   SlidingKS.push from a Python loop, the loop included
    scipy        ks_2samp(reference, window, method="asymp") from scratch
    frouros      IncrementalKSTest, which sorts anew at every value
    river KS     stats.KolmogorovSmirnov, a treap in Python; it takes pairs, so a slide is one revert
                 and one update
    KSWIN        river's drift.KSWIN(window_size=2n, stat_size=n): a test from scratch of drawn values

Processor time of this thread, medians of rounds in which all take turns: a machine that is busy
elsewhere still spoils the caches, but everybody's. Slow peers get few slides; beyond 10,000 those
that take longer to fill than to measure, or fail, are left out.
"""

from __future__ import annotations

import math
import statistics
import time
import warnings
from array import array
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmarks import _peers, _svg
from benchmarks._peers import Values
from edgemon._core.ks import Reference, SlidingKS
from edgemon.drift.threshold import threshold

SIZES = (100, 1_000, 10_000, 100_000)
ROUNDS = 9
SLIDES = 400_000
SCANNED_BUCKETS = 40_000_000  # over all slides of a hovering round
ONE_BY_ONE = 50_000
TREAP_SLIDES = 30_000
SCRATCH_VALUES = 30_000  # values in all windows of a round from scratch
LARGEST_IN_PYTHON = 10_000

# Does some slides and says how many.
Run = Callable[[], int]


class KsRow(NamedTuple):
    """ns: median ns per slide of each contestant that ran.  scans_per_slide: of edgemon."""

    m: int
    ns: dict[str, float]
    scans_per_slide: float
    stream_bytes: int
    reference_bytes: int
    treap_bytes: int


def median_ns(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """All in turn, `rounds` times."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            begin = time.thread_time_ns()
            slides = run()
            taken[name].append((time.thread_time_ns() - begin) / slides)
    return {name: statistics.median(each) for name, each in taken.items()}


def push_all(ks: SlidingKS, stream: Values) -> int:
    """Through crossings, which a stream without drift has now and then."""
    rest = stream.data
    while (crossed := ks.push_many(rest)) >= 0:
        rest = rest[crossed + 1 :]
    return len(stream)


def hovering(reference: Reference, window: Values, buckets_per_slide: int) -> Run:
    """Each slide brings in what it takes out: h stays one below the threshold."""
    m = len(window)
    ks = SlidingKS(reference, m, reference.m + 1)
    push_all(ks, window)
    ks.threshold_h = ks.h + 1
    slides = max(20, SCANNED_BUCKETS // buckets_per_slide)
    # One round after another goes through the window, over its end.
    endless = np.tile(window, slides // m + 2)
    at = 0

    def run() -> int:
        nonlocal at
        push_all(ks, endless[at : at + slides])
        at = (at + slides) % m
        return slides

    return run


def scipy_run(values: Values, stream: Values, m: int) -> Run:
    windows = [stream[i : i + m] for i in range(max(2, min(30, SCRATCH_VALUES // m)))]

    def run() -> int:
        for window in windows:
            stats.ks_2samp(values, window, method="asymp")
        return len(windows)

    return run


def frouros_run(values: Values, stream: Values, m: int) -> Run | None:
    module = _peers.optional("frouros.detectors.data_drift")
    if module is None or m > LARGEST_IN_PYTHON:
        return None
    detector = module.IncrementalKSTest(window_size=m)
    detector.fit(X=values)
    for x in stream[:m]:
        detector.update(value=x)
    following = stream[m : m + max(2, min(30, SCRATCH_VALUES // m))]

    def run() -> int:
        for x in following:
            detector.update(value=x)
        return len(following)

    return run


def river_ks_run(values: Values, stream: Values, m: int) -> Run | None:
    module = _peers.optional("river.stats")
    if module is None or m > LARGEST_IN_PYTHON:
        return None
    sample, window = values.tolist(), stream[:m].tolist()
    tree = module.KolmogorovSmirnov()
    for x, y in zip(sample, window, strict=True):
        tree.update(x, y)
    fresh = stream[m : m + 100].tolist()
    x = sample[0]
    head = 0

    def run() -> int:
        nonlocal head
        for y in fresh:
            tree.revert(x, window[head])
            tree.update(x, y)
            tree.get()
            window[head] = y
            head = (head + 1) % m
        return len(fresh)

    return run


def kswin_run(stream: Values, m: int) -> Run | None:
    module = _peers.optional("river.drift")
    if module is None or m > LARGEST_IN_PYTHON:
        return None
    detector = module.KSWIN(
        alpha=0.0, window_size=2 * m, stat_size=m, seed=1, window=stream[: 2 * m].tolist()
    )
    following = stream[2 * m : 2 * m + max(2, min(30, SCRATCH_VALUES // m))].tolist()

    def run() -> int:
        for x in following:
            detector.update(x)
        return len(following)

    return run


def measure(m: int, rounds: int = ROUNDS) -> KsRow:
    rng = np.random.default_rng(m)
    values = np.unique(rng.standard_normal(m))
    stream = rng.standard_normal(max(SLIDES, 3 * m))
    reference = Reference(values.data, np.ones(m, dtype=np.int64).data)
    limit = threshold(m, m, 1_000_000, 0.01).h

    ks = SlidingKS(reference, m, limit)
    push_all(ks, stream)
    scans = ks.scans
    single = SlidingKS(reference, m, limit)
    one_by_one = array("d", stream[: max(m, ONE_BY_ONE)]).tolist()
    floor = _peers.Floor(values, m)
    treap = _peers.Treap(values)
    treap.run(stream[:m], limit)
    treap_slides = stream[m : m + TREAP_SLIDES] if m + TREAP_SLIDES <= len(stream) else stream

    def floor_run() -> int:
        floor.run(stream)
        return len(stream)

    def treap_run() -> int:
        treap.run(treap_slides, limit)
        return len(treap_slides)

    def one_by_one_run() -> int:
        push = single.push
        for x in one_by_one:
            push(x)
        return len(one_by_one)

    fast: dict[str, Run] = {
        "edgemon": lambda: push_all(ks, stream),
        "floor": floor_run,
        "treap": treap_run,
        "hovering": hovering(reference, stream[:m], 2 * m + 1),
        "worst": hovering(reference, np.full(m, values[m // 2] + 1e-12), 2 * m + 1),
        "one by one": one_by_one_run,
    }
    slow = {
        "scipy": scipy_run(values, stream, m),
        "frouros": frouros_run(values, stream, m),
        "river KS": river_ks_run(values, stream, m),
        "KSWIN": kswin_run(stream, m),
    }
    ns = median_ns(fast, rounds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ns |= median_ns({k: v for k, v in slow.items() if v is not None}, min(3, rounds))
    scans_per_slide = (ks.scans - scans) / (rounds * len(stream))
    return KsRow(
        m, ns, scans_per_slide, ks.memory_bytes, reference.memory_bytes, treap.memory_bytes
    )


COLUMNS = (
    "edgemon", "floor", "treap", "hovering", "worst", "one by one", "scipy", "frouros", "river KS",
    "KSWIN",
)  # fmt: skip


def report(rows: list[KsRow]) -> None:
    print("Sliding Kolmogorov-Smirnov, m = n: ns per slide\n")
    print(f"{'m = n':>8}" + "".join(f"{name:>13}" for name in COLUMNS))
    for row in rows:
        cells = [f"{row.ns[name]:,.1f}" if name in row.ns else "-" for name in COLUMNS[:2]]
        cells += [f"{row.ns[name]:,.0f}" if name in row.ns else "-" for name in COLUMNS[2:]]
        print(f"{row.m:>8,}" + "".join(f"{cell:>13}" for cell in cells))
    print("\nTimes edgemon's\n")
    print(f"{'m = n':>8}" + "".join(f"{name:>13}" for name in COLUMNS[1:]))
    for row in rows:
        ours = row.ns["edgemon"]
        times = [row.ns.get(name, math.nan) / ours for name in COLUMNS[1:]]
        cells = ["-" if math.isnan(x) else f"{x:.2f}" if x < 10 else f"{x:,.0f}" for x in times]
        print(f"{row.m:>8,}" + "".join(f"{cell:>13}" for cell in cells))
    print("\nedgemon is within so many times of the floor; scans; bytes\n")
    print(f"{'m = n':>8}{'of floor':>10}{'scans':>8}{'stream':>12}{'reference':>12}{'treap':>13}")
    for row in rows:
        print(
            f"{row.m:>8,}{row.ns['edgemon'] / row.ns['floor']:>10.2f}{row.scans_per_slide:>8.2%}"
            f"{row.stream_bytes:>12,}{row.reference_bytes:>12,}{row.treap_bytes:>13,}"
        )


def figure(rows: list[KsRow]) -> str:
    named = {"edgemon, worst case": "worst", "floor: lookup and counters": "floor"}
    named |= {
        name: name for name in COLUMNS if name not in ("hovering", "worst", "floor", "one by one")
    }
    series = [
        _svg.Series(
            label,
            [(row.m, row.ns[name]) for row in rows if name in row.ns],
            ours=name in ("edgemon", "worst"),
            dashed=name in ("worst", "floor"),
        )
        for label, name in sorted(named.items(), key=lambda item: item[1] != "edgemon")
    ]
    return _svg.chart(
        "Time of one slide of the window, decision included",
        _svg.Axis("reference and window, values each (m = n)", 100.0, 100_000.0, log=True),
        _svg.Axis("nanoseconds", 1.0, 100_000_000.0, log=True),
        [one for one in series if one.points],
    )


def main() -> None:
    rows = [measure(m) for m in SIZES]
    report(rows)
    _svg.save("ns_per_slide", figure(rows))


if __name__ == "__main__":
    main()
