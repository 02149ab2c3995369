from typing_extensions import Buffer

def crc32c(data: Buffer, value: int = 0) -> int:
    """The CRC-32C (Castagnoli, RFC 3720) of `data`, in [0, 2^32).

    value: the checksum of what came before: crc32c(b, crc32c(a)) == crc32c(a + b).

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
