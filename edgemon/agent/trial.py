"""The trial of a configuration that came from afar: for `remote.confirm` it is in force, then it is judged.

Whatever ends the process meanwhile counts against it: starts are counted on disk (remote/store.py), and a
loop that does not turn never judges; systemd's watchdog ends it. At the end all of this must hold:

- the ingest socket takes a connection, reads from it, and says that what was sent before is on disk;
- the event that told of the trial is on disk, and the disk takes what it is given;
- where a shipper that stays connected brought the message: a shipper is connected now, with this very
  configuration, and the other side has acknowledged that event.
"""

from __future__ import annotations

import os

from edgemon.control import Message
from edgemon.std import socket
from edgemon.std.collections.abc import Callable
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.agent.agent import Agent

_ASK = b'{"ack":"remote","level":"disk"}\n'
_MAX_ANSWER = 4096
# The shipper tells every 2 s how it is; what is older says nothing of now.
_STALE_S = 15.0


class Trial:
    """One trial. online: shipping is judged too.  ended: called once, with what is wrong, "" for nothing.

    event_seq: of the event batch that must be on disk, and acknowledged.
    """

    def __init__(
        self, agent: Agent, event_seq: int, ended: Callable[[str], None], *, online: bool
    ) -> None:
        self._agent = agent
        self._ended = ended
        self._online = online
        self.event_seq = event_seq
        self._told: Message = {}  # by the shipper, last
        self._told_s = agent.loop.now()
        self._socket: socket.socket | None = None
        self._answer = b""
        self._accepts = "the ingest socket was not tried"
        confirm_s, now = agent.config.remote.confirm_s, agent.loop.now()
        self.until_s = now + confirm_s
        self._ask_timer = agent.loop.call_at(now + confirm_s / 2, self._ask)
        self._timer = agent.loop.call_at(self.until_s, self._judge)

    def cancel(self) -> None:
        """It is over, without a judgement."""
        self._timer.cancel()
        self._ask_timer.cancel()
        self._close()

    def told(self, by_shipper: Message) -> None:
        """How it is with the shipper: {"connected", "config": its hash, "delivered": seq of events}."""
        self._told = by_shipper
        self._told_s = self._agent.loop.now()

    # -- the ingest socket, as an application sees it

    def _ask(self) -> None:
        self._accepts = "the ingest socket does not answer"
        try:
            self._socket = sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.setblocking(False)
            assert self._agent.server is not None
            sock.connect(self._agent.server.address)
            sock.send(_ASK, socket.MSG_NOSIGNAL)
        except OSError as error:
            self._accepts = f"the ingest socket takes no connection: {error.strerror}"
            self._close()
            return
        self._agent.loop.add_reader(sock.fileno(), self._on_answer)

    def _on_answer(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(_MAX_ANSWER)
        except OSError:
            data = b""
        self._answer += data
        if data and b"\n" not in self._answer and len(self._answer) < _MAX_ANSWER:
            return
        uids = self._agent.config.ingest.allow_uids
        if uids and os.geteuid() not in uids:
            self._accepts = ""  # it was taken, and turned away as it should be
        elif b'"error"' in self._answer:
            self._accepts = f"the ingest socket answers {self._answer.decode(errors='replace')}"
        elif b'"disk"' in self._answer:
            self._accepts = ""
        self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._agent.loop.remove(self._socket.fileno())
            self._socket.close()
            self._socket = None

    # -- the judgement

    def _judge(self) -> None:
        self.cancel()
        self._ended(self._accepts or self._disk() or self._shipping())

    def _disk(self) -> str:
        spool = self._agent.storage.spool.usage()
        if spool.failure:
            return f"the disk does not write: {spool.failure}"
        if spool.kinds["event"].durable_seq < self.event_seq:
            return "what was written is not on disk"
        return ""

    def _shipping(self) -> str:
        if not self._online:
            return ""
        told = self._told
        if not told or self._agent.loop.now() - self._told_s > _STALE_S:
            return "no shipper answers"
        if told.get("config") != self._agent.config.hash:
            return (
                f"the shipper does not run this configuration: {told.get('error') or 'it is late'}"
            )
        if told.get("connected") is not True:
            return f"the shipper is not connected: {told.get('error') or 'it is late'}"
        delivered = told.get("delivered")
        acked_seq = self._agent.storage.spool.usage().kinds["event"].acked_seq
        if max(acked_seq, delivered if isinstance(delivered, int) else 0) < self.event_seq:
            return "the other side has not acknowledged what was sent since"
        return ""
