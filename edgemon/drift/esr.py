"""The e-SR detector of a stream: fast for large changes, with a promise about false alarms.

The promise, as that of the KS threshold: on a stream whose law did not change since the profile was
made, P(any alarm at any of the next `horizon` predictions) <= probability, for independent values of
any law, with any ties. It is a proof, not a simulation (Shin, Ramdas, Rinaldo, E-detectors, arXiv
2203.03532; the argument is in csrc/em_esr.h):

- The reference is a sample, not the law. With probability 1 - a its distribution function is within
  epsilon = sqrt(ln(2 / a) / (2 n)) of the law's, everywhere at once (Dvoretzky, Kiefer, Wolfowitz,
  with Massart's constant, Annals of Probability 18, 1990), left limits included, whatever the
  quantiles that are picked from it.
- Given that, R of every bet has an expectation of at most the number N of values, and the first
  alarm, mean of R >= A, within N values has a chance of at most N / A.
- a is a quarter of the probability, N / A the other three: A = N / (0.75 probability).

It does not hold under autocorrelation: where sqrt(tau) is above 1.1 the detector is not `usable`,
and its budget belongs to the KS. A Bernoulli stream (missing, out of range, a new category) has a
reference rate and no quantiles; its rate is bounded by Clopper and Pearson, which near 0 is far
tighter than epsilon.

The KS is faster for small changes (epsilon is added to every probability: a shift below it is not
seen), this one for large ones: it needs log(A) divided by what a value tells, some 30 values for a
shift of half the mass, where the KS needs a share of its window. Run both, each with a part of the
budget.
"""

from __future__ import annotations

import math

from edgemon._core.esr import EsrDetector, EsrTable
from edgemon._core.ks import Reference
from edgemon.drift.threshold import BlindDetectorError
from edgemon.typed import NamedTuple, TypeAlias

__all__ = [
    "MAX_SQRT_TAU",
    "REFERENCE_SHARE",
    "BernoulliEsr",
    "Bet",
    "EsrDetector",
    "EsrPlan",
    "EsrTable",
    "alarm_level",
    "bernoulli",
    "bernoulli_table",
    "clopper_pearson_upper",
    "plan",
    "quantile_bets",
    "quantile_table",
    "reference_epsilon",
    "usable",
]

QUANTILES = 15
SHIFTS = (0.05, 0.1, 0.2, 0.4)
MAX_SQRT_TAU = 1.1
# Part of a detector's budget that pays for the uncertainty of its reference.
REFERENCE_SHARE = 0.25

_MAX_T = 0.9995
_BERNOULLI_BETS = 16
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


# (index of the cut, above it?, bound p of the half-line's probability, probability t feared)
Bet: TypeAlias = tuple[int, bool, float, float]


class EsrPlan(NamedTuple):
    """What EsrDetector(*plan) needs: the table, which streams may share, and the alarm's limit A."""

    table: EsrTable
    limit: float


def usable(sqrt_tau: float) -> bool:
    """Whether the promise holds: values that hardly depend on those before, sqrt(tau) <= 1.1."""
    return sqrt_tau <= MAX_SQRT_TAU


def alarm_level(horizon: int, probability: float) -> float:
    """A such that P(any alarm in `horizon` values) <= probability, once the bounds hold.

    >>> alarm_level(1_000_000, 0.01)
    100000000.0
    """
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1, not {horizon}")
    _check_probability(probability)
    return horizon / probability


def reference_epsilon(n: int, probability: float, points: int = 0) -> float:
    """How far the law may be from the reference's distribution function, at confidence
    1 - probability.

    n: values that the reference was made from.  points: how many were kept of them, in at most two
    steps of `profile.reduce_sorted`, each of which moves the function by at most 1 / (2 points); 0:
    all.

    >>> round(reference_epsilon(10_000, 1e-4), 4)
    0.0223
    """
    if n < 1:
        raise ValueError(f"a reference has at least 1 value, not {n}")
    _check_probability(probability)
    epsilon = math.sqrt(math.log(2.0 / probability) / (2.0 * n))
    return epsilon + 1.0 / points if 0 < points < n else epsilon


def plan(reference: Reference, horizon: int, probability: float, seen: int = 0) -> EsrPlan:
    """Table and limit of a detector for this reference, which together keep the promise.

    horizon: predictions that it covers.  probability: of any false alarm among them.  seen: values
    that the reference was made from when it has been reduced (`FeatureProfile.n`); 0: reference.m.
    BlindDetectorError where the reference is too small to bet on anything. O(log u).

    >>> from array import array
    >>> values = array("d", range(1000))
    >>> reference = Reference(values, array("q", [1]) * 1000)
    >>> detector = EsrDetector(*plan(reference, 1_000_000, 0.01))
    >>> any(detector.push(x * 389 % 1000) for x in range(1000))
    False
    >>> [detector.push(990.0) for _ in range(60)].index(True)
    15
    """
    _check_probability(probability)
    n = max(seen, reference.m)
    epsilon = reference_epsilon(n, REFERENCE_SHARE * probability, reference.m)
    limit = alarm_level(horizon, (1.0 - REFERENCE_SHARE) * probability)
    return EsrPlan(quantile_table(reference, epsilon), limit)


def quantile_table(reference: Reference, epsilon: float) -> EsrTable:
    """The table of `quantile_bets`. BlindDetectorError when there is none."""
    cuts, bets = quantile_bets(reference, epsilon)
    if not bets:
        raise BlindDetectorError(
            f"a reference of {reference.m} is too small for the e-SR detector: its distribution "
            f"is known to {epsilon:.2g} only"
        )
    return EsrTable(cuts, bets)


def quantile_bets(reference: Reference, epsilon: float) -> tuple[list[float], list[Bet]]:
    """Cuts and bets on the half-lines at 15 quantiles of a reference, as EsrTable takes them.

    epsilon: how far the law may be from the reference. Each of up to 15 cuts, both directions and
    four shifts d make a bet: p is the reference's share of the half-line + epsilon, t = min(p + d,
    0.9995); bets with p >= t are left out. Cuts lie at the quantiles j / 16. Where ties make
    several quantiles one value v, x < v and x <= v are different events, and both are cuts, so that
    what leaves a large atom to either side is seen; the share is the actual one on either side.
    Infinite quantiles are left out.
    """
    shares = _cuts(reference)
    bets: list[Bet] = []
    for cut, share in enumerate(shares.values()):
        for above, probability in ((False, share), (True, 1.0 - share)):
            p = probability + epsilon
            ts = dict.fromkeys(min(p + shift, _MAX_T) for shift in SHIFTS)
            bets += [(cut, above, p, t) for t in ts if p < t]
    return list(shares), bets


def _cuts(reference: Reference) -> dict[float, float]:
    """Cut c -> the reference's share of x <= c, increasing in both."""
    m = reference.m
    ranks: dict[float, int] = {}
    quantiles = [_order_statistic(reference, -(-j * m // 16)) for j in range(1, QUANTILES + 1)]
    for value in dict.fromkeys(quantiles):
        # As no double lies between, x < value is x <= the next double below.
        below = math.nextafter(value, -math.inf)
        if quantiles.count(value) > 1 and math.isfinite(below):
            ranks[below] = reference.rank(below)
        if math.isfinite(value):
            ranks[value] = reference.rank(value)
    return {cut: rank / m for cut, rank in ranks.items()}


def _order_statistic(reference: Reference, k: int) -> float:
    """The smallest reference value with at least k of the reference at or below it."""
    low, high = 0, reference.u - 1
    while low < high:
        middle = (low + high) // 2
        if reference.rank(reference.value(2 * middle + 1)) < k:
            low = middle + 1
        else:
            high = middle
    return reference.value(2 * low + 1)


class BernoulliEsr:
    """Whether a yes comes more often than it may: e-SR of a stream of yes and no.

    P(any alarm in N answers) <= N / limit while, given those before, each is yes with a probability
    of at most rate_upper. 16 bets; only a higher rate is seen. `bernoulli` makes one from counts.

    rate_upper: at least 1e-30; 0.9995 and more is BlindDetectorError.  limit: above 0.
    Memory: about 1.2 KB, and 0.5 for a table that is not shared.
    """

    __slots__ = ("detector",)

    def __init__(self, rate_upper: float, limit: float) -> None:
        self.detector = EsrDetector(bernoulli_table(rate_upper), limit)

    def push(self, yes: bool) -> bool:
        """True when, with this answer taken, the mean of R is at least the limit."""
        return self.detector.push(1.0 if yes else 0.0)

    @property
    def log_mean_r(self) -> float:
        """Natural logarithm of the mean of R; -inf before the first answer."""
        return self.detector.log_mean_r

    @property
    def since(self) -> int:
        """An estimate: the rate rose this many answers back (1: the last), 0: it did not."""
        return self.detector.since

    def reset(self) -> None:
        """Forget all answers."""
        self.detector.reset()

    def to_bytes(self) -> bytes:
        """A checkpoint, at most 1.1 KB; see EsrDetector."""
        return self.detector.to_bytes()

    @classmethod
    def from_bytes(cls, rate_upper: float, limit: float, data: bytes) -> BernoulliEsr:
        """As it was. ValueError unless `data` is a checkpoint of one with the same rate_upper."""
        made = cls.__new__(cls)
        made.detector = EsrDetector.from_bytes(bernoulli_table(rate_upper), limit, data)
        return made


def bernoulli(hits: int, rows: int, horizon: int, probability: float) -> BernoulliEsr:
    """The detector for a share that was hits / rows in the reference, which keeps the promise.

    >>> missing = bernoulli(0, 10_000, horizon=1_000_000, probability=1e-4)
    >>> [missing.push(True) for _ in range(5)]
    [False, False, False, True, True]
    """
    _check_probability(probability)
    rate = clopper_pearson_upper(hits, rows, REFERENCE_SHARE * probability)
    return BernoulliEsr(rate, alarm_level(horizon, (1.0 - REFERENCE_SHARE) * probability))


def bernoulli_table(rate_upper: float) -> EsrTable:
    """One half-line (yes) and 16 alternatives, whose odds are evenly spaced in their logarithm, from
    just above rate_upper to a tenth of its share of no."""
    if not rate_upper < _MAX_T:
        raise BlindDetectorError(f"a rate that may be {rate_upper:.4g} cannot be seen to rise")
    lowest = rate_upper / (1.0 - rate_upper)
    highest = 10.0 / (1.0 - rate_upper) - 1.0
    odds = [
        lowest * (highest / lowest) ** (k / _BERNOULLI_BETS) for k in range(1, _BERNOULLI_BETS + 1)
    ]
    return EsrTable([0.5], [(0, True, rate_upper, o / (1.0 + o)) for o in odds])


def clopper_pearson_upper(hits: int, rows: int, probability: float) -> float:
    """Upper confidence bound of a rate: the true one is above it with at most this probability.

    The rate p at which P(at most `hits` of `rows`) = probability (Clopper and Pearson, Biometrika
    26, 1934), to 1e-10 of itself; 1 when all are hits. 0 <= hits <= rows, rows >= 1, probability in
    (0, 0.5], else ValueError. Some ms for a million rows, O(sqrt(rows)).

    >>> round(clopper_pearson_upper(0, 10_000, 1e-4), 7)
    0.0009206
    """
    if not 0 <= hits <= rows or rows < 1:
        raise ValueError(f"{hits} of {rows} is not a share")
    if not 0.0 < probability <= 0.5:
        raise ValueError(f"probability must be above 0 and at most 0.5, not {probability}")
    if hits == rows:
        return 1.0
    target = math.log(probability)
    if hits == 0:
        return -math.expm1(target / rows)
    # The logarithm of the tail falls in p and is concave: a step of Newton's method ends on the
    # right of the root wherever it began, and the next ones come down to it from there, so that one
    # too few would err to the safe side.
    share = hits / rows
    p = min(share + math.sqrt(-target / (2.0 * rows)), 1.0 - 0.5 * (1.0 - share))
    for _ in range(100):
        log_tail, slope = _log_binomial_tail(hits, rows, p)
        step = (log_tail - target) / slope
        # The tangent may lead beyond 1: then half the way there.
        following = p - step if p - step < 1.0 else 0.5 * (1.0 + p)
        if abs(following - p) <= 1e-12 * p:
            return following
        p = following
    raise ArithmeticError(f"no bound found for {hits} of {rows}")


def _log_binomial_tail(k: int, n: int, p: float) -> tuple[float, float]:
    """log P(at most k of n) at rate p >= k / n, and its derivative by p; 1 <= k < n."""
    # From the largest term down; each is smaller by a factor that itself falls.
    odds, total, term = (1.0 - p) / p, 1.0, 1.0
    for i in range(k, 0, -1):
        term *= i / (n - i + 1) * odds
        total += term
        if term < 1e-17 * total:
            break
    log_tail = _log_binomial(k, n, p) + math.log(total)
    return log_tail, -(n - k) / ((1.0 - p) * total)


def _log_binomial(k: int, n: int, p: float) -> float:
    """log P(exactly k of n), 1 <= k < n; no large numbers that cancel (Loader, Fast and accurate
    computation of binomial probabilities, 2000)."""
    return (
        _stirling_error(n)
        - _stirling_error(k)
        - _stirling_error(n - k)
        - _deviance(k, (n * p - k) / k)
        - _deviance(n - k, (k - n * p) / (n - k))
        + 0.5 * math.log(n / (2.0 * math.pi * k * (n - k)))
    )


def _stirling_error(n: int) -> float:
    """log n! - log(sqrt(2 pi n) (n / e)^n)."""
    if n < 16:
        return math.log(math.factorial(n)) - ((n + 0.5) * math.log(n) - n) - _LOG_SQRT_2PI
    s = 1.0 / (n * n)
    return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - s / 1188) * s) * s) * s) / n


def _deviance(x: int, excess: float) -> float:
    """x log(x / mean) + mean - x, where mean = x (1 + excess)."""
    return x * (excess - math.log1p(excess))


def _check_probability(probability: float) -> None:
    if not 0.0 < probability < 1.0:
        raise ValueError(f"probability must lie between 0 and 1, not {probability}")
