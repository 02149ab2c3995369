"""`edgemon drift test`, `profile diff` and `profile adopt`, as a user calls them."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import math
import random
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from edgemon.cli import main
from edgemon.cli import profile as command
from edgemon.cli._terminal import Progress
from edgemon.errors import UsageError


def write(path: Path, seed: int, rows: float = 800, shift: float = 0.0, **more: float) -> Path:
    """A table of an amount, a score, a colour; more: a share of missing scores, of green."""
    chance = random.Random(seed)
    lines = ["amount,score,colour"]
    for _ in range(int(rows)):
        score = "" if chance.random() < more.get("holes", 0.0) else f"{chance.random():.4f}"
        colour = "green" if chance.random() < more.get("green", 0.0) else chance.choice(("r", "b"))
        lines.append(f"{chance.gauss(shift, 1.0):.4f},{score},{colour}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def same(tmp_path: Path) -> list[str]:
    a, b = write(tmp_path / "a.csv", 1), write(tmp_path / "b.csv", 2)
    return ["drift", "test", "--reference", str(a), "--current", str(b)]


@pytest.fixture
def other(tmp_path: Path) -> list[str]:
    a, c = write(tmp_path / "a.csv", 1), write(tmp_path / "c.csv", 3, shift=0.5)
    return ["drift", "test", "--reference", str(a), "--current", str(c)]


def test_the_exit_code_says_whether_anything_drifted(same: list[str], other: list[str]) -> None:
    assert main(same) == 0
    assert main(other) == 1


def test_the_table_names_the_stream_the_place_and_the_decision(
    other: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(other)
    out = capsys.readouterr().out
    (line,) = (line for line in out.splitlines() if line.startswith("f:amount"))
    assert "up at" in line and line.endswith("DRIFT")
    assert "1 of 3 streams drifted" in out


def test_json_has_all_that_the_table_has_and_more(
    other: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*other, "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    streams = {stream["stream"]: stream for stream in answer["streams"]}
    assert answer["drifted"] is True
    assert [s for s, fields in streams.items() if fields["drifted"]] == ["f:amount"]
    amount = streams["f:amount"]
    assert amount["p_adjusted"] >= amount["p"]
    assert set(amount["effects"]) >= {"psi", "wasserstein", "jensen_shannon", "cramer_von_mises"}


def test_missing_values_and_new_categories_are_drift(tmp_path: Path) -> None:
    a = write(tmp_path / "a.csv", 1)
    for change in ({"holes": 0.05}, {"green": 0.05}):
        b = write(tmp_path / "b.csv", 2, 800, 0.0, **change)
        assert main(["drift", "test", "--reference", str(a), "--current", str(b)]) == 1


def test_a_column_that_is_gone_is_drift(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = write(tmp_path / "a.csv", 1)
    b = tmp_path / "b.csv"
    b.write_text("\n".join(line.rpartition(",")[0] for line in a.read_text().splitlines()))
    assert main(["drift", "test", "--reference", str(a), "--current", str(b)]) == 1
    assert "gone, or of another kind: f:colour" in capsys.readouterr().out


def test_min_effect_lets_small_changes_pass(other: list[str]) -> None:
    assert main([*other, "--min-effect", "0.5"]) == 0


def test_a_profile_can_stand_for_the_reference(tmp_path: Path, other: list[str]) -> None:
    made = tmp_path / "a.profile"
    assert main(["profile", "build", other[3], "--out", str(made)]) == 0
    assert main(["drift", "test", "--reference", str(made), "--current", other[5]]) == 1
    assert main(["drift", "test", "--reference", str(made), "--current", other[3]]) == 0


def test_compressed_files_are_read(tmp_path: Path, same: list[str]) -> None:
    packed = tmp_path / "b.csv.gz"
    packed.write_bytes(gzip.compress(Path(same[5]).read_bytes()))
    assert main([*same[:5], str(packed)]) == 0


@pytest.mark.parametrize("words", [["--alpha", "2"], ["--adjust", "hope"]])
def test_a_wrong_call_is_a_wrong_call(same: list[str], words: list[str]) -> None:
    assert main([*same, *words]) == 2


def test_standard_input_can_be_only_one_of_the_two() -> None:
    assert main(["drift", "test", "--reference", "-", "--current", "-"]) == 2


def test_false_alarms_over_all_streams_are_as_many_as_asked() -> None:
    """60 pairs of healthy files with 4 streams at 10 %."""
    from edgemon.cli.drift import judge
    from edgemon.drift.compare import compare_profiles
    from tests.drift.data import normal, profile_of

    alarms = 0
    for seed in range(60):
        sides = []
        for side in (0, 1):
            chance = random.Random(f"{seed} {side}")
            columns: dict[str, Any] = {
                f"f_{i}": normal(seed * 10 + i + 1000 * side, 300) for i in range(3)
            }
            columns["f_c"] = [chance.choice("xyz") for _ in range(300)]
            sides.append(profile_of(**columns))
        verdicts = judge(compare_profiles(*sides), 0.1, "holm", 0.0)
        alarms += any(drifted for _, drifted in verdicts)
    assert alarms <= 12


# -- the picture


def test_the_plot_shows_both_curves_of_each_stream_and_the_place_of_d(
    tmp_path: Path, other: list[str]
) -> None:
    path = tmp_path / "out.svg"
    main([*other, "--plot", str(path)])
    root = ElementTree.parse(path).getroot()
    space = "{http://www.w3.org/2000/svg}"
    panels = root.findall(f"{space}g")
    assert len(panels) == 3
    for panel in panels[:2]:
        assert len(panel.findall(f"{space}polyline")) == 2
        assert any("D at" in (text.text or "") for text in panel.findall(f"{space}text"))
    assert len(panels[2].findall(f"{space}rect")) == 4
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for panel in panels:
        for line in panel.findall(f"{space}polyline"):
            for point in line.attrib["points"].split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= width and 0 <= y <= height


def test_strange_values_and_names_can_be_drawn(tmp_path: Path) -> None:
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    a.write_text('"x<&>",c\n' + "5,<b>\n" * 50)
    b.write_text('"x<&>",c\n' + "1e308,</svg>\n-1e308,<b>\ninf,<b>\n-inf,<b>\n" * 20)
    path = tmp_path / "out.svg"
    words = ["--reference", str(a), "--current", str(b), "--plot", str(path)]
    assert main(["drift", "test", *words]) == 1
    ElementTree.parse(path)
    assert "nan" not in path.read_text().replace("name", "")


# -- profile diff


@pytest.fixture
def profiles(tmp_path: Path) -> list[str]:
    paths = []
    for name, shift in (("a", 0.0), ("b", 0.5)):
        data = write(tmp_path / f"{name}.csv", 1, shift=shift)
        paths.append(str(tmp_path / f"{name}.profile"))
        assert main(["profile", "build", str(data), "--out", paths[-1]]) == 0
    return paths


def test_profiles_are_compared_stream_by_stream(
    profiles: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", "diff", *profiles]) == 0
    out = capsys.readouterr().out
    (line,) = (line for line in out.splitlines() if line.startswith("f:amount"))
    assert "up at" in line
    assert main(["profile", "diff", *profiles, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {stream["stream"] for stream in answer["streams"]} == {"f:amount", "output", "f:colour"}


def test_fail_above_is_for_ci(profiles: list[str]) -> None:
    assert main(["profile", "diff", *profiles, "--fail-above", "0.1"]) == 1
    assert main(["profile", "diff", *profiles, "--fail-above", "0.9"]) == 0
    assert main(["profile", "diff", profiles[0], profiles[0], "--fail-above", "0"]) == 0


# -- profile adopt


class Agent:
    """Answers `adopt` and `status`; after three questions the reference is made."""

    def __init__(self, taken: bool = True) -> None:
        self.asked: list[dict[str, object]] = []
        self.taken = taken

    def __call__(self, message: dict[str, object]) -> dict[str, Any]:
        self.asked.append(message)
        if message["cmd"] == "adopt":
            return {"model": "m", "version": "2", "profile": "old"}
        questions = len(self.asked) - 1
        if questions < 3:
            reference = {"have": questions * 10, "want": 30}
            return {"models": [self.model("old", reference)]}
        return {"models": [self.model("new" if self.taken else "old", None)]}

    @staticmethod
    def model(profile: str, reference: object) -> dict[str, Any]:
        return {"model": "m", "version": "2", "profile": profile, "reference": reference}


def adopt(agent: Agent, **options: Any) -> int:
    given = {"version": None, "file": None, "predictions": 30, "no_wait": False} | options
    silent = Progress(30, "predictions", stream=io.StringIO())
    return command.adopt(
        "m", argparse.Namespace(**given), agent, sleep=lambda _: None, progress=silent
    )


def test_adopting_waits_until_the_reference_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    agent = Agent()
    assert adopt(agent) == 0
    assert agent.asked[0] == {"cmd": "adopt", "model": "m", "version": None, "predictions": 30}
    assert len(agent.asked) == 4
    assert "what came in, new" in capsys.readouterr().out


def test_a_reference_that_was_not_taken_is_an_answer_of_no() -> None:
    assert adopt(Agent(taken=False)) == 1


def test_adopting_need_not_wait() -> None:
    agent = Agent()
    assert adopt(agent, no_wait=True) == 0
    assert len(agent.asked) == 1


def test_a_file_is_adopted_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    agent = Agent()
    assert adopt(agent, file="x.profile") == 0
    assert agent.asked[0]["file"] == str(tmp_path / "x.profile")


def test_a_model_that_was_let_go_meanwhile_is_told() -> None:
    class Forgetful(Agent):
        def __call__(self, message: dict[str, object]) -> dict[str, Any]:
            return super().__call__(message) if message["cmd"] == "adopt" else {"models": []}

    with pytest.raises(UsageError, match="was let go"):
        adopt(Forgetful())


def test_nothing_in_json_is_not_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    a.write_text("x\n" + "1\n-inf\n" * 50)
    b.write_text("x\n" + "2\ninf\n" * 50)
    main(["drift", "test", "--reference", str(a), "--current", str(b), "--json"])

    def refuse(word: str) -> float:
        raise AssertionError(word)

    answer = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert math.isclose(answer["streams"][0]["d"], 1.0)


def test_a_file_that_cannot_be_opened_is_no_drift(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 says drift to a build server."""
    here, gone = tmp_path / "a.csv", tmp_path / "gone.csv"
    here.write_text("x\n1\n2\n")
    for words in ([here, gone], [gone, here]):
        assert (
            main(["drift", "test", "--reference", str(words[0]), "--current", str(words[1])]) == 2
        )
        assert capsys.readouterr().err == f"edgemon: {gone}: no such file or directory\n"
