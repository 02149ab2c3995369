"""How much may go: `ship.rate_limit` for the moment, `ship.monthly_limit` for a SIM's bill.

Neither holds events back for long. They need not wait for the rate, though they count; and the last
tenth of a month is theirs: alarms go first and last.

A month is counted in what the connection carries, each way, with 80 bytes for each packet's IP and
TCP headers and its acknowledgement; what TLS adds, and resends of the kernel, are not seen. Months
are those of UTC. `<state_dir>/month` holds the count, ahead of the truth by up to a block, so that
a process that is killed has counted too much and never too little. A clock that goes back, or that
nobody has set yet, counts on in the month that is written there.
"""

from __future__ import annotations

import time

from edgemon import log
from edgemon.config import ShipSettings
from edgemon.flow.bucket import TokenBucket
from edgemon.metrics import Counters
from edgemon.spool.fs import FileSystem, join, write_atomically
from edgemon.std import json
from edgemon.std.collections.abc import Callable

PACKET_BYTES = 80
# What a batch costs beside its frame: topic, properties, headers. For the rate, which is asked before.
BATCH_BYTES = 320
RESERVE_RATIO = 0.1
_BLOCKS = 1000  # a month's limit in so many blocks, each one store of the file
_MAX_FILE_BYTES = 200
_NAME = "month"


class Limits:
    """Asked before each batch, told of each byte.

    fs, state_dir: where the month's count lives.  now: monotonic seconds.  wall: seconds since 1970.
    """

    def __init__(
        self,
        settings: ShipSettings,
        fs: FileSystem,
        state_dir: str,
        counters: Counters,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._fs = fs
        self._state_dir = state_dir
        self._counters = counters
        self._now = now
        self._wall = wall
        self._month, self._used = self._load()
        self._stored = self._used
        self.use(settings)

    def use(self, settings: ShipSettings) -> None:
        """Other limits from now on; what is counted stays."""
        rate = settings.rate_limit_bytes
        self._bucket = TokenBucket(rate, self._now()) if rate else None
        self._limit = settings.monthly_limit_bytes

    # -- asked

    def wait_s(self) -> float:
        """Seconds until a batch that is not of events may go, as far as the rate goes."""
        return self._bucket.wait_s(self._now()) if self._bucket is not None else 0.0

    @property
    def events_only(self) -> bool:
        """The month's last tenth has begun."""
        return self._limit > 0 and self._used_now() >= self._limit * (1 - RESERVE_RATIO)

    @property
    def exhausted(self) -> bool:
        """Nothing more may go in this month."""
        return self._limit > 0 and self._used_now() >= self._limit

    def status(self) -> dict[str, object]:
        """For `edgemon status`; None where there is no limit."""
        return {
            "rate_limit_bytes": int(self._bucket.rate) if self._bucket is not None else None,
            "monthly_limit_bytes": self._limit or None,
            "month": self._month if self._limit else None,
            "month_bytes": self._used_now() if self._limit else None,
        }

    # -- told

    def sending(self, frame_bytes: int) -> None:
        """A batch goes out."""
        if self._bucket is not None:
            self._bucket.take(frame_bytes + BATCH_BYTES, self._now())

    def carried(self, data_bytes: int) -> None:
        """The connection carried so many bytes, in either direction, in one packet or more."""
        if not self._limit:
            return
        self._turn()
        self._used += data_bytes + PACKET_BYTES * (1 + data_bytes // 1400)
        if self._used > self._stored:
            self._store(self._used + max(1, self._limit // _BLOCKS))

    def close(self) -> None:
        """Write the exact count."""
        if self._limit and self._stored != self._used:
            self._store(self._used)

    # -- the month

    def _used_now(self) -> int:
        self._turn()
        return self._used

    def _turn(self) -> None:
        month = time.strftime("%Y-%m", time.gmtime(self._wall()))
        if month > self._month:
            self._month, self._used, self._stored = month, 0, 0

    def _store(self, used: int) -> None:
        self._stored = used
        text = json.dumps({"month": self._month, "bytes": used})
        try:
            self._fs.make_dir(self._state_dir)
            write_atomically(self._fs, self._path, text.encode())
            self._counters.add("edgemon_ship_fsyncs_total", 2, reason="month")
        except OSError as error:
            self._counters.add("edgemon_ship_errors_total", reason="month_not_stored")
            log.warning("cannot store the month's bytes", path=self._path, error=error)

    def _load(self) -> tuple[str, int]:
        try:
            found = json.loads(self._fs.read(self._path, 0, _MAX_FILE_BYTES))
            month, used = found["month"], found["bytes"]
            if isinstance(month, str) and type(used) is int and used >= 0:
                return month, used
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return "", 0

    @property
    def _path(self) -> str:
        return join(self._state_dir, _NAME)
