"""Network traffic of all interfaces that carry it for the first time."""

from __future__ import annotations

from edgemon.collect.files import Files
from edgemon.collect.rates import Rates

# What passes these passes a real interface too, or never leaves the device.
_VIRTUAL = (
    "lo", "veth", "docker", "br", "virbr", "cni", "flannel", "ifb", "dummy", "bond", "team", "tun", "tap", "wg",
    "tailscale",
)  # fmt: skip


class Network:
    """net_received_ and net_sent_bytes_per_s; net_errors_per_s counts errors and drops of both directions."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._rates = Rates()

    def collect(self, now_s: float) -> dict[str, float]:
        received = sent = errors = 0
        for line in (self._files.text("/proc/net/dev") or "").splitlines()[2:]:
            name, _, counts = line.partition(":")
            words = counts.split()
            name = name.strip()
            # A point stands in the names of VLANs.
            if len(words) >= 12 and "." not in name and not name.startswith(_VIRTUAL):
                received += int(words[0])
                sent += int(words[8])
                errors += int(words[2]) + int(words[3]) + int(words[10]) + int(words[11])
        totals = {
            "net_received_bytes_per_s": float(received),
            "net_sent_bytes_per_s": float(sent),
            "net_errors_per_s": float(errors),
        }
        return self._rates.update(totals, now_s)
