from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from edgemon.cli import main
from edgemon.cli import profile as command
from edgemon.cli._profile_text import sparkline
from edgemon.cli._terminal import Progress
from edgemon.drift.build import ProfileBuilder
from tests.drift.data import FakeAgent, normal, profile_of


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "fraud.csv"
    rows = zip(normal(1, 500), normal(2, 500), strict=True)
    path.write_text("amount,score,city\n" + "".join(f"{a},{b},Rome\n" for a, b in rows))
    return path


def build(*words: object) -> int:
    return main(["profile", "build", *map(str, words)])


def test_a_profile_is_built_and_shown(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = data.with_suffix(".profile")
    assert build(data, "--out", out) == 0
    first = capsys.readouterr()
    assert "fraud, 500 predictions, 2 numeric and 1 text streams" in first.out
    assert "ten times drift.window" in first.err
    assert main(["profile", "show", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "f:amount" in shown and "Rome 100%" in shown and "█" in shown
    assert list(data.parent.iterdir()) == [data, out] or set(data.parent.iterdir()) == {data, out}


def test_the_same_data_give_the_same_file_also_compressed_and_from_another_form(
    data: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "fraud.csv.gz"
    packed.write_bytes(gzip.compress(data.read_bytes()))
    header, *rows = [line.split(",") for line in data.read_text().splitlines()]
    lines = tmp_path / "fraud.jsonl"
    lines.write_text(
        "".join(
            json.dumps({"output": float(b), "features": {header[0]: float(a), header[2]: c}}) + "\n"
            for a, b, c in rows
        )
    )
    files = []
    for source in (data, packed, lines):
        assert build(source, "--out", tmp_path / "p") == 0
        files.append((tmp_path / "p").read_bytes())
    assert files[0] == files[1] == files[2]


def test_json_has_all_but_the_values(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = data.with_suffix(".profile")
    build(data, "--out", out, "--name", "other", "--max-points", 100)
    capsys.readouterr()
    assert main(["profile", "show", str(out), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (found["name"], found["rows"], found["max_points"]) == ("other", 500, 100)
    output = found["features"][0]
    assert (output["name"], output["n"], output["points"]) == ("output", 500, 100)
    assert len(output["edges"]) == 19
    assert "values" not in output


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "give a file, or --from-stream MODEL"),
        (("DATA", "--from-stream", "m"), 2, "give a file, or --from-stream MODEL"),
        (("DATA", "--max-points", "3"), 2, "--max-points must lie between 20 and 1000000"),
        (("/nonexistent.csv",), 2, "no such file"),
        (("--from-stream", "m", "--socket", "/nonexistent.sock"), 5, "/nonexistent.sock"),
        (("DATA", "--output", "nope"), 4, "there is no column 'nope'; there are amount, score"),
        (("BROKEN.gz",), 4, "gzip"),
        (("LATIN.csv",), 4, "not UTF-8"),
    ],
)
def test_a_build_that_cannot_be_is_one_line_and_an_exit_code(
    data: Path,
    words: tuple[str, ...],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (data.parent / "BROKEN.gz").write_bytes(gzip.compress(data.read_bytes())[:-20])
    (data.parent / "LATIN.csv").write_bytes(b"a\ncaf\xe9\n")
    paths = {name: str(data.parent / name) for name in ("BROKEN.gz", "LATIN.csv")}
    paths["DATA"] = str(data)
    out = data.parent / "out.profile"
    assert build(*(paths.get(word, word) for word in words), "--out", out) == code
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors
    assert not out.exists()


def test_a_folder_that_is_not_there_is_named(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(data, "--out", data.parent / "no" / "p") == 2
    assert "there is no folder" in capsys.readouterr().err


def test_a_file_that_is_no_profile_is_refused_by_name(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", "show", str(data)]) == 4
    assert f"{data}: not a profile" in capsys.readouterr().err


def test_a_sorted_file_is_noted_and_shuffled_ends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sorted.csv"
    path.write_text("a\n" + "".join(f"{i}\n" for i in range(500)))
    build(path, "--out", tmp_path / "p")
    assert "1 stream with values that depend on those before, most f:a" in capsys.readouterr().err
    build(path, "--out", tmp_path / "p", "--shuffled")
    assert "depend" not in capsys.readouterr().err


def test_from_a_stream_it_waits_for_the_agent_and_fetches_what_was_recorded() -> None:
    agent = FakeAgent({"output": list(normal(1, 7)), "f:c": ["a", "b", "a"]})
    builder, slept = ProfileBuilder("fraud"), 0.0

    def sleep(seconds: float) -> None:
        nonlocal slept
        slept += seconds

    bar = Progress(7, "predictions", stream=io.StringIO(), tty=False)
    who: dict[str, object] = {"model": "fraud", "version": None}
    command.build_from_stream(builder, agent, who, 7, sleep=sleep, progress=bar)
    assert agent.asked[:5] == ["record", "recorded", "recorded", "recorded", "recorded"]
    assert slept == 2.0
    assert bar.done == 7
    assert agent.let_go
    assert builder.finish().rows == 7


def test_from_a_stream_it_keeps_to_the_version_that_it_began_with() -> None:
    agent, versions = FakeAgent({"output": list(normal(1, 7))}), []

    def request(message: dict[str, object]) -> dict[str, Any]:
        versions.append(message["version"])
        return agent(message | {"version": None}) | {"version": "7"}

    who: dict[str, object] = {"model": "fraud", "version": None}
    bar = Progress(7, "predictions", stream=io.StringIO(), tty=False)
    command.build_from_stream(
        ProfileBuilder("fraud"), request, who, 7, sleep=lambda _: None, progress=bar
    )
    assert versions[0] is None
    assert set(versions[1:]) == {"7"}


def test_from_a_stream_interrupted_lets_the_agent_forget() -> None:
    agent = FakeAgent({"output": list(normal(1, 7))})

    def sleep(_: float) -> None:
        raise KeyboardInterrupt

    who: dict[str, object] = {"model": "fraud", "version": None}
    bar = Progress(7, "predictions", stream=io.StringIO(), tty=False)
    with pytest.raises(KeyboardInterrupt):
        command.build_from_stream(ProfileBuilder("fraud"), agent, who, 7, sleep=sleep, progress=bar)
    assert agent.let_go


def test_sparklines_show_the_shape_and_survive_extremes() -> None:
    two_heaps = profile_of(output=[1.0] * 100 + [2.0] * 50).features[0]
    assert sparkline(two_heaps, 5) == "█   ▄"
    constant = profile_of(output=[1.0] * 100).features[0]
    assert sparkline(constant, 5) == "  █  "
    huge = profile_of(output=[-1.7e308, 0.0, 1.7e308]).features[0]
    assert sparkline(huge, 3) == "███"
    only_infinite = profile_of(output=[float("inf")]).features[0]
    assert sparkline(only_infinite) == ""
