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


def test_a_reload_keeps_a_profile_that_is_the_same_and_reads_one_that_is_not(folder: Path) -> None:
    """Made anew beside the old one, four profiles cost the agent 7 MB at its first reloads, for ever."""
    config = parse("[models.a]\nprofile = 'p'\n", str(folder / "e.toml"))
    before = load_profiles(config)
    path = str(folder / "p")
    assert load_profiles(config, before)[path] is before[path]
    wider = parse("[models.a]\nprofile = 'p'\ndrift = { window = 200 }\n", str(folder / "e.toml"))
    (profile,) = load_profiles(wider, before).values()
    assert [one.window for one in ModelDetectors(profile, wider.model("a").drift)] == [200]
    changed = profile_of(output=normal(2, 2_000))
    (folder / "p").write_bytes(changed.to_bytes())
    assert load_profiles(config, before)[path].hash == changed.hash
    (folder / "p").write_bytes(changed.to_bytes()[:-5])
    with pytest.raises(ConfigError):
        load_profiles(config, before)
    (folder / "p").write_bytes(before_bytes := profile_of(output=normal(1, 2_000)).to_bytes())
    assert load_profiles(config, before)[path] is before[path]
    (folder / "p").write_bytes(before_bytes[:-5])  # its header says that it is the same
    with pytest.raises(ConfigError):
        load_profiles(config, before)
