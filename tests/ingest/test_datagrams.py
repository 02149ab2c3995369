"""The datagram socket, with real datagrams, in one process."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import pytest

from edgemon.agent.loop import Loop
from edgemon.errors import LockedError
from edgemon.ingest.datagrams import DATAGRAMS
from edgemon.ingest.protocol import DROPPED, Limits, Record
from edgemon.ingest.server import Server, ServerSettings
from edgemon.metrics import Counters
from edgemon.records import Label, Prediction
from tests.ingest.harness import Clock

EVENT = b'{"model":"m","output":1}'


class Harness:
    def __init__(
        self, folder: Path, clock: Callable[[], float] = time.monotonic, **changes: object
    ) -> None:
        settings = ServerSettings(
            path=str(folder / "ingest.sock"), mode=0o622, group="", allow_uids=(), max_clients=4, max_rate=0.0,
            limits=Limits(), dgram=str(folder / "ingest.dgram"),
        )  # fmt: skip
        self.loop = Loop(clock)
        self.counters = Counters()
        self.records: list[Record] = []
        self.server = Server(
            settings._replace(**changes),  # type: ignore[arg-type]
            self.loop,
            self.counters,
            lambda _client, _records: None,
            on_datagrams=self.records.extend,
        )
        self.server.start()
        self.sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sender.setblocking(False)
        self.sender.connect(settings.dgram)

    def send(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.sender.send(datagram)
            self.loop.turn(0.0)

    def fill(self, datagram: bytes = EVENT) -> int:
        """As many as the kernel's queue takes."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self.sender.send(datagram)
                count += 1
        return count

    def dropped(self, reason: str) -> int:
        return self.counters.get(DROPPED, reason=reason)

    def close(self) -> None:
        self.server.stop()
        self.sender.close()


@pytest.fixture
def harness(short_tmp: Path) -> Iterator[Harness]:
    made = Harness(short_tmp)
    yield made
    made.close()


def test_each_datagram_is_one_event_in_either_encoding(harness: Harness) -> None:
    harness.send(EVENT, msgpack.packb(["m", 0.5]), b'{"model":"m","id":1,"label":1}\n')
    kinds = [type(record) for record in harness.records]
    assert kinds == [Prediction, Prediction, Label]
    assert harness.counters.get(DATAGRAMS) == 3


def test_what_is_wrong_with_a_datagram_is_counted_and_hurts_no_other(
    harness: Harness, capsys: pytest.CaptureFixture[str]
) -> None:
    harness.send(
        b"{oops", EVENT[:-1], b"", b'{"model":1}', b"\xc1", msgpack.packb(["m", 0.5])[:-1],
        b'{"model":"\xff","output":1}', b'{"ack":1}', EVENT,
    )  # fmt: skip
    assert len(harness.records) == 1
    assert harness.dropped("malformed") == 4
    assert harness.dropped("bad_name") == 1
    assert harness.dropped("bad_utf8") == 1
    assert harness.dropped("ack_in_datagram") == 1
    assert harness.counters.get(DATAGRAMS) == 9
    assert "datagram refused: " in capsys.readouterr().err


def test_a_datagram_that_is_too_long_is_refused_and_one_that_just_fits_is_not(
    short_tmp: Path,
) -> None:
    harness = Harness(short_tmp, limits=Limits(max_frame_bytes=1000))
    fits = b'{"model":"m","output":1,"id":"' + b"x" * 200 + b'"}'
    harness.send(fits + b" " * (1000 - len(fits)), fits + b" " * (1100 - len(fits)))
    assert len(harness.records) == 1
    assert harness.dropped("frame_size") == 1
    harness.close()


def test_a_uid_that_is_not_allowed_is_not_read(short_tmp: Path) -> None:
    harness = Harness(short_tmp, allow_uids=(os.getuid() + 1,))
    harness.send(EVENT)
    assert harness.records == []
    assert harness.dropped("uid") == 1
    harness.close()


def test_a_full_queue_is_told_to_the_sender_and_all_that_it_took_is_read(harness: Harness) -> None:
    harness.server.pause()
    taken = harness.fill()
    assert taken > 0
    harness.loop.turn(0.0)
    assert harness.records == []
    harness.server.resume()
    harness.loop.turn(0.0)
    assert len(harness.records) == taken


def test_the_end_reads_what_is_in_the_queue_and_removes_the_file(short_tmp: Path) -> None:
    harness = Harness(short_tmp)
    taken = harness.fill()
    harness.server.drain()
    assert len(harness.records) == taken
    assert not (short_tmp / "ingest.dgram").exists()
    harness.close()


def test_senders_above_the_rate_are_read_more_slowly_and_lose_nothing(short_tmp: Path) -> None:
    clock = Clock()
    harness = Harness(short_tmp, clock=clock, max_rate=50.0)
    sent = 0
    while not harness.counters.get("edgemon_ingest_rests_total", reason="rate"):
        sent += harness.fill()
        harness.loop.turn(0.0)
    sent += harness.fill()
    read = len(harness.records)
    harness.loop.turn(0.0)
    assert len(harness.records) == read < sent
    while len(harness.records) < sent:
        clock.now_s += 0.1
        harness.loop.turn(0.0)
    harness.close()


def test_a_stale_file_is_replaced_and_a_live_one_is_not(short_tmp: Path) -> None:
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    stale.bind(str(short_tmp / "ingest.dgram"))
    stale.close()
    harness = Harness(short_tmp)
    assert stat.S_IMODE(os.stat(short_tmp / "ingest.dgram").st_mode) == 0o622
    with pytest.raises(LockedError, match="answers on"):
        Harness(short_tmp, path=str(short_tmp / "other.sock"))
    harness.close()
