"""The e-SR detector: nanoseconds per update.

An update moves R of all bets by one observation and decides whether their mean has reached the
limit.

    many at once   EsrDetector.push_many on a stream without drift; for numbers a reference of 10,000
    one by one     EsrDetector.push from a Python loop, the loop included

Below them, on the same numbers: the same recursion in numpy, an array over the bets, and the sliding
KS. Processor time of this thread, median of several rounds.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

import numpy as np

from benchmarks.ks import median_ns
from edgemon._core.esr import EsrDetector
from edgemon._core.ks import Reference, SlidingKS
from edgemon.drift.esr import Bet, bernoulli_table, plan, quantile_bets, reference_epsilon
from edgemon.drift.threshold import threshold

POINTS = 10_000
WINDOW = 1_000
HORIZON = 1_000_000
PROBABILITY = 0.005
RATE = 0.01
UPDATES = 400_000
ONE_BY_ONE = 50_000
PLAIN = 5_000
ROUNDS = 5


class EsrRow(NamedTuple):
    """ns per update, and the bytes of one stream's state and of the table that streams share."""

    name: str
    bets: int
    many_ns: float
    one_by_one_ns: float
    stream_bytes: int
    table_bytes: int


def measure(name: str, detector: EsrDetector, stream: array[float]) -> EsrRow:
    one_by_one = stream[:ONE_BY_ONE].tolist()

    def many() -> int:
        if detector.push_many(stream) >= 0:
            raise AssertionError("a stream without drift raised an alarm")
        return len(stream)

    def single() -> int:
        push = detector.push
        for x in one_by_one:
            push(x)
        return len(one_by_one)

    ns = median_ns({"many": many, "single": single}, ROUNDS)
    table = detector.table
    return EsrRow(
        name, table.bets, ns["many"], ns["single"], detector.memory_bytes, table.memory_bytes
    )


def plain_ns(cuts: list[float], bets: list[Bet], stream: array[float]) -> float:
    """The recursion in numpy."""
    cut = np.array([cuts[bet[0]] for bet in bets])
    above = np.array([bet[1] for bet in bets])
    p, t = (np.array([bet[i] for bet in bets], dtype=np.float32) for i in (2, 3))
    hit, miss = t / p, (1 - t) / (1 - p)

    def plain() -> int:
        r = np.zeros(len(bets), dtype=np.float32)
        for x in stream[:PLAIN]:
            r += 1.0
            r *= np.where((x > cut) == above, hit, miss)
            r.mean()
        return PLAIN

    return median_ns({"plain": plain}, ROUNDS)["plain"]


def ks_ns(reference: Reference, stream: array[float]) -> float:
    """ns per slide of the KS."""
    ks = SlidingKS(reference, WINDOW, threshold(POINTS, WINDOW, HORIZON, PROBABILITY).h)

    def slides() -> int:
        if ks.push_many(stream) >= 0:
            raise AssertionError("a stream without drift raised an alarm")
        return len(stream)

    return median_ns({"ks": slides}, ROUNDS)["ks"]


def main() -> None:
    rng = np.random.default_rng(7)
    values = np.unique(rng.standard_normal(POINTS))
    reference = Reference(values.data, np.ones(len(values), dtype=np.int64).data)
    numbers = array("d", rng.standard_normal(UPDATES).tobytes())
    answers = array("d", (rng.random(UPDATES) < RATE).astype(np.float64).tobytes())
    made = plan(reference, HORIZON, PROBABILITY)
    rows = [
        measure("numbers", EsrDetector(*made), numbers),
        measure("yes or no", EsrDetector(bernoulli_table(1.2 * RATE), made.limit), answers),
    ]
    print("e-SR detector: ns per update")
    print()
    print(
        f"{'stream':<10} {'bets':>5} {'many at once':>13} {'one by one':>11} {'state':>9} "
        f"{'shared table':>13}"
    )
    for row in rows:
        print(
            f"{row.name:<10} {row.bets:>5} {row.many_ns:>13.1f} {row.one_by_one_ns:>11.1f} "
            f"{row.stream_bytes:>7,} B {row.table_bytes:>11,} B"
        )
    print()
    bets = quantile_bets(reference, reference_epsilon(POINTS, PROBABILITY))
    print(f"in numpy   {plain_ns(*bets, numbers):>8,.0f}")
    print(f"sliding KS {ks_ns(reference, numbers):>8.1f}, m = {POINTS:,}, n = {WINDOW:,}")


if __name__ == "__main__":
    main()
