"""The MQTT sink: MQTT 5 or 3.1.1, QoS 1, paho-mqtt driven by the shipper's own poll. What it
publishes stands in messages.py.

A batch is acknowledged when its PUBACK and those of all its events are in: a connection that breaks
between them sends batch and events again, with the same ids.

Of paho we use the packets, the table of what is in flight and the keep-alive. What it does not do,
and we do here: connect without blocking (it would hold the loop for a name server or a handshake),
honour the broker's Receive Maximum and Maximum Packet Size, bound what it may send, and notice a
broker that takes everything and acknowledges nothing. Each connection is a new client: what paho would send again by
itself, the spool sends. paho_client.py imports it without what it would bring along.
"""

from __future__ import annotations

import errno
import selectors
import time

from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edgemon import log
from edgemon.errors import ConfigError, DamagedError
from edgemon.ship import acks, reasons
from edgemon.ship.birth import Births
from edgemon.ship.connect import Connector, explain_tls
from edgemon.ship.link import Client, Delivery, Link, Sent
from edgemon.ship.messages import Messages, connect_properties, packet_bytes
from edgemon.ship.metered import MAX_DESIRED_BYTES, MAX_INCOMING_BYTES, MeteredSocket
from edgemon.ship.paho_client import client as paho
from edgemon.ship.secrets import read_credentials
from edgemon.ship.sink import NEVER, Parcel, Sink, SinkContext
from edgemon.ship.tls import ssl
from edgemon.spool.origin import client_suffix
from edgemon.std import socket

HTTP = b"HTTP/"


def make(context: SinkContext) -> Sink:
    """Raises ConfigError when files that it names are missing, damaged or readable by everybody."""
    return MqttSink(context)


class MqttSink:
    """See the module's docstring, and sink.py for what a sink is."""

    def __init__(self, context: SinkContext) -> None:
        config = context.config
        self._context = context
        self._mqtt = config.mqtt
        self._mqtt5 = config.mqtt.version == "5"
        self._events = context.events
        self._counters = context.counters
        self._births = Births(context.fs, config.agent.state_dir, context.counters)
        self._messages = Messages(context)
        self._topics = self._messages.topics
        self._courier = context.courier
        self._most_bytes = MAX_DESIRED_BYTES if context.courier is not None else MAX_INCOMING_BYTES
        self._confirmed = config.ship.confirm == "receiver"
        self._where = f"{config.mqtt.host}:{config.mqtt.port}"
        read_credentials(self._mqtt, config.file)  # a wrong file is an error now, not later
        self._connector: Connector | None = None
        self._connack_deadline = NEVER
        self._link: Link | None = None

    # -- connecting

    def start(self, now: float) -> None:
        try:
            tls = read_credentials(self._mqtt, self._context.config.file).tls
        except ConfigError as error:
            self._events.on_down(str(error))
            return
        self._connack_deadline = now + self._mqtt.connect_timeout_s
        self._connector = Connector(
            self._mqtt.host, self._mqtt.port, self._mqtt.connect_timeout_s, tls
        )
        self._connector.start(now)
        self._follow_connector(now)

    def _follow_connector(self, now: float) -> None:
        connector = self._connector
        if connector is None or not connector.finished:
            return
        self._connector = None
        if connector.socket is None:
            self._events.on_down(connector.failure)
            return
        try:
            self._link = self._open_link(connector.socket)
        except ConfigError as error:  # the password file went away since start()
            connector.socket.close()
            self._events.on_down(str(error))
            return
        self._link.client.connect(
            self._mqtt.host,
            self._mqtt.port,
            keepalive=max(1, round(self._mqtt.keepalive_s)),
            properties=connect_properties(self._most_bytes) if self._mqtt5 else None,
        )
        self._digest(now)

    def _client_id(self) -> str:
        """As configured; the default is told apart from that of the device whose card was copied."""
        config = self._context.config
        default = f"edgemon-{config.agent.device}"
        suffix = client_suffix(self._context.fs, config.spool.dir)
        own = suffix and self._mqtt.client_id == default
        return f"{default}-{suffix}" if own else self._mqtt.client_id

    def _open_link(self, connection: socket.socket) -> Link:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id(),
            protocol=MQTTProtocolVersion.MQTTv5 if self._mqtt5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connection = MeteredSocket(connection, self._context.carried, self._most_bytes)
        client.max_inflight_messages = 0  # the window is ours
        if self._mqtt.username:
            credentials = read_credentials(self._mqtt, self._context.config.file)
            client.username_pw_set(self._mqtt.username, credentials.password)
        link = Link(
            client,
            self._births.next(),
            self._context.config.ship.max_inflight,
            self._mqtt.keepalive_s,
        )
        will = self._messages.state(link.birth, online=False)
        client.will_set(self._topics.state, will, qos=1, retain=True)
        client.on_connect = lambda _c, _d, _flags, reason, properties: link.happenings.append(
            lambda now: self._connack(link, reason, properties, now)
        )
        client.on_disconnect = lambda _c, _d, flags, reason, _p: link.happenings.append(
            lambda _now: self._disconnected(link, flags.is_disconnect_packet_from_server, reason)
        )
        client.on_publish = lambda _c, _d, mid, reason, _p: link.happenings.append(
            lambda now: self._puback(link, mid, reason, now)
        )
        client.on_message = lambda _c, _d, message: link.happenings.append(
            lambda _now: self._on_message(message)
        )
        client.on_subscribe = lambda _c, _d, mid, codes, _p: link.happenings.append(
            lambda _now: self._suback(link, mid, codes)
        )
        # With this callback paho leaves all writing to us; watch() asks want_write() instead.
        client.on_socket_register_write = lambda *_: None
        return link

    # -- sending

    def ready(self) -> bool:
        link = self._link
        return (
            link is not None
            and link.connected
            and not link.offline_mid
            and not link.events
            and not link.full
        )

    def submit(self, parcel: Parcel, now: float) -> None:
        link = self._link
        assert link is not None and self.ready(), "submit() without ready()"
        properties = self._messages.batch_properties(parcel)
        size = packet_bytes(self._topics.batch, parcel.frame, properties)
        if size > link.max_packet_bytes:
            limit = f"{link.max_packet_bytes:.0f} bytes a packet, this one has {size}"
            self._events.on_refused(parcel.key, f"{self._where} takes {limit} (batch.max_bytes)")
            return
        events = []
        if parcel.kind == "event":
            events = self._messages.events(parcel, link.max_packet_bytes)
        delivery = Delivery(parcel.key, 1 + len(events))
        link.publish(delivery, self._topics.batch, parcel.frame, properties, now)
        link.events.extend((delivery, message) for message in events)
        self._send_events(link, now)

    def _send_events(self, link: Link, now: float) -> None:
        while link.events and not link.full:
            delivery, message = link.events.popleft()
            properties = self._messages.event_properties()
            link.publish(delivery, self._topics.event, message, properties, now)

    def _send_state(self, link: Link, now: float, *, online: bool) -> int:
        payload = self._messages.state(link.birth, online=online)
        return link.publish(None, self._topics.state, payload, None, now, retain=True)

    # -- driven by the loop

    def watch(self) -> dict[int, int]:
        if self._connector is not None:
            return self._connector.watch()
        if self._link is None or self._link.client.socket() is None:
            return {}
        writing = selectors.EVENT_WRITE if self._link.client.want_write() else 0
        return {self._link.client.connection.fileno(): selectors.EVENT_READ | writing}

    def handle(self, fd: int, now: float) -> None:
        if self._connector is not None:
            self._connector.handle(fd, now)
            self._follow_connector(now)
            return
        link = self._link
        if link is None:
            return
        try:
            link.exchange(now)
        except Exception as error:
            # The border of a ship attempt: paho raises all sorts of errors at packets that are
            # none.
            self._counters.add("edgemon_ship_errors_total", reason="not_mqtt")
            self._fail(self._portal() or f"{self._where} sent what is not MQTT: {error!r}")
            return
        if portal := self._portal():
            self._fail(portal)
            return
        self._digest(now)

    def _portal(self) -> str:
        """What to say of a web server that answers in the broker's place; "" for anything else."""
        link = self._link
        if link is None or link.connected or not link.client.connection.beginning.startswith(HTTP):
            return ""
        return (
            f"{self._where} answers in HTTP: a captive portal or a proxy stands between, or this is "
            "no broker's port (mqtt.port)"
        )

    def tick(self, now: float) -> None:
        if self._connector is not None:
            self._connector.tick(now)
            self._follow_connector(now)
            return
        link = self._link
        if link is None:
            return
        if not link.connected:
            if now >= self._connack_deadline:
                self._fail(f"{self._where} does not answer our CONNECT in time")
        elif now >= link.ack_deadline():
            waited_s = link.still_for_s(now)
            self._fail(f"{self._where} acknowledges nothing (waited {waited_s:.0f} s)")
        elif now >= link.keep_alive_due():
            link.keep_alive(now)
            self._digest(now)

    def deadline(self) -> float:
        if self._connector is not None:
            return self._connector.deadline()
        if self._link is None:
            return NEVER
        if not self._link.connected:
            return self._connack_deadline
        return min(self._link.keep_alive_due(), self._link.ack_deadline())

    def announce(self, now: float) -> None:
        if self._link is not None and self._confirmed:
            self._send_state(self._link, now, online=True)

    def stop(self, now: float) -> None:
        link = self._link
        if link is None or not link.connected:
            self.close()
            self._events.on_down("")
            return
        link.events.clear()
        link.offline_mid = self._send_state(link, now, online=False)

    def close(self) -> None:
        """Without DISCONNECT, so that the broker publishes the will."""
        if self._connector is not None:
            self._connector.close()
            self._connector = None
        link, self._link = self._link, None
        if link is not None and self._courier is not None:
            self._courier.on_down()
        if link is not None:
            self._count_bytes(link)
            link.client.connection.close()

    def _count_bytes(self, link: Link) -> None:
        """As they move: a connection may last for months."""
        sent, received = link.uncounted()
        if sent:
            self._counters.add("edgemon_ship_sent_bytes_total", sent)
        if received:
            self._counters.add("edgemon_ship_received_bytes_total", received)

    def _fail(self, reason: str) -> None:
        self.close()
        self._events.on_down(reason)

    # -- what paho reported

    def _digest(self, now: float) -> None:
        link = self._link
        if link is not None:
            self._count_bytes(link)
        while link is not None and link is self._link and link.happenings:
            link.happenings.popleft()(now)

    def _connack(
        self, link: Link, reason: ReasonCode, properties: Properties | None, now: float
    ) -> None:
        if reason.is_failure:
            link.refusal = reasons.explain_connack(
                reason, self._where, self._client_id(), self._mqtt.version
            )
            return  # paho reports the end of the connection next
        link.connected = True
        link.window = min(link.window, getattr(properties, "ReceiveMaximum", link.window))
        link.max_packet_bytes = getattr(properties, "MaximumPacketSize", NEVER)
        if self._confirmed:
            link.subscribe(self._topics.ack)
        self._send_state(link, now, online=True)
        self._events.on_up()
        if self._courier is not None:
            link.subscribe(self._topics.desired)
            self._courier.on_up(lambda report: self._send_report(link, report), now)

    def _send_report(self, link: Link, report: bytes) -> None:
        if packet_bytes(self._topics.reported, report, None) > link.max_packet_bytes:
            self._counters.add("edgemon_ship_errors_total", reason="report_too_large")
        elif link is self._link and not link.offline_mid:
            now = time.monotonic()
            link.publish(None, self._topics.reported, report, None, now, retain=True)

    def _suback(self, link: Link, mid: int, codes: list[ReasonCode]) -> None:
        topic = link.subscriptions.pop(mid, "")
        refused = next((code for code in codes if code.is_failure), None)
        line = f"{self._where} refuses our subscription to {topic}"
        if refused is not None and topic == self._topics.ack:
            self._fail(f"{line} (ship.confirm): {refused.getName()}")
        elif refused is not None:  # batches are worth more than what might be desired
            self._counters.add("edgemon_ship_errors_total", reason="desired_refused")
            log.warning(f"{line} (remote.enabled): {refused.getName()}")
        if topic == self._topics.desired and self._courier is not None:
            self._courier.on_subscribed()

    def _on_message(self, message: paho.MQTTMessage) -> None:
        if self._courier is not None and message.topic == self._topics.desired:
            self._courier.on_message(bytes(message.payload))
        else:
            self._ack_message(message)

    def _ack_message(self, message: paho.MQTTMessage) -> None:
        """Whoever may publish there may free batches: the broker's access rules are the guard."""
        try:
            if message.topic != self._topics.ack:
                raise DamagedError(f"a message on {message.topic!r}")
            stream, stored = acks.decode(bytes(message.payload))
        except (DamagedError, UnicodeDecodeError) as error:
            self._counters.add("edgemon_ship_ignored_acks_total", reason="damaged")
            log.warning("a confirmation is ignored", reason=error)
            return
        self._events.on_confirmed(stream, stored)

    def _puback(self, link: Link, mid: int, reason: ReasonCode, now: float) -> None:
        sent = link.acknowledged(mid, now)
        if sent is None:
            return
        if mid == link.offline_mid:
            link.client.disconnect()  # paho reports the end once that is written
            return
        if reason.is_failure and not self._survives_refusal(sent, reason):
            return
        delivery = sent.delivery
        if delivery is not None and not delivery.refused:
            delivery.missing -= 1
            if not delivery.missing:
                self._events.on_ack(delivery.key)
        if not link.offline_mid:
            self._send_events(link, now)

    def _survives_refusal(self, sent: Sent, reason: ReasonCode) -> bool:
        """Whether a PUBACK that says no leaves the connection in use."""
        line = f"{self._where} refuses a message on {sent.topic}: {reason.getName()}"
        if sent.topic != self._topics.batch or sent.delivery is None:
            # State and event messages are copies of what batches say: not worth holding those back.
            self._counters.add("edgemon_ship_errors_total", reason="copy_refused")
            log.warning(line)
            return True
        if reasons.concerns_message(reason):
            sent.delivery.refused = True
            self._events.on_refused(sent.delivery.key, line)
            return True
        self._fail(line)  # not allowed, or too much: the next batch would be refused as well
        return False

    def _disconnected(self, link: Link, told: bool, reason: ReasonCode) -> None:
        stopping, connected = bool(link.offline_mid), link.connected
        if not link.refusal and link.client.connection.beginning == reasons.NO_MQTT_3_1_1:
            link.refusal = f'{self._where} does not speak MQTT 3.1.1; set mqtt.version = "5"'
        # A refusal ends with that code too.
        garbled = not (told or link.refusal) and reason.value == reasons.PROTOCOL_ERROR
        if garbled:
            self._counters.add("edgemon_ship_errors_total", reason="not_mqtt")
        error = link.client.connection.error
        if error is not None and error.errno == errno.EMSGSIZE and self._courier is not None:
            # With MQTT 3.1.1 a broker does not know what we take; it would send it again and again.
            self._courier = None
            self._counters.add("edgemon_ship_errors_total", reason="desired_too_large")
            log.error(f"{self._where} retains what is too large; not subscribing to it any more")
        self.close()
        if stopping:
            self._events.on_down("")
        elif link.refusal:
            self._events.on_down(link.refusal)
        elif told:
            line = reasons.explain_disconnect(reason, self._where, self._client_id())
            self._events.on_down(line, by_peer=True)
        elif reason.value == reasons.KEEP_ALIVE_TIMEOUT:
            self._events.on_down(f"{self._where} does not answer the keep-alive")
        elif isinstance(error, ssl.SSLError):
            why = explain_tls(error, self._mqtt.host)
            self._events.on_down(f"TLS with {self._where}: {why}", by_peer=connected)
        elif not connected:
            self._events.on_down(
                reasons.explain_no_connack(
                    self._where, self._mqtt.version, self._mqtt.tls, garbled=garbled
                )
            )
        elif garbled:
            self._events.on_down(f"{self._where} sent what is not MQTT")
        else:
            why = f": {error.strerror}" if error is not None and error.strerror else ""
            self._events.on_down(f"{self._where} closed the connection{why}", by_peer=True)
