"""CRC-32C: the vectors of RFC 3720, and division bit by bit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon._core.crc32c import crc32c

# RFC 3720, appendix B.4, and the usual check value.
VECTORS = [
    (b"", 0x00000000),
    (b"123456789", 0xE3069283),
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
    (
        bytes.fromhex(
            "01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018"
            "28000000 00000000 02000000 00000000"
        ),
        0xD9963A56,
    ),
]


def bit_by_bit(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(("data", "checksum"), VECTORS)
def test_known_answers(data: bytes, checksum: int) -> None:
    assert crc32c(data) == bit_by_bit(data) == checksum


@given(st.binary(max_size=300))
def test_checksum_is_the_remainder_of_the_polynomial(data: bytes) -> None:
    assert crc32c(data) == bit_by_bit(data)


@given(st.binary(max_size=100), st.integers(0, 100))
def test_checksum_goes_on_from_a_part(data: bytes, cut: int) -> None:
    assert crc32c(data[cut:], crc32c(data[:cut])) == crc32c(data)


def test_any_contiguous_buffer_at_any_alignment() -> None:
    data = bytes(range(200))
    for start in range(16):
        view = memoryview(bytearray(data))[start:]
        assert crc32c(view) == bit_by_bit(data[start:])
    with pytest.raises(BufferError):
        crc32c(memoryview(data)[::2])
    with pytest.raises(TypeError):
        crc32c("text")  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        crc32c(b"", 1 << 32)
