"""Durations ("10s", "1h30m") and sizes ("64MiB") as people write them, and back.

A duration is one or more amounts, each with a unit, largest first and each unit at most once:
d h m s ms us.  A size is one amount with a unit: B, KB MB GB TB (powers of 1000), KiB MiB GiB TiB
(powers of 1024).  Amounts are decimal and may have a fraction, as in "1.5s"; the result must be a
whole number of microseconds or bytes, so that what is read is what was written.
"""

from __future__ import annotations

import re

from edgemon.config.amounts import (
    DURATION_US,
    MAX_DURATION_S,
    MAX_SIZE_BYTES,
    SIZE_BYTES,
    format_duration,
    format_size,
)

_AMOUNT = r"([0-9]{1,16})(?:\.([0-9]{1,6}))?"
_DURATION = re.compile(rf"(?:{_AMOUNT}(ms|us|[dhms]))+", re.ASCII)
_DURATION_PART = re.compile(rf"{_AMOUNT}(ms|us|[dhms])", re.ASCII)
_SIZE = re.compile(rf"{_AMOUNT} ?([KMGT]i?B|B)", re.ASCII)
_LOOSE_SIZE = re.compile(r"\s*([0-9]{1,16}(?:\.[0-9]{1,6})?)\s*([KMGT]?)(i?)B?\s*", re.I | re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds, a whole number of microseconds, 0 … 3650d. ValueError when it is not a duration.

    >>> parse_duration("1h30m"), parse_duration("250ms")
    (5400.0, 0.25)
    """
    if not _DURATION.fullmatch(text):
        raise ValueError(f"not a duration: {text!r}")
    total_us = 0
    smallest_us = MAX_DURATION_S * 1e6 + 1
    for whole, fraction, unit in _DURATION_PART.findall(text):
        unit_us = DURATION_US[unit]
        if unit_us >= smallest_us:
            raise ValueError(f"units not in falling order: {text!r}")
        smallest_us = unit_us
        total_us += _scaled(whole, fraction, unit_us, text)
    if total_us > MAX_DURATION_S * 1e6:
        raise ValueError(f"longer than 3650d: {text!r}")
    return total_us / 1e6


def parse_size(text: str) -> int:
    """Bytes, 0 … 2**50. ValueError when it is not a size.

    >>> parse_size("64MiB"), parse_size("1.5KB")
    (67108864, 1500)
    """
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"not a size: {text!r}")
    total = _scaled(match[1], match[2] or "", SIZE_BYTES[match[3]], text)
    if total > MAX_SIZE_BYTES:
        raise ValueError(f"larger than 1024TiB: {text!r}")
    return total


def guess_duration(raw: object) -> str:
    """What was probably meant by something that is not a duration, or ""."""
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        return format_duration(raw) if 0 <= raw <= MAX_DURATION_S else ""
    if not isinstance(raw, str):
        return ""
    words = re.sub(r"\s+", "", raw.lower())
    for pattern, unit in (
        (r"(?<=\d)(days?)", "d"),
        (r"(?<=\d)(hours?|hrs?)", "h"),
        (r"(?<=\d)(minutes?|mins?)", "m"),
        (r"(?<=\d)(milliseconds?|millis|msecs?)", "ms"),
        (r"(?<=\d)(seconds?|secs?|sec)", "s"),
    ):
        words = re.sub(pattern, unit, words)
    words += "s" if words.isdigit() else ""
    try:
        parse_duration(words)
    except ValueError:
        return ""
    return words


def guess_size(raw: object) -> str:
    """What was probably meant by something that is not a size, or ""."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        return format_size(raw) if 0 <= raw <= MAX_SIZE_BYTES else ""
    match = _LOOSE_SIZE.fullmatch(raw) if isinstance(raw, str) else None
    if not match:
        return ""
    amount, letter, binary = match[1], match[2].upper(), match[3]
    ends_in_b = raw.strip()[-1] in "bB" if isinstance(raw, str) else False
    # A bare "64M" is a power of 1024 in every tool that takes it; "64MB" says 1000.
    middle = "i" if letter and (binary or not ends_in_b) else ""
    words = f"{amount}{letter}{middle}B"
    try:
        parse_size(words)
    except ValueError:
        return ""
    return words


def _scaled(whole: str, fraction: str, unit: int, text: str) -> int:
    numerator, denominator = int(whole + fraction) * unit, int("1" + "0" * len(fraction))
    if numerator % denominator:
        raise ValueError(f"finer than the smallest unit: {text!r}")
    return numerator // denominator
