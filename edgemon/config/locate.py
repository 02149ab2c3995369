"""In which line a key stands: tomllib does not say, and a fault without a line is hard to find.

A scan of text that tomllib has accepted. It reads keys and steps over values, and so knows just
enough of TOML: headers, arrays of tables, dotted and quoted keys, strings of four kinds, arrays and
inline tables over several lines, comments. O(length of the text).
"""

from __future__ import annotations

import tomllib

# Keys of tables are text, elements of arrays are counted from 0.
KeyPath = tuple[str | int, ...]

_BLANK = " \t\r\n"


def locate(text: str) -> dict[KeyPath, int]:
    """Path of every table, key and array element -> 1-based line where it is first named.

    text: what tomllib has accepted; for other text nothing is promised.

    >>> locate("[batch]\\nmax_rows = 5\\n")
    {('batch',): 1, ('batch', 'max_rows'): 2}
    """
    return _Scanner(text).run()


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int:
    """The line of the path or of the nearest table around it, 0 when the text names neither."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 0)


class _Scanner:
    __slots__ = ("counted", "elements", "line", "lines", "pos", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.line, self.counted = 1, 0  # the line of position `counted`
        self.lines: dict[KeyPath, int] = {}
        self.elements: dict[KeyPath, int] = {}  # arrays of tables: elements so far

    def run(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._skip_blank():
            start = self.pos
            if self.text.startswith("[[", start):
                self.pos += 2
                table = self._array_header(self._key(), start)
                self._skip_past("]]")
            elif self.text[start] == "[":
                self.pos += 1
                table = self._header(self._key(), start)
                self._skip_past("]")
            else:
                self._pair(table)
        return self.lines

    def _header(self, parts: list[str], at: int) -> KeyPath:
        path: KeyPath = ()
        for part in parts:
            path = self._name((*path, part), at)
            if path in self.elements:  # a table below the latest element of an array of tables
                path = (*path, self.elements[path] - 1)
        return path

    def _array_header(self, parts: list[str], at: int) -> KeyPath:
        path = self._name((*self._header(parts[:-1], at), *parts[-1:]), at)
        index = self.elements.get(path, 0)
        self.elements[path] = index + 1
        return self._name((*path, index), at)

    def _pair(self, table: KeyPath) -> None:
        at, path = self.pos, table
        for part in self._key():
            path = self._name((*path, part), at)
        self._skip_past("=")
        self._skip_blank()
        self._value(path)

    def _key(self) -> list[str]:
        """The parts of a dotted key; the position moves behind it."""
        parts: list[str] = []
        while True:
            self._skip_blank()
            start = self.pos
            if self.text[start : start + 1] in ('"', "'"):
                self._string()
                parts.append(tomllib.loads(f"k={self.text[start : self.pos]}")["k"])
            else:
                while self.pos < len(self.text) and self.text[self.pos] not in "=.]#, \t\r\n":
                    self.pos += 1
                parts.append(self.text[start : self.pos])
            self._skip_blank()
            if self.text[self.pos : self.pos + 1] != ".":
                return parts
            self.pos += 1

    def _value(self, path: KeyPath) -> None:
        char = self.text[self.pos : self.pos + 1]
        if char in ('"', "'"):
            self._string()
        elif char == "[":
            self._array(path)
        elif char == "{":
            self._inline_table(path)
        else:
            while self.pos < len(self.text) and self.text[self.pos] not in ",]}#\r\n":
                self.pos += 1

    def _array(self, path: KeyPath) -> None:
        self.pos += 1
        index = 0
        while self._skip_blank() and self.text[self.pos] != "]":
            if self.text[self.pos] == ",":
                self.pos += 1
                continue
            self._value(self._name((*path, index), self.pos))
            index += 1
        self.pos += 1

    def _inline_table(self, path: KeyPath) -> None:
        self.pos += 1
        while self._skip_blank() and self.text[self.pos] != "}":
            if self.text[self.pos] == ",":
                self.pos += 1
                continue
            self._pair(path)
        self.pos += 1

    def _string(self) -> None:
        quote = self.text[self.pos]
        triple = quote * 3
        end = triple if self.text.startswith(triple, self.pos) else quote
        self.pos += len(end)
        while self.pos < len(self.text) and not self.text.startswith(end, self.pos):
            self.pos += 2 if quote == '"' and self.text[self.pos] == "\\" else 1
        self.pos += len(end)
        if end == triple:  # up to two quotes may stand right before the closing three
            for _ in range(2):
                self.pos += self.text.startswith(quote, self.pos)

    def _skip_blank(self) -> bool:
        """Over blanks, newlines and comments; False at the end of the text."""
        while self.pos < len(self.text):
            if self.text[self.pos] == "#":
                newline = self.text.find("\n", self.pos)
                self.pos = len(self.text) if newline < 0 else newline
            elif self.text[self.pos] in _BLANK:
                self.pos += 1
            else:
                return True
        return False

    def _skip_past(self, mark: str) -> None:
        found = self.text.find(mark, self.pos)
        self.pos = len(self.text) if found < 0 else found + len(mark)

    def _name(self, path: KeyPath, at: int) -> KeyPath:
        self.line += self.text.count("\n", self.counted, at)
        self.counted = at
        self.lines.setdefault(path, self.line)
        return path
