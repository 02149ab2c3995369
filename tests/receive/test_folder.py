"""Folders, files and spools as a source; the commands `receive` and `decode` on them."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgemon import wire
from edgemon.errors import StorageError
from edgemon.receive.control import Limits, Stop
from edgemon.receive.folder import FolderSource
from edgemon.receive.intake import Intake
from edgemon.receive.presence import DeviceState
from edgemon.receive.quarantine import Quarantine
from edgemon.receive.rows import COLUMNS
from edgemon.receive.sqlite import SqliteStore
from edgemon.receive.store import Incoming, Stored
from edgemon.records import Row
from tests.receive.batches import STREAM, make_batch, make_frame, record
from tests.receive.processes import Receiver, edgemon, query, seqs
from tests.receive.test_intake import FakeStore
from tests.servers import wait_for


def spool(folder: Path) -> Path:
    """A spool as the agent leaves it: two kinds, a torn tail, a journal, a quarantine."""
    samples = [
        wire.encode(make_batch(seq, [{"t": 0, "cpu_percent": 5.0}], kind="sys")) for seq in (1, 2)
    ]
    for name, data in {
        "2-sys/0000000000000001.zst": record(1, samples[0]) + record(2, samples[1]),
        "3-pred/0000000000000001.zst": record(1) + record(2),
        "3-pred/0000000000000003.zst": record(3) + record(4)[:-7],
        "journal/pred-0000000000000004.zst": record(4),
        "quarantine/00000001-x-0.zst": b"junk",
        "cursor": b"junk",
    }.items():
        path = folder / "spool" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder / "spool"


def test_a_spool_with_a_torn_segment_gives_all_that_is_whole(tmp_path: Path) -> None:
    spool(tmp_path)
    done = edgemon("receive", "spool", "--to", "sqlite:fleet.db", cwd=tmp_path)
    assert done.returncode == 4
    assert b"a file ends inside a batch file=spool/3-pred/0000000000000003.zst" in done.stderr
    assert b"5 batches, 11 rows, 1 device" in done.stderr
    assert query(tmp_path / "fleet.db", "SELECT kind, seq FROM batches ORDER BY kind, seq") == [
        ("pred", 1), ("pred", 2), ("pred", 3), ("sys", 1), ("sys", 2),
    ]  # fmt: skip
    again = edgemon("receive", "spool", "--to", "sqlite:fleet.db", "--quiet", cwd=tmp_path)
    assert again.returncode == 4
    assert query(tmp_path / "fleet.db", "SELECT count(*) FROM predictions") == [(9,)]
    assert not (tmp_path / "fleet.db.quarantine").exists()


def test_a_damaged_file_goes_to_quarantine_and_the_rest_is_stored(tmp_path: Path) -> None:
    damaged = bytearray(record(1) + record(2) + record(3))
    damaged[len(record(1)) + len(record(2)) - 20] ^= 4
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.zst").write_bytes(damaged)
    (tmp_path / "out" / "b.msgpack.zst").write_bytes(make_frame(4))
    (tmp_path / "out" / "c.msgpack.zst.tmp").write_bytes(make_frame(5))
    done = edgemon("receive", "out", "--to", "sqlite:fleet.db", cwd=tmp_path)
    assert done.returncode == 4
    assert seqs(tmp_path / "fleet.db") == [1, 3, 4]
    (kept,) = (tmp_path / "fleet.db.quarantine").iterdir()
    assert (
        kept.read_bytes()
        == make_frame(2)[:-20] + bytes([make_frame(2)[-20] ^ 4]) + make_frame(2)[-19:]
    )
    assert b"out/a.zst at byte" in done.stderr


def test_whole_files_end_with_code_0_and_a_progress_line(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(make_frame(1))
    done = edgemon("receive", "a.bin", "--to", "csv:out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.startswith(b"receive: ")
    assert done.stderr.endswith(b"1 file, 1 batch, 3 rows, 1 device\n")
    with (tmp_path / "out" / "predictions.csv").open() as file:
        assert [row["prediction_id"] for row in csv.DictReader(file)] == ["1-0", "1-1", "1-2"]


def test_json_lines_go_to_standard_output_by_default_in_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "a.zst").write_bytes(make_frame(1) + make_frame(1) + make_frame(2))
    done = edgemon("receive", "a.zst", "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["seq"], row["row"]) for row in rows] == [
        (seq, row) for seq in (1, 2) for row in range(3)
    ]
    assert rows[1]["features"] == {"a": 1.125, "b": 1.0}


def test_a_pipe_that_closes_early_is_no_error_message(tmp_path: Path) -> None:
    (tmp_path / "a.zst").write_bytes(b"".join(make_frame(seq) for seq in range(1, 2000)))
    with Receiver(tmp_path, "a.zst", "--to", "jsonl", "--quiet") as receiver:
        assert receiver.process.stdout is not None
        receiver.process.stdout.readline()
        receiver.process.stdout.close()
        receiver.process.stdout = None
        assert receiver.wait() == 141
    assert receiver.log() == ""


def test_following_a_folder_takes_what_comes_and_what_grows(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    database = tmp_path / "fleet.db"
    (out / "segment.zst").write_bytes(record(1) + record(2)[:-9])
    with Receiver(tmp_path, "out", "--follow", "--to", "sqlite:fleet.db") as receiver:
        wait_for(lambda: seqs(database) == [1])
        with (out / "segment.zst").open("ab") as segment:
            segment.write(record(2)[-9:] + record(3))
        (out / "later").mkdir()
        (out / "later" / "x.zst").write_bytes(make_frame(9))
        wait_for(lambda: seqs(database) == [1, 2, 3, 9])
        # Another file under a known name, as a spool that starts anew.
        (out / "new.zst").write_bytes(record(20))
        os.replace(out / "new.zst", out / "segment.zst")
        wait_for(lambda: seqs(database) == [1, 2, 3, 9, 20])
        assert receiver.stop() == 0
    assert "quarantine" not in receiver.log()


def test_following_ends_after_idle_time_or_so_many_batches(tmp_path: Path) -> None:
    (tmp_path / "a.zst").write_bytes(b"".join(make_frame(seq) for seq in range(1, 50)))
    done = edgemon(
        "receive", "a.zst", "--follow", "--until-idle", "1s", "--to", "sqlite:a.db", cwd=tmp_path
    )
    assert done.returncode == 0
    assert len(seqs(tmp_path / "a.db")) == 49
    done = edgemon("receive", "a.zst", "--max-batches", "7", "--to", "sqlite:b.db", cwd=tmp_path)
    assert done.returncode == 0
    assert len(seqs(tmp_path / "b.db")) == 7


def test_an_interrupt_from_the_keyboard_stores_what_was_read(tmp_path: Path) -> None:
    (tmp_path / "a.zst").write_bytes(make_frame(1))
    with Receiver(tmp_path, "a.zst", "--follow", "--to", "sqlite:fleet.db") as receiver:
        wait_for(lambda: seqs(tmp_path / "fleet.db") == [1])
        assert receiver.stop(signal.SIGINT) == 130
    assert "received 1 batch, 3 rows, 1 device" in receiver.log()


def test_a_store_that_fails_ends_a_single_pass_and_makes_a_follower_wait(tmp_path: Path) -> None:
    (tmp_path / "a.zst").write_bytes(make_frame(1))
    store = FakeStore()
    store.failing = True
    intake = Intake(store, Quarantine(str(tmp_path / "q")))
    with Stop() as stop:
        with pytest.raises(StorageError):
            FolderSource([str(tmp_path / "a.zst")], intake, stop, Limits()).run_once()
        assert intake.pending == 1

        class Recovering(FakeStore):
            failures = 0

            def write(self, batches: Sequence[Incoming], states: Sequence[DeviceState]) -> Stored:
                self.failing = self.failures < 2
                self.failures += 1
                return super().write(batches, states)

        recovering = Recovering()
        intake = Intake(recovering, Quarantine(str(tmp_path / "q")))
        FolderSource([str(tmp_path / "a.zst")], intake, stop, Limits(max_batches=1)).follow()
        assert recovering.seqs == [1]


def test_a_segment_that_vanishes_while_it_is_followed_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "a.zst"
    path.write_bytes(make_frame(1))
    store = FakeStore()
    intake = Intake(store, Quarantine(str(tmp_path / "q")))
    with Stop() as stop:
        source = FolderSource([str(tmp_path)], intake, stop, Limits())
        assert source._scan()
        path.unlink()
        assert not source._scan()
        path.write_bytes(make_frame(2))
        assert source._scan()
    intake.commit()
    assert store.seqs == [1, 2]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["missing"], 5, "missing: there is no such file or folder"),
        (["empty"], 2, "no .zst files in empty"),
        (
            ["a.zst", "--to", "excel:x"],
            2,
            "jsonl, jsonl:FILE, csv:FOLDER, parquet:FOLDER or sqlite:FILE",
        ),
        (["a.zst", "--to", "sqlite:no/such/folder/x.db"], 2, "there is no folder"),
        (["a.zst", "--to", "jsonl:/tmp"], 2, "that is a folder; name a file"),
        (["mqtt://localhost", "a.zst"], 2, "a broker or a bucket is a source alone"),
        (["a.zst", "--until-idle", "1s"], 2, "files end by themselves"),
        (["mqtt://localhost", "--until-idle", "soon"], 2, "no duration"),
        (["mqtt://localhost", "--follow"], 2, "--follow is for folders"),
        (["mqtt://localhost", "--once", "--until-idle", "1s"], 2, "--once ends by itself"),
        (["mqtt://localhost", "--max-batches", "0"], 2, "at least 1"),
        (["mqtt://localhost", "--ca", "x"], 2, "need mqtts://"),
        (["mqtt://u:secret@localhost"], 2, "use --password-file"),
        (["mqtt://localhost", "--topic-prefix", "a/#"], 2, "no part of a topic"),
        (["http://localhost"], 2, "a broker is mqtt://host or mqtts://host"),
        (["mqtt://localhost:99999"], 2, "is no port"),
        (["mqtts://localhost", "--ca", "missing.pem"], 2, "missing.pem"),
        (["mqtt://u@localhost", "--password-file", "missing"], 2, "no such file"),
    ],
)
def test_a_call_that_cannot_work_is_one_line(
    tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.zst").write_bytes(make_frame(1))
    done = edgemon("receive", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, b"")
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert message in lines[0]


def test_an_unsupported_batch_is_stored_after_an_upgrade(tmp_path: Path) -> None:
    """The quarantine's files are batches: what was kept can be received again."""
    folder = tmp_path / "q" / "unsupported"
    folder.mkdir(parents=True)
    Quarantine(str(tmp_path / "q")).put(make_frame(3), "a batch of format 1", supported=False)
    assert edgemon("receive", str(folder), "--to", "sqlite:fleet.db", cwd=tmp_path).returncode == 0
    assert seqs(tmp_path / "fleet.db") == [3]


# ---- decode --------------------------------------------------------------------------------------


def test_decode_prints_rows_as_receive_does(tmp_path: Path) -> None:
    (tmp_path / "a.zst").write_bytes(record(1) + make_frame(2))
    decoded = edgemon("decode", "a.zst", cwd=tmp_path)
    received = edgemon("receive", "a.zst", "--to", "jsonl", "--quiet", cwd=tmp_path)
    assert decoded.returncode == 0
    assert decoded.stdout == received.stdout != b""
    piped = edgemon("decode", "-", cwd=tmp_path, stdin=(tmp_path / "a.zst").read_bytes())
    assert piped.stdout == decoded.stdout


def test_decode_says_that_a_tail_is_torn_after_printing_what_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a.zst").write_bytes(record(1) + record(2)[:-7])
    done = edgemon("decode", "a.zst", cwd=tmp_path)
    assert done.returncode == 4
    assert [json.loads(line)["seq"] for line in done.stdout.splitlines()] == [1, 1, 1]
    torn = len(make_frame(2)) - 7
    at = len(record(1)) + len(record(2)) - len(make_frame(2))
    assert (
        done.stderr.decode()
        == f"edgemon: a.zst: ends inside a batch: {torn} bytes at byte {at} are not whole\n"
    )


def test_decode_goes_on_behind_damage(tmp_path: Path) -> None:
    (tmp_path / "a.zst").write_bytes(make_frame(1) + b"garbage" + make_frame(2))
    done = edgemon("decode", "a.zst", "--header", cwd=tmp_path)
    assert done.returncode == 4
    assert [json.loads(line)["seq"] for line in done.stdout.splitlines()] == [1, 2]
    assert b"7 damaged bytes at byte" in done.stderr


def test_decode_header_is_one_line_a_batch(tmp_path: Path) -> None:
    (tmp_path / "a.zst").write_bytes(record(1))
    (line,) = edgemon("decode", "a.zst", "--header", cwd=tmp_path).stdout.splitlines()
    header = json.loads(line)
    assert header["device"] == "dev-1"
    assert header["stream_id"] == STREAM.hex()
    assert header["rows"] == 3
    assert header["bytes"] == len(make_frame(1))
    assert "f:a:f8" in header["columns"]
    table = (
        edgemon("decode", "a.zst", "--header", "--format", "table", cwd=tmp_path)
        .stdout.decode()
        .splitlines()
    )
    assert len(table) == 2
    assert table[0].split()[:4] == ["file", "offset", "bytes", "kind"]
    text = edgemon("decode", "a.zst", "--header", "--format", "csv", cwd=tmp_path).stdout.decode()
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["kind"] == "pred"


def test_decode_raw_shows_the_columns_of_the_wire(tmp_path: Path) -> None:
    rows: list[Row] = [{"t": 5, "output": [1.0, math.nan], "sig": b"\1", "latency": -math.inf}]
    (tmp_path / "a.zst").write_bytes(make_frame(1, rows))
    (line,) = edgemon("decode", "a.zst", "--raw", cwd=tmp_path).stdout.splitlines()
    assert json.loads(line)["columns"] == {
        "t": 5,
        "output": [1.0, "NaN"],
        "sig": "AQ==",
        "latency": "-Infinity",
    }


def test_decode_csv_is_one_table_and_says_when_it_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "a.zst").write_bytes(
        make_frame(1) + make_frame(1, [{"t": 0, "type": "x"}], kind="event")
    )
    done = edgemon("decode", "a.zst", "--format", "csv", cwd=tmp_path)
    assert done.returncode == 2
    assert b"choose one with --kind" in done.stderr
    done = edgemon("decode", "a.zst", "--format", "csv", "--kind", "event", cwd=tmp_path)
    assert done.returncode == 0
    (row,) = csv.DictReader(io.StringIO(done.stdout.decode()))
    assert list(row) == ["device", "fleet", "stream_id", "seq", *COLUMNS["events"]]
    assert row["type"] == "x"


def test_decode_table_leaves_out_columns_without_values(tmp_path: Path) -> None:
    (tmp_path / "a.zst").write_bytes(make_frame(1))
    done = edgemon("decode", "a.zst", "--format", "table", cwd=tmp_path)
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "predictions"
    assert lines[1].split()[:4] == ["device", "seq", "row", "time_ns"]
    assert "output_text" not in lines[1]
    assert len(lines) == 5


def test_the_ordinary_zstd_tool_reads_what_decode_reads(tmp_path: Path) -> None:
    (tmp_path / "a.zst").write_bytes(record(1) + record(2))
    try:
        plain = subprocess.run(
            ["zstd", "-dcq", "a.zst"], cwd=tmp_path, capture_output=True, check=True
        ).stdout
    except FileNotFoundError:
        pytest.skip("needs zstd (Debian: apt-get install zstd)")
    assert plain.count(b"dev-1") == 2


def test_sqlite_store_is_closed_after_a_stop(tmp_path: Path) -> None:
    """The write-ahead log is folded in: one file can be copied."""
    (tmp_path / "a.zst").write_bytes(make_frame(1))
    edgemon("receive", "a.zst", "--to", "sqlite:fleet.db", cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zst", "fleet.db"]
    SqliteStore(str(tmp_path / "fleet.db")).close()
