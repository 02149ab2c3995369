"""Which keys may be changed from afar: those that `remote.allow` names, and of these only the reachable ones.

REACHABLE is a list of what may be, not of what may not: a key that is new is out of reach until somebody
thinks about it. Out of reach is what lets others in or rows out, what runs programs or names files and
hosts, what takes redaction away, what needs a restart, and what a wrong value of could not be put right
from afar.
"""

from __future__ import annotations

from edgemon.config.toml import literal, shown
from edgemon.config.values import Kind, RefusedError
from edgemon.std.collections.abc import Iterable, Iterator, Mapping

REACHABLE = (
    "batch",
    "drift",
    "log.level",
    "models.*.capture",
    "models.*.capture_size",
    "models.*.drift",
    "models.*.max_versions",
    "models.*.quality",
    "models.*.recorder",
    "models.*.reference",
    "models.*.version_ttl",
    "models.*.window",
    "ship.at",
    "ship.confirm_timeout",
    "ship.drain_timeout",
    "ship.every",
    "ship.initial_interval",
    "ship.max_inflight",
    "ship.max_interval",
    "ship.monthly_limit",
    "ship.multiplier",
    "ship.on_alarm",
    "ship.rate_limit",
    "system.anomalies",
    "system.collectors",
    "system.enabled",
    "system.interval",
)
DEFAULT = (
    "batch",
    "drift",
    "log.level",
    "models.*.capture",
    "models.*.drift",
    "system.interval",
)
# Why a section is out of reach, or what is of it that is not in REACHABLE.
_WHY = {
    "actions": "it runs programs, and names hosts",
    "agent": "it says who this device is and where it keeps its things",
    "ingest": "it says who may write to this device, and how much",
    "log": "a person at the device reads it",
    "metrics": "it opens a socket",
    "models": "it names a file, takes redaction away, or is not known to do no harm",
    "mqtt": "it is the way over which a mistake would be put right",
    "plugins": "it runs programs",
    "remote": "it says what may be changed from afar",
    "rules": "it can have programs run",
    "s3": "it says where rows go",
    "ship": "it says where rows go, or needs a restart",
    "spool": "it says what is kept when the disk is full",
    "system": "it names folders of this device",
}
_OTHERWISE = "only what can do no harm and can be put right from afar is within reach"


def whole_section(name: str) -> bool:
    """Whether nothing of the section is within reach."""
    return all(pattern.split(".")[0] != name for pattern in REACHABLE)


def leaves(
    document: Mapping[str, object], above: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """The path of every value in a TOML document, and of every table that is empty."""
    for name, value in document.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*above, name))
        else:
            yield (*above, name)


def covers(patterns: Iterable[str], path: tuple[str, ...]) -> bool:
    """Whether one of the patterns names the key or a table around it; a part "*" stands for any one part.

    >>> covers(["models.*.capture", "drift"], ("models", "fraud", "capture", "sample"))
    True
    >>> covers(["models.*.capture", "drift.*"], ("models", "fraud", "profile"))
    False
    """
    for pattern in patterns:
        parts = pattern.split(".")
        if len(parts) <= len(path) and all(
            part in ("*", own) for part, own in zip(parts, path, strict=False)
        ):
            return True
    return False


def refusal(path: tuple[str, ...], allow: Iterable[str]) -> str:
    """Why this key may not be changed from afar; "" where it may."""
    if not covers(REACHABLE, path):
        return f"can never be changed from afar: {_WHY.get(path[0], _OTHERWISE)}"
    if not covers(allow, path):
        return "may not be changed from afar: remote.allow of this device does not name it"
    return ""


class Reach(Kind):
    """A list of at most `most` patterns of dotted keys, none of which is wholly out of reach."""

    __slots__ = ("most",)

    def __init__(self, most: int) -> None:
        super().__init__(
            f'a list of at most {most} keys such as "batch.max_age", "*" for any one part; a table is all in it'
        )
        self.most = most

    def parse(self, raw: object) -> object:
        if not isinstance(raw, list) or len(raw) > self.most:
            raise self.refuse(raw)
        for index, item in enumerate(raw):
            if not isinstance(item, str) or not 0 < len(item) <= 256 or "" in item.split("."):
                raise RefusedError(f"has {shown(item)}, must be {self.allowed}", index)
            if not any(_meet(item.split("."), known.split(".")) for known in REACHABLE):
                why = _WHY.get(item.split(".")[0], _OTHERWISE)
                raise RefusedError(
                    f"has {literal(item)}, which can never be changed from afar: {why}", index
                )
        return list(raw)


def _meet(ours: list[str], theirs: list[str]) -> bool:
    """Whether some key is covered by both patterns."""
    return all("*" in pair or pair[0] == pair[1] for pair in zip(ours, theirs, strict=False))
