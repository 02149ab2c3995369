"""Source: a bucket that the S3 sink of devices fills. Reads whole objects, each once.

What was stored is remembered by key and tag (seen.py), so that a later run reads only what is new.
That saves requests and bytes; it is the store's key (device, stream, kind, seq) that keeps a batch
from being stored twice.

A first look lists everything below the prefix. When following, the next ones list the days since
yesterday of each fleet only, with everything again every FULL_LIST_S: what a device ships late goes
to the day on which it was measured.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from edgemon import log
from edgemon.errors import DamagedError, EdgemonError, UnreachableError, UsageError
from edgemon.flow.backoff import Backoff
from edgemon.receive.control import Commits, Limits, Stop
from edgemon.receive.folder import Outcome
from edgemon.receive.frames import Damage, FrameReader, Torn
from edgemon.receive.intake import Intake
from edgemon.receive.seen import Seen
from edgemon.ship.s3_store import Place, connect, explain, is_remote, status_of

READ_BYTES = 1024 * 1024
FULL_LIST_S = 3600.0
_DAY_S = 86_400


class Object(NamedTuple):
    """One object of a listing."""

    key: str
    tag: str
    size_bytes: int


def parse_url(url: str, region: str, endpoint: str) -> Place:
    """s3://bucket/prefix -> Place. Raises UsageError."""
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket or not prefix.isprintable():
        raise UsageError(f"{url!r} is no address like s3://bucket or s3://bucket/prefix")
    return Place(bucket, prefix.strip("/"), region, endpoint, "--{}")


class BucketSource:
    """seen: what was stored before.  interval_s: between two looks.  progress: called with bytes."""

    def __init__(
        self,
        place: Place,
        intake: Intake,
        seen: Seen,
        stop: Stop,
        limits: Limits,
        *,
        interval_s: float = 30.0,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._place = place
        self._intake = intake
        self._seen = seen
        self._stop = stop
        self._limits = limits
        self._interval_s = interval_s
        self._progress = progress
        self._client: Any = connect(place)
        self._commits = Commits(intake)
        self._patient = False
        self._objects = 0

    def run_once(self) -> Outcome:
        """Read all that is there and was not read before.

        Raises UnreachableError, StorageError: then nothing is lost, and running it again goes on.
        """
        try:
            self._look(full=True)
        except Exception as error:
            raise self._unreachable(error) from error
        return Outcome(self._objects, [])

    def follow(self) -> None:
        """Read what is there and what comes, until the stop or a limit.

        Raises UnreachableError when the first look fails; later ones are tried again for ever.
        """
        self.run_once()
        self._patient = True
        idle_s = self._limits.idle_s
        usual_s = self._interval_s if idle_s is None else min(self._interval_s, idle_s)
        backoff = Backoff(1.0, 60.0, 2.0, random.random)
        delay_s = usual_s
        next_full = time.monotonic() + FULL_LIST_S
        last_news = time.monotonic()
        while not self._ended() and not self._stop.wait(delay_s):
            before = self._objects
            full = time.monotonic() >= next_full
            try:
                self._look(full=full)
            except Exception as error:
                reason = self._unreachable(error)
                delay_s = backoff.next_delay()
                log.error(f"{reason}; next try in {delay_s:.1f} s")
                continue
            backoff.reset()
            delay_s = usual_s
            if full:
                next_full = time.monotonic() + FULL_LIST_S
            if self._objects > before:
                last_news = time.monotonic()
            elif idle_s is not None and time.monotonic() - last_news >= idle_s:
                break

    def _ended(self) -> bool:
        return self._stop.requested or self._limits.reached(
            self._intake.totals.taken + self._intake.pending
        )

    def _unreachable(self, error: Exception) -> EdgemonError:
        """What to tell of it; what is no trouble with the store or the disk is raised as it is."""
        if isinstance(error, EdgemonError):
            return error
        if not is_remote(error):
            raise error
        return UnreachableError(explain(error, self._place, "s3:ListBucket, s3:GetObject").message)

    # -- one look

    def _look(self, *, full: bool) -> None:
        """Read what is new; all of it is committed and remembered at the end."""
        root = f"{self._place.prefix}/" if self._place.prefix else ""
        if full:
            listed = self._list(root, "")
            if self._read_all(self._seen.new(self._place.url, listed, forget=True)):
                self._settle()
            return
        for fleet in self._fleets(root):
            yesterday = time.strftime("%Y-%m-%d", time.gmtime(time.time() - _DAY_S))
            listed = self._list(fleet, f"{fleet}dt={yesterday}" if fleet != root else "")
            if not self._read_all(self._seen.new(self._place.url, listed, forget=False)):
                return
        self._settle()

    def _fleets(self, root: str) -> list[str]:
        """The prefixes that days lie below; the root itself when the bucket is laid out otherwise."""
        found = []
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._place.bucket, Prefix=f"{root}v1/fleet=", Delimiter="/"
        )
        for page in pages:
            found += [one["Prefix"] for one in page.get("CommonPrefixes", [])]
        return found or [root]

    def _list(self, prefix: str, start_after: str) -> Iterator[Object]:
        """Objects of batches below a prefix, in the order of their keys."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._place.bucket, Prefix=prefix, StartAfter=start_after
        )
        for page in pages:
            for item in page.get("Contents", []):
                if item["Key"].endswith(".zst"):
                    yield Object(item["Key"], str(item["ETag"]).strip('"'), int(item["Size"]))

    def _read_all(self, objects: Iterator[Object]) -> bool:
        """False when it is time to end before all was read."""
        for one in objects:
            if self._ended():
                self._settle()
                return False
            self._read(one)
        return True

    def _read(self, one: Object) -> None:
        origin = f"s3://{self._place.bucket}/{one.key}"
        try:
            body = self._client.get_object(Bucket=self._place.bucket, Key=one.key)["Body"]
        except Exception as error:
            if status_of(error) == 404:
                return  # a lifecycle rule was faster
            raise
        reader = FrameReader()
        sender = sender_of(one.key)
        self._objects += 1
        while True:
            data = body.read(READ_BYTES)
            if data:
                reader.feed(data)
            else:
                reader.finish()
            for item in reader.items():
                where = f"{origin} at byte {item.offset}"
                if isinstance(item, Damage):
                    self._intake.take_damage(item.data, item.reason, where)
                elif isinstance(item, Torn):
                    if item.data:
                        self._intake.take_damage(item.data, "ends inside a batch", where)
                else:
                    try:
                        self._intake.take_frame(item.data, where, sender=sender)
                    except DamagedError as error:
                        reader.reject(str(error))
                if self._intake.full:
                    self._settle()
            self._progress(len(data))
            if not data:
                break
        self._seen.add(self._place.url, one.key, one.tag)

    def _settle(self) -> None:
        """Commit what is pending, then remember which objects are stored.

        When following, wait for a store that cannot; a single pass raises instead.
        """
        if not self._patient:
            self._intake.commit()
        while self._intake.pending and self._commits.attempt() is None:
            if self._stop.wait(self._commits.retry_at - time.monotonic()):
                return
        self._seen.commit()


def sender_of(key: str) -> tuple[str, str] | None:
    """(fleet, device) that a key of our own layout names; None for another layout.

    >>> sender_of("v1/fleet=lab/dt=2025-06-15/hour=15/device=cam-7/pred-00-1-2.msgpack.zst")
    ('lab', 'cam-7')
    """
    parts = dict(part.split("=", 1) for part in key.split("/")[:-1] if "=" in part)
    return (parts["fleet"], parts["device"]) if {"fleet", "device"} <= parts.keys() else None
