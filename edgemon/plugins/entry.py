"""Python entry points: how a package that is installed beside edgemon offers a plugin.

Read here out of `*.dist-info/entry_points.txt` (the packaging user guide's "Entry points specification"), and not by
importlib.metadata, which costs each Python plugin 4.6 MB of memory.
"""

from __future__ import annotations

import os
import sys

from edgemon.errors import UsageError
from edgemon.std.collections.abc import Callable
from edgemon.std.importlib import import_module
from edgemon.typed import Any

GROUPS = {"collector": "edgemon.collectors", "sink": "edgemon.sinks"}
_FOLDERS = (".dist-info", ".egg-info")
_MAX_BYTES = 1 << 20


def offered(group: str) -> dict[str, str]:
    """Name -> "module:object" of all installed packages; of two with one name the first on the path counts."""
    found: dict[str, str] = {}
    for place in sys.path:
        try:
            folders = sorted(os.listdir(place or "."))
        except OSError:
            continue
        for folder in folders:
            if folder.endswith(_FOLDERS):
                found = _read(os.path.join(place, folder, "entry_points.txt"), group) | found
    return found


def find(kind: str, name: str) -> str:
    """The entry point of that name, "module:object", not loaded. Raises UsageError."""
    group = GROUPS[kind]
    points = offered(group)
    if name not in points:
        names = ", ".join(sorted(points)) or "none at all"
        raise UsageError(
            f'no installed package has the entry point "{name}" of the group {group}; there is {names}'
        )
    return points[name]


def load(kind: str, name: str) -> Callable[[], Any]:
    """What makes the plugin's object. Raises UsageError, and whatever its module raises."""
    module, _, path = find(kind, name).partition(":")
    made: Any = import_module(module)
    for part in path.split(".") if path else ():
        made = getattr(made, part)
    maker: Callable[[], Any] = made
    return maker


def _read(path: str, group: str) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_MAX_BYTES)
    except (OSError, UnicodeDecodeError):
        return {}
    found: dict[str, str] = {}
    here = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            here = line == f"[{group}]"
        elif here and "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            found[name.strip()] = value.partition("[")[0].strip().replace(" ", "")  # extras
    return found
