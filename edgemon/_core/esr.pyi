from collections.abc import Sequence

from typing_extensions import Buffer

class EsrTable:
    """What an e-SR detector bets on: immutable, shared between streams.

    cuts: 1 to 15 finite numbers, strictly increasing.  bets: 1 to 128 tuples (cut, above, p, t):
    the half-line x > cuts[cut] if above, else x <= cuts[cut]; p bounds its probability before the
    change from above, t is the probability that the bet fears; 1e-30 <= p < t < 1.  Else
    ValueError.
    Memory: 4 bytes for each bet (rounded up to 16) in each of the cells between the cuts, and
    about 300 more: 8.5 KB for 15 cuts and 120 bets.
    """

    def __init__(
        self, cuts: Sequence[float], bets: Sequence[tuple[int, bool, float, float]]
    ) -> None: ...
    def cell(self, x: float) -> int:
        """How many cuts x is above. NaN is ValueError."""
    @property
    def cuts(self) -> tuple[float, ...]: ...
    @property
    def bets(self) -> int:
        """How many."""
    @property
    def fingerprint(self) -> int:
        """64 bits; equal tables have equal ones."""
    @property
    def memory_bytes(self) -> int: ...

class EsrDetector:
    """The e-SR change detector: P(any alarm in N values) <= N / limit, whatever N.

    For each bet of the table R <- (R + 1) e at every value, where e = t / p for a value in its
    half-line and (1 - t) / (1 - p) otherwise; the alarm is mean of R >= limit. The promise holds
    when, given all values before, the next lies in each half-line with a probability of at most
    its p: independent values of an unchanged law, not autocorrelated ones. It is for the first
    alarm after the beginning or `reset`, and holds with the rounding of the floats: they err to
    the safe side (csrc/em_esr.h).

    limit: above 0, at most 1e29, else ValueError.
    Input: NaN is ValueError (callers count it); infinities are values; -0.0 equals 0.0.
    Time: a push is O(bets), tens of ns for 120.  Memory, fixed: 4 bytes a bet and about 1,100,
    mostly the last 2,048 values at four bits each, for `since`.
    Source: Shin, Ramdas, Rinaldo, E-detectors, arXiv 2203.03532.

    >>> table = EsrTable([0.5], [(0, True, 0.01, 0.5)])
    >>> detector = EsrDetector(table, 1000.0)
    >>> [detector.push(x) for x in (0.0, 1.0, 1.0)], detector.since
    ([False, False, True], 2)
    """

    def __init__(self, table: EsrTable, limit: float) -> None: ...
    def push(self, x: float) -> bool:
        """True when, with x taken, mean of R >= limit. It stays so while that lasts: callers latch
        the first, and `reset` to begin anew."""
    def push_many(self, values: Buffer) -> int:
        """Pushes a contiguous buffer of doubles up to and including the first that `push` would
        answer with True, and returns its index; -1 when all were pushed and none was. The values
        behind it are not pushed. ValueError for a NaN anywhere: nothing is pushed."""
    def peak(self) -> tuple[float, float, int]:
        """(log R, cut, direction) of the bet with the largest R; direction +1: more values lie
        above the cut than may be, -1: at or below it. (-inf, cuts of the first bet, 0) before the
        first value."""
    def reset(self) -> None:
        """Forgets all values."""
    def to_bytes(self) -> bytes:
        """A checkpoint, versioned (csrc/em_esr.h): 4 bytes a bet and at most 1,044. Without a
        checksum, limit and table."""
    @staticmethod
    def from_bytes(table: EsrTable, limit: float, data: Buffer) -> EsrDetector:
        """The detector as it was. ValueError unless the bytes are a whole checkpoint of a detector
        with an equal table; the limit may be another."""
    @property
    def table(self) -> EsrTable: ...
    @property
    def limit(self) -> float:
        """A. May be set at any time, for the pushes to come."""
    @limit.setter
    def limit(self, value: float) -> None: ...
    @property
    def log_mean_r(self) -> float:
        """Natural logarithm of the mean of R; -inf before the first value. It stops growing at
        log(1e32)."""
    @property
    def since(self) -> int:
        """An estimate: the change was at the value this many back (1: the last). Where the
        likelihood of a change for the bet with the largest R is largest, among the last 2,048
        values; 0 when no change is likelier than one. O(2048)."""
    @property
    def pushes(self) -> int:
        """Values since the beginning or reset."""
    @property
    def memory_bytes(self) -> int:
        """Without the table."""
