"""Lines of a terminal: pieces of text with a style, curves of blocks, and how both are made to fit.

`cut` makes a line fit, so that no name, however wide, breaks the page. Pure: no terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edgemon.cli._terminal import printable, text_columns

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN = "_.,-=+*#"  # where the terminal's encoding has no blocks


class Piece(NamedTuple):
    """style: "" | "bold" | "dim" | "good" | "bad" | "warn"."""

    text: str
    style: str = ""


Line = list[Piece]


def sparkline(values: Sequence[float], width: int, top: float, blocks: str = BLOCKS) -> str:
    """The latest `width` values as blocks from 0 to `top`, which only values from `top` on reach."""
    shown = list(values)[-width:]
    most = len(blocks) - 1
    return "".join(
        blocks[most if value >= top else min(most - 1, max(0, int(value / top * most)))]
        if value == value and top > 0
        else " "
        for value in shown
    ).rjust(width)


def scaled(values: Sequence[float], width: int = 10) -> tuple[Sequence[float], int, float]:
    """For `sparkline`: against their own largest value."""
    latest = list(values)[-width:]
    return latest, width, max([*latest, 1e-9])


def cut(line: Line, width: int) -> Line:
    """The line's first `width` columns; the last of them is … where something was cut off."""
    shown: Line = []
    left = width
    for index, piece in enumerate(line):
        taken = fit(piece.text, left) if text_columns(piece.text) > left else piece.text
        shown.append(Piece(taken, piece.style))
        left -= text_columns(taken)
        if left <= 0:
            if taken == piece.text and any(rest.text.strip() for rest in line[index + 1 :]):
                shown[-1] = Piece(fit(taken + "…", text_columns(taken)), piece.style)
            break
    return shown


def fit(text: str, width: int) -> str:
    """Exactly `width` columns: filled with blanks, or cut with … at its end."""
    missing = width - text_columns(text)
    if missing >= 0:
        return text + " " * missing
    kept = ""
    used = 0
    for char in text:
        if used + text_columns(char) > width - 1:
            break
        kept += char
        used += text_columns(char)
    return (kept + "…" + " " * (width - 1 - used)) if width > 0 else ""


def both_ends(left: Piece, right: Piece, width: int) -> Line:
    """The right one whole, and what it leaves of the left one."""
    room = max(0, width - text_columns(right.text) - 1)
    return [Piece(fit(left.text, room), left.style), Piece(" "), right]


def wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(printable(text), max(10, width)) or [""]
