"""What EdgeMonitor and a running agent let out, also after a change of the configuration."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

from edgemon import EdgeMonitor
from tests.e2e.harness import Device
from tests.e2e.test_drain import TOML
from tests.monitor.helpers import log, received, write_config
from tests.servers import wait_for


def test_ids_and_denied_features_stay_inside_after_a_change_while_it_runs(short_tmp: Path) -> None:
    config = write_config(short_tmp)
    config.write_text(
        config.read_text().replace(
            'capture = "all"\n', 'capture = "all"\nredact = { hash_ids = true, deny = ["shop"] }\n'
        )
    )
    with EdgeMonitor(config) as monitor:
        keys = log(monitor, range(5))
        monitor.log_truth(keys[0], "fraud", name="fraud")
        assert monitor.flush("memory", 30)
        monitor.set_reference_data("number", [float(n % 7) for n in range(2_000)], "fraud")
        keys += log(monitor, range(5, 10))
        monitor.log_truth(keys[5], "fraud", name="fraud")
    found = received(short_tmp, "SELECT prediction_id, features FROM predictions")
    assert len(found) == 10
    assert not {identifier for identifier, _ in found} & set(keys)
    assert all(list(json.loads(features)) == ["number"] for _, features in found)
    joined = "SELECT p.output_number FROM labels l JOIN predictions p USING (prediction_id)"
    assert sorted(received(short_tmp, joined)) == [(0.0,), (2.5,)]


def test_a_reload_that_asks_for_hashed_ids_hashes_them_from_then_on(short_tmp: Path) -> None:
    device = Device(short_tmp, TOML + 'capture = "all"\n')
    device.start()
    file = short_tmp / "edgemon.toml"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30.0)
        client.connect(str(device.run_dir / "ingest.sock"))

        def send(identifier: str) -> None:
            event = {"model": "m", "output": 1, "id": identifier}
            client.sendall(json.dumps(event).encode() + b'\n{"ack":1,"level":"disk"}\n')
            assert b"disk" in client.recv(1000)

        send("before")
        file.write_text(file.read_text() + "redact = { hash_ids = true }\n")
        assert device.process is not None
        device.process.send_signal(signal.SIGHUP)
        wait_for(lambda: (device.status() or {})["config"]["last_reload"] == "applied")
        send("after")
    assert device.stop() == 0
    identifiers = {str(row["id"]) for row in device.rows_left("pred")}
    assert len(identifiers) == 2
    [hashed] = identifiers - {"before"}
    assert len(hashed) == 24
    assert int(hashed, 16)
