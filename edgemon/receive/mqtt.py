"""Source: an MQTT broker; persistent session, manual acknowledgement, our own select loop.

- The session outlives us (clean start off, an expiry of days): what comes while the receiver
  restarts waits there.
- PUBACK goes out after the commit. What was not acknowledged comes again at the next
  connection; the key removes it.
- Packet ids belong to a connection: after it is lost the pending rows are still committed, and
  not acknowledged.
- With a Confirmer the devices are told what is stored, on their ack topics (acks.py has the format).
- Memory: at most `receive_maximum` unacknowledged messages (MQTT 5; with 3.1.1 the broker's own
  window), and the socket is not read while the intake is full.
- paho never connects again by itself here: its retry loop has no jitter and downgrades the
  protocol in silence.
"""

from __future__ import annotations

import random
import select
import time
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edgemon import log
from edgemon.errors import LockedError, StorageError, UnreachableError
from edgemon.flow.backoff import Backoff
from edgemon.receive.broker import Broker, tls_context
from edgemon.receive.confirm import INTERVAL_S, Confirmer
from edgemon.receive.control import Commits, Limits, Stop
from edgemon.receive.intake import Intake
from edgemon.ship import acks

RECEIVE_MAXIMUM = 200
MAX_PACKET_BYTES = 8 * 1024 * 1024
KEEPALIVE_S = 60
CONNECT_TIMEOUT_S = 10.0
_FAREWELL_S = 5.0
_MAX_WAIT_S = 5.0
_STABLE_S = 5.0
_TELL_AGAIN_S = 60.0
_SUSPICIOUS_LIVES = 3
_TAKEN_OVER = 0x8E
_WRONG_VERSION = 0x84


class Status(Protocol):
    """Who wants to know what goes on; called often."""

    def update(self, connected: bool) -> None: ...


class MqttSource:
    """Receives until the stop or a limit.

    Without an idle limit (a service) a broker that is away is tried for ever; with one (a script)
    it is an error.
    """

    def __init__(
        self,
        broker: Broker,
        intake: Intake,
        stop: Stop,
        limits: Limits,
        status: Status | None = None,
        confirmer: Confirmer | None = None,
    ) -> None:
        self._broker = broker
        self._intake = intake
        self._stop = stop
        self._limits = limits
        self._status = status
        self._confirmer = confirmer
        self._confirm_at = 0.0
        self._commits = Commits(intake)
        # A broker has few receivers, and what devices deliver piles up there: no pauses as a fleet needs them.
        self._backoff = Backoff(0.5, 5.0, 2.0, random.random)
        self._connect_at = 0.0
        self._told = "", 0.0  # why there is no connection, as it was last said, and when
        self._connected = False  # subscribed, too
        self._connected_at = 0.0
        self._short_lives = 0  # connections in a row that ended at once
        self._problem = ""  # what the broker said when it closed
        self._fatal: Exception | None = None
        self._leaving = False
        self._last_batch_at = time.monotonic()
        self._misc_at = 0.0
        self._client = self._make_client()

    def run(self) -> None:
        """Raises UnreachableError or LockedError; what was committed is acknowledged even then."""
        try:
            while not self._ended():
                self._step()
        finally:
            self._farewell()

    def _ended(self) -> bool:
        if self._fatal is not None:
            raise self._fatal
        if self._stop.requested or self._limits.reached(self._intake.totals.taken):
            return True
        idle_s = self._limits.idle_s
        return (
            idle_s is not None
            and self._connected
            and not self._intake.pending
            and time.monotonic() - self._last_batch_at >= idle_s
        )

    def _step(self) -> None:
        """One turn: connect, wait, read, write, commit."""
        if self._client.socket() is None:
            # With rows pending, first store them: a new connection would only deliver them again.
            if not self._intake.pending and time.monotonic() >= self._connect_at:
                self._connect()
        else:
            self._exchange()
        if self._commits.due:
            self._commit()
        if self._must_confirm and time.monotonic() >= self._confirm_at:
            self._confirm()
        if self._client.socket() is None:
            self._stop.wait(self._wait_s())
        if self._status is not None:
            self._status.update(self._connected)

    def _exchange(self) -> None:
        client = self._client
        sock: Any = client.socket()
        # A full intake does not read: the broker waits, and so does its window.
        reads = not self._intake.full
        wait_s = 0.0 if reads and _buffered(sock) else self._wait_s()
        readers: list[Any] = [self._stop, sock] if reads else [self._stop]
        readable, writable, _ = select.select(
            readers, [sock] if client.want_write() else [], [], wait_s
        )
        if writable:
            client.loop_write()
        if reads and (sock in readable or _buffered(sock)):
            self._read(sock)
        if time.monotonic() >= self._misc_at:
            self._misc_at = time.monotonic() + _MAX_WAIT_S
            client.loop_misc()

    def _read(self, sock: Any) -> None:
        """Take what is there, so that one commit serves many batches."""
        while True:
            self._client.loop_read()
            if self._client.socket() is None or self._intake.full or self._enough():
                return
            if not _buffered(sock) and not select.select([sock], [], [], 0)[0]:
                return

    def _enough(self) -> bool:
        return self._stop.requested or self._limits.reached(
            self._intake.totals.taken + self._intake.pending
        )

    def _wait_s(self) -> float:
        """Until the next thing that happens by itself."""
        now = time.monotonic()
        moments = [now + _MAX_WAIT_S]
        if self._intake.pending:
            moments.append(self._commits.retry_at)
        elif self._client.socket() is None:
            moments.append(self._connect_at)
        elif self._limits.idle_s is not None and self._connected:
            moments.append(self._last_batch_at + self._limits.idle_s)
        if self._must_confirm:
            moments.append(self._confirm_at)
        return max(0.0, min(moments) - now)

    def _commit(self) -> None:
        for token in self._commits.attempt() or ():
            if isinstance(token, int):
                self._client.ack(token, 1)
                self._backoff.reset()  # a connection that delivers is a good one, however short

    @property
    def _must_confirm(self) -> bool:
        return self._confirmer is not None and self._confirmer.due and self._connected

    def _confirm(self) -> None:
        """Tell the devices how far we are; paho writes it when the socket takes it."""
        assert self._confirmer is not None
        self._confirm_at = time.monotonic() + INTERVAL_S
        broker = self._broker
        try:
            confirmations = self._confirmer.take()
        except StorageError as error:
            log.error(f"cannot look up what is stored, nothing is confirmed: {error}")
            return
        for fleet, device, stream, stored in confirmations:
            payload = acks.encode(stream, stored, broker.client_id)
            topic = f"{broker.topic_prefix}/{fleet}/{device}/ack"
            self._client.publish(topic, payload, qos=1, retain=True)

    def _connect(self) -> None:
        broker = self._broker
        self._problem = ""
        try:
            if broker.version == "5":
                wishes = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
                wishes.SessionExpiryInterval = broker.expiry_s
                wishes.ReceiveMaximum = RECEIVE_MAXIMUM
                wishes.MaximumPacketSize = MAX_PACKET_BYTES
                self._client.connect(
                    broker.address.host,
                    broker.address.port,
                    KEEPALIVE_S,
                    clean_start=broker.expiry_s == 0,
                    properties=wishes,
                )
            else:
                self._client.connect(broker.address.host, broker.address.port, KEEPALIVE_S)
        except (OSError, ValueError) as error:
            self._lost(getattr(error, "strerror", None) or str(error) or type(error).__name__)

    def _lost(self, why: str) -> None:
        """The connection is over or could not be made: say so, and when the next try is; the same again each minute."""
        self._connected = False
        self._intake.forget_tokens()
        if self._leaving:
            return
        now = time.monotonic()
        delay_s = self._backoff.next_delay()
        self._connect_at = now + delay_s
        message = f"broker {self._broker.address}: {why}"
        if self._limits.idle_s is not None:
            self._fatal = self._fatal or UnreachableError(message)
        told, told_at = self._told
        if self._fatal is None and (message != told or now >= told_at + _TELL_AGAIN_S):
            self._told = message, now
            log.warning(f"{message}; next try in {delay_s:.1f} s")

    def _farewell(self) -> None:
        """Commit and acknowledge what is here, then say goodbye; nothing is lost if it cannot."""
        self._leaving = True
        if self._intake.pending:
            self._commit()
        if self._must_confirm:
            self._confirm()
        client = self._client
        if client.socket() is None:
            return
        client.disconnect()
        deadline = time.monotonic() + _FAREWELL_S
        while (sock := client.socket()) is not None and client.want_write():
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([], [sock], [], left_s)[1]:
                break
            client.loop_write()

    # paho calls these from loop_read, loop_write and loop_misc.

    def _on_connect(
        self,
        client: paho.Client,
        _data: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        _: object,
    ) -> None:
        if reason.is_failure:
            self._problem = f"refused: {str(reason).lower()}"
            if reason.value == _WRONG_VERSION:
                self._problem += ", try --mqtt-version 3.1.1"
            return
        if not flags.session_present and self._broker.expiry_s:
            log.info(
                "a new session at the broker: what was published before is not here",
                client_id=self._broker.client_id,
            )
        topics = [
            f"{self._broker.topic_prefix}/{self._broker.fleet}/+/{leaf}"
            for leaf in ("batch", "state")
        ]
        if self._broker.version == "5":
            client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in topics])
        else:
            client.subscribe([(topic, 1) for topic in topics])

    def _on_subscribe(
        self, _client: paho.Client, _data: object, _mid: int, reasons: list[ReasonCode], _: object
    ) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            self._fatal = UnreachableError(
                f"broker {self._broker.address} refuses the subscription: {refused[0].lower()}"
            )
            return
        self._connected, self._told = True, ("", 0.0)
        self._last_batch_at = self._connected_at = time.monotonic()
        log.info("receiving", broker=self._broker.address, client_id=self._broker.client_id)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        token = message.mid if message.qos == 1 else None
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        if not message.retain:
            self._last_batch_at = time.monotonic()
        pairs = getattr(message.properties, "UserProperty", ()) if message.properties else ()
        self._intake.take_message(topic, bytes(message.payload), token, dict(pairs))

    def _on_disconnect(
        self,
        _client: paho.Client,
        _data: object,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _: object,
    ) -> None:
        if flags.is_disconnect_packet_from_server and reason.value == _TAKEN_OVER:
            self._fatal = LockedError(
                f"another client took over the session {self._broker.client_id!r}: "
                "two receivers need two --client-id"
            )
        why = self._problem or f"connection lost: {str(reason).lower()}"
        if self._connected:
            stable = time.monotonic() - self._connected_at >= _STABLE_S
            self._short_lives = 0 if stable else self._short_lives + 1
            if stable:
                self._backoff.reset()
            elif self._short_lives >= _SUSPICIOUS_LIVES:
                # Brokers close the older of two clients of one id, most of them without a word.
                why += f" (does another client use the id {self._broker.client_id!r}?)"
        self._lost(why)

    def _make_client(self) -> paho.Client:
        broker = self._broker
        five = broker.version == "5"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            clean_session=None if five else broker.expiry_s == 0,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        if broker.address.user:
            client.username_pw_set(broker.address.user, broker.password)
        if broker.address.tls:
            client.tls_set_context(tls_context(broker))
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client


def _buffered(sock: Any) -> bool:
    """Whether a TLS socket holds bytes that select cannot see."""
    pending = getattr(sock, "pending", None)
    return pending is not None and pending() > 0
