"""kill -9 for real: whatever a process said was durable is there when the next one opens the spool."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from edgemon.spool.cursor import Cursor
from edgemon.spool.fs import OsFileSystem
from edgemon.spool.reader import SpoolReader
from tests.spool.helpers import Settings, append_seq, covered, name_in, new_spool

# Prints a line for everything that it was told is durable. "b 5": batch 5. "r 6 17": row 17 of open batch 6.
CHILD = """
import sys
from edgemon.spool.fs import OsFileSystem
from tests.spool.helpers import Settings, append_seq, new_spool
spool = new_spool(OsFileSystem(), Settings(*eval(sys.argv[1])))
spool.open()
for kind, seq, payloads in spool.pending_journals():
    append_seq(spool, kind, seq, rows=len(payloads), size=700)
print("open", flush=True)
row = int(sys.argv[2])
while True:
    seq = spool.next_seq("pred")
    told = []
    for _ in range(5):
        row += 1
        spool.journal("pred", seq, b"%d" % row, rows=1)
        told.append(f"r {seq} {row}")
        if row % 3 == 0 and spool.sync():
            print(*told, sep=chr(10), flush=True)
            told = []
    append_seq(spool, "pred", seq, rows=5, size=700)
    if seq % 2 == 0 and spool.sync():
        print(f"b {seq - 1}", f"b {seq}", sep=chr(10), flush=True)
"""


def told_by_a_killed_child(where: Settings, first_row: int, lines: int) -> list[str]:
    """What it said before it was killed, after at least so many lines."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, repr(tuple(where)), str(first_row)],
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        told = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        told += child.stdout.readlines()
    return [line for line in told if line.endswith("\n")]


def rounds(tmp_path: Path, count: int) -> None:
    where = Settings(dir=str(tmp_path / "spool"), segment_size_bytes=20_000, max_size_bytes=200_000)
    fs = OsFileSystem()
    random = Random(7)
    durable: set[int] = set()
    rows: dict[int, set[int]] = {}
    delivered: set[int] = set()
    last_row = 0
    for _ in range(count):
        for line in told_by_a_killed_child(where, last_row, random.randint(1, 120)):
            what, *numbers = line.split()
            if what == "b":
                durable.add(int(numbers[0]))
            else:
                rows.setdefault(int(numbers[0]), set()).add(int(numbers[1]))
        last_row += 1_000_000
        spool = new_spool(fs, where)
        spool.open()
        # A write that the kill cut in two was promised to nobody.
        assert not covered(spool.take_gaps(), "pred") & durable
        replayed = {
            p.seq: {int(payload) for payload in p.payloads} for p in spool.pending_journals()
        }
        cursor = Cursor(fs, where.dir)
        reader = SpoolReader(fs, where.dir)
        found = set()
        after = cursor.acked("pred")
        while (record := reader.next("pred", after)) is not None:
            after = record.seq
            assert name_in(record.frame) == f"pred {after}"
            assert after not in delivered
            found.add(after)
        assert durable <= found | delivered
        for seq, promised in rows.items():
            assert promised <= replayed.get(seq, set()) or seq in found | delivered
        cursor.advance("pred", after - random.randint(0, 3))
        delivered |= {seq for seq in found if seq <= cursor.acked("pred")}
        cursor.store()
        for seq, payloads in replayed.items():
            append_seq(spool, "pred", seq, rows=len(payloads), size=700)
        spool.close()
    assert durable
    assert rows


def test_what_was_promised_survives_kill_9(tmp_path: Path) -> None:
    rounds(tmp_path, 5)


@pytest.mark.slow
def test_what_was_promised_survives_kill_9_many_times(tmp_path: Path) -> None:
    rounds(tmp_path, 100)
