"""Names by pattern, as a person writes them in the configuration."""

from __future__ import annotations

from edgemon.std.collections.abc import Callable, Iterable


def any_of(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a whole name matches any of the patterns, in which * stands for anything and ? for one character.

    >>> is_hot = any_of(["temperature_*", "throttle_?????"])
    >>> [is_hot(name) for name in ("temperature_cpu", "throttle_gpu", "xtemperature_")]
    [True, False, False]
    >>> any_of([])("anything")
    False
    """
    wanted = tuple(patterns)
    return lambda name: any(_matches(pattern, name) for pattern in wanted)


def _matches(pattern: str, name: str) -> bool:
    """From left to right; what does not fit lets the last * take one character more, the ones before it never."""
    at = in_name = taken = 0
    star = -1
    while in_name < len(name):
        sign = pattern[at : at + 1]
        if sign == "*":
            star, taken = at, in_name
            at += 1
        elif sign and sign in ("?", name[in_name]):
            at += 1
            in_name += 1
        elif star >= 0:
            taken += 1
            at, in_name = star + 1, taken
        else:
            return False
    return not pattern[at:].strip("*")
