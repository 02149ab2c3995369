"""What is remembered: the order of revisions, and every point at which a process or a device may die."""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random

import pytest

from edgemon.config import remembered as memory
from edgemon.config.remembered import Overlay, Remembered
from edgemon.errors import DamagedError, StorageError
from edgemon.remote.message import RefusedError, Signed
from edgemon.remote.store import MAX_STARTS, Store
from tests.spool.memory_fs import Crash, MemoryFileSystem

DIR = "/state"


def signed(revision: int, text: str = "") -> Signed:
    made = Overlay(revision, "cam-7", "lab", text or f"# {revision}\n")
    return Signed(made, f"{hash((revision, text)) & (2**63 - 1):064x}")


@pytest.fixture
def fs() -> MemoryFileSystem:
    return MemoryFileSystem()


@pytest.fixture
def store(fs: MemoryFileSystem) -> Store:
    return Store(fs, DIR)


def test_nothing_is_remembered_at_first(store: Store) -> None:
    assert store.load() == Remembered() and store.load().in_force is None


def test_a_trial_that_passes_is_kept(store: Store) -> None:
    store.begin(signed(4), online=True)
    now = store.load()
    assert (now.status, now.in_force, now.kept) == ("trial", signed(4).overlay, None)
    assert now.online
    store.confirm()
    now = store.load()
    assert (now.status, now.in_force, now.trial) == ("applied", signed(4).overlay, None)


def test_a_trial_that_fails_brings_the_former_back_and_is_remembered(store: Store) -> None:
    store.begin(signed(4), online=False)
    store.confirm()
    store.begin(signed(5), online=False)
    store.give_up("it was bad")
    now = store.load()
    assert now.in_force == signed(4).overlay
    assert (now.revision, now.status, now.reason, now.told) == (
        5,
        "rolled_back",
        "it was bad",
        False,
    )
    assert (
        store.is_new(signed(5)) is False
    )  # the retained message comes again, and is not tried again
    store.mark_told()
    assert store.load().told


def test_revisions_only_rise(store: Store) -> None:
    store.begin(signed(7), online=False)
    assert store.is_new(signed(8)) is True
    assert store.is_new(signed(7)) is False
    with pytest.raises(RefusedError, match="revision 6 is old, 7 has been here"):
        store.is_new(signed(6))
    with pytest.raises(RefusedError, match="revision 7 has been here with other contents"):
        store.is_new(signed(7, "other"))
    for end in (lambda: store.give_up("x"), lambda: store.drop("x"), store.clear):
        end()
        assert store.load().revision == 7
        with pytest.raises(RefusedError):
            store.is_new(signed(6))


def test_a_person_can_raise_the_revision_and_not_lower_it(store: Store) -> None:
    store.begin(signed(7), online=False)
    store.clear(5)
    assert store.load().revision == 7 and store.is_new(signed(7)) is False
    store.clear(9)
    assert store.load() == Remembered(9, "", "cleared", "by a person at the device")
    with pytest.raises(RefusedError):
        store.is_new(signed(9))


def test_starts_of_an_unconfirmed_text_are_counted(store: Store) -> None:
    assert store.count_start()
    store.begin(signed(1), online=False)
    assert [store.count_start() for _ in range(MAX_STARTS + 1)] == [True] * MAX_STARTS + [False]
    store.confirm()
    assert store.count_start() and store.load().starts == 0


def test_another_trial_starts_counting_anew_and_leaves_what_was_confirmed(store: Store) -> None:
    store.begin(signed(1), online=False)
    store.confirm()
    store.begin(signed(2), online=False)
    store.count_start()
    store.begin(signed(3), online=False)
    now = store.load()
    assert (now.starts, now.trial, now.kept) == (0, signed(3).overlay, signed(1).overlay)


def test_the_longest_texts_can_be_remembered(fs: MemoryFileSystem, store: Store) -> None:
    """Characters that JSON escapes cost six bytes each."""
    text = '"\\\x7f' * (memory.MAX_TEXT_BYTES // 3)
    store.begin(signed(1, text), online=False)
    store.confirm()
    store.begin(signed(2, text), online=False)
    assert store.load().trial == signed(2, text).overlay
    assert fs.size(store.path) < memory.MAX_FILE_BYTES


STEPS: dict[str, Callable[[Store], object]] = {
    "begin": lambda store: store.begin(signed(6, "new\n" * 500), online=True),
    "begin_anew": lambda store: store.begin(signed(7), online=True),
    "count_start": lambda store: store.count_start(),
    "confirm": lambda store: store.confirm(),
    "give_up": lambda store: store.give_up("bad"),
    "drop": lambda store: store.drop("bad"),
    "clear": lambda store: store.clear(9),
    "mark_told": lambda store: store.mark_told(),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("power", [False, True], ids=["kill", "power_cut"])
def test_a_crash_at_any_point_leaves_the_old_or_the_new(step: str, power: bool) -> None:
    """Every operation of the file system in turn is the last one; after it, on a power cut, any part survives."""

    def at_work() -> tuple[MemoryFileSystem, Store]:
        fs = MemoryFileSystem()
        store = Store(fs, DIR)
        store.begin(signed(5), online=False)
        store.confirm()
        if step != "begin":
            store.begin(signed(6), online=False)
        if step == "mark_told":
            store.give_up("bad")
        return fs, store

    _, store = at_work()
    before = store.load()
    STEPS[step](store)
    after = store.load()
    assert before != after
    seen = set()
    for operations in range(20):
        fs, store = at_work()
        fs.crash_after = operations
        try:
            STEPS[step](store)
            ended = True
        except Crash:
            ended = False
        fs.crash_after = None
        if power:
            fs.lose_power(Random(operations))
        else:
            fs.kill()
        found = Store(fs, DIR).load()
        assert found in (before, after)
        assert found.revision >= before.revision
        seen.add(found)
        if ended:
            assert found == after  # what returned is durable
            break
    else:
        pytest.fail("it never ended")
    assert operations >= 5 and len(seen) == 2


def test_a_disk_that_refuses_leaves_what_was(fs: MemoryFileSystem, store: Store) -> None:
    store.begin(signed(1), online=False)
    fs.fail("sync", errno.ENOSPC, path_part="remote.json")
    with pytest.raises(StorageError, match=r"remote\.json: No space left"):
        store.confirm()
    assert store.load().status == "trial"


def test_a_flipped_bit_is_found_and_nothing_is_taken_for_a_revision(
    fs: MemoryFileSystem, store: Store
) -> None:
    store.begin(signed(7), online=False)
    for bit in range(0, fs.size(store.path) * 8 - 8, 13):  # the last byte is a newline
        fs.flip_bit(store.path, bit)
        with pytest.raises(DamagedError, match="edgemon remote clear"):
            store.is_new(signed(8))
        fs.flip_bit(store.path, bit)
    fs.flip_bit(store.path, 8)
    store.clear(7)
    assert store.load().revision == 7
