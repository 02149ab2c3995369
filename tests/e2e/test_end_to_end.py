"""The main job with real processes and a real broker: socket to database, through an outage and a crash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import EVERYTHING_SHIPPED, Application, Device, Receiver, prediction
from tests.servers import Mosquitto, wait_for

PREDICTIONS = 100_000
CHUNK = 5_000
BROKER_GONE, AGENT_KILLED, BROKER_BACK = 40_000, 55_000, 70_000


@pytest.fixture
def device(short_tmp: Path, mosquitto: Mosquitto) -> Iterator[Device]:
    with Device(short_tmp, EVERYTHING_SHIPPED.format(port=mosquitto.port)) as made:
        made.start()
        yield made


@pytest.mark.mosquitto
def test_every_acknowledged_prediction_is_stored_exactly_once(
    mosquitto: Mosquitto, receiver: Receiver, device: Device
) -> None:
    application = Application(device)
    trials = {
        BROKER_GONE: mosquitto.stop,
        AGENT_KILLED: application.outlive_agent,
        BROKER_BACK: mosquitto.start,
    }
    application.send_through(PREDICTIONS, CHUNK, trials)
    wait_for(lambda: receiver.count("predictions") >= PREDICTIONS, 90, "all predictions are stored")
    assert device.stop() == 0
    kinds = {"event": "events", "agg": "windows", "sys": "samples", "pred": "predictions"}
    everything_durable = last_numbers(device)
    everything = [(kind, last) for kind, last in sorted(everything_durable.items())]
    wait_for(
        lambda: (
            receiver.query("SELECT kind, count(*) FROM batches GROUP BY kind ORDER BY kind")
            == everything
        ),
        30,
        f"the database holds {everything}",
    )
    assert receiver.stop() == 0

    # Each prediction once, with the values that the application sent.
    rows = receiver.query(
        "SELECT prediction_id, model, version, output_number, latency_s, features FROM predictions"
    )
    assert len(rows) == PREDICTIONS == application.acknowledged
    by_id = {int(row[0]): row for row in rows}
    assert by_id.keys() == set(range(PREDICTIONS))
    for number in range(0, PREDICTIONS, 997):
        sent = prediction(number)
        assert by_id[number][1:5] == (
            sent["model"],
            str(sent["version"]),
            sent["output"],
            sent["latency"],
        )
        assert json.loads(by_id[number][5]) == sent["features"]

    # Table by table: what the batches say they hold is what the tables hold; the numbers have no hole.
    for kind, table in kinds.items():
        told, batches, last = receiver.query(
            f"SELECT sum(rows), count(*), max(seq) FROM batches WHERE kind = '{kind}'"
        )[0]
        assert batches == last == everything_durable[kind]
        held = receiver.query(f"SELECT count(*) FROM (SELECT DISTINCT batch, row FROM {table})")[0][
            0
        ]
        assert held == told, table
    assert receiver.query("SELECT count(*) FROM events WHERE type = 'gap'") == [(0,)]

    # Of the aggregates, only the windows that were open when the agent was killed are missing.
    counted = receiver.query("SELECT sum(n) FROM windows WHERE stream = ''")[0][0]
    assert PREDICTIONS - AGENT_KILLED <= counted <= PREDICTIONS
    starts = receiver.query("SELECT count(*) FROM events WHERE type = 'agent.started'")
    assert starts == [(2,)]


def last_numbers(device: Device) -> dict[str, int]:
    """Kind -> the last batch's number, from the spool of a device that has stopped."""
    import subprocess

    from tests.e2e.harness import EDGEMON

    listing = subprocess.run(
        [*EDGEMON, "spool", "ls", "--json"],
        cwd=device.folder,
        capture_output=True,
        check=True,
        text=True,
    )
    report: dict[str, Any] = json.loads(listing.stdout)
    return {kind: numbers["durable_seq"] for kind, numbers in report["kinds"].items()}
