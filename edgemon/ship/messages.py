"""What a device publishes over MQTT: topics, payloads and properties.

Topics, below {topic_prefix}/{fleet}/{device}:

    state   retained; {"online":true,"birth":N,"agent":…,"stream":…,"config":…}; last will and clean
            stop are {"online":false,"birth":N}; birth.py says how a receiver compares them
    batch   one batch a message, the bare zstd frame; with MQTT 5 the user properties schema, codec,
            kind, seq and stream
    event   one CloudEvents JSON message a row of an event batch, at once, not retained
    ack     subscribed to with ship.confirm = "receiver": how far a receiver has stored, acks.py
    desired    subscribed to with remote.enabled: desired configuration, for the courier (desired.py)
    reported   retained, what became of it
"""

from __future__ import annotations

import time

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgemon import log, wire
from edgemon.errors import DamagedError
from edgemon.ship import cloudevents
from edgemon.ship.sink import HISTORICAL_S, Parcel, SinkContext
from edgemon.std import json
from edgemon.typed import NamedTuple
from edgemon.version import VERSION

# Fixed header, topic length, packet identifier, property length: never more than this.
_HEADER_ALLOWANCE_BYTES = 16


class Topics(NamedTuple):
    """Those of one device."""

    state: str
    batch: str
    event: str
    ack: str
    desired: str
    reported: str


class Messages:
    """Of one device. Properties are None with MQTT 3.1.1, which has none."""

    def __init__(self, context: SinkContext) -> None:
        config = context.config
        self._context = context
        self._mqtt5 = config.mqtt.version == "5"
        base = f"{config.mqtt.topic_prefix}/{config.agent.fleet}/{config.agent.device}"
        self.topics = Topics(*(f"{base}/{name}" for name in Topics._fields))

    def state(self, birth: int, *, online: bool) -> bytes:
        """Of the connection of that number."""
        context = self._context
        state: dict[str, object] = {"online": online, "birth": birth}
        if online:
            state["agent"] = VERSION
            state["stream"] = context.stream()
            state["config"] = context.config.hash
            if context.config.ship.confirm == "receiver":
                # Of which stream, and from where on, it wants confirmations.
                state["stream"], state["acked"] = context.asked()
        return json.dumps(state, separators=(",", ":")).encode()

    def batch_properties(self, parcel: Parcel) -> Properties | None:
        """What a receiver can know of a batch without opening it."""
        if not self._mqtt5:
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.UserProperty = [
            ("schema", "edgemon/1"),
            ("codec", "msgpack+zstd"),
            ("kind", parcel.kind),
            ("seq", str(parcel.seq)),
            ("stream", parcel.stream),
        ]
        if 0 < parcel.wall_ms < (time.time() - HISTORICAL_S) * 1000:
            properties.UserProperty = ("historical", "1")  # paho appends
        return properties

    def events(self, parcel: Parcel, most_bytes: float) -> list[bytes]:
        """The rows of an event batch, each a message; without those of a packet of more than `most_bytes`."""
        context = self._context
        try:
            messages = list(cloudevents.messages(wire.decode(parcel.frame)))
        except DamagedError as error:
            # The batch itself goes on: a receiver keeps what it cannot read.
            context.counters.add("edgemon_ship_errors_total", reason="event_not_decoded")
            log.warning("cannot read an event batch", seq=parcel.seq, error=error)
            return []
        properties, topic = self.event_properties(), self.topics.event
        fitting = [
            message
            for message in messages
            if packet_bytes(topic, message, properties) <= most_bytes
        ]
        if too_large := len(messages) - len(fitting):
            context.counters.add("edgemon_ship_dropped_events_total", too_large, reason="too_large")
        return fitting

    def event_properties(self) -> Properties | None:
        if not self._mqtt5:
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ContentType = cloudevents.CONTENT_TYPE
        return properties


def connect_properties(most_bytes: int) -> Properties:
    """What we take (MQTT 5)."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = most_bytes
    return properties


def packet_bytes(topic: str, payload: bytes, properties: Properties | None) -> int:
    """Length of a PUBLISH packet, at most."""
    packed = 0
    if properties is not None:
        packed = len(properties.pack())  # type: ignore[no-untyped-call]
    return _HEADER_ALLOWANCE_BYTES + len(topic.encode()) + packed + len(payload)
