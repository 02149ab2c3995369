"""msgpack against the library of that name: the same bytes, the same values, the same refusals."""

from __future__ import annotations

import re

import msgpack as library
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from edgemon._core import msgpack

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    | st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.binary(), inner),
    max_leaves=30,
)
TIMESTAMP = re.compile(rb"[\xd4-\xd8]\xff|\xc7.\xff|\xc8..\xff|\xc9....\xff", re.DOTALL)
# Each first byte with whatever follows, and what is cut short.
damaged = st.binary(max_size=30) | st.builds(
    lambda value, at, byte: bytes(
        byte if i == at else each for i, each in enumerate(library.packb(value))
    ),
    values, st.integers(0, 60), st.integers(0, 255),
)  # fmt: skip


@given(values)
@example([2**k + d for k in (5, 7, 8, 15, 16, 31, 32, 63) for d in (-1, 0, 1)])
@example([-(2**k) + d for k in (5, 7, 15, 31, 62) for d in (-1, 0, 1)])
def test_values_become_the_librarys_bytes_and_these_the_values_again(value: object) -> None:
    packed = msgpack.packb(value)
    assert packed == library.packb(value)
    assert repr(msgpack.unpackb(packed)) == repr(library.unpackb(packed))
    assert msgpack.unpackb(memoryview(packed)) == msgpack.unpackb(
        bytearray(packed)
    ) or "nan" in repr(value)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536])
def test_every_length_has_the_librarys_header(size: int) -> None:
    numbers = range(size)
    for value in ("é" * (size // 2), "x" * size, b"x" * size, bytearray(size), list(numbers), tuple(numbers),
                  {str(number): number for number in numbers}):  # fmt: skip
        packed = msgpack.packb(value)
        assert packed == library.packb(value)
        assert msgpack.unpackb(packed) == library.unpackb(packed)
    assert msgpack.array_header(size) == library.Packer().pack_array_header(size)
    assert msgpack.map_header(size) == library.Packer().pack_map_header(size)


@given(damaged, st.booleans())
@example(b"\xca\x7f\xc0\x00\x00", True)  # a float of 4 bytes, which is never written
@example(b"\xdd\xff\xff\xff\xff", True)
@example(b"\xdf\xff\xff\xff\xff", False)
@example(b"\xc6\xff\xff\xff\xff", True)
@example(b"\x81\x90\x01", False)  # a list for a key
@example(
    b"\x93\xd4\x05a\xd8\x80" + bytes(16) + b"\xc7\x02\x7fab", True
)  # types of an application's own
@example(b"\xc8\x00\x01\x05a", True)
@example(b"\xc9\x00\x00\x00\x02\x05a", True)
def test_any_bytes_are_read_or_refused_as_by_the_library(data: bytes, text_keys: bool) -> None:
    assume(not TIMESTAMP.search(data))  # the one such type that has a meaning in the library
    try:
        wanted = library.unpackb(data, strict_map_key=text_keys, ext_hook=lambda *pair: pair)
    except (ValueError, TypeError) as error:
        with pytest.raises((ValueError, TypeError)) as ours:
            msgpack.unpackb(data, strict_map_key=text_keys)
        assert isinstance(ours.value, ValueError) or isinstance(error, TypeError)
    else:
        assert repr(msgpack.unpackb(data, strict_map_key=text_keys)) == repr(wanted)


@given(values, values, st.integers(1, 10))
def test_values_one_after_the_other_are_found_and_the_last_may_be_cut(
    first: object, second: object, cut: int
) -> None:
    data = msgpack.packb(first) + msgpack.packb(second)
    value, end = msgpack.unpack_from(data)
    assert repr(value) == repr(first)
    assert end == len(msgpack.packb(first))
    assert repr(msgpack.unpack_from(data, end)) == repr((second, len(data)))
    with pytest.raises(msgpack.IncompleteError):
        msgpack.unpack_from(data[: max(end, len(data) - cut)], end)
    with pytest.raises(ValueError, match="follows"):
        msgpack.unpackb(data)


def test_limits_hold_before_memory_is_taken() -> None:
    assert msgpack.unpackb(b"\x92\x01\x02", max_array_len=2) == [1, 2]
    with pytest.raises(ValueError, match="an array of 2 values, 1 may be"):
        msgpack.unpackb(b"\x92\x01\x02", max_array_len=1)
    with pytest.raises(ValueError, match="a map of 1 keys, 0 may be"):
        msgpack.unpackb(b"\x81\xa1x\x02", max_map_len=0)
    with pytest.raises(ValueError, match="beyond the end"):
        msgpack.unpack_from(b"\x01", 2)


def test_depth_is_bounded_in_both_directions() -> None:
    value: object = None
    for _ in range(512):
        value = [value]
    packed = msgpack.packb(value)
    assert msgpack.unpackb(packed) == value
    with pytest.raises(ValueError, match="512 levels"):
        msgpack.packb({"a": value})
    with pytest.raises(ValueError, match="512 levels"):
        msgpack.unpackb(b"\x91" + packed)
    with pytest.raises(ValueError, match="512 levels"):
        msgpack.unpackb(b"\x81\xa1x" * 1_000_000)
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="512 levels"):
        msgpack.packb(circle)


def test_what_is_no_value_is_refused() -> None:
    with pytest.raises(TypeError, match="no msgpack for a set"):
        msgpack.packb({"a": [set[int]()]})
    for number in (2**64, -(2**63) - 1):
        with pytest.raises(OverflowError):
            msgpack.packb(number)
    with pytest.raises(UnicodeEncodeError):
        msgpack.packb("\ud800")
    assert msgpack.packb("a\ud800é", unicode_errors="replace") == library.packb("a?é")
    with pytest.raises(UnicodeDecodeError):
        msgpack.unpackb(b"\xa1\xff")
