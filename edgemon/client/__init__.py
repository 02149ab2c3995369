"""What an application hands its predictions to: `edgemon.Client`. It never waits and never raises into inference.

The client itself is one C header (csrc/include/edgemon_client.h), which applications in C use as it is; here is what
Python adds: its values, its warnings, and the end of the process.
"""

from __future__ import annotations

import atexit
import os
import sys
import warnings
import weakref
from typing import NamedTuple

from edgemon._core.client import ClientCore

__all__ = ["Client", "ClientStats"]

_CLOSE_TIMEOUT_S = 1.0


class ClientStats(NamedTuple):
    """Counts since the client was made, or since the process was forked.

    taken: events that came into the buffer.  sent: of them, those that the agent's socket has taken.
    confirmed: of them, those that the agent said to have.  unconfirmed: sent to connections that ended before the agent
    said so; at most so many were lost there.  pending: in the buffer now.
    dropped: reason -> events (docs/client.md has the reasons).  lost_values: features sent as missing because they
    were no number, string or None, and latencies and timestamps that were not finite.
    connected: an agent answers now.  connections: agents that have answered.  complaints: of agents, about what they
    got.  last_error: why there is no connection; "" when there is one, or none was tried.  last_complaint: of an agent.
    """

    taken: int
    sent: int
    confirmed: int
    unconfirmed: int
    pending: int
    dropped: dict[str, int]
    lost_values: int
    connected: bool
    connections: int
    complaints: int
    last_error: str
    last_complaint: str


class Client(ClientCore):
    """Hands predictions to the agent over its Unix socket.

    socket: path of the agent's ingest socket; default `$EDGEMON_SOCKET`, else /run/edgemon/ingest.sock.
    buffer_bytes: 8 KiB to 1 GiB; what waits for the agent at most. Memory: 9/8 of it and 80 KiB.
    linger: seconds, 0.001 to 60; how long an event may wait for others to be sent with it.
    ValueError for sizes out of range. That no agent is there is no error, here or later.

    >>> with Client("/nowhere/ingest.sock") as client:
    ...     client.log("fraud", 0.93, {"amount": 12.5, "country": "DE"}, latency=0.003)
    True
    >>> client.log("fraud", 0.93)
    False
    >>> client.dropped["closed"]
    2
    """

    # The C part takes the arguments when the object is made, before this.
    def __init__(
        self,
        socket: str | os.PathLike[str] | None = None,  # noqa: ARG002
        *,
        buffer_bytes: int = 1 << 20,  # noqa: ARG002
        linger: float = 0.1,  # noqa: ARG002
    ) -> None:
        self._told: set[str] = set()
        _clients.add(self)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stats(self) -> ClientStats:
        """What became of the events."""
        return ClientStats(*self.counts())

    @property
    def dropped(self) -> dict[str, int]:
        """Reason -> events that were dropped."""
        return self.stats().dropped

    def _begin(self) -> None:
        # A child of multiprocessing ends without atexit.
        util = sys.modules.get("multiprocessing.util")
        process = sys.modules.get("multiprocessing.process")
        if util is not None and process is not None and process.parent_process() is not None:
            util.Finalize(self, Client.close, args=(self,), exitpriority=-100)

    def _warn(self, kind: str, message: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            warnings.warn(
                f"edgemon.Client: {message} (later ones are only counted)",
                RuntimeWarning,
                stacklevel=2,
            )


_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def _close_all() -> None:
    for client in list(_clients):
        client.close(_CLOSE_TIMEOUT_S)


atexit.register(_close_all)
