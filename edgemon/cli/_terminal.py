"""What commands share for people's eyes: a progress bar, tables, amounts.

Progress goes to standard error, so that standard output stays clean for a pipe. On a terminal it is
one line that is drawn again; elsewhere (a log, a pipe) a plain line every few seconds and one at
the end. Clock and stream are arguments: tests neither sleep nor need a terminal.
"""

from __future__ import annotations

import math
import os
import sys
import textwrap
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TextIO

_REDRAW_S = 0.1
_PLAIN_LINE_S = 5.0
# The rate forgets what is older than some seconds, so that the time left follows a change.
_RATE_MEMORY_S = 5.0
_BAR_CELLS = 24
_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def human_count(amount: float) -> str:
    """`12,345`, from a million on three digits: `1.23M`. A fraction shows below 100 only.

    >>> human_count(12_345), human_count(1_234_567), human_count(0.5)
    ('12,345', '1.23M', '0.5')
    """
    if abs(amount) >= 999_500_000:
        return f"{amount / 1e9:.3g}G" if abs(amount) < 1e12 else f"{amount / 1e9:,.0f}G"
    if abs(amount) >= 1_000_000:
        return f"{amount / 1e6:.3g}M"
    if abs(amount) >= 100 or amount == int(amount):
        return f"{amount:,.0f}"
    return f"{amount:.3g}"


def counted(amount: int, one: str, many: str = "") -> str:
    """An amount and its noun. many: the plural, where it is not `one` and an s.

    >>> counted(1, "batch", "batches"), counted(1200, "row")
    ('1 batch', '1,200 rows')
    """
    return f"{human_count(amount)} {one if amount == 1 else many or one + 's'}"


def wrapped(text: str, indent: str = "", width: int = 80) -> str:
    """Lines of at most `width` columns, `indent` before all but the first. A word is never cut."""
    return textwrap.fill(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def human_bytes(size_bytes: float) -> str:
    """Powers of 1024, three digits: `512 B`, `1.5 KiB`, `64 MiB`.

    >>> human_bytes(512), human_bytes(1536), human_bytes(64 << 20)
    ('512 B', '1.5 KiB', '64 MiB')
    """
    amount, unit = float(size_bytes), 0
    while abs(amount) >= 1023.5 and unit < len(_BYTE_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    digits = f"{amount:.0f}" if unit == 0 or abs(amount) >= 99.95 else f"{amount:.3g}"
    return f"{digits} {_BYTE_UNITS[unit]}"


def human_duration(seconds: float) -> str:
    """Two units at most: `250ms`, `3.2s`, `1m 05s`, `2h 03m`, `3d 04h`.

    >>> human_duration(0.25), human_duration(65), human_duration(7380)
    ('250ms', '1m 05s', '2h 03m')
    """
    if not math.isfinite(seconds):
        return "?"
    if seconds < 0:
        return "-" + human_duration(-seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3600:02d}h"


def printable(text: str) -> str:
    """Text that is safe on a terminal: what cannot be printed is spelled out, escapes too.

    Names of models and features come from clients; a table must not let them steer the terminal.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def table(rows: Iterable[Sequence[object]], headers: Sequence[str]) -> str:
    """Columns two spaces apart; a column of nothing but numbers (or "") stands to the right.

    rows: cells are shown by str(), None as "". Every row has as many cells as there are headers.
    Returns lines that end with a newline; without rows the headers alone.
    """
    cells = [[printable("" if cell is None else str(cell)) for cell in row] for row in rows]
    for row in cells:
        if len(row) != len(headers):
            raise ValueError(f"a row of {len(row)} cells under {len(headers)} headers")
    lines = [list(headers), *cells]
    widths = [max(text_columns(line[column]) for line in lines) for column in range(len(headers))]
    to_the_right = [
        any(row[column] for row in cells) and all(_is_number(row[column]) for row in cells)
        for column in range(len(headers))
    ]
    text = ""
    for line in lines:
        padded = []
        for cell, width, right in zip(line, widths, to_the_right, strict=True):
            blank = " " * (width - text_columns(cell))
            padded.append(blank + cell if right else cell + blank)
        text += "  ".join(padded).rstrip() + "\n"
    return text


class Progress:
    """How far a command has come.

    total: how much there is in all, None when nobody knows (then a counter).  label: what is
    counted.  show: turns an amount into text, e.g. human_bytes.  tty: None asks the stream.

        with Progress(len(rows), "rows") as progress:
            for row in rows:
                progress.advance()
    """

    def __init__(
        self,
        total: int | None,
        label: str,
        *,
        show: Callable[[float], str] = human_count,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        tty: bool | None = None,
        columns: Callable[[], int] | None = None,
    ) -> None:
        self._total, self._label, self._show = total, label, show
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._tty = self._stream.isatty() if tty is None else tty
        self._columns = columns or self._terminal_columns
        self._pause_s = _REDRAW_S if self._tty else _PLAIN_LINE_S
        self._done = 0
        self._started = self._drawn = clock()
        self._drawn_done = 0
        self._rate: float | None = None
        self._open = True

    @property
    def done(self) -> int:
        return self._done

    def advance(self, by: int = 1) -> None:
        """`by` more are done."""
        self.update(self._done + by)

    def update(self, done: int) -> None:
        """`done` are done in all. Cheap: it draws ten times a second at most."""
        self._done = done
        now = self._clock()
        if not self._open or now - self._drawn < self._pause_s:
            return
        self._measure(now)
        line = self._line()
        if self._tty:
            self._write(f"\r{line[: max(1, self._columns() - 1)]}\x1b[K")
        else:
            self._write(f"{line}\n")

    def finish(self, note: str = "") -> None:
        """The last line: what was done, in what time, and the note. Later calls do nothing."""
        if not self._open:
            return
        self._open = False
        elapsed_s = self._clock() - self._started
        line = f"{self._label}: {self._show(self._done)} in {human_duration(elapsed_s)}"
        if elapsed_s > 0 and self._done:
            line += f", {self._show(self._done / elapsed_s)}/s"
        line += f", {note}" if note else ""
        self._write(f"\r{line}\x1b[K\n" if self._tty else f"{line}\n")

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish("" if kind is None else "stopped before the end")

    def _measure(self, now: float) -> None:
        elapsed_s = now - self._drawn
        latest = (self._done - self._drawn_done) / elapsed_s
        if self._rate is None:
            self._rate = latest
        else:
            self._rate += (latest - self._rate) * -math.expm1(-elapsed_s / _RATE_MEMORY_S)
        self._drawn, self._drawn_done = now, self._done

    def _line(self) -> str:
        rate = self._rate or 0.0
        speed = f"{self._show(rate)}/s"
        if self._total is None:
            elapsed_s = self._drawn - self._started
            return f"{self._label}: {self._show(self._done)}, {speed}, {human_duration(elapsed_s)}"
        share = min(1.0, self._done / self._total) if self._total else 1.0
        amounts = f"{self._show(self._done)} of {self._show(self._total)}"
        left = max(0, self._total - self._done)
        ahead = f"{human_duration(left / rate)} left" if rate > 0 else "stalled"
        if not self._tty:
            return f"{self._label}: {amounts} ({share * 100:.0f} %), {speed}, {ahead}"
        full = int(share * _BAR_CELLS)
        bar = "#" * full + "." * (_BAR_CELLS - full)
        return f"{self._label} [{bar}] {share * 100:3.0f} %  {amounts}  {speed}  {ahead}"

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._open = False  # nobody is looking: the work goes on

    def _terminal_columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80


def text_columns(text: str) -> int:
    """Columns on a terminal: East Asian wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


def _is_number(cell: str) -> bool:
    bare = cell.replace(",", "").removesuffix("%").strip()
    try:
        float(bare or "0")
    except ValueError:
        return False
    return True
