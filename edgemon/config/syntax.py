"""TOML text read, and tomllib's complaints in plain words."""

from __future__ import annotations

import re
import tomllib

from edgemon.errors import ConfigError, Fault
from edgemon.typed import Any

_POSITION = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.S)

_WORDS = (
    ("Invalid value", 'a value is missing, or is not TOML; text stands in quotes, as in "60s"'),
    ("Expected '=' after a key", 'expected "=" after the key'),
    (
        "Expected newline or end of document",
        "something follows the value; text stands in quotes, each setting on a line of its own",
    ),
    ("Expected ']]'", 'expected "]]" after the name of the section'),
    ("Expected ']'", 'expected "]" after the name of the section'),
    ("Invalid statement", "expected a section such as [agent], or a setting such as key = value"),
    (
        "Invalid initial character for a key",
        "a key is missing, or is not one; odd keys need quotes",
    ),
    ("Unclosed array", 'a list is not closed with "]"'),
    ("Unclosed inline table", 'an inline table is not closed with "}"'),
    ("Duplicate inline table key", "a key stands twice in one inline table"),
    ("Unescaped '\\'", 'a lone backslash in double quotes; write "\\\\", or use single quotes'),
    ("Invalid hex value", "an escape that begins with \\u or \\U needs 4 or 8 hex digits"),
    ("Escaped character is not", "an escape names a character that does not exist"),
    ("Unterminated string", "a text is not closed with its quote"),
    ('Expected "\'"', "a text is not closed with its quote"),
    ("Expected '\"", "a text is not closed with its quote"),
    ("Expected \"'", "a text is not closed with its quote"),
    ("Illegal character '\\n'", "a text is not closed with its quote before the line ends"),
    ("Found invalid character '\\n'", "a text is not closed with its quote before the line ends"),
    ("Illegal character", "a control character stands in a text"),
    ("Found invalid character", "a control character stands here"),
    ("Invalid date", "not a date"),
    ("Cannot mutate immutable", "a table that was complete already gets another key"),
    ("Cannot redefine", "a table that was complete already gets another key"),
)


def document_of(text: str, file: str) -> dict[str, Any]:
    """TOML text, parsed. Raises ConfigError, which names the file.  file: as faults name it."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        line, problem = explain(error, text)
        raise ConfigError([Fault(file, line, "", problem)]) from None


def explain(error: Exception, text: str) -> tuple[int, str]:
    """(line, problem) of what tomllib.loads(text) raised. The line is 0 when nobody knows it."""
    if isinstance(error, RecursionError):
        return 0, "lists or tables are nested too deep"
    match = _POSITION.fullmatch(str(error))
    if not match:
        return 0, f"not TOML: {error}"
    message = match[1]
    if match[2] is None:
        line, where = max(1, len(text.splitlines())), "at the end of the file"
    else:
        line, where = int(match[2]), f"column {match[3]}"
    return line, f"{where}: {_plain(message, text, line)}"


def _plain(message: str, text: str, line: int) -> str:
    if message.startswith("Cannot declare"):
        name = ".".join(re.findall(r"'([^']*)'", message))
        return f"the section [{name}] stands twice, or lies in a value"
    if message.startswith("Cannot overwrite"):
        key = text.split("\n")[line - 1].partition("=")[0].strip() if text else ""
        if key.startswith("["):
            return f"the section {key} stands twice, or lies in a value"
        return f"the key {key} is set twice"
    for beginning, words in _WORDS:
        if message.startswith(beginning):
            return words
    return f"not TOML: {message[:1].lower()}{message[1:]}"
