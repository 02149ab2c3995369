"""The kinds of value of rules and actions: a condition, what follows, a command, addresses."""

from __future__ import annotations

import re

from edgemon.config.toml import is_control, literal, nearest, shown
from edgemon.config.values import Kind, RefusedError

DIRECT = ("event", "log")
KINDS_OF_ACTION = ("exec", "webhook", "email")


class Condition(Kind):
    """The text of a condition; "" is none. What is wrong with it is said with the column and a caret."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("a condition, see rules.md")

    def parse(self, raw: object) -> object:
        if raw == "":
            return raw
        if not isinstance(raw, str):
            raise self.refuse(raw)
        from edgemon.rules.expression import ExpressionError, parse  # who has no rules pays nothing

        try:
            parse(raw)
        except ExpressionError as error:
            line = "".join(" " if is_control(char) else char for char in raw)
            detail = f"    {line}\n    {' ' * (error.column - 1)}^"
            raise RefusedError(f"column {error.column}: {error}", detail=detail) from None
        return raw


class Doing(Kind):
    """A list of what follows: "event", "log", or a kind and the name of an action, "exec:restart". A tuple."""

    __slots__ = ()
    _MOST = 16

    def __init__(self) -> None:
        super().__init__(
            f'a list of at most {self._MOST} of "event", "log", "exec:NAME", "webhook:NAME" and "email:NAME", '
            "each once, with a table [actions.NAME]"
        )

    def parse(self, raw: object) -> object:
        if not isinstance(raw, list) or len(raw) > self._MOST:
            raise self.refuse(raw)
        for index, word in enumerate(raw):
            kind, colon, name = str(word).partition(":")
            is_named = kind in KINDS_OF_ACTION and colon and name
            if not isinstance(word, str) or (word not in DIRECT and not is_named):
                options = (*DIRECT, *(f"{one}:{name}" for one in KINDS_OF_ACTION))
                guess = nearest(str(word), options)
                problem = f"has {shown(word)}, must be {self.allowed}"
                raise RefusedError(
                    f'{problem}; did you mean "{guess}"?' if guess else problem, index
                )
            if word in raw[:index]:
                raise RefusedError(f"has {shown(word)} twice, must be {self.allowed}", index)
        return tuple(raw)

    def show(self, value: object) -> str:
        assert isinstance(value, tuple)
        return literal(list(value))


class Command(Kind):
    """A program's absolute path and its arguments; [] is none."""

    __slots__ = ()
    _MOST = 64

    def __init__(self) -> None:
        super().__init__(
            f"a list of at most {self._MOST} texts, an absolute path first and then its arguments; there is no shell"
        )

    def parse(self, raw: object) -> object:
        if not isinstance(raw, list) or len(raw) > self._MOST:
            raise self.refuse(raw)
        for index, word in enumerate(raw):
            if not isinstance(word, str) or "\0" in word or len(word) > 4096:
                raise RefusedError(f"has {shown(word)}, must be {self.allowed}", index)
        if raw and not raw[0].startswith("/"):
            raise RefusedError(f"has the program {shown(raw[0])}, must be {self.allowed}", 0)
        return list(raw)


class Addresses(Kind):
    """A list of at most `most` e-mail addresses."""

    __slots__ = ("most",)

    def __init__(self, most: int) -> None:
        super().__init__(f'a list of at most {most} addresses such as "duty@example.org"')
        self.most = most

    def parse(self, raw: object) -> object:
        if not isinstance(raw, list) or len(raw) > self.most:
            raise self.refuse(raw)
        for index, address in enumerate(raw):
            if not isinstance(address, str) or not re.fullmatch(
                r"[^\s@<>,;]{1,64}@[^\s@<>,;]{1,255}", address
            ):
                raise RefusedError(f"has {shown(address)}, must be {self.allowed}", index)
        return list(raw)
