"""Names and limits of the format, for encoder and decoder alike. What they mean: edgemon.wire."""

from __future__ import annotations

FORMAT_VERSION = 1

# A frame that declares more than this is refused before anything is allocated.
MAX_BODY_BYTES = 64 * 1024 * 1024
# Rows x items of all columns: a constant column costs nothing on the wire, but it does in memory.
MAX_CELLS = 4 * 1024 * 1024
MAX_ROWS = 1024 * 1024
# Characters that numbered and templated strings may grow to.
MAX_TEXT = 64 * 1024 * 1024

ID_BYTES = 16

# Encodings.
CONSTANT = "c"
INTS = "i"
DECIMAL = "d"
RAW = "r"
FLOAT_KEYS = "g"
DICTIONARY = "u"
UNIT_SUM = "q"
STRINGS = "s"
NUMBERED = "n"
HEX = "x"
PLAIN = "a"

# Types without a parameter, and the prefixes of vectors.
SCALAR_TYPES = ("i8", "f8", "f4", "str", "bin")
VECTOR_PREFIXES = ("v8:", "v4:", "vi:")


def item_type(type_: str) -> tuple[str, int]:
    """The scalar type of a column's items and the length of its vectors, -1 for scalars.

    >>> item_type("v8:10"), item_type("str")
    (('f8', 10), ('str', -1))

    Raises ValueError for a type that this version does not know.
    """
    if type_ in SCALAR_TYPES:
        return type_, -1
    if type_[:3] in VECTOR_PREFIXES:
        digits = type_[3:]
        if digits.isascii() and digits.isdigit() and len(digits) <= 7:
            return {"v8:": "f8", "v4:": "f4", "vi:": "i8"}[type_[:3]], int(digits)
    raise ValueError(f"unknown column type {type_!r}")
