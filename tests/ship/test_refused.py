"""The agent writes the gap record of a batch that was refused: it is told until it takes it."""

from __future__ import annotations

from pathlib import Path

from edgemon.errors import UnreachableError
from edgemon.ship import refused
from edgemon.ship.refused import Note, Refused
from edgemon.spool.fs import OsFileSystem
from tests.ship.fakes import STREAM


class Agent:
    """Takes notes while it is there."""

    def __init__(self) -> None:
        self.there = False
        self.notes: list[Note] = []

    def take(self, note: Note) -> None:
        if not self.there:
            raise UnreachableError("no agent answers")
        self.notes.append(note)


def lost(seq: int, reason: str) -> Note:
    return Note(STREAM, "pred", seq, seq, 7, "quarantined", reason)


def test_it_is_told_once_it_is_there_and_over_a_restart_of_ours(tmp_path: Path) -> None:
    agent = Agent()
    notes = Refused(OsFileSystem(), str(tmp_path), agent.take)
    assert notes.note(lost(3, "too large")) and notes.note(lost(3, "too large"))
    notes.hand_over()
    assert notes.waiting == 1
    again = Refused(OsFileSystem(), str(tmp_path), agent.take)
    assert again.note(lost(4, "x" * 1000))
    agent.there = True
    again.hand_over()
    assert [note[1:5] for note in agent.notes] == [("pred", 3, 3, 7), ("pred", 4, 4, 7)]
    assert agent.notes[0].reason == "too large" and len(agent.notes[1].reason) == 200
    assert Refused(OsFileSystem(), str(tmp_path), agent.take).waiting == 0


def test_no_more_are_given_up_than_can_be_noted(tmp_path: Path) -> None:
    notes = Refused(OsFileSystem(), str(tmp_path), Agent().take)
    taken = [notes.note(lost(seq, "no")) for seq in range(1, refused.MAX_NOTES + 3)]
    assert taken.count(True) == refused.MAX_NOTES and taken[-2:] == [False, False]


def test_a_damaged_file_is_no_note(tmp_path: Path) -> None:
    for content in (b"", b"{", b"[1]", b'[["a"]]', b"null"):
        (tmp_path / "refused").write_bytes(content)
        assert Refused(OsFileSystem(), str(tmp_path), Agent().take).waiting == 0
