"""`edgemon spool ls`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edgemon.cli import main
from edgemon.spool.cursor import Cursor
from edgemon.spool.fs import OsFileSystem
from edgemon.spool.writer import Spool
from tests.spool.helpers import Settings, append, new_spool


@pytest.fixture
def where(tmp_path: Path) -> Settings:
    return Settings(dir=str(tmp_path / "spool"), segment_size_bytes=1000)


@pytest.fixture
def spool(where: Settings) -> Spool:
    """Five prediction batches in three segments, two delivered; an open batch; one gap."""
    fs = OsFileSystem()
    spool = new_spool(fs, where)
    spool.open()
    for _ in range(5):
        append(spool, "pred", size=300)
    spool.journal("agg", spool.next_seq("agg"), b"rows", rows=3)
    spool.drop("sys", spool.next_seq("sys"), 7, "not_encoded")
    spool.sync()
    cursor = Cursor(fs, where.dir)
    cursor.advance("pred", 3)
    cursor.store()
    return spool


def test_ls_lists_segments_journals_and_gaps_while_the_agent_writes(
    spool: Spool, where: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    append(spool, "pred", size=300)
    assert main(["spool", "ls", "--dir", where.dir]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[:2] == [where.dir, f"stream {spool.stream_id.hex()}"]
    assert [line.split()[:3] for line in lines if line.startswith("pred")] == [
        ["pred", "1–2", "20"],
        ["pred", "3–4", "20"],
        ["pred", "5–6", "20"],
    ]
    assert "1970-01-01 00:00:01" in out
    states = [line.rsplit("  ", 1)[1] for line in lines if line.startswith("pred")]
    assert states == ["acknowledged", "acked to 3", "being written"]
    assert all(len(line) <= 80 for line in lines[1:])
    assert any(line.split()[:4] == ["agg", "1", "1", "3"] for line in lines)
    assert any(line.split() == ["sys", "1", "7", "not_encoded"] for line in lines)
    assert lines[-1].startswith("3 batches wait, ")
    assert lines[-1].endswith("in 3 segments")


def test_ls_as_json_says_the_same(
    spool: Spool, where: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["spool", "ls", "--dir", where.dir, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["stream"] == spool.stream_id.hex()
    assert found["kinds"]["pred"] == {"durable_seq": 5, "acked_seq": 3}
    assert [(s["first_seq"], s["last_seq"], s["state"]) for s in found["segments"]] == [
        (1, 2, "acknowledged"),
        (3, 4, "acknowledged to 3"),
        (5, 5, "waits"),
    ]
    assert found["journals"][0]["rows"] == 3
    assert found["gaps"][0]["reason"] == "not_encoded"
    assert found["size_bytes"] == sum(s["size_bytes"] for s in found["segments"])


def test_ls_finds_the_directory_in_the_configuration(
    spool: Spool, where: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del spool
    config = tmp_path / "edgemon.toml"
    config.write_text(f'[spool]\ndir = "{where.dir}"\n')
    assert main(["spool", "ls", "--config", str(config)]) == 0
    assert where.dir in capsys.readouterr().out


def test_ls_works_on_a_damaged_spool_and_changes_nothing(
    spool: Spool, where: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    spool.close()
    folder = Path(where.dir) / "3-pred"
    first, second, third = sorted(folder.iterdir())
    first.write_bytes(b"\xff" * 500)
    data = bytearray(second.read_bytes())
    data[-1] ^= 1
    second.write_bytes(data)
    third.write_bytes(b"")
    (Path(where.dir) / "watermark").write_bytes(b"junk")
    (Path(where.dir) / "gaps").unlink()
    before = {path: path.read_bytes() for path in Path(where.dir).rglob("*") if path.is_file()}
    assert main(["spool", "ls", "--dir", where.dir]) == 0
    capsys.readouterr()
    for call in (["ls", "--verify"], ["ls", "--verify", "--json"], ["verify"]):
        assert main(["spool", *call, "--dir", where.dir]) == 4
        out, err = capsys.readouterr()
        assert "3-pred/0000000000000001.zst" in out
        assert "things wrong" in err
    assert main(["spool", "ls", "--dir", where.dir, "--verify"]) == 4
    out = capsys.readouterr().out
    assert "500 bytes damaged" in out
    assert f"{len(data) // 2} bytes damaged" in out
    assert "empty" in out
    assert before == {p: p.read_bytes() for p in Path(where.dir).rglob("*") if p.is_file()}


def test_ls_of_an_empty_spool_says_so(where: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    spool = new_spool(OsFileSystem(), where)
    spool.open()
    spool.close()
    assert main(["spool", "ls", "--dir", where.dir]) == 0
    assert "No segments" in capsys.readouterr().out


def test_ls_without_a_spool_is_one_line_and_exit_code_5(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["spool", "ls", "--dir", str(tmp_path / "none")]) == 5
    assert capsys.readouterr().err == (
        f"edgemon: there is no spool at {tmp_path / 'none'}: the agent makes it\n"
    )


def test_a_spool_that_may_not_be_read_is_not_said_to_be_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir(mode=0)
    assert main(["spool", "ls", "--dir", str(tmp_path / "none")]) == 5  # all is imported
    capsys.readouterr()
    user = os.geteuid()
    if user == 0:  # whom no mode stops
        os.seteuid(65534)
    try:
        assert main(["spool", "ls", "--dir", str(spool)]) == 5
    finally:
        os.seteuid(user)
    assert capsys.readouterr().err == (
        f"edgemon: no permission to read {spool}; run this as the agent's user\n"
    )
