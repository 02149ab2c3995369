"""Real servers on loopback for the tests: Mosquitto, nats-server, and a proxy that misbehaves.

Each has start(), stop(), kill() and restart() on one port and one data folder; start() returns when
the server answers. Nothing sleeps for a fixed time as a synchronisation: `wait_for` polls.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import selectors
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgemon.demo.children import HOST as HOST
from edgemon.demo.children import mosquitto_program as mosquitto_program
from edgemon.demo.children import nats_program as nats_program

T = TypeVar("T")


def wait_for(condition: Callable[[], T], timeout_s: float = 20.0, what: str = "") -> T:
    """Poll until `condition()` is true and return its value; AssertionError at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what or condition}")
        time.sleep(0.01)
    return value


# Below those that the kernel gives away; as many for each worker of a run, which no other takes.
_PORTS_FROM, _PORTS_OF_ONE, _WORKERS = 10_000, 2_000, 11
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
_drawn = itertools.cycle(random.SystemRandom().sample(range(_PORTS_OF_ONE), _PORTS_OF_ONE))


def free_port() -> int:
    """A TCP port on loopback that is free, and stays so until its server starts, or starts again."""
    for offset in itertools.islice(_drawn, 100):
        port = _PORTS_FROM + _PORTS_OF_ONE * _worker + offset
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind((HOST, port))
            return port
    raise AssertionError("no free port among a hundred")


def heed_ctrl_c() -> None:
    """For a child, before it is executed: what the tests start in the background would ignore SIGINT as they do."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Server:
    """A server process with a port and a folder; what it prints goes to <folder>/log."""

    host = HOST

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        assert self.process is None, "already started"
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_for(self._answers, what=f"{self.command()[0]} answers on port {self.port}")

    def stop(self) -> None:
        """A clean stop: SIGTERM, then wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a power cut would: SIGKILL, then wait."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def _end(self, number: int) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"{self.command()[0]} ended at once:\n{self.log()}")
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        return True


class Mosquitto(Server):
    """Debian's Mosquitto: MQTT 5 and 3.1.1.

    settings: further lines of mosquitto.conf, e.g. "max_packet_size 1000".
    users: name -> password; given, anonymous clients are refused.
    persistence: keep retained messages and queues of persistent sessions over restart().
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: str = "",
        users: dict[str, str] | None = None,
        persistence: bool = True,
    ) -> None:
        super().__init__(folder)
        self._settings = settings
        self._persistence = persistence
        self._users = users
        self.write_config()

    def write_config(self) -> None:
        lines = [
            f"listener {self.port} {HOST}",
            "user root",
            f"allow_anonymous {'false' if self._users else 'true'}",
            "max_queued_messages 0",
            "log_dest stderr",
            "log_type all",
            "connection_messages true",
        ]
        if self._persistence:
            lines += ["persistence true", f"persistence_location {self.folder}/"]
        if self._users:
            passwords = self.folder / "passwords"
            passwords.write_text("".join(f"{user}:{word}\n" for user, word in self._users.items()))
            subprocess.run(
                ["mosquitto_passwd", "-U", str(passwords)], check=True, capture_output=True
            )
            lines.append(f"password_file {passwords}")
        (self.folder / "mosquitto.conf").write_text("\n".join([*lines, self._settings, ""]))

    def command(self) -> list[str]:
        return [mosquitto_program() or "mosquitto", "-c", str(self.folder / "mosquitto.conf")]


class Nats(Server):
    """nats-server with JetStream and its MQTT listener: MQTT 3.1.1 only, no root needed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "nats.conf").write_text(
            f'server_name: "edgemon-test"\nlisten: "{HOST}:{free_port()}"\n'
            f'jetstream {{ store_dir: "{folder}/jetstream" }}\n'
            f'mqtt {{ listen: "{HOST}:{self.port}" }}\n'
        )

    def command(self) -> list[str]:
        return [nats_program() or "nats-server", "-c", str(self.folder / "nats.conf")]

    def _answers(self) -> bool:
        # JetStream elects itself after the port is open; until then an MQTT CONNECT is refused.
        if not super()._answers():
            return False
        return "Server is ready" in self.log() and _connects(self.port)


def _connects(port: int) -> bool:
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id="probe", protocol=MQTTProtocolVersion.MQTTv311
    )
    try:
        client.connect(HOST, port)
        deadline = time.monotonic() + 1.0
        while not client.is_connected() and time.monotonic() < deadline:
            if client.loop(0.05):
                return False
        return client.is_connected()
    except OSError:
        return False
    finally:
        client.disconnect()


class Received(NamedTuple):
    """One message that a Listener got. properties: MQTT 5 user properties."""

    topic: str
    payload: bytes
    retained: bool
    properties: dict[str, str]


class Listener:
    """A second client that subscribes (QoS 1) and keeps what it gets, with paho's own thread.

    session: a name, so that the broker keeps for it what comes while it is away (MQTT 5).
    """

    def __init__(
        self,
        port: int,
        topic: str = "#",
        *,
        mqtt5: bool = True,
        username: str | None = None,
        password: str | None = None,
        session: str = "",
    ) -> None:
        protocol = MQTTProtocolVersion.MQTTv5 if mqtt5 else MQTTProtocolVersion.MQTTv311
        self.messages: list[Received] = []
        self._topic = topic
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, session, protocol=protocol)
        self._client.username_pw_set(username, password)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_disconnect = lambda *_: self._ready.clear()
        self._client.on_message = self._on_message
        if session:
            kept = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            kept.SessionExpiryInterval = 3600
            self._client.connect(HOST, port, clean_start=False, properties=kept)
        else:
            self._client.connect(HOST, port)
        self._client.loop_start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until it is subscribed (again, after the broker came back)."""
        assert self._ready.wait(20), "the listener could not subscribe"

    def on(self, ending: str) -> list[Received]:
        """Messages so far whose topic ends so, in order of arrival."""
        return [message for message in list(self.messages) if message.topic.endswith(ending)]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, *_: object) -> None:
        self._client.subscribe(self._topic, qos=1)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        pairs = getattr(message.properties, "UserProperty", []) if message.properties else []
        self.messages.append(
            Received(message.topic, bytes(message.payload), message.retain, dict(pairs))
        )


class Proxy:
    """A TCP proxy that can swallow, refuse and cut: the network of a bad day.

    swallow_down: nothing from the server reaches the client (it accepts and never acknowledges).
    swallow_up: nothing from the client reaches the server.
    refuse: new connections are closed at once.
    cut(): close every connection.
    cut_after_bytes: cut once when so many more bytes went up, then go on as before.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.swallow_down = False
        self.swallow_up = False
        self.refuse = False
        self.cut_after_bytes: int | None = None
        self.accepted = 0
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._clients: set[socket.socket] = set()
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._wake_r, self._wake_w = socket.socketpair()
        self._orders: list[str] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_r, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._loop)
        self._thread.start()

    def cut(self) -> None:
        self._order("cut")

    def close(self) -> None:
        self._order("close")
        self._thread.join(20)

    def _order(self, order: str) -> None:
        self._orders.append(order)
        self._wake_w.send(b"x")

    def _loop(self) -> None:
        while True:
            for key, _ in self._selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._wake_r:
                    sock.recv(1)
                    order = self._orders.pop(0)
                    self._cut_all()
                    if order == "close":
                        self._listener.close()
                        self._wake_r.close()
                        self._wake_w.close()
                        self._selector.close()
                        return
                elif sock is self._listener:
                    self._accept()
                elif sock in self._pairs:
                    self._forward(sock)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        self.accepted += 1
        try:
            if self.refuse:
                raise ConnectionRefusedError
            server = socket.create_connection((HOST, self.target_port), timeout=5)
        except OSError:
            client.close()
            return
        self._pairs[client], self._pairs[server] = server, client
        self._clients.add(client)
        for sock in (client, server):
            self._selector.register(sock, selectors.EVENT_READ)

    def _forward(self, sock: socket.socket) -> None:
        other = self._pairs[sock]
        up = sock in self._clients
        try:
            data = sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._cut_one(sock)
            return
        if up and self.cut_after_bytes is not None:
            data = data[: self.cut_after_bytes]
            self.cut_after_bytes -= len(data)
        if not (self.swallow_up if up else self.swallow_down):
            try:
                other.sendall(data)
            except OSError:
                self._cut_one(sock)
                return
        if self.cut_after_bytes == 0:
            self.cut_after_bytes = None
            self._cut_all()

    def _cut_one(self, sock: socket.socket) -> None:
        other = self._pairs.pop(sock)
        self._pairs.pop(other)
        for end in (sock, other):
            self._clients.discard(end)
            self._selector.unregister(end)
            end.close()

    def _cut_all(self) -> None:
        while self._pairs:
            self._cut_one(next(iter(self._pairs)))
