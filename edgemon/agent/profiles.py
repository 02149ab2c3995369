"""The profiles that a configuration names, loaded once each."""

from __future__ import annotations

from edgemon.config import Config, DriftSettings, ModelSettings
from edgemon.drift.budget import ASSUMED_RATE_PER_S, horizon, numeric_shares, stream_probability
from edgemon.drift.threshold import threshold
from edgemon.errors import ConfigError, EdgemonError, Fault
from edgemon.std.collections.abc import Mapping
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.drift.profile import Profile


def load_profiles(config: Config, known: Mapping[str, Profile] | None = None) -> dict[str, Profile]:
    """Path -> profile. ConfigError names every profile that cannot be read or with which drift would be blind.

    known: path -> profile of before; one that is unchanged is given back, not made anew beside it.
    """
    users: dict[str, list[tuple[str, ModelSettings]]] = {}
    for name, settings in config.models.items():
        if settings.profile:
            users.setdefault(settings.profile, []).append((name, settings))
    profiles: dict[str, Profile] = {}
    faults: list[Fault] = []
    if users:
        from edgemon.drift.detector import (  # memory that only who has a profile pays
            faults as blind_streams,
        )
        from edgemon.drift.profile import Profile
    for path, models in users.items():
        windows = {settings.drift.window for _, settings in models}
        # For one window the values need not be kept; models that differ share the whole profile.
        window = windows.pop() if len(windows) == 1 else 0
        try:
            with open(path, "rb") as file:
                data = file.read()
            profile = Profile.from_bytes(data, path, window, (known or {}).get(path))
            profiles[path] = profile
        except EdgemonError as error:
            faults.append(_fault(config, ("models", models[0][0], "profile"), str(error)))
            continue
        except OSError as error:
            problem = f"{path} cannot be read: {error.strerror}"
            faults.append(_fault(config, ("models", models[0][0], "profile"), problem))
            continue
        judged: set[DriftSettings] = set()
        for name, settings in models:
            if settings.drift.enabled and settings.drift not in judged:
                judged.add(settings.drift)
                try:
                    blind = "; ".join(blind_streams(profile, settings.drift))
                except EdgemonError as error:
                    blind = str(error)
                if blind:
                    faults.append(_fault(config, ("models", name, "profile"), blind))
    for name, settings in config.models.items():
        if settings.reference.first and settings.drift.enabled:
            try:
                _foresee(settings)
            except EdgemonError as error:
                faults.append(_fault(config, ("models", name, "reference"), str(error)))
    if faults:
        raise ConfigError(faults)
    return profiles


def _fault(config: Config, path: tuple[str, ...], problem: str) -> Fault:
    from edgemon.config import fault_at  # memory that only a fault needs

    return fault_at(config, path, problem)


def _foresee(settings: ModelSettings) -> None:
    """ThresholdError when a reference that is to be made here would be blind even for a single stream."""
    from edgemon.drift.profile import MAX_POINTS

    drift = settings.drift
    m = min(settings.reference.first, MAX_POINTS)
    if m > drift.window:
        m -= m % drift.window
    share = numeric_shares(stream_probability(drift.false_alarms.at_most, 1), 1.0).ks
    threshold(m, drift.window, horizon(drift.false_alarms, ASSUMED_RATE_PER_S), share)
