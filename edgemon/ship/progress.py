"""What is under way of one kind: acknowledged in any order, done in order. Pure.

The cursor may only say "everything up to here". So what is done out of order waits for the batches
before it. A seq that the spool no longer holds is never taken, and is passed over.

Where a receiver has to confirm (`ship.confirm = "receiver"`) a batch goes through one more state:

    taken --finish()------------------------------> done        the broker's word is enough
    taken --delivered()--> delivered --confirm()--> done        a receiver has stored it
                             ^   |
                  delivered()|   |overdue(), resend(): nobody confirmed it in time
                             +- taken
"""

from __future__ import annotations

from edgemon.std.collections import deque

# Batches that are not done, or wait for one before them. At the bound the lane takes no more, until
# the batch that holds it up is acknowledged, confirmed or quarantined.
MAX_AHEAD = 1024
# How often the time to wait for a confirmation is doubled.
_MAX_DOUBLINGS = 6

_NEVER = float("inf")


class _Entry:
    __slots__ = ("delivered", "done", "due", "sendings", "seq")

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.done = False
        self.delivered = False  # the broker has it
        self.due = _NEVER  # when it is sent again, unless it is confirmed
        self.sendings = 0


class Progress:
    """acked: everything up to this seq is done.  taken: the highest seq handed to the sink.

    empty: set by the owner: the spool has nothing more to take, as far as is known.

    >>> lane = Progress(10)
    >>> lane.take(11); lane.take(12); lane.take(15)
    >>> lane.finish(12), lane.acked
    (False, 10)
    >>> lane.finish(11), lane.acked
    (True, 12)
    """

    __slots__ = ("_entries", "acked", "empty", "next_due", "taken")

    def __init__(self, acked: int) -> None:
        self.acked = acked
        self.taken = acked
        self.empty = False
        self.next_due = _NEVER  # nothing is overdue before
        self._entries: deque[_Entry] = deque()

    @property
    def full(self) -> bool:
        return len(self._entries) >= MAX_AHEAD

    @property
    def under_way(self) -> bool:
        """Whether anything is not done, or waits for one before it."""
        return bool(self._entries)

    @property
    def unconfirmed(self) -> bool:
        """Whether something is delivered and not confirmed."""
        return any(entry.delivered and not entry.done for entry in self._entries)

    def take(self, seq: int) -> None:
        """Hand out one more; seqs grow."""
        self._entries.append(_Entry(seq))
        self.taken = seq

    def finish(self, seq: int) -> bool:
        """It needs no more work: acknowledged, or in quarantine. True when `acked` moved.

        A seq that is not under way is ignored: an acknowledgement may come twice.
        """
        entry = self._find(seq)
        if entry is not None:
            entry.done = True
        return self._settle()

    def delivered(self, seq: int, now: float, timeout_s: float) -> None:
        """The broker has it. It is to be confirmed within `timeout_s`, twice that the next time, …"""
        entry = self._find(seq)
        if entry is None or entry.done:
            return
        entry.delivered = True
        entry.due = now + timeout_s * 2 ** min(entry.sendings, _MAX_DOUBLINGS)
        entry.sendings += 1
        self.next_due = min(self.next_due, entry.due)

    def confirm(self, seq: int, first: int = 0) -> bool:
        """A receiver has all from `first` to `seq`. True when `acked` moved. What was not sent stays so.

        >>> lane = Progress(0)
        >>> lane.take(1); lane.take(2); lane.delivered(1, 0.0, 60.0)
        >>> lane.confirm(9), lane.acked
        (True, 2)
        """
        for entry in self._entries:
            if entry.seq > seq:
                break
            entry.done = entry.done or entry.seq >= first
        return self._settle()

    def waits_for(self, first: int, last: int) -> bool:
        """Whether something of this range is under way and not done."""
        return any(not entry.done and first <= entry.seq <= last for entry in self._entries)

    def overdue(self, now: float) -> int:
        """The first seq that nobody confirmed in time; 0 when there is none."""
        if now < self.next_due:
            return 0
        waiting = [entry for entry in self._entries if entry.delivered and not entry.done]
        self.next_due = min((entry.due for entry in waiting), default=_NEVER)
        return next((entry.seq for entry in waiting if entry.due <= now), 0)

    def resend(self, seq: int) -> None:
        """It is on its way again."""
        entry = self._find(seq)
        if entry is not None:
            entry.delivered = False
            entry.due = _NEVER

    def wait_anew(self, now: float, timeout_s: float) -> None:
        """No confirmation could come until now: give each its whole time."""
        for entry in self._entries:
            if entry.delivered and not entry.done:
                entry.due = now + timeout_s
                self.next_due = min(self.next_due, entry.due)

    def rewind(self) -> None:
        """The connection is gone: what the broker has not acknowledged is to be sent again.

        From the first such on, and with it what was done out of order behind it.
        """
        kept: deque[_Entry] = deque()
        for entry in self._entries:
            if not (entry.delivered or entry.done):
                break
            kept.append(entry)
        self._entries = kept
        self.empty = False
        self.taken = kept[-1].seq if kept else self.acked

    def _find(self, seq: int) -> _Entry | None:
        return next((entry for entry in reversed(self._entries) if entry.seq == seq), None)

    def _settle(self) -> bool:
        before = self.acked
        while self._entries and self._entries[0].done:
            self.acked = self._entries.popleft().seq
        return self.acked != before
