"""From TOML to settings: defaults, what follows from what, folders, models, the hash, where it is sought."""

from __future__ import annotations

from pathlib import Path
from typing import get_origin, get_type_hints

import pytest

from edgemon.config import Capture, FalseAlarms, find_config, load, parse
from edgemon.config.device import device_name
from edgemon.config.schema import COLLECTORS, SECTIONS
from edgemon.config.settings import Config
from edgemon.errors import ConfigError


def test_an_empty_file_is_a_configuration() -> None:
    config = parse("")
    assert config.agent.fleet == "default"
    assert config.agent.drain_timeout_s == 5.0
    assert config.ingest.mode == 0o660
    assert config.ingest.max_frame_bytes == 65536
    assert config.system.collectors == list(COLLECTORS)
    assert config.system.anomalies.enabled
    assert config.models["*"].capture == Capture("sample", 0.01)
    assert config.drift.false_alarms == FalseAlarms(0.01, 1_000_000)
    assert config.batch.max_bytes == 112 * 1024
    assert config.spool.max_size_bytes == 64 << 20
    assert config.ship.sink == "mqtt"
    assert config.mqtt.port == 1883


def test_every_key_has_a_field_and_every_field_a_key() -> None:
    for section in SECTIONS:
        fields = tuple(get_type_hints(section.settings))
        assert tuple(key.field for key in section.keys) == fields
    # Around them: where it is from, its hash, and what of it came from afar.
    assert (*(section.name for section in SECTIONS), "plugins") == Config._fields[2:-1]


def test_every_default_is_legal_and_has_the_type_that_its_field_promises() -> None:
    for section in SECTIONS:
        hints = get_type_hints(section.settings)
        for key in section.keys:
            promised = get_origin(hints[key.field]) or hints[key.field]
            assert type(key.kind.parse(key.default)) is promised, f"{section.name}.{key.name}"


def test_what_is_given_replaces_the_default() -> None:
    config = parse(
        "[spool]\nmax_size = '8MiB'\nsync = 'always'\n[batch]\nmax_age = '5m'\n"
        "[drift]\nmin_effect = 0\nfalse_alarms = { per_predictions = 5000, at_most = 0.5 }\n"
        "[ingest]\nmode = '660'\nallow_uids = [0, 1000]\nmax_rate = 5\n"
    )
    assert (config.spool.max_size_bytes, config.spool.sync) == (8 << 20, "always")
    assert config.batch.max_age_s == 300.0
    assert config.drift.false_alarms == FalseAlarms(0.5, 5000)
    assert isinstance(config.drift.min_effect, float)
    assert (config.ingest.mode, config.ingest.allow_uids) == (0o660, [0, 1000])
    assert config.ingest.max_rate == 5.0


# --- what follows from other settings --------------------------------------------------------


def test_paths_that_are_not_given_follow_the_two_folders() -> None:
    config = parse("[agent]\nstate_dir = '/s/'\nrun_dir = '/r'\ndevice = 'd'\n")
    assert config.agent.state_dir == "/s"
    assert config.ingest.socket == "/r/ingest.sock"
    assert config.spool.dir == "/s/spool"
    assert config.ship.folder == "/s/outbox"
    assert config.mqtt.client_id == "edgemon-d"


def test_a_relative_path_begins_at_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    config = parse(
        "[agent]\nstate_dir = 'state'\nrun_dir = '../run'\n[ship]\nfolder = '~/out'\n",
        str(tmp_path / "sub" / "e.toml"),
    )
    assert config.agent.state_dir == f"{tmp_path}/sub/state"
    assert config.agent.run_dir == f"{tmp_path}/run"
    assert config.spool.dir == f"{tmp_path}/sub/state/spool"
    assert config.ship.folder == "/home/ada/out"


def test_a_file_named_relative_to_the_working_folder_means_that_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("e.toml").write_text("[agent]\nstate_dir = 'state'\n")
    config = load("e.toml")
    assert (config.file, config.agent.state_dir) == ("e.toml", f"{tmp_path}/state")


@pytest.mark.parametrize(
    ("text", "port"), [("", 1883), ("tls = true", 8883), ("tls = true\nport = 1883", 1883)]
)
def test_the_port_follows_tls_unless_it_is_given(text: str, port: int) -> None:
    assert parse(f"[mqtt]\n{text}").mqtt.port == port


# --- models ----------------------------------------------------------------------------------


def test_a_model_takes_what_it_leaves_out_from_the_table_for_all() -> None:
    config = parse(
        "[models.fraud]\ncapture = 'all'\n[models.\"*\"]\nwindow = '10s'\ncapture = 'none'\n"
    )
    assert config.model("fraud").capture == Capture("all", 1.0)
    assert config.model("fraud").window_s == 10.0
    assert config.model("other").capture == Capture("none", 0.0)
    assert config.model("other") is config.models["*"]
    assert config.model("*") is config.models["*"]


def test_a_model_may_have_the_name_of_a_key() -> None:
    assert parse("[models.window]\nwindow = '10s'").model("window").window_s == 10.0


# --- the device's name -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("pi", "pi"),
        ("pi.example.org", "pi"),
        ("Küche 1", "K-che-1"),
        ("", "device"),
        ("...", "device"),
        ("h" * 64, "h" * 57),
    ],
)
def test_a_device_has_a_legal_name_of_its_own(host: str, name: str, tmp_path: Path) -> None:
    identity = tmp_path / "machine-id"
    identity.write_text("0123456789abcdef0123456789abcdef\n")
    auto = device_name(host, [str(tmp_path / "none"), str(identity)])
    assert auto[:-7] == name
    assert parse(f"[agent]\ndevice = '{auto}'").agent.device == auto
    assert "012345" not in auto, "the machine's id itself is not to be told to others"


def test_two_machines_of_one_image_have_different_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a" * 32)
    (tmp_path / "b").write_text("b" * 32)
    assert device_name("pi", [str(tmp_path / "a")]) != device_name("pi", [str(tmp_path / "b")])
    assert device_name("pi", [str(tmp_path / "a")]) == device_name("pi", [str(tmp_path / "a")])


@pytest.mark.parametrize("content", ["", "\n", "uninitialized\n"])
def test_an_id_that_says_nothing_is_not_used(content: str, tmp_path: Path) -> None:
    (tmp_path / "machine-id").write_text(content)
    assert device_name("box", [str(tmp_path / "machine-id")]) == "box"


def test_the_name_auto_is_resolved() -> None:
    assert parse("").agent.device == device_name()
    assert parse("").agent.device != "auto"


# --- the hash --------------------------------------------------------------------------------


def test_equal_settings_have_an_equal_hash_whatever_the_text() -> None:
    one = parse("[batch]\nmax_age = '60s'\n[models.b]\n[models.a]\nwindow = '2m'", "/x/1.toml")
    two = parse("models.a = {window = '120s'} # x\nmodels.b = {}", "/x/2.toml")
    assert one.hash == two.hash
    assert len(one.hash) == 16
    assert int(one.hash, 16) >= 0


@pytest.mark.parametrize(
    "text",
    [
        "[batch]\nmax_age = '61s'",
        "[models.a]",
        "[models.'*']\ncapture = 'all'",
        "[ingest]\nallow_uids = [1]",
    ],
)
def test_another_setting_has_another_hash(text: str) -> None:
    assert parse(text).hash != parse("").hash


# --- where it is sought ----------------------------------------------------------------------


def test_the_option_wins_then_the_environment_then_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edgemon.config.loader.SEARCHED", ("edgemon.toml", f"{tmp_path}/etc.toml"))
    monkeypatch.delenv("EDGEMON_CONFIG", raising=False)
    with pytest.raises(ConfigError) as caught:
        find_config(None)
    assert str(caught.value) == (
        f"edgemon.toml: no such file, nor {tmp_path}/etc.toml; write one with: edgemon init"
    )
    Path("etc.toml").touch()
    assert find_config(None) == f"{tmp_path}/etc.toml"
    Path("edgemon.toml").touch()
    assert find_config(None) == "edgemon.toml"
    monkeypatch.setenv("EDGEMON_CONFIG", "/no/such/env.toml")
    assert find_config(None) == "/no/such/env.toml"
    assert find_config("mine.toml") == "mine.toml"


def test_a_models_drift_settings_start_from_those_for_all() -> None:
    config = parse(
        "[drift]\nwindow = 500\nmin_effect = 0.1\n"
        '[models."*"]\ndrift = { clear_ratio = 0.5 }\n'
        '[models.a]\ndrift = { window = 200, false_alarms = { at_most = 0.1, per = "30d" } }\n'
    )
    assert config.drift.window == 500
    assert (config.model("b").drift.window, config.model("b").drift.clear_ratio) == (500, 0.5)
    own = config.model("a").drift
    assert (own.window, own.min_effect, own.clear_ratio) == (200, 0.1, 0.5)
    assert own.false_alarms == FalseAlarms(0.1, 0, 30 * 86_400.0)


def test_a_model_of_its_own_chooses_between_profile_and_reference(tmp_path: Path) -> None:
    (tmp_path / "p").touch()
    text = "[models.'*']\n{}\n[models.a]\n{}\n"
    file = str(tmp_path / "e.toml")
    first = parse(text.format("profile = 'p'", "reference = { first = 5000 }"), file)
    assert (first.model("a").profile, first.model("a").reference.first) == ("", 5000)
    second = parse(text.format("reference = { first = 5000 }", "profile = 'p'"), file)
    assert (second.model("a").profile, second.model("a").reference.first) == (
        str(tmp_path / "p"),
        0,
    )
    assert second.model("b").reference.first == 5000
