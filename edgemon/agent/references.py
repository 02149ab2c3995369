"""References that are made on the device: of a model's own predictions, or adopted by a person while it runs."""

from __future__ import annotations

from edgemon.agent.models import Model
from edgemon.agent.store import StateStore
from edgemon.drift.threshold import ThresholdError
from edgemon.errors import UsageError
from edgemon.records import Event
from edgemon.std.collections.abc import Callable
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.agent.pipeline import Pipeline
    from edgemon.drift.detector import ModelDetectors
    from edgemon.drift.profile import Profile

# A profile made here is written fast; its hash does not depend on it.
_PROFILE_LEVEL = 3


class References:
    """Gives models of the pipeline another profile. store: where it is kept; None: nowhere."""

    def __init__(
        self,
        pipeline: Pipeline,
        store: StateStore | None,
        emit_event: Callable[[Event, int], None],
    ) -> None:
        self._pipeline = pipeline
        self._store = store
        self._emit_event = emit_event

    def adopt(self, name: str, version: str | None, predictions: int) -> Model:
        """Make a new reference from the next `predictions` of a model; what it has now watches meanwhile."""
        model = self._pipeline.find(name, version)
        window = model.settings.drift.window
        if predictions < window:
            raise UsageError(
                f"{predictions} predictions are fewer than a window of drift, {window}"
            )
        from edgemon.agent.baseline import Baseline  # memory that only who has a profile pays

        model.baseline = Baseline(name, predictions, adopts=True)
        return model

    def adopt_profile(
        self, name: str, version: str | None, data: bytes, source: str, mono_ns: int
    ) -> Model:
        """Take this profile for a model from now on. EdgemonError where it is damaged or would be blind."""
        from edgemon.drift.detector import ModelDetectors  # memory that only who has a profile pays
        from edgemon.drift.profile import Profile

        model = self._pipeline.find(name, version)
        drift = model.settings.drift
        profile = Profile.from_bytes(data, source, window=drift.window)
        detectors = ModelDetectors(profile, drift) if drift.enabled else None
        if (
            detectors is not None and detectors.untested
        ):  # somebody is there who can give a better one
            blind = "; ".join(f"{stream}: {why}" for stream, why in detectors.untested.items())
            raise ThresholdError(blind)
        if self._store is not None:
            self._store.save_profile(model.model, model.version, model.configured, data)
        model.baseline = None
        self._take(model, profile, detectors, "adopted", mono_ns)
        return model

    def take_built(self, model: Model, built: Profile, mono_ns: int) -> None:
        """A profile was made from the model's own predictions."""
        from edgemon.drift.detector import ModelDetectors  # memory that only who has a profile pays
        from edgemon.drift.profile import Profile

        assert model.baseline is not None
        adopted, model.baseline = model.baseline.adopts, None
        drift = model.settings.drift
        if not built.features:
            self._refuse(model, "there was no value in it", mono_ns)
            return
        data = built.to_bytes(_PROFILE_LEVEL)
        # As after a restart: without the values that only the file needs.
        profile = Profile.from_bytes(data, window=drift.window)
        try:
            detectors = ModelDetectors(profile, drift) if drift.enabled else None
        except ThresholdError as error:
            self._refuse(model, str(error), mono_ns)
            return
        if self._store is not None:
            self._store.save_profile(model.model, model.version, model.configured, data)
        self._take(model, profile, detectors, "adopted" if adopted else "built", mono_ns)

    def _refuse(self, model: Model, why: str, mono_ns: int) -> None:
        message = f"the profile made of {model.model} was not taken: {why}"
        self._emit_event(
            Event("profile.refused", "warning", message, model.model, model.version), mono_ns
        )

    def _take(
        self,
        model: Model,
        profile: Profile,
        detectors: ModelDetectors | None,
        what: str,
        mono_ns: int,
    ) -> None:
        was = model.profile.hash if model.profile is not None else ""
        self._pipeline.close_window(model, mono_ns)
        quality = self._pipeline.factory.quality(model.settings, profile, detectors)
        model.take_profile(profile, detectors, quality)
        if profile.labelled is not None:
            self._pipeline.truths.begin_anew(model)
        message = (
            f"drift of {model.model} is judged by a profile {what} from {profile.rows} predictions"
        )
        data: dict[str, object] = {
            "profile": profile.hash,
            "was": was,
            "rows": profile.rows,
            "streams": [feature.name for feature in profile.features],
            "prediction": model.predictions,
        }
        self._emit_event(
            Event(f"profile.{what}", "info", message, model.model, model.version, data=data),
            mono_ns,
        )
        for stream, why in detectors.untested.items() if detectors is not None else ():
            message = f"{stream} is not tested for drift: {why}"
            self._emit_event(
                Event(
                    "drift.blind",
                    "warning",
                    message,
                    model.model,
                    model.version,
                    stream,
                    {"stream": stream},
                ),
                mono_ns,
            )
