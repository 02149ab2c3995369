"""The sink that takes nothing: `ship.sink = "none"`, for a device that is read by hand.

Batches stay in the spool until it is full and drops the oldest.
"""

from __future__ import annotations

from edgemon.ship.sink import Parcel, Sink, SinkContext, SinkEvents, WithoutConnection


def make(context: SinkContext) -> Sink:
    return NoneSink(context.events)


class NoneSink(WithoutConnection):
    """Never up, never down."""

    def __init__(self, events: SinkEvents) -> None:
        self._events = events

    def start(self, now: float) -> None:
        pass

    def ready(self) -> bool:
        return False

    def submit(self, parcel: Parcel, now: float) -> None:
        raise AssertionError("submit() without ready()")

    def stop(self, now: float) -> None:
        self._events.on_down("")

    def close(self) -> None:
        pass
