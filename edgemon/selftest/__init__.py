"""Whether this binary, on this device, does what its tests said elsewhere: `edgemon selftest`.

Each check is a function in known.py (answers that are known) or device.py (what is around) and one line in CHECKS. It
returns what it found, in one line; it raises WarnError where edgemon runs all the same, and anything else where it
does not. All together take at most two seconds, on a device where nothing answers too: the steps that wait say how
long (device.DISK_S, device.SINK_S).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from edgemon.config import Config
from edgemon.selftest import device, known
from edgemon.selftest.place import Place, WarnError

# So that a check that went missing is noticed.
EXPECTED = 10

CHECKS: tuple[tuple[str, Callable[[Place], str]], ...] = (
    ("extensions", known.extensions),
    ("checksum", known.checksum),
    ("drift", known.drift),
    ("protocol", known.protocol),
    ("batch", known.batch),
    ("configuration", device.configuration),
    ("disk", device.disk),
    ("clock", device.clock),
    ("socket", device.sockets),
    ("sink", device.sink),
)


class Finding(NamedTuple):
    """One check.  result: "ok" | "warning" | "failed".  found: one line.  took_s: seconds."""

    check: str
    result: str
    found: str
    took_s: float


def run(config: Config | None, fault: str = "", folder: str = "/tmp") -> Iterator[Finding]:
    """Do all checks, in order.

    config: what the device is to run with; None when there is none, then fault says why, or is "" when there need be
    none, and folder is where the disk is tried.
    """
    place = Place(config, fault, folder)
    for name, check in CHECKS:
        begun = time.monotonic()
        try:
            result, found = "ok", check(place)
        except WarnError as warning:
            result, found = "warning", str(warning)
        except Exception as error:  # whatever is wrong is what we are here to say
            result, found = "failed", _said(error)
        yield Finding(name, result, found, time.monotonic() - begun)


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror.lower()}"
    text = " ".join(str(error).split())
    return (
        text if type(error).__module__.startswith("edgemon") else f"{type(error).__name__}: {text}"
    )
