"""What a receiver says that it has stored: up to which number nothing is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgemon import wire
from edgemon.receive.confirm import Confirmer, Identity
from edgemon.receive.intake import Intake
from edgemon.receive.presence import DeviceState
from edgemon.receive.quarantine import Quarantine
from edgemon.receive.sqlite import SqliteStore
from edgemon.records import KINDS
from tests.receive.batches import RECEIVED_NS, STREAM, gap_rows, incoming, make_batch, make_frame

TOPIC = "edgemon/v1/default/dev-1/batch"


class Bench:
    """A real store, and a device that wants to know."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open()

    def open(self) -> None:
        self.store = SqliteStore(str(self.folder / "x.db"))
        self.confirmer = Confirmer(self.store)
        self.intake = Intake(
            self.store, Quarantine(str(self.folder / "q")), confirmer=self.confirmer
        )

    def reopen(self) -> None:
        self.store.close()
        self.open()

    def says(self, acked: object, *, online: bool = True) -> None:
        """The device's state message."""
        text = json.dumps({"online": online, "birth": 1, "stream": STREAM.hex(), "acked": acked})
        state = DeviceState("default", "dev-1", online, 1, STREAM.hex(), text, RECEIVED_NS)
        self.confirmer.stored([], [state])

    def take(self, *frames: bytes, properties: dict[str, str] | None = None) -> None:
        for frame in frames:
            self.intake.take_message(TOPIC, frame, 1, properties or {})
        self.intake.commit()

    def pred(self, *seqs: int) -> None:
        self.take(*map(make_frame, seqs))

    def confirmed(self, kind: str = "pred") -> int | None:
        found = self.confirmer.take()
        return found[-1].stored[kind] if found else None


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    bench.says(dict.fromkeys(KINDS, 0))
    yield bench
    bench.store.close()


def test_the_highest_number_without_a_hole_below_it(bench: Bench) -> None:
    bench.pred(1, 2, 3, 5, 6)
    assert bench.confirmed() == 3
    bench.pred(4)
    assert bench.confirmed() == 6


def test_nothing_is_said_twice_without_a_reason(bench: Bench) -> None:
    bench.pred(1)
    assert bench.confirmed() == 1
    assert not bench.confirmer.due and bench.confirmer.take() == []


def test_a_duplicate_is_a_reason_to_say_it_again(bench: Bench) -> None:
    bench.pred(1)
    bench.confirmed()
    bench.pred(1)
    assert bench.confirmed() == 1


def test_the_device_says_from_where_on_it_wants_to_know(bench: Bench) -> None:
    bench.pred(100, 101)
    assert bench.confirmed() == 0
    bench.says({"pred": 99})
    assert bench.confirmed() == 101


def test_a_device_that_does_not_ask_is_told_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.pred(1)
    assert bench.confirmed() is None
    bench.says(None)
    bench.says({"pred": -1})
    bench.says({"pred": True})
    bench.says({"nonsense": 1})
    bench.says({"pred": 0}, online=False)
    assert bench.confirmed() is None
    bench.store.close()


def test_a_gap_that_the_device_reports_counts_as_stored(bench: Bench) -> None:
    bench.pred(1, 2, 7, 8)
    assert bench.confirmed() == 2
    bench.take(wire.encode(make_batch(1, gap_rows("pred", 3, 4), kind="event")))
    assert bench.confirmed() == 4
    bench.take(wire.encode(make_batch(2, gap_rows("pred", 5, 6), kind="event")))
    found = bench.confirmer.take()[-1].stored
    assert found == {"event": 2, "agg": 0, "sys": 0, "pred": 8}


def test_a_partial_gap_leaves_its_batch_to_be_waited_for(bench: Bench) -> None:
    rows = gap_rows("pred", 1, 1)
    rows[0]["data"] = json.dumps(json.loads(str(rows[0]["data"])) | {"partial": True})
    bench.pred(2)
    bench.take(wire.encode(make_batch(1, rows, kind="event")))
    assert bench.confirmed() == 0


def test_a_batch_in_the_quarantine_counts_as_stored(bench: Bench) -> None:
    bench.pred(1, 3)
    known = {"stream": STREAM.hex(), "kind": "pred", "seq": "2"}
    bench.take(make_frame(2)[:-9], properties=known)
    assert bench.confirmed() == 3
    assert list(bench.store.stored_after("dev-1", STREAM.hex(), "pred", 0)) == [1, 3]


@pytest.mark.parametrize("name", ["stream", "kind", "seq"])
def test_a_damaged_batch_without_a_name_counts_for_nothing(bench: Bench, name: str) -> None:
    known = {"stream": STREAM.hex(), "kind": "pred", "seq": "1"} | {name: "?"}
    bench.take(make_frame(1)[:-9], properties=known)
    bench.pred(2)
    assert bench.confirmed() == 0


def test_a_restart_finds_what_was_stored_and_set_aside(bench: Bench) -> None:
    bench.pred(1, 2)
    bench.confirmer.set_aside(
        Identity("default", "dev-1", STREAM.hex(), "pred", 3), "damaged", RECEIVED_NS
    )
    bench.pred(4)
    bench.reopen()
    bench.says({"pred": 0})
    assert bench.confirmed() == 4


def test_what_is_not_committed_is_not_confirmed(bench: Bench) -> None:
    bench.confirmed()
    bench.intake.take_message(TOPIC, make_frame(1), 1)
    assert not bench.confirmer.due
    bench.intake.commit()
    assert bench.confirmed() == 1


def test_streams_beyond_the_bound_are_forgotten_the_longest_unused_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgemon.receive.confirm.MAX_STREAMS", 2)
    for number in range(3):
        bench.confirmer.stored([incoming(make_batch(1, device=f"dev-{number + 2}"))], [])
    assert bench.confirmer.take() == []
    assert not bench.confirmer.due
    bench.pred(1)
    assert bench.confirmed() is None, "dev-1 was forgotten"
    bench.says({"pred": 0})
    assert bench.confirmed() == 1
