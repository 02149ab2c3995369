"""Cuts a stream of bytes into zstd frames. Sans-IO: bytes go in, frames and damage come out.

Reads what the agent leaves on disk: a spool segment (skippable frame, zstd frame, …), the file
sink's files and concatenations of them. Only the public zstd format is used (RFC 8878): our own
metadata sits in skippable frames and is skipped.

A block header that was hit by a bit flip can make one frame swallow the next. So the reader does
not have the last word: a caller that cannot decode a frame says `reject`, and the search for the
next frame goes on right behind this one's magic number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from edgemon.spool.segment import APP_MAGIC, HEADER_BYTES

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# Sixteen magic numbers 0x184D2A50 .. 5F, little-endian; what they hold is skipped.
_SKIPPABLE_TAIL = b"\x2a\x4d\x18"
# Where a search for the next whole record may stop: a frame, or edgemon's own record header
# (0x184D2A58).
_RESUME_AT = (ZSTD_MAGIC, b"\x58\x2a\x4d\x18")
_MAX_BLOCK_BYTES = 128 * 1024
_MAX_SKIPPABLE_BYTES = 1024 * 1024
_MAX_DAMAGE_BYTES = 1024 * 1024


class Frame(NamedTuple):
    """A whole zstd frame.  offset: where it begins in the stream."""

    offset: int
    data: bytes


class Damage(NamedTuple):
    """Bytes that are no frame (long runs in pieces of about 1 MiB), or a rejected frame."""

    offset: int
    data: bytes
    reason: str


class Torn(NamedTuple):
    """The stream ends inside a frame: what a power cut, or a writer at work, leaves behind."""

    offset: int
    data: bytes


class _MalformedError(Exception):
    """What stands here cannot be a frame."""


class FrameReader:
    """Feed bytes, iterate over `items`, say `finish` at the end and iterate once more.

    max_frame_bytes: a longer frame counts as damage. The buffer holds at most that and one feed.

    >>> reader = FrameReader()
    >>> reader.feed(b"garbage")
    >>> reader.finish()
    >>> list(reader.items())
    [Damage(offset=0, data=b'garbage', reason='not a zstd frame')]
    """

    __slots__ = ("_at", "_bad_from", "_buffer", "_finished", "_last", "_max", "_origin", "_reason")

    def __init__(self, max_frame_bytes: int = 64 * 1024 * 1024, *, offset: int = 0) -> None:
        self._max = max_frame_bytes
        self._buffer = bytearray()
        self._origin = offset  # stream offset of buffer[0]
        self._at = 0  # everything before is delivered
        self._bad_from = -1  # start of damage that is being gathered, or -1
        self._last = 0  # start of the frame delivered last
        self._reason = ""
        self._finished = False

    @property
    def offset(self) -> int:
        """Stream offset behind the last whole item.

        Where to go on reading after a torn tail has grown.
        """
        return self._origin + (self._at if self._bad_from < 0 else self._bad_from)

    def feed(self, data: bytes) -> None:
        """Append bytes of the stream."""
        drop = self._at if self._bad_from < 0 else self._bad_from
        if drop:
            del self._buffer[:drop]
            self._origin += drop
            self._at -= drop
            self._bad_from = -1 if self._bad_from < 0 else 0
        self._buffer += data

    def finish(self) -> None:
        """No more bytes will come."""
        self._finished = True

    def reject(self, reason: str) -> None:
        """The frame delivered last does not decode: it comes again as Damage.

        What it swallowed comes as frames. Call it before the next `feed` and before the next item.
        """
        self._bad_from = self._last
        self._at = self._last + len(ZSTD_MAGIC)
        self._reason = reason

    def items(self) -> Iterator[Frame | Damage | Torn]:
        """All that is whole by now."""
        while True:
            if self._bad_from >= 0:
                found = self._resume()
                if found is None:
                    return
                yield found
                continue
            if self._at == len(self._buffer):
                return
            try:
                size = self._size_at(self._at)
            except _MalformedError as error:
                self._bad_from, self._reason = self._at, str(error)
                self._at += 1
                continue
            start = self._at
            if size is None:
                if not self._finished:
                    return
                # A damaged length reaches past the end too: look for whole frames inside before
                # giving up.
                if self._find_magic(start + 1) >= 0:
                    self._bad_from, self._reason = start, "cut off or of a damaged length"
                    self._at = start + 1
                    continue
                self._at = len(self._buffer)
                yield Torn(self._origin + start, bytes(self._buffer[start:]))
                return
            self._at = start + size
            if self._buffer.startswith(ZSTD_MAGIC, start):
                self._last = start
                yield Frame(self._origin + start, bytes(self._buffer[start : start + size]))

    def _resume(self) -> Damage | None:
        """Damage up to the next magic number; None = more bytes are needed to tell."""
        buffer, start = self._buffer, self._bad_from
        found = self._find_magic(self._at)
        if found < 0:
            # A magic number may be cut in two by the end of what is here.
            end = len(buffer) if self._finished else max(start, len(buffer) - len(ZSTD_MAGIC) + 1)
            self._at = max(self._at, end)
            if not self._finished and end - start < _MAX_DAMAGE_BYTES:
                return None
            self._bad_from = -1 if self._finished else end
        else:
            end = self._at = found
            self._bad_from = -1
        return Damage(self._origin + start, bytes(buffer[start:end]), self._reason)

    def _find_magic(self, start: int) -> int:
        found = [at for at in (self._buffer.find(magic, start) for magic in _RESUME_AT) if at >= 0]
        return min(found, default=-1)

    def _size_at(self, start: int) -> int | None:
        """Length of the zstd or skippable frame that begins at `start`.

        None = not all of it is here.
        """
        buffer = self._buffer
        magic = bytes(buffer[start : start + 4])
        if 0x50 <= magic[0] <= 0x5F and _SKIPPABLE_TAIL.startswith(magic[1:]):
            if len(buffer) < start + 8:
                return None
            size = 8 + int.from_bytes(buffer[start + 4 : start + 8], "little")
            if size > _MAX_SKIPPABLE_BYTES:
                raise _MalformedError("a skippable frame of an absurd length")
            # A damaged length would swallow the records behind: ours is known.
            ours = bytes(buffer[start + 8 : start + 12]) == APP_MAGIC
            if ours and size != HEADER_BYTES:
                raise _MalformedError("a record header of a damaged length")
            return size if start + size <= len(buffer) else None
        if not ZSTD_MAGIC.startswith(magic):
            raise _MalformedError("not a zstd frame")
        if len(buffer) < start + 5:
            return None
        return self._zstd_size(start)

    def _zstd_size(self, start: int) -> int | None:
        """Walk header and block headers (RFC 8878, 3.1.1); the content itself is not looked at."""
        buffer = self._buffer
        descriptor = buffer[start + 4]
        if descriptor & 0x08:
            raise _MalformedError("a zstd frame with a reserved bit set")
        single_segment = bool(descriptor & 0x20)
        header = 0 if single_segment else 1  # window descriptor
        header += (0, 1, 2, 4)[descriptor & 3]  # dictionary id
        header += (int(single_segment), 2, 4, 8)[descriptor >> 6]  # frame content size
        at = start + 5 + header
        while True:
            if at - start > self._max:
                raise _MalformedError(f"a frame longer than {self._max} bytes")
            if at + 3 > len(buffer):
                return None
            block = int.from_bytes(buffer[at : at + 3], "little")
            kind, size = block >> 1 & 3, block >> 3
            if kind == 3 or size > _MAX_BLOCK_BYTES:
                raise _MalformedError("a zstd frame with an impossible block")
            at += 3 + (1 if kind == 1 else size)
            if block & 1:
                break
        end = at + (4 if descriptor & 0x04 else 0)
        return end - start if end <= len(buffer) else None
