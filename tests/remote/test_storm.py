"""Minutes of kill -9 at random, of either half, while an operator keeps sending: nothing old ever comes back."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from edgemon.config.remembered import read
from edgemon.control import request
from edgemon.errors import EdgemonError
from tests.remote.device import Device, message
from tests.remote.test_fleet import Operator
from tests.servers import Mosquitto, wait_for

pytestmark = pytest.mark.slow
SECONDS = 60.0


def pids(device: Device) -> list[int]:
    found = []
    for name in ("agent.sock", "ship.sock"):
        with suppress(EdgemonError):
            found.append(
                int(str(request(str(device.folder / name), {"cmd": "status"}, 2.0)["pid"]))
            )
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_at_random_while_messages_come(
    mosquitto: Mosquitto, short_tmp: Path, seed: int
) -> None:
    chance = random.Random(seed)
    device = Device(short_tmp, mosquitto.port, confirm="3s")
    operator = Operator(mosquitto, device)
    program = device.run("run")
    try:
        operator.await_status("none", 0)
        revision, highest, kills, applied = 0, 0, 0, 0
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if chance.random() < 0.4:
                revision += 1
                operator.publish(message(revision, f"[batch]\nmax_rows = {revision}\n"))
            wait_until = time.monotonic() + chance.random() * 3.0
            while time.monotonic() < wait_until:
                remembered = read(str(device.folder))  # whole at every moment
                assert highest <= remembered.revision <= revision
                highest = remembered.revision
                over = remembered.in_force
                assert over is None or over.text == f"[batch]\nmax_rows = {over.revision}\n"
                applied = max(applied, over.revision if over is not None else 0)
            if chance.random() < 0.5:
                for pid in pids(device):
                    if chance.random() < 0.6:
                        with suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                            kills += 1
        assert kills > 3 and applied > 0, (kills, applied)
        # In the calm after it, the last message passes or is known to be bad, and both halves say the same.
        revision += 1
        operator.publish(message(revision, f"[batch]\nmax_rows = {revision}\n"))
        operator.await_status("applied", revision)
        wait_for(lambda: device.ask("status") is not None)
        assert device.report()["in_force"] == revision
        config = request(str(device.folder / "ship.sock"), {"cmd": "status"}, 10.0)["config_hash"]
        assert config == device.report()["config"]
        revisions = [report["revision"] for report in operator.reports()]
        assert revisions == sorted(revisions)  # what was reported never fell either
        assert device.stop(program) == 0
    finally:
        operator.listener.close()
        device.kill()
