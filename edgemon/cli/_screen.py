"""A whole terminal for a page that is drawn again and again: plain ANSI, nothing to install.

    with Screen(sys.stdin, sys.stdout) as screen:
        while screen.wait(2.0) not in ("q", "end"):
            screen.draw(lines)

The terminal is as it was afterwards, also after Ctrl-C, SIGTERM and an error; Ctrl-Z and `fg` work.
"""

from __future__ import annotations

import os
import select
import signal
import termios
import tty
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TextIO

from edgemon.cli._lines import Line

# Another screen, no cursor, no wrapping of lines; and back.
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_STYLES = {"bold": "1", "dim": "2", "good": "32", "warn": "33", "bad": "1;31"}
_ENDING = (signal.SIGTERM, signal.SIGHUP)


def colours(stream: TextIO) -> bool:
    """Whether the stream takes colours: a terminal that is not dumb, and NO_COLOR is not set (no-color.org)."""
    return is_screen(stream) and not os.environ.get("NO_COLOR")


def is_screen(stream: TextIO) -> bool:
    """Whether the stream is a terminal whose cursor can be moved."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


def has_blocks(stream: TextIO) -> bool:
    """Whether block characters can be written."""
    try:
        "▁█…".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def encodable(text: str, stream: TextIO) -> str:
    """What the stream's encoding cannot say becomes "?": a name in Greek on a Latin terminal."""
    encoding = stream.encoding or "ascii"
    return text.encode(encoding, "replace").decode(encoding)


def plain(line: Line) -> str:
    """The line without styles and blanks at its end."""
    return "".join(piece.text for piece in line).rstrip()


def styled(line: Line) -> str:
    """The line with its styles as ANSI sequences."""
    return "".join(
        f"\x1b[{_STYLES[piece.style]}m{piece.text}\x1b[0m" if piece.style else piece.text
        for piece in line
    )


class Screen:
    """A terminal that is ours from `with` to its end. colour: False writes no colours or weights."""

    def __init__(self, stdin: TextIO, stdout: TextIO, *, colour: bool) -> None:
        self._in, self._out, self._colour = stdin.fileno(), stdout, colour
        self._was: list[Any] = []
        self._handlers: list[tuple[signal.Signals, Any]] = []
        self._wake_read = self._wake_write = -1
        self._ended = False

    def __enter__(self) -> Screen:
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number, handler in (
            (signal.SIGWINCH, self._wake),
            (signal.SIGCONT, self._back),
            (signal.SIGTSTP, self._suspend),
            *((ending, self._end) for ending in _ENDING),
        ):
            self._handlers.append((number, signal.signal(number, handler)))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})  # who started us may have kept it
        self._was = termios.tcgetattr(self._in)
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers:
            signal.signal(number, handler)
        with suppress(OSError, ValueError):  # the terminal may be gone
            self._give()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def size(self) -> tuple[int, int]:
        """(columns, lines) now."""
        try:
            size = os.get_terminal_size(self._out.fileno())
        except OSError:
            return 80, 24
        return size.columns or 80, size.lines or 24

    def draw(self, lines: Iterable[Line]) -> None:
        """The whole page, from the top; what was there before is gone. One write, so nothing flickers."""
        show = styled if self._colour else plain
        # Erased before it is written: after its last column an erasure would take that column too.
        text = "\r\n".join(f"\x1b[2K{show(line)}" for line in lines)
        self._write(f"\x1b[H{text}\x1b[J")

    def wait(self, seconds: float) -> str:
        """A key, "" when the time is over, "resized" when it must be drawn again, "end" when it is over."""
        if self._ended:
            return "end"
        ready, _, _ = select.select([self._in, self._wake_read], [], [], max(0.0, seconds))
        if self._wake_read in ready:
            os.read(self._wake_read, 4096)
            return "end" if self._ended else "resized"
        if self._in in ready:
            keys = os.read(self._in, 64)
            return keys.decode("ascii", "replace")[:1] if keys else "end"
        return ""

    def _take(self) -> None:
        tty.setcbreak(self._in, termios.TCSANOW)
        self._write(_ENTER)

    def _give(self) -> None:
        self._write(_LEAVE)
        # At once: waiting until all is read could last for ever where the connection stalls.
        termios.tcsetattr(self._in, termios.TCSANOW, self._was)

    def _write(self, text: str) -> None:
        self._out.write(encodable(text, self._out))
        self._out.flush()

    # -- signals

    def _wake(self, *_: object) -> None:
        with suppress(BlockingIOError):
            os.write(self._wake_write, b"x")

    def _end(self, *_: object) -> None:
        self._ended = True
        self._wake()

    def _suspend(self, *_: object) -> None:
        self._give()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _back(self, *_: object) -> None:
        self._take()
        self._wake()
