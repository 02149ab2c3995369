"""Bets against all laws of categories that a reference allows: what an alarm is made of.

The reference's counts bound the probabilities of the cells, lows <= p <= highs; C is the set of laws
within the bounds, and the true one is in it but with a small probability (`allowed`). For a law q,
chosen before x comes, let p* be the law in C closest to q (smallest KL(q || p*)):

    p*_c = clip(scale q_c, low_c, high_c), scale such that they add up to 1

Then e(x) = q(x) / p*(x) is at most 1 on average under every p in C: sum p_c e_c - sum p*_c e_c = sum
(p_c - p*_c) (e_c - 1 / scale), and no term is positive, since e_c > 1 / scale only where p*_c is
high_c >= p_c, and e_c < 1 / scale only where it is low_c; and sum p*_c e_c = sum q_c = 1. So with

    R <- (R + 1) e(x)

R less the number of values is a supermartingale while the law stays in C, and P(R >= A at any of N
values) <= N / A: for every N looks and whatever q; a better q alarms sooner.

R: Shin, Ramdas, Rinaldo, E-detectors, arXiv 2203.03532.  p*: Li, Estimation of mixture models
(1999); Grünwald, de Heide, Koolen, Safe testing, arXiv 1906.07801.
"""

from __future__ import annotations

from edgemon.drift.esr import clopper_pearson_upper
from edgemon.std.array import array
from edgemon.std.collections.abc import Sequence
from edgemon.typed import NamedTuple

# Categories that are told apart; those that were rarest in the reference count as one.
MAX_CELLS = 64
# A category that came more often than this is in both halves of a random split but with 2^-40.
_SURELY_SPLIT = 40
_LOWER_SLACK = 16
_SEED = 0x65646765


class Allowed(NamedTuple):
    """The cells, and the laws that the reference allows.

    cell: of each category, in order, and of unseen ones as the last.  shares: of the reference, each
    above 0, adding up to 1.  lows, highs: bounds of each cell's probability.
    """

    cell: array[int]
    shares: list[float]
    lows: list[float]
    highs: list[float]


def allowed(counts: Sequence[int], other: int, probability: float) -> Allowed:
    """What the reference allows: the true law is not within the bounds with at most this probability.

    counts: how often each category came, >= 1.  other: values whose category was not kept.  At least
    one value in all. It holds for any law over any number of categories, also those that never came:

    - A category's Clopper–Pearson bounds each get a part of the probability that is proportional to
      the category's own p, so the parts of all categories add up, however many there are and
      whichever the reference happened to show. (Below: p >= its estimate, for the upper bound; for
      the lower one p >= 1/16 of it, or else there is none.)
    - Unseen categories: the reference never shows one, so their share is bounded from a random split
      (fixed seed): how many values of the second half have a category that is not in the first. No
      bound when `other` is not 0.
    - The cell that the rarest categories share is not bounded but by what the others leave it.

    O(categories log categories), some ms.
    """
    m = sum(counts) + other
    each = probability / 3.0
    cell, cells = _cells(counts)
    sums = [0] * cells
    for count, place in zip(counts, cell, strict=False):
        sums[place] += count
    # Half a value more each, so that no guess rules a cell out.
    sums[-1] = other
    total = m + 0.5 * cells
    shared = MAX_CELLS - 2 if len(counts) >= MAX_CELLS else -1
    lows, highs = [0.0] * cells, [1.0] * cells
    for place, k in enumerate(sums[:-1]):
        if place != shared:
            share = k / m
            highs[place] = clopper_pearson_upper(k, m, each * share)
            low = 1.0 - clopper_pearson_upper(m - k, m, each * share / _LOWER_SLACK)
            lows[place] = low if low >= share / _LOWER_SLACK and k > 1 else 0.0
    if not other and m >= 2:
        highs[-1] = clopper_pearson_upper(_new_in_second_half(counts, m), m // 2, each)
    return Allowed(cell, [(k + 0.5) / total for k in sums], lows, highs)


def _cells(counts: Sequence[int]) -> tuple[array[int], int]:
    """The cell of each category and of unseen ones, and how many cells there are."""
    known = len(counts)
    if known < MAX_CELLS:
        return array("H", range(known + 1)), known + 1
    cell = array("H", [MAX_CELLS - 2]) * known
    often = sorted(range(known), key=lambda k: -counts[k])[: MAX_CELLS - 2]
    for place, k in enumerate(often):
        cell[k] = place
    cell.append(MAX_CELLS - 1)
    return cell, MAX_CELLS


def _new_in_second_half(counts: Sequence[int], m: int) -> int:
    """Values of a random half (m // 2 of them) whose category is not in the other half."""
    left, left_first = m, m - m // 2
    state, new = _SEED, 0
    for count in counts:
        if count > _SURELY_SPLIT:
            continue
        in_first = 0
        for _ in range(count):
            # splitmix64 (Steele, Lea, Flood 2014): the agent does not load `random`.
            state = (state + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
            bits = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
            bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
            if (bits ^ (bits >> 31)) * left >> 64 < left_first:
                in_first += 1
                left_first -= 1
            left -= 1
        if not in_first:
            new += count
    return new


def bet(guess: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> list[float]:
    """e, cell by cell, for a guess q: see above.

    guess: shares > 0 that add up to 1.  sum(lows) <= 1 <= sum(highs).  O(cells log cells).

    >>> bet([0.5, 0.5], [0.125, 0.75], [0.25, 0.875])  # p* is [0.25, 0.75]
    [2.0, 0.6666666666666666]
    """
    # sum(clip(scale q, low, high)) rises with scale; between its bends it is a line.
    bends = sorted(
        [(low / q, q, low) for q, low in zip(guess, lows, strict=True)]
        + [(high / q, -q, -high) for q, high in zip(guess, highs, strict=True)]
    )
    fixed, free, scale = sum(lows), 0.0, 0.0
    for at, q, bound in bends:
        if fixed + free * at >= 1.0:
            break
        scale, fixed, free = at, fixed - bound, free + q
    if free > 0.0:
        scale = (1.0 - fixed) / free
    return [
        q / min(max(scale * q, low), high) for q, low, high in zip(guess, lows, highs, strict=True)
    ]
