"""The end of an agent, and what clients had written by then."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
from pathlib import Path

import pytest

from tests.e2e.harness import Device

TOML = '[system]\nenabled = false\n[ship]\nsink = "file"\ndrain_timeout = "30s"\n[models."*"]\n'


def connect(device: Device) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30.0)
    client.connect(str(device.run_dir / "ingest.sock"))
    return client


@pytest.mark.parametrize("accepted", [True, False])
def test_what_was_written_before_sigterm_is_stored_and_its_acks_are_answered(
    short_tmp: Path, accepted: bool
) -> None:
    device = Device(short_tmp, TOML + 'capture = "all"\n')
    device.start()
    client = connect(device)
    if accepted:
        client.sendall(b'{"ack":0}\n')
        assert client.recv(100)
    pid = (device.status() or {})["pid"]
    os.kill(pid, signal.SIGSTOP)  # it sees all of this at once
    late = client if accepted else connect(device)
    lines = [json.dumps({"model": "m", "output": 1, "id": number}) for number in range(1_500)]
    late.sendall("\n".join(lines).encode() + b'\n{"ack":1,"level":"disk"}\n')
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGCONT)
    answer = b""
    while chunk := late.recv(1000):
        answer += chunk
    assert json.loads(answer) == {"ack": 1, "level": "disk"}
    client.close()
    late.close()
    device.stop()
    assert sorted(int(str(row["id"])) for row in device.rows_left("pred")) == list(range(1_500))


def test_a_stop_with_all_buffers_full_loses_nothing(short_tmp: Path) -> None:
    """What many clients have written is more than the writer's queue holds: it writes while the rest is read."""
    device = Device(short_tmp, TOML + 'capture = "all"\n')
    device.start()
    clients = [connect(device) for _ in range(60)]
    for client in clients:
        client.sendall(b'{"ack":0}\n')
        assert client.recv(100)
        client.setblocking(False)
    pid = (device.status() or {})["pid"]
    os.kill(pid, signal.SIGSTOP)
    noise = random.Random(1)
    events = (
        {"model": "m", "output": 1, "features": [noise.random() for _ in range(20)]}
        for _ in range(1000)
    )
    lines = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    sent = 0
    for client in clients:
        size = 0
        with contextlib.suppress(BlockingIOError):
            while size < len(lines):
                size += client.send(lines[size:])
        sent += lines[:size].count(b"\n")
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGCONT)
    assert device.stop() == 0
    for client in clients:
        client.close()
    assert sent > 15_000
    assert len(device.rows_left("pred")) == sent


def test_a_reservoir_leaves_at_a_clean_stop_with_ids_that_its_labels_share(
    short_tmp: Path,
) -> None:
    device = Device(
        short_tmp,
        TOML + 'capture = { reservoir = 20 }\nredact = { hash_ids = true, deny = ["name"] }\n',
    )
    device.start()
    client = connect(device)
    events: list[dict[str, object]] = []
    for number in range(500):
        features = {"name": f"Ada {number}", "age": number}
        events.append({"model": "m", "output": 1.5, "id": number, "features": features})
        events.append({"model": "m", "id": number, "label": 1})
    client.sendall("\n".join(map(json.dumps, events)).encode() + b'\n{"ack":1,"level":"disk"}\n')
    assert json.loads(client.recv(1000)) == {"ack": 1, "level": "disk"}
    client.close()
    assert device.stop() == 0
    found = device.rows_left("pred")
    labels = {str(row["id"]) for row in found if row.get("label") is not None}
    captured = [row for row in found if row.get("output") is not None]
    assert (len(labels), len(captured)) == (500, 20)
    assert {row["w"] for row in captured} == {25.0}
    assert {str(row["id"]) for row in captured} <= labels
    assert not any("f:name" in row and row["f:name"] is not None for row in captured)
    stored = b"".join(path.read_bytes() for path in short_tmp.rglob("*") if path.is_file())
    assert b"Ada" not in stored
