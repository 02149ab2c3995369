"""A batch that the broker will never take: quarantined by the shipper, told as a gap by the agent."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

from edgemon import wire
from tests.e2e.harness import Device
from tests.servers import Listener, Mosquitto, wait_for


def test_a_refused_batch_becomes_a_gap_event(mosquitto_folder: Path, short_tmp: Path) -> None:
    broker = Mosquitto(mosquitto_folder, settings="max_packet_size 3000")
    broker.start()
    device = Device(
        short_tmp,
        f'device = "cam-7"\n[system]\nenabled = false\n[batch]\nmax_age = "100ms"\n'
        f'[models."*"]\ncapture = "all"\n[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n'
        '[ship]\ninitial_interval = "20ms"\nmax_interval = "50ms"\n',
    )
    listener = Listener(broker.port)
    try:
        device.start()
        text = random.Random(1).randbytes(4000).hex()  # too much for the broker even when packed
        lines = [json.dumps({"model": "m", "output": text[at : at + 4000]}) for at in (0, 4000)]
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(device.run_dir / "ingest.sock"))
            sock.sendall("\n".join(lines).encode() + b'\n{"ack":1,"level":"disk"}\n')
            sock.settimeout(20)
            assert b"error" not in sock.recv(1000)

        def told() -> list[dict[str, object]]:
            batches = [wire.decode(message.payload) for message in listener.on("/batch")]
            rows = [row for batch in batches for row in wire.rows_from_columns(batch)]
            return [json.loads(str(row["data"])) for row in rows if row.get("type") == "gap"]

        (gap,) = wait_for(told, what="the gap event")
        assert (gap["kind"], gap["from_seq"], gap["to_seq"]) == ("pred", 1, 1)
        assert (gap["reason"], gap["rows"]) == ("quarantined", 2)
    finally:
        device.stop()
        listener.close()
        broker.stop()
