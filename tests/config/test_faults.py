"""Faults of names, of keys that must agree and of the file, word for word; values are in test_value_faults.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemon.config import fault_at, load, parse
from edgemon.config.keys import ONE
from edgemon.config.schema import SECTIONS
from edgemon.errors import ConfigError
from tests.config.faults import faults

# --- unknown names ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[batch]\nmax_row = 5", '2: batch.max_row: unknown key; did you mean "max_rows"?'),
        ("[batch]\nMax_Rows = 5", '2: batch.Max_Rows: unknown key; did you mean "max_rows"?'),
        ("[batch]\nmax_age_s = 5", '2: batch.max_age_s: unknown key; did you mean "max_age"?'),
        (
            "[agent]\nkeepalive = 5",
            '2: agent.keepalive: unknown key; did you mean "mqtt.keepalive"?',
        ),
        ("[log]\nzzzz = 5", "2: log.zzzz: unknown key"),
        ("[mqtt]\npassword = 'x'", '2: mqtt.password: unknown key; did you mean "password_file"?'),
        ('[log]\n"a b" = 5', '2: log."a b": unknown key'),
        ("[mqqt]\nhost = 'x'", "1: mqqt: unknown section; did you mean [mqtt]?"),
        ("\n[zzzz]", "2: zzzz: unknown section"),
        (
            "device = 'x'",
            '1: device: unknown key outside any section; did you mean "agent.device"?',
        ),
        (
            "drain_timeout = '1s'",
            "1: drain_timeout: unknown key outside any section; "
            'did you mean "agent.drain_timeout" or "ship.drain_timeout"?',
        ),
        ("zzzz = 1", "1: zzzz: unknown key outside any section"),
        (
            "[models.fraud]\nprofle = 'x'",
            '2: models.fraud.profle: unknown key; did you mean "profile"?',
        ),
        (
            '[models."*"]\ncaptur = "all"',
            '2: models."*".captur: unknown key; did you mean "capture"?',
        ),
        (
            "[models]\nwindow = '30s'",
            '2: models.window: must stand in the table of a model, or in [models."*"] for all',
        ),
    ],
)
def test_an_unknown_name_is_a_fault_with_the_nearest_known_one(text: str, line: str) -> None:
    assert faults(text) == [f"e.toml:{line}"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("mqtt = 'localhost'", '1: mqtt: is "localhost", must be a table: [mqtt]'),
        ("[[mqtt]]\nhost = 'x'", "1: mqtt: must be one table, [mqtt], not [[mqtt]]"),
        ("models = 3", "1: models: is 3, must be a table: [models]"),
        ("[models]\nfraud = 3", "2: models.fraud: is 3, must be a table: [models.fraud]"),
        ('models."*" = 3', '1: models."*": is 3, must be a table: [models."*"]'),
        (
            '[models.""]',
            '1: models."": a model\'s name must have 1 to 128 characters, '
            "none of them a control character",
        ),
    ],
)
def test_what_is_not_a_table_is_a_fault(text: str, line: str) -> None:
    assert faults(text) == [f"e.toml:{line}"]


# --- keys that must agree --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[spool]\nmax_size = '1MiB'",
            "2: spool.max_size: spool.max_size (1MiB) must be at least four times "
            "spool.segment_size (1MiB), 4MiB",
        ),
        (
            "[spool]\nsegment_size = '32MiB'",
            "2: spool.segment_size: spool.max_size (64MiB) must be at least four times "
            "spool.segment_size (32MiB), 128MiB",
        ),
        (
            "[batch]\nmax_bytes = '1MiB'",
            "2: batch.max_bytes: spool.segment_size (1MiB) must be at least twice "
            "batch.max_bytes (1MiB)",
        ),
        (
            "[ingest]\nmax_frame_bytes = '1KiB'",
            "2: ingest.max_frame_bytes: max_string_bytes (4KiB) must be at most "
            "max_frame_bytes (1KiB)",
        ),
        (
            "[ingest]\nmax_models = 1\n[models.a]\n[models.b]",
            "2: ingest.max_models: is 1, must be at least 2, the number of models in this file",
        ),
        (
            "[ingest]\ngroup = 'no-such-group'",
            '2: ingest.group: this machine has no group "no-such-group"',
        ),
        (
            "[agent]\nrun_dir = '/r'\n[ingest]\nsocket = '/r/agent.sock'",
            "4: ingest.socket: must not be agent.sock in agent.run_dir, which is for "
            '"edgemon status"',
        ),
        (
            "[agent]\nrun_dir = '/r'\n[ingest]\ndgram = '/r/ship.sock'",
            "4: ingest.dgram: must not be ship.sock in agent.run_dir, which is for "
            '"edgemon status"',
        ),
        (
            "[agent]\nrun_dir = '/r'\n[ingest]\ndgram = '/r/ingest.sock'",
            "4: ingest.dgram: must not be ingest.socket: one file is one socket",
        ),
        (
            "[ship]\nmax_interval = '1s'\ninitial_interval = '2s'",
            "2: ship.max_interval: max_interval (1s) must be at least initial_interval (2s)",
        ),
        (
            "[ship]\nsink = 'none'\nconfirm = 'receiver'",
            '3: ship.confirm: confirm = "receiver" is for ship.sink = "mqtt": what sink "none" '
            "acknowledges is stored",
        ),
        (
            "[ship]\nmode = 'burst'\non_alarm = false",
            '2: ship.mode: mode = "burst" needs ship.every, ship.at or ship.on_alarm, or nothing '
            "would ever leave",
        ),
        (
            "[ship]\nsink = 'file'\nmonthly_limit = '1MiB'",
            '3: ship.monthly_limit: is for ship.sink = "mqtt": the bytes of sink "file" are not '
            "counted",
        ),
        ("[ship]\nat = ['02:00']", '2: ship.at: needs ship.mode = "burst"'),
        (
            "[ship]\nsink = 'file'\nfolder = '/s/spool/out'\n[spool]\ndir = '/s/spool'",
            "3: ship.folder: ship.folder (/s/spool/out) and spool.dir (/s/spool) "
            "must not lie within each other",
        ),
        (
            "[ship]\nsink = 'file'\nfolder_max_bytes = '1MiB'\n[batch]\nmax_bytes = '2MiB'\n"
            "[spool]\nsegment_size = '4MiB'",
            "3: ship.folder_max_bytes: ship.folder_max_bytes (1MiB) must be at least "
            "batch.max_bytes (2MiB)",
        ),
        ("[mqtt]\nca_file = '/dev/null'", "2: mqtt.ca_file: needs mqtt.tls = true"),
        (
            "[mqtt]\ntls = true\ncert_file = '/dev/null'",
            "3: mqtt.cert_file: needs mqtt.key_file beside it",
        ),
        (
            "[mqtt]\ntls = true\nkey_file = '/dev/null'",
            "3: mqtt.key_file: needs mqtt.cert_file beside it",
        ),
        ("[mqtt]\npassword_file = '/dev/null'", "2: mqtt.password_file: needs mqtt.username"),
        (
            '[models."*"]\nversion_ttl = "10s"\n[models.a]',
            '2: models."*".version_ttl: version_ttl (10s) must be at least window (1m), '
            "or windows would be cut short",
        ),
        (
            '[models."*"]\nversion_ttl = "2m"\n[models.a]\nwindow = "3m"',
            "4: models.a.window: version_ttl (2m) must be at least window (3m), "
            "or windows would be cut short",
        ),
    ],
)
def test_keys_that_do_not_agree_are_one_fault(text: str, line: str) -> None:
    assert faults(text) == [f"e.toml:{line}"]


def test_a_wrong_value_is_not_blamed_again_for_disagreeing() -> None:
    assert faults("[spool]\nmax_size = 'x'\nsegment_size = '32MiB'") == [
        'e.toml:2: spool.max_size: is "x", must be a size from "64KiB" to "1TiB"'
    ]


# --- all at once -----------------------------------------------------------------------------


def test_all_faults_come_at_once_in_the_order_of_the_file() -> None:
    text = """\
[log]
level = "loud"

[batch]
max_rows = 0
max_rws = 5

[nonsense]

[agent]
fleet = "a b"
[spool]
max_size = "1MiB"
[models.a]
window = 30
"""
    assert faults(text) == [
        'e.toml:2: log.level: is "loud", must be "debug", "info", "warning" or "error"',
        "e.toml:5: batch.max_rows: is 0, must be a whole number from 1 to 100000",
        'e.toml:6: batch.max_rws: unknown key; did you mean "max_rows"?',
        "e.toml:8: nonsense: unknown section",
        'e.toml:11: agent.fleet: is "a b", must be 1 to 64 of the characters A-Z a-z 0-9 . _ -',
        "e.toml:13: spool.max_size: spool.max_size (1MiB) must be at least four times "
        "spool.segment_size (1MiB), 4MiB",
        'e.toml:15: models.a.window: is 30, must be a duration from "1s" to "1d"; '
        'did you mean "30s"?',
    ]


ALL_KEYS = [(s.name, key.name) for s in SECTIONS if s.form == ONE for key in s.keys]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(ALL_KEYS), unique=True, min_size=1, max_size=8), st.data())
def test_each_misspelt_key_is_one_fault_in_its_own_line(
    keys: list[tuple[str, str]], data: st.DataObject
) -> None:
    text, expected = "", []
    for section, name in keys:
        at = data.draw(st.integers(0, len(name)))
        misspelt = name[:at] + "q" + name[at:]
        header = 'models."*"' if section == "models" else section
        if f"[{header}]\n" not in text:
            text += f"[{header}]\n"
            table = header
        else:
            continue
        text += f"{misspelt} = 1\n"
        expected.append((text.count("\n"), f"{table}.{misspelt}"))
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert [(fault.line, fault.key) for fault in caught.value.faults] == expected
    assert all("did you mean" in fault.problem for fault in caught.value.faults)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 10**7)
    | st.floats()
    | st.sampled_from(
        [
            "",
            "auto",
            "10s",
            "64MiB",
            "all",
            "none",
            "mqtt",
            "file",
            "x\x00y",
            "/tmp",
            "0660",
            "~",
            "é",
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["sample", "at_most", "per", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ALL_KEYS), values), unique_by=lambda pair: pair[0]))
def test_any_values_are_a_configuration_or_a_list_of_faults(
    pairs: list[tuple[tuple[str, str], object]],
) -> None:
    from edgemon.config.toml import literal

    def strip(value: object) -> object:  # TOML has no null
        if isinstance(value, dict):
            return {name: strip(item) for name, item in value.items() if item is not None}
        if isinstance(value, list):
            return [strip(item) for item in value if item is not None]
        return value

    text = ""
    for (section, name), value in pairs:
        if value is not None:
            middle = 'models."*"' if section == "models" else section
            text += f"{middle}.{name} = {literal(strip(value))}\n"
    try:
        parse(text)
    except ConfigError as error:
        assert error.faults
        for fault in error.faults:
            assert 1 <= fault.line <= text.count("\n")
            assert fault.key
            assert "\n" not in str(fault)


# --- the file itself -------------------------------------------------------------------------


def problem_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(str(path))
    return str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    path = tmp_path / "no.toml"
    assert problem_of(path) == f"{path}: no such file; write one with: edgemon init --out {path}"


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    assert problem_of(tmp_path) == f"{tmp_path}: is a folder, must be a file"


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.symlink_to(path)
    assert problem_of(path) == f"{path}: cannot be read: too many levels of symbolic links"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_forbidden_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.touch(0o000)
    assert problem_of(path) == f"{path}: cannot be read: permission denied"


def test_bytes_that_are_not_utf8_are_shown_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_bytes(b'[agent]\nfleet = "caf\xe9"\n')
    assert problem_of(path) == (
        f"{path}:2: column 13: the byte 0xe9 is not UTF-8; save the file as UTF-8"
    )


def test_a_file_that_is_far_too_large_is_refused_without_reading_it_all(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert problem_of(path) == f"{path}: is larger than 1MiB: this is not a configuration"


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_bytes(b"\xef\xbb\xbf[agent]\r\nfleet = 'x'\r\n")
    assert load(str(path)).agent.fleet == "x"


def test_a_fault_found_later_has_the_line_of_its_key(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_text("[models.'a b']\nwindow = '5s'\n")
    config = load(str(path))
    assert str(fault_at(config, ("models", "a b", "window"), "no")) == (
        f'{path}:2: models."a b".window: no'
    )
    path.write_text("edited since, and broken")
    assert str(fault_at(config, ("models", "a b", "window"), "no")) == (
        f'{path}: models."a b".window: no'
    )
    path.unlink()
    assert fault_at(config, ("models",), "no").line == 0
