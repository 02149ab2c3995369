"""Where keys stand, held to tomllib by documents made at random."""

from __future__ import annotations

import doctest
import json
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemon.config import locate as module
from edgemon.config.locate import KeyPath, line_of, locate

# --- one rule at a time ----------------------------------------------------------------------


def test_the_example_in_the_docstring_holds() -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1\nb = 2\n", ("b",), 2),
        ("\n\n  a = 1", ("a",), 3),
        ("# a = 1\na = 1\n", ("a",), 2),
        ("[s] # [t]\nk = 1 # k = 2\n[t]\nk = 3\n", ("t", "k"), 4),
        ("[ s . t ]\nk = 1\n", ("s", "t", "k"), 2),
        ("[s]\n[s.t]\nk = 1\n", ("s",), 1),
        ("[s.t]\nk=1\n[s]\nl=1\n", ("s", "l"), 4),
        ("a.b.c = 1\na.b.d = 2\n", ("a", "b", "d"), 2),
        ("a.b.c = 1\na.b.d = 2\n", ("a", "b"), 1),
        ('"a.b" = 1\n"c d".\'e"\' = 2\n', ("c d", 'e"'), 2),
        ("[\"*\".'x]']\nk = 1\n", ("*", "x]", "k"), 2),
        ('"\\u0061\\t" = 1', ("a\t",), 1),
        ("[[x]]\nk = 1\n[[x]]\nk = 2\n", ("x", 1, "k"), 4),
        ("[[x]]\n[x.y]\nk = 1\n[[x]]\n[x.y]\nk = 2\n", ("x", 1, "y", "k"), 6),
        ("[[x]]\n[[x.y]]\n[[x.y]]\nk = 1\n", ("x", 0, "y", 1, "k"), 4),
        ('a = """\nb = 1\n"""\nb = 2\n', ("b",), 4),
        ("a = '''\nb = 1\n'''\nb = 2\n", ("b",), 4),
        ('a = """x\\"""\nb = 1"""\nb = 2\n', ("b",), 3),
        ('a = """x"""""\nb = 2\n', ("b",), 2),
        ("a = '''x'''''\nb = 2\n", ("b",), 2),
        ("a = ''\nb = \"\"\nc = 1\n", ("c",), 3),
        ('a = "]#\\""\nb = 1\n', ("b",), 2),
        ("a = [\n 1, # one ]\n 2,\n]\nb = 1\n", ("a", 1), 3),
        ("a = [\n 1,\n 2,\n]\nb = 1\n", ("b",), 5),
        ("a = [[1], [\n2]]\nb = 1\n", ("a", 1, 0), 2),
        ("a = {b = 1, c = {d = 2}}\n", ("a", "c", "d"), 1),
        ("x = 0\na = [\n {b = 1},\n {b = '}'},\n]\nc = 1", ("a", 1, "b"), 4),
        ("a = 1979-05-27 07:32:00 # x\nb = 1", ("b",), 2),
        ("a = 1\r\nb = 2\r\n", ("b",), 2),
    ],
)
def test_a_key_is_found_in_its_line(text: str, path: KeyPath, line: int) -> None:
    tomllib.loads(text)
    assert locate(text)[path] == line


def test_a_path_that_is_not_there_has_the_line_of_the_table_around_it() -> None:
    lines = locate("\n[a]\nb = [\n 1]\n")
    assert line_of(lines, ("a", "b", 0)) == 4
    assert line_of(lines, ("a", "b", 7)) == 3
    assert line_of(lines, ("a", "c", "d")) == 2
    assert line_of(lines, ("z",)) == 0


# --- documents made at random ----------------------------------------------------------------

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=6)
scalars = st.one_of(
    st.integers(-(10**9), 10**9),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12),
    st.sampled_from(["#", "=", '"""', "'''", "[x]", "{a = 1}", "a = 1", "\\", '\\"', "x'", 'x"']),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
tables = st.dictionaries(names, values, max_size=4)


class Writer:
    """Writes TOML in styles drawn at random and keeps the line of every key."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[KeyPath, int] = {}

    def put(self, text: str) -> None:
        self.text += text

    def name(self, path: KeyPath) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def one_of(self, *texts: str) -> str:
        return self.draw(st.sampled_from(texts))

    def key(self, name: str) -> str:
        styles = [self.basic(name)]
        if name.isascii() and name.replace("_", "").replace("-", "").isalnum():
            styles.append(name)
        if "'" not in name and name.isprintable():
            styles.append(f"'{name}'")
        return self.one_of(*styles)

    @staticmethod
    def basic(text: str) -> str:
        return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

    def string(self, text: str) -> str:
        styles = [
            self.basic(text),
            f'"""{self.basic(text)[1:-1]}"""',
            f'"""\n{self.basic(text)[1:-1]}"""',
        ]
        styles.append(
            '"""\\\n   ' + self.basic(text)[1:-1] + '"""' if text[:1].strip() else styles[0]
        )
        if "'" not in text and text.isprintable():
            styles += [f"'{text}'", f"'''{text}'''", f"'''\n{text}'''"]
        return self.one_of(*styles)

    def gap(self) -> None:
        self.put(self.one_of("", " ", "\n", "\r\n", " # ]}\n", "\n\n  "))

    def value(self, value: Any, path: KeyPath, *, inline: bool) -> None:
        if isinstance(value, dict):
            self.put("{" + self.one_of("", " "))
            for index, (name, item) in enumerate(value.items()):
                self.put(", " if index else "")
                self.pair(name, item, path, inline=True)
            self.put(self.one_of("", " ") + "}")
        elif isinstance(value, list):
            self.put("[")
            for index, item in enumerate(value):
                self.gap()
                self.name((*path, index))
                self.value(item, (*path, index), inline=inline)
                self.put(self.one_of("", " ") + ",")
            self.gap()
            self.put("]")
        elif isinstance(value, str):
            self.put(self.string(value))
        else:
            self.put(str(value).lower() if isinstance(value, bool) else repr(value))

    def pair(self, name: str, value: Any, path: KeyPath, *, inline: bool) -> None:
        dotted = isinstance(value, dict) and len(value) == 1 and self.draw(st.booleans())
        self.name((*path, name))
        self.put(self.key(name))
        while dotted:
            ((inner, value),) = value.items()
            path, name = (*path, name), inner
            self.name((*path, name))
            self.put(self.one_of(".", " . ") + self.key(name))
            dotted = isinstance(value, dict) and len(value) == 1 and self.draw(st.booleans())
        self.put(self.one_of(" = ", "=", "\t= "))
        self.value(value, (*path, name), inline=inline)

    def body(self, table: dict[str, Any], path: KeyPath) -> None:
        for name, value in table.items():
            self.put(self.one_of("", "\n", "# x = [\n", "  "))
            self.pair(name, value, path, inline=False)
            self.put(self.one_of("\n", " # = ]\n", "\r\n"))


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[KeyPath, int]]:
    """(text, line of each path): plain pairs, tables, tables below tables, arrays of tables."""
    writer = Writer(draw)
    top = draw(tables)
    writer.body(top, ())
    for name in draw(st.lists(names, max_size=4, unique=True)):
        if name in top:
            continue
        style = draw(st.sampled_from(["table", "below", "array"]))
        for index in range(draw(st.integers(1, 3)) if style == "array" else 1):
            path: KeyPath = (name, index) if style == "array" else (name,)
            writer.name((name,))
            writer.name(path)
            header = writer.key(name)
            if style == "below":
                below = draw(names)
                path = (name, below)
                writer.name(path)
                header += writer.one_of(".", " . ") + writer.key(below)
            pad = writer.one_of("", " ")
            brackets = ("[[", "]]") if style == "array" else ("[", "]")
            writer.put(
                f"{brackets[0]}{pad}{header}{pad}{brackets[1]}{writer.one_of('', ' # [x]')}\n"
            )
            body = draw(tables)
            writer.body(body, path)
            if style == "array" and (sub := draw(st.none() | names)) and sub not in body:
                inner = (*path, sub)
                writer.name(inner)
                writer.put(f"[{writer.key(name)}.{writer.key(sub)}]\n")
                writer.body(draw(tables), inner)
    return writer.text, writer.lines


def known_paths(node: Any, path: KeyPath = ()) -> set[KeyPath]:
    found: set[KeyPath] = {path} if path else set()
    items = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for name, inner in items:
        found |= known_paths(inner, (*path, name))
    return found


@settings(max_examples=400, deadline=None)
@given(documents())
def test_all_keys_that_tomllib_knows_are_found_each_in_its_line(
    document: tuple[str, dict[KeyPath, int]],
) -> None:
    text, lines = document
    assert known_paths(tomllib.loads(text)) == set(lines), "the test's own writer is wrong"
    assert locate(text) == lines
