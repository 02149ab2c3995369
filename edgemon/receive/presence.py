"""The topics of a fleet and what the retained state topic says. Pure.

    {prefix}/{fleet}/{device}/batch   one bare zstd frame
    {prefix}/{fleet}/{device}/state   JSON {"online": bool, "birth": n, …}, retained

The last will and a clean stop have online false. A birth number rises with every connection, so
that a late will cannot undo a newer birth; a device whose disk was wiped counts from 1 again, and is
known by the new id of its spool.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from edgemon.errors import DamagedError

_MAX_STATE_BYTES = 64 * 1024
_INT64_MAX = 2**63 - 1


class DeviceState(NamedTuple):
    """What a device, or the broker in its name, said of it.

    stream: 32 hex, the id of its spool; "" where it does not say, as in a will.
    json: as published.  received_ns: the receiver's wall clock.
    """

    fleet: str
    device: str
    online: bool
    birth: int
    stream: str
    json: str
    received_ns: int


def supersedes(new: DeviceState, birth: int, stream: str) -> bool:
    """Whether `new` is news beside what is known: a newer birth, the end of this one, a new life."""
    return (
        new.birth > birth
        or (new.birth == birth and not new.online)
        or (new.online and "" not in (new.stream, stream) and new.stream != stream)
    )


def split_topic(topic: str) -> tuple[str, str, str]:
    """(fleet, device, leaf) of a topic of any prefix; DamagedError for a shorter one."""
    parts = topic.rsplit("/", 3)
    if len(parts) != 4 or not all(parts[1:]):
        raise DamagedError(f"topic {topic!r} does not end in fleet/device/leaf")
    return parts[1], parts[2], parts[3]


def parse_state(fleet: str, device: str, payload: bytes, received_ns: int) -> DeviceState:
    """Raises DamagedError with what is wrong."""
    if len(payload) > _MAX_STATE_BYTES:
        raise DamagedError(f"a state of {len(payload)} bytes")
    try:
        text = payload.decode()
        state = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"a state that is not JSON: {error}") from None
    if not isinstance(state, dict) or not isinstance(state.get("online"), bool):
        raise DamagedError('a state without "online": true or false')
    birth = state.get("birth", 0)
    if type(birth) is not int or not 0 <= birth <= _INT64_MAX:
        raise DamagedError('a state whose "birth" is not a number of connections')
    stream = state.get("stream", "")
    if not isinstance(stream, str):
        raise DamagedError('a state whose "stream" is no text')
    return DeviceState(fleet, device, state["online"], birth, stream, text, received_ns)


def refuse_constant(name: str) -> float:
    """For json.loads: NaN and Infinity are Python's, not JSON."""
    raise ValueError(f"{name} is not JSON")
