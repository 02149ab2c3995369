"""Makes golden/ks.json from scipy: `python -m tests.drift.make_golden_ks`.

windows: a sample, a window, scipy's statistic as a fraction (h of lcm) and its exact p-value.
streams: a sample, a stream, the window n, a threshold h, and every prediction (from 0) at which
scipy's statistic of the last n values has reached it. Numbers are written as text by repr.
"""

from __future__ import annotations

import json
import math
import random
import warnings
from pathlib import Path

from scipy import stats

from tests.drift.test_exactness import scipy_exact

GOLDEN = Path(__file__).parent / "golden" / "ks.json"
WINDOWS = 300
STREAMS = 60


def draw(rng: random.Random, kind: int, n: int, shift: float) -> list[float]:
    """Values of one of six kinds: ordinary, tied, constant, with infinities, tiny, huge."""
    if kind == 0:
        return [round(rng.gauss(shift, 1.0), 3) for _ in range(n)]
    if kind == 1:
        return [float(rng.randrange(5)) + round(shift) for _ in range(n)]
    if kind == 2:
        return [round(shift)] * n
    if kind == 3:
        return [
            rng.choice((math.inf, -math.inf, -0.0, 0.0, round(rng.gauss(shift, 1.0), 3)))
            for _ in range(n)
        ]
    scale = 5e-324 if kind == 4 else 1e307
    return [scale * rng.randrange(-9, 10 + int(shift)) for _ in range(n)]


def scipy_h(sample: list[float], window: list[float]) -> int:
    """The statistic in units of 1 / lcm, which it is a multiple of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of the asymptotic p, which is not used
        d = float(stats.ks_2samp(sample, window, method="asymp").statistic)
    return round(d * math.lcm(len(sample), len(window)))


def main() -> None:
    rng = random.Random(20_160_813)
    windows, streams = [], []
    for i in range(WINDOWS):
        kind, shift = i % 6, rng.choice((0.0, 0.0, 0.5, 2.0))
        m = rng.randrange(1, 80)
        n = m if rng.random() < 0.3 else rng.randrange(1, 60)
        sample, window = draw(rng, kind, m, 0.0), draw(rng, kind, n, shift)
        windows.append(
            {
                "sample": [repr(float(x)) for x in sample],
                "window": [repr(float(x)) for x in window],
                "h": scipy_h(sample, window),
                "lcm": math.lcm(m, n),
                "p": repr(scipy_exact(sample, window)[1]),
            }
        )
    for i in range(STREAMS):
        kind, m, n = i % 6, rng.randrange(1, 60), rng.randrange(1, 25)
        sample = draw(rng, kind, m, 0.0)
        stream = draw(rng, kind, 3 * n + 20, 0.0) + draw(rng, kind, 2 * n + 10, 1.5)
        hs = [scipy_h(sample, stream[k + 1 - n : k + 1]) for k in range(n - 1, len(stream))]
        threshold = max(1, sorted(hs)[3 * len(hs) // 4])
        streams.append(
            {
                "sample": [repr(float(x)) for x in sample],
                "stream": [repr(float(x)) for x in stream],
                "n": n,
                "threshold": threshold,
                "alarms": [k for k, h in enumerate(hs, n - 1) if h >= threshold],
            }
        )
    lines = [json.dumps(entry) for entry in windows], [json.dumps(entry) for entry in streams]
    GOLDEN.write_text(
        '{"windows": [\n'
        + ",\n".join(lines[0])
        + '\n], "streams": [\n'
        + ",\n".join(lines[1])
        + "\n]}\n"
    )


if __name__ == "__main__":
    main()
