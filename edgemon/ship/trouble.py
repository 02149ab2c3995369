"""Batches that were refused, or that may be why connections end: tried again, and at last given up."""

from __future__ import annotations

from edgemon.flow.backoff import Backoff

REFUSALS = 3
STRIKES = 10
MAX_TROUBLES = 32


class Trouble:
    """One such batch.  strikes: connections that ended with it alone under way.

    reason: what the other side said last.
    """

    __slots__ = ("backoff", "not_before", "reason", "refusals", "strikes", "waiting")

    def __init__(self, backoff: Backoff) -> None:
        self.backoff = backoff
        self.reason = "the connection ended each time"
        self.refusals = 0
        self.strikes = 0
        self.waiting = False  # taken from the spool, and to be submitted again
        self.not_before = 0.0

    @property
    def hopeless(self) -> bool:
        return self.refusals >= REFUSALS or self.strikes >= STRIKES

    def try_again(self, now: float) -> None:
        """After a pause."""
        self.waiting = True
        self.not_before = now + self.backoff.next_delay()
