"""What is particular to the folder sink: whole files, a bound, and names that make resending harmless."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edgemon.ship.sink import Parcel
from tests.ship.rig import STREAM, Driver, make_config, parcel


class Folder:
    """A folder sink that takes up to `max_bytes`."""

    def __init__(self, home: Path, max_bytes: int) -> None:
        config = make_config(home, ship='sink = "file"')
        self.driver = Driver(config._replace(ship=config.ship._replace(folder_max_bytes=max_bytes)))
        self.path = home / "outbox" / "lab" / "cam-7"

    def names(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir())


def sized(seq: int, size: int) -> Parcel:
    return parcel("pred", seq)._replace(frame=bytes([seq]) * size)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path, 1000)
    made.driver.start()
    return made


def test_a_file_is_named_by_what_makes_a_batch_unique(folder: Folder) -> None:
    folder.driver.send(sized(42, 10))
    assert folder.names() == [f"pred-{STREAM}-0000000000000042.msgpack.zst"]


def test_a_batch_sent_again_leaves_its_file_alone(folder: Folder) -> None:
    folder.driver.send(sized(1, 900))
    before = (folder.path / folder.names()[0]).stat()
    folder.driver.send(sized(1, 900))
    after = (folder.path / folder.names()[0]).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert folder.driver.reports.downs == []


def test_a_full_folder_says_so_and_takes_nothing_beyond_its_bound(folder: Folder) -> None:
    folder.driver.send(sized(1, 600))
    folder.driver.sink.submit(sized(2, 600), time.monotonic())
    (line,) = folder.driver.reports.downs
    assert "is full: 600 of 1000 bytes (ship.folder_max_bytes)" in line
    assert not folder.driver.sink.ready()
    assert len(folder.names()) == 1


def test_a_folder_emptied_meanwhile_takes_more_without_a_failure(folder: Folder) -> None:
    folder.driver.send(sized(1, 900))
    (folder.path / folder.names()[0]).unlink()
    folder.driver.send(sized(2, 900))
    assert folder.driver.reports.downs == []


def test_files_that_were_there_before_count(tmp_path: Path) -> None:
    first = Folder(tmp_path, 1000)
    first.driver.start()
    first.driver.send(sized(1, 900))
    second = Folder(tmp_path, 1000)
    second.driver.start()
    second.driver.sink.submit(sized(2, 900), time.monotonic())
    assert "is full" in second.driver.reports.downs[0]


def test_what_an_interrupted_write_left_is_removed_at_start(tmp_path: Path) -> None:
    folder = Folder(tmp_path, 1000)
    folder.path.mkdir(parents=True)
    (folder.path / "pred-x.msgpack.zst.tmp").write_bytes(bytes(900))
    folder.driver.start()
    folder.driver.send(sized(1, 900))
    assert len(folder.names()) == 1
