"""Device health: one file a collector, one registry. A collector returns name -> number, {} where there is nothing.

Everything is read from /proc and /sys below a root folder. A device that lacks something lacks its series, silently.
A collector that raises is counted and left out of that tick only (see edgemon.agent.system).
"""

from __future__ import annotations

from edgemon.collect.cpu import Cpu
from edgemon.collect.disk import Disk
from edgemon.collect.files import Files
from edgemon.collect.gpu import Gpu
from edgemon.collect.memory import Memory
from edgemon.collect.network import Network
from edgemon.collect.power import Power
from edgemon.collect.process import Process
from edgemon.collect.temperature import Temperature
from edgemon.collect.throttle import Throttle
from edgemon.std.collections.abc import Callable, Iterable
from edgemon.typed import NamedTuple, Protocol


class Collector(Protocol):
    """Reads one aspect of the device. `collect` may keep what it needs to turn totals into rates."""

    def collect(self, now_s: float) -> dict[str, float]:
        """now_s: monotonic seconds. Returns series name -> value; names carry units."""


class Place(NamedTuple):
    """Where collectors look. disk_path: whose file system is watched.  peers: process ids of the connected clients."""

    files: Files
    disk_path: str
    peers: Callable[[], Iterable[int]]


# File name = registry name = TOML value.
COLLECTORS: dict[str, Callable[[Place], Collector]] = {
    "cpu": lambda place: Cpu(place.files),
    "memory": lambda place: Memory(place.files),
    "disk": lambda place: Disk(place.files, place.disk_path),
    "network": lambda place: Network(place.files),
    "temperature": lambda place: Temperature(place.files),
    "throttle": lambda place: Throttle(place.files),
    "gpu": lambda place: Gpu(place.files),
    "power": lambda place: Power(place.files),
    "process": lambda place: Process(place.files, place.peers),
}
