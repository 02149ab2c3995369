"""Names by pattern, as a person writes them in the configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable


def any_of(patterns: Iterable[str]) -> Callable[[str], object]:
    """Whether a whole name matches any of the patterns, in which * stands for anything and ? for one character.

    >>> is_hot = any_of(["temperature_*", "throttle_?????"])
    >>> [bool(is_hot(name)) for name in ("temperature_cpu", "throttle_gpu", "xtemperature_")]
    [True, False, False]
    >>> bool(any_of([])("anything"))
    False
    """
    parts = [re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") for pattern in patterns]
    return re.compile("|".join(parts) or r"(?!)", re.DOTALL).fullmatch
