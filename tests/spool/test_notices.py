"""The folder of notifications that wait: order, bounds, and what an interrupted write leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemon.spool.fs import OsFileSystem
from edgemon.spool.notices import Notices, new_key


def test_they_wait_in_the_order_in_which_they_came_and_go_when_done(tmp_path: Path) -> None:
    notices = Notices(OsFileSystem(), str(tmp_path))
    assert notices.waiting() == []
    keys = [new_key() for _ in range(3)]
    for key, kind in zip(keys, ("webhook", "email", "webhook"), strict=True):
        assert notices.put(kind, "duty-1", key, key.encode()) == 0
    waiting = notices.waiting()
    assert [one.key for one in waiting] == keys
    assert [(one.kind, one.action) for one in waiting] == [
        ("webhook", "duty-1"), ("email", "duty-1"), ("webhook", "duty-1"),
    ]  # fmt: skip
    assert Path(notices.path(waiting[1])).read_bytes() == keys[1].encode()
    notices.done(waiting[1])
    notices.done(waiting[1])  # twice is no error: the agent may have made room meanwhile
    assert [one.key for one in notices.waiting()] == [keys[0], keys[2]]


def test_one_more_than_may_wait_takes_the_place_of_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgemon.spool.notices.MAX_WAITING", 20)
    notices = Notices(OsFileSystem(), str(tmp_path))
    keys = [new_key() for _ in range(22)]
    dropped = [notices.put("webhook", "a", key, b"") for key in keys]
    assert dropped == [0] * 20 + [1, 1]
    assert [one.key for one in notices.waiting()] == keys[2:]


def test_what_is_no_notice_is_left_alone_and_an_interrupted_write_is_none(tmp_path: Path) -> None:
    notices = Notices(OsFileSystem(), str(tmp_path))
    notices.put("webhook", "a", new_key(), b"whole")
    [one] = notices.waiting()
    folder = Path(notices.path(one)).parent
    (folder / f"{one.name}.tmp").write_bytes(b"ha")
    (folder / "README").write_text("mine")
    assert notices.waiting() == [one]


class FullDisk(OsFileSystem):
    """Takes a new name, and nothing behind it."""

    def rename(self, old: str, new: str) -> None:  # noqa: ARG002 - as the disk is
        raise OSError(28, "No space left on device", new)


def test_writes_that_a_full_disk_breaks_off_leave_no_more_than_one_behind(tmp_path: Path) -> None:
    full = Notices(FullDisk(), str(tmp_path))
    for _ in range(5):
        with pytest.raises(OSError, match="No space"):
            full.put("webhook", "a", new_key(), b"x")
        assert len(list((tmp_path / "notices").iterdir())) <= 1
    notices = Notices(OsFileSystem(), str(tmp_path))
    notices.put("webhook", "a", new_key(), b"x")
    assert [path.name for path in (tmp_path / "notices").iterdir()] == [
        one.name for one in notices.waiting()
    ]
