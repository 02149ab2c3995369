from typing_extensions import Buffer

class Reference:
    """The fixed sample of a Kolmogorov-Smirnov test: immutable, shared between streams.

    values: u distinct doubles, strictly increasing, infinities allowed, NaN not.  counts: a buffer
    of u ints >= 1, how often each occurs; their sum m is at most 2^31 - 1. Else ValueError.
    The values cut the line into 2u + 1 buckets: 2i + 1 is "equal to values[i]", 2i is what lies
    strictly between values[i - 1] and values[i].
    Memory: 16 bytes a distinct value and about 80 more.  bucket and rank are O(log u) at worst, a
    few steps as a rule (guide table).
    """

    def __init__(self, values: Buffer, counts: Buffer) -> None: ...
    def bucket(self, x: float) -> int:
        """0 to 2u. NaN is ValueError."""
    def rank(self, x: float) -> int:
        """Observations <= x, 0 to m. NaN is ValueError."""
    def bounds(self, bucket: int) -> tuple[float, float]:
        """What a bucket holds: (v, v) exactly v, else all strictly between the two; ±inf at the
        ends."""
    def value(self, bucket: int) -> float:
        """The reference value of a bucket, or the next above it (the largest, for the last
        bucket)."""
    @property
    def m(self) -> int: ...
    @property
    def u(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...

class SlidingKS:
    """The exact two-sample Kolmogorov-Smirnov statistic of a reference against the last `window`
    values.

    With n values in the window and g = gcd(m, n), w_r = n / g, w_w = m / g:

        h = max over x of |w_r * #reference <= x  -  w_w * #window <= x|        D = h / lcm(m, n)

    h and lcm are integers, so D is exact, ties included, and equal to scipy.stats.ks_2samp's
    statistic. While the window fills, n is the number of values seen and all of these change with
    it. One slide of a full window changes h by at most w_w, so a scan of the counts is only made
    at the first push at which `h >= threshold_h` can have become another; every answer is as if
    made by a scan.

    window: 1 to 2^31 - 1.  threshold_h: 1 to 2^63 - 1, against the h of a full window, whose
    largest value is lcm(m, window); above that the detector is blind.  Else ValueError.
    Input: NaN is ValueError (callers count it); infinities are values; -0.0 equals 0.0.
    Time: a push is O(1), and O(u) when a scan is due; a stream that hovers at the threshold may
    scan at every push.  Memory, fixed: about 2 (2u + 1) + 2 window bytes while lcm < 2^15; twice or
    four times the first term above, 4 window bytes when 2u + 1 > 65536 (csrc/em_ks.h).

    >>> from array import array
    >>> reference = Reference(array("d", [1.0, 2.0, 3.0, 4.0]), array("q", [1, 1, 1, 1]))
    >>> ks = SlidingKS(reference, window=2, threshold_h=4)
    >>> ks.push(9.0), ks.push(9.0), ks.h, ks.d, ks.peak()
    (False, True, 4, 1.0, (4, 7, 1))
    """

    def __init__(self, reference: Reference, window: int, threshold_h: int) -> None: ...
    def push(self, x: float) -> bool:
        """True when the window is full and, with x in it, h >= threshold_h."""
    def push_many(self, values: Buffer) -> int:
        """Pushes a contiguous buffer of doubles up to and including the first that `push` would
        answer with True, and returns its index; -1 when all were pushed and none was. The values
        behind it are not pushed: go on from index + 1. ValueError for a NaN anywhere: nothing is
        pushed."""
    def peak(self) -> tuple[int, int, int]:
        """(h, bucket, direction): the first bucket at whose end the difference is largest; +1: the
        window lies higher than the reference there, -1: lower. (0, 0, 0) when h is 0. O(u).
        `reference.value(bucket)` says where in the range that is."""
    def counts(self) -> list[int]:
        """How many values of the window are in each of the 2u + 1 buckets. O(u)."""
    def buckets(self) -> list[int]:
        """The bucket of each value in the window, oldest first: n of them. O(n)."""
    def buckets_bytes(self) -> bytes:
        """As `buckets`, as int64 of this machine. O(window)."""
    def reset(self) -> None:
        """Forgets the window and sets `scans` to 0; threshold_h and scan_interval stay."""
    @property
    def reference(self) -> Reference: ...
    @property
    def window(self) -> int: ...
    @property
    def n(self) -> int:
        """Values in the window now."""
    @property
    def h(self) -> int:
        """Exact now, for the n values seen; 0 when there are none. O(u)."""
    @property
    def lcm(self) -> int:
        """lcm(m, n), of which h is a part; m when there are none."""
    @property
    def d(self) -> float:
        """h / lcm, rounded once."""
    @property
    def scans(self) -> int:
        """Scans of the full window since the beginning or reset."""
    @property
    def threshold_h(self) -> int:
        """May be set at any time; the answer to the next push is exact for it."""
    @threshold_h.setter
    def threshold_h(self, value: int) -> None: ...
    @property
    def scan_interval(self) -> int:
        """At least so many pushes between scans (1 to 2^31 - 1, at first 1). Above 1 answers may be
        late by as many: for a stream that hovers with its alarm already latched. Back at 1, the
        answer to the next push is exact."""
    @scan_interval.setter
    def scan_interval(self, value: int) -> None: ...
    @property
    def memory_bytes(self) -> int:
        """Without the reference."""

def at_most(values: bytes, limit: int) -> int:
    """values: int64 of this machine. Which are <= limit, as the bits of one integer: the first value is the highest
    bit, the last the lowest. ValueError for half a number.

    >>> import array
    >>> bin(at_most(array.array("q", [1, 5, 2, 9]).tobytes(), 2))
    '0b1010'
    """
