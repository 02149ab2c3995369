"""What goes wrong with a device: what is done to it, and the event that must come out."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.collect.devices import RASPBERRY_PI, plant
from tests.failures.world import World
from tests.servers import wait_for

Act = Callable[[World], None]

STEP_CLOCK = Path(__file__).parent.parent / "e2e" / "step_clock.c"
SMALL_SPOOL = """
[spool]
max_size = "1MiB"
segment_size = "256KiB"
[models."*"]
capture = "all"
"""
DEVICE = """
[system]
interval = "1s"
root = "pi"
[system.anomalies]
method = "robust_z"
interval = "1s"
window = "20s"
min_duration = "2s"
"""


class DeviceFailure(NamedTuple):
    """act: from here it goes wrong.  twin: what resembles it and is well.  prepare: before the agent starts."""

    name: str
    what: str
    act: Act
    event: str
    twin: Act
    twin_is: str
    stream: str = ""
    settings: str = ""
    toml: str = ""
    system: str = "[system]\nenabled = false\n"
    prepare: Act | None = None

    def world(self, folder: Path, profiles: Path) -> World:
        """Where it will happen; not started."""
        made = World(
            folder, profiles, self.toml, seed=3, system=self.system, settings=self.settings
        )
        if self.prepare is not None:
            self.prepare(made)
        return made


def stop_and_start(world: World) -> None:
    world.stop()
    world.start()


def kill_agent(world: World) -> None:
    world.device.kill_agent()


def kill_device(world: World) -> None:
    """As a power cut leaves it: another boot, and nobody said goodbye."""
    process, status = world.device.process, world.device.status()
    assert process is not None and status is not None
    process.kill()
    os.kill(status["pid"], signal.SIGKILL)
    process.wait()
    wait_for(lambda: world.device.status("ship") is None, what="the shipper is gone too")
    (world.device.folder / "state" / "running").write_text("0" * 32)
    world.start()


def _stop_with_batches(world: World) -> Path:
    """One whole segment of predictions lies in the spool of a stopped agent."""
    world.connect(False)
    world.send("wear", world.plant.wear(2000))
    assert world.client.flush("disk", 30.0)
    world.stop()
    newest = max((world.device.folder / "state" / "spool").glob("?-pred/*.zst"))
    assert newest.stat().st_size > 1000
    return newest


def damage_segment(world: World) -> None:
    segment = _stop_with_batches(world)
    data = bytearray(segment.read_bytes())
    data[-len(data) // 4] ^= 0x10
    segment.write_bytes(data)
    world.connect(True)
    world.start()


def remove_segment(world: World) -> None:
    _stop_with_batches(world).unlink()
    world.connect(True)
    world.start()


def keep_segment(world: World) -> None:
    _stop_with_batches(world)
    world.connect(True)
    world.start()


def overfill(world: World) -> None:
    """Nothing leaves, and more comes than the spool may hold."""
    world.connect(False)
    for _ in range(10):
        world.send("wear", world.plant.wear(5000))
        assert world.client.flush("disk", 30.0)
    world.connect(True)


def drain_in_time(world: World) -> None:
    """As much comes, and leaves."""
    for _ in range(10):
        world.send("wear", world.plant.wear(5000))
        assert world.client.flush("disk", 30.0)
        wait_for(lambda: _waiting_batches(world) == 0, what="the outbox has everything")


def _waiting_batches(world: World) -> int:
    status = world.device.status()
    assert status is not None
    return int(status["spool"]["waiting_batches"])


def copy_card(world: World) -> None:
    """The card lies in another machine now."""
    world.stop()
    origin = world.device.folder / "state" / "spool" / "origin"
    origin.write_text("0" * 16 + " " + "0" * 16 + " -\n")
    world.start()


def restore_backup(world: World) -> None:
    """The spool of before, and what it told since has left already."""
    spool, backup = world.device.folder / "state" / "spool", world.device.folder / "backup"
    world.stop()
    shutil.copytree(spool, backup)
    world.start()
    world.send("wear", world.plant.wear(500))
    world.settle()
    world.stop()
    shutil.rmtree(spool)
    shutil.copytree(backup, spool)
    world.start()


def prepare_clock(world: World) -> None:
    library, file = world.device.folder / "step_clock.so", world.device.folder / "clock"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, STEP_CLOCK, "-ldl"], check=True)
    file.write_text("0")
    world.device.environment |= {"LD_PRELOAD": str(library), "STEP_CLOCK": str(file)}


def step_clock(seconds: float) -> Act:
    def act(world: World) -> None:
        (world.device.folder / "clock").write_text(f"{seconds}")
        world.send("wear", world.plant.wear(10))

    return act


def reload_with(find: str, replacement: str) -> Act:
    def act(world: World) -> None:
        file, status = world.device.folder / "edgemon.toml", world.device.status()
        assert status is not None
        text = file.read_text()
        assert find in text
        file.write_text(text.replace(find, replacement))
        before = status["config"]["last_reload"]
        os.kill(status["pid"], signal.SIGHUP)

        def done() -> bool:
            now = world.device.status()
            return now is not None and now["config"]["last_reload"] != before

        wait_for(done, what="the reload")

    return act


def prepare_pi(world: World) -> None:
    plant(world.device.folder / "pi", RASPBERRY_PI)


def warm(celsius: float, samples: int) -> Act:
    def act(world: World) -> None:
        sensor = {"sys/class/hwmon/hwmon0/temp1_input": f"{round(1000 * celsius)}\n"}
        plant(world.device.folder / "pi", sensor)
        so_far = len(world.rows("sys"))
        wait_for(lambda: len(world.rows("sys")) >= so_far + samples, 30.0, "some more samples")

    return act


def pause(seconds: float) -> Act:
    def act(world: World) -> None:
        time.sleep(seconds)
        world.send("wear", world.plant.wear(10))

    return act


def fall_silent(world: World) -> None:
    """Nothing comes any more."""


OF_DEVICES = [
    DeviceFailure("silence", "an application stops predicting", fall_silent, "quality.silence",
                  pause(1.0), "a pause that the rule allows", settings='quality = { max_silence = "3s" }'),
    DeviceFailure("agent-killed", "the agent crashes or is killed", kill_agent, "agent.died",
                  stop_and_start, "a stop and a start"),
    DeviceFailure("power-cut", "the device loses power", kill_device, "agent.died",
                  stop_and_start, "a stop and a start"),
    DeviceFailure("card-bit-flip", "a bit flips in a file of the spool", damage_segment, "gap",
                  keep_segment, "the same file as it was"),
    DeviceFailure("file-removed", "somebody removes a file of the spool", remove_segment, "gap",
                  keep_segment, "the same file as it was"),
    DeviceFailure("outage-too-long", "the network is away for longer than the spool lasts", overfill, "gap",
                  drain_in_time, "as much data with a network", toml=SMALL_SPOOL),
    DeviceFailure("card-copied", "a card is copied into a second device", copy_card, "spool.copied",
                  stop_and_start, "a stop and a start"),
    DeviceFailure("backup-restored", "an old copy of the spool is put back", restore_backup, "spool.rolled_back",
                  stop_and_start, "a stop and a start"),
    DeviceFailure("clock-stepped", "the clock is an hour wrong, and is set", step_clock(3600.0), "clock.stepped",
                  step_clock(0.1), "a correction of a tenth of a second", prepare=prepare_clock),
    DeviceFailure("bad-configuration", "a reload with a mistake in the file", reload_with("window = 400", "window = 0"),
                  "config.refused", reload_with("window = 500", "window = 400"), "a reload without one"),
    DeviceFailure("overheating", "the processor gets hot", warm(85.0, 6), "anomaly.started",
                  warm(48.4, 15), "a tenth of a degree more", stream="temperature_cpu_thermal_celsius",
                  system=DEVICE, prepare=prepare_pi),
]  # fmt: skip
