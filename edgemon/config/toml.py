"""Values and keys as TOML writes them, in files and in messages."""

from __future__ import annotations

import re

from edgemon.std.collections.abc import Iterable
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.config.locate import KeyPath

_MAX_SHOWN = 60
_SHORT_ESCAPES = {"\t": "\\t", "\n": "\\n", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def literal(value: object) -> str:
    """A value of tomllib's as TOML on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        inside = ", ".join(f"{bare_key(key)} = {literal(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return str(value)


def quoted(text: str) -> str:
    """A TOML basic string."""
    return f'"{"".join(_escaped(char) for char in text)}"'


def _escaped(char: str) -> str:
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    return f"\\u{ord(char):04x}" if is_control(char) else char


def is_control(char: str) -> bool:
    """Whether a terminal may take it as a command: C0, DEL and C1."""
    return char < " " or "\x7f" <= char <= "\x9f"


def bare_key(name: str) -> str:
    """A key as TOML wants it: bare where it can be."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name, re.ASCII) else quoted(name)


def dotted(path: KeyPath) -> str:
    """A path as a person writes it: ``models."*".window``, ``ingest.allow_uids[2]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{bare_key(part)}" if text else bare_key(part)
    return text


def shown(raw: object) -> str:
    """A value in a message: as TOML, cut at 60 characters."""
    text = literal(raw)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def alternatives(options: Iterable[str]) -> str:
    """`"a"`, `"a" or "b"`, `"a", "b" or "c"`."""
    words = [literal(option) for option in options]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def nearest(word: str, options: Iterable[str]) -> str:
    """The option that was probably meant, or ""."""
    import difflib  # only a fault needs it, and it costs memory that the agent keeps

    matches = difflib.get_close_matches(word.lower(), list(options), 1, 0.6)
    return matches[0] if matches else ""
