"""Disk space of one path and I/O of all disks."""

from __future__ import annotations

import os

from edgemon.collect.files import Files, Sought
from edgemon.collect.rates import Rates

_SECTOR_BYTES = 512  # in /proc/diskstats always, whatever the disk's own is


class Disk:
    """disk_free_bytes, disk_used_percent and disk_inodes_used_percent of the file system of `path`, as an ordinary
    user sees them; disk_read_ and disk_written_bytes_per_s of all disks; disk_busy_percent of the busiest.

    A disk is a block device with hardware behind it: not a partition, a loop, RAM or a mapping of other disks.
    """

    def __init__(self, files: Files, path: str) -> None:
        self._files = files
        self._path = path
        self._rates = Rates()
        self._disks = Sought(self._search)

    def collect(self, now_s: float) -> dict[str, float]:
        space = os.statvfs(self._path)
        used = space.f_blocks - space.f_bfree
        values = {"disk_free_bytes": float(space.f_bavail * space.f_frsize)}
        if used + space.f_bavail:
            values["disk_used_percent"] = 100.0 * used / (used + space.f_bavail)
        if space.f_files:  # btrfs and FAT count none
            values["disk_inodes_used_percent"] = 100.0 * (1 - space.f_ffree / space.f_files)
        rates = self._rates.update(self._totals(), now_s)
        busy = [0.1 * rates.pop(name) for name in list(rates) if name.startswith("busy ")]
        if busy:  # ms a second
            values["disk_busy_percent"] = min(100.0, max(busy))
        return values | rates

    def _totals(self) -> dict[str, float]:
        read = written = 0
        totals: dict[str, float] = {}
        disks = self._disks.get()
        for line in (self._files.text("/proc/diskstats") or "").splitlines():
            words = line.split()
            if len(words) > 12 and words[2] in disks:
                read += int(words[5])
                written += int(words[9])
                totals["busy " + words[2]] = float(words[12])
        if totals:
            totals["disk_read_bytes_per_s"] = float(read * _SECTOR_BYTES)
            totals["disk_written_bytes_per_s"] = float(written * _SECTOR_BYTES)
        return totals

    def _search(self) -> frozenset[str]:
        names = self._files.names("/sys/block")
        return frozenset(name for name in names if self._files.exists(f"/sys/block/{name}/device"))
