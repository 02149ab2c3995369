"""Durations ("10s", "1h30m") and sizes ("64MiB") as people write them, and back.

A duration is one or more amounts, each with a unit, largest first and each unit at most once:
d h m s ms us.  A size is one amount with a unit: B, KB MB GB TB (powers of 1000), KiB MiB GiB TiB
(powers of 1024).  Amounts are decimal and may have a fraction, as in "1.5s"; the result must be a
whole number of microseconds or bytes, so that what is read is what was written.
"""

from __future__ import annotations

import re

_DURATION_US = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_SIZE_BYTES = {
    "TiB": 1 << 40,
    "TB": 10**12,
    "GiB": 1 << 30,
    "GB": 10**9,
    "MiB": 1 << 20,
    "MB": 10**6,
    "KiB": 1 << 10,
    "KB": 10**3,
    "B": 1,
}
# Ten years: microseconds stay far below 2**53, so that the way through a float is exact.
MAX_DURATION_S = 3650 * 86_400.0
MAX_SIZE_BYTES = 1 << 50

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
        unit_us = _DURATION_US[unit]
        if unit_us >= smallest_us:
            raise ValueError(f"units not in falling order: {text!r}")
        smallest_us = unit_us
        total_us += _scaled(whole, fraction, unit_us, text)
    if total_us > MAX_DURATION_S * 1e6:
        raise ValueError(f"longer than 3650d: {text!r}")
    return total_us / 1e6


def format_duration(seconds: float) -> str:
    """The shortest exact text for 0 <= seconds <= 3650d, rounded to a microsecond.

    >>> format_duration(5400.0), format_duration(0.25), format_duration(0)
    ('1h30m', '250ms', '0s')
    """
    rest_us = round(seconds * 1e6)
    if not 0 <= rest_us <= MAX_DURATION_S * 1e6:
        raise ValueError(f"not a duration: {seconds!r}")
    parts = []
    for unit, unit_us in _DURATION_US.items():
        amount, rest_us = divmod(rest_us, unit_us)
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"


def parse_size(text: str) -> int:
    """Bytes, 0 … 2**50. ValueError when it is not a size.

    >>> parse_size("64MiB"), parse_size("1.5KB")
    (67108864, 1500)
    """
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"not a size: {text!r}")
    total = _scaled(match[1], match[2] or "", _SIZE_BYTES[match[3]], text)
    if total > MAX_SIZE_BYTES:
        raise ValueError(f"larger than 1024TiB: {text!r}")
    return total


def format_size(size_bytes: int) -> str:
    """The exact text with the largest unit that divides it.

    >>> format_size(67108864), format_size(1_000_000), format_size(1025)
    ('64MiB', '1MB', '1025B')
    """
    if size_bytes < 0:
        raise ValueError(f"not a size: {size_bytes!r}")
    if size_bytes:
        for unit, unit_bytes in _SIZE_BYTES.items():
            if size_bytes % unit_bytes == 0:
                return f"{size_bytes // unit_bytes}{unit}"
    return "0B"


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
