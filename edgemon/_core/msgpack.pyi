"""msgpack (msgpack.org's specification): values to bytes and back, by the names of the Python library that does it too.

What is written is what that library writes, byte for byte: each value in its shortest form, a Python float in 8 bytes.
The library itself, with what it imports and can do beyond this, is half a megabyte of each process. A value is None, a
bool, an int from -2**63 to 2**64 - 1, a float, a str, bytes, a list (or a tuple, which is read as a list), or a dict;
at most 512 levels deep.
"""

from typing import Any

class IncompleteError(ValueError):
    """The bytes end before the value does."""

def packb(value: object, unicode_errors: str = "strict") -> bytes:
    """unicode_errors: what becomes of half a surrogate pair, as of `str.encode`. TypeError for what is no value,
    OverflowError for an int out of range, ValueError beyond 512 levels, UnicodeEncodeError.
    """

def array_header(length: int) -> bytes:
    """What stands before `length` values."""

def map_header(length: int) -> bytes:
    """What stands before `length` keys, each with its value."""

def unpackb(
    data: bytes | bytearray | memoryview,
    *,
    max_array_len: int = ...,
    max_map_len: int = ...,
    strict_map_key: bool = True,
) -> Any:
    """The one value that these bytes are. They may come from anywhere: memory is taken for what is there, never for
    what is announced. A type of an application's own, which is never written, is the tuple (its code, bytes).

    strict_map_key: keys are str or bytes.  ValueError for all that is not such a value; TypeError for a key that cannot
    be one of a dict.
    """

def unpack_from(
    data: bytes | bytearray | memoryview,
    start: int = 0,
    *,
    max_array_len: int = ...,
    max_map_len: int = ...,
    strict_map_key: bool = True,
) -> tuple[Any, int]:
    """The value that begins at `start`, and where it ends. IncompleteError when that is not among these bytes."""
