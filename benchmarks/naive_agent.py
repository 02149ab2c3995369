"""The agent that one writes in an afternoon, to be measured beside ours: asyncio, json.loads, msgpack + zstd for
every 500 events, a file with fsync, MQTT with QoS 1. No statistics, no limits.

    python -m benchmarks.naive_agent SOCKET FILE PORT

An empty line is answered once all before it is in the file and acknowledged by the broker.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

import msgpack
import paho.mqtt.client as mqtt
import zstandard
from paho.mqtt.enums import CallbackAPIVersion

BATCH = 500


class NaiveAgent:
    def __init__(self, path: str, port: int) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._zstd = zstandard.ZstdCompressor(level=3)
        self._events: list[object] = []
        self._waiting: list[mqtt.MQTTMessageInfo] = []
        self._broker = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._broker.max_inflight_messages_set(0)
        self._broker.connect("127.0.0.1", port)
        self._broker.loop_start()

    def take(self, line: bytes) -> None:
        self._events.append(json.loads(line))
        if len(self._events) >= BATCH:
            self._flush()

    def _flush(self) -> None:
        frame = self._zstd.compress(msgpack.packb(self._events))
        self._events = []
        os.write(self._fd, len(frame).to_bytes(4, "little") + frame)
        os.fsync(self._fd)
        self._waiting.append(self._broker.publish("naive/events", frame, qos=1))
        self._waiting = [message for message in self._waiting if not message.is_published()]

    async def finish(self) -> None:
        if self._events:
            self._flush()
        while any(not message.is_published() for message in self._waiting):
            await asyncio.sleep(0.01)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line == b"\n":
                await self.finish()
                writer.write(b"done\n")
                await writer.drain()
            else:
                self.take(line)
        writer.close()


async def run(socket_path: str, file: str, port: int) -> None:
    agent = NaiveAgent(file, port)
    server = await asyncio.start_unix_server(agent.serve, socket_path, limit=1 << 20)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
