"""Progress, tables and amounts, with a clock and a stream of the test's own."""

from __future__ import annotations

import doctest
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon.cli import _terminal
from edgemon.cli._terminal import (
    Progress,
    human_bytes,
    human_count,
    human_duration,
    printable,
    table,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal:
    """What a person sees: the stream, the clock and a progress bar over them."""

    def __init__(self, total: int | None, *, tty: bool, columns: int = 100) -> None:
        self.clock, self.stream = Clock(), io.StringIO()
        self.progress = Progress(
            total,
            "rows",
            stream=self.stream,
            clock=self.clock,
            tty=tty,
            columns=lambda: columns,
        )

    def after(self, seconds: float, done: int) -> list[str]:
        """What is written when `done` are done `seconds` later."""
        before = len(self.stream.getvalue())
        self.clock.now += seconds
        self.progress.update(done)
        text = self.stream.getvalue()[before:]
        return text.replace("\x1b[K", "").replace("\r", "\n").split("\n")[:-1] if text else []

    def line(self, seconds: float, done: int) -> str:
        before = len(self.stream.getvalue())
        self.clock.now += seconds
        self.progress.update(done)
        return self.stream.getvalue()[before:].strip("\r\n").removesuffix("\x1b[K")

    def end(self, note: str = "") -> str:
        before = len(self.stream.getvalue())
        self.progress.finish(note)
        return self.stream.getvalue()[before:]


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(_terminal).failed == 0


# --- progress --------------------------------------------------------------------------------


def test_a_bar_shows_share_rate_and_time_left() -> None:
    terminal = Terminal(1000, tty=True)
    assert terminal.line(1.0, 250) == (
        "rows [######..................]  25 %  250 of 1,000  250/s  3.0s left"
    )
    assert terminal.line(1.0, 500) == (
        "rows [############............]  50 %  500 of 1,000  250/s  2.0s left"
    )


def test_the_bar_is_drawn_again_in_its_own_line_and_ends_with_a_newline() -> None:
    terminal = Terminal(10, tty=True)
    terminal.line(1.0, 5)
    terminal.clock.now += 1.0
    terminal.progress.update(10)
    assert terminal.end() == "\rrows: 10 in 2.0s, 5/s\x1b[K\n"
    text = terminal.stream.getvalue()
    assert text.count("\n") == 1
    assert text.startswith("\r")


def test_a_counter_stands_where_the_end_is_not_known() -> None:
    terminal = Terminal(None, tty=True)
    assert terminal.line(2.0, 5000) == "rows: 5,000, 2,500/s, 2.0s"


def test_it_draws_ten_times_a_second_at_most() -> None:
    terminal = Terminal(100_000, tty=True)
    for done in range(1, 1001):
        terminal.line(0.001, done)
    assert 9 <= terminal.stream.getvalue().count("\r") <= 10


def test_the_rate_follows_a_change() -> None:
    terminal = Terminal(1_000_000, tty=True)
    terminal.line(1.0, 1000)
    done = 1000
    for _ in range(30):
        done += 10
        line = terminal.line(1.0, done)
    rate = float(line.split("  ")[3].removesuffix("/s"))
    assert 10 <= rate <= 20


def test_no_progress_is_called_stalled() -> None:
    assert Terminal(10, tty=True).line(1.0, 0).endswith("0/s  stalled")


def test_the_line_never_wraps() -> None:
    assert len(Terminal(1000, tty=True, columns=20).line(1.0, 250)) == 19


def test_more_than_the_total_stays_at_100_percent() -> None:
    assert "100 %  15 of 10" in Terminal(10, tty=True).line(1.0, 15)


def test_a_total_of_nothing_is_done() -> None:
    assert "100 %" in Terminal(0, tty=True).line(1.0, 0)


def test_without_a_terminal_a_plain_line_comes_every_five_seconds_and_one_at_the_end() -> None:
    terminal = Terminal(1000, tty=False)
    assert terminal.line(4.9, 49) == ""
    assert terminal.line(0.1, 50) == "rows: 50 of 1,000 (5 %), 10/s, 1m 35s left"
    assert terminal.line(4.9, 99) == ""
    assert terminal.end("all good") == "rows: 99 in 9.9s, 10/s, all good\n"
    assert "\r" not in terminal.stream.getvalue()
    assert "\x1b" not in terminal.stream.getvalue()


def test_a_quick_job_without_a_terminal_is_one_line() -> None:
    terminal = Terminal(10, tty=False)
    terminal.line(0.5, 10)
    assert terminal.end() == "rows: 10 in 500ms, 20/s\n"
    assert terminal.end() == ""


def test_nothing_done_in_no_time_is_said_without_a_rate() -> None:
    assert Terminal(10, tty=False).end() == "rows: 0 in 0ms\n"


def test_advance_counts() -> None:
    terminal = Terminal(10, tty=False)
    terminal.progress.advance()
    terminal.progress.advance(3)
    assert terminal.progress.done == 4


def test_an_error_inside_is_told_as_stopped_and_goes_on() -> None:
    terminal = Terminal(10, tty=False)
    with pytest.raises(KeyError), terminal.progress as progress:
        progress.advance(3)
        raise KeyError
    assert terminal.stream.getvalue() == "rows: 3 in 0ms, stopped before the end\n"


def test_a_stream_that_is_closed_does_not_stop_the_work() -> None:
    terminal = Terminal(10, tty=True)
    terminal.stream.close()
    terminal.clock.now += 1.0
    terminal.progress.update(5)
    terminal.progress.finish()
    assert terminal.progress.done == 5


def test_amounts_can_be_bytes() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(
        1 << 20, "read", show=human_bytes, stream=stream, clock=clock, tty=True, columns=lambda: 99
    )
    clock.now += 1.0
    progress.update(1 << 19)
    assert "512 KiB of 1 MiB  512 KiB/s  1.0s left" in stream.getvalue()


# --- tables ----------------------------------------------------------------------------------


def test_a_table_lines_up_words_left_and_numbers_right() -> None:
    rows: list[list[object]] = [
        ["fraud", 12_345, "0.5 %"],
        ["a", 7, "12 %"],
        ["longer name", None, ""],
    ]
    assert table(rows, ["model", "n", "missing"]) == (
        "model            n  missing\n"
        "fraud        12345    0.5 %\n"
        "a                7     12 %\n"
        "longer name\n"
    )


def test_a_table_without_rows_is_its_headers() -> None:
    assert table([], ["a", "bb"]) == "a  bb\n"


def test_wide_characters_take_two_columns() -> None:
    assert table([["模型", "x"], ["ab", "y"]], ["m", "v"]) == "m     v\n模型  x\nab    y\n"


def test_a_row_of_another_length_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="2 cells under 1 headers"):
        table([[1, 2]], ["a"])


def test_a_name_cannot_steer_the_terminal() -> None:
    shown = table([["\x1b[2Jx\r\nnew"]], ["model"])
    assert shown == "model\n\\x1b[2Jx\\r\\nnew\n"


@given(st.text())
def test_what_is_printable_stays_and_nothing_else_gets_through(text: str) -> None:
    assert printable(text).isprintable()
    if text.isprintable():
        assert printable(text) == text


@given(
    st.lists(st.tuples(st.text(max_size=8), st.integers(), st.floats(allow_nan=False)), max_size=5)
)
def test_every_table_has_one_line_a_row(rows: list[tuple[str, int, float]]) -> None:
    assert len(table(rows, ["a", "b", "c"]).split("\n")) == len(rows) + 2


# --- amounts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (0.1234, "0.123"),
        (99.5, "99.5"),
        (99, "99"),
        (100.4, "100"),
        (999_999, "999,999"),
        (1_000_000, "1M"),
        (1_234_567, "1.23M"),
        (999_499_999, "999M"),
        (999_500_000, "1G"),
        (5e12, "5,000G"),
        (-1_500_000, "-1.5M"),
    ],
)
def test_a_count_is_short(amount: float, text: str) -> None:
    assert human_count(amount) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (100 * 1024, "100 KiB"),
        ((1 << 20) - 1, "1 MiB"),
        (1 << 50, "1024 TiB"),
    ],
)
def test_a_size_is_short(size: int, text: str) -> None:
    assert human_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.9994, "999ms"),
        (0.9996, "1.0s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m 00s"),
        (3599.6, "1h 00m"),
        (86_399.6, "1d 00h"),
        (93_600, "1d 02h"),
        (-65, "-1m 05s"),
        (float("inf"), "?"),
        (float("nan"), "?"),
    ],
)
def test_a_time_is_short(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text
