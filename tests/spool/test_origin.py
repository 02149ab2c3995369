"""Copies of a spool: cloned cards, moved cards, restored backups. No number is ever used for two batches."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgemon.spool import origin
from edgemon.spool.fs import OsFileSystem
from edgemon.spool.origin import Machine, client_suffix
from edgemon.spool.writer import Spool
from tests.spool.helpers import DIRECTORY, append, new_spool, read_all
from tests.spool.helpers import Settings as SpoolSettings
from tests.spool.memory_fs import MemoryFileSystem

PI = Machine("1" * 16, "2" * 16)
WITNESS = "/told"


def opened(
    fs: MemoryFileSystem, machine: Machine = PI, *, witness: str = ""
) -> tuple[Spool, list[str]]:
    """The spool, and the types of the events that its opening tells."""
    spool = new_spool(fs, machine=machine, witness=witness)
    report = spool.open()
    return spool, [event.type for event in report.events()]


def written(fs: MemoryFileSystem, machine: Machine = PI, *, witness: str = "") -> bytes:
    """Two batches in a spool that was stopped; its stream."""
    spool, _ = opened(fs, machine, witness=witness)
    append(spool, "pred")
    append(spool, "pred")
    spool.close()
    return spool.stream_id


def test_on_the_same_machine_the_numbering_goes_on() -> None:
    fs = MemoryFileSystem()
    stream = written(fs)
    spool, told = opened(fs)
    assert spool.stream_id == stream
    assert told == []
    assert client_suffix(fs, DIRECTORY) == ""


@pytest.mark.parametrize(
    "other",
    [PI._replace(serial="3" * 16), PI._replace(machine_id="3" * 16), Machine("3" * 16, "")],
    ids=["cloned card", "other system", "no serial"],
)
def test_on_another_machine_a_new_numbering_begins_with_a_warning(other: Machine) -> None:
    fs = MemoryFileSystem()
    old = written(fs)
    spool, told = opened(fs, other)
    assert told == ["spool.copied"]
    assert spool.stream_id != old
    assert client_suffix(fs, DIRECTORY) == spool.stream_id.hex()[:6]
    append(spool, "pred")
    spool.sync()
    # What was there keeps its name, so that the receiver knows it from the original; numbers go on.
    assert [(r.stream, r.seq) for r in read_all(fs, "pred")] == [
        (old, 1),
        (old, 2),
        (spool.stream_id, 3),
    ]
    spool.close()
    again, told = opened(fs, other)
    assert told == []
    assert again.stream_id == spool.stream_id
    assert client_suffix(fs, DIRECTORY) == spool.stream_id.hex()[:6]


def test_a_number_that_cannot_be_read_today_is_no_other_machine() -> None:
    fs = MemoryFileSystem()
    stream = written(fs)
    spool, told = opened(fs, Machine("", ""))
    assert (spool.stream_id, told) == (stream, [])
    spool.close()
    # ... and is remembered.
    _, told = opened(fs, PI._replace(serial="3" * 16))
    assert told == ["spool.copied"]


def test_a_start_that_could_not_write_the_new_id_begins_anew_the_next_time() -> None:
    fs = MemoryFileSystem()
    old = written(fs)
    other = PI._replace(serial="3" * 16)
    fs.fail("rename", 5, path_part="stream", times=1)
    first, _ = opened(fs, other)
    assert first.stream_id != old
    first.close()
    second, told = opened(fs, other)
    assert told == ["spool.copied"]
    assert second.stream_id not in (old, first.stream_id)


def test_a_restored_backup_is_noticed_by_the_witness_outside() -> None:
    fs = MemoryFileSystem()
    old = written(fs, witness=WITNESS)
    backup = {path: fs.read(path, 0, 1 << 20) for path in fs.paths(DIRECTORY)}
    spool, _ = opened(fs, witness=WITNESS)
    append(spool, "pred")
    spool.sync()
    (told_to_a_receiver,) = read_all(fs, "pred", 2)
    spool.close()
    for path in fs.paths(DIRECTORY):
        fs.unlink(path)
    for path, data in backup.items():
        fs.put(path, data)
    fs.kill()
    spool, told = opened(fs, witness=WITNESS)
    assert told == ["spool.rolled_back"]
    append(spool, "pred")
    spool.sync()
    (again,) = read_all(fs, "pred", 2)
    assert (again.seq, again.stream) != (told_to_a_receiver.seq, told_to_a_receiver.stream)
    assert [record.stream for record in read_all(fs, "pred")][:2] == [old, old]
    assert client_suffix(fs, DIRECTORY) == ""  # nobody else is out there
    spool.close()
    assert opened(fs, witness=WITNESS)[1] == []


def test_a_lost_witness_changes_nothing() -> None:
    fs = MemoryFileSystem()
    stream = written(fs, witness=WITNESS)
    fs.unlink(WITNESS)
    spool, told = opened(fs, witness=WITNESS)
    assert (spool.stream_id, told) == (stream, [])


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"one two three", b"aa bb"])
def test_a_damaged_origin_is_written_anew(text: bytes) -> None:
    fs = MemoryFileSystem()
    stream = written(fs)
    fs.put(f"{DIRECTORY}/origin", text)
    spool, told = opened(fs)
    assert (spool.stream_id, told) == (stream, [])
    found = origin.read_origin(fs, DIRECTORY)
    assert found is not None
    assert found.machine == PI


def test_numbers_that_boards_were_never_given_are_no_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_id, serial = tmp_path / "machine-id", tmp_path / "serial"
    monkeypatch.setattr(origin, "_MACHINE_FILES", (str(tmp_path / "none"), str(machine_id)))
    monkeypatch.setattr(origin, "_SERIAL_FILES", (str(serial),))
    machine_id.write_text("0123456789abcdef0123456789abcdef\n")
    serial.write_text("To Be Filled By O.E.M.\n")
    assert origin.this_machine().serial == ""
    assert len(origin.this_machine().machine_id) == 16
    serial.write_bytes(b"10000000abcdef01\0")
    assert len(origin.this_machine().serial) == 16
    machine_id.unlink()
    assert origin.this_machine().machine_id == ""


def test_two_machines_that_go_on_with_copies_of_one_card_never_use_the_same_name(
    tmp_path: Path,
) -> None:
    fs = OsFileSystem()
    names: list[tuple[bytes, int]] = []

    def life(folder: Path, machine: Machine) -> None:
        spool = new_spool(fs, SpoolSettings(dir=str(folder)), machine=machine)
        spool.open()
        for _ in range(3):
            names.append((spool.stream_id, append(spool, "pred")))
        spool.close()

    life(tmp_path / "a", PI)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for _ in range(2):
        life(tmp_path / "a", PI)
        life(tmp_path / "b", PI._replace(serial="3" * 16))
    assert len(set(names)) == len(names) == 15
