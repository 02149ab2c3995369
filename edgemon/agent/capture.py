"""Which predictions leave as raw rows: none, all, a sample or a reservoir; and the flight recorder around an alarm.

A row's weight `w` is one over the probability with which the policy took it, so that sums of w, and of w times a
value, estimate the whole without bias. A row that the recorder alone shipped has w = 0: it was chosen because of
what it shows. `why` = "alarm" marks all rows that are part of a recording, whoever ships them. No row leaves twice.

Rows that wait, for an alarm or for the window's end, are in memory only: a crash takes them, and an ack "disk" does
not speak of them. They are kept packed, and their number and bytes are bounded.
"""

from __future__ import annotations

import math

from edgemon._core import msgpack
from edgemon.agent.redact import Redaction
from edgemon.config import ModelSettings
from edgemon.metrics import Counters
from edgemon.records import Prediction, Row, Rows
from edgemon.std import random
from edgemon.std.collections import deque
from edgemon.std.collections.abc import Callable

CAPTURED = "edgemon_capture_rows_total"
FORGOTTEN = "edgemon_capture_forgotten_rows_total"
# More predictions than will ever come.
NEVER = 1 << 62
ALARM = "alarm"
GAPS = 64
# What a waiting row costs beside its packed bytes: objects and references, measured on CPython 3.11.
_ROW_OVERHEAD_BYTES = 200


class _Waiting:
    """A row that may leave. in_reservoir: the window's end decides.  marked: an alarm wants it in any case."""

    __slots__ = ("in_reservoir", "marked", "mono_ns", "packed")

    def __init__(self, packed: bytes, mono_ns: int) -> None:
        self.packed = packed
        self.mono_ns = mono_ns
        self.in_reservoir = False
        self.marked = False

    def size(self) -> int:
        return len(self.packed) + _ROW_OVERHEAD_BYTES


class Capture:
    """The raw rows of one (model, version).

    skip: so many further predictions need no look. Whoever counts predictions takes one off for each that passes,
    and calls `take` with one that finds it 0.

    settings: of the model; its capture, recorder and capture_size hold here.  redaction: what of a prediction
    may stand in a row.  emit(row, mono_ns): a row leaves.
    """

    __slots__ = (
        "_after", "_ahead", "_chance", "_counters", "_emit", "_gap", "_kept", "_kept_bytes", "_max_bytes", "_places",
        "_policy", "_recorder", "_ring", "_ring_bytes", "_seen", "_threshold", "redaction", "skip",
    )  # fmt: skip

    def __init__(
        self,
        settings: ModelSettings,
        redaction: Redaction,
        emit: Callable[[Row, int], None],
        counters: Counters,
        chance: random.Random,
    ) -> None:
        self._policy = settings.capture
        self._recorder = settings.recorder
        self._max_bytes = settings.capture_size_bytes
        self.redaction = redaction
        self._emit = emit
        self._counters = counters
        self._chance = chance
        self._ring: deque[_Waiting | None] = deque()  # None: that row has left already
        self._ring_bytes = 0
        self._after = 0  # predictions that an alarm still wants
        self._ahead: deque[int] = deque()  # gaps that were drawn already
        self._begin()

    def _begin(self) -> None:
        """A new window."""
        self._kept: list[_Waiting] = []
        self._kept_bytes = 0
        self._places = self._policy.reservoir
        self._threshold = 1.0
        self._seen = 0  # predictions of the window, the gap before the next one included
        self._next(self._first_gap())

    @property
    def eager(self) -> bool:
        """Whether an alarm changes what is taken: then it must be told before the prediction that it came with."""
        return self._recorder > 0

    @property
    def plain(self) -> bool:
        """What is taken leaves at once and as it is: `take_rows` may be given many together."""
        return (
            self._policy.policy in ("all", "sample")
            and not self._recorder
            and self.redaction.nothing
        )

    def gaps(self) -> list[int] | None:
        """How many predictions are passed over after each that is taken, GAPS of them; None: none ever."""
        if self._policy.probability >= 1.0:
            return None
        while len(self._ahead) < GAPS:
            self._ahead.append(self._draw_gap())
        return list(self._ahead)

    def take_rows(self, rows: Rows) -> Rows:
        """As `take` of each, where `plain`; but `skip` is the caller's. ts in µs."""
        self._counters.add(CAPTURED, rows.n, reason=self._policy.policy)
        for _ in range(rows.n):
            self._next(self._sample_gap())
        return rows._replace(same=rows.same | {"w": 1.0 / self._policy.probability})

    # -- predictions

    def take(
        self,
        record: Prediction,
        features: dict[str, float | str | None],
        ts_us: int | None,
        mono_ns: int,
    ) -> None:
        """A prediction that `skip` did not let pass. features: by name.  ts_us: its own clock, µs since 1970."""
        redaction = self.redaction
        row: Row = {
            "model": record.model, "version": record.version, "id": redaction.identifier(record.id),
            "output": record.output if redaction.output else None, "latency": record.latency_s, "ts": ts_us,
        }  # fmt: skip
        for name, value in redaction.features(features).items():
            row[f"f:{name}"] = value
        if self._recorder and self._gap:  # only the recorder looks at this one
            self._gap -= 1
            self._pass(row, mono_ns)
            return
        if self._policy.policy == "reservoir":
            self._into_reservoir(row, mono_ns)
            return
        if self._after:
            self._after -= 1
            row["why"] = ALARM
        elif self._recorder:
            self._remember(None)
        row["w"] = 1.0 / self._policy.probability
        self._next(self._sample_gap())
        self._leave(row, mono_ns, self._policy.policy)

    def _next(self, gap: int) -> None:
        """The next prediction that the policy takes comes after `gap` others."""
        self._gap = gap
        self._seen += gap + 1
        self.skip = 0 if self._recorder else gap

    def _pass(self, row: Row, mono_ns: int) -> None:
        """A prediction that the policy does not take."""
        if self._after:
            self._after -= 1
            self._leave(row | {"w": 0.0, "why": ALARM}, mono_ns, "recorder")
        elif self._recorder:
            self._remember(_Waiting(_pack(row), mono_ns))

    def _leave(self, row: Row, mono_ns: int, policy: str) -> None:
        self._counters.add(CAPTURED, reason=policy)
        self._emit(row, mono_ns)

    # -- sample and reservoir

    def _first_gap(self) -> int:
        if self._policy.policy == "reservoir":
            return 0
        return self._sample_gap()

    def _sample_gap(self) -> int:
        return self._ahead.popleft() if self._ahead else self._draw_gap()

    def _draw_gap(self) -> int:
        """Geometric: how many fail before one succeeds with the sample's probability."""
        p = self._policy.probability
        if p >= 1.0:
            return 0
        return self._geometric(math.log1p(-p)) if p > 0.0 else NEVER

    def _geometric(self, log_fail: float) -> int:
        if log_fail == 0.0:
            return NEVER
        return int(min(math.log(self._unit()) / log_fail, float(NEVER)))

    def _unit(self) -> float:
        """Uniform on (0, 1)."""
        while not (u := self._chance.random()):
            pass
        return u

    def _into_reservoir(self, row: Row, mono_ns: int) -> None:
        """Algorithm L: Li, "Reservoir-sampling algorithms of time complexity O(n (1 + log(N/n)))", 1994.

        Every row has a hidden key, uniform on (0, 1), and the reservoir is the rows of the n smallest; `_threshold`
        is the largest of those. A uniform sample without replacement, at any time.
        """
        one = _Waiting(_pack(row), mono_ns)
        one.in_reservoir = True
        if self._after:
            self._after -= 1
            one.marked = True
        elif self._recorder:
            self._remember(one)
        if len(self._kept) < self._places:
            self._kept.append(one)
        else:
            at = self._chance.randrange(self._places)
            out, self._kept[at] = self._kept[at], one
            self._kept_bytes -= out.size()
            self._out_of_reservoir(out)
        self._kept_bytes += one.size()
        if len(self._kept) >= self._places:
            self._lower_threshold()
        while self._kept_bytes > self._max_bytes:
            self._give_up_a_place()
        if self._places == 0:
            gap = NEVER
        elif len(self._kept) < self._places:
            gap = 0
        else:
            left = 1.0 - self._threshold
            gap = self._geometric(math.log(left)) if left > 0.0 else 0
        self._next(gap)

    def _lower_threshold(self) -> None:
        """The largest of `_places` keys below the threshold is the new one."""
        self._threshold *= math.exp(math.log(self._unit()) / self._places)

    def _give_up_a_place(self) -> None:
        """One row less until the window's end: that of the largest key, which may be any of them."""
        if len(self._kept) < self._places:  # not full yet: the threshold was not needed
            self._places = len(self._kept)
            self._lower_threshold()
        out = self._kept.pop(self._chance.randrange(len(self._kept)))
        self._kept_bytes -= out.size()
        self._places -= 1
        if self._places:
            self._lower_threshold()
        self._counters.add(FORGOTTEN, reason="capture_size")
        self._out_of_reservoir(out)

    def _out_of_reservoir(self, out: _Waiting) -> None:
        out.in_reservoir = False
        if out.marked:
            self._leave(_unpack(out.packed) | {"w": 0.0, "why": ALARM}, out.mono_ns, "recorder")

    def close_window(self) -> None:
        """The reservoir's rows leave, each with how many it stands for; a new window begins."""
        if self._policy.policy != "reservoir":
            return
        seen = self._seen - 1 - (self._gap if self._recorder else self.skip)
        kept = self._kept
        for one in sorted(kept, key=lambda one: one.mono_ns):
            row = _unpack(one.packed)
            row["w"] = seen / len(kept)
            if one.marked:
                row["why"] = ALARM
            self._leave(row, one.mono_ns, "reservoir")
        if kept and self._recorder:  # they have left: the recorder keeps their places alone
            left = set(map(id, kept))
            for at, held in enumerate(self._ring):
                if held is not None and id(held) in left:
                    self._ring_bytes -= held.size()
                    self._ring[at] = None
        self._begin()

    # -- the flight recorder

    def _remember(self, one: _Waiting | None) -> None:
        self._ring.append(one)
        self._ring_bytes += one.size() if one is not None else 0
        while len(self._ring) > self._recorder:
            self._forget_oldest()
        while self._ring_bytes > self._max_bytes:
            if self._forget_oldest() is not None:
                self._counters.add(FORGOTTEN, reason="recorder_size")

    def _forget_oldest(self) -> _Waiting | None:
        oldest = self._ring.popleft()
        if oldest is not None:
            self._ring_bytes -= oldest.size()
        return oldest

    def alarm(self) -> None:
        """An alarm fired: what the recorder holds leaves, and what comes, for as many predictions as it holds."""
        if not self._recorder:
            return
        self._after = self._recorder
        while self._ring:
            one = self._forget_oldest()
            if one is None:
                continue
            if one.in_reservoir:
                one.marked = True
            else:
                self._leave(_unpack(one.packed) | {"w": 0.0, "why": ALARM}, one.mono_ns, "recorder")

    def forget(self, reason: str) -> None:
        """What waits must not leave any more; counted under `reason`."""
        waiting = {id(one) for one in (*self._ring, *self._kept) if one is not None}
        self._counters.add(FORGOTTEN, len(waiting), reason=reason)
        self._ring.clear()
        self._ring_bytes = 0
        self._begin()


def _pack(row: Row) -> bytes:
    packed: bytes = msgpack.packb(row)
    return packed


def _unpack(packed: bytes) -> Row:
    row: Row = msgpack.unpackb(packed)
    return row
