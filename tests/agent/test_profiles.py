"""The profiles that a configuration names."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemon.agent.profiles import load_profiles
from edgemon.config import parse
from edgemon.drift.detector import ModelDetectors
from edgemon.errors import ConfigError
from tests.drift.data import normal, profile_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    profile = profile_of(output=normal(1, 2_000))
    (tmp_path / "p").write_bytes(profile.to_bytes())
    return tmp_path


def faults(text: str, folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_profiles(parse(text, str(folder / "e.toml")))
    return [f"{fault.key}: {fault.problem}" for fault in caught.value.faults]


def test_models_that_share_a_profile_may_have_windows_of_their_own(folder: Path) -> None:
    text = "[models.a]\nprofile = 'p'\ndrift = { window = 100 }\n[models.b]\nprofile = 'p'\n"
    config = parse(text, str(folder / "e.toml"))
    (profile,) = load_profiles(config).values()
    for name, window in (("a", 100), ("b", 1_000)):
        (detector,) = ModelDetectors(profile, config.model(name).drift)
        assert detector.window == window


def test_each_models_own_settings_are_judged(folder: Path) -> None:
    text = (
        "[models.a]\nprofile = 'p'\ndrift = { window = 2500 }\n"
        "[models.b]\nprofile = 'p'\n"
        "[models.c]\nprofile = 'p'\ndrift = { enabled = false, window = 2500 }\n"
    )
    (fault,) = faults(text, folder)
    assert fault.startswith("models.a.profile: output: the reference is smaller than the window")


def test_a_reference_to_be_made_here_is_judged_before_it_is_made(folder: Path) -> None:
    text = (
        "[models.a]\nreference = { first = 100 }\n"
        "drift = { window = 20, false_alarms = { at_most = 0.001, per = '365d' } }\n"
    )
    (fault,) = faults(text, folder)
    assert fault.startswith("models.a.reference: a window of 20 against a reference of 100 could")
    assert "what would do: " in fault
    fine = "[models.a]\nreference = { first = 1000 }\ndrift = { window = 100 }\n"
    assert load_profiles(parse(fine, str(folder / "e.toml"))) == {}
