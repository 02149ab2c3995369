"""The script's numbers and words, and what the application knows of itself while it plays.

`Play` is written by the driver, read by the view while it runs and by the report at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from edgemon.demo.scenario import Floats

MODEL = "meter-reader"
VERSION = "1"


class Plan(NamedTuple):
    """How long each phase is, in predictions. rate: a second.  growth: pictures until full dirt."""

    rate: int
    clean: int
    dirty: int
    away: int
    back: int
    growth: int

    @property
    def total(self) -> int:
        return self.clean + self.dirty + self.away + self.back


FULL = Plan(rate=250, clean=5_000, dirty=4_000, away=3_000, back=2_000, growth=800)
FAST = Plan(rate=500, clean=1_500, dirty=1_500, away=1_500, back=500, growth=800)


class Phase(NamedTuple):
    """title: a few words.  story: a sentence for somebody who sees it for the first time."""

    title: str
    story: str


PREPARE = Phase("prepare", "Training the classifier; starting broker, receiver, agent and shipper.")
CLEAN = Phase("clean lens", "A camera reads digits. Nothing is wrong, so nothing should be raised.")
DIRTY = Phase("dirt", "The lens gets dirty: pictures blur and fade. Nobody tells the monitor.")
AWAY = Phase("broker gone", "The broker is gone. The camera goes on; predictions wait on the disk.")
BACK = Phase("broker back", "The broker is back. What waited is delivered, and nothing twice.")
DRAIN = Phase("drain", "The camera stops. What is under way arrives, then all is counted.")
PHASES = (PREPARE, CLEAN, DIRTY, AWAY, BACK, DRAIN)


@dataclass
class Play:
    """What the application knows. One thread writes, others read: numbers are replaced, lists only grow.

    doing: a step of the preparation.  broker: which program.
    sent, acknowledged: predictions; acknowledged are on the device's disk.  sent_bytes: as JSON lines.
    correct: one entry a prediction, whether the classifier was right.  picture: the latest, (SIDE, SIDE).
    away_from, away_to: numbers of the first and the last prediction made while the broker was away.
    """

    plan: Plan
    phase: Phase = PREPARE
    doing: str = ""
    broker: str = ""
    sent: int = 0
    acknowledged: int = 0
    sent_bytes: int = 0
    dirt: float = 0.0
    picture: Floats | None = None
    correct: list[bool] = field(default_factory=list)
    away_from: int = 0
    away_to: int = 0
    away_since_s: float | None = None  # monotonic; None: it is there
    away_s: float = 0.0

    @property
    def dirty_from(self) -> int:
        """Number of the first prediction of a picture that was not clean; predictions count from 1."""
        return self.plan.clean + 1
