"""How batches become objects: names, cuts, and what is remembered of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgemon.ship.s3_objects import MAX_BATCHES, MAX_CUTS, Cuts, Gathering, folder_of
from edgemon.ship.sink import Parcel
from edgemon.spool.fs import OsFileSystem
from tests.ship.rig import STREAM

T_MS = 1_750_000_000_123  # 2025-06-15T15:06:40Z


def batch(seq: int, size: int = 100, *, kind: str = "pred", stream: str = STREAM) -> Parcel:
    return Parcel(kind, seq, stream, bytes([seq % 256]) * size, T_MS + seq)


def gather(folder: Path, *seqs: int, cut: int = 0, before: int = 0, size: int = 100) -> Gathering:
    run = Gathering(OsFileSystem(), str(folder), batch(seqs[0]), cut, before, 0.0, seqs[0])
    for seq in seqs:
        run.add(batch(seq, size))
    return run


def test_the_name_tells_fleet_day_hour_device_kind_stream_and_numbers(tmp_path: Path) -> None:
    name = gather(tmp_path, 7, 8, 9).name("site/a", "lab", "cam-7")
    assert name == (
        "site/a/v1/fleet=lab/dt=2025-06-15/hour=15/device=cam-7/"
        f"pred-{STREAM}-0000000000000007-0000000000000009.msgpack.zst"
    )


def test_the_name_depends_on_the_first_batch_alone_whenever_it_is_made(tmp_path: Path) -> None:
    names = {gather(tmp_path / "..", 7, 8).name("", "lab", "cam-7") for _ in range(2)}
    assert len(names) == 1


@pytest.mark.parametrize(
    ("wall_ms", "day"),
    [(0, "dt=1970-01-01/hour=00"), (-5, "dt=1970-01-01/hour=00"), (2**62, "dt=9999-12-31/hour=23")],
)
def test_a_clock_that_is_absurd_still_gives_a_name(wall_ms: int, day: str) -> None:
    assert day in folder_of("", "lab", "cam-7", wall_ms)


@pytest.mark.parametrize("prefix", ["", "/", "a", "a/", "a/b"])
def test_a_prefix_never_gives_an_empty_part(prefix: str) -> None:
    assert not re.search("^/|//", folder_of(prefix, "lab", "cam-7", T_MS))


def test_a_run_has_no_hole_one_kind_and_one_stream(tmp_path: Path) -> None:
    run = gather(tmp_path, 7, 8)
    assert run.follows(batch(9))
    assert not run.follows(batch(10))
    assert not run.follows(batch(8))
    assert not run.follows(batch(9, stream="f" * 32))
    assert not run.follows(batch(9, kind="agg"))


def test_a_run_ends_at_its_size_or_its_number(tmp_path: Path) -> None:
    run = gather(tmp_path, 1, 2, 3)
    assert run.complete(300) and not run.complete(301)
    assert not run.has_room(batch(4), 399) and run.has_room(batch(4), 400)
    assert gather(tmp_path, *range(1, MAX_BATCHES + 1), size=1).complete(1 << 20)


def test_a_run_that_was_cut_before_ends_there_whatever_the_limits_are_now(tmp_path: Path) -> None:
    run = gather(tmp_path, 1, 2, cut=3)
    assert not run.complete(1) and run.has_room(batch(3), 1)
    run.add(batch(3))
    assert run.complete(1 << 30)


def test_a_run_ends_where_another_began_before_or_at_its_size(tmp_path: Path) -> None:
    assert not gather(tmp_path, 1, 2, before=4).complete(1 << 30)
    assert gather(tmp_path, 1, 2, 3, before=4).complete(1 << 30)
    assert gather(tmp_path, 1, 2, before=4).complete(200)


def test_the_file_holds_the_frames_one_behind_the_other(tmp_path: Path) -> None:
    run = gather(tmp_path, 1, 2, 3)
    assert Path(run.path).read_bytes() == b"".join(batch(seq).frame for seq in (1, 2, 3))
    run.discard()
    assert list(tmp_path.iterdir()) == []


def cuts(folder: Path) -> Cuts:
    return Cuts(OsFileSystem(), str(folder / "cuts.json"))


def test_cuts_are_known_to_the_next_shipper(tmp_path: Path) -> None:
    known = cuts(tmp_path)
    known.record(gather(tmp_path, 5, 6, 7))
    known.record(gather(tmp_path, 8))
    again = cuts(tmp_path)
    assert again.end_of(STREAM, "pred", 5) == 7
    assert again.end_of(STREAM, "pred", 8) == 8
    assert again.end_of(STREAM, "pred", 6) == 0
    assert again.end_of(STREAM, "agg", 5) == 0
    assert again.end_of("f" * 32, "pred", 5) == 0
    assert [again.begin_after(STREAM, "pred", first) for first in (4, 5, 8)] == [5, 8, 0]
    assert again.begin_after(STREAM, "agg", 4) == again.begin_after("f" * 32, "pred", 4) == 0


def test_a_cut_that_is_known_is_not_written_again(tmp_path: Path) -> None:
    fs = OsFileSystem()
    known = Cuts(fs, str(tmp_path / "cuts.json"))
    known.record(gather(tmp_path, 5, 6))
    before = fs.syncs
    known.record(gather(tmp_path, 5, 6))
    assert fs.syncs == before


def test_a_later_cut_from_the_same_batch_replaces_the_earlier(tmp_path: Path) -> None:
    known = cuts(tmp_path)
    known.record(gather(tmp_path, 5, 6, 7))
    known.record(gather(tmp_path, 5, 6))
    assert cuts(tmp_path).end_of(STREAM, "pred", 5) == 6


def test_what_was_refused_is_forgotten(tmp_path: Path) -> None:
    known = cuts(tmp_path)
    run = gather(tmp_path, 5, 6)
    known.record(run)
    known.forget(run)
    assert known.end_of(STREAM, "pred", 5) == 0
    assert cuts(tmp_path).end_of(STREAM, "pred", 5) == 0


def test_only_the_latest_cuts_are_kept(tmp_path: Path) -> None:
    known = cuts(tmp_path)
    for seq in range(1, MAX_CUTS + 2):
        known.record(gather(tmp_path, seq))
    assert known.end_of(STREAM, "pred", 1) == 0
    assert cuts(tmp_path).end_of(STREAM, "pred", MAX_CUTS + 1) == MAX_CUTS + 1


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"version": 2}', b'{"version": 1}', b'{"version": 1, "cuts": {"pred": [1]}}', b"\xff"],
)  # fmt: skip
def test_a_damaged_file_of_cuts_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cuts.json").write_bytes(content)
    assert cuts(tmp_path).end_of(STREAM, "pred", 1) == 0
