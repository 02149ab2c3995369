"""The kinds of value that a key can have: each parses, says what it allows, and writes TOML."""

from __future__ import annotations

import re

from edgemon.config.amounts import format_duration, format_size
from edgemon.config.toml import alternatives, literal, nearest, shown
from edgemon.config.units import (
    guess_duration,
    guess_size,
    parse_duration,
    parse_size,
)

PLAIN = r"[^\0-\x1f\x7f]{0,200}"  # for a Text on one line, which may be empty


class RefusedError(Exception):
    """A value that a key cannot have; the text is the fault's problem. `at`: below the key.  detail: the fault's."""

    def __init__(self, problem: str, *at: str | int, detail: str = "") -> None:
        super().__init__(problem)
        self.at = at
        self.detail = detail


class Kind:
    """One kind of value.  allowed: words that finish the sentence "must be …"."""

    __slots__ = ("allowed",)

    def __init__(self, allowed: str) -> None:
        self.allowed = allowed

    def parse(self, raw: object) -> object:
        """The setting's value. Raises RefusedError."""
        raise NotImplementedError

    def show(self, value: object) -> str:
        """A parsed value as TOML."""
        return literal(value)

    def refuse(self, raw: object, guess: str = "") -> RefusedError:
        problem = f"is {shown(raw)}, must be {self.allowed}"
        return RefusedError(f'{problem}; did you mean "{guess}"?' if guess else problem)


class Boolean(Kind):
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("true or false")

    def parse(self, raw: object) -> object:
        if isinstance(raw, bool):
            return raw
        meant = {"true": "true", "yes": "true", "on": "true", "1": "true"}
        meant |= {"false": "false", "no": "false", "off": "false", "0": "false"}
        word = meant.get(str(raw).lower(), "")
        problem = f"is {shown(raw)}, must be true or false"
        raise RefusedError(f"{problem}; did you mean {word}, without quotes?" if word else problem)


class Integer(Kind):
    __slots__ = ("high", "low")

    def __init__(self, low: int, high: int, note: str = "") -> None:
        super().__init__(f"a whole number from {low} to {high}{note}")
        self.low, self.high = low, high

    def parse(self, raw: object) -> object:
        if isinstance(raw, int) and not isinstance(raw, bool) and self.low <= raw <= self.high:
            return raw
        raise self.refuse(raw)


class Real(Kind):
    """A finite number; `above` makes the lower bound exclusive."""

    __slots__ = ("above", "high", "low")

    def __init__(self, low: float, high: float, *, above: bool = False, note: str = "") -> None:
        span = (
            f"above {low:.9g} and at most {high:.9g}" if above else f"from {low:.9g} to {high:.9g}"
        )
        super().__init__(f"a number {span}{note}")
        self.low, self.high, self.above = low, high, above

    def parse(self, raw: object) -> object:
        if isinstance(raw, (int, float)) and not isinstance(raw, bool):
            inside = self.low < raw <= self.high if self.above else self.low <= raw <= self.high
            if inside:
                return float(raw)
        raise self.refuse(raw)


class Duration(Kind):
    """Seconds as a float. `whole`: no fraction of a second."""

    __slots__ = ("high_s", "low_s", "whole")

    def __init__(self, low: str, high: str, *, whole: bool = False) -> None:
        self.low_s, self.high_s, self.whole = parse_duration(low), parse_duration(high), whole
        kind = "a duration in whole seconds" if whole else "a duration"
        super().__init__(f'{kind} from "{low}" to "{high}"')

    def parse(self, raw: object) -> object:
        if isinstance(raw, str):
            try:
                seconds = parse_duration(raw)
            except ValueError:
                raise self.refuse(raw, self._in_range(guess_duration(raw))) from None
            if self.low_s <= seconds <= self.high_s and not (self.whole and seconds % 1):
                return seconds
            raise self.refuse(raw)
        raise self.refuse(raw, self._in_range(guess_duration(raw)))

    def show(self, value: object) -> str:
        assert isinstance(value, float)
        return literal(format_duration(value))

    def _in_range(self, guess: str) -> str:
        return guess if guess and self.low_s <= parse_duration(guess) <= self.high_s else ""


class Size(Kind):
    """Bytes."""

    __slots__ = ("high", "low")

    def __init__(self, low: str, high: str) -> None:
        self.low, self.high = parse_size(low), parse_size(high)
        super().__init__(f'a size from "{low}" to "{high}"')

    def parse(self, raw: object) -> object:
        if isinstance(raw, str):
            try:
                size = parse_size(raw)
            except ValueError:
                raise self.refuse(raw, self._in_range(guess_size(raw))) from None
            if self.low <= size <= self.high:
                return size
            raise self.refuse(raw)
        raise self.refuse(raw, self._in_range(guess_size(raw)))

    def show(self, value: object) -> str:
        assert isinstance(value, int)
        return literal(format_size(value))

    def _in_range(self, guess: str) -> str:
        return guess if guess and self.low <= parse_size(guess) <= self.high else ""


class Text(Kind):
    """Text that a pattern matches as a whole."""

    __slots__ = ("pattern",)

    def __init__(self, pattern: str, allowed: str) -> None:
        super().__init__(allowed)
        self.pattern = pattern

    def parse(self, raw: object) -> object:
        if isinstance(raw, str) and re.fullmatch(self.pattern, raw, re.ASCII):
            return raw
        raise self.refuse(raw)


class Path(Text):
    """A path; the loader makes it absolute. `must`: "file" or "folder" when that has to exist."""

    __slots__ = ("must",)

    def __init__(self, must: str = "", *, optional: bool = True) -> None:
        super().__init__(
            rf"[^\0\r\n]{{{0 if optional else 1},4000}}",
            {"file": "the path of a file", "folder": "the path of a folder"}.get(must, "a path"),
        )
        self.must = must


class Choice(Kind):
    """One of a few words. `later`: words that the design knows and this version refuses."""

    __slots__ = ("later", "options")

    def __init__(self, *options: str, later: tuple[str, ...] = ()) -> None:
        super().__init__(alternatives(options))
        self.options, self.later = options, later

    def parse(self, raw: object) -> object:
        if raw in self.options:
            return raw
        if raw in self.later:
            raise RefusedError(
                f"is {shown(raw)}, which this version does not have yet, must be {self.allowed}"
            )
        word = str(raw).lower()
        raise self.refuse(raw, word if word in self.options else nearest(word, self.options))


class Words(Kind):
    """A list of different words out of a few, or ["all"] of them."""

    __slots__ = ("options",)

    def __init__(self, *options: str) -> None:
        super().__init__(
            f'a list of any of {", ".join(map(literal, options))}, each once, or ["all"]'
        )
        self.options = options

    def parse(self, raw: object) -> object:
        if not isinstance(raw, list):
            raise self.refuse(raw)
        if raw == ["all"]:
            return list(self.options)
        for index, word in enumerate(raw):
            if word not in self.options:
                guess = nearest(word, self.options) if isinstance(word, str) else ""
                problem = f"has {shown(word)}, must be {self.allowed}"
                raise RefusedError(
                    f'{problem}; did you mean "{guess}"?' if guess else problem, index
                )
            if word in raw[:index]:
                raise RefusedError(f"has {shown(word)} twice, must be {self.allowed}", index)
        return list(raw)


class Times(Kind):
    """A list of at most `most` times of the day, "HH:MM"."""

    __slots__ = ("most",)

    def __init__(self, most: int) -> None:
        super().__init__(f'a list of at most {most} times of the day such as "02:00", each once')
        self.most = most

    def parse(self, raw: object) -> object:
        if not isinstance(raw, list) or len(raw) > self.most:
            raise self.refuse(raw)
        for index, time in enumerate(raw):
            if not isinstance(time, str) or re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", time) is None:
                raise RefusedError(f"has {shown(time)}, must be {self.allowed}", index)
            if time in raw[:index]:
                raise RefusedError(f"has {shown(time)} twice, must be {self.allowed}", index)
        return list(raw)


class Integers(Kind):
    """A list of at most `most` whole numbers."""

    __slots__ = ("high", "low", "most")

    def __init__(self, low: int, high: int, most: int) -> None:
        super().__init__(f"a list of at most {most} whole numbers from {low} to {high}")
        self.low, self.high, self.most = low, high, most

    def parse(self, raw: object) -> object:
        if not isinstance(raw, list) or len(raw) > self.most:
            raise self.refuse(raw)
        for index, item in enumerate(raw):
            if isinstance(item, bool) or not isinstance(item, int):
                raise RefusedError(f"has {shown(item)}, must be {self.allowed}", index)
            if not self.low <= item <= self.high:
                raise RefusedError(f"has {shown(item)}, must be {self.allowed}", index)
        return list(raw)


class Patterns(Kind):
    """A list of at most `most` names, in which * stands for anything and ? for one character."""

    __slots__ = ("most", "of")

    def __init__(self, most: int, of: str = "features") -> None:
        super().__init__(
            f'a list of at most {most} names of {of}, 1 to 256 characters, "*" for any of them'
        )
        self.most, self.of = most, of

    def parse(self, raw: object) -> object:
        if not isinstance(raw, list) or len(raw) > self.most:
            raise self.refuse(raw)
        for index, item in enumerate(raw):
            if not isinstance(item, str) or not 0 < len(item) <= 256:
                raise RefusedError(f"has {shown(item)}, must be {self.allowed}", index)
            if self.of == "features" and item.startswith("f:"):
                problem = f'has {shown(item)}: "f:" is what streams begin with, name the feature'
                raise RefusedError(f"{problem}; did you mean {literal(item[2:])}?", index)
        return list(raw)


class Mode(Kind):
    """File permissions: octal digits in quotes, an int after parsing."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__('octal permissions in quotes, such as "0660"')

    def parse(self, raw: object) -> object:
        if isinstance(raw, str) and re.fullmatch(r"0?[0-7]{3}", raw, re.ASCII):
            return int(raw, 8)
        # 660 can only be meant as octal digits; 432 may have been 0o660, so nothing is guessed.
        is_digits = isinstance(raw, int) and re.fullmatch(r"[0-7]{3}", str(raw)) and raw > 0o777
        raise self.refuse(raw, f"0{raw}" if is_digits else "")

    def show(self, value: object) -> str:
        assert isinstance(value, int)
        return f'"0{value:03o}"'


class Listen(Kind):
    """Where this machine alone can connect: "ADDRESS:PORT" of the loopback, an absolute path, or ""."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(
            'a port of this machine alone such as "127.0.0.1:9464" or "[::1]:9464", the absolute path of a '
            "socket, or empty"
        )

    def parse(self, raw: object) -> object:
        if not isinstance(raw, str):
            raise self.refuse(raw, f"127.0.0.1:{raw}" if _is_port(str(raw)) else "")
        if not raw:
            return raw
        if raw.startswith("/"):
            if re.fullmatch(r"[^\0\r\n]+", raw) and (size := len(raw.encode())) > 107:
                raise RefusedError(
                    f"the path has {size} bytes, must be at most 107, which is what the kernel allows"
                )
            if re.fullmatch(r"/[^\0-\x1f\x7f]*[^\0-\x1f\x7f/]", raw):
                return raw
            raise self.refuse(raw)
        host, _, port = raw.rpartition(":")
        if not _is_port(port):
            raise self.refuse(raw, f"127.0.0.1:{raw}" if _is_port(raw) else "")
        if host == "[::1]" or re.fullmatch(r"127(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}", host, re.ASCII):
            return raw
        guess = f'; did you mean "127.0.0.1:{port}"?'
        if host == "localhost":
            raise RefusedError(f"is {shown(raw)}, must be an address in digits{guess}")
        raise RefusedError(
            f"is {shown(raw)}, which others can reach, and there is no password: must be {self.allowed}; "
            f"for others, put a proxy with TLS before it{guess}"
        )


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[1-9]\d{0,4}", text, re.ASCII) is not None and int(text) <= 65535
