from collections.abc import Sequence

from typing_extensions import Buffer

class Histogram:
    """Counts over fixed edges: bin i holds edges[i-1] < x <= edges[i]; the outer bins are
    open-ended.

    edges: 1 to 2^20 numbers that never decrease, not NaN, else ValueError. Equal edges are allowed
    (quantiles of tied data): the bin between them stays empty.  push is O(log edges); NaN is
    ValueError, infinities fall into the outer bins.

    >>> histogram = Histogram([0.0, 1.0])
    >>> for x in (-5.0, 0.0, 0.5, 7.0):
    ...     histogram.push(x)
    >>> histogram.counts()
    [2, 1, 1]
    """

    def __init__(self, edges: Sequence[float]) -> None: ...
    def push(self, x: float) -> None: ...
    def push_many(self, values: Buffer) -> None:
        """Contiguous doubles; all or nothing."""
    def reset(self) -> None: ...
    def counts(self) -> list[int]:
        """One more than edges."""
    @property
    def memory_bytes(self) -> int: ...
