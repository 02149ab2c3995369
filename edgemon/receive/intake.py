"""Where deliveries become stored rows: decode, group, commit, and only then acknowledge.

The order is the guarantee: `commit` returns the tokens of deliveries only when they are durable,
in the store or in the quarantine. Whoever holds the tokens (an MQTT client) acknowledges after
that and not before. A delivery that nobody can ever store does not block those behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from edgemon import log, wire
from edgemon.errors import DamagedError, UnsupportedError
from edgemon.receive.confirm import Confirmer, Identity
from edgemon.receive.presence import DeviceState, parse_state, split_topic
from edgemon.receive.quarantine import Quarantine
from edgemon.receive.rows import COLUMNS, tables
from edgemon.receive.store import Incoming, RefusedError, Store
from edgemon.records import KINDS

MAX_GROUP_BATCHES = 256
MAX_GROUP_ROWS = 50_000
MAX_GROUP_BYTES = 8 * 1024 * 1024
_MAX_DEVICES_COUNTED = 100_000
_NOTHING: Mapping[str, str] = {}


class _Rejected(NamedTuple):
    """What goes to the quarantine.  supported: False when a newer edgemon could read it.

    identity: which batch it is, None when nobody knows.
    """

    payload: bytes
    reason: str
    origin: str
    supported: bool
    identity: Identity | None = None


class Totals:
    """What went through since the start."""

    def __init__(self) -> None:
        self.batches = 0  # stored now for the first time
        self.duplicates = 0
        self.quarantined = 0
        self.frame_bytes = 0
        self.rows = dict.fromkeys(COLUMNS, 0)
        self.devices: set[tuple[str, str]] = set()
        self.last_event = ""

    @property
    def taken(self) -> int:
        """Batches that are settled, whatever became of them."""
        return self.batches + self.duplicates + self.quarantined


class Intake:
    """One group of deliveries at a time, bounded by MAX_GROUP_*.

    `commit` raises StorageError when the store or the quarantine cannot write now. Then all is
    still pending, nothing is to be acknowledged, and `commit` may be called again.
    confirmer: told of what is durable, None for nobody.
    """

    def __init__(
        self,
        store: Store,
        quarantine: Quarantine,
        clock_ns: Callable[[], int] = time.time_ns,
        confirmer: Confirmer | None = None,
    ) -> None:
        self.totals = Totals()
        self._store = store
        self._quarantine = quarantine
        self._clock_ns = clock_ns
        self._confirmer = confirmer
        self._clear()

    @property
    def pending(self) -> int:
        """Deliveries that wait for the next commit."""
        return len(self._tokens)

    @property
    def full(self) -> bool:
        """Commit before taking more."""
        return (
            self.pending >= MAX_GROUP_BATCHES
            or self._rows >= MAX_GROUP_ROWS
            or self._bytes >= MAX_GROUP_BYTES
        )

    def take_frame(
        self,
        frame: bytes,
        origin: str,
        token: object = None,
        sender: tuple[str, str] | None = None,
        identity: Identity | None = None,
    ) -> None:
        """Decode one frame.  origin: where from, for the log.  token: what `commit` returns for it.

        sender: (fleet, device) that the transport vouches for; a batch in another's name counts
        as damaged. Raises DamagedError, and has not taken it then. What needs a newer reader is
        taken, for the quarantine; identity: which batch the transport says that it is.
        """
        try:
            batch, skipped = wire.decode_report(frame)
        except UnsupportedError as error:
            self._note(token, len(frame))
            self._rejected.append(_Rejected(frame, str(error), origin, False, identity))
            return
        if sender is not None and sender != (batch.fleet, batch.device):
            raise DamagedError(
                f"a batch of {batch.fleet}/{batch.device} in the name of {'/'.join(sender)}"
            )
        rows = tables(batch)
        if skipped:
            log.warning(
                "columns of an unknown encoding are left out", origin=origin, columns=skipped
            )
        self._note(token, len(frame))
        self._rows += batch.rows
        self._batches.append(Incoming(batch, rows, skipped, len(frame), self._clock_ns()))
        self._origins.append((frame, origin))

    def take_damage(
        self,
        payload: bytes,
        reason: str,
        origin: str,
        token: object = None,
        identity: Identity | None = None,
    ) -> None:
        """Bytes that are known to be no batch."""
        self._note(token, len(payload))
        self._rejected.append(_Rejected(payload, reason, origin, True, identity))

    def take_message(
        self, topic: str, payload: bytes, token: object, properties: Mapping[str, str] = _NOTHING
    ) -> None:
        """One message of a broker: a batch or a device's state, by its topic. Never raises.

        properties: the user properties of MQTT 5.
        """
        identity = None
        try:
            fleet, device, leaf = split_topic(topic)
            if leaf == "batch":
                identity = _identity(fleet, device, properties)
                self.take_frame(payload, topic, token, (fleet, device), identity)
                return
            if not payload:  # a retained state that somebody cleared
                self._note(token, 0)
                return
            state = parse_state(fleet, device, payload, self._clock_ns())
        except DamagedError as error:
            self.take_damage(payload, str(error), topic, token, identity)
            return
        self._note(token, len(payload))
        self._states.append(state)

    def commit(self) -> list[object]:
        """Make all that is pending durable.

        The tokens that may be acknowledged now, in order of arrival.
        """
        while True:
            self._put_aside()
            if not self._batches and not self._states:
                break
            try:
                stored = self._store.write(self._batches, self._states)
            except RefusedError as error:
                if not self._batches:
                    raise
                payload, origin = self._origins.pop(error.index)
                batch = self._batches.pop(error.index).batch
                identity = Identity(
                    batch.fleet, batch.device, batch.stream.hex(), batch.kind, batch.seq
                )
                reason = f"refused by the store: {error}"
                self._rejected.append(_Rejected(payload, reason, origin, True, identity))
                continue
            self._count(stored.fresh, stored.rows)
            if self._confirmer is not None:
                self._confirmer.stored(self._batches, self._states)
            break
        tokens: list[object] = self._tokens
        self._clear()
        return tokens

    def forget_tokens(self) -> None:
        """The connection that the tokens belong to is gone; what is pending stays so."""
        self._tokens[:] = [None] * len(self._tokens)

    def _put_aside(self) -> None:
        while self._rejected:
            payload, reason, origin, supported, identity = self._rejected[0]
            file = self._quarantine.put(payload, reason, supported=supported)
            if identity is not None and self._confirmer is not None:
                self._confirmer.set_aside(identity, reason, self._clock_ns())
            del self._rejected[0]
            self.totals.quarantined += 1
            log.warning("put aside what cannot be stored", reason=reason, origin=origin, file=file)

    def _note(self, token: object, size: int) -> None:
        self._tokens.append(token)
        self._bytes += size

    def _count(self, fresh: Iterable[bool], rows: dict[str, int]) -> None:
        totals = self.totals
        for incoming, is_fresh in zip(self._batches, fresh, strict=True):
            if not is_fresh:
                totals.duplicates += 1
                continue
            totals.batches += 1
            totals.frame_bytes += incoming.frame_bytes
            if len(totals.devices) < _MAX_DEVICES_COUNTED:
                totals.devices.add((incoming.batch.fleet, incoming.batch.device))
            for table in incoming.tables:
                if table.table == "events" and table.rows:
                    totals.last_event = _headline(incoming.batch.device, table.rows[-1])
        for table_name, count in rows.items():
            totals.rows[table_name] += count

    def _clear(self) -> None:
        self._tokens: list[object] = []
        self._batches: list[Incoming] = []
        self._origins: list[tuple[bytes, str]] = []
        self._states: list[DeviceState] = []
        self._rejected: list[_Rejected] = []
        self._rows = 0
        self._bytes = 0


def _identity(fleet: str, device: str, properties: Mapping[str, str]) -> Identity | None:
    """Which batch its user properties say that it is."""
    stream, kind, seq = (properties.get(name, "") for name in ("stream", "kind", "seq"))
    whole = len(stream) == 32 and kind in KINDS and seq.isascii() and seq.isdecimal()
    if not whole or len(seq) > 18:
        return None
    return Identity(fleet, device, stream, kind, int(seq))


def _headline(device: str, row: tuple[object, ...]) -> str:
    cells = dict(zip(COLUMNS["events"], row, strict=True))
    return f"{device} {cells['type']}: {cells['message']}"
