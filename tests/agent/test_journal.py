"""What comes back of the journals of an agent that was killed: each window once."""

from __future__ import annotations

from edgemon.agent.journal import Replayed, pack, pack_windows, replay
from edgemon.flow.batcher import Anchor
from edgemon.records import Row
from edgemon.spool.opening import PendingJournal

ANCHOR = Anchor(b"b" * 16, 1_700_000_000_000_000_000, 5_000_000_000, 1.5)


def window(model: str, n: int, **more: object) -> Row:
    return {"t": n, "model": model, "version": "1", "stream": "", "n": n, **more}  # type: ignore[dict-item]


def back(*journals: tuple[str, int, list[bytes]], most: int = 1000) -> list[Replayed]:
    pending = [PendingJournal(*journal) for journal in journals]
    return list(replay(pending, lambda rows: len(rows) <= most))


def test_open_windows_come_back_as_they_were_at_the_last_checkpoint() -> None:
    chunks = [
        pack(ANCHOR, [window("a", 1)]),
        pack_windows(ANCHOR, [window("a", 10), window("b", 20)]),
        pack_windows(ANCHOR, [window("a", 11), window("b", 21)]),
    ]
    (batch,) = back(("agg", 7, chunks))
    assert batch == Replayed(
        "agg", 7, ANCHOR, [window("a", 1), window("a", 11), window("b", 21)], 2, 0
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
    (batch,) = back(("agg", 1, [pack_windows(ANCHOR, cut)]), most=2)
    assert batch.rows == [window("a", 5), window("b", 5)]


def test_other_kinds_and_chunks_of_a_newer_agent() -> None:
    rows: list[Row] = [{"t": 1, "model": "a", "id": "1"}]
    newer = b"\x93\x63\x90\x90"
    (batch,) = back(("pred", 3, [pack(ANCHOR, rows), newer, pack(ANCHOR, rows)]))
    assert batch == Replayed("pred", 3, ANCHOR, rows, 0, 1)
