"""The client of csrc/include/edgemon_client.h for Python's values. `edgemon.Client` is what applications use."""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, SupportsFloat, SupportsIndex

from typing_extensions import Buffer

Number = SupportsFloat | SupportsIndex
Identifier = str | SupportsIndex
# A buffer of floats (2, 4 or 8 bytes), integers or booleans in native byte order and any strides, or what `__array__`
# makes one, e.g. a numpy array, a torch tensor, an array.array, a pandas Series.
Array = Buffer | Any
Output = Number | str | Sequence[Number] | Array | None
Value = Number | str | None
Features = Mapping[str, Value] | Sequence[Value] | Array | None

def pack_prediction(
    model: str,
    output: Output,
    features: Features = None,
    *,
    version: Identifier | None = None,
    id: Identifier | None = None,  # noqa: A002
    ts: Number | None = None,
    latency: Number | None = None,
) -> bytes:
    """One prediction in the compact form of docs/protocol.md, as `ClientCore.log` sends it.

    TypeError, ValueError, OverflowError and UnicodeEncodeError say what the protocol does not allow.

    >>> pack_prediction("m", 1, [0.5]).hex(" ")
    '93 a1 6d 01 91 cb 3f e0 00 00 00 00 00 00'
    """

class ClientCore:
    """`edgemon.Client` without its warnings and without what happens at the end of the process."""

    def __init__(
        self,
        socket: str | PathLike[str] | None = None,
        *,
        buffer_bytes: int = 1 << 20,
        linger: float = 0.1,
    ) -> None: ...
    def log(
        self,
        model: str,
        output: Output,
        features: Features = None,
        *,
        version: Identifier | None = None,
        id: Identifier | None = None,  # noqa: A002
        ts: Number | None = None,
        latency: Number | None = None,
    ) -> bool:
        """Take one prediction. Returns at once; False where it was dropped, which `dropped` counts.

        output: a score; a class (str); a list, tuple or array of 1 to 1024 confidences. An array of one number is a
        number.  features: name -> value, or values by position. A value is a number, a string or None; one of another
        kind is sent as missing and counted in `lost_values`.  version, id: a string or an integer.
        ts: seconds since 1970, by the application's clock; without it the time of arrival counts.
        latency: seconds that the prediction took.

        What the protocol does not allow is dropped as "bad_event", with one RuntimeWarning a client. Only a call
        that does not fit the signature raises (TypeError). Never waits: neither for the agent nor for a lock that is
        held over more than a copy. O(size of the event).
        """

    def log_many(
        self,
        model: str,
        outputs: Sequence[Any] | Array,
        features: Sequence[Any] | Mapping[str, Any] | Array | None = None,
        *,
        names: Iterable[str] | None = None,
        version: Identifier | None = None,
        ids: Iterable[Identifier] | Array | None = None,
        ts: Number | Sequence[Number | None] | Array | None = None,
        latency: Number | Sequence[Number | None] | Array | None = None,
    ) -> int:
        """Take many predictions of one model; how many came into the buffer. The rest is dropped and counted.

        outputs: n numbers, classes or vectors: an array of shape (n,), (n, 1) or (n, m), or a sequence of n.
        features: an array of shape (n, k), with `names` for its columns if they have any; a dict of k columns of n
        values; or a sequence of n of what `log` takes.  ids: n of them.  ts, latency: one for all, or n.

        What takes more than the buffer is dropped: call `flush("memory")` between large calls to wait for the agent.
        """

    def truth(
        self,
        id: Identifier,  # noqa: A002
        label: Number | str,
        model: str,
        *,
        version: Identifier | None = None,
        ts: Number | None = None,
    ) -> bool:
        """The truth about an earlier prediction of `model` with this id. As `log`: at once, and never an error."""

    def error(
        self,
        model: str,
        error: Identifier | BaseException = "error",
        *,
        version: Identifier | None = None,
        id: Identifier | None = None,  # noqa: A002
        ts: Number | None = None,
    ) -> bool:
        """A prediction of `model` that did not come about. error: a short name of what failed, e.g. "timeout", a code,
        or the exception, whose class is the name. As `log`: at once, and never an error.
        """

    def metric(
        self,
        name: str,
        value: Number,
        step: SupportsIndex | None = None,
        *,
        ts: Number | None = None,
    ) -> bool:
        """A number worth a series of its own, e.g. `metric("train/loss", 0.31, step=1200)`. As `log`."""

    def flush(self, level: str = "disk", timeout: float = 5.0) -> bool:
        """Wait until the agent has everything, level "memory" or "disk"; the one call that waits, `timeout` seconds.

        True: each event that was handed to this client since the flush before is there. False: not within the time, or
        something was dropped, or lost with a connection. ValueError for another level. In asyncio, call it in a thread:
        `await asyncio.to_thread(client.flush)`.
        """

    def close(self, timeout: float = 1.0) -> None:
        """Send what is in the buffer and end the connection; at once where no agent is, else within `timeout` seconds.

        What could not be sent, and what is logged later, is dropped as "closed". The end of the process does the same.
        """

    def counts(
        self,
    ) -> tuple[int, int, int, int, int, dict[str, int], int, bool, int, int, str, str]:
        """The fields of `edgemon.client.ClientStats`, in order."""

    def _begin(self) -> None:
        """Called with the first event of this process; once more after a fork."""

    def _warn(self, kind: str, message: str) -> None:
        """Called with what a person should be told; may raise, and the caller of `log` does not see it."""
