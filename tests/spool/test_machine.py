"""The spool against a model, over a disk that is pulled, filled and damaged at random.

What is held: whatever `sync` said is durable can be read, was delivered, or is in a gap; the same number never
names two batches; open always succeeds; every bound holds.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from zstandard import ZstdCompressor, ZstdDecompressor

from edgemon.spool.cursor import Cursor
from edgemon.spool.gaps import SLOT_BYTES, Gap
from edgemon.spool.reader import SpoolReader
from edgemon.spool.writer import Spool
from tests.spool.helpers import DIRECTORY, Settings, new_spool
from tests.spool.memory_fs import Crash, MemoryFileSystem

KINDS = ("event", "agg", "sys", "pred")
BOUNDS = Settings(segment_size_bytes=2048, max_size_bytes=10 << 10, quarantine_size_bytes=4096)
MEMORY_BYTES = 6000
BIGGEST_RECORD_BYTES = 1200

Key = tuple[bytes, str, int]
Chunk = tuple[str, int]  # kind, a number that is used once

kinds = st.sampled_from(KINDS)
sizes = st.integers(0, 1000)
seeds = st.integers(0, 2**32)


class SpoolMachine(RuleBasedStateMachine):
    @initialize(
        when_full=st.sampled_from(["drop_oldest", "drop_newest", "block"]),
        max_age_s=st.sampled_from([0.0, 0.0, 60.0]),
        reserve_free_bytes=st.sampled_from([0, 0, 3000]),
    )
    def begin(self, when_full: str, max_age_s: float, reserve_free_bytes: int) -> None:
        self.fs = MemoryFileSystem()
        self.settings = BOUNDS._replace(
            when_full=when_full, max_age_s=max_age_s, reserve_free_bytes=reserve_free_bytes
        )
        self.now_s, self.wall_ms = 1000.0, 1_750_000_000_000
        self.count = 0
        self.compressor = ZstdCompressor(level=1, write_checksum=True)
        # What was handed over and not promised yet, and what was promised, with the chunks inside.
        self.appended: dict[tuple[str, int], frozenset[int]] = {}
        self.promised: dict[tuple[str, int], frozenset[int]] = {}
        self.chunks: dict[tuple[str, int], set[int]] = {}  # in journals, not promised
        self.promised_chunks: dict[tuple[str, int], set[int]] = {}
        self.delivered: dict[Key, bytes] = {}
        self.may_repeat = False
        self.to_ship: list[Gap] = []
        self.carried: dict[int, list[Gap]] = {}  # event seq -> gaps in it
        self.settled: list[Gap] = []
        self.open_batch: dict[str, tuple[int, set[int]]] = {}
        self.open_spool()

    # -- helpers

    def open_spool(self) -> None:
        self.spool: Spool = new_spool(
            self.fs,
            self.settings,
            memory_size_bytes=MEMORY_BYTES,
            now_s=lambda: self.now_s,
            wall_ms=lambda: self.wall_ms,
        )
        self.spool.open()
        self.cursor = Cursor(self.fs, DIRECTORY)
        self.reader = SpoolReader(self.fs, DIRECTORY)
        self.to_ship = []
        self.appended, self.chunks, self.carried, self.open_batch = {}, {}, {}, {}
        self.collect()
        replayed = {
            (kind, seq): {int(payload) for payload in payloads}
            for kind, seq, payloads in self.spool.pending_journals()
        }
        # Where the disk failed already, and hides what is durable, a later check sees it.
        if not self.spool.usage().memory_bytes and not self.spool.failure:
            self.check_promises(replayed)
        for (kind, seq), chunks in replayed.items():
            self.append_batch(kind, seq, chunks, 10)

    def collect(self, gaps: list[Gap] | None = None) -> None:
        """Take the news: gaps, and which of those that were handed out are in durable batches now."""
        gaps = self.spool.take_gaps() if gaps is None else gaps
        self.to_ship += gaps
        again = {gap.id for gap in gaps}  # the batch that carried them was lost
        for seq, carried in list(self.carried.items()):
            self.carried[seq] = [gap for gap in carried if gap.id not in again]
            if seq <= self.spool.durable_seq("event"):
                self.settled += self.carried.pop(seq)

    def known_gaps(self) -> list[Gap]:
        """Shipped, or to be shipped; those that are in a batch come back if it is lost."""
        carried = [gap for gaps in self.carried.values() for gap in gaps]
        return self.to_ship + carried + self.settled

    def append_batch(
        self, kind: str, seq: int, chunks: set[int], size: int, gaps: list[Gap] | None = None
    ) -> None:
        for gap in self.known_gaps():
            said_lost = gap.kind == kind and gap.from_seq <= seq <= gap.to_seq and not gap.partial
            assert not said_lost, f"{kind} {seq} was said to be lost, and is used again"
        self.count += 1
        noise = Random(self.count).randbytes(size)
        text = f"{self.count} {kind} {seq} {','.join(map(str, sorted(chunks)))} ".encode()
        self.appended[kind, seq] = frozenset(chunks)
        if gaps:
            self.carried[seq] = gaps
        self.spool.append(
            kind,
            seq,
            self.compressor.compress(text + noise),
            rows=len(chunks),
            first_wall_ms=self.wall_ms,
            last_wall_ms=self.wall_ms,
            settles=[gap.id for gap in gaps or []],
        )
        self.collect()

    def check_promises(self, in_memory: dict[tuple[str, int], set[int]]) -> None:
        """Everything promised is delivered, readable, or in a gap that was or will be shipped.

        in_memory: batches whose rows the agent holds, because they are open or replayed.
        """
        gone: dict[str, set[int]] = {kind: set() for kind in KINDS}
        for gap in self.known_gaps():
            gone[gap.kind] |= set(range(gap.from_seq, gap.to_seq + 1))
        found: dict[tuple[str, int], set[int]] = {}
        frames = [(kind, seq, frame) for (_, kind, seq), frame in self.delivered.items()]
        reader = SpoolReader(self.fs, DIRECTORY)
        for kind in KINDS:
            after = self.cursor.acked(kind)
            while (record := reader.next(kind, after)) is not None:
                assert record.seq > after
                after = record.seq
                frames.append((kind, record.seq, record.frame))
        for kind, seq, frame in frames:
            _, name, number, listed, _ = ZstdDecompressor().decompress(frame).split(b" ", 4)
            assert (name.decode(), int(number)) == (kind, seq)
            found[kind, seq] = {int(chunk) for chunk in listed.split(b",") if chunk}
        for key, inside in in_memory.items():
            found.setdefault(key, inside)
        for kind, seq in self.promised:
            assert (kind, seq) in found or seq in gone[kind], f"{kind} {seq} was promised"
        for (kind, seq), promised in self.promised_chunks.items():
            held = found.get((kind, seq), set())
            assert promised <= held or seq in gone[kind], f"rows of {kind} {seq} were promised"

    # -- what the agent does

    @rule(kind=kinds, size=sizes)
    def append(self, kind: str, size: int) -> None:
        seq, chunks = self.open_batch.pop(kind, (0, set[int]()))
        self.append_batch(kind, seq or self.spool.next_seq(kind), chunks, size)

    @rule(kind=st.sampled_from(KINDS[1:]), size=st.integers(0, 60))
    def journal(self, kind: str, size: int) -> None:
        if kind not in self.open_batch:
            self.open_batch[kind] = (self.spool.next_seq(kind), set())
        seq, inside = self.open_batch[kind]
        self.count += 1
        inside.add(self.count)
        self.chunks.setdefault((kind, seq), set()).add(self.count)
        self.spool.journal(kind, seq, str(self.count).encode() + b" " * size, rows=1)
        self.collect()

    @rule()
    def sync(self) -> None:
        durable = self.spool.sync()
        self.collect()
        if not durable:
            return
        self.promised |= self.appended
        for key, inside in self.appended.items():
            self.promised_chunks.setdefault(key, set()).update(inside)
        for key, chunks in self.chunks.items():
            if key[0] in self.open_batch and self.open_batch[key[0]][0] == key[1]:
                self.promised_chunks.setdefault(key, set()).update(chunks)
        self.appended, self.chunks = {}, {}

    @rule(kind=st.sampled_from(KINDS[1:]))
    def skip_a_number(self, kind: str) -> None:
        if kind not in self.open_batch:
            self.spool.next_seq(kind)

    @rule(kind=st.sampled_from(KINDS[1:]))
    def drop(self, kind: str) -> None:
        if kind in self.open_batch:
            seq, _ = self.open_batch.pop(kind)
            self.spool.drop(kind, seq, 1, "not_encoded")
            self.collect()

    @rule()
    def maintain(self) -> None:
        self.collect(self.spool.maintain())

    @rule(size=sizes)
    def ship_gaps(self, size: int) -> None:
        if self.to_ship:
            gaps, self.to_ship = self.to_ship, []
            self.append_batch("event", self.spool.next_seq("event"), set(), size, gaps)

    # -- what the shipper does

    @rule(kind=kinds, most=st.integers(1, 10))
    def deliver(self, kind: str, most: int) -> None:
        for _ in range(most):
            record = self.reader.next(kind, self.cursor.acked(kind))
            if record is None:
                break
            key = (record.stream, kind, record.seq)
            if key in self.delivered:
                assert self.delivered[key] == record.frame, "one number names two batches"
                assert self.may_repeat, "delivered twice"
            self.delivered[key] = record.frame
            self.cursor.advance(kind, record.seq)
        try:
            self.cursor.store()
        except OSError:
            self.may_repeat = True

    # -- what happens to the clocks

    @rule(seconds=st.integers(0, 50))
    def time_passes(self, seconds: int) -> None:
        self.now_s += seconds
        self.wall_ms += 1000 * seconds

    @rule(wall_ms=st.sampled_from([0, 1_750_000_000_000, 1_900_000_000_000]))
    def the_clock_steps(self, wall_ms: int) -> None:
        self.wall_ms = wall_ms

    # -- what happens to the disk

    @rule(
        operation=st.sampled_from(["write", "sync", "sync_dir", "truncate", "open", "unlink"]),
        code=st.sampled_from([errno.EIO, errno.ENOSPC]),
        part=st.sampled_from(["pred", "agg", "event", "journal", "watermark", "gaps", ""]),
        skip=st.integers(0, 3),
        times=st.sampled_from([1, 2, 5, 50]),
    )
    def fail(self, operation: str, code: int, part: str, skip: int, times: int) -> None:
        self.fs.fail(operation, code, path_part=part, skip=skip, times=times)

    @rule()
    def heal(self) -> None:
        self.fs.heal()
        self.fs.capacity_bytes = None

    @rule(spare=st.integers(0, 4000))
    def fill_the_disk(self, spare: int) -> None:
        self.fs.capacity_bytes = None
        self.fs.capacity_bytes = sum(self.fs.size(path) for path in self.fs.paths()) + spare

    @rule()
    def stop_and_start(self) -> None:
        self.sync()
        self.spool.close()
        self.collect([])  # what the sync could not publish, the close may have
        self.fs.kill()
        self.open_spool()

    @rule()
    def kill(self) -> None:
        self.fs.kill()
        self.open_spool()

    @rule(seed=seeds)
    def cut_the_power(self, seed: int) -> None:
        self.fs.lose_power(Random(seed))
        self.open_spool()

    @rule(
        seed=seeds,
        after=st.lists(st.integers(0, 25), min_size=1, max_size=3),
        power=st.booleans(),
        action=st.sampled_from(["append", "sync", "maintain", "deliver", "open"]),
    )
    def crash_in_the_middle(self, seed: int, after: list[int], power: bool, action: str) -> None:
        """Of one thing, and then of the recoveries that follow."""
        random = Random(seed)
        actions: dict[str, Callable[[], None]] = {
            "append": lambda: self.append_batch("pred", self.spool.next_seq("pred"), set(), 900),
            "sync": self.sync,
            "maintain": self.maintain,
            "deliver": lambda: self.deliver("pred", 3),
            "open": lambda: None,
        }
        self.open_batch.pop("pred", None)
        self.fs.crash_after = after[0]
        try:
            actions[action]()
        except Crash:
            self.may_repeat |= action == "deliver"
        for count in after[1:]:
            self.crash(random, power)
            self.fs.crash_after = count
            try:
                self.open_spool()
            except Crash:
                continue
        self.crash(random, power)
        self.open_spool()

    def crash(self, random: Random, power: bool) -> None:
        if power:
            self.fs.lose_power(random)
        else:
            self.fs.kill()

    @rule(seed=seeds)
    def flip_a_bit(self, seed: int) -> None:
        random = Random(seed)
        paths = [path for path in self.fs.paths(DIRECTORY) if self.fs.size(path)]
        self.fs.kill()
        self.fs.heal()
        if paths:
            path = random.choice(paths)
            self.fs.flip_bit(path, random.randrange(8 * self.fs.size(path)))
            if path.endswith("/cursor"):
                self.may_repeat = True
        self.open_spool()

    @rule(seed=seeds)
    def remove_a_file(self, seed: int) -> None:
        paths = [path for path in self.fs.paths(DIRECTORY) if path.endswith(".zst")]
        self.fs.kill()
        self.fs.heal()
        if paths:
            path = Random(seed).choice(paths)
            if "/journal/" in path:
                self.open_spool()
                return
            self.fs.unlink(path)
        self.open_spool()

    # -- bounds

    @invariant()
    def bounds_hold(self) -> None:
        sizes = {path: len(self.fs.read(path, 0, 1 << 20)) for path in self.fs.paths(DIRECTORY)}
        spool = sum(size for path, size in sizes.items() if path.endswith(".zst"))
        assert spool <= BOUNDS.max_size_bytes + BOUNDS.segment_size_bytes
        quarantine = sum(size for path, size in sizes.items() if "/quarantine/" in path)
        assert quarantine <= BOUNDS.quarantine_size_bytes
        assert self.spool.usage().memory_bytes <= MEMORY_BYTES + BIGGEST_RECORD_BYTES

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.heal()
            self.sync()
            while self.settings.when_full == "block" and self.spool.usage().memory_bytes:
                before = self.spool.usage().memory_bytes
                for kind in KINDS:
                    self.deliver(kind, 1000)
                self.maintain()
                self.sync()
                assert self.spool.usage().memory_bytes < before, "what is delivered makes room"
            assert not self.spool.usage().memory_bytes, "a healthy disk takes everything"
            self.check_promises(
                {(kind, seq): chunks for kind, (seq, chunks) in self.open_batch.items()}
            )
            self.cut_the_power(0)


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        SpoolMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_whatever_the_disk_does_promises_are_kept() -> None:
    run(examples=150, steps=40)


def begun() -> SpoolMachine:
    machine = SpoolMachine()
    machine.begin(when_full="drop_oldest", max_age_s=0.0, reserve_free_bytes=0)
    return machine


def test_a_segment_that_could_not_be_unlinked_does_not_take_its_successor_along() -> None:
    """Found by the machine: two files that begin with the same batch, the later one with one more."""
    machine = begun()
    machine.fail(code=errno.EIO, operation="sync_dir", part="event", skip=0, times=1)
    machine.fail(code=errno.EIO, operation="unlink", part="event", skip=0, times=1)
    machine.append(kind="event", size=0)
    machine.sync()
    machine.append(kind="event", size=0)
    machine.teardown()


def test_nothing_is_promised_that_the_watermark_does_not_know() -> None:
    """Found by the machine: a batch was durable, the watermark was not written, and the segment vanished."""
    machine = begun()
    machine.append(kind="event", size=0)
    machine.fail(code=errno.EIO, operation="write", part="watermark", skip=0, times=1)
    machine.sync()
    machine.remove_a_file(seed=0)
    machine.teardown()


def test_a_segment_that_somebody_removed_does_not_come_back_with_the_power() -> None:
    """Found by the machine: its number is given anew, and a power cut brought the old file back."""
    machine = begun()
    machine.crash_in_the_middle(action="append", after=[0], power=False, seed=0)
    machine.append(kind="agg", size=0)
    machine.remove_a_file(seed=0)
    machine.journal(kind="agg", size=0)
    machine.teardown()


def test_a_gap_is_settled_by_a_batch_that_the_watermark_knows() -> None:
    """Found by the machine: the batch that carried it was durable, but not published, and could vanish unseen."""
    machine = begun()
    machine.append(kind="agg", size=0)
    machine.sync()
    machine.remove_a_file(seed=0)
    machine.ship_gaps(size=0)
    machine.fail(code=errno.EIO, operation="write", part="watermark", skip=0, times=2)
    machine.stop_and_start()
    machine.teardown()


def test_files_that_cannot_be_unlinked_take_room() -> None:
    """Found by the machine: each failed sync left a copy behind, which no bound counted."""
    machine = begun()
    machine.fail(code=errno.EIO, operation="truncate", part="pred", skip=0, times=50)
    machine.fail(code=errno.EIO, operation="unlink", part="pred", skip=0, times=50)
    for _ in range(20):
        machine.fail(code=errno.EIO, operation="sync", part="pred", skip=0, times=1)
        machine.append(kind="pred", size=1000)
        machine.sync()
        machine.bounds_hold()
    machine.teardown()
    machine.maintain()
    files = [path for path in machine.fs.paths(DIRECTORY) if path.endswith(".zst")]
    assert sum(machine.fs.size(path) for path in files) == machine.spool.usage().size_bytes


@pytest.mark.parametrize("slot", [0, 1])
def test_a_gap_of_what_was_mended_outlives_damage_to_the_memory_of_gaps(slot: int) -> None:
    """Found by the machine: rows of a journal were lost, the journal was mended, and the one note of it damaged."""
    machine = begun()
    machine.journal(kind="agg", size=0)
    machine.journal(kind="agg", size=0)
    machine.sync()
    (path,) = [path for path in machine.fs.paths(DIRECTORY) if "/journal/" in path]
    machine.fs.kill()
    machine.fs.flip_bit(path, 8 * machine.fs.size(path) - 100)
    machine.open_spool()
    assert [(gap.from_seq, gap.to_seq, gap.partial) for gap in machine.to_ship] == [(1, 1, True)]
    machine.stop_and_start()
    machine.fs.kill()
    machine.fs.flip_bit(f"{DIRECTORY}/gaps", 8 * (slot * SLOT_BYTES + 20))
    machine.open_spool()
    machine.teardown()


@pytest.mark.slow
def test_whatever_the_disk_does_promises_are_kept_for_long() -> None:
    run(examples=2000, steps=50)
