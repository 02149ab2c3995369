"""THE FORMAT of a message of desired configuration: one MQTT payload, retained, at most MAX_BYTES.

    edgemon-desired/1
    fleet: lab
    device: cam-7
    revision: 12
    hmac-sha256: 64 hex digits
                                        an empty line
    [batch]                             TOML, UTF-8, at most 32 KiB; may be empty
    max_age = "5m"

Five lines in this order, each ended by one newline, with exactly the spaces shown; then an empty line,
then the text, byte for byte. The HMAC (RFC 2104, with SHA-256) is over the whole message but for its own
line. The first line keeps a signature of something else from being taken for one of these; fleet and
device keep a message from being played to another device, the revision from being played again.
"""

from __future__ import annotations

import re
from _operator import _compare_digest  # hmac's own, without hmac: that loads OpenSSL, 3.6 MB

from edgemon.config.remembered import MAX_TEXT_BYTES, Overlay
from edgemon.errors import EdgemonError
from edgemon.std.collections.abc import Iterable
from edgemon.typed import NamedTuple

try:
    from _sha256 import sha256  # type: ignore[import-not-found]  # hashlib's own, likewise
except ImportError:  # Python 3.12 and later
    from _sha2 import sha256  # type: ignore[import-not-found]

MAGIC = "edgemon-desired/1"
MAX_REVISION = 2**53 - 1  # what every JSON reader takes
MAX_HEADER_BYTES = 512
MAX_BYTES = MAX_HEADER_BYTES + MAX_TEXT_BYTES
_BLOCK_BYTES = 64
_HEADER = re.compile(
    rb"(edgemon-desired/1\n"
    rb"fleet: ([A-Za-z0-9._-]{1,64})\n"
    rb"device: ([A-Za-z0-9._-]{1,64})\n"
    rb"revision: ([1-9][0-9]{0,15})\n)"
    rb"hmac-sha256: ([0-9a-f]{64})\n"
    rb"\n"
)


class RefusedError(EdgemonError):
    """A message that is not acted on. reason: a counter's label."""

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason


class Signed(NamedTuple):
    """A message whose signature is right. digest: SHA-256 of what was signed, 64 hex digits."""

    overlay: Overlay
    digest: str


def sign(overlay: Overlay, key: bytes) -> bytes:
    """The message. Raises RefusedError for what no device would take."""
    body = overlay.text.encode()
    if len(body) > MAX_TEXT_BYTES:
        raise RefusedError("too_large", f"the text has {len(body)} bytes, {MAX_TEXT_BYTES} at most")
    if not 1 <= overlay.revision <= MAX_REVISION:
        raise RefusedError("malformed", f"a revision is a whole number from 1 to {MAX_REVISION}")
    head = (
        f"{MAGIC}\nfleet: {overlay.fleet}\ndevice: {overlay.device}\nrevision: {overlay.revision}\n"
    ).encode()
    tag = hmac_sha256(key, head + b"\n" + body).hex()
    message = b"%shmac-sha256: %s\n\n%s" % (head, tag.encode(), body)
    if _HEADER.match(message) is None:
        raise RefusedError("malformed", "fleet and device have 1 to 64 of A-Z a-z 0-9 . _ - each")
    return message


def verify(message: bytes, keys: Iterable[bytes]) -> Signed:
    """What it says, once one of the keys has signed it. Raises RefusedError; nothing is parsed before."""
    if len(message) > MAX_BYTES:
        size = len(message)
        raise RefusedError("too_large", f"the message has {size} bytes, {MAX_BYTES} at most")
    match = _HEADER.match(message)
    if match is None:
        problem = f'it does not begin with "{MAGIC}" and the four lines that follow it'
        raise RefusedError("malformed", problem)
    head, fleet, device, revision, tag = match.groups()
    body = message[match.end() :]
    signed = head + b"\n" + body
    good = False
    for key in keys:  # all of them: how long it takes says nothing of which it was
        good |= _compare_digest(hmac_sha256(key, signed).hex().encode(), tag)
    if not good:
        raise RefusedError("signature", "no key in remote.key_file has signed it")
    if int(revision) > MAX_REVISION:
        raise RefusedError("malformed", f"its revision is above {MAX_REVISION}")
    if len(body) > MAX_TEXT_BYTES:
        raise RefusedError("too_large", f"its text has {len(body)} bytes, {MAX_TEXT_BYTES} at most")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise RefusedError("invalid", f"line {line} of its text is not UTF-8") from None
    overlay = Overlay(int(revision), device.decode(), fleet.decode(), text)
    return Signed(overlay, sha256(signed).hexdigest())


def digest(message: bytes) -> str:
    """SHA-256 of bytes that nobody vouches for, 64 hex digits."""
    return str(sha256(message).hexdigest())


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """RFC 2104 with SHA-256, 32 bytes.

    >>> hmac_sha256(b"key", b"The quick brown fox jumps over the lazy dog").hex()[:16]
    'f7bc83f430538424'
    """
    if len(key) > _BLOCK_BYTES:
        key = sha256(key).digest()
    key = key.ljust(_BLOCK_BYTES, b"\0")
    inner = sha256(bytes(byte ^ 0x36 for byte in key) + data).digest()
    outer: bytes = sha256(bytes(byte ^ 0x5C for byte in key) + inner).digest()
    return outer
