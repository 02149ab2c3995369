ENTRY_BYTES: int
"""What an entry is charged with, beside its text or vector."""
MAX_TAGS: int

def siphash(key0: int, key1: int, data: bytes) -> int:
    """SipHash-2-4, 64 bits."""

def join_id(seed: int, identifier: str) -> int:
    """What an id is known by in every Waiting of a process whose secret is `seed`, both 0 to 2^64 - 1."""

class Waiting:
    """Entries by key (join_id of an id), the oldest first: at most `keep` (1 to 2^24, else ValueError), `max_bytes` in
    what they are charged with, and `ttl_s` old (may be infinite).  now_s: monotonic.  tag: the caller's, 0 to
    MAX_TAGS - 1.

    All O(1) but clear and tags.

    >>> waiting = Waiting(keep=2, max_bytes=1 << 20, ttl_s=60.0)
    >>> [waiting.put(key, 0, 0.5, now_s=0.0) for key in (7, 8, 9)]
    [0, 0, 1]
    >>> waiting.find(9), waiting.find(7)
    ((0, 0.5), None)
    """

    def __init__(self, keep: int, max_bytes: int, ttl_s: float) -> None: ...
    def __len__(self) -> int: ...
    def find(self, key: int) -> tuple[int, float | str | list[float] | None] | None:
        """Its tag and value, None: it was answered. None: it does not wait."""
    def put(self, key: int, tag: int, value: float | str | list[float] | None, now_s: float) -> int:
        """As the newest; a key that waits is ValueError. None: it is answered. How many that were not answered had to
        go for it, itself among them where it alone is too large."""
    def put_numbers(
        self, keys: bytes, numbers: bytes, tag: int, now_s: float, labels: Waiting
    ) -> tuple[int, int, list[int]]:
        """Many: keys and numbers of 8 bytes each as this machine has them. What waited under a key goes for it.

        How many of these were not answered; how many had to go because it is full, or there is no memory; and the
        places of those that were not put, because `labels` has their key.
        """
    def answer(self, key: int) -> None:
        """Its value goes, its place stays until it is old."""
    def take(self, key: int) -> bool:
        """It goes; whether it waited and was not answered."""
    def expire(self, now_s: float) -> int:
        """Those that are `ttl_s` old or older go; how many of them were not answered."""
    def clear(self) -> int:
        """All go, and the memory with them; how many were not answered."""
    def tags(self) -> set[int]:
        """Of all entries."""
    @property
    def bytes(self) -> int:
        """What all are charged with."""
    @property
    def memory_bytes(self) -> int:
        """Ring and index; texts and vectors come on top."""
