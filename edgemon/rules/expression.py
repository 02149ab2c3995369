"""The language of `when` and `clear`: comparisons of figures with numbers, and nothing that could run anything else.

    condition  = or [ "for" duration ]
    or         = and { "or" and }
    and        = not { "and" not }
    not        = "not" not | "(" or ")" | figure op number [ unit ]
    op         = ">" | ">=" | "<" | "<=" | "==" | "!="

A figure is a name of figures.py; behind `metric.` it may stand in quotes. Text is at most MAX_CHARACTERS long, with at
most MAX_COMPARISONS comparisons and MAX_DEPTH levels of `not` and parentheses.
"""

from __future__ import annotations

import math
import operator
import re

from edgemon.config.units import parse_duration
from edgemon.rules import figures
from edgemon.rules.figures import DEVICE, SCOPES, Figure, is_wild
from edgemon.rules.units import ALL_UNITS, NUMBER, PERCENT, SHARE, unit_of_series
from edgemon.std.collections.abc import Callable, Iterator
from edgemon.typed import NamedTuple

MAX_CHARACTERS = 500
MAX_COMPARISONS = 32
MAX_DEPTH = 16

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
_WORDS = ("and", "or", "not", "for")
_UNITS = "|".join(sorted(map(re.escape, {"%", "µs", *ALL_UNITS}), key=len, reverse=True))
# A unit may stand behind a blank only where it is one: "0.2 for" has none.
_TOKEN = re.compile(
    rf"""\s*(?:
      (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?
        (?P<unit>(?:[%°A-Za-zµ/]+|\ ?(?:{_UNITS})(?![\w.]))?(?P<more>(?:\d+(?:\.\d+)?(?:ms|us|[dhms]))*)))
    | (?P<name>[A-Za-z_](?:[\w.*?/:-]*[\w*?])?(?:(?<=metric)\."[^"]*")?)
    | (?P<op>>=|<=|==|!=|>|<)
    | (?P<bracket>[()])
    )""",
    re.X | re.ASCII,
)


class ExpressionError(Exception):
    """The text is no rule.  column: 1-based, of the character where it goes wrong."""

    def __init__(self, problem: str, column: int) -> None:
        super().__init__(problem)
        self.column = column


class Compare(NamedTuple):
    """figure: its name.  limit: in the figure's own unit."""

    figure: str
    op: str
    limit: float


class Not(NamedTuple):
    of: Node


class All(NamedTuple):
    of: tuple[Node, ...]


class Any(NamedTuple):
    of: tuple[Node, ...]


Node = Compare | Not | All | Any


class Condition(NamedTuple):
    """A parsed text.  for_s: how long `node` must hold.  figures: by name, in the order in which they stand."""

    node: Node
    for_s: float
    figures: dict[str, Figure]

    @property
    def scope(self) -> str:
        """The finest of its figures'."""
        return max((figure.scope for figure in self.figures.values()), key=SCOPES.index)

    @property
    def wild(self) -> str:
        """The figure that stands for several series, "" for none."""
        return next((name for name in self.figures if is_wild(name)), "")


def truth(node: Node, read: Callable[[str], float | None]) -> bool | None:
    """Whether it holds; None where it depends on a figure without a value (Kleene's three values).

    >>> truth(parse("rate < 1 or silence > 2m").node, {"silence": 200.0}.get)
    True
    """
    if isinstance(node, Compare):
        value = read(node.figure)
        if value is None:
            return None
        return _OPERATORS[node.op](value, node.limit)
    if isinstance(node, Not):
        inner = truth(node.of, read)
        return None if inner is None else not inner
    decides = isinstance(node, Any)  # True decides "or", False decides "and"
    known = True
    for one in node.of:
        found = truth(one, read)
        if found is decides:
            return decides
        known = known and found is not None
    return not decides if known else None


def comparisons(node: Node) -> Iterator[Compare]:
    """All in it."""
    if isinstance(node, Compare):
        yield node
    else:
        for one in (node.of,) if isinstance(node, Not) else node.of:
            yield from comparisons(one)


def parse(text: str) -> Condition:
    """Raises ExpressionError with the column.

    >>> parse("drift.d > 0.2 for 5m").for_s
    300.0
    """
    return _Parser(text).condition()


class _Token(NamedTuple):
    kind: str  # "number", "name", "op", "bracket", "word" or "end"
    text: str
    column: int


def _tokens(text: str) -> Iterator[_Token]:
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(
            f"the text is longer than {MAX_CHARACTERS} characters", MAX_CHARACTERS + 1
        )
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            hint = {
                "=": ', write "=="',
                "&": ', write "and"',
                "|": ', write "or"',
                ",": "; a decimal number has a point",
            }.get(text[at], "")
            raise ExpressionError(f'"{text[at]}" has no meaning here{hint}', at + 1)

        kind = next(name for name in ("number", "name", "op", "bracket") if match[name] is not None)
        found = match[kind]
        column = match.start(kind) + 1
        yield _Token("word" if found in _WORDS else kind, found, column)
        at = match.end()
    yield _Token("end", "", end + 1)


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._depth = 0
        self._comparisons = 0
        self._figures: dict[str, Figure] = {}

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._next
        self._at += token.kind != "end"
        return token

    def _accept(self, text: str) -> bool:
        if self._next.kind in ("word", "bracket") and self._next.text == text:
            self._at += 1
            return True
        return False

    def condition(self) -> Condition:
        node = self._or()
        for_s = 0.0
        if self._accept("for"):
            for_s = self._duration()
        token = self._next
        if token.kind != "end":
            if for_s:
                raise ExpressionError('"for" and its duration stand once, at the end', token.column)
            if token.text == ")":
                raise ExpressionError('there is no "(" to this ")"', token.column)
            raise ExpressionError(
                f'expected "and", "or", "for" or the end, not "{token.text}"', token.column
            )
        return Condition(node, for_s, self._figures)

    def _duration(self) -> float:
        token = self._take()
        try:
            seconds = parse_duration(token.text.replace(" ", ""))
        except ValueError:
            raise ExpressionError(
                'expected a duration such as 5m or 1h30m after "for"', token.column
            ) from None
        if not 0 < seconds <= 31 * 86_400:
            raise ExpressionError("the duration must be above 0s and at most 31d", token.column)
        return seconds

    def _or(self) -> Node:
        parts = [self._and()]
        while self._accept("or"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def _and(self) -> Node:
        parts = [self._not()]
        while self._accept("and"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _not(self) -> Node:
        token = self._next
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"more than {MAX_DEPTH} levels", token.column)
        node: Node
        if self._accept("not"):
            node = Not(self._not())
        elif self._accept("("):
            node = self._or()
            if self._next.text == "for":
                raise ExpressionError(
                    '"for" and its duration stand once, at the end', self._next.column
                )
            if not self._accept(")"):
                raise ExpressionError(
                    f'the "(" of column {token.column} is not closed', self._next.column
                )
        else:
            node = self._comparison()
        self._depth -= 1
        return node

    def _comparison(self) -> Node:
        token = self._take()
        if token.kind == "number":
            raise ExpressionError(
                "a figure stands on the left, the number on the right", token.column
            )
        if token.kind != "name":
            missing = "the end" if token.kind == "end" else f'"{token.text}"'
            raise ExpressionError(f"expected a figure such as drift.d, not {missing}", token.column)
        figure = self._figure(token)
        op = self._take()
        if op.kind != "op":
            raise ExpressionError(
                f"expected one of {' '.join(_OPERATORS)} after {figure.name}", op.column
            )
        number = self._take()
        if number.kind != "number":
            raise ExpressionError(
                "expected a number: figures are compared with numbers", number.column
            )
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            raise ExpressionError(f"more than {MAX_COMPARISONS} comparisons", token.column)
        found = Compare(figure.name, op.text, _limit(figure, number))
        _decides(figure, found, number)
        return found

    def _figure(self, token: _Token) -> Figure:
        name = token.text.replace('"', "")
        figure = figures.find(name)
        if figure is None:
            from edgemon.config.toml import nearest  # only a fault needs it

            guess = next(
                (one for one in figures.names() if len(name) > 3 and one.startswith(name)),
                nearest(name, figures.names()),
            )
            hint = f'; did you mean "{guess}"?' if guess else "; edgemon check --figures lists them"
            raise ExpressionError(f'there is no figure "{name}"{hint}', token.column)
        self._figures.setdefault(name, figure)
        wild = [one for one in self._figures if is_wild(one)]
        if len(wild) > 1 or (wild and any(f.scope != DEVICE for f in self._figures.values())):
            raise ExpressionError(
                f"{wild[0]} stands for several series, and can stand beside single figures of the device "
                "alone",
                token.column,
            )
        if name.startswith(figures.SYSTEM) and is_wild(name):
            self._one_unit(figure, token)
        return figure

    @staticmethod
    def _one_unit(figure: Figure, token: _Token) -> None:
        series = figure.name[len(figures.SYSTEM) :]
        if unit_of_series(series) is not NUMBER:
            return
        known = [one for one in figures.SERIES if figures.may_be(series, one)]
        units = {unit_of_series(one).name for one in known}
        if len(units) > 1:
            raise ExpressionError(
                f"{figure.name} stands for series of several units: {', '.join(known)}",
                token.column,
            )


def _limit(figure: Figure, token: _Token) -> float:
    """The number in the figure's unit."""
    match = _TOKEN.match(token.text)
    assert match is not None
    unit = match["unit"].strip().replace("µ", "u")
    amount = token.text[: len(token.text) - len(match["unit"])]
    at = token.column + len(amount)
    own = figure.unit
    if match["more"]:  # 1h30m
        if "s" not in own.factors:
            raise ExpressionError(_wrong(figure, unit), at)
        try:
            return parse_duration(token.text.replace(" ", ""))
        except ValueError as error:
            raise ExpressionError(str(error), token.column) from None
    if not unit:
        if own.needed:
            known = ", ".join(own.factors)
            raise ExpressionError(f"{figure.name} needs a unit, one of {known}", at)
        if own is PERCENT and 0.0 < float(amount) <= 1.0:
            share = 100 * float(amount)
            raise ExpressionError(
                f'{figure.name} is in percent: write "{share:g}%" or "{amount}%"', at
            )
        return float(amount)
    if unit not in own.factors:
        raise ExpressionError(_wrong(figure, unit), at)
    return float(amount) * own.factors[unit]


def _decides(figure: Figure, one: Compare, token: _Token) -> None:
    """Refuse what says the same whatever the figure is: such a limit is meant in another unit."""
    low, high = figures.bounds(figure)
    holds = _OPERATORS[one.op]
    # Both ends and the limit, where it lies between: no comparison changes anywhere else.
    tried = {holds(value, one.limit) for value in (low, high, max(low, min(high, one.limit)))}
    if len(tried) > 1:
        return
    kept = "always" if tried == {True} else "never"
    own = figure.unit
    known = f"{low:g} to {high:g}{own.name}" if math.isfinite(high) else f"not below {low:g}"
    hint = ""
    if own is SHARE and low <= one.limit / 100 <= high and not token.text.endswith("%"):
        hint = f'; did you mean "{one.limit:g}%"?'
    raise ExpressionError(f"this {kept} holds: {figure.name} is {known}{hint}", token.column)


def _wrong(figure: Figure, unit: str) -> str:
    known = ", ".join(figure.unit.factors)
    has = f"takes {known}" if known else "is a plain number"
    return f'"{unit}" is no unit of {figure.name}, which {has}'
