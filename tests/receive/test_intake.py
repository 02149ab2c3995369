"""The guarantee: a token comes back only when its delivery is durable, in the store or in quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgpack
import pytest
import zstandard

from edgemon.errors import DamagedError, StorageError
from edgemon.receive import intake as module
from edgemon.receive.intake import Intake
from edgemon.receive.presence import DeviceState, parse_state, split_topic
from edgemon.receive.quarantine import Quarantine
from edgemon.receive.rows import COLUMNS
from edgemon.receive.store import Incoming, RefusedError, Stored
from tests.receive.batches import make_frame

TOPIC = "edgemon/v1/default/dev-1/batch"


class FakeStore:
    """Keeps batches in a list; fails when told to; refuses the seqs in `impossible`."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.states: list[DeviceState] = []
        self.failing = False
        self.impossible: set[int] = set()

    def write(self, batches: Sequence[Incoming], states: Sequence[DeviceState]) -> Stored:
        if self.failing:
            raise StorageError("disk full")
        for index, item in enumerate(batches):
            if item.batch.seq in self.impossible:
                raise RefusedError(index, "impossible")
        fresh = [item.batch.seq not in self.seqs for item in batches]
        self.seqs += [item.batch.seq for item in batches]
        self.states += states
        return Stored(fresh, dict.fromkeys(COLUMNS, 0))

    def close(self) -> None:
        pass


class Desk:
    """An intake with its fake store and a real quarantine."""

    def __init__(self, folder: Path) -> None:
        self.store = FakeStore()
        self.folder = folder / "q"
        self.intake = Intake(self.store, Quarantine(str(self.folder)))

    def quarantined(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*.zst"))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def newer_frame() -> bytes:
    body: bytes = msgpack.packb({"em": 99})
    return zstandard.ZstdCompressor(write_checksum=True).compress(body)


def test_tokens_come_back_after_the_commit_in_order(desk: Desk) -> None:
    for seq in (1, 2, 3):
        desk.intake.take_message(TOPIC, make_frame(seq), 10 + seq)
    assert desk.store.seqs == []
    assert desk.intake.commit() == [11, 12, 13]
    assert desk.store.seqs == [1, 2, 3]
    assert desk.intake.pending == 0
    assert desk.intake.commit() == []


def test_a_store_that_fails_acknowledges_nothing_and_loses_nothing(desk: Desk) -> None:
    desk.intake.take_message(TOPIC, make_frame(1), 1)
    desk.intake.take_message(TOPIC, b"broken", 2)
    desk.intake.take_message("edgemon/v1/default/dev-1/state", b'{"online": true, "birth": 1}', 3)
    desk.store.failing = True
    for _ in range(3):
        with pytest.raises(StorageError):
            desk.intake.commit()
    assert desk.intake.pending == 3
    desk.intake.take_message(TOPIC, make_frame(2), 4)
    desk.store.failing = False
    assert desk.intake.commit() == [1, 2, 3, 4]
    assert desk.store.seqs == [1, 2]
    assert len(desk.store.states) == 1
    assert desk.intake.totals.quarantined == 1


def test_a_damaged_batch_goes_to_quarantine_and_the_rest_goes_on(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = bytearray(make_frame(2))
    damaged[len(damaged) // 2] ^= 1
    for token, frame in enumerate((make_frame(1), bytes(damaged), make_frame(3))):
        desk.intake.take_message(TOPIC, frame, token)
    assert desk.intake.commit() == [0, 1, 2]
    assert desk.store.seqs == [1, 3]
    (name,) = desk.quarantined()
    assert (desk.folder / name).read_bytes() == damaged
    log = capsys.readouterr().err.splitlines()
    assert len(log) == 1
    assert TOPIC in log[0]
    assert name in log[0]


def test_a_quarantine_that_cannot_write_acknowledges_nothing(tmp_path: Path) -> None:
    (tmp_path / "q").write_text("a file where the folder should be")
    desk = Desk(tmp_path)
    desk.intake.take_message(TOPIC, b"broken", 1)
    desk.intake.take_message(TOPIC, make_frame(1), 2)
    with pytest.raises(StorageError, match="quarantine"):
        desk.intake.commit()
    (tmp_path / "q").unlink()
    assert desk.intake.commit() == [1, 2]
    assert desk.store.seqs == [1]


def test_a_batch_that_the_store_refuses_does_not_block_the_others(desk: Desk) -> None:
    desk.store.impossible = {2, 3}
    for seq in (1, 2, 3, 4):
        desk.intake.take_message(TOPIC, make_frame(seq), seq)
    assert desk.intake.commit() == [1, 2, 3, 4]
    assert desk.store.seqs == [1, 4]
    assert len(desk.quarantined()) == 2


def test_a_batch_of_a_newer_format_is_kept_apart(desk: Desk) -> None:
    desk.intake.take_message(TOPIC, newer_frame(), 1)
    assert desk.intake.commit() == [1]
    (name,) = desk.quarantined()
    assert name.startswith("unsupported/")


@pytest.mark.parametrize(
    "topic", ["edgemon/v1/default/dev-2/batch", "edgemon/v1/other/dev-1/batch", "dev-1/batch"]
)
def test_a_batch_in_the_name_of_another_device_is_not_stored(desk: Desk, topic: str) -> None:
    desk.intake.take_message(topic, make_frame(1), 1)
    assert desk.intake.commit() == [1]
    assert desk.store.seqs == []
    assert len(desk.quarantined()) == 1


def test_after_the_connection_is_lost_rows_stay_and_tokens_go(desk: Desk) -> None:
    desk.intake.take_message(TOPIC, make_frame(1), 1)
    desk.intake.forget_tokens()
    desk.intake.take_message(TOPIC, make_frame(2), 7)
    assert desk.intake.commit() == [None, 7]
    assert desk.store.seqs == [1, 2]


def test_a_group_is_bounded_in_batches_rows_and_bytes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = make_frame(1)
    for name, limit in (
        ("MAX_GROUP_BATCHES", 2),
        ("MAX_GROUP_ROWS", 6),
        ("MAX_GROUP_BYTES", 2 * len(frame)),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, limit)
            full = []
            for step in (lambda: desk.intake.take_message(TOPIC, frame, 1),) * 2 + (
                desk.intake.commit,
            ):
                step()
                full.append(desk.intake.full)
            assert full == [False, True, False], name


def test_topics_end_in_fleet_device_and_leaf() -> None:
    assert split_topic("a/b/c/fleet/dev/batch") == ("fleet", "dev", "batch")
    for topic in ("", "batch", "fleet/dev/batch", "a//dev/batch", "a/fleet//batch"):
        with pytest.raises(DamagedError):
            split_topic(topic)


def test_a_state_is_checked() -> None:
    good = parse_state("f", "d", b'{"online": false, "birth": 7, "stream": "ab", "new": 1}', 5)
    assert good[:5] == ("f", "d", False, 7, "ab")
    assert parse_state("f", "d", b'{"online": true}', 5).birth == 0
    for bad in (b"", b"\xff", b"[]", b"{}", b'{"online": 1}', b'{"online": true, "birth": true}'):
        with pytest.raises(DamagedError):
            parse_state("f", "d", bad, 5)
    for bad in (
        b'{"online": true, "birth": -1}',
        b'{"online": true, "birth": NaN}',
        b'{"online": true, "stream": 1}',
    ):
        with pytest.raises(DamagedError):
            parse_state("f", "d", bad, 5)
    with pytest.raises(DamagedError):
        parse_state("f", "d", b"[" * 60_000, 5)


def test_what_comes_twice_is_quarantined_once(tmp_path: Path) -> None:
    quarantine = Quarantine(str(tmp_path))
    first = quarantine.put(b"x", "not a frame: ../../etc", supported=True)
    assert quarantine.put(b"x", "another reason", supported=True) == first
    assert Quarantine(str(tmp_path)).put(b"x", "after a restart", supported=True) == first
    assert Path(first).name.endswith("-not-a-frame-etc.zst")


def test_a_full_quarantine_drops_the_oldest_damaged_batch(tmp_path: Path) -> None:
    quarantine = Quarantine(str(tmp_path), max_damaged_bytes=300, max_files=100)
    files = [quarantine.put(bytes([number]) * 100, "r", supported=True) for number in range(5)]
    assert [Path(file).exists() for file in files] == [False, False, True, True, True]
    few = Quarantine(str(tmp_path / "few"), max_files=2)
    files = [few.put(bytes([number]), "r", supported=True) for number in range(3)]
    assert [Path(file).exists() for file in files] == [False, True, True]


def test_a_full_quarantine_never_drops_what_a_newer_version_could_read(tmp_path: Path) -> None:
    quarantine = Quarantine(str(tmp_path), max_unsupported_bytes=150)
    first = Path(quarantine.put(b"a" * 100, "r", supported=False))
    with pytest.raises(StorageError, match="upgrade"):
        quarantine.put(b"b" * 100, "r", supported=False)
    assert first.exists()
    first.unlink()  # somebody took it away
    quarantine.put(b"b" * 100, "r", supported=False)
