"""A full disk for real: the agent lives, takes predictions, evicts by priority, and recovers when there is room."""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.disks import Agent, Disk, Stream, mounted, needs_root, rows
from tests.servers import wait_for

pytestmark = needs_root
SEGMENT_BYTES = 256 << 10
CONFIG = '[spool]\ndir = "disk/spool"\nsegment_size = "256KiB"\n'


def wide(number: int, noise: random.Random) -> bytes:
    """A prediction that zstd cannot make smaller than some 300 bytes."""
    features = [noise.random() for _ in range(40)]
    line = {"model": "m", "id": number, "output": noise.random(), "features": features}
    return json.dumps(line).encode() + b"\n"


def flood(
    agent: Agent, first: int, seconds: float, until: Callable[[], bool], every: Callable[[], None]
) -> int:
    """Send wide predictions, a hundred at a time and each hundred acknowledged, until it is enough.

    Returns the number of the next one.
    """
    noise = random.Random(first)
    deadline = time.monotonic() + seconds
    with agent.connect() as client:
        answers = client.makefile("rb")
        while not until():
            assert time.monotonic() < deadline, "the disk was not filled in time"
            client.sendall(b"".join(wide(number, noise) for number in range(first, first + 100)))
            client.sendall(b'{"ack":%d,"level":"disk"}\n' % first)
            answer: dict[str, Any] = json.loads(answers.readline())
            assert answer["ack"] == first, answer
            first += 100
            every()
    return first


def lost(agent: Agent, reason: str) -> int:
    found = agent.status()["spool"]["lost"].get(reason, {"batches": 0})
    return int(found["batches"])


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_on_a_full_disk_the_agent_lives_evicts_by_priority_and_recovers(kind: str) -> None:
    with mounted(kind, 4 if kind == "tmpfs" else 10) as disk:
        assert isinstance(disk, Disk)
        agent = Agent(disk, CONFIG)
        try:
            agent.start()
            if kind == "ext4":
                disk.fill(leave_bytes=3 << 20)
            # Full by our own data: the oldest predictions go, and nothing else does.
            first = flood(agent, 0, 120.0, lambda: lost(agent, "disk_full") >= 3, lambda: None)
            status = agent.status()
            assert status["ingest"]["predictions"] == first
            assert agent.wait_until_durable()["level"] == "disk"
            kinds = {name: rows(agent.directory, name) for name in ("event", "agg", "pred")}
            assert {row["type"] for row in kinds["event"]} >= {"agent.started", "gap"}
            kept = sorted(int(row["id"]) for row in kinds["pred"])
            gone = [json.loads(row["data"]) for row in kinds["event"] if row["type"] == "gap"]
            assert {gap["kind"] for gap in gone} == {"pred"}
            assert min(kept) > 0
            assert len(kept) + sum(gap["rows"] for gap in gone) >= max(kept) + 1

            # Full by somebody else, who takes every byte as it comes.
            begun = time.monotonic()
            while time.monotonic() < begun + 2.0:
                disk.fill()
                send(agent, first)
                first += 100
            assert agent.status()["ingest"]["predictions"] == first
            assert agent.process is not None and agent.process.poll() is None

            # Room again.
            disk.empty()
            wait_for(lambda: agent.wait_until_durable()["level"] == "disk", what="it recovers")
            stream = Stream(agent, first, 500)
            stream.run(1.0)
            assert agent.wait_until_durable()["level"] == "disk"
            assert agent.status()["spool"]["failure"] == ""
            assert agent.stop() == 0
            last = {int(row["id"]) for row in rows(agent.directory, "pred")}
            assert last.issuperset(range(stream.first, stream.next))
        finally:
            agent.kill()


def send(agent: Agent, first: int) -> None:
    noise = random.Random(first)
    with agent.connect() as client:
        client.sendall(b"".join(wide(number, noise) for number in range(first, first + 100)))
        client.sendall(b'{"ack":1,"level":"memory"}\n')
        client.makefile("rb").readline()


def test_max_size_is_never_exceeded_by_more_than_a_segment() -> None:
    with mounted("ext4", 32) as disk:
        assert isinstance(disk, Disk)
        agent = Agent(disk, CONFIG + 'max_size = "1MiB"\n')
        largest = 0

        def size() -> None:
            nonlocal largest
            folders = ("0-event", "1-agg", "2-sys", "3-pred", "journal")
            largest = max(largest, sum(disk.used_bytes(f"spool/{name}") for name in folders))

        try:
            agent.start()
            flood(agent, 0, 120.0, lambda: lost(agent, "max_size") >= 30, size)
            assert (1 << 20) - 2 * SEGMENT_BYTES < largest <= (1 << 20) + SEGMENT_BYTES
            assert agent.stop() == 0
        finally:
            agent.kill()


def test_with_block_applications_wait_until_there_is_room_and_nothing_is_lost() -> None:
    with mounted("ext4", 32) as disk:
        assert isinstance(disk, Disk)
        agent = Agent(disk, CONFIG + 'max_size = "2MiB"\nwhen_full = "block"\n')
        noise = random.Random(1)
        try:
            agent.start()
            client = agent.connect()
            client.settimeout(2.0)
            with client:
                unsent = b"".join(wide(number, noise) for number in range(20_000))
                while not agent.status()["spool"]["held_back"]:
                    with contextlib.suppress(TimeoutError):  # or the machine is slow
                        unsent = unsent[client.send(unsent[:4096]) :]
                    assert unsent, "nobody was made to wait"
                with pytest.raises(TimeoutError):
                    client.sendall(unsent)
            status = agent.status()
            assert status["spool"]["held_back"]
            assert status["spool"]["lost"] == {}
            assert any(row["type"] == "spool.full" for row in rows(agent.directory, "event"))
            deliver_everything(agent)
            wait_for(lambda: not agent.status()["spool"]["held_back"], what="room again")
            assert agent.wait_until_durable()["level"] == "disk"
            assert agent.status()["ingest"]["predictions"] >= status["ingest"]["predictions"]
            assert agent.stop() == 0
        finally:
            agent.kill()


def deliver_everything(agent: Agent) -> None:
    """Move the cursor, as a shipper would. The agent is not told: it looks for room itself while applications wait."""
    from edgemon.spool.cursor import Cursor
    from edgemon.spool.fs import OsFileSystem
    from edgemon.spool.watermark import read_watermark

    fs = OsFileSystem()
    mark = read_watermark(fs, agent.directory)
    assert mark is not None
    cursor = Cursor(fs, agent.directory)
    for kind, seq in mark.durable.items():
        cursor.advance(kind, seq)
    cursor.store()
    cursor.close()
