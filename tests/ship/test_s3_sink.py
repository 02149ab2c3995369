"""The S3 sink by itself: which objects it makes, and what it says when an upload does not end."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgemon.ship import s3
from edgemon.ship.sink import Parcel
from tests.s3_servers import Rclone
from tests.servers import Proxy
from tests.ship.objects import batches_of
from tests.ship.rig import Driver, make_config, parcel

AGES = 'max_age = "100ms"\nevent_max_age = "100ms"'


class Rig:
    """A sink whose store lies behind a proxy."""

    def __init__(self, folder: Path, server: Rclone) -> None:
        self.server = server
        self.bucket = server.bucket()
        self.folder = folder / "s3"
        self.proxy = Proxy(server.port)
        place = f'bucket = "{self.bucket}"\nendpoint = "http://127.0.0.1:{self.proxy.port}"'
        self.driver = Driver(make_config(folder, ship='sink = "s3"', s3=f"{place}\n{AGES}"))
        self.sink = self.driver.sink
        assert isinstance(self.sink, s3.S3Sink)

    def submit(self, *parcels: Parcel) -> None:
        for one in parcels:
            assert self.sink.ready()
            self.sink.submit(one, time.monotonic())

    def acknowledged(self, count: int) -> None:
        self.driver.drive(lambda: len(self.driver.reports.acks) >= count, what="acks")

    def down(self) -> str:
        self.driver.drive(lambda: self.driver.reports.downs, what="down")
        return self.driver.reports.downs[-1]

    def child(self) -> int:
        assert isinstance(self.sink, s3.S3Sink)
        return self.sink._uploader._pid

    def ranges(self) -> list[tuple[str, int, int]]:
        names = [batches_of(name) for name in self.server.objects(self.bucket)]
        return sorted((kind, first, last) for kind, _, first, last in names)

    def parts(self) -> list[str]:
        return [name for name in os.listdir(self.folder) if name.endswith(".part")]


@pytest.fixture
def rig(short_tmp: Path, rclone: Rclone) -> Iterator[Rig]:
    made = Rig(short_tmp, rclone)
    made.driver.start()
    assert made.driver.reports.ups == 1
    yield made
    made.sink.close()
    made.proxy.close()


def test_a_hole_in_the_numbers_ends_an_object(rig: Rig) -> None:
    rig.submit(*(parcel("pred", seq) for seq in (1, 2, 4, 5)))
    rig.acknowledged(4)
    assert rig.ranges() == [("pred", 1, 2), ("pred", 4, 5)]


def test_two_runs_of_a_kind_do_not_cut_each_other_up(rig: Rig) -> None:
    rig.submit(*(parcel("pred", seq) for seq in (1, 100, 2, 101, 3, 102)))
    rig.acknowledged(6)
    assert rig.ranges() == [("pred", 1, 3), ("pred", 100, 102)]


def test_kinds_never_share_an_object(rig: Rig) -> None:
    rig.submit(parcel("agg", 1), parcel("pred", 2), parcel("agg", 2), parcel("pred", 3))
    rig.acknowledged(4)
    assert rig.ranges() == [("agg", 1, 2), ("pred", 2, 3)]


def test_nothing_is_left_on_the_disk_once_it_is_acknowledged(rig: Rig) -> None:
    rig.submit(parcel("pred", 1))
    assert len(rig.parts()) == 1
    rig.acknowledged(1)
    assert rig.parts() == []


def test_a_store_that_does_not_answer_is_given_up_and_the_child_with_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "PUT_BASE_S", 0.5)
    rig.proxy.swallow_down = True
    rig.submit(parcel("pred", 1))
    assert "no answer from the store in time" in rig.down()
    assert rig.child() == 0 and rig.parts() == [] and rig.driver.reports.acks == []


def test_a_child_that_is_killed_is_one_line_and_the_next_one_goes_on(rig: Rig) -> None:
    rig.proxy.swallow_down = True
    rig.submit(parcel("pred", 1))
    rig.driver.drive(lambda: rig.sink._sent is not None, what="an upload")  # type: ignore[attr-defined]
    os.kill(rig.child(), signal.SIGKILL)
    assert rig.down() == "the upload process was killed by signal 9"
    rig.proxy.swallow_down = False
    rig.driver.start()
    rig.driver.send(parcel("pred", 1))
    assert rig.driver.reports.acks == [("pred", 1)]


def test_a_stop_waits_for_the_upload_that_is_under_way(rig: Rig) -> None:
    rig.submit(parcel("pred", 1))
    rig.driver.drive(lambda: rig.sink._sent is not None, what="an upload")  # type: ignore[attr-defined]
    rig.submit(parcel("pred", 2))
    rig.driver.stop()
    assert rig.driver.reports.acks == [("pred", 1)]
    assert rig.driver.reports.downs == [""]
    assert rig.parts() == [] and rig.child() == 0


def test_what_another_shipper_left_is_removed_and_its_cuts_are_kept(rig: Rig) -> None:
    rig.submit(*(parcel("pred", seq) for seq in (1, 2)))
    rig.acknowledged(2)
    rig.sink.close()
    (rig.folder / "pred-1-999-1.part").write_bytes(b"half an object")
    rig.driver.start()
    assert rig.parts() == []
    rig.submit(*(parcel("pred", seq) for seq in (1, 2, 3)))
    rig.acknowledged(5)
    assert rig.ranges() == [("pred", 1, 2), ("pred", 3, 3)]


def again(rig: Rig, *kinds: str) -> float:
    """A shipper that comes after a crash: 1 to 3 of each kind are in an object, and nobody knows that it is delivered.
    Returns its time."""
    rig.submit(*(parcel(kind, seq) for kind in kinds for seq in (1, 2, 3)))
    rig.acknowledged(3 * len(kinds))
    rig.sink.close()
    rig.driver.start()
    return time.monotonic()


def test_a_process_that_stalled_cuts_no_object_anew(rig: Rig) -> None:
    """What takes the time of a disk that stalls is no sign that the rest is gone."""
    now = again(rig, "pred")
    rig.sink.submit(parcel("pred", 1), now)
    rig.sink.tick(now + 100.0)
    rig.sink.submit(parcel("pred", 2), now + 100.0)
    rig.sink.submit(parcel("pred", 3), now + 100.0)
    rig.acknowledged(6)
    assert rig.ranges() == [("pred", 1, 3)]


def test_a_wait_for_room_cuts_no_object_anew(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload takes a minute on a slow link; nothing can come meanwhile."""
    now = again(rig, "pred")
    rig.sink.submit(parcel("pred", 1), now)
    with monkeypatch.context() as patch:
        patch.setattr(rig.sink, "ready", lambda: False)
        rig.sink.tick(now + 1.0)
        rig.sink.tick(now + 60.0)
    rig.sink.tick(now + 61.0)
    rig.sink.submit(parcel("pred", 2), now + 61.0)
    rig.sink.submit(parcel("pred", 3), now + 61.0)
    rig.acknowledged(6)
    assert rig.ranges() == [("pred", 1, 3)]


def test_where_the_rest_is_gone_from_the_spool_the_object_ends_after_a_while(rig: Rig) -> None:
    now = again(rig, "pred")
    rig.sink.submit(parcel("pred", 1), now)
    rig.sink.tick(now + 1.0)
    rig.sink.tick(now + 0.9 + s3.QUIET_S)
    assert rig.sink._open  # type: ignore[attr-defined]
    rig.sink.tick(now + 1.0 + s3.QUIET_S)
    rig.acknowledged(4)
    assert rig.ranges() == [("pred", 1, 1), ("pred", 1, 3)]


def test_events_do_not_wait_for_a_rest_that_other_batches_have_passed(rig: Rig) -> None:
    now = again(rig, "event")
    rig.sink.submit(parcel("event", 1), now)
    rig.sink.submit(parcel("pred", 1), now)
    rig.sink.tick(now + 0.2)
    rig.acknowledged(5)
    assert ("event", 1, 1) in rig.ranges()


def test_an_object_ends_where_another_began_that_was_sent_before(rig: Rig) -> None:
    """Once cut elsewhere, the next ones are cut as they were."""
    rig.submit(*(parcel("pred", seq) for seq in (1, 2)))
    rig.acknowledged(2)
    rig.submit(*(parcel("pred", seq) for seq in (3, 4, 5)))
    rig.acknowledged(5)
    rig.sink.close()
    known = rig.folder / "cuts.json"
    known.write_text(re.sub(r'\["\w+",1,2\],', "", known.read_text()))
    rig.driver.start()
    rig.submit(*(parcel("pred", seq) for seq in (1, 2, 3, 4, 5)))
    rig.acknowledged(10)
    assert rig.ranges() == [("pred", 1, 2), ("pred", 3, 5)]
