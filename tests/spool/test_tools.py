"""`edgemon spool verify | cat | export | repair`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgemon import wire
from edgemon.cli import main
from edgemon.records import Row
from edgemon.spool.cursor import Cursor
from edgemon.spool.fs import OsFileSystem
from edgemon.spool.writer import Spool
from tests.ship.rig import event_row, make_batch
from tests.spool.helpers import Settings, new_spool

ROWS = 3


@pytest.fixture
def where(tmp_path: Path) -> Settings:
    return Settings(dir=str(tmp_path / "spool"), segment_size_bytes=2000)


@pytest.fixture
def spool(where: Settings) -> Spool:
    """Five batches of samples and two of events; an open batch of aggregates."""
    spool = new_spool(OsFileSystem(), where)
    spool.open()
    for kind, count in (("sys", 5), ("event", 2)):
        for _ in range(count):
            put(spool, kind)
    spool.journal("agg", spool.next_seq("agg"), b"rows", rows=3)
    assert spool.sync()
    return spool


def put(spool: Spool, kind: str) -> None:
    seq = spool.next_seq(kind)
    rows: list[Row] = [{"t": number, "cpu_percent": float(seq)} for number in range(ROWS)]
    if kind == "event":
        rows = [event_row(number) for number in range(ROWS)]
    batch = make_batch(kind, seq, rows, spool.stream_id.hex())
    spool.append(
        kind, seq, wire.encode(batch), rows=ROWS, first_wall_ms=1000 * seq, last_wall_ms=1000 * seq
    )


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["spool", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def segment(where: Settings, kind: str) -> Path:
    (path, *_) = sorted((Path(where.dir) / kind).glob("*.zst"))
    return path


def damage(path: Path, offset: int, size: int = 40) -> None:
    data = bytearray(path.read_bytes())
    data[offset : offset + size] = b"\xaa" * size
    path.write_bytes(data)


# -- verify


def test_verify_of_a_sound_spool_says_so_while_an_agent_writes(
    spool: Spool, where: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    put(spool, "sys")  # written, not durable
    code, out, err = run(capsys, "verify", "--dir", where.dir)
    assert (code, err) == (0, "")
    assert out.startswith("8 batches (24 rows) and 1 chunk of open ones are whole")


def test_verify_names_the_place_and_the_batch_of_damage_and_changes_nothing(
    spool: Spool, where: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    spool.close()
    path = segment(where, "2-sys")
    size = path.stat().st_size // 5
    damage(path, size + 100)
    before = contents(Path(where.dir))
    code, out, err = run(capsys, "verify", "--dir", where.dir)
    assert code == 4
    assert "2-sys/0000000000000001.zst at byte " in out
    assert "damaged (was sys 2)" in out
    assert "sys 2 missing, and no gap says so" in out
    assert "2 things wrong" in err
    assert contents(Path(where.dir)) == before


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("watermark", "a new numbering would begin"),
        ("stream", "a new numbering would begin"),
        ("gaps", "would be told anew"),
        ("cursor", "would be sent again"),
        ("origin", "is damaged"),
        ("2-sys/0000000000000001.zst", "damaged"),
        ("journal/agg-0000000000000001.zst", "damaged"),
    ],
)
def test_verify_checks_every_file(
    spool: Spool, where: Settings, capsys: pytest.CaptureFixture[str], name: str, problem: str
) -> None:
    cursor = Cursor(OsFileSystem(), where.dir)
    cursor.advance("sys", 1)
    cursor.store()
    spool.drop("pred", spool.next_seq("pred"), 1, "not_encoded")
    spool.journal("agg", 1, b"more", rows=1)
    spool.close()
    assert run(capsys, "verify", "--dir", where.dir)[0] == 0
    path = Path(where.dir) / name
    data = path.read_bytes()
    path.write_bytes(b"\xaa" * 90 + data[90:] if name.endswith("zst") else b"\xaa" * len(data))
    code, out, _ = run(capsys, "verify", "--dir", where.dir)
    assert code == 4
    assert any(line.startswith(name) and problem in line for line in out.splitlines()), out


def test_verify_finds_a_segment_that_is_gone_and_a_cursor_that_lies_ahead(
    spool: Spool, where: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    spool.close()
    segment(where, "2-sys").unlink()
    cursor = Cursor(OsFileSystem(), where.dir)
    cursor.advance("event", 9)
    cursor.store()
    code, out, _ = run(capsys, "verify", "--dir", where.dir, "--json")
    assert code == 4
    problems = [finding["problem"] for finding in json.loads(out)["findings"]]
    assert problems == [
        "event lies ahead: 9, used to 2",
        "sys 1–5 missing, and no gap says so",
    ]


# -- cat


def test_cat_prints_a_line_a_row(
    spool: Spool, where: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "cat", "--dir", where.dir)
    assert code == 0
    found = lines(out)
    assert [(row["kind"], row["seq"]) for row in found] == [
        (kind, seq) for kind, count in (("event", 2), ("sys", 5)) for seq in range(1, count + 1)
        for _ in range(ROWS)
    ]  # fmt: skip
    assert {row["stream_id"] for row in found} == {spool.stream_id.hex()}


@pytest.mark.parametrize(
    ("asked", "got"), [("3", [3]), ("2-4", [2, 3, 4]), ("4-", [4, 5]), ("9", [])]
)
def test_cat_of_one_kind_and_a_range(
    spool: Spool,
    where: Settings,
    capsys: pytest.CaptureFixture[str],
    asked: str,
    got: list[int],
) -> None:
    del spool
    code, out, _ = run(capsys, "cat", "--dir", where.dir, "--kind", "sys", "--seq", asked)
    assert code == 0
    assert [row["seq"] for row in lines(out)] == [seq for seq in got for _ in range(ROWS)]


@pytest.mark.parametrize("asked", ["0", "x", "5-3", "-3", "1-x"])
def test_a_range_that_is_none_is_refused(
    spool: Spool, where: Settings, capsys: pytest.CaptureFixture[str], asked: str
) -> None:
    del spool
    code, out, err = run(capsys, "cat", "--dir", where.dir, f"--seq={asked}")
    assert (code, out) == (2, "")
    assert "17-20" in err


def test_cat_passes_over_damage_and_says_so(
    spool: Spool, where: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    spool.close()
    damage(segment(where, "2-sys"), 20)
    (Path(where.dir) / "watermark").unlink()
    code, out, err = run(capsys, "cat", "--dir", where.dir, "--kind", "sys")
    assert code == 4
    assert sorted({row["seq"] for row in lines(out)}) == [2, 3, 4, 5]
    assert "are no whole batch" in err


# -- export


def test_export_writes_the_files_of_the_folder_sink_and_receive_reads_them(
    spool: Spool, where: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(spool, "sys")  # not durable: its number may yet come to name other rows
    out_folder = tmp_path / "outbox"
    code, out, _ = run(capsys, "export", "--dir", where.dir, "--to", str(out_folder))
    assert code == 0
    assert out.startswith("7 batches, ")
    files = contents(out_folder)
    stream = spool.stream_id.hex()
    assert sorted(files) == sorted(
        f"lab/cam-7/{kind}-{stream}-{seq:016d}.msgpack.zst"
        for kind, count in (("event", 2), ("sys", 5))
        for seq in range(1, count + 1)
    )
    assert run(capsys, "export", "--dir", where.dir, "--to", str(out_folder))[1].endswith(
        "7 were there\n"
    )
    assert contents(out_folder) == files
    assert main(["receive", str(out_folder), "--to", f"jsonl:{tmp_path / 'rows'}"]) == 0


def test_export_of_a_range(
    spool: Spool, where: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del spool
    words = ["--kind", "sys", "--seq", "2-3", "--to", str(tmp_path / "out")]
    assert run(capsys, "export", "--dir", where.dir, *words)[0] == 0
    batches = [wire.decode(data) for data in contents(tmp_path / "out").values()]
    assert [(batch.kind, batch.seq) for batch in batches] == [("sys", 2), ("sys", 3)]


# -- repair


def test_repair_mends_what_verify_finds_and_evicts_nothing(
    spool: Spool, where: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = spool.stream_id
    spool.close()
    damage(segment(where, "2-sys"), 20)
    (Path(where.dir) / "gaps").unlink()
    assert run(capsys, "verify", "--dir", where.dir)[0] == 4
    code, out, _ = run(capsys, "repair", "--dir", where.dir)
    assert code == 0
    assert "batch sys 1 will not arrive (damaged" in out
    assert "pending journals: 1" in out
    assert run(capsys, "verify", "--dir", where.dir)[0] == 0
    again = new_spool(OsFileSystem(), where)
    again.open()
    assert again.stream_id == stream
    assert [(gap.kind, gap.from_seq) for gap in again.take_gaps()] == [("sys", 1)]
    assert [(j.kind, j.seq, j.payloads) for j in again.pending_journals()] == [
        ("agg", 1, [b"rows"])
    ]


def test_repair_beside_a_running_agent_is_refused_with_exit_code_6(
    spool: Spool, where: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    del spool
    code, _, err = run(capsys, "repair", "--dir", where.dir)
    assert code == 6
    assert "in use by process" in err


@pytest.mark.parametrize("command", ["ls", "verify", "cat", "export", "repair"])
def test_every_command_has_an_example_and_names_a_spool_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main(["spool", command, "--help"]) == 0
    assert f"edgemon spool {command}" in capsys.readouterr().out.rpartition("options:")[2]
    more = ["--to", str(tmp_path)] if command == "export" else []
    assert main(["spool", command, "--dir", str(tmp_path / "none"), *more]) == 5
