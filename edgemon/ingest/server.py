"""The Unix sockets that applications write to: accept, read, answer. Records go to one callback.

Fairness: each turn of the loop reads every client that has written once, and of all together at most TURN_BYTES.
Coalescing: while small writes follow one another closely, clients are looked at once in `coalesce_s` and not for
each write; the faster they come, the sooner, so that nobody who writes finds his socket's buffer full.
Back-pressure: `pause()` stops reading, and the kernel's socket buffers make writers wait. A client that
breaks the protocol loses its own connection, with one line that says why.
"""

from __future__ import annotations

import select

from edgemon import log
from edgemon._core.intake import StreamTable
from edgemon.errors import ProtocolError
from edgemon.flow.bucket import TokenBucket
from edgemon.flow.limit import TellLimit
from edgemon.ingest.activation import NOTHING, Inherited
from edgemon.ingest.client import Client, is_gone, pending_bytes, who_yields
from edgemon.ingest.datagrams import Datagrams
from edgemon.ingest.listener import REFUSED, Listener, bind
from edgemon.ingest.protocol import DROPPED, Connection, Limits, Record, Shown, decoder
from edgemon.metrics import Counters
from edgemon.std import socket
from edgemon.std.collections.abc import Callable, Iterator
from edgemon.std.contextlib import suppress
from edgemon.typed import NamedTuple, Protocol

READ_BYTES = 64 * 1024
# What one turn of the loop reads of all clients together, save that each may read _LEAST_BYTES.
TURN_BYTES = 256 * 1024
_LEAST_BYTES = 4 * 1024
# What may wait in the kernel of a client that is left alone. A writer that asks whether it may write, as one with a
# timeout does, is kept waiting from a quarter of its socket's buffer on: 70 writes of 124 bytes, or 11 of 4,000.
_UNREAD_EVENTS = 48
_UNREAD_BYTES = 12 * 1024
_LEAST_HOLD_S = 0.001
# Lines of one kind in the log: a client may break the protocol as often as it likes.
_TOLD_A_MINUTE = 30
_CLOSED = "edgemon_ingest_closed_connections_total"


class Loop(Protocol):
    """What the server needs of the agent's loop."""

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None: ...
    def set_writer(self, fd: int, callback: Callable[[], None] | None) -> None: ...
    def remove(self, fd: int) -> None: ...
    def call_at(self, when_s: float, callback: Callable[[], None]) -> object: ...
    def now(self) -> float: ...


class ServerSettings(NamedTuple):
    path: str
    mode: int
    group: str
    allow_uids: tuple[int, ...]
    max_clients: int
    max_rate: float
    limits: Limits
    coalesce_s: float = 0.0
    dgram: str = ""


class Server:
    """Listens on the ingest socket.

    on_records(client, records): called with each read, to work off what it holds; acks are among it. Iterating
    raises ProtocolError where the connection is to be closed; that is for on_records to let through.
    table: takes the predictions that need nobody to look at them (Connection.feed_into); None: all are records.
    inherited: sockets that listen already, and whose files are not ours.  on_datagrams: gets what comes in datagrams,
    which ask for no acks; needed where there is a socket for them.
    """

    def __init__(
        self,
        settings: ServerSettings,
        loop: Loop,
        counters: Counters,
        on_records: Callable[[Client, Iterator[Record | Shown]], None],
        table: StreamTable | None = None,
        inherited: Inherited = NOTHING,
        on_datagrams: Callable[[Iterator[Record]], None] | None = None,
    ) -> None:
        self.settings = settings
        self.loop = loop
        self.counters = counters
        self.clients: dict[int, Client] = {}
        self.datagrams: Datagrams | None = None
        self._decoder = decoder(settings.limits)
        self._table = table
        self._on_records = on_records
        self._on_datagrams = on_datagrams
        self._inherited = inherited
        self._listener: Listener | None = None
        # One descriptor stands for all clients in the loop, so that they can be left alone together.
        self._ready = select.epoll()
        self._served_s = 0.0
        self._held = False  # the loop does not watch it: a timer will
        self._paused = False
        self._draining = False
        self._unsent: set[Client] = set()
        self._indebted: set[Client] = set()
        self._told = TellLimit(_TOLD_A_MINUTE, 60.0)

    # -- life

    def start(self) -> None:
        """Bind the sockets, all or none. A stale file is replaced; one that a live process answers on is not."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        settings = self.settings
        sock, path = self._inherited.stream, ""
        if sock is None:
            path = settings.path
            sock = bind(path, socket.SOCK_STREAM, settings)
        self._listener = Listener(sock, path, self.loop, self.counters, self._admit)
        self.loop.add_reader(self._ready.fileno(), self._serve)
        datagrams = self._inherited.dgram
        path = "" if datagrams is not None else settings.dgram
        if path:
            datagrams = bind(path, socket.SOCK_DGRAM, settings)
        if datagrams is not None:
            assert self._on_datagrams is not None, "datagrams, and nobody to take them"
            self.datagrams = Datagrams(
                datagrams, path, self.loop, self.counters, self._on_datagrams
            )
            self.datagrams.reconfigure(settings.limits, self.new_bucket(), settings.allow_uids)
            self.datagrams.resume()

    @property
    def address(self) -> str | bytes:
        """Where it listens: settings.path, or where the socket does that was handed over. While it does."""
        assert self._listener is not None
        address: str | bytes = self._listener.sock.getsockname()
        return address

    def drain(self, *, room: bool = True) -> None:
        """Stop listening, and take in all that clients have written until now: also those in the queue of the
        listener, unless it outlives us. What is written from now on is not read. Answers are still sent.

        room: False where there is none for what clients have written: then they keep it, and are closed.
        """
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop(take_in=room)
        self._draining = True
        self.loop.remove(self._ready.fileno())
        if self.datagrams is not None:
            self.datagrams.stop(read=room)
        if not room:
            for client in list(self.clients.values()):
                self.close_client(client, reason="spool_full")
        written = [(client, pending_bytes(client.sock)) for client in self.clients.values()]
        for client, pending in written:
            # Also one byte more than there was: the end of a client that has gone.
            while client.fd >= 0 and pending >= 0:
                got = self._read(client, READ_BYTES, self.loop.now())
                if not got:
                    break
                pending -= got
        self._flush()

    def stop(self) -> None:
        """Drain, if that was not done, and close what is left."""
        if not self._draining:
            self.drain()
        self._flush()
        for client in list(self.clients.values()):
            self.close_client(client, reason="agent_stopped")
        self._ready.close()

    def forget(self) -> None:
        """In a child that was forked: close what it inherited. The file and the connections are the parent's."""
        if self._listener is not None:
            self._listener.forget()
        if self.datagrams is not None:
            self.datagrams.forget()
        for client in self.clients.values():
            client.sock.close()

    def reconfigure(self, settings: ServerSettings) -> None:
        """New limits hold for new connections; rate and coalescing hold at once."""
        was, self.settings = self.settings, settings
        if settings.limits != was.limits:
            self._decoder = decoder(settings.limits)
        if settings.max_rate != was.max_rate:
            for client in self.clients.values():
                client.bucket = self.new_bucket()
        if self.datagrams is not None:
            self.datagrams.reconfigure(settings.limits, self.new_bucket(), settings.allow_uids)

    def new_connection(self) -> Connection:
        """With the limits of now."""
        return Connection(self.settings.limits, self.counters, self._decoder)

    def new_bucket(self) -> TokenBucket | None:
        """One second's worth of events, at the configured rate."""
        rate = self.settings.max_rate
        return TokenBucket(rate, self.loop.now()) if rate > 0 else None

    # -- back-pressure

    def pause(self) -> None:
        """Read from nobody until `resume`: the kernel makes the writers wait."""
        if not self._paused:
            self._paused = True
            self.counters.add("edgemon_ingest_pauses_total")
            self.loop.remove(self._ready.fileno())
            if self.datagrams is not None:
                self.datagrams.pause()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._watch()
            if self.datagrams is not None and not self._draining:
                self.datagrams.resume()

    @property
    def reading(self) -> bool:
        """Whether what applications write is read."""
        return not (self._paused or self._draining)

    def _watch(self) -> None:
        if not self._paused and not self._draining:
            self.loop.add_reader(self._ready.fileno(), self._serve)

    def mind(self, client: Client) -> None:
        """Let a client rest that is above its rate or does not read; or read it again."""
        if client.fd < 0 or client.ended:
            return
        debt_s = client.bucket.wait_s(self.loop.now()) if client.bucket is not None else 0.0
        rest = client.owes or debt_s > 0
        if rest != client.resting:
            client.resting = rest
            if rest:
                self._ready.unregister(client.fd)
                reason = "rate" if debt_s > 0 else "replies_not_read"
                self.counters.add("edgemon_ingest_rests_total", reason=reason)
            else:
                self._ready.register(client.fd, select.EPOLLIN)
        if debt_s > 0 and client not in self._indebted:
            if not self._indebted:
                self._look_after(debt_s)
            self._indebted.add(client)

    def _look_after(self, debt_s: float) -> None:
        """One timer for all that are in debt, however many come and go."""
        self.loop.call_at(self.loop.now() + min(max(debt_s, 0.005), 0.1), self._end_debts)

    def _end_debts(self) -> None:
        indebted, self._indebted = self._indebted, set()
        for client in indebted:
            self.mind(client)

    # -- turns

    def _serve(self) -> None:
        """Read every client that has written, once."""
        held, self._held = self._held, False
        if self._paused or self._draining:
            return
        ready = self._ready.poll(0, len(self.clients) or 1)
        now_s, hold_s = self.loop.now(), self.settings.coalesce_s
        since_s = now_s - self._served_s
        if not ready or not (held or since_s < hold_s):
            hold_s = 0.0
        if ready:
            self._served_s = now_s
        share = READ_BYTES
        if len(ready) * READ_BYTES > TURN_BYTES:
            share = max(_LEAST_BYTES, TURN_BYTES // len(ready))
        for fd, _ in ready:
            client = self.clients.get(fd)
            if client is None or self._paused:
                continue
            answered, events = client.owes, client.connection.events
            got = self._read(client, share, now_s)
            # Who sent more than was read, or waits for an answer and then goes on, is not made to wait.
            if not 0 < got < share or client.owes != answered:
                hold_s = 0.0
            elif hold_s > 0:
                events = client.connection.events - events
                hold_s = min(hold_s, since_s * _UNREAD_BYTES / got)
                if events > 0:
                    hold_s = min(hold_s, since_s * _UNREAD_EVENTS / events)
        if self._unsent:
            self._flush()
        if hold_s >= _LEAST_HOLD_S:
            self._held = True
            self.loop.remove(self._ready.fileno())
            self.loop.call_at(now_s + hold_s, self._serve)
            self.counters.add("edgemon_ingest_coalesced_turns_total")
        else:
            self._watch()

    def _read(self, client: Client, limit: int, now_s: float) -> int:
        """One bounded read; how many bytes it gave."""
        try:
            data = client.sock.recv(limit)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        self.counters.add("edgemon_ingest_received_bytes_total", len(data))
        client.received_bytes += len(data)
        client.heard_s = now_s
        connection = client.connection
        events = connection.events
        try:
            self._on_records(client, connection.feed_into(self._table, data))
        except ProtocolError as failure:
            self._refuse(client, failure)
            return len(data)
        if not data:
            self._end(client)
        elif client.bucket is not None and client.fd >= 0 and not self._draining:
            client.bucket.take(connection.events - events, self.loop.now())
            self.mind(client)
        return len(data)

    def _end(self, client: Client) -> None:
        """It writes no more. Who has closed one half only, as `nc -N` does, still gets its answers."""
        if not client.awaits or is_gone(client.sock):
            self.close_client(client, reason="gone")
        elif client.fd >= 0 and not client.ended:
            client.ended = True
            if not client.resting:
                client.resting = True
                self._ready.unregister(client.fd)

    # -- answers

    def flush_soon(self, client: Client) -> None:
        """Send its answers at the end of this turn."""
        if not self._unsent:
            self.loop.call_at(self.loop.now(), self._flush)
        self._unsent.add(client)

    def _flush(self) -> None:
        while self._unsent:
            self._unsent.pop().flush()

    # -- connections

    def _admit(self, sock: socket.socket, pid: int, uid: int) -> None:
        """Take in a connection that was accepted, or say why not."""
        refusal = ""
        if self.settings.allow_uids and uid not in self.settings.allow_uids:
            refusal = f"uid {uid} may not connect (ingest.allow_uids)"
            self.counters.add(REFUSED, reason="uid")
        elif len(self.clients) >= self.settings.max_clients and not self._make_room(pid):
            refusal = f"too many clients: {self.settings.max_clients} (ingest.max_clients)"
            self.counters.add(REFUSED, reason="too_many_clients")
        if refusal:
            with sock, suppress(OSError):
                sock.setblocking(False)
                sock.send(b'{"error":"' + refusal.encode() + b'"}\n')
            return
        sock.setblocking(False)
        client = Client(self, sock, (pid, uid))
        self.clients[client.fd] = client
        self.counters.add("edgemon_ingest_connections_total")
        self._ready.register(client.fd, select.EPOLLIN)

    def _make_room(self, pid: int) -> bool:
        """Close connections whose clients have gone; else one of a process that has more of them. False: there is
        none."""
        if not self._paused:
            for fd, events in self._ready.poll(0, len(self.clients)):
                if events & select.EPOLLHUP and (gone := self.clients.get(fd)) is not None:
                    while self._read(gone, READ_BYTES, self.loop.now()):  # what it wrote before
                        pass
            if len(self.clients) < self.settings.max_clients:
                return True
        silent = who_yields(self.clients.values(), pid)
        if silent is None:
            return False
        if not self._paused:
            self._read(silent, READ_BYTES, self.loop.now())  # what it wrote a moment ago
        self.close_client(silent, reason="made_room")
        return True

    def close_client(self, client: Client, *, reason: str) -> None:
        """Close one connection and count why."""
        if client.fd >= 0:
            self.counters.add(_CLOSED, reason=reason)
            self.loop.remove(client.fd)
            if not client.resting:
                self._ready.unregister(client.fd)
            del self.clients[client.fd]
            self._indebted.discard(client)
            client.close()

    def _refuse(self, client: Client, failure: ProtocolError) -> None:
        self.counters.add(DROPPED, reason=failure.reason)
        self.tell(f"connection closed: {failure}", client.peer)
        client.reply({"error": str(failure)})
        client.flush()
        self.close_client(client, reason=failure.reason)

    def tell(self, message: str, peer: tuple[int, int]) -> None:
        """A warning, unless there were too many of its kind."""
        kind, _, _ = message.partition(":")
        if self._told.allow(kind, self.loop.now()):
            log.warning(message, pid=peer[0], uid=peer[1])
        else:
            self.counters.add("edgemon_ingest_untold_faults_total")
