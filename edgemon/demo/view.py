"""The live view: what the camera sees, what edgemon makes of it, and where the predictions are.

On a terminal it is one picture that is drawn again (rich); elsewhere a line every few seconds. Both say
the same: 80 columns and 24 lines are enough.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edgemon.cli._terminal import human_bytes
from edgemon.demo.again import Again
from edgemon.demo.play import AWAY, BACK, DIRTY, DRAIN, PHASES, PREPARE, Phase, Play
from edgemon.demo.scenario import Floats
from edgemon.demo.watch import Snapshot, StreamDrift

_PER_SECOND = 5
_LINE_EVERY_S = 3.0
_BAR = 24
_ARRIVAL_BAR = 20
_SHADES = " ░▒▓█"
_RECENT = 500
_AROUND_S = 10.0  # preparation and drain, on an ordinary machine


class View(Protocol):
    """A context manager; `watch` may be set once there is something to look at."""

    look: Callable[[], Snapshot]

    def __enter__(self) -> View: ...
    def __exit__(self, *_: object) -> None: ...


def make_view(play: Play) -> View:
    """The one that fits standard output."""
    if sys.stdout.isatty():
        return TerminalView(play, Console())
    return LineView(play, sys.stdout)


class TerminalView:
    """Drawn five times a second by rich's own thread; the last picture stays."""

    def __init__(self, play: Play, console: Console) -> None:
        self.look: Callable[[], Snapshot] = Snapshot
        self._play = play
        self._begun_s = time.monotonic()
        self._live = Live(
            console=console, refresh_per_second=_PER_SECOND, get_renderable=self._draw, transient=False
        )  # fmt: skip

    def __enter__(self) -> TerminalView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _draw(self) -> Group:
        elapsed_s = time.monotonic() - self._begun_s
        return draw(self._play, self.look(), elapsed_s, time.monotonic())


def draw(play: Play, seen: Snapshot, elapsed_s: float, now_s: float) -> Group:
    """The whole picture. elapsed_s: since the start.  now_s: monotonic, to say how long the broker is away."""
    title = Text.assemble(("edgemon demo", "bold"), "   a camera reads digits", no_wrap=True)
    whole_s = play.plan.total / play.plan.rate + _AROUND_S
    clock = Text(f"{_clock(elapsed_s)} of about {_clock(max(whole_s, elapsed_s))}", style="dim")
    head = Table.grid(expand=True)
    head.add_column()
    head.add_column(justify="right")
    head.add_row(title, clock)
    parts: list[Table | Text] = [
        head,
        _phases(play.phase),
        Text(play.phase.story, style="italic"),
        Text(),
    ]
    if play.phase is PREPARE:
        return Group(*parts, Text(f"  {play.doing} …"))
    parts += [_numbers(play, seen, now_s), Text(), _drift(play, seen)]
    return Group(*parts)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _phases(current: Phase) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for number, phase in enumerate(PHASES):
        done = number < PHASES.index(current)
        mark, style = (
            ("✓ ", "green") if done else ("▶ ", "bold") if phase is current else ("", "dim")
        )
        line.append(f"{mark}{phase.title}", style)
        if phase is not PHASES[-1]:
            line.append(" › ", "dim")
    return line


def _numbers(play: Play, seen: Snapshot, now_s: float) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", min_width=9)
    grid.add_column(no_wrap=True)
    away = play.away_since_s
    grid.add_row("camera", f"{play.sent:,} predictions; {camera_line(play)}")
    memory = human_bytes(seen.agent_peak_bytes) if seen.agent_peak_bytes else "?"
    grid.add_row(
        "agent", f"{play.acknowledged:,} predictions are safe on its disk; {memory} of memory"
    )
    grid.add_row("spool", Text(_spool_line(play, seen), style="yellow" if away is not None else ""))
    if away is not None:
        grid.add_row("broker", Text(f"GONE for {max(0.0, now_s - away):.0f} s", style="bold red"))
    elif not seen.connected and play.phase in (AWAY, BACK):
        grid.add_row(
            "broker", Text(f"{play.broker} is back, the shipper is connecting", style="yellow")
        )
    else:
        grid.add_row("broker", Text(f"{play.broker}, connected", style="green"))
    grid.add_row("receiver", _arrival(play, seen))
    return grid


def camera_line(play: Play) -> str:
    recent = play.correct[-_RECENT:]
    right = f"{sum(recent) / len(recent):.0%}" if recent else "–"
    lens = "clean" if not play.dirt else f"{play.dirt:.0%} dirty"
    return f"lens {lens}; {right} of the last {_RECENT} right"


def _spool_line(play: Play, seen: Snapshot) -> str:
    here = max(0, play.acknowledged - seen.arrived.predictions)
    if not seen.waiting:
        return (
            f"no batch waits; {here:,} predictions are under way"
            if here
            else "empty: all is delivered"
        )
    batches = "1 batch waits" if seen.waiting == 1 else f"{seen.waiting} batches wait"
    return f"{batches} for the broker; {here:,} predictions are here only"


def _arrival(play: Play, seen: Snapshot) -> Text:
    got, sent = seen.arrived.predictions, max(1, play.sent)
    full = min(_ARRIVAL_BAR, got * _ARRIVAL_BAR // sent)
    return Text.assemble(
        f"{got:,} predictions are in its database  ",
        ("█" * full, "green"),
        ("░" * (_ARRIVAL_BAR - full), "yellow"),
        f"  {min(1.0, got / sent):.0%}",
    )


def _drift(play: Play, seen: Snapshot) -> Table:
    """Distances on the left, what the camera sees on the right."""
    bars = Table.grid(padding=(0, 1))
    for _ in range(4):
        bars.add_column(no_wrap=True)
    for stream in seen.drift:
        bars.add_row(stream.stream, bar(stream), f"{stream.d:.2f}", _verdict(stream, seen))
    heading = Text("distance from the reference, from 0 to 1; alarm at │", "dim")
    both = Table.grid(padding=(0, 3))
    both.add_column(no_wrap=True)
    both.add_column(no_wrap=True)
    both.add_row(heading, Text("what it sees", "dim"))
    picture = Text("\n".join(shaded(play.picture))) if play.picture is not None else Text()
    both.add_row(bars, picture)
    return both


def bar(stream: StreamDrift) -> Text:
    """D as a bar of _BAR cells from 0 to 1, with a mark at the threshold."""
    full = round(min(1.0, stream.d) * _BAR)
    mark = min(_BAR - 1, round(stream.threshold_d * _BAR))
    style = "bold red" if stream.drifted else "green"
    text = Text()
    for cell in range(_BAR):
        if cell == mark:
            text.append("│", "bold")
        elif cell < full:
            text.append("█", style)
        else:
            text.append("·", "dim")
    return text


def _verdict(stream: StreamDrift, seen: Snapshot) -> Text:
    if stream.n < stream.window:
        return Text("fills its window", "dim")
    if not stream.drifted:
        return Text("as before", "green")
    number = seen.arrived.alarms.get(stream.stream)
    return Text(f"DRIFT at {number:,}" if number else "DRIFT", "bold red")


def shaded(picture: Floats) -> list[str]:
    """A picture (SIDE, SIDE) of 0 to 1 as text, two rows of pixels in a line."""
    pairs = picture.reshape(len(picture) // 2, 2, -1).mean(axis=1)
    cells = np.clip((pairs * len(_SHADES)).astype(np.int64), 0, len(_SHADES) - 1)
    return ["".join(_SHADES[cell] for cell in row) for row in cells]


class LineView(Again):
    """For logs: a line when something begins, and one every few seconds."""

    def __init__(self, play: Play, stream: TextIO) -> None:
        super().__init__("view", 1 / _PER_SECOND)
        self.look: Callable[[], Snapshot] = Snapshot
        self._play = play
        self._stream = stream
        self._begun_s = time.monotonic()
        self._phase: Phase | None = None
        self._doing = ""
        self._raised: set[str] = set()
        self._due_s = 0.0

    def turn(self) -> None:
        self.news()
        if self._phase is not PREPARE and time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + _LINE_EVERY_S
            self._say(plain_line(self._play, self.look()))

    def last(self) -> None:
        self.news()

    def news(self) -> None:
        """Say what began since the last call."""
        play = self._play
        if play.phase is not self._phase:
            self._phase = play.phase
            self._say(f"== {play.phase.title}: {play.phase.story}")
        if play.phase is PREPARE and play.doing != self._doing:
            self._doing = play.doing
            self._say(play.doing)
        for stream in self.look().drift:
            if stream.drifted and stream.stream not in self._raised:
                self._raised.add(stream.stream)
                self._say(
                    f"DRIFT raised: {stream.stream}, at a distance of {stream.d:.2f} from its reference"
                )

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # nobody reads: the report will find out
            print(
                f"{time.monotonic() - self._begun_s:6.1f} s  {line}", file=self._stream, flush=True
            )


def plain_line(play: Play, seen: Snapshot) -> str:
    """The view in one line."""
    worst = max(seen.drift, key=lambda stream: stream.d, default=None)
    parts = [
        f"sent {play.sent:,}",
        f"on disk {play.acknowledged:,}",
        f"received {seen.arrived.predictions:,}",
        f"waiting {seen.waiting} batches",
        "broker GONE" if play.away_since_s is not None else "broker up",
    ]
    if play.phase in (DIRTY, AWAY, BACK, DRAIN):
        parts.append(f"lens {play.dirt:.0%} dirty")
    if worst is not None:
        parts.append(f"farthest {worst.stream} {worst.d:.2f}")
    return ", ".join(parts)
