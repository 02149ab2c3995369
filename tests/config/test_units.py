"""Durations and sizes: what is read is what was written, and nothing else is read."""

from __future__ import annotations

import contextlib
import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon.config import amounts, units
from edgemon.config.amounts import format_duration, format_size
from edgemon.config.units import (
    guess_duration,
    guess_size,
    parse_duration,
    parse_size,
)

WEIGHTS = {"d": 86_400e6, "h": 3_600e6, "m": 60e6, "s": 1e6, "ms": 1e3, "us": 1.0}
microseconds = st.integers(0, 3650 * 86_400 * 10**6)


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(amounts).failed == doctest.testmod(units).failed == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0.0),
        ("10s", 10.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("250ms", 0.25),
        ("30d", 2_592_000.0),
        ("1.5s", 1.5),
        ("1d2h3m4s5ms6us", 93_784.005006),
        ("90m", 5400.0),
        ("0.000001s", 1e-6),
        ("3650d", 315_360_000.0),
    ],
)
def test_a_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "s",
        "10 s",
        " 10s",
        "10s ",
        "10s\n",
        "-1s",
        "+1s",
        "1e3s",
        "1.s",
        ".5s",
        "10S",
        "10sec",
        "1m1h",
        "1s1s",
        "1w",
        "0.5us",
        "0.0000001s",
        "3651d",
        "3650d1us",
        "٣s",
        "99999999999999999999s",
        "1h30",
    ],
)
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


@given(microseconds)
def test_every_duration_survives_the_way_to_text_and_back(us: int) -> None:
    assert parse_duration(format_duration(us / 1e6)) == us / 1e6


@given(st.lists(st.tuples(st.integers(0, 999), st.sampled_from(list(WEIGHTS)))))
def test_a_duration_is_the_sum_of_its_parts_in_falling_order(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{amount}{unit}" for amount, unit in parts)
    order = [WEIGHTS[unit] for _, unit in parts]
    total = sum(amount * WEIGHTS[unit] for amount, unit in parts) / 1e6
    if parts and order == sorted(set(order), reverse=True) and total <= 315_360_000:
        assert parse_duration(text) == total
    else:
        with pytest.raises(ValueError):
            parse_duration(text)


@pytest.mark.parametrize("seconds", [-1e-3, 3651 * 86_400.0, float("inf"), float("nan")])
def test_what_is_outside_the_range_of_durations_is_not_written(seconds: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        format_duration(seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0),
        ("512B", 512),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("120KiB", 122_880),
        ("1MB", 1_000_000),
        ("64MiB", 64 << 20),
        ("64 MiB", 64 << 20),
        ("1.5MiB", 3 << 19),
        ("2GB", 2 * 10**9),
        ("1TiB", 1 << 40),
        ("1024TiB", 1 << 50),
    ],
)
def test_a_size_is_read_as_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "64",
        "64M",
        "64mib",
        "64Mb",
        "64  MiB",
        "-1B",
        "1.5B",
        "1e3B",
        "1025TiB",
        "MiB",
        "1kB",
        "64MiB\n",
        "0x10B",
        "٣B",
        "9" * 17 + "B",
    ],
)
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_size(text)


@given(st.integers(0, 1 << 50))
def test_every_size_survives_the_way_to_text_and_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(1, 1023), st.sampled_from(["KiB", "MiB", "GiB"]))
def test_a_round_size_is_written_with_its_own_unit(amount: int, unit: str) -> None:
    assert format_size(parse_size(f"{amount}{unit}")) == f"{amount}{unit}"


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        (10, "10s"),
        (0.25, "250ms"),
        ("10", "10s"),
        ("10 s", "10s"),
        ("5 minutes", "5m"),
        ("2 hours", "2h"),
        ("1 day", "1d"),
        ("30sec", "30s"),
        ("100 milliseconds", "100ms"),
        (True, ""),
        ("soon", ""),
        (-1, ""),
        ([], ""),
        (float("nan"), ""),
    ],
)
def test_a_duration_that_was_meant_is_guessed(raw: object, meant: str) -> None:
    assert guess_duration(raw) == meant


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        (65536, "64KiB"),
        ("64M", "64MiB"),
        ("64mb", "64MB"),
        ("64mib", "64MiB"),
        ("64", "64B"),
        ("1kB", "1KB"),
        (True, ""),
        ("much", ""),
        (-1, ""),
        (1.5, ""),
    ],
)
def test_a_size_that_was_meant_is_guessed(raw: object, meant: str) -> None:
    assert guess_size(raw) == meant


@given(st.text(max_size=20))
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    for parse in (parse_duration, parse_size):
        with contextlib.suppress(ValueError):
            assert parse(text) >= 0
    for guess, parse in ((guess_duration, parse_duration), (guess_size, parse_size)):
        if meant := guess(text):
            parse(meant)
