"""Durations and sizes as text, exact and short; units.py reads them, which takes regular expressions."""

from __future__ import annotations

DURATION_US = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
SIZE_BYTES = {
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


def format_duration(seconds: float) -> str:
    """The shortest exact text for 0 <= seconds <= 3650d, rounded to a microsecond.

    >>> format_duration(5400.0), format_duration(0.25), format_duration(0)
    ('1h30m', '250ms', '0s')
    """
    rest_us = round(seconds * 1e6)
    if not 0 <= rest_us <= MAX_DURATION_S * 1e6:
        raise ValueError(f"not a duration: {seconds!r}")
    parts = []
    for unit, unit_us in DURATION_US.items():
        amount, rest_us = divmod(rest_us, unit_us)
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"


def format_size(size_bytes: int) -> str:
    """The exact text with the largest unit that divides it.

    >>> format_size(67108864), format_size(1_000_000), format_size(1025)
    ('64MiB', '1MB', '1025B')
    """
    if size_bytes < 0:
        raise ValueError(f"not a size: {size_bytes!r}")
    if size_bytes:
        for unit, unit_bytes in SIZE_BYTES.items():
            if size_bytes % unit_bytes == 0:
                return f"{size_bytes // unit_bytes}{unit}"
    return "0B"
