"""What a model begins with: reference, detectors, checks and capture, as configured, or as they were saved."""

from __future__ import annotations

from edgemon import log
from edgemon._core.intake import StreamTable
from edgemon.agent.capture import Capture
from edgemon.agent.checkpoint import Saved
from edgemon.agent.models import Model, StreamBudget
from edgemon.agent.redact import Pseudonyms, Redaction
from edgemon.agent.store import StateStore
from edgemon.config import ModelSettings
from edgemon.drift.threshold import ThresholdError
from edgemon.errors import EdgemonError
from edgemon.metrics import Counters
from edgemon.quality.model import ModelQuality
from edgemon.records import Row
from edgemon.std import random
from edgemon.std.collections.abc import Callable
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.drift.detector import ModelDetectors
    from edgemon.drift.profile import Profile


class ModelFactory:
    """Makes models that share a table, a budget of streams and a source of chance.

    profiles: path -> loaded profile.  pseudonyms: where a model has hash_ids.  store: where profiles made here and the
    state of models are kept; None: nowhere.  emit(row, mono_ns): takes captured rows.
    """

    def __init__(
        self,
        profiles: dict[str, Profile],
        pseudonyms: Pseudonyms | None,
        store: StateStore | None,
        table: StreamTable,
        budget: StreamBudget,
        chance: random.Random,
        counters: Counters,
        emit: Callable[[Row, int], None],
    ) -> None:
        self.profiles = profiles
        self.pseudonyms = pseudonyms
        self._store = store
        self._table = table
        self._budget = budget
        self._chance = chance
        self._counters = counters
        self._emit = emit

    def configured(self, settings: ModelSettings) -> Profile | None:
        """The profile that the configuration names."""
        return self.profiles.get(settings.profile) if settings.profile else None

    def make(
        self, name: str, version: str, settings: ModelSettings, now_s: float
    ) -> tuple[Model, Saved | None]:
        """A model, and what was saved of it: its performance and pace are others' to take up."""
        configured = self.configured(settings)
        profile = self._reference(name, version, configured, settings)
        detectors = None
        saved = self._store.take(name, version) if self._store is not None else None
        if profile is not None and settings.drift.enabled:
            detectors = self._detectors(profile, settings, saved, name, version)
        quality = self.quality(settings, profile, detectors, saved)
        model = Model(
            name,
            version,
            settings,
            profile,
            detectors,
            quality,
            self.capture(settings),
            self._table,
            self._budget,
            self._counters,
            now_s,
        )
        model.configured = configured.hash if configured is not None else ""
        if profile is None and settings.reference.first:
            from edgemon.agent.baseline import Baseline  # see `_detectors`

            model.baseline = Baseline(name, settings.reference.first)
        return model, saved

    def capture(self, settings: ModelSettings) -> Capture:
        redaction = Redaction(settings.redact, self.pseudonyms)
        chance = random.Random(self._chance.getrandbits(64))
        return Capture(settings, redaction, self._emit, self._counters, chance)

    def _reference(
        self, name: str, version: str, configured: Profile | None, settings: ModelSettings
    ) -> Profile | None:
        """What was adopted or made here goes before what is configured."""
        if self._store is not None:
            before = configured.hash if configured is not None else ""
            made_here = self._store.profile(name, version, before, settings.drift.window)
            if made_here is not None:
                return made_here
        return configured

    def quality(
        self,
        settings: ModelSettings,
        profile: Profile | None,
        detectors: ModelDetectors | None,
        saved: Saved | None = None,
    ) -> ModelQuality | None:
        """Who looks at the data, as it was saved where that still holds. None where it is off."""
        made = (settings.quality, settings.drift, profile, detectors)
        if not settings.quality.enabled:
            return None
        if saved is not None and saved.quality:
            try:
                return ModelQuality(*made, saved.quality)
            except EdgemonError as error:
                log.warning(f"{error}; it begins anew", model=saved.model, version=saved.version)
                self._counters.add("edgemon_quality_state_refused_total")
        return ModelQuality(*made)

    def _detectors(
        self,
        profile: Profile,
        settings: ModelSettings,
        saved: Saved | None,
        name: str,
        version: str,
    ) -> ModelDetectors | None:
        """As they were saved, where profile and settings are the same, else new ones. None where a profile made
        here is blind under these settings."""
        from edgemon.drift.detector import ModelDetectors  # memory that only who has a profile pays

        who = {"model": name, "version": version}
        if saved is not None and saved.drift:
            try:
                detectors = ModelDetectors.from_state(profile, settings.drift, saved.drift)
            except EdgemonError as error:
                log.warning(f"its detectors begin anew: {error}", **who)
                self._counters.add("edgemon_drift_state_refused_total")
            else:
                log.info("its detectors go on where they were", **who)
                return detectors
        try:
            return ModelDetectors(profile, settings.drift)
        except ThresholdError as error:
            log.warning(f"drift cannot be tested: {error}", **who)
            return None


def saved_of(model: Model, pace: bytes) -> Saved:
    """What of a model outlives this process. pace: of its name (silences.py)."""
    drift, performance, quality = (
        part.to_state() if part is not None else b""
        for part in (model.detectors, model.performance, model.quality)
    )
    profile = model.profile.hash if model.profile is not None else ""
    return Saved(model.model, model.version, profile, drift, performance, quality, pace)
