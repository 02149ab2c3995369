"""`edgemon plugin` and `edgemon check`, as a person calls them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgemon import wire
from tests.e2e.harness import EDGEMON
from tests.plugins.rig import EXAMPLES, program


def edgemon(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*EDGEMON, *words, "--config", str(folder / "edgemon.toml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "reading").write_text("41.5\n")
    for name in ("soil", "archive"):
        (tmp_path / name).write_bytes((EXAMPLES / name).read_bytes())
        (tmp_path / name).chmod(0o755)
    fails = program(tmp_path, "def answer(question): raise ValueError('pin 4')", "fails")
    chatty = program(tmp_path, "print('hello world')", "chatty")
    (tmp_path / "edgemon.toml").write_text(f"""
[ship]
sink = "plugin"
[plugins.soil]
command = ["{tmp_path}/soil"]
options = {{ file = "{tmp_path}/reading" }}
[plugins.fails]
command = ["{fails}"]
[plugins.chatty]
command = ["{chatty}"]
[plugins.archive]
kind = "sink"
command = ["{tmp_path}/archive"]
options = {{ folder = "{tmp_path}/out" }}
""")
    return tmp_path


def test_a_collector_is_tried_by_hand(folder: Path) -> None:
    done = edgemon(folder, "plugin", "test", "soil", "--times", "2", "--pause", "0.01")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("soil: soil_moisture_percent = 41.5\n") == 2
    assert done.stdout.startswith("soil: hello after ")
    assert done.stdout.endswith("soil: stopped\n")


def test_one_that_crashes_says_why(folder: Path) -> None:
    done = edgemon(folder, "plugin", "test", "fails")
    assert done.returncode == 1
    assert done.stdout.endswith("fails: ended with exit code 1: ValueError: pin 4\n")
    assert "plugin fails: Traceback" in done.stderr


def test_one_that_prints_what_is_no_answer_is_told_of(folder: Path) -> None:
    done = edgemon(folder, "plugin", "test", "chatty", "--times", "1")
    assert done.returncode == 1
    assert "a line is not JSON: hello world" in done.stderr
    assert done.stdout.endswith("chatty: lines that were not of the protocol: 1\n")


def test_a_sink_gets_a_batch_only_when_told_to(folder: Path) -> None:
    assert edgemon(folder, "plugin", "test", "archive").returncode == 0
    assert list((folder / "out").iterdir()) == []
    done = edgemon(folder, "plugin", "test", "archive", "--send")
    assert done.returncode == 0
    assert "bytes: ack\n" in done.stdout
    (file,) = (folder / "out").iterdir()
    (row,) = wire.rows_from_columns(wire.decode(file.read_bytes()))
    assert row["type"] == "plugin.test"


def test_they_are_listed_and_an_unknown_one_is_named(folder: Path) -> None:
    done = edgemon(folder, "plugin", "ls")
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:]] == [
        ["archive", "sink"], ["chatty", "collector"], ["fails", "collector"], ["soil", "collector"]
    ]  # fmt: skip
    done = edgemon(folder, "plugin", "test", "sol")
    assert done.returncode == 2
    assert done.stderr == (
        'edgemon: the configuration has no plugin "sol"; it has: archive, chatty, fails, soil\n'
    )


def test_check_names_an_entry_point_that_no_package_has(folder: Path) -> None:
    done = edgemon(folder, "check")
    assert done.returncode == 0
    assert f"soil (collector: {folder}/soil)" in done.stdout
    assert "plugin archive" in done.stdout
    file = folder / "edgemon.toml"
    file.write_text(file.read_text() + "[plugins.gone]\nentry_point = 'gone'\n")
    done = edgemon(folder, "check")
    assert done.returncode == 3
    line = file.read_text().splitlines().index("entry_point = 'gone'") + 1
    assert done.stderr.startswith(
        f'{file}:{line}: plugins.gone.entry_point: no installed package has the entry point "gone" of the group '
        "edgemon.collectors; there is "
    )


def test_check_refuses_a_program_that_everybody_may_write(folder: Path) -> None:
    (folder / "soil").chmod(0o777)
    done = edgemon(folder, "check")
    assert done.returncode == 3
    assert f'everybody may write "{folder}/soil": chmod o-w' in done.stderr
