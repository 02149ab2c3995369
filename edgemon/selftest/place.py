"""What the checks of the self-test are given, and how they say no."""

from __future__ import annotations

from typing import NamedTuple

from edgemon.config import Config
from edgemon.errors import EdgemonError


class WarnError(EdgemonError):
    """Not as it should be, but edgemon runs."""


class FailedError(EdgemonError):
    """edgemon would not run, or would be wrong."""


class Place(NamedTuple):
    """config, None without one; fault: why there is none, "" when nobody asked for one; folder: for the disk then."""

    config: Config | None
    fault: str
    folder: str


def need(right: bool, otherwise: str) -> None:
    """An assertion that -O leaves in."""
    if not right:
        raise FailedError(otherwise)
