"""What a running edgemon takes on SIGHUP, and what it refuses as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemon.config import load, parse, reload, restart_keys
from edgemon.config.schema import SECTIONS
from edgemon.config.settings import Config
from edgemon.errors import ConfigError


@pytest.fixture
def running(tmp_path: Path) -> Config:
    file = tmp_path / "e.toml"
    file.write_text("[agent]\nstate_dir = '/s'\nrun_dir = '/r'\ndevice = 'd'\n")
    return load(str(file))


def rewrite(config: Config, text: str) -> None:
    Path(config.file).write_text(text)


def refused(config: Config) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        reload(config)
    return [str(fault).removeprefix(config.file) for fault in caught.value.faults]


def test_an_unchanged_file_gives_equal_settings(running: Config) -> None:
    assert reload(running) == running


def test_what_may_change_changes(running: Config) -> None:
    rewrite(running, Path(running.file).read_text() + "[models.a]\nwindow = '5s'\n")
    new = reload(running)
    assert new.model("a").window_s == 5.0
    assert new.hash != running.hash
    assert restart_keys(running, new) == []


def test_what_needs_a_restart_is_refused_with_its_line(running: Config) -> None:
    rewrite(
        running,
        "[spool]\ndir = '/elsewhere'\n[agent]\nstate_dir = '/s'\nrun_dir = '/r'\ndevice = 'e'\n",
    )
    assert refused(running) == [
        ':2: spool.dir: is "/elsewhere", cannot change from "/s/spool" while running, '
        "restart to apply",
        ':6: agent.device: is "e", cannot change from "d" while running, restart to apply',
    ]


def test_a_key_that_was_taken_away_is_told_at_its_section(running: Config) -> None:
    rewrite(running, "[batch]\n[agent]\nstate_dir = '/s'\ndevice = 'd'\n")
    assert refused(running) == [
        ':2: agent.run_dir: is "/run/edgemon", cannot change from "/r" while running, '
        "restart to apply"
    ]


def test_ordinary_faults_and_restarts_come_together(running: Config) -> None:
    rewrite(running, "[agent]\nstate_dir = '/s'\nrun_dir = 5\ndevice = 'e'\n[log]\nlevel = 'x'\n")
    faults = refused(running)
    assert [fault.split(":")[1:3] for fault in faults] == [
        ["3", " agent.run_dir"],
        ["4", " agent.device"],
        ["6", " log.level"],
    ]
    assert faults[0] == ":3: agent.run_dir: is 5, must be a path"


def test_a_file_that_is_gone_is_refused(running: Config) -> None:
    Path(running.file).unlink()
    with pytest.raises(ConfigError, match="no such file"):
        reload(running)


def test_a_folder_that_moves_is_told_once_and_not_for_all_that_lies_in_it() -> None:
    old = parse("[agent]\nstate_dir = '/s'\nrun_dir = '/r'")
    new = parse("[agent]\nstate_dir = '/t'\nrun_dir = '/q'")
    assert restart_keys(old, new) == ["agent.state_dir", "agent.run_dir"]


def test_a_path_of_its_own_is_told_beside_the_folder() -> None:
    old = parse("[agent]\nrun_dir = '/r'")
    new = parse("[agent]\nrun_dir = '/q'\n[ingest]\nsocket = '/q/other.sock'")
    assert restart_keys(old, new) == ["agent.run_dir", "ingest.socket"]


def test_keys_that_need_a_restart_are_exactly_those_that_the_schema_marks() -> None:
    """The list is spelled out: adding to it takes something away from people who reload."""
    marked = [f"{s.name}.{key.name}" for s in SECTIONS for key in s.keys if key.restart]
    assert marked == [
        "agent.device",
        "agent.fleet",
        "agent.state_dir",
        "agent.run_dir",
        "ingest.socket",
        "ingest.mode",
        "ingest.group",
        "ingest.dgram",
        "ingest.max_streams",
        "batch.level",
        "batch.layout",
        "batch.precision",
        "spool.dir",
        "spool.segment_size",
        "spool.max_size",
        "spool.sync",
        "spool.sync_interval",
        "spool.quarantine_size",
        "spool.when_full",
        "spool.max_age",
        "spool.reserve_free",
        "ship.mode",
        "metrics.listen",
        "metrics.mode",
        "remote.enabled",
    ]
