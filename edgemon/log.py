"""One line a message on standard error, as text or JSON.

Not the standard library's logging: importing it costs the agent 2.4 MB of the 15 that it may have, for
handlers and hierarchies that a process with one sink has no use for. systemd adds time and unit.
"""

from __future__ import annotations

import sys
import time

LEVELS = ("debug", "info", "warning", "error")

_threshold = 1
_as_json = False
_area = "edgemon"


def configure(area: str, level: str = "info", style: str = "text") -> None:
    """area: the process's name in each line.  level: one of LEVELS.  style: "text" | "json"."""
    global _threshold, _as_json, _area
    _area, _threshold, _as_json = area, LEVELS.index(level), style == "json"


def debug(message: str, **fields: object) -> None:
    _write(0, message, fields)


def info(message: str, **fields: object) -> None:
    _write(1, message, fields)


def warning(message: str, **fields: object) -> None:
    _write(2, message, fields)


def error(message: str, **fields: object) -> None:
    _write(3, message, fields)


def _printable(line: str) -> str:
    """Names come from clients: they must not write lines of their own, nor steer a terminal."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _write(level: int, message: str, fields: dict[str, object]) -> None:
    if level < _threshold:
        return
    if _as_json:
        from edgemon.std import json

        record = {
            "ts": round(time.time(), 3),
            "level": LEVELS[level],
            "area": _area,
            "msg": message,
        }
        line = json.dumps(record | fields, default=str)
    else:
        tail = "".join(f" {name}={value}" for name, value in fields.items())
        line = _printable(f"{_area}: {LEVELS[level]}: {message}{tail}".replace("\n", " | "))
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # a closed standard error must not stop a monitor
