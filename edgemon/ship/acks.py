"""What a receiver publishes, retained, on a device's ack topic: how far it has stored each kind.

    {"stream":"0f3a…","stored":{"event":12,"agg":80,"sys":80,"pred":411},"receiver":"hub-1"}

`stored` has the highest seq of a kind up to which the receiver has, or will never have, every batch;
a kind that it knows nothing of is absent. It comes through a broker, so it is checked like anything
that a stranger wrote.
"""

from __future__ import annotations

from edgemon.errors import DamagedError
from edgemon.records import KINDS
from edgemon.std import json

MAX_BYTES = 4096
_MAX_SEQ = 2**63 - 1


def encode(stream: str, stored: dict[str, int], receiver: str) -> bytes:
    """stream: 32 hex digits.  stored: kind -> seq.  receiver: a name for people."""
    message = {"stream": stream, "stored": stored, "receiver": receiver}
    return json.dumps(message, separators=(",", ":")).encode()


def decode(payload: bytes) -> tuple[str, dict[str, int]]:
    """(stream, kind -> seq). Raises DamagedError.

    >>> decode(encode("0f" * 16, {"pred": 7}, "hub-1"))
    ('0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f', {'pred': 7})
    """
    if len(payload) > MAX_BYTES:
        raise DamagedError(f"a confirmation of {len(payload)} bytes")
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"a confirmation that is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise DamagedError("a confirmation that is no object")
    stream, stored = message.get("stream"), message.get("stored")
    if not isinstance(stream, str) or not isinstance(stored, dict):
        raise DamagedError('a confirmation without "stream" and "stored"')
    for kind, seq in stored.items():
        if kind not in KINDS or type(seq) is not int or not 0 <= seq <= _MAX_SEQ:
            raise DamagedError("a confirmation that names no kind or no seq")
    return stream, stored
