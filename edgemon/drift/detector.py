"""The detectors of a model's version, one a stream, which keep one promise together (budget.py)."""

from __future__ import annotations

from edgemon._core import msgpack
from edgemon.drift.budget import RatePlan, horizon, stream_probability
from edgemon.drift.numeric import DriftDetector
from edgemon.drift.parts import Promise, esr_table
from edgemon.drift.profile import FeatureProfile, Profile
from edgemon.drift.settings import Settings, State, Transition
from edgemon.drift.texts import TextDetector
from edgemon.drift.threshold import ThresholdError
from edgemon.errors import DamagedError
from edgemon.std.collections.abc import Iterator
from edgemon.typed import Any

__all__ = ["DriftDetector", "ModelDetectors", "Settings", "State", "Transition", "faults"]

STATE_VERSION = 2
# Names of streams that the profile does not know are kept for the report up to this many.
_MAX_UNKNOWN = 256


class ModelDetectors:
    """The detectors of one (model, version): one for each stream of the profile.

    Promise: P(any alarm on any stream within the budget's span) <= at_most, while all streams keep
    the profile's law; budget.py says how it is split, docs/drift.md what it rests on.

    A stream whose detector could not keep it has none: `untested` says why. ThresholdError, naming each stream, when
    that is so of all. Where the span is one of time it is that at 100 predictions a second, until `observe_rate` tells
    the rate.
    """

    __slots__ = ("_detectors", "_profile", "_rate", "_settings", "_texts", "_unknown", "untested")

    def __init__(self, profile: Profile, settings: Settings) -> None:
        self._profile = profile
        self._settings = settings
        self._rate = RatePlan(settings.false_alarms.per_s)
        self._detectors: dict[str, DriftDetector] = {}
        self._texts: dict[str, TextDetector] = {}
        self._unknown: set[str] = set()
        self.untested: dict[str, str] = {}
        promise = self._promise()
        for feature in profile.features:
            try:
                if feature.kind == "numeric":
                    self._detectors[feature.name] = _numeric(profile, feature, settings, promise)
                else:
                    self._texts[feature.name] = TextDetector(
                        feature,
                        settings.window,
                        promise,
                        min_effect=settings.min_effect,
                        clear_ratio=settings.clear_ratio,
                        profile_hash=profile.hash,
                    )
            except ThresholdError as error:
                self.untested[feature.name] = str(error)
        if self.untested and not (self._detectors or self._texts):
            raise ThresholdError("; ".join(_problems(self.untested)))

    def _promise(self) -> Promise:
        budget = self._settings.false_alarms
        probability = stream_probability(budget.at_most, len(self._profile.features))
        return Promise(probability, horizon(budget, self._rate.rate_per_s))

    # -- what comes in

    def push(self, stream: str, x: float) -> Transition | None:
        """Take one number (not NaN). A stream that the profile does not know is remembered."""
        detector = self._detectors.get(stream)
        if detector is not None:
            return detector.push(x)
        self._remember(stream)
        return None

    def text(self, stream: str, text: str) -> Transition | None:
        """Take one text of a stream."""
        detector = self._texts.get(stream)
        if detector is not None:
            return detector.push(text)
        self._remember(stream)
        return None

    def _remember(self, stream: str) -> None:
        if len(self._unknown) < _MAX_UNKNOWN and stream not in self.untested:
            self._unknown.add(stream)

    def observe_rate(self, rate_per_s: float, over_s: float = 60.0) -> list[Transition]:
        """Predictions a second over the last `over_s` seconds. Where the budget is per span of time,
        thresholds follow; news when a detector gets blind by it."""
        if not self._rate.per_s or not self._rate.observe(rate_per_s, over_s):
            return []
        promise = self._promise()
        for text in self._texts.values():
            text.plan(promise)
        planned = [detector.plan(promise) for detector in self._detectors.values()]
        return [news for news in planned if news is not None]

    # -- what is known

    def __iter__(self) -> Iterator[DriftDetector]:
        return iter(self._detectors.values())

    def detector(self, stream: str) -> DriftDetector | None:
        """The detector of a numeric stream, for callers that keep it beside the stream."""
        return self._detectors.get(stream)

    def text_detector(self, stream: str) -> TextDetector | None:
        """The detector of a text stream."""
        return self._texts.get(stream)

    def state(self, stream: str) -> State | None:
        """The state of a numeric stream's detector, None where there is none."""
        detector = self._detectors.get(stream)
        return detector.state() if detector is not None else None

    def drifted(self) -> list[str]:
        """Streams whose alarm is latched."""
        both: dict[str, DriftDetector | TextDetector] = {**self._detectors, **self._texts}
        return [stream for stream, detector in both.items() if detector.drifted]

    def unseen(self) -> list[str]:
        """Streams of the profile of which no value came yet."""
        both: dict[str, DriftDetector | TextDetector] = {**self._detectors, **self._texts}
        return [stream for stream, detector in both.items() if not detector.pushed]

    def unknown(self) -> list[str]:
        """Streams that came and are not in the profile (the first 256)."""
        return sorted(self._unknown)

    def new_categories(self) -> dict[str, tuple[int, int]]:
        """Text stream -> texts seen, and how many of them the profile does not have."""
        return {stream: (text.pushed, text.new) for stream, text in self._texts.items()}

    def status(self) -> list[dict[str, object]]:
        """One entry a tested stream, for `edgemon status`. d: of text streams the total variation
        distance, without a threshold."""
        numeric: list[dict[str, object]] = [
            {
                "stream": stream,
                "d": state.d,
                "threshold_d": detector.threshold_d,
                "n": state.n,
                "window": detector.window,
                "drifted": state.drifted,
                "by": state.by,
                "sqrt_tau": detector.sqrt_tau,
            }
            for stream, detector in self._detectors.items()
            for state in (detector.state(),)
        ]
        return numeric + [
            {
                "stream": stream,
                "d": text.tv,
                "threshold_d": None,
                "n": text.n,
                "window": text.window,
                "drifted": text.drifted,
                "by": text.by,
                "sqrt_tau": text.sqrt_tau,
            }
            for stream, text in self._texts.items()
        ]

    @property
    def memory_bytes(self) -> int:
        """Of the detectors, without the references and tables that the profile shares."""
        numeric = sum(detector.memory_bytes for detector in self._detectors.values())
        return numeric + sum(text.memory_bytes for text in self._texts.values())

    # -- checkpoint

    def to_state(self) -> bytes:
        """All that came in so far, as far as it matters: window (as buckets), evidence, latch."""
        state: bytes = msgpack.packb(
            {
                "version": STATE_VERSION,
                "for": self._fingerprint(),
                "rate": self._rate.to_state(),
                "numeric": {name: d.to_state() for name, d in self._detectors.items()},
                "text": {name: d.to_state() for name, d in self._texts.items()},
            }
        )
        return state

    @classmethod
    def from_state(cls, profile: Profile, settings: Settings, data: bytes) -> ModelDetectors:
        """The detectors as they were: all alarms to come are the same.

        DamagedError when the bytes are not the state of detectors with this profile and these
        settings; then begin anew. ThresholdError as when they are made.
        """
        made = cls(profile, settings)
        try:
            state: dict[str, Any] = msgpack.unpackb(data)
            if state["version"] != STATE_VERSION:
                raise ValueError(f"version {state['version']}, this edgemon writes {STATE_VERSION}")
            if state["for"] != made._fingerprint():
                raise ValueError("profile or settings have changed since")
            made._rate.restore(state["rate"])
            promise = made._promise()
            for name, numeric in made._detectors.items():
                numeric.plan(promise)
                numeric.restore(state["numeric"][name])
            for name, text in made._texts.items():
                text.plan(promise)
                text.restore(state["text"][name])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise DamagedError(f"drift state: {what or type(error).__name__}") from error
        return made

    def _fingerprint(self) -> list[object]:
        settings, budget = self._settings, self._settings.false_alarms
        return [
            self._profile.hash,
            settings.window,
            budget.at_most,
            budget.per_predictions,
            budget.per_s,
            settings.min_effect,
            settings.clear_ratio,
        ]


def faults(profile: Profile, settings: Settings) -> list[str]:
    """What keeps these settings from working with this profile, one line each; empty when they
    work.

    For `edgemon check` and for the agent before it takes new settings.
    """
    try:
        return _problems(ModelDetectors(profile, settings).untested)
    except ThresholdError as error:
        return str(error).split("; ")


def _problems(untested: dict[str, str]) -> list[str]:
    return [f"{stream}: {why}" for stream, why in untested.items()]


def _numeric(
    profile: Profile, feature: FeatureProfile, settings: Settings, promise: Promise
) -> DriftDetector:
    reference = profile.reference(feature.name, settings.window)
    key = (feature.name, settings.window, promise.probability)
    if key not in profile.shared:
        profile.shared[key] = esr_table(feature, reference, promise.probability)
    return DriftDetector(
        feature,
        reference,
        settings.window,
        min_effect=settings.min_effect,
        clear_ratio=settings.clear_ratio,
        profile_hash=profile.hash,
        promise=promise,
        table=profile.shared[key],
    )
