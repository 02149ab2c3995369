"""The view says where the predictions are, to somebody who sees it for the first time."""

from __future__ import annotations

import io

import pytest

pytest.importorskip("rich", reason="the demo extra is not installed")
pytest.importorskip("sklearn", reason="the demo extra is not installed")

import numpy as np
from rich.console import Console

from edgemon.demo import view
from edgemon.demo.play import AWAY, CLEAN, FULL, PHASES, PREPARE, Play
from edgemon.demo.watch import Arrived, Snapshot, StreamDrift

CALM = StreamDrift("contrast", 0.05, 0.23, n=200, window=200, drifted=False)
FAR = StreamDrift("sharpness", 0.91, 0.23, n=200, window=200, drifted=True)


def drawn(play: Play, seen: Snapshot, columns: int = 80) -> list[str]:
    console = Console(
        file=io.StringIO(), width=columns, height=24, force_terminal=True, color_system=None
    )
    with console.capture() as capture:
        console.print(view.draw(play, seen, elapsed_s=31.0, now_s=107.0))
    return capture.get().splitlines()


def line_of(lines: list[str], first_word: str) -> str:
    return next(line for line in lines if line.startswith(first_word))


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("columns", [80, 100])
def test_every_phase_fits_a_terminal_of_24_lines(phase: object, columns: int) -> None:
    play = Play(FULL, doing="x", sent=14_000, acknowledged=14_000, broker="nats-server", dirt=1.0)
    play.phase = next(known for known in PHASES if known is phase)
    play.correct, play.picture = [True] * 14_000, np.ones((16, 16))
    streams = tuple(FAR._replace(stream=f"centroid_{letter}") for letter in "abcdefgh")
    alarms = {stream.stream: 13_999 for stream in streams}
    seen = Snapshot({"pred": 99}, {"pred": 1}, drift=streams, arrived=Arrived(14_000, 99, alarms))
    lines = drawn(play, seen, columns)
    assert len(lines) < 24
    assert max(map(len, lines)) <= columns
    assert "…" not in "".join(lines).replace("x …", "")


def test_while_the_broker_is_gone_the_view_says_for_how_long_and_what_waits() -> None:
    play = Play(FULL, phase=AWAY, sent=9_000, acknowledged=8_900, away_since_s=100.0)
    seen = Snapshot({"pred": 12, "agg": 4}, {"pred": 9, "agg": 4}, arrived=Arrived(7_000))
    lines = drawn(play, seen)
    assert "GONE for 7 s" in line_of(lines, "broker")
    assert "3 batches wait for the broker; 1,900 predictions are here only" in line_of(
        lines, "spool"
    )
    assert "78%" in line_of(lines, "receiver")


def test_a_stream_that_drifted_names_the_prediction_once_the_alarm_has_arrived() -> None:
    play = Play(FULL, phase=CLEAN, sent=10, acknowledged=10)
    assert line_of(drawn(play, Snapshot(drift=(CALM, FAR))), "sharpness").rstrip().endswith("DRIFT")
    known = Snapshot(drift=(CALM, FAR), arrived=Arrived(alarms={"sharpness": 5_219}))
    assert "DRIFT at 5,219" in line_of(drawn(play, known), "sharpness")
    assert "as before" in line_of(drawn(play, known), "contrast")


def test_a_window_that_is_not_full_gives_no_verdict() -> None:
    lines = drawn(Play(FULL, phase=CLEAN), Snapshot(drift=(CALM._replace(n=50),)))
    assert "fills its window" in line_of(lines, "contrast")


@pytest.mark.parametrize(("d", "full"), [(0.0, 0), (0.5, 12), (1.0, 24), (7.0, 24)])
def test_the_bar_is_as_long_as_the_distance_and_keeps_its_mark(d: float, full: int) -> None:
    text = view.bar(CALM._replace(d=d, threshold_d=0.26)).plain
    assert len(text) == 24
    assert text.index("│") == 6
    assert text.count("█") == full - (full > 6)


def test_bright_pixels_are_drawn_dark_and_two_rows_make_a_line() -> None:
    picture = np.zeros((16, 16))
    picture[2:4, 5] = 1.0
    lines = view.shaded(picture)
    assert len(lines) == 8
    assert lines[1] == " " * 5 + "█" + " " * 10


def test_in_a_log_each_phase_and_each_alarm_is_told_once() -> None:
    play, out = Play(FULL, phase=PREPARE, doing="training"), io.StringIO()
    lines = view.LineView(play, out)
    lines.news()
    lines.news()
    play.phase = CLEAN
    lines.look = lambda: Snapshot(drift=(CALM, FAR))
    lines.news()
    lines.news()
    text = out.getvalue()
    assert [
        text.count(word) for word in ("== prepare", "training", "== clean lens", "DRIFT raised")
    ] == [1, 1, 1, 1]
    assert "sharpness" in text


def test_a_log_line_counts_what_is_where() -> None:
    play = Play(FULL, phase=AWAY, sent=900, acknowledged=890, away_since_s=1.0)
    line = view.plain_line(
        play, Snapshot({"pred": 5}, {"pred": 3}, drift=(CALM, FAR), arrived=Arrived(700))
    )
    for part in (
        "sent 900",
        "on disk 890",
        "received 700",
        "waiting 2 batches",
        "broker GONE",
        "sharpness 0.91",
    ):
        assert part in line
