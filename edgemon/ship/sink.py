"""What a sink is: something that takes one batch at a time and says what became of it.

A sink knows nothing of the spool, of priorities, retries, backoff, cursors or quarantine: the
shipper wraps those around it, once. A sink does not block and starts no thread; the shipper's loop
watches the descriptors that it names and calls it when one is ready or its deadline has come. All
times are monotonic seconds.

    down --start()--> connecting --on_up--> up --stop()--> stopping --on_down("")--> down
                          |                  |
                          +----on_down(why)--+----> down      the shipper calls start() again later

While it is up: submit(parcel), if ready(), leads to exactly one of on_ack(key), on_refused(key,
why) or on_down(why); the last voids every parcel in flight. Reports may come from inside submit(),
handle(), tick(), start() and stop(), in any order of parcels.

A new sink is one file here and one line in SINKS, and passes tests/ship/test_sink_conformance.py.
"""

from __future__ import annotations

from edgemon.errors import UsageError
from edgemon.std import importlib
from edgemon.std.collections.abc import Callable
from edgemon.typed import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from edgemon.config import Config
    from edgemon.metrics import Counters
    from edgemon.ship.desired import Courier
    from edgemon.spool.fs import FileSystem

Key = tuple[str, int]  # (kind, seq): unique within a stream

NEVER = float("inf")
# A batch whose first row is older counts as historical: it is of a backlog, not of what is now.
HISTORICAL_S = 600.0


class Parcel(NamedTuple):
    """One batch on its way.

    stream: 32 hex digits, the spool that numbered it.  frame: the whole batch, one zstd frame.
    wall_ms: wall clock of its first row, ms since 1970; the same each time that it is sent.
    rows: how many it holds; 0 when nobody counted.
    """

    kind: str
    seq: int
    stream: str
    frame: bytes
    wall_ms: int = 0
    rows: int = 0

    @property
    def key(self) -> Key:
        return self.kind, self.seq


class SinkEvents(Protocol):
    """What a sink reports; the shipper implements it."""

    def on_up(self, window: int = 0) -> None:
        """It can take batches now.

        window: how many may be in flight at one time; 0 is `ship.max_inflight`. A sink that gathers
        many batches before it sends them says more.
        """

    def on_ack(self, key: Key) -> None:
        """The other side has this batch."""

    def on_confirmed(self, stream: str, stored: dict[str, int]) -> None:
        """A receiver says that of this stream it has stored all up to these seqs, by kind.

        Comes from outside: kinds and types are checked, whether it is true is not.
        """

    def on_refused(self, key: Key, reason: str) -> None:
        """The other side will not have this batch, whatever the connection. One line."""

    def on_down(self, reason: str, *, by_peer: bool = False) -> None:
        """It can take none; what was in flight was not delivered. One line, "" after stop().

        by_peer: the other side ended an established connection. It may be a batch that it dislikes.
        """


class Sink(Protocol):
    """See the module's docstring."""

    def start(self, now: float) -> None:
        """Begin to connect; only while down."""

    def ready(self) -> bool:
        """Whether submit() may be called now."""

    def submit(self, parcel: Parcel, now: float) -> None:
        """Send one batch; only if ready()."""

    def watch(self) -> dict[int, int]:
        """Descriptors to wait for, with selectors.EVENT_READ and EVENT_WRITE."""

    def handle(self, fd: int, now: float) -> None:
        """One of them is ready."""

    def tick(self, now: float) -> None:
        """Do what is due. May be called at any time."""

    def deadline(self) -> float:
        """When tick() must be called at the latest; NEVER if nothing is due."""

    def announce(self, now: float) -> None:
        """Tell receivers again what they are to confirm, where the sink has a way to."""

    def stop(self, now: float) -> None:
        """Begin a clean end, in which acknowledgements may still come; on_down("") is its end."""

    def close(self) -> None:
        """End at once, without a report."""


class WithoutConnection:
    """What a sink answers that has nothing to wait for and nobody to tell."""

    def watch(self) -> dict[int, int]:
        return {}

    def handle(self, fd: int, now: float) -> None:
        pass

    def tick(self, now: float) -> None:
        pass

    def deadline(self) -> float:
        return NEVER

    def announce(self, now: float) -> None:
        pass


class SinkContext(NamedTuple):
    """What every sink is made of.

    stream: the current stream id, "" while there is no spool.
    hurry: whether the process is about to end: what a sink gathers is to leave now.
    asked: the stream that receivers are to confirm, and after which seq by kind.
    carried: to be told of bytes that the network carried, in either direction, as they are.
    courier: takes desired configurations and gives reports; None where the remote hand is off.
    """

    config: Config
    events: SinkEvents
    fs: FileSystem
    counters: Counters
    stream: Callable[[], str]
    hurry: Callable[[], bool] = lambda: False
    asked: Callable[[], tuple[str, dict[str, int]]] = lambda: ("", {})
    carried: Callable[[int], object] = lambda _: None
    courier: Courier | None = None


# Name in `ship.sink` -> module with `make(context: SinkContext) -> Sink`. Imported when chosen:
# paho alone is 12 MB.
SINKS = {
    "file": "edgemon.ship.file",
    "mqtt": "edgemon.ship.mqtt",
    "none": "edgemon.ship.none",
    "plugin": "edgemon.plugins.sink",
    "s3": "edgemon.ship.s3",
}


def make(context: SinkContext) -> Sink:
    """The sink that the configuration names. Raises ConfigError when its settings cannot work."""
    name = context.config.ship.sink
    if name not in SINKS:
        raise UsageError(f'ship.sink = "{name}" is not in this version; known are {sorted(SINKS)}')
    sink: Sink = importlib.import_module(SINKS[name]).make(context)
    return sink
