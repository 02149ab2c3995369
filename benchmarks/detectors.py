"""All detectors of a model's streams together: what one value costs on its way through them.

20 numeric streams (KS, e-SR, range and missing, m = 10,000, n = 1,000) and one of 10 categories,
healthy, pushed value by value through ModelDetectors, with the loop that does it. Processor time of
this thread, best of rounds.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from benchmarks._settings import Settings
from edgemon.drift.build import ProfileBuilder
from edgemon.drift.detector import ModelDetectors

STREAMS = 20
REFERENCE = 10_000
VALUES = 20_000
ROUNDS = 5


def main() -> None:
    chance = random.Random(1)
    classes = [str(k) for k in range(10)]
    builder = ProfileBuilder("model")
    for _ in range(REFERENCE):
        for i in range(STREAMS):
            builder.number(f"f:{i}", chance.gauss(0.0, 1.0))
        builder.text("class", chance.choice(classes))
        builder.row_done()
    began = time.thread_time()
    profile = builder.finish()
    print(
        f"making the profile      {(time.thread_time() - began) * 1e3 / (STREAMS + 1):8.1f} ms a stream"
    )
    detectors = ModelDetectors(profile, Settings())
    numbers = [chance.gauss(0.0, 1.0) for _ in range(VALUES)]
    texts = chance.choices(classes, k=VALUES)
    names = [f"f:{i}" for i in range(STREAMS)]

    def one_stream() -> int:
        for x in numbers:
            detectors.push("f:0", x)
        return VALUES

    def all_streams() -> int:
        for x in numbers[: VALUES // STREAMS]:
            for name in names:
                detectors.push(name, x)
        return VALUES

    def text_stream() -> int:
        for text in texts:
            detectors.text("class", text)
        return VALUES

    print(f"a number, one stream    {best_ns(one_stream):8.0f} ns")
    print(f"a number, 20 in turns   {best_ns(all_streams):8.0f} ns")
    print(f"a text                  {best_ns(text_stream):8.0f} ns")
    began = time.thread_time()
    state = detectors.to_state()
    took_s = time.thread_time() - began
    print(f"their state             {took_s * 1e3:8.1f} ms, {len(state):,} bytes")
    print(f"their memory            {detectors.memory_bytes:8,} bytes")


def best_ns(work: Callable[[], int]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.thread_time()
        count = work()
        best = min(best, (time.thread_time() - began) / count)
    return best * 1e9
