"""What comes back of the journals of an agent that was killed: each window once."""

from __future__ import annotations

from edgemon.agent.journal import BEGUN, Replayed, pack, pack_windows, replay
from edgemon.flow.batcher import Anchor
from edgemon.records import Row
from edgemon.spool.opening import PendingJournal

ANCHOR = Anchor(b"b" * 16, 1_700_000_000_000_000_000, 5_000_000_000, 1.5)
NOW = Anchor(b"c" * 16, 1_700_000_900_000_000_000, 7_000_000_000, 1.5)


def window(model: str, n: int, **more: object) -> Row:
    return {"t": n, "model": model, "version": "1", "stream": "", "n": n, **more}  # type: ignore[dict-item]


def back(
    *journals: tuple[str, int, list[bytes]], most: int = 1000, now: Anchor = NOW
) -> list[Replayed]:
    pending = [PendingJournal(*journal) for journal in journals]
    return list(replay(pending, lambda rows: len(rows) <= most, now))


def test_open_windows_come_back_as_they_were_at_the_last_checkpoint() -> None:
    chunks = [
        pack(ANCHOR, [window("a", 1)]),
        pack_windows(ANCHOR, [window("a", 10), window("b", 20)]),
        pack_windows(ANCHOR, [window("a", 11), window("b", 21)]),
    ]
    (batch,) = back(("agg", 7, chunks))
    assert batch == Replayed(
        "agg", 7, ANCHOR, [window("a", 1), window("a", 11), window("b", 21)], 2, 0, 0
    )


def test_a_window_that_closed_after_the_checkpoint_comes_back_whole_and_once() -> None:
    chunks = [
        pack_windows(ANCHOR, [window("a", 10), window("b", 20)]),
        pack(ANCHOR, [window("a", 15)]),
    ]
    (batch,) = back(("agg", 7, chunks))
    assert batch.rows == [window("a", 15), window("b", 20)]
    assert batch.cut == 1


def test_of_two_journals_the_later_one_has_the_open_windows() -> None:
    """The agent was killed while one batch was being handed over and the next had begun."""
    first = [
        pack_windows(ANCHOR, [window("a", 10), window("b", 20)]),
        pack(ANCHOR, [window("a", 15)]),
    ]
    second = [pack_windows(ANCHOR, [window("b", 22)])]
    batches = back(("agg", 8, second), ("agg", 7, first))
    assert [(batch.seq, batch.rows) for batch in batches] == [
        (7, [window("a", 15)]),
        (8, [window("b", 22)]),
    ]


def test_a_next_batch_without_open_windows_takes_those_of_the_one_before() -> None:
    first = [pack_windows(ANCHOR, [window("b", 20)]), pack(ANCHOR, [window("a", 15)])]
    second = [pack(ANCHOR, [window("b", 25)])]
    batches = back(("agg", 7, first), ("agg", 8, second))
    assert [batch.rows for batch in batches] == [[window("a", 15)], [window("b", 25)]]
    assert [batch.cut for batch in batches] == [0, 0]


def test_what_does_not_fit_into_one_batch_leaves_its_sketch_behind_then_itself() -> None:
    cut = [window(model, 5, sketch=b"s") for model in "abc"]
    cut.insert(1, {**window("a", 5), "stream": "output"})
    (batch,) = back(("agg", 1, [pack_windows(ANCHOR, cut)]), most=3)
    assert batch.rows == [window("a", 5), window("b", 5), window("c", 5)]
    assert batch.dropped == 1
    (batch,) = back(("agg", 1, [pack_windows(ANCHOR, cut)]), most=2)
    assert batch.rows == [window("a", 5), window("b", 5)]
    assert batch.dropped == 2


def test_a_window_that_began_after_the_last_checkpoint_comes_back_empty() -> None:
    chunks = [
        pack_windows(ANCHOR, [window("a", 10), window("b", 20)]),
        pack(ANCHOR, [window("a", 15)]),
        pack_windows(ANCHOR, [window("a", 0)], BEGUN),
        pack_windows(ANCHOR, [window("c", 0)], BEGUN),
    ]
    (batch,) = back(("agg", 7, chunks))
    assert batch.rows == [window("a", 15), window("b", 20), window("a", 0), window("c", 0)]
    assert batch.cut == 3


def test_a_checkpoint_or_its_end_takes_the_place_of_a_window_that_began() -> None:
    begun = pack_windows(ANCHOR, [window("a", 0), window("b", 0)], BEGUN)
    (batch,) = back(("agg", 7, [begun, pack_windows(ANCHOR, [window("a", 3), window("b", 4)])]))
    assert batch.rows == [window("a", 3), window("b", 4)]
    (batch,) = back(("agg", 7, [begun, pack(ANCHOR, [window("a", 9)])]))
    assert batch.rows == [window("a", 9), window("b", 0)]


def test_what_is_not_counted_ends_with_the_window_or_where_the_next_life_of_the_boot_begins() -> (
    None
):
    rows = [window("a", 1_000, uncounted=9_000_000), window("b", 1_000, uncounted=2_000)]
    chunks = [pack_windows(ANCHOR, rows)]
    (batch,) = back(("agg", 7, chunks))
    assert [row["uncounted"] for row in batch.rows] == [9_000_000, 2_000]
    soon = ANCHOR._replace(mono_ns=ANCHOR.mono_ns + 3_001_000_000)
    (batch,) = back(("agg", 7, chunks), now=soon)
    assert [row["uncounted"] for row in batch.rows] == [3_000_000, 2_000]


def test_windows_that_were_cut_keep_their_time_in_a_batch_with_another_anchor() -> None:
    later = ANCHOR._replace(mono_ns=ANCHOR.mono_ns + 60_000_000_000)
    first = [pack_windows(ANCHOR, [window("a", 7), window("b", 20)])]
    second = [pack(later, [window("b", 25)])]
    batches = back(("agg", 7, first), ("agg", 8, second))
    (cut,) = [row for row in batches[1].rows if row["model"] == "a"]
    assert cut["t"] == 7 - 60_000_000


def test_other_kinds_and_chunks_of_a_newer_agent() -> None:
    rows: list[Row] = [{"t": 1, "model": "a", "id": "1"}]
    newer = b"\x93\x63\x90\x90"
    (batch,) = back(("pred", 3, [pack(ANCHOR, rows), newer, pack(ANCHOR, rows)]))
    assert batch == Replayed("pred", 3, ANCHOR, rows, 0, 0, 1)
