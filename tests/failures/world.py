"""One running edgemon, the plant's applications that feed it, and what it has to say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgemon import Client, wire
from edgemon.records import Row
from tests.e2e.harness import Device
from tests.failures.plant import Plant, Rows
from tests.servers import wait_for

_CONFIG = """
[models.wear]
profile = "wear.profile"
window = "1s"
[models.eye]
profile = "eye.profile"
window = "1s"
[drift]
window = 500
[batch]
max_age = "200ms"
[ship]
sink = "file"
folder = "outbox"
"""


class World:
    """profiles: a folder.  settings: of each model.  system: the table of that name.  toml: what comes after it."""

    def __init__(
        self,
        folder: Path,
        profiles: Path,
        toml: str,
        seed: int,
        system: str = "[system]\nenabled = false\n",
        settings: str = "",
    ) -> None:
        self.plant = Plant(seed)
        config = _CONFIG.replace('window = "1s"', f'window = "1s"\n{settings}')
        self.device = Device(folder, config + system + toml)
        self.device.outbox = self.box = folder / "box"
        self.box.mkdir()
        self.connect(True)
        for profile in profiles.glob("*.profile"):
            (folder / profile.name).symlink_to(profile)
        self._read: set[str] = set()
        self._events: list[Row] = []
        self.sent = {"wear": 0, "eye": 0}

    def connect(self, there: bool) -> None:
        """Whether the sink can deliver: it writes to a link that leads to a folder, or to what is none."""
        link = self.box.with_name("link")
        link.symlink_to(self.box if there else "/dev/null")
        link.rename(self.box.with_name("outbox"))

    def start(self) -> None:
        self.device.start()
        self.client = Client(self.device.run_dir / "ingest.sock", buffer_bytes=8 << 20)

    def stop(self) -> None:
        self.client.close()
        self.device.end()

    def send(self, model: str, rows: Rows) -> None:
        """Have the agent count all of them."""
        for number, part in enumerate(rows.parts(rows.errors + 1)):
            if number:
                self.client.error(model, "timeout")
            self.client.log_many(
                model, part.outputs, part.features, ids=part.ids, ts=part.ts, latency=part.latency
            )
        self.sent[model] += rows.n
        assert self.client.flush("memory", 30.0), self.client.stats()

    def send_with_truths(self, model: str, rows: Rows) -> None:
        """Some predictions, what came of them, and so on."""
        for part in rows.parts(20):
            self.send(model, part)
            assert part.ids is not None and part.truths is not None
            for identifier, truth in zip(part.ids, part.truths, strict=True):
                self.client.truth(identifier, truth, model)
        assert self.client.flush("memory", 30.0), self.client.stats()

    def events(self) -> list[Row]:
        """All that left the device so far, oldest first."""
        for path in sorted(self.box.glob("**/*.zst")):
            if path.name in self._read:
                continue
            batch = wire.decode(path.read_bytes())
            self._read.add(path.name)
            if batch.kind == "event":
                self._events += wire.rows_from_columns(batch)
        return self._events

    def rows(self, kind: str) -> list[Row]:
        """Rows of a kind that left the device so far."""
        return self.device.rows_left(kind)

    def find(self, event: str, stream: str) -> Row | None:
        """The first such event; stream: "" for any."""
        for row in self.events():
            if row["type"] == event and stream in ("", row["stream"]):
                return row
        return None

    def settle(self) -> None:
        """What was said until now has left the device."""
        assert self.client.flush("disk", 30.0), self.client.stats()
        status = self.device.status()
        assert status is not None
        said = status["counters"].items()
        total = sum(n for name, n in said if name.startswith("edgemon_agent_events_total"))
        wait_for(lambda: len(self.events()) >= total, what=f"{total} events to leave")

    def alarms(self) -> list[Row]:
        """What a person is woken for, or should look at."""
        return [row for row in self.events() if row["severity"] != "info"]

    def wait_for_event(self, event: str, stream: str, timeout_s: float) -> Row:
        """The first such event, once it has left the device."""
        try:
            wait_for(lambda: self.find(event, stream) is not None, timeout_s)
        except AssertionError:
            told = [(row["type"], row["stream"]) for row in self.events()]
            log = self.device.log().splitlines()[-30:]
            raise AssertionError("\n".join([f"no {event} {stream}; {told}", *log])) from None
        row = self.find(event, stream)
        assert row is not None
        return row


def data_of(row: Row) -> dict[str, Any]:
    """The numbers of an event."""
    data = row.get("data")
    found = json.loads(str(data)) if data else {}
    assert isinstance(found, dict)
    return found
