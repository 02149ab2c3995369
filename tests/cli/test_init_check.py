"""`edgemon init` and `edgemon check`, as a person calls them."""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path

import pytest

from edgemon.cli import main
from edgemon.config import load
from edgemon.drift.build import ProfileBuilder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGEMON_CONFIG", raising=False)
    return tmp_path


@pytest.mark.parametrize("uid", [0, 1000])
def test_the_file_that_init_writes_passes_check(
    uid: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert main(["init"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("wrote edgemon.toml\n")
    assert "\n  edgemon check\n  edgemon run\n" in text
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith("edgemon.toml: ok\n")
    state = "/var/lib/edgemon" if uid == 0 else f"{os.path.expanduser('~')}/.local/state/edgemon"
    if "XDG_STATE_HOME" not in os.environ:
        assert load("edgemon.toml").agent.state_dir == state


def test_with_every_commented_key_made_live_it_still_passes(here: Path) -> None:
    main(["init"])
    text = (here / "edgemon.toml").read_text()
    live, count = re.subn(r"^#(?=[a-z])", "", text, flags=re.M)
    assert count > 20
    (here / "edgemon.toml").write_text(live)
    assert main(["check"]) == 0


def test_init_never_replaces_a_file_unless_it_is_told_to(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mine.toml").write_text("precious")
    assert main(["init", "--out", "mine.toml"]) == 2
    assert capsys.readouterr().err == (
        "edgemon: mine.toml is there already and stays as it is; --force replaces it, "
        "--out writes another\n"
    )
    assert (here / "mine.toml").read_text() == "precious"
    assert main(["init", "--out", "mine.toml", "--force"]) == 0
    assert load("mine.toml").ship.sink == "file"


def test_init_names_the_file_in_what_comes_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--out", "my file.toml"]) == 0
    assert "\n  edgemon check --config 'my file.toml'\n" in capsys.readouterr().out


def test_init_can_write_to_standard_output(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--out", "-"]) == 0
    assert capsys.readouterr().out.startswith("# Configuration of edgemon.")
    assert list(here.iterdir()) == []


def test_init_says_why_it_cannot_write(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--out", "no/such/folder.toml"]) == 2
    assert capsys.readouterr().err == "edgemon: no/such/folder.toml: no such file or directory\n"
    assert main(["init", f"--out={here}", "--force"]) == 2
    assert main(["init", "--out", "/dev/full", "--force"]) == 1  # the disk, not the command line


FAULTY = "[batch]\nmax_row = 5\n[log]\nlevel = 'loud'\n"


def test_check_prints_every_fault_and_exits_with_3(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "edgemon.toml").write_text(FAULTY)
    assert main(["check"]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        'edgemon.toml:2: batch.max_row: unknown key; did you mean "max_rows"?\n'
        'edgemon.toml:4: log.level: is "loud", must be "debug", "info", "warning" or "error"\n'
        "edgemon: 2 faults in edgemon.toml\n"
    )


def test_check_without_a_file_says_how_to_make_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgemon.config.loader.SEARCHED", ("edgemon.toml", "also.toml"))
    assert main(["check"]) == 3
    assert capsys.readouterr().err == (
        "edgemon: edgemon.toml: no such file, nor also.toml; write one with: edgemon init\n"
    )


def test_check_takes_the_file_of_the_environment(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "other.toml").write_text("")
    monkeypatch.setenv("EDGEMON_CONFIG", "other.toml")
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith("other.toml: ok\n")


def test_check_answers_in_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "edgemon.toml").write_text("[agent]\ndevice = 'd'")
    assert main(["check", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is True
    assert answer["hash"] == load("edgemon.toml").hash
    assert answer["facts"]["device"] == "d, fleet default"
    (here / "edgemon.toml").write_text(FAULTY)
    assert main(["check", "--json"]) == 3
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert answer["faults"][0] == {
        "file": "edgemon.toml",
        "line": 2,
        "key": "batch.max_row",
        "problem": 'unknown key; did you mean "max_rows"?',
        "detail": "",
    }


def test_what_check_shows_is_a_file_with_the_same_settings(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "edgemon.toml").write_text("[agent]\nstate_dir = 's'\n[models.a]\ncapture = 'all'\n")
    assert main(["check", "--show"]) == 0
    (here / "shown.toml").write_text(capsys.readouterr().out)
    assert load("shown.toml")._replace(file="edgemon.toml") == load("edgemon.toml")


def write_profile(path: Path, rows: int) -> None:
    builder, chance = ProfileBuilder("fraud"), random.Random(1)
    for _ in range(rows):
        builder.number("output", chance.random())
        builder.row_done()
    path.write_bytes(builder.finish().to_bytes())


def test_a_profile_that_is_none_is_a_fault_in_the_line_that_names_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "p").write_bytes(b"not a profile")
    (here / "edgemon.toml").write_text("[log]\n\n[models.fraud]\nprofile = 'p'\n")
    assert main(["check"]) == 3
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith(f"edgemon.toml:4: models.fraud.profile: {here}/p")


def test_settings_under_which_drift_would_be_blind_are_a_fault(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_profile(here / "p", rows=25)
    (here / "edgemon.toml").write_text(
        "[models.fraud]\nprofile = 'p'\n[drift]\nwindow = 20\n"
        "false_alarms = { at_most = 1e-6, per_predictions = 1_000_000_000 }\n"
    )
    assert main(["check", "--json"]) == 3
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert (fault["line"], fault["key"]) == (2, "models.fraud.profile")
    assert "output" in fault["problem"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "[mqtt]\nhost = 'broker'\ntls = true",
            ["MQTT 5 to broker:8883, TLS, a batch at least every 1m"],
        ),
        ("[mqtt]\nhost = 'broker'", ["MQTT 5 to broker:1883, no encryption"]),
        ("[ship]\nsink = 'none'", ["none: all stays in the spool"]),
        ("[ship]\nsink = 'file'\nfolder = '/o'", ["folder /o, at most 1GiB"]),
        ("[models.a]\n[models.b]", ["a, b", "not tested: no model has a profile"]),
        (
            "[models.a]\nprofile = 'p'",
            ["tested on a; at most 0.01 false alarms in 1,000,000 predictions"],
        ),
        ("[models.'*']\nprofile = 'p'", ["tested on all models; at most"]),
        ("[drift]\nenabled = false\n[models.a]\nprofile = 'p'", ["drift   not tested\n"]),
        ("[spool]\nmax_size = '8MiB'\ndir = '/s'", ["/s, at most 8MiB"]),
    ],
)
def test_check_says_what_the_settings_come_to(
    text: str, lines: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_profile(here / "p", rows=10_000)
    (here / "edgemon.toml").write_text(text)
    assert main(["check"]) == 0
    shown = capsys.readouterr().out
    for line in lines:
        assert line in shown


def test_check_says_which_raw_rows_would_leave(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "edgemon.toml").write_text(
        '[models."*"]\ncapture = "none"\n[models.same]\nwindow = "5s"\n[models.fraud]\n'
        'capture = { reservoir = 100 }\nrecorder = 200\nredact = { deny = ["ip"], hash_ids = true }\n'
    )
    assert main(["check"]) == 0
    rows = next(line for line in capsys.readouterr().out.splitlines() if "rows" in line)
    assert rows.split("rows")[1].strip() == (
        "none; fraud: reservoir = 100, 200 before and after an alarm, not all features, ids hashed"
    )
