"""The quality of one model's data: its streams and its rows, under one budget of false alarms."""

from __future__ import annotations

import math

from edgemon._core import msgpack
from edgemon.drift.budget import QUALITY_SHARE, RatePlan, horizon
from edgemon.drift.settings import Settings
from edgemon.errors import DamagedError
from edgemon.flow.names import any_of
from edgemon.quality.judge import Plan
from edgemon.quality.kinds import ALARMS_OF_A_STREAM, ALARMS_OF_THE_ROWS, KINDS
from edgemon.quality.rows import RowQuality, RowRules
from edgemon.quality.stream import StreamQuality, StreamRules
from edgemon.typed import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from edgemon.drift.detector import ModelDetectors
    from edgemon.drift.profile import Profile

STATE_VERSION = 1


class QualitySettings(Protocol):
    """`config.QualitySettings` is one; docs/quality.md says what its keys do."""

    @property
    def learn(self) -> int: ...
    @property
    def range(self) -> dict[str, tuple[float, float]]: ...
    @property
    def tolerance(self) -> float: ...
    @property
    def stuck_after(self) -> int: ...
    @property
    def may_stand_still(self) -> list[str]: ...
    @property
    def max_late_s(self) -> float: ...
    @property
    def max_early_s(self) -> float: ...
    @property
    def max_disorder_s(self) -> float: ...
    @property
    def ignore(self) -> list[str]: ...


class ModelQuality:
    """One (model, version).

    Promise: P(any false alarm of a rate or a run within the budget's span) <= a fifth of the model's budget
    (drift/budget.py), split evenly over all alarms that its streams and rows can raise; what a rule of the user says
    stands outside it.

    drift: window and budget of false alarms.  detectors: of the same profile; how far values depend on each other is
    theirs to say.  state: of `to_state`, as a checkpoint had it; DamagedError when it is none of this profile.
    """

    __slots__ = (
        "_detectors",
        "_drift",
        "_plan",
        "_profile",
        "_rate",
        "_rules",
        "_saved",
        "_settings",
        "rows",
        "streams",
    )

    def __init__(
        self,
        settings: QualitySettings,
        drift: Settings,
        profile: Profile | None,
        detectors: ModelDetectors | None,
        state: bytes = b"",
    ) -> None:
        self._settings, self._drift = settings, drift
        self._profile, self._detectors = profile, detectors
        self._rate = RatePlan(drift.false_alarms.per_s)
        self._plan = Plan(1.0, self._horizon(), drift.window, settings.learn)
        ignored = frozenset(settings.ignore)
        # Of a stream of which nothing else is said: shared by all of them.
        self._rules = StreamRules(None, settings.tolerance, settings.stuck_after, ignored)
        self.streams: dict[str, StreamQuality] = {}
        self._split()
        self.rows = RowQuality(self._plan, _row_rules(settings))
        self._saved: dict[str, Any] = {}
        if state:
            self._restore(state)

    def _horizon(self) -> int:
        return horizon(self._drift.false_alarms, self._rate.rate_per_s)

    def _split(self) -> None:
        of_profile = len(self._profile.features) if self._profile is not None else 0
        alarms = ALARMS_OF_A_STREAM * max(1, of_profile, len(self.streams)) + ALARMS_OF_THE_ROWS
        self._plan.probability = QUALITY_SHARE * self._drift.false_alarms.at_most / alarms

    # -- streams

    def stream(self, name: str, *, text: bool) -> StreamQuality:
        """The checks of a stream, made at its first value."""
        found = self.streams.get(name)
        return found if found is not None else self._begin(name, text)

    def _begin(self, name: str, text: bool) -> StreamQuality:
        settings, profile = self._settings, self._profile
        feature = profile.feature(name) if profile is not None else None
        if feature is not None and (feature.kind == "text") != text:
            feature = None
        reference = None
        if profile is not None and feature is not None and not text and feature.n:
            reference = profile.reference(name, self._drift.window)
        short, rules = name.removeprefix("f:"), self._rules
        if any_of(settings.may_stand_still)(short):
            rules = rules._replace(ignored=rules.ignored | {"stuck"})
        if short in settings.range:
            rules = rules._replace(range=settings.range[short])
        detector = self._detectors.detector(name) if self._detectors is not None else None
        made = StreamQuality(
            name,
            self._plan,
            rules,
            text=text,
            feature=feature,
            reference=reference,
            dependence=detector,
        )
        if (saved := self._saved.pop(name, None)) is not None:
            made.restore(saved)
        self.streams[name] = made
        self._split()
        return made

    # -- what comes in

    def end_of_window(self, rate_per_s: float, over_s: float) -> None:
        """A window closed; its rate, over_s 0 where it says nothing."""
        for stream in self.streams.values():
            stream.tune()
            stream.reset_window()
        self.rows.reset_window()
        if self._rate.per_s and over_s and self._rate.observe(rate_per_s, over_s):
            self._plan.horizon = self._horizon()
            self.rows.plan_anew()
            for stream in self.streams.values():
                stream.plan_anew()

    def clock_stepped(self) -> None:
        """No time is compared with one from before."""
        self.rows.forget_time()

    # -- what it knows

    def latched(self) -> list[tuple[str, str]]:
        """(kind, stream) of alarms that are on; stream "": the model's."""
        found = [
            (kind, stream.stream) for stream in self.streams.values() for kind in stream.latched
        ]
        found += [(kind, "") for kind in self.rows.latched]
        return sorted(found, key=lambda one: (KINDS.index(one[0]), one[1]))

    @property
    def memory_bytes(self) -> int:
        """Of all that was ever asked about; a healthy model has nothing here."""
        return self.rows.memory_bytes + sum(stream.memory_bytes for stream in self.streams.values())

    # -- checkpoint

    def to_state(self) -> bytes:
        """What was learnt, the evidence and the alarms that are on."""
        state: bytes = msgpack.packb(
            {
                "version": STATE_VERSION,
                "profile": self._profile.hash if self._profile is not None else "",
                "settings": self._fingerprint(),
                "rate": self._rate.to_state(),
                "streams": self._saved
                | {name: stream.to_state() for name, stream in self.streams.items()},
                "rows": self.rows.to_state(),
            }
        )
        return state

    def _fingerprint(self) -> list[object]:
        budget = self._drift.false_alarms
        return [
            self._drift.window,
            budget.at_most,
            budget.per_predictions,
            budget.per_s,
            self._settings.learn,
        ]

    def _restore(self, data: bytes) -> None:
        try:
            state: dict[str, Any] = msgpack.unpackb(data, strict_map_key=False)
            if state["version"] != STATE_VERSION:
                raise ValueError(f"version {state['version']}, this edgemon writes {STATE_VERSION}")
            if state["profile"] != (self._profile.hash if self._profile is not None else ""):
                raise ValueError("the profile has changed since")
            if state["settings"] != self._fingerprint():
                raise ValueError("the settings have changed since")
            self._rate.restore(state["rate"])
            self._plan.horizon = self._horizon()
            for name, saved in state["streams"].items():
                self._saved[name] = saved
                self._begin(name, bool(saved["text"]))
            self.rows.restore(state["rows"])
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
        ) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise DamagedError(f"quality state: {what or type(error).__name__}") from error


def _row_rules(settings: QualitySettings) -> RowRules:
    return RowRules(
        settings.max_late_s or math.inf,
        settings.max_early_s or math.inf,
        settings.max_disorder_s or math.inf,
        frozenset(settings.ignore),
    )
