"""Protocol version 1, sans-IO: bytes of one connection in, records out.

A connection's first byte tells its encoding: `{` begins JSON lines, anything else is a stream of msgpack objects.
Bytes that are no frame end the connection (ProtocolError). A whole frame that is no valid event costs only itself:
it is counted under its reason and the first one of a connection is reported back. The decoder is csrc/em_event.h.
"""

from __future__ import annotations

from edgemon._core import msgpack
from edgemon._core.decode import BadEventError, BadFrameError, Decoder, Stream
from edgemon._core.intake import StreamTable
from edgemon.errors import ProtocolError
from edgemon.metrics import Counters
from edgemon.records import AckRequest, Failure, Label, Metric, Prediction
from edgemon.std import json
from edgemon.std.collections.abc import Callable, Iterator
from edgemon.typed import Any, NamedTuple

Record = Prediction | Label | Failure | Metric | AckRequest
# A prediction that a StreamTable has taken, beside the owner of its model: for who captures it.
Shown = tuple[Any, Prediction]

_EVENTS = (Prediction, Label, Failure, Metric)

DROPPED = "edgemon_ingest_dropped_events_total"
DROPPED_VALUES = "edgemon_ingest_dropped_values_total"


class Limits(NamedTuple):
    """What one frame may be. Beyond a limit: bytes end the connection, content drops the event.

    max_frame_bytes: 16 to 2^28.  max_string_bytes: at least 16.  max_features: 1 to 65535.
    max_nesting: lists and maps inside one another, the event itself is the first; 1 to 64.
    """

    max_frame_bytes: int = 64 * 1024
    max_string_bytes: int = 4 * 1024
    max_features: int = 256
    max_nesting: int = 64


def decoder(limits: Limits) -> Decoder:
    """What connections of one thread can share: it holds the scratch of one event, about 110 KB."""
    return Decoder(
        (Prediction, Label, Failure, Metric, AckRequest),
        frame_bytes=limits.max_frame_bytes,
        string_bytes=limits.max_string_bytes,
        features=limits.max_features,
        nesting=limits.max_nesting,
    )


class Connection:
    """The protocol state of one connection. shared: what `decoder(limits)` made, for many connections.

    >>> connection = Connection(Limits(), Counters())
    >>> list(connection.feed(b'{"model":"fraud","output":0.9}\\n'))[0].model
    'fraud'
    """

    __slots__ = ("_counters", "_stream", "complaint", "events", "on_complaint")

    def __init__(self, limits: Limits, counters: Counters, shared: Decoder | None = None) -> None:
        self._counters = counters
        self._stream = Stream(shared or decoder(limits))
        self.events = 0
        self.complaint: str | None = None
        self.on_complaint: Callable[[str], None] | None = None  # called once, with the first

    @property
    def encoding(self) -> str:
        """ "json" or "msgpack"; "" before the first byte."""
        return self._stream.encoding

    def feed(self, data: bytes) -> Iterator[Record]:
        """Yield the records that `data` completes. Raises ProtocolError where the bytes are no frame."""
        self._stream.feed(data)
        return self._records(None, ended=False)

    def end(self) -> Iterator[Record]:
        """The peer has written its last: a last line needs no end of line. ProtocolError for half a frame."""
        return self._records(None, ended=True)

    def feed_into(self, table: StreamTable | None, data: bytes) -> Iterator[Record | Shown]:
        """As `feed`, or `end` when there are no data; but what the table takes goes into it, in its order, and is
        not yielded, or as Shown. What is yielded must be worked off before the next is asked for."""
        self._stream.feed(data)
        return self._records(table, ended=not data)

    def _records(self, table: StreamTable | None, *, ended: bool) -> Iterator[Any]:
        # One generator for a read: with small reads its making and its resuming are much of the cost.
        stream, lost = self._stream, self._stream.wrong_types
        before = table.predictions if table is not None else 0
        while True:
            try:
                record = stream.next(ended) if table is None else table.next(stream, ended)
            except BadEventError as error:
                self._refuse(*error.args)
                continue
            except BadFrameError as error:
                raise ProtocolError(*error.args) from None
            finally:
                if stream.wrong_types > lost:
                    self._counters.add(
                        DROPPED_VALUES, stream.wrong_types - lost, reason="wrong_type"
                    )
                    lost = stream.wrong_types
                if table is not None:
                    taken = table.predictions
                    self.events += taken - before
                    before = taken
            if record is None:
                return
            if isinstance(record, _EVENTS):
                self.events += 1
            yield record

    def _refuse(self, reason: str, message: str, at_byte: int) -> None:
        self._counters.add(DROPPED, reason=reason)
        if self.complaint is None:
            self.complaint = f"{message} (frame at byte {at_byte}); later faults are only counted"
            if self.on_complaint is not None:
                self.on_complaint(self.complaint)

    def encode(self, reply: dict[str, object]) -> bytes:
        """A reply in the connection's own encoding."""
        if self.encoding == "msgpack":
            packed: bytes = msgpack.packb(reply)
            return packed
        return json.dumps(reply).encode() + b"\n"
