"""How often the same kind of thing may be told: versions that change with each prediction must not fill the disk."""

from __future__ import annotations


class TellLimit:
    """At most `count` of each name in `span_s` seconds, in spans that begin with the first of them.

    Names are literals of this program, so the memory is bounded.

    >>> limit = TellLimit(count=2, span_s=60.0)
    >>> [limit.allow("model.started", now_s) for now_s in (0.0, 1.0, 2.0, 61.0)]
    [True, True, False, True]
    """

    __slots__ = ("_count", "_span_s", "_told")

    def __init__(self, count: int, span_s: float) -> None:
        self._count = count
        self._span_s = span_s
        self._told: dict[str, tuple[float, int]] = {}

    def allow(self, name: str, now_s: float) -> bool:
        """Count one; whether it may be told. now_s: monotonic seconds."""
        begun_s, told = self._told.get(name, (now_s, 0))
        if now_s - begun_s >= self._span_s:
            begun_s, told = now_s, 0
        self._told[name] = (begun_s, told + 1)
        return told < self._count
