"""What docs/performance.md says, done."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from edgemon.cli import main
from edgemon.config import parse
from edgemon.performance.join import FORGOTTEN, JOINED, UNMATCHED

PAGE = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")


def test_the_configuration_of_the_page_is_accepted() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    truth = parse(example).model("fraud").truth
    assert (truth.join, truth.keep, truth.ttl_s, truth.size_bytes) == (
        "always",
        100_000,
        86_400.0,
        64 << 20,
    )


def test_every_counter_and_reason_is_on_the_page() -> None:
    for word in (JOINED, UNMATCHED, FORGOTTEN, "no_model", "not_joined", "version_gone", "unlike"):
        assert word in PAGE


def test_the_commands_of_the_page_make_a_calibrated_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    chance = random.Random(1)
    csv, lines = ["score,truth"], []
    for number in range(1_000):
        score = chance.random()
        label = int(chance.random() < score)
        csv.append(f"{score},{label}")
        lines.append(f'{{"model":"digits","id":{number},"output":[{1 - score},{score}]}}')
        lines.append(f'{{"model":"digits","id":{number},"label":{label}}}')
    (tmp_path / "validation.csv").write_text("\n".join(csv))
    (tmp_path / "validation.jsonl").write_text("\n".join(lines))
    commands = re.findall(r"^    edgemon (profile build .*)$", PAGE, re.M)
    assert len(commands) == 2
    for command, stream in zip(commands, ("output", "confidence"), strict=True):
        assert main(command.split()) == 0
        assert main(["profile", "show", command.split()[-1]]) == 0
        assert f"of 1,000 labelled rows wrong; calibrated by {stream}" in capsys.readouterr().out


def test_a_regressions_profile_says_its_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{20 + n % 10},20\n" for n in range(1_000))
    (tmp_path / "data.csv").write_text("output,label\n" + rows)
    assert main(["profile", "build", "data.csv", "--out", "m.profile"]) == 0
    assert main(["profile", "show", "m.profile"]) == 0
    assert "errors: MAE 4.5, RMSE 5.339, a tenth above 8" in capsys.readouterr().out
