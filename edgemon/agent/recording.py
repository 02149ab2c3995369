"""Recording of the next N predictions of a model, from which `edgemon profile build --from-stream` makes a profile.

Held in memory, bounded by MAX_VALUES over all streams; numbers in C rings, not in Python lists.
"""

from __future__ import annotations

import itertools

from edgemon._core.ring import Ring
from edgemon.errors import UsageError

MAX_VALUES = 1_000_000
MAX_TEXT_VALUES = 100_000
# Of all text streams together. One that does not fit is free text rather than a category, and is left out whole.
MAX_TEXT_CHARACTERS = 4_000_000
PAGE = 5_000
# JSON may write a character as six; a page must stay well below control.MAX_REPLY_BYTES.
PAGE_CHARACTERS = 400_000
# Whoever wants a recording asks how far it is every second; a killed command does not ask any more.
ABANDONED_AFTER_S = 60.0


class Recording:
    """Values by stream, at most `predictions` of each.

    streams: how many the model has now; UsageError where predictions x streams passes MAX_VALUES. A stream that
    appears later is recorded while there is room. NaN is recorded as it is; a missing value leaves its stream
    shorter.

    asked_s: when somebody asked for it last, monotonic.
    """

    __slots__ = (
        "_left_out",
        "_numbers",
        "_text_left",
        "_texts",
        "_values_left",
        "asked_s",
        "have",
        "want",
    )

    def __init__(self, predictions: int, streams: int) -> None:
        limit = MAX_VALUES // max(1, streams)
        if not 0 < predictions <= limit:
            raise UsageError(
                f"a recording of a model with {streams} streams takes 1 to {limit} predictions, not {predictions}"
            )
        self.want = predictions
        self.have = 0
        self.asked_s = 0.0
        self._values_left = MAX_VALUES
        self._numbers: dict[str, Ring] = {}
        self._texts: dict[str, list[str]] = {}
        self._text_left = MAX_TEXT_CHARACTERS
        self._left_out: set[str] = set()  # bounded by the model's streams

    @property
    def complete(self) -> bool:
        return self.have >= self.want

    def add(self, stream: str, value: float | str) -> None:
        """Keep one value while there is room."""
        if self.complete:
            return
        if isinstance(value, str):
            if stream in self._left_out:
                return
            texts = self._texts.setdefault(stream, [])
            self._text_left -= len(value)
            if self._text_left < 0:
                self._text_left += len(value) + sum(map(len, texts))
                self._values_left += len(self._texts.pop(stream))
                self._left_out.add(stream)
                return
            if len(texts) < MAX_TEXT_VALUES and self._values_left > 0:
                texts.append(value)
                self._values_left -= 1
            return
        ring = self._numbers.get(stream)
        if ring is None:
            if self._values_left < self.want:
                return
            ring = self._numbers[stream] = Ring(self.want)
            self._values_left -= self.want
        ring.push(value)

    def prediction_done(self) -> None:
        """One prediction's values are in."""
        if not self.complete:
            self.have += 1

    def streams(self) -> dict[str, str]:
        """Stream -> "numeric" | "text"."""
        return dict.fromkeys(self._numbers, "numeric") | dict.fromkeys(self._texts, "text")

    def left_out(self) -> list[str]:
        """Text streams that are free text, too large to be kept."""
        return sorted(self._left_out)

    def page(self, stream: str, offset: int) -> dict[str, object]:
        """Up to PAGE values of one stream, oldest first."""
        values: list[float] | list[str]
        if stream in self._numbers:
            kind, values = "numeric", self._numbers[stream].to_list()
        elif stream in self._texts:
            kind, values = "text", self._texts[stream]
        else:
            raise UsageError(f"nothing was recorded of {stream!r}")
        part = values[offset : offset + PAGE]
        if kind == "text":
            ends = itertools.accumulate(len(str(value)) for value in part)
            part = part[: max(1, sum(end <= PAGE_CHARACTERS for end in ends))]
        return {"kind": kind, "values": part, "more": offset + len(part) < len(values)}
