class Ring:
    """The last `capacity` doubles, the oldest overwritten first. NaN and infinities are kept as
    they are.

    capacity: 1 to 2^28, else ValueError.  Memory: 8 bytes a place, fixed.  push is O(1).
    """

    def __init__(self, capacity: int) -> None: ...
    def __len__(self) -> int: ...
    def push(self, x: float) -> None: ...
    def clear(self) -> None: ...
    def to_list(self) -> list[float]:
        """Oldest first."""
    @property
    def capacity(self) -> int: ...
    @property
    def last(self) -> float | None:
        """The newest value, None while there is none."""
    @property
    def memory_bytes(self) -> int: ...
