"""The datagram socket: one object a datagram, fire and forget, for applications that must never wait.

A sender whose datagram finds the kernel's queue full is told so at once (EAGAIN) and may count it; what reached the
queue is read. Nothing is answered: what is wrong with a datagram is counted under its reason.
"""

from __future__ import annotations

import os
import struct

from edgemon import log
from edgemon._core.decode import Decoder
from edgemon.control import identity
from edgemon.errors import ProtocolError
from edgemon.flow.bucket import TokenBucket
from edgemon.flow.limit import TellLimit
from edgemon.ingest.listener import CREDENTIALS
from edgemon.ingest.protocol import DROPPED, Connection, Limits, Record, decoder
from edgemon.metrics import Counters
from edgemon.records import AckRequest
from edgemon.std import socket
from edgemon.std.collections.abc import Callable, Iterator
from edgemon.std.contextlib import suppress
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.ingest.server import Loop

DATAGRAMS = "edgemon_ingest_datagrams_total"
_A_TURN = 64
# At the end: more than any queue of the kernel holds.
_AT_THE_END = 65_536
_TOLD_A_MINUTE = 10
_ROOM_FOR_CREDENTIALS = socket.CMSG_SPACE(CREDENTIALS.size)


class Datagrams:
    """Reads `sock`, at most _A_TURN datagrams a turn of the loop. Call `reconfigure`, then `resume`.

    path: of its file, "" where that is not ours.  on_records(records): those of one turn.
    """

    def __init__(
        self,
        sock: socket.socket,
        path: str,
        loop: Loop,
        counters: Counters,
        on_records: Callable[[Iterator[Record]], None],
    ) -> None:
        self._sock = sock
        self._path = path
        self._file = identity(path) if path else None
        self._loop = loop
        self._counters = counters
        self._on_records = on_records
        self._limits = Limits()
        self._decoder: Decoder | None = None
        self._bucket: TokenBucket | None = None
        self._allow_uids: tuple[int, ...] = ()
        self._paused = True
        self._resting = False
        self._told = TellLimit(_TOLD_A_MINUTE, 60.0)
        self.received = 0
        # The kernel says with each datagram who sent it.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def forget(self) -> None:
        """In a child that was forked: close what it inherited. The file is the parent's."""
        self._sock.close()

    def reconfigure(
        self, limits: Limits, bucket: TokenBucket | None, allow_uids: tuple[int, ...]
    ) -> None:
        """bucket: of the events of all senders together.  allow_uids: empty for all."""
        if self._decoder is None or limits != self._limits:
            self._limits, self._decoder = limits, decoder(limits)
            self._buffer = bytearray(limits.max_frame_bytes + 2)
        self._bucket = bucket
        self._allow_uids = allow_uids

    def pause(self) -> None:
        """Read nothing until `resume`: the kernel's queue fills, and its senders notice."""
        self._paused = True
        self._loop.remove(self._sock.fileno())

    def resume(self) -> None:
        self._paused = False
        if not self._resting:
            self._loop.add_reader(self._sock.fileno(), self._readable)

    def stop(self, *, read: bool = True) -> None:
        """Take in what is in the queue (unless there is no room for it), and close."""
        self._loop.remove(self._sock.fileno())
        if read:
            self._read(_AT_THE_END)
        if self._path and self._file == identity(self._path):
            os.unlink(self._path)
        self._paused = True
        self._sock.close()

    def _readable(self) -> None:
        events = self._read(_A_TURN)
        if self._bucket is None:
            return
        now_s = self._loop.now()
        self._bucket.take(events, now_s)
        if (debt_s := self._bucket.wait_s(now_s)) > 0 and not self._paused:
            self._resting = True
            self._counters.add("edgemon_ingest_rests_total", reason="rate")
            self._loop.remove(self._sock.fileno())
            self._loop.call_at(now_s + debt_s, self._rested)

    def _rested(self) -> None:
        self._resting = False
        if not self._paused:
            self.resume()

    def _read(self, most: int) -> int:
        """Up to so many datagrams; how many events they held."""
        records: list[Record] = []
        for _ in range(most):
            try:
                size, ancillary, flags, _sender = self._sock.recvmsg_into(
                    [self._buffer], _ROOM_FOR_CREDENTIALS
                )
            except OSError:
                break
            self.received += 1
            self._counters.add(DATAGRAMS)
            self._counters.add("edgemon_ingest_received_bytes_total", size)
            pid, uid = _sender_of(ancillary)
            if self._allow_uids and uid not in self._allow_uids:
                self._drop("uid", f"uid {uid} may not send (ingest.allow_uids)", pid)
            elif flags & socket.MSG_TRUNC:
                most_bytes = self._limits.max_frame_bytes
                self._drop("frame_size", f"longer than {most_bytes} bytes", pid)
            else:
                self._decode(bytes(self._buffer[:size]), pid, records)
        if records:
            self._on_records(iter(records))
        return len(records)

    def _decode(self, data: bytes, pid: int, records: list[Record]) -> None:
        connection = Connection(self._limits, self._counters, self._decoder)
        try:
            for part in (connection.feed(data), connection.end()):
                for record in part:
                    if isinstance(record, AckRequest):
                        self._drop("ack_in_datagram", "nobody can be answered", pid)
                    else:
                        records.append(record)
        except ProtocolError as error:
            self._drop(error.reason, str(error), pid)
        if connection.complaint is not None:  # counted by the connection
            self._tell(connection.complaint, pid)

    def _drop(self, reason: str, problem: str, pid: int) -> None:
        self._counters.add(DROPPED, reason=reason)
        self._tell(problem, pid)

    def _tell(self, problem: str, pid: int) -> None:
        if self._told.allow("datagram", self._loop.now()):
            log.warning(f"datagram refused: {problem}", pid=pid)
        else:
            self._counters.add("edgemon_ingest_untold_faults_total")


def _sender_of(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, int]:
    """(pid, uid); -1 where the kernel did not say."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            with suppress(struct.error):
                pid, uid, _gid = CREDENTIALS.unpack(data)
                return pid, uid
    return -1, -1
