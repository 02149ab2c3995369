"""Strings and byte strings as parameters and bins: the candidates, and the choice between them."""

from __future__ import annotations

import struct

from edgemon._core import columns as core
from edgemon.wire import numbers, scheme
from edgemon.wire.numbers import Choice, Coded, Recipe

_HEX = "0123456789abcdef"
# What a string may take beside its bytes; lengths and indices have four bytes at most.
LENGTH_BYTES = 4


def constant(values: list[str] | list[bytes]) -> Coded | None:
    """One value for all, when it is so (or there are none)."""
    if not values:
        return Coded(scheme.CONSTANT, [], [])
    first = values[0]
    if any(value != first for value in values):
        return None
    return Coded(scheme.CONSTANT, [first], [])


def choose(values: list[str] | list[bytes]) -> Choice:
    """The cheapest encoding by trial."""
    best: Choice | None = None
    least = 0.0
    for recipe in ((scheme.STRINGS,), (scheme.DICTIONARY,), (scheme.NUMBERED,), (scheme.HEX,)):
        coded = apply(recipe, values)
        if coded is not None:
            bits = coded.cost_bits()
            if best is None or bits < least:
                best, least = Choice(recipe, coded), bits
    if best is None:
        raise AssertionError("strings always fit")
    return best


def apply(recipe: Recipe, values: list[str] | list[bytes]) -> Coded | None:
    """Encode by a recipe; None when it does not fit, or is larger than bound_row_bytes promises."""
    coded = _APPLY[str(recipe[0])](values)
    if coded is None or recipe[0] == scheme.STRINGS:
        return coded
    # Characters are at most the bytes; what precedes the numbers of a column is among them.
    room = sum(map(len, values)) + LENGTH_BYTES * len(values)
    return None if coded.size_bytes() + _head_bytes(coded) > room else coded


def _head_bytes(coded: Coded) -> int:
    head = coded.params[0]
    return len(head.encode()) if isinstance(head, str) else 0


def _int_stream(values: list[int]) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def _cheapest_ints(stream: bytes) -> Coded:
    return min((numbers.ints(stream, order) for order in (0, 1)), key=Coded.cost_bits)


def _strings(values: list[str] | list[bytes]) -> Coded | None:
    lengths, data = core.join_texts(values)
    coded = numbers.ints(lengths)
    return Coded(scheme.STRINGS, [*coded.params], [*coded.bins, (data, 1)])


def _dictionary(values: list[str] | list[bytes]) -> Coded | None:
    positions: dict[str | bytes, int] = {}
    limit = len(values) // 2
    index = []
    for value in values:
        index.append(positions.setdefault(value, len(positions)))
        if len(positions) > limit:
            return None
    table = _strings(list(positions))  # type: ignore[arg-type]  # all str or all bytes
    if table is None:
        return None
    coded = _cheapest_ints(_int_stream(index))
    return Coded(
        scheme.DICTIONARY,
        [len(positions), table.enc, table.params, coded.params],
        [*table.bins, *coded.bins],
    )


def _numbered(values: list[str] | list[bytes]) -> Coded | None:
    first = values[0]
    if not isinstance(first, str):
        return None
    prefix = first.rstrip("0123456789")
    numbered = core.number_tails(values, prefix)  # type: ignore[arg-type]  # all are str
    if numbered is None:
        return None
    whole, digits = numbered
    coded = _cheapest_ints(whole)
    return Coded(scheme.NUMBERED, [prefix, digits, coded.params], coded.bins)


def _hex(values: list[str] | list[bytes]) -> Coded | None:
    first = values[0]
    if not isinstance(first, str):
        return None
    length = len(first)
    if not all(len(value) == length and value.isascii() for value in values):
        return None
    text = "".join(values)  # type: ignore[arg-type]
    template = []
    nibbles: list[str] = []
    for position in range(length):
        letters = text[position::length]
        if letters == letters[0] * len(values):
            if letters[0] == "\0":
                return None
            template.append(letters[0])
            continue
        if letters.strip(_HEX):
            return None
        template.append("\0")
        nibbles.append(letters)
    if len(nibbles) % 2:
        nibbles.append("0" * len(values))
    planes = b"".join(
        bytes.fromhex("".join(map("".join, zip(high, low, strict=True))))
        for high, low in zip(nibbles[::2], nibbles[1::2], strict=True)
    )
    return Coded(scheme.HEX, ["".join(template)], [(planes, len(nibbles) // 2)])


_APPLY = {
    scheme.STRINGS: _strings,
    scheme.DICTIONARY: _dictionary,
    scheme.NUMBERED: _numbered,
    scheme.HEX: _hex,
}
