SUM_TOLERANCE: float
"""By how much the sum may be off 1 in a valid vector: room for entries rounded to 3 digits."""

def brief(vector: list[float]) -> tuple[float, int, float, float, bool]:
    """(largest entry, its position, entropy in nats, its margin over the next, valid) of a vector
    of confidences; `drift.confidence.Confidence` says more of each.

    An empty vector is ValueError.  O(k), no memory.

    >>> brief([0.25, 0.5, 0.25])
    (0.5, 1, 1.0397207708399179, 0.25, True)
    """
