"""Rows as CSV and JSON lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemon.errors import LockedError, StorageError, UsageError
from edgemon.receive.rows import COLUMNS
from edgemon.receive.store import split_target
from edgemon.receive.textfiles import IDENTITY, FileStore, csv_folder, jsonl_file
from edgemon.records import Row
from edgemon.spool.fs import OsFileSystem
from tests.receive.batches import (
    RECEIVED_NS,
    STREAM,
    WALL_NS,
    incoming,
    make_batch,
    state,
)
from tests.receive.stores import Jsonl, rows_of


def test_json_lines_exactly(tmp_path: Path) -> None:
    store = jsonl_file(str(tmp_path / "out.jsonl"))
    rows: list[Row] = [
        {"t": 1, "model": "m", "output": float("inf"), "f:a": "ü\n"},
        {"t": 2, "output": [1.5]},
    ]
    store.write([incoming(make_batch(9, rows))], [state(True, 3)])
    store.close()
    head = f'"device":"dev-1","fleet":"default","stream_id":"{STREAM.hex()}","kind":"pred","seq":9'
    assert (tmp_path / "out.jsonl").read_text() == (
        '{"table":"devices","device":"dev-1","fleet":"default","online":true,"birth":3,'
        f'"received_ns":{RECEIVED_NS + 3}}}\n'
        f'{{"table":"predictions",{head},"row":0,"time_ns":{WALL_NS + 1000},"model":"m","version":"",'
        '"output_number":"Infinity","features":{"a":"ü\\n"}}\n'
        f'{{"table":"predictions",{head},"row":1,"time_ns":{WALL_NS + 2000},"model":"","version":"",'
        '"output_vector":[1.5],"features":{}}\n'
    )


def test_csv_exactly(tmp_path: Path) -> None:
    store = csv_folder(str(tmp_path / "out"))
    rows: list[Row] = [{"t": 1, "model": 'a,"b"', "id": "x\ny", "output": 0.1, "f:a": 1.0}]
    samples: list[Row] = [{"t": 0, "cpu_percent": 12.5}]
    store.write([incoming(make_batch(9, rows)), incoming(make_batch(4, samples, kind="sys"))], [])
    store.close()
    assert {path.name for path in (tmp_path / "out").glob("*.csv")} == {
        "predictions.csv",
        "samples.csv",
    }
    origin = f"dev-1,default,{STREAM.hex()}"
    assert (tmp_path / "out" / "predictions.csv").read_text() == (
        ",".join((*IDENTITY, *COLUMNS["predictions"])) + "\n"
        f'{origin},9,0,{WALL_NS + 1000},"a,""b""",,"x\ny",,0.1,,,,,"{{""a"":1.0}}",\n'
    )
    assert (tmp_path / "out" / "samples.csv").read_text() == (
        ",".join((*IDENTITY, *COLUMNS["samples"]))
        + "\n"
        + f"{origin},4,0,{WALL_NS},cpu_percent,12.5,,\n"
    )


class CrashError(Exception):
    """The process ends here."""


class CrashingFileSystem(OsFileSystem):
    """Raises instead of the rename that would make the sidecar new."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    def rename(self, old: str, new: str) -> None:
        if self.error is not None:
            raise self.error
        super().rename(old, new)


def json_store(folder: Path, fs: OsFileSystem) -> FileStore:
    store = jsonl_file(str(folder / "out.jsonl"))
    store._fs = fs
    return store


def test_a_crash_between_rows_and_sidecar_repeats_nothing(tmp_path: Path) -> None:
    kind = Jsonl(tmp_path)
    store = kind.open()
    store.write([incoming(make_batch(1))], [])
    store.close()
    before = (tmp_path / "out.jsonl").read_bytes()
    store = json_store(tmp_path, CrashingFileSystem(CrashError()))
    with pytest.raises(CrashError):
        store.write([incoming(make_batch(2))], [])
    store.close()
    assert len((tmp_path / "out.jsonl").read_bytes()) > len(before)
    store = kind.open()
    assert (tmp_path / "out.jsonl").read_bytes() == before
    assert store.write([incoming(make_batch(2))], []).fresh == [True]
    store.close()
    assert kind.rows() == rows_of("dev-1", 1, 2)


def test_a_failed_write_is_repeated_over_what_it_left(tmp_path: Path) -> None:
    kind = Jsonl(tmp_path)
    fs = CrashingFileSystem(OSError(28, "No space left on device"))
    store = json_store(tmp_path, fs)
    with pytest.raises(StorageError, match="No space left"):
        store.write([incoming(make_batch(1)), incoming(make_batch(2))], [state(True, 1)])
    fs.error = None
    assert store.write([incoming(make_batch(1))], [state(True, 1)]).fresh == [True]
    store.close()
    assert kind.rows() == rows_of("dev-1", 1)
    assert (tmp_path / "out.jsonl").read_text().count('"table":"devices"') == 1


def test_two_receivers_cannot_write_one_file(tmp_path: Path) -> None:
    first = jsonl_file(str(tmp_path / "out.jsonl"))
    with pytest.raises(LockedError, match="another receiver"):
        jsonl_file(str(tmp_path / "out.jsonl"))
    first.close()
    jsonl_file(str(tmp_path / "out.jsonl")).close()


def test_csv_does_not_touch_a_file_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("id,label\n1,cat\n")
    with pytest.raises(UsageError, match=r"labels\.csv"):
        csv_folder(str(tmp_path))
    assert (tmp_path / "labels.csv").read_text() == "id,label\n1,cat\n"


def test_a_broken_sidecar_is_reported_and_nothing_is_cut(tmp_path: Path) -> None:
    kind = Jsonl(tmp_path)
    store = kind.open()
    store.write([incoming(make_batch(1))], [])
    store.close()
    before = (tmp_path / "out.jsonl").read_bytes()
    (tmp_path / "out.jsonl.state").write_text("{}")
    with pytest.raises(Exception, match=r"out\.jsonl\.state cannot be read"):
        kind.open()
    assert (tmp_path / "out.jsonl").read_bytes() == before


@pytest.mark.parametrize("target", ["", "sqlite", "sqlite:", "csv:", "csv", "jsonl:", "orc:x"])
def test_a_wrong_target_says_what_is_possible(target: str) -> None:
    with pytest.raises(
        UsageError, match="jsonl, jsonl:FILE, csv:FOLDER, parquet:FOLDER or sqlite:FILE"
    ):
        split_target(target)


def test_targets() -> None:
    assert split_target("jsonl") == ("jsonl", "")
    assert split_target("jsonl:a:b") == ("jsonl", "a:b")
    assert split_target("sqlite:fleet.db") == ("sqlite", "fleet.db")
