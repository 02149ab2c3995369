"""The sink that takes nothing: `ship.sink = "none"`, for a device that is read by hand.

Batches stay in the spool until it is full and drops the oldest.
"""

from __future__ import annotations

from edgemon.ship.sink import NEVER, Parcel, Sink, SinkContext, SinkEvents


def make(context: SinkContext) -> Sink:
    return NoneSink(context.events)


class NoneSink:
    """Never up, never down."""

    def __init__(self, events: SinkEvents) -> None:
        self._events = events

    def start(self, now: float) -> None:
        pass

    def ready(self) -> bool:
        return False

    def submit(self, parcel: Parcel, now: float) -> None:
        raise AssertionError("submit() without ready()")

    def watch(self) -> dict[int, int]:
        return {}

    def handle(self, fd: int, now: float) -> None:
        pass

    def tick(self, now: float) -> None:
        pass

    def deadline(self) -> float:
        return NEVER

    def announce(self, now: float) -> None:
        """There is nobody to tell."""

    def stop(self, now: float) -> None:
        self._events.on_down("")

    def close(self) -> None:
        pass
