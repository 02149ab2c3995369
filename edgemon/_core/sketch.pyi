from typing_extensions import Buffer

class QuantileSketch:
    """Quantiles of a stream with a guaranteed relative error, mergeable, in fixed memory
    (DDSketch).

    What is estimated: `quantile(q)` is the value of rank floor(q * (count - 1)) in sorted order,
    the infinities among them. The error is at most relative_error * |x| plus one denormal, unless
    x lies in a collapsed bin. Zeros, infinities, the smallest and the largest finite value are
    exact. Collapse: the bins are shared by both signs; when the magnitudes of one sign span more
    than there is room for (a factor of 7.8e8 by default, 2.8e4 while both signs need more than
    half), its smallest magnitudes share one bin. What lies in it is answered by a magnitude at
    most 1 / that factor of the largest. `collapsed` says so.
    The state, to the byte, depends only on the values, not on their order or on how merges were
    grouped.

    relative_error: 1e-4 to 0.5.  max_bins: 16 to 65536, else ValueError.
    Memory: 8 bytes a bin and about 150 more, fixed.  push is O(1), the rest O(max_bins).
    Source: Masson, Rim, Lee, DDSketch, PVLDB 12 (2019), arXiv 1908.10693.

    >>> sketch = QuantileSketch()
    >>> for x in range(1, 1001):
    ...     sketch.push(x)
    >>> 495 <= sketch.quantile(0.5) <= 505
    True
    """

    def __init__(self, relative_error: float = 0.01, max_bins: int = 1024) -> None: ...
    def push(self, x: float) -> None:
        """NaN is ValueError: callers count it."""
    def push_many(self, values: Buffer) -> None:
        """Pushes a contiguous buffer of doubles: all of it, or, on ValueError, nothing."""
    def merge(self, other: QuantileSketch) -> None:
        """Adds all of `other`. ValueError unless relative_error and max_bins are equal."""
    def quantile(self, q: float) -> float:
        """q: 0 to 1, else ValueError.  NaN while empty."""
    def reset(self) -> None: ...
    def to_bytes(self) -> bytes:
        """Versioned and compact (csrc/em_sketch.h): about one byte a bin in use, plus 30."""
    @staticmethod
    def from_bytes(data: Buffer) -> QuantileSketch:
        """ValueError when the bytes are damaged or of another version."""
    @property
    def count(self) -> int:
        """All values pushed, infinities too."""
    @property
    def zeros(self) -> int: ...
    @property
    def ninf(self) -> int: ...
    @property
    def pinf(self) -> int: ...
    @property
    def min(self) -> float:
        """Of the finite values; NaN while there are none, as is max."""
    @property
    def max(self) -> float: ...
    @property
    def collapsed(self) -> bool: ...
    @property
    def relative_error(self) -> float: ...
    @property
    def max_bins(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
