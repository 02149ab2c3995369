"""[plugins.NAME]: what is refused, word for word, and who may have written a program."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from pathlib import Path

import pytest

from edgemon.cli import main
from edgemon.config import load_file, parse, reload, reload_with
from edgemon.config.remembered import Overlay
from edgemon.config.trust import distrust
from edgemon.errors import ConfigError
from tests.config.faults import faults

SOIL = "[plugins.soil]\ncommand = ['/bin/true']\n"


def test_a_plugin_has_the_interval_of_the_device_unless_it_says_another() -> None:
    config = parse(
        f"[system]\ninterval = '7s'\n{SOIL}[plugins.air]\ncommand = ['/bin/true']\ninterval = '1m'"
    )
    assert {name: plugin.interval_s for name, plugin in config.plugins.items()} == {
        "air": 60.0,
        "soil": 7.0,
    }
    assert config.plugins["soil"].memory_bytes == 256 << 20


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[plugins.Soil]\ncommand = ['/bin/true']",
         "1: plugins.Soil: a plugin's name must be 1 to 32 of the characters a-z 0-9 _, a letter first"),
        ("[plugins.cpu]\ncommand = ['/bin/true']",
         "1: plugins.cpu: is the name of a collector of edgemon's own; choose another"),
        ("[plugins.soil]\nkind = 'collector'", "1: plugins.soil.entry_point: needs one of command and entry_point"),
        (f"{SOIL}entry_point = 'soil'",
         "3: plugins.soil.entry_point: needs one of command and entry_point, not both"),
        (f"{SOIL}kind = 'sink'", '3: plugins.soil.kind: kind "sink" needs ship.sink = "plugin"'),
        ("[ship]\nsink = 'plugin'", '2: ship.sink: needs a table [plugins.NAME] with kind = "sink"'),
        (f"[ship]\nsink = 'plugin'\n{SOIL}kind = 'sink'\n[plugins.tin]\ncommand = ['/bin/true']\nkind = 'sink'",
         "8: plugins.tin.kind: there is another sink, soil: batches go to one"),
        (f"[system]\nenabled = false\n{SOIL}",
         "2: system.enabled: a collector needs system.enabled = true"),
        ("[plugins.soil]\ncommand = ['soil']",
         '2: plugins.soil.command: has the program "soil", must be a list of at most 64 texts, an absolute path'),
        (f"{SOIL}options = {{ at = 07:30:00 }}",
         "3: plugins.soil.options: has 07:30:00, must be a table of texts, finite numbers, true and false, lists "
         "and tables, at most 16 KiB"),
        (f"{SOIL}options = {{ deep = [1, inf] }}", "3: plugins.soil.options: has inf, must be a table of"),
        (f"{SOIL}options = {{ a = '{'x' * 17_000}' }}", "3: plugins.soil.options: is too long, must be a table of"),
        (f"{SOIL}comand = ['/bin/true']", '3: plugins.soil.comand: unknown key; did you mean "command"?'),
        ("[plugin.soil]\ncommand = ['/bin/true']", "1: plugin: unknown section; did you mean [plugins]?"),
        ("[[plugins]]\nname = 'soil'", "1: plugins: must be one table, [plugins], not [[plugins]]"),
        ("".join(f"[plugins.p{n}]\ncommand = ['/bin/true']\n" for n in range(17)),
         "1: plugins: 17 plugins, at most 16"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(text: str, line: str) -> None:
    (fault,) = faults(text)
    assert fault.startswith(f"e.toml:{line}")


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("/bin/nonesuch", '"/bin/nonesuch": no such file or directory'),
        ("/etc/passwd", '"/etc/passwd" cannot be run: chmod +x'),
        ("/usr/bin", '"/usr/bin" is not a file'),
    ],
)
def test_a_program_that_cannot_be_run_is_a_fault_for_check_and_none_for_a_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], program: str, problem: str
) -> None:
    file = tmp_path / "edgemon.toml"
    file.write_text(f"[plugins.soil]\ncommand = ['{program}']\n")
    assert load_file(str(file)).plugins["soil"].command == [program]
    assert main(["check", "--config", str(file)]) == 3
    assert f"{file}:2: plugins.soil.command: {problem}" in capsys.readouterr().err


def test_the_single_binary_takes_programs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert faults("[plugins.a]\nentry_point = 'soil'") == [
        "e.toml:2: plugins.a.entry_point: Python plugins need edgemon installed as a Python package; "
        "this is the single binary"
    ]
    assert faults(SOIL) == []


def test_a_reload_may_change_plugins(tmp_path: Path) -> None:
    file = tmp_path / "edgemon.toml"
    file.write_text(SOIL)
    config = parse(SOIL, str(file))
    file.write_text(SOIL + "interval = '3s'")
    assert reload(config).plugins["soil"].interval_s == 3.0
    assert reload(config).hash != config.hash


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[plugins.evil]\ncommand = ['/bin/sh']", "plugins.evil.command"),
        ("[plugins.soil]\noptions = { file = '/etc/shadow' }", "plugins.soil.options.file"),
        ("[ship]\nsink = 'plugin'", "ship.sink"),
    ],
)
def test_none_can_be_configured_from_afar(tmp_path: Path, text: str, key: str) -> None:
    file = tmp_path / "edgemon.toml"
    remote = "[remote]\nenabled = true\nkey_file = 'key'\nallow = ['*', 'ship.*']\n"
    file.write_text(f"[agent]\ndevice = 'd'\nfleet = 'f'\n{remote}{SOIL}")
    config = load_file(str(file))
    with pytest.raises(ConfigError) as caught:
        reload_with(config, Overlay(2, "d", "f", text))
    refused = {fault.key for fault in caught.value.faults if "from afar" in fault.problem}
    assert refused == {key}


class TestTrust:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        folder = tmp_path / "plugins"
        folder.mkdir(mode=0o755)
        path = folder / "soil"
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return path

    def test_a_program_of_our_own_is_trusted(self, path: Path) -> None:
        assert distrust(str(path)) == ""

    def test_one_that_everybody_may_write_is_not(self, path: Path) -> None:
        path.chmod(0o757)
        assert distrust(str(path)) == f'everybody may write "{path}": chmod o-w'

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file to a group")
    @pytest.mark.parametrize("what", ["file", "folder"])
    def test_what_another_group_may_write_is_not(self, path: Path, what: str) -> None:
        theirs = path if what == "file" else path.parent
        os.chown(theirs, -1, 4242)
        theirs.chmod(0o755)
        assert distrust(str(path)) == ""
        theirs.chmod(0o775)
        assert distrust(str(path)) == f'group 4242 may write "{theirs}": chmod g-w'
        if what == "folder":
            theirs.chmod(0o1775)
            assert distrust(str(path)) == ""

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
    def test_root_checks_for_the_user_that_the_service_runs_as(
        self, short_tmp: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """`sudo edgemon check` tells what the service will find, not what root would."""
        nobody = pwd.getpwnam("nobody")
        short_tmp.chmod(0o755)
        state, path, file = (short_tmp / name for name in ("state", "soil", "edgemon.toml"))
        state.mkdir()
        path.write_text("#!/bin/sh\n")
        file.write_text(
            f'[agent]\nstate_dir = "{state}"\nrun_dir = "{state}"\n'
            f'[plugins.soil]\nkind = "collector"\ncommand = ["{path}"]\n'
        )
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
        path.chmod(0o775)
        refused = ConfigError.exit_code
        for owner, code in ((nobody.pw_uid, 0), (0, refused)):
            os.chown(state, owner, -1)
            assert main(["check", "--config", str(file)]) == code
        said = capsys.readouterr().err
        assert f"belongs to user {nobody.pw_uid}, must belong to root" in said
        os.chown(state, nobody.pw_uid, -1)
        os.chown(path, 0, 0)
        for mode, code in ((0o755, 0), (0o700, refused)):
            path.chmod(mode)
            assert main(["check", "--config", str(file)]) == code
        assert f'user {nobody.pw_uid} may not run or enter "{path}"' in capsys.readouterr().err

    def test_what_the_group_of_ones_own_may_write_is(self, path: Path) -> None:
        """As with umask 002, where each user has a group of his own."""
        for one in (path, path.parent):
            os.chown(one, -1, os.getegid())
            one.chmod(0o775)
        assert distrust(str(path)) == ""

    def test_one_in_a_folder_that_everybody_may_write_is_not(self, path: Path) -> None:
        path.parent.chmod(0o777)
        assert distrust(str(path)) == f'everybody may write "{path.parent}": chmod o-w'
        path.parent.chmod(0o1777)  # as /tmp: only owners remove
        assert distrust(str(path)) == ""

    def test_a_link_is_judged_by_both_ends(self, path: Path, tmp_path: Path) -> None:
        folder = tmp_path / "links"
        folder.mkdir(mode=0o755)
        (folder / "soil").symlink_to(path)
        assert distrust(str(folder / "soil")) == ""
        folder.chmod(0o777)
        assert "links" in distrust(str(folder / "soil"))
        folder.chmod(0o755)
        path.chmod(0o757)
        assert "plugins/soil" in distrust(str(folder / "soil"))

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
    @pytest.mark.parametrize("what", ["file", "folder"])
    def test_what_belongs_to_another_user_is_not(self, path: Path, what: str) -> None:
        theirs = path if what == "file" else path.parent
        os.chown(theirs, 4242, -1)
        assert distrust(str(path)).startswith(
            f'"{theirs}" belongs to user 4242, must belong to root'
        )


def test_every_folder_that_a_chain_of_links_goes_through_counts(tmp_path: Path) -> None:
    for name in ("program", "between", "configured"):
        (tmp_path / name).mkdir(mode=0o755)
    program = tmp_path / "program" / "it"
    shutil.copy("/bin/true", program)
    (tmp_path / "between" / "it").symlink_to("../program/it")
    configured = tmp_path / "configured" / "it"
    configured.symlink_to(tmp_path / "between" / "it")
    assert distrust(str(configured)) == ""
    (tmp_path / "between").chmod(0o777)
    assert distrust(str(configured)) == f'everybody may write "{tmp_path}/between": chmod o-w'
    (tmp_path / "between").chmod(0o1777)  # nobody can replace another's link there
    assert distrust(str(configured)) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a link away")
def test_a_link_of_another_user_is_not_followed_whatever_it_points_at(tmp_path: Path) -> None:
    link = tmp_path / "it"
    link.symlink_to("/bin/true")
    os.chown(link, 4242, -1, follow_symlinks=False)
    assert distrust(str(link)).startswith(f'"{link}" belongs to user 4242')
