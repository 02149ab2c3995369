"""On a terminal of 80 columns no line of help is longer, and amounts have the right noun."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from edgemon.cli import COMMANDS, main
from edgemon.cli._terminal import counted, wrapped


def calls() -> Iterator[list[str]]:
    """Every command and subcommand that there is."""
    from edgemon.cli import _load, _make_parser

    for command in COMMANDS:
        yield [command.name]
        parser = _make_parser(command, _load(command))
        for action in parser._subparsers._actions if parser._subparsers else []:
            for name in action.choices if isinstance(action.choices, dict) else {}:
                yield [command.name, name]


@pytest.mark.parametrize("call", [[], *calls()], ids=" ".join)
def test_no_line_of_help_is_longer_than_80_columns(
    call: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with contextlib.suppress(SystemExit):
        main([*call, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 3
    assert [line for line in lines if len(line) > 80] == []


def test_one_of_a_thing_is_not_many() -> None:
    assert counted(1, "batch", "batches") == "1 batch"
    assert counted(0, "batch", "batches") == "0 batches"
    assert counted(12_345, "row") == "12,345 rows"


def test_a_long_text_is_wrapped_and_a_long_word_is_not_cut() -> None:
    text = wrapped(f"  one two {'x' * 90} three", "    ")
    assert text.splitlines() == ["  one two", f"    {'x' * 90}", "    three"]
