"""One MQTT connection: paho's client over a socket that we made, and what is under way on it."""

from __future__ import annotations

from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties

from edgemon.ship.metered import MeteredSocket
from edgemon.ship.paho_client import client as paho
from edgemon.ship.sink import NEVER, Key
from edgemon.std.collections import deque
from edgemon.std.collections.abc import Callable

# The slowest link that counts as alive: what is in flight gets this much more time.
_SLOWEST_BYTES_PER_S = 1024
_PING_BYTES = 2
# paho notes the time of a packet a little later than the socket.
_LATER_S = 0.05


class Client(paho.Client):
    """paho's client, which would otherwise block in connect() and in the TLS handshake."""

    connection: MeteredSocket

    def _create_socket(self) -> MeteredSocket:
        return self.connection

    def _handle_publish(self) -> MQTTErrorCode:
        # paho would keep each such message until its second half comes, without a bound.
        if self._in_packet["command"] & 0x06 == 0x04:
            raise ValueError("a message of QoS 2, for which nobody asked")
        return super()._handle_publish()


class Delivery:
    """A batch under way. missing: acknowledgements that have not come, of it and of its events."""

    __slots__ = ("key", "missing", "refused")

    def __init__(self, key: Key, missing: int) -> None:
        self.key = key
        self.missing = missing
        self.refused = False


class Sent:
    """A message without its PUBACK. delivery: None for a state message."""

    __slots__ = ("delivery", "size", "topic")

    def __init__(self, delivery: Delivery | None, size: int, topic: str) -> None:
        self.delivery = delivery
        self.size = size
        self.topic = topic


class Link:
    """All that belongs to one connection and ends with it.

    window: messages without PUBACK, at most.  keepalive_s: what we asked for.
    """

    def __init__(self, client: Client, birth: int, window: int, keepalive_s: float) -> None:
        self.client = client
        self.birth = birth
        self.window = window
        self.max_packet_bytes = NEVER
        self.connected = False
        self.refusal = ""  # why CONNACK said no
        self._looked_at = 0.0  # by `keep_alive`
        self.sent: dict[int, Sent] = {}  # by packet identifier
        self.events: deque[tuple[Delivery, bytes]] = deque()  # at most those of one batch
        self.subscriptions: dict[int, str] = {}  # packet identifier -> topic, until it is answered
        self.offline_mid = 0  # the state message that ends a clean stop
        # What paho reported while it held its locks, to be acted on once it has let go of them.
        self.happenings: deque[Callable[[float], None]] = deque()
        self._keepalive_s = keepalive_s
        self._moved_at = 0.0
        self._counted = 0, 0
        self._moved_bytes = 0

    @property
    def keepalive_s(self) -> float:
        """With MQTT 5 the broker may have set another one than ours; where it wants none, ours bounds its silence."""
        return float(self.client.keepalive or self._keepalive_s)

    @property
    def full(self) -> bool:
        return len(self.sent) >= self.window

    def publish(
        self,
        delivery: Delivery | None,
        topic: str,
        payload: bytes,
        properties: Properties | None,
        now: float,
        *,
        retain: bool = False,
    ) -> int:
        """Hand a message to paho, QoS 1. Its packet identifier."""
        if not self.sent:
            self._moved_at = now
        info = self.client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        self.sent[info.mid] = Sent(delivery, len(payload), topic)
        return info.mid

    def subscribe(self, topic: str) -> None:
        """QoS 1. The answer comes to on_subscribe, with the packet identifier."""
        _, mid = self.client.subscribe(topic, 1)
        if mid is not None:
            self.subscriptions[mid] = topic

    def keep_alive(self, now: float) -> None:
        """Have paho ping, or end a connection whose ping was not answered, if it is time."""
        self._looked_at = now
        self.client.loop_misc()

    def keep_alive_due(self) -> float:
        """When `keep_alive` has something to do: a keep-alive after the last byte that went out or that came, whichever
        is longer ago; while a ping has no answer, four times in one. NEVER when the broker wants none.
        """
        if not self.client.keepalive:
            return NEVER
        connection = self.client.connection
        quiet_since = min(connection.sent_at, connection.received_at)
        return max(
            quiet_since + self.keepalive_s + _LATER_S, self._looked_at + self.keepalive_s / 4
        )

    def exchange(self, now: float) -> None:
        """Read and write what can be read and written without waiting."""
        # Read first: a broker that hangs up says why, and a write would fail before we knew.
        self.client.loop_read()
        while self.client.socket() is not None and self.client.connection.pending():
            self.client.loop_read()
        if self.client.want_write():
            self.client.loop_write()
        grown = self.client.connection.sent_bytes - self._moved_bytes
        self._moved_bytes += grown
        if grown > _PING_BYTES:
            self._moved_at = now

    def uncounted(self) -> tuple[int, int]:
        """Bytes sent and received since the call before."""
        now = self.client.connection.sent_bytes, self.client.connection.received_bytes
        before, self._counted = self._counted, now
        return now[0] - before[0], now[1] - before[1]

    def acknowledged(self, mid: int, now: float) -> Sent | None:
        """A PUBACK came. None when nothing of that number is under way."""
        self._moved_at = now
        return self.sent.pop(mid, None)

    def still_for_s(self, now: float) -> float:
        """Seconds without a byte going out, pings aside, or an acknowledgement coming in."""
        return now - self._moved_at

    def ack_deadline(self) -> float:
        """When a broker that has acknowledged nothing and taken nothing counts as gone."""
        if not self.sent:
            return NEVER
        in_flight_bytes = sum(sent.size for sent in self.sent.values())
        return self._moved_at + self.keepalive_s + in_flight_bytes / _SLOWEST_BYTES_PER_S
