"""The tail of the chi-square law, without scipy."""

from __future__ import annotations

import math

_TINY = 1e-300
_EPSILON = 1e-16
_MAX_STEPS = 100_000
# From here on Stirling's series, up to the term below, is exact to 1e-13 or so.
_LARGE = 20.0


def chi_square_sf(x: float, df: float) -> float:
    """P(X > x) for a chi-square variable with df > 0 degrees of freedom; x < 0 counts as 0.

    >>> round(chi_square_sf(3.841458820694124, 1), 12)
    0.05
    """
    return gamma_q(df / 2.0, x / 2.0)


def gamma_q(a: float, x: float) -> float:
    """Q(a, x): the regularised upper incomplete gamma function, a > 0, x >= 0. 0 to 1.

    The power series below x = a + 1, the continued fraction above (Press et al., Numerical Recipes,
    6.2, by Lentz's method); relative error below 1e-10 down to 1e-300. O(sqrt(a)) steps around x =
    a.
    """
    if not a > 0.0:
        raise ValueError(f"a must be positive, not {a!r}")
    if x <= 0.0:
        return 1.0
    if x == math.inf:
        return 0.0
    factor = math.exp(_log_gamma_density(a, x))
    if x < a + 1.0:
        term = total = 1.0
        step = a
        while term > total * _EPSILON:
            step += 1.0
            term *= x / step
            total += term
        return 1.0 - factor * total / a
    b = x + 1.0 - a
    c, d = 1.0 / _TINY, 1.0 / b
    fraction = d
    for i in range(1, _MAX_STEPS):
        numerator = i * (a - i)
        b += 2.0
        d = 1.0 / (numerator * d + b or _TINY)
        c = b + numerator / c or _TINY
        change = c * d
        fraction *= change
        if abs(change - 1.0) < _EPSILON:
            break
    return factor * fraction


def _log_gamma_density(a: float, x: float) -> float:
    """ln(x**a exp(-x) / gamma(a)). For large a not by lgamma, whose digits would cancel."""
    if a < _LARGE:
        return a * math.log(x) - x - math.lgamma(a)
    away = (x - a) / a
    return -a * (away - math.log1p(away)) + 0.5 * math.log(a / math.tau) - _stirling(a)


def _stirling(a: float) -> float:
    """ln(gamma(a)) beyond (a - 1/2) ln(a) - a + ln(2 pi) / 2, for a >= 20."""
    y = 1.0 / (a * a)
    return (1.0 / 12 - y * (1.0 / 360 - y * (1.0 / 1260 - y * y / 1680))) / a
