"""How far is too far: the integer threshold of the sliding KS statistic, from a promise about false
alarms.

The promise: on a stream whose law did not change since the profile was made, P(h >= H at any look
at the next `horizon` predictions) <= probability. One looks after every prediction, or every k-th.

    H = ceil(c * sqrt_tau * sqrt((m + n) / (m n)) * lcm(m, n))

c is the quantile of the largest lambda = D * sqrt(mn / (m + n)) among so many windows. Its law
depends on nothing but m / n, the looks, the horizon in windows and n, as long as the data are
independent and continuous (ties make h smaller; sqrt_tau stands for the lack of independence). It
is tabulated by simulation, in ks_null.py, for n = 100.

Between the table's entries each step errs to a larger c:

- Every entry carries two standard errors, and the slope of its far tail is lowered by two.
- Ratio. c grows with m / n, since a smaller share of the frozen reference means less correlation
  over time (Slepian's inequality, for the Gaussian limit): the next larger ratio is used. Above the
  largest, D itself falls as m grows (Anderson's inequality), so c(r) <= c(r0) sqrt((r / (r + 1))
  ((r0 + 1) / r0)): at most 0.5 % more.
- Looks. Fewer looks find less: the entries for every n/10 serve k >= n/10, those for every
  prediction all else.
- Horizon. The stream is stationary, so P(L) <= L / l * P(l) for every tabulated l < L, by the union
  bound, and P(L) <= P(l) for l >= L; the smallest c of these holds. At a tabulated L its own entry
  is used. For L beyond the table only the first is left: valid, a little blunter.
- Window. c(n) rises to its limit like c(100) + KAPPA (1/sqrt(100) - 1/sqrt(n)); below 100, c(100)
  is used. KAPPA = 1 lies above what was measured (the end of ks_null.py).
- Probability. c**2 as a function of t = -log(-log(1 - P)) is nearly straight: its second derivative
  is above -_BEND everywhere in the table, so between two entries it is at most the chord plus
  _BEND / 2 (t - t0) (t1 - t). Below the last entry the fitted tail: log P falls linearly in c**2,
  at a slope that only gets steeper further out (2 in the limit).
"""

from __future__ import annotations

import math

from edgemon.drift.ks_null import GRID, TABLE, N
from edgemon.errors import EdgemonError
from edgemon.typed import NamedTuple

KAPPA = 1.0
# The tail is trusted down to here, for one table entry.
MIN_PROBABILITY = 1e-9
MIN_WINDOW = 10

_MARGIN = 2.0  # standard errors
_BEND = 0.06
_RATIOS = (1, 2, 5, 10, 20, 50, 100)


class ThresholdError(EdgemonError, ValueError):
    """No threshold can keep the promise that was asked for."""

    exit_code = 3


class OutsideTableError(ThresholdError):
    """The setting lies where nothing was simulated."""


class BlindDetectorError(ThresholdError):
    """The threshold is above the largest value that h can take: it could never alarm."""


class Threshold(NamedTuple):
    """h: alarm when h >= this.  lcm: of m and n; the statistic at the threshold is D = h / lcm.  c:
    on lambda's scale, before sqrt_tau.
    """

    h: int
    lcm: int
    c: float

    @property
    def d(self) -> float:
        """D at which the alarm comes."""
        return self.h / self.lcm


def critical_value(
    ratio: float, n: int, windows: float, probability: float, every: int = 1
) -> float:
    """c such that P(lambda >= c at any look within `windows` windows) <= probability.

    ratio: m / n, at least 1.  n: window.  windows: horizon / n.  probability: below 1; above 0.5
    counts as 0.5.  every: predictions from look to look. OutsideTableError says what is outside.
    O(rows of the table), which is parsed anew each time.

    >>> 2.7 < critical_value(10.0, 100, 1000.0, 0.01) < 2.9
    True
    """
    if not ratio >= 1.0:
        raise OutsideTableError(
            f"the reference is smaller than the window ({ratio:.3g} times as large); what would do: more of its"
            " values, or a smaller drift.window"
        )
    if n < MIN_WINDOW:
        raise OutsideTableError(f"a window of {n} is too small: at least {MIN_WINDOW}")
    if not 0.0 < probability < 1.0:
        raise OutsideTableError(
            f"the probability of a false alarm must lie between 0 and 1, not {probability!r}"
        )
    if not windows > 0.0:
        raise OutsideTableError("the horizon must be at least one prediction")
    if every < 1:
        raise OutsideTableError(f"one cannot look every {every} predictions: at least 1")
    last = next((r for r in _RATIOS if r >= ratio), _RATIOS[-1])
    # Of the horizons below, the bound from the longest is the sharpest; of those above, the first.
    # The smaller ratios count too, so that their noise cannot make c fall as the ratio grows.
    near: dict[tuple[int, bool], tuple[float, str]] = {}
    for line in TABLE.splitlines():
        head, _, row = line.partition("|")
        row_ratio, row_every, horizon, _ = map(int, head.split())
        if row_ratio <= last and (row_every > 1) == (every >= n / 10):
            if horizon < windows:
                near[row_ratio, False] = (horizon / windows, row)
            else:
                near.setdefault((row_ratio, True), (1.0, row))
            if horizon == windows:  # its own entry, even if noise makes the bound a hair lower
                near.pop((row_ratio, False), None)
    best = dict.fromkeys((r for r in _RATIOS if r <= last), math.inf)
    for (row_ratio, _), (share, row) in near.items():
        p = min(0.5, probability) * share
        if p >= MIN_PROBABILITY:
            best[row_ratio] = min(best[row_ratio], _upper_quantile(row, p))
    c = max(best.values())
    if c == math.inf:
        raise OutsideTableError(
            f"a false alarm probability of {probability:.2g} over {windows:.3g} windows "
            "is rarer than the table reaches"
        )
    if ratio > last:
        c *= math.sqrt((ratio / (ratio + 1.0)) * ((last + 1.0) / last))
    return c + KAPPA * max(0.0, 1.0 / math.sqrt(N) - 1.0 / math.sqrt(n))


def threshold(
    m: int, n: int, horizon: int, probability: float, sqrt_tau: float = 1.0, *, every: int = 1
) -> Threshold:
    """The threshold for a reference of m and a window of n.

    horizon: predictions that the promise covers.  probability: of any false alarm among them, for
    this stream. sqrt_tau: of the stream, at least 1.  every: predictions from look to look.
    OutsideTableError as critical_value; BlindDetectorError where h could never reach H, with what
    would do.
    """
    c = critical_value(m / n, n, horizon / n, probability, every)
    found = _threshold(m, n, c, sqrt_tau)
    if found.h > found.lcm:
        raise BlindDetectorError(
            f"a window of {n} against a reference of {m} could never raise an alarm at a false "
            f"alarm probability of {probability:.2g} a stream in {horizon} predictions: "
            + _remedy(m, n, horizon, probability, sqrt_tau, every)
        )
    return found


def _threshold(m: int, n: int, c: float, sqrt_tau: float) -> Threshold:
    lcm = math.lcm(m, n)
    return Threshold(math.ceil(c * max(1.0, sqrt_tau) * math.sqrt((m + n) / (m * n)) * lcm), lcm, c)


def _remedy(m: int, n: int, horizon: int, probability: float, sqrt_tau: float, every: int) -> str:
    """What would make the detector see again, each change alone, in words."""

    def sees(m: int, n: int, probability: float) -> bool:
        try:
            c = critical_value(m / n, n, horizon / n, probability, every)
        except OutsideTableError:
            return False
        found = _threshold(m, n, c, sqrt_tau)
        return found.h <= found.lcm

    remedies = []
    window = next((k * n for k in range(2, m // n + 1) if sees(m, k * n, probability)), None)
    if window is not None:
        remedies.append(f"a window of {window}")
    # Growing both keeps m / n, which always helps in the end.
    both = next((k for k in range(2, 1000) if sees(k * m, k * n, probability)), None)
    if both is not None:
        remedies.append(f"a reference of {both * m} with a window of {both * n}")
    chance = next((probability * 10**k for k in range(1, 10) if probability * 10**k < 0.5), None)
    while chance is not None and chance < 0.5 and not sees(m, n, chance):
        chance *= 10
    if chance is not None and chance < 0.5:
        remedies.append(f"a false alarm probability of {chance:.2g}")
    if sqrt_tau > 1.5:
        remedies.append(f"values that depend less on those before (sqrt(tau) is {sqrt_tau:.1f})")
    return (
        "what would do: " + ", or ".join(remedies)
        if remedies
        else "nothing near these settings would do"
    )


def _with_error(text: str) -> tuple[float, float]:
    """A value with the standard error of its last digits: "1.2345(67)" is 1.2345 and 0.0067."""
    value, _, error = text.rstrip(")").partition("(")
    return float(value), int(error) / 10.0 ** len(value.partition(".")[2])


def _steps(p: float, q: float) -> float:
    """From p down to q on the scale on which c**2 is nearly straight."""
    return math.log(math.log1p(-p) / math.log1p(-q))


def _upper_quantile(row: str, p: float) -> float:
    """The row's c at probability p, two standard errors up. p: at most the first of GRID."""
    quantiles, _, tail = row.partition("|")
    tail_text, rate_text = tail.split()
    tail_p, anchor = float(tail_text), 0.0
    above_p, above_c = 1.0, 0.0
    for grid_p, text in zip(GRID, quantiles.split(), strict=False):  # rows end early
        c, error = _with_error(text)
        upper = max(above_c, c + _MARGIN * error)
        if p >= grid_p:
            if p == grid_p or above_p == 1.0:
                return upper
            whole, part = _steps(above_p, grid_p), _steps(above_p, p)
            chord = above_c**2 + part / whole * (upper**2 - above_c**2)
            # Not above the entry's own c, which holds for every larger p.
            return min(upper, math.sqrt(chord + 0.5 * _BEND * part * (whole - part)))
        if grid_p == tail_p:
            anchor = upper
        above_p, above_c = grid_p, upper
    rate, error = _with_error(rate_text)
    rate -= _MARGIN * error
    if rate <= 0.0:
        return math.inf
    return max(above_c, math.sqrt(anchor**2 + math.log(max(1.0, tail_p / p)) / rate))
