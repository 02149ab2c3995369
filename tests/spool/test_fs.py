"""One conformance suite for everything that claims to be the file-system port; and what the fake may lose."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from edgemon.errors import LockedError
from edgemon.spool.fs import FileSystem, OsFileSystem, join, write_atomically
from tests.spool.memory_fs import MemoryFileSystem

Place = tuple[FileSystem, str]


@pytest.fixture(params=["os", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A file system and a folder in it that is not there yet."""
    if request.param == "os":
        return OsFileSystem(), str(tmp_path / "a" / "b")
    return MemoryFileSystem(), "/a/b"


def put(fs: FileSystem, path: str, data: bytes) -> None:
    file = fs.open(path)
    file.write_at(0, data)
    file.sync()
    file.close()


def test_a_folder_is_made_with_its_parents_and_again_without_harm(place: Place) -> None:
    fs, folder = place
    fs.make_dir(folder)
    fs.make_dir(folder)
    assert fs.listdir(folder) == []
    assert fs.listdir(folder.rpartition("/")[0]) == ["b"]


def test_what_is_written_can_be_read_at_any_offset(place: Place) -> None:
    fs, folder = place
    fs.make_dir(folder)
    path = join(folder, "f")
    file = fs.open(path)
    file.write_at(0, b"hello")
    file.write_at(5, b" world")
    file.write_at(0, b"J")
    file.sync()
    file.close()
    assert fs.read(path, 0, 100) == b"Jello world"
    assert fs.read(path, 6, 3) == b"wor"
    assert fs.read(path, 100, 3) == b""
    assert fs.size(path) == 11


def test_opening_again_keeps_the_contents(place: Place) -> None:
    fs, folder = place
    fs.make_dir(folder)
    path = join(folder, "f")
    put(fs, path, b"12345")
    file = fs.open(path)
    file.write_at(5, b"6")
    file.close()
    assert fs.read(path, 0, 10) == b"123456"


def test_truncate_cuts_and_extends_with_zeros(place: Place) -> None:
    fs, folder = place
    fs.make_dir(folder)
    path = join(folder, "f")
    file = fs.open(path)
    file.write_at(0, b"12345")
    file.truncate(2)
    file.truncate(4)
    file.close()
    assert fs.read(path, 0, 10) == b"12\0\0"


def test_names_are_listed_in_order_and_files_can_be_renamed_and_removed(place: Place) -> None:
    fs, folder = place
    fs.make_dir(folder)
    for name in ("c", "a", "b"):
        put(fs, join(folder, name), name.encode())
    fs.rename(join(folder, "a"), join(folder, "c"))
    fs.unlink(join(folder, "b"))
    fs.sync_dir(folder)
    assert fs.listdir(folder) == ["c"]
    assert fs.read(join(folder, "c"), 0, 9) == b"a"


@pytest.mark.parametrize(
    "call",
    [
        lambda fs, path: fs.read(path, 0, 1),
        lambda fs, path: fs.size(path),
        lambda fs, path: fs.unlink(path),
        lambda fs, path: fs.listdir(path),
        lambda fs, path: fs.sync_dir(path),
        lambda fs, path: fs.open(path + "/below"),
    ],
    ids=["read", "size", "unlink", "listdir", "sync_dir", "open"],
)
def test_what_is_not_there_is_file_not_found(
    place: Place, call: Callable[[FileSystem, str], object]
) -> None:
    fs, folder = place
    fs.make_dir(folder)
    with pytest.raises(FileNotFoundError):
        call(fs, join(folder, "missing"))


def test_an_open_file_survives_its_removal(place: Place) -> None:
    fs, folder = place
    fs.make_dir(folder)
    file = fs.open(join(folder, "f"))
    fs.unlink(join(folder, "f"))
    file.write_at(0, b"x")
    file.sync()
    file.close()
    assert fs.listdir(folder) == []


def test_write_atomically_replaces_the_whole_file(place: Place) -> None:
    fs, folder = place
    fs.make_dir(folder)
    path = join(folder, "f")
    write_atomically(fs, path, b"a longer text")
    write_atomically(fs, path, b"short")
    assert fs.read(path, 0, 100) == b"short"
    assert fs.listdir(folder) == ["f"]


def test_wear_is_counted(place: Place) -> None:
    fs, folder = place
    fs.make_dir(folder)
    syncs, written = fs.syncs, fs.written_bytes
    put(fs, join(folder, "f"), b"12345")
    fs.sync_dir(folder)
    assert (fs.syncs - syncs, fs.written_bytes - written) == (2, 5)


def test_free_space_is_told(place: Place) -> None:
    fs, folder = place
    fs.make_dir(folder)
    assert fs.free_bytes(folder) > 0


def test_a_lock_is_held_until_it_is_released(place: Place) -> None:
    fs, folder = place
    fs.make_dir(folder)
    lock = fs.lock(join(folder, "lock"))
    with pytest.raises(LockedError, match=r"in use by process \d+"):
        fs.lock(join(folder, "lock"))
    lock.release()
    fs.lock(join(folder, "lock")).release()


def test_a_lock_names_the_process_and_dies_with_it(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    program = (
        "import sys; from edgemon.spool.fs import OsFileSystem\n"
        "lock = OsFileSystem().lock(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=f"process {child.pid};"):
            OsFileSystem().lock(path)
        child.kill()
        child.wait()
    OsFileSystem().lock(path).release()


# -- what the fake forgets


def outcomes(prepare: Callable[[MemoryFileSystem], None], path: str) -> set[bytes | None]:
    """What a file may hold after a power cut, over many cuts; None when it is not there."""
    found: set[bytes | None] = set()
    for seed in range(60):
        fs = MemoryFileSystem()
        fs.make_dir("/d")
        prepare(fs)
        fs.lose_power(Random(seed))
        found.add(fs.read(path, 0, 1 << 20) if path in fs.paths() else None)
    return found


def test_a_power_cut_keeps_what_was_synced_with_its_name() -> None:
    def prepare(fs: MemoryFileSystem) -> None:
        put(fs, "/d/f", b"kept")
        fs.sync_dir("/d")

    assert outcomes(prepare, "/d/f") == {b"kept"}


def test_a_power_cut_may_take_a_name_whose_folder_was_not_synced() -> None:
    assert outcomes(lambda fs: put(fs, "/d/f", b"kept"), "/d/f") == {None, b"kept"}


def test_a_power_cut_may_tear_what_was_not_synced_but_never_what_was() -> None:
    def prepare(fs: MemoryFileSystem) -> None:
        put(fs, "/d/f", b"a" * 600)
        fs.sync_dir("/d")
        fs.open("/d/f").write_at(600, b"b" * 600)

    found = outcomes(prepare, "/d/f")
    assert all(data is not None and data.startswith(b"a" * 512) for data in found)
    assert {b"a" * 600, b"a" * 600 + b"b" * 600} <= found
    assert any(data is not None and 600 < len(data) < 1200 for data in found)
    assert any(data is not None and b"\0" in data for data in found)


def test_a_rename_happens_as_a_whole_or_not() -> None:
    def prepare(fs: MemoryFileSystem) -> None:
        write_atomically(fs, "/d/f", b"old")
        put(fs, "/d/f.tmp", b"new")
        fs.rename("/d/f.tmp", "/d/f")

    assert outcomes(prepare, "/d/f") == {b"old", b"new"}


def test_after_a_failed_sync_the_next_one_succeeds_and_saves_nothing() -> None:
    def prepare(fs: MemoryFileSystem) -> None:
        fs.fail("sync", errno.EIO)
        file = fs.open("/d/f")
        fs.sync_dir("/d")
        file.write_at(0, b"in doubt")
        with pytest.raises(OSError, match="Input/output"):
            file.sync()
        file.sync()

    assert {b"", b"in doubt"} <= outcomes(prepare, "/d/f")


def test_a_full_disk_takes_what_fits_and_says_so() -> None:
    fs = MemoryFileSystem(capacity_bytes=10)
    fs.make_dir("/d")
    file = fs.open("/d/f")
    file.write_at(0, b"12345")
    with pytest.raises(OSError, match="No space left"):
        file.write_at(5, b"6789012")
    assert fs.read("/d/f", 0, 99) == b"1234567890"
    file.write_at(0, b"overwriting needs no room"[:10])
    assert fs.free_bytes("/d") == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it gives folders away")
def test_what_root_makes_in_somebodys_folder_is_his(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 1234, 1235)
    fs = OsFileSystem()
    write_atomically(fs, f"{theirs}/f", b"kept")
    fs.make_dir(f"{theirs}/a/b")
    fs.lock(f"{theirs}/a/b/lock").release()
    for made in ("f", "a", "a/b", "a/b/lock"):
        found = (theirs / made).stat()
        assert (found.st_uid, found.st_gid) == (1234, 1235), made
    assert fs.read(f"{theirs}/f", 0, 99) == b"kept"
    # A link of his to a file of root's: neither written nor given away.
    (tmp_path / "ours").write_bytes(b"of root")
    (theirs / "link").symlink_to(tmp_path / "ours")
    with pytest.raises(OSError, match="symbolic links"):
        fs.open(f"{theirs}/link")
    (theirs / "hard").hardlink_to(tmp_path / "ours")
    fs.open(f"{theirs}/hard").close()
    assert (tmp_path / "ours").stat().st_uid == 0
    # In a folder of root's all is as ever.
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    fs.open(f"{tmp_path}/link").close()
