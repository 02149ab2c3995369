"""What every sink must do, over every sink. A new one is added to RIGS and must pass as it is."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgemon.records import KINDS
from edgemon.ship.sink import NEVER, Key
from tests.plugins.rig import EXAMPLES
from tests.s3_servers import S3Server
from tests.servers import Listener, Mosquitto, Nats, wait_for
from tests.ship.objects import batches_of, frames_of
from tests.ship.rig import STREAM, Driver, make_config, parcel


class Rig:
    """A sink with the other side of it. broken(): it cannot be reached until mended()."""

    driver: Driver

    def received(self) -> dict[Key, bytes]:
        raise NotImplementedError

    def broken(self) -> None:
        raise NotImplementedError

    def mended(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.driver.sink.close()


class FolderRig(Rig):
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "outbox"
        self.driver = Driver(make_config(folder, ship=f'sink = "file"\nfolder = "{self.folder}"'))

    def received(self) -> dict[Key, bytes]:
        found = {}
        for path in self.folder.glob("lab/cam-7/*.msgpack.zst"):
            kind, stream, seq = path.name.removesuffix(".msgpack.zst").split("-")
            assert stream == STREAM
            found[kind, int(seq)] = path.read_bytes()
        return found

    def broken(self) -> None:
        self.driver.sink.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.write_text("a file where the folder should be")

    def mended(self) -> None:
        self.folder.unlink()


class BrokerRig(Rig):
    def __init__(self, folder: Path, server: Mosquitto | Nats, version: str) -> None:
        self.server = server
        self.server.start()
        text = f'version = "{version}"'
        self.driver = Driver(make_config(folder, server.port, mqtt=text))
        self.mqtt5 = version == "5"
        self.listener = Listener(server.port, mqtt5=self.mqtt5)

    def received(self) -> dict[Key, bytes]:
        keys = [(kind, seq) for kind in KINDS for seq in range(1, 50)]
        frames = {parcel(*key).frame: key for key in keys}
        return {frames[m.payload]: m.payload for m in self.listener.on("/batch")}

    def broken(self) -> None:
        self.driver.sink.close()
        self.server.stop()

    def mended(self) -> None:
        self.server.start()

    def close(self) -> None:
        super().close()
        self.listener.close()
        self.server.stop()


class BucketRig(Rig):
    def __init__(self, folder: Path, server: S3Server) -> None:
        self.server = server
        self.bucket = server.bucket()
        place = f'bucket = "{self.bucket}"\nendpoint = "{server.endpoint}"'
        ages = 'max_age = "100ms"\nevent_max_age = "100ms"'
        self.driver = Driver(make_config(folder, ship='sink = "s3"', s3=f"{place}\n{ages}"))

    def received(self) -> dict[Key, bytes]:
        found: dict[Key, bytes] = {}
        for key, content in self.server.objects(self.bucket).items():
            assert key.startswith("v1/fleet=lab/dt=") and "/device=cam-7/" in key
            kind, stream, first, last = batches_of(key)
            assert stream == STREAM
            frames = frames_of(content)
            assert len(frames) == last - first + 1
            found |= {(kind, first + at): frame for at, frame in enumerate(frames)}
        return found

    def broken(self) -> None:
        self.driver.sink.close()
        self.server.stop()

    def mended(self) -> None:
        self.server.start()


class ProgramRig(FolderRig):
    """The documentation's executable sink, which keeps files as the folder sink does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "outbox"
        plugin = f"""
kind = "sink"
command = ["{shutil.copy(EXAMPLES / "archive", folder)}"]
options = {{ folder = "{self.folder}/lab/cam-7" }}
"""
        self.driver = Driver(
            make_config(folder, 1, ship='sink = "plugin"', **{"plugins.archive": plugin})
        )


class EntryPointRig(Rig):
    """The documentation's sink of a Python package, installed as pip installs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "database"
        self.folder.mkdir()
        plugin = f"""
kind = "sink"
entry_point = "database"
options = {{ file = "{self.folder}/batches.db" }}
"""
        self.driver = Driver(
            make_config(folder, 1, ship='sink = "plugin"', **{"plugins.store": plugin})
        )

    def received(self) -> dict[Key, bytes]:
        with closing(sqlite3.connect(self.folder / "batches.db")) as database:
            rows = database.execute("SELECT stream, kind, seq, frame FROM batch").fetchall()
        assert {stream for stream, *_ in rows} <= {STREAM}
        return {(kind, seq): frame for _, kind, seq, frame in rows}

    def broken(self) -> None:
        self.driver.sink.close()
        self.folder.rmdir()

    def mended(self) -> None:
        self.folder.mkdir()


RIGS = [
    "file",
    "mqtt 5 to mosquitto",
    "mqtt 3.1.1 to mosquitto",
    "mqtt 3.1.1 to nats-server",
    "s3 to seaweedfs",
    "s3 to rclone",
    "plugin: a program",
    "plugin: an entry point",
]


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path, short_tmp: Path) -> Iterator[Rig]:
    name: str = request.param
    made: Rig
    if name == "file":
        made = FolderRig(short_tmp)
    elif "mosquitto" in name:
        folder = request.getfixturevalue("mosquitto_folder")
        made = BrokerRig(short_tmp, Mosquitto(folder), name.split()[1])
    elif name == "plugin: a program":
        made = ProgramRig(short_tmp)
    elif name == "plugin: an entry point":
        site: Path = request.getfixturevalue("example_site")
        request.getfixturevalue("monkeypatch").setenv("PYTHONPATH", str(site))
        made = EntryPointRig(short_tmp)
    elif "s3" in name:
        server = request.getfixturevalue("rclone" if "rclone" in name else "seaweed")
        made = BucketRig(short_tmp, server)
    else:
        made = BrokerRig(short_tmp, request.getfixturevalue("nats_stopped"), "3.1.1")
    yield made
    made.close()


def test_batches_arrive_as_they_are_and_each_is_acknowledged_once(rig: Rig) -> None:
    rig.driver.start()
    parcels = [parcel(kind, seq) for kind in KINDS for seq in range(1, 6)]
    rig.driver.send(*parcels)
    assert sorted(rig.driver.reports.acks) == sorted(one.key for one in parcels)
    wait_for(lambda: len(rig.received()) == len(parcels), what="all batches at the other side")
    assert rig.received() == {one.key: one.frame for one in parcels}


def test_a_batch_sent_again_is_acknowledged_again(rig: Rig) -> None:
    rig.driver.start()
    rig.driver.send(parcel("pred", 1))
    rig.driver.send(parcel("pred", 1))
    assert rig.driver.reports.acks == [("pred", 1), ("pred", 1)]


def test_there_is_no_room_before_it_is_up(rig: Rig) -> None:
    assert not rig.driver.sink.ready()
    assert rig.driver.sink.watch() == {}
    assert rig.driver.sink.deadline() == NEVER


def test_what_cannot_be_reached_is_one_line_and_works_once_it_can(rig: Rig) -> None:
    rig.broken()
    rig.driver.start()
    assert rig.driver.reports.ups == 0
    assert len(rig.driver.reports.downs) == 1 and rig.driver.reports.downs[0]
    rig.mended()
    rig.driver.start()
    assert rig.driver.reports.ups == 1
    rig.driver.send(parcel("pred", 1))
    assert rig.driver.reports.acks == [("pred", 1)]


def test_a_stop_is_reported_without_a_reason_and_a_start_may_follow(rig: Rig) -> None:
    rig.driver.start()
    rig.driver.stop()
    assert rig.driver.reports.downs == [""]
    assert not rig.driver.sink.ready()
    rig.driver.start()
    rig.driver.send(parcel("agg", 1))
    assert rig.driver.reports.acks == [("agg", 1)]


def test_a_stop_while_down_is_reported_at_once(rig: Rig) -> None:
    rig.driver.sink.stop(time.monotonic())
    assert rig.driver.reports.downs == [""]


def test_close_is_final_and_says_nothing(rig: Rig) -> None:
    rig.driver.start()
    rig.driver.sink.submit(parcel("pred", 1), time.monotonic())
    acks = len(rig.driver.reports.acks)
    rig.driver.sink.close()
    assert rig.driver.sink.watch() == {}
    assert rig.driver.sink.deadline() == NEVER
    rig.driver.sink.tick(time.monotonic() + 1000)
    assert rig.driver.reports.downs == []
    assert len(rig.driver.reports.acks) == acks


def test_it_takes_hundreds_of_batches_through_its_window(rig: Rig) -> None:
    rig.driver.start()
    rig.driver.send(*(parcel("pred", 1 + number % 49) for number in range(300)))
    assert len(rig.driver.reports.acks) == 300
