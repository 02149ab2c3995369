from typing import Any

class BadEventError(ValueError):
    """A whole frame that is no valid event; only it is lost. args: (reason, message, at_byte), at_byte is where in the
    connection the frame began."""

class BadFrameError(ValueError):
    """Bytes that are no frame; the connection must end. args: (reason, message, at_byte)."""

class Decoder:
    """The limits and the scratch of decoding, for any number of connections of one thread.

    records: the classes of a prediction, a label, a failure, a metric and an ack, tuples with the fields of
    `edgemon.records`. frame_bytes: of a msgpack object or of a line, 16 to 2^28. string_bytes: of one string, at
    least 16. features: of one event, 1 to 65535. nesting: lists and maps inside one another, 1 to 64. Raises
    ValueError beyond that. Specification: csrc/em_event.h, docs/protocol.md.
    """

    def __init__(
        self,
        records: tuple[type, type, type, type, type],
        *,
        frame_bytes: int,
        string_bytes: int,
        features: int,
        nesting: int,
    ) -> None: ...
    @property
    def memory_bytes(self) -> int:
        """What it takes; most of it (frame_bytes) is touched only by escapes in JSON."""

class Stream:
    """The bytes of one connection. Holds at most one frame that is not whole, and what was fed and not decoded yet."""

    def __init__(self, decoder: Decoder) -> None: ...
    def feed(self, data: bytes) -> None:
        """More bytes. O(len(data)); the bytes themselves are kept, not copied, until they are decoded."""
    def next(self, ended: bool = False) -> Any:
        """The next record, None when the rest is not whole. ended: nothing comes after what was fed. Raises
        BadEventError (call again for what follows) and BadFrameError (the stream is at its end)."""
    @property
    def encoding(self) -> str:
        """ "json" or "msgpack"; "" before the first byte."""
    @property
    def waiting_bytes(self) -> int:
        """Bytes that were fed and not decoded."""
    @property
    def wrong_types(self) -> int:
        """Values of features lost so far because they were lists or maps."""
