"""`edgemon config convert` from the file to `edgemon check`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgemon.cli import main

OLD = """\
system:
  sampling_interval_seconds: 10  # often enough
  max_memory_buffer_mb: 50
telemetry:
  upload_interval_seconds: 300
  max_batch_size: 100
storage:
  type: "s3"
  bucket: "your-telemetry-bucket"
  max_sqlite_size_mb: 100
"""


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("old.yaml").write_text(OLD)
    return "old.yaml"


def test_what_it_writes_passes_check(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "convert", old, "-o", "new.toml"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("6 keys converted, 1 without an equal:\n")
    assert "  system.max_memory_buffer_mb: " in err
    assert main(["check", "--config", "new.toml"]) == 0
    assert "S3 bucket your-telemetry-bucket, an object at least every 5m" in capsys.readouterr().out


def test_without_a_file_it_goes_to_standard_output_alone(
    old: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "convert", old]) == 0
    out, err = capsys.readouterr()
    assert 'interval = "10s"  # system.sampling_interval_seconds' in out.splitlines()
    assert "without an equal" not in out
    assert "without an equal" in err


def test_a_file_that_is_there_stays(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("new.toml").write_text("mine")
    assert main(["config", "convert", old, "--out", "new.toml"]) == 2
    assert Path("new.toml").read_text() == "mine"
    assert "--force" in capsys.readouterr().err
    assert main(["config", "convert", old, "--out", "new.toml", "--force"]) == 0
    assert "[system]" in Path("new.toml").read_text()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("system:\n  a: [1\n", "old.yaml:3: not YAML"),
        ("{" * 100_000, "not YAML"),
        ("system:\n  sampling_interval_seconds: often\n", "system.sampling_interval_seconds"),
        ("", "has none of the sections"),
        ("when: 2024-13-45\n", "not YAML"),
    ],
)
def test_a_file_that_is_not_of_that_form_is_refused(
    old: str, text: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(old).write_text(text)
    assert main(["config", "convert", old]) == 3
    assert problem in capsys.readouterr().err


def test_a_file_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "convert", "/nowhere/old.yaml"]) == 2
    err = capsys.readouterr().err
    assert err == "edgemon: /nowhere/old.yaml: no such file or directory\n"


def test_without_pyyaml_it_says_what_to_install(old: str) -> None:
    program = (
        "import sys; sys.modules['yaml'] = None\n"
        "from edgemon.cli import main; sys.exit(main(['config', 'convert', sys.argv[1]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, old], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "install edgemon[convert]" in done.stderr
    assert len(done.stderr.splitlines()) == 1
