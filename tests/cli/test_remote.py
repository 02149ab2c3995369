"""`edgemon remote`, the operator's side: keys, signatures, and what is refused before anybody sees it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from edgemon.cli import main
from edgemon.remote.keys import read_keys
from edgemon.remote.message import verify
from tests.servers import free_port


@pytest.fixture
def key(tmp_path: Path) -> str:
    path = tmp_path / "key"
    assert main(["remote", "key", "--out", str(path)]) == 0
    return str(path)


def sign(tmp_path: Path, key: str, text: bytes, *more: str) -> int:
    (tmp_path / "overlay.toml").write_bytes(text)
    words = ["remote", "sign", str(tmp_path / "overlay.toml"), "--key-file", key, "--fleet", "lab"]
    return main([*words, "--device", "cam-7", "--revision", "3", *more])


def test_a_key_is_new_private_and_never_replaced(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stat.S_IMODE(Path(key).stat().st_mode) == 0o600
    (made,) = read_keys(key, "")
    assert len(made) == 64
    assert main(["remote", "key", "--out", key]) == 2
    assert "is there already and stays as it is" in capsys.readouterr().err
    assert read_keys(key, "") == [made]


def test_what_is_signed_is_what_a_device_verifies(
    tmp_path: Path, key: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    text = '[models."été"]\ncapture = "all"\n'.encode()
    assert sign(tmp_path, key, text, "--out", str(tmp_path / "message")) == 0
    capfdbinary.readouterr()
    assert sign(tmp_path, key, text) == 0
    out = capfdbinary.readouterr().out
    assert out == (tmp_path / "message").read_bytes()
    overlay = verify(out, read_keys(key, "")).overlay
    assert overlay.text.encode() == text
    assert (overlay.fleet, overlay.device, overlay.revision) == ("lab", "cam-7", 3)


@pytest.mark.parametrize(
    ("text", "code", "problem"),
    [
        (b"[batch\n", 3, "overlay.toml:1: column 7"),
        (b"\n[mqtt]\nhost = 'x'\n", 3, "overlay.toml:3: mqtt.host: can never be changed from afar"),
        (b"[models.a]\nprofile = 'x'\n", 3, "overlay.toml:2: models.a.profile: can never be"),
        (b"a = '\xff'\n", 2, "is not UTF-8"),
        (b"#" * 33_000, 1, "the text has 32769 bytes, 32768 at most"),
    ],
)
def test_what_no_device_would_take_is_not_signed(
    tmp_path: Path,
    key: str,
    capsys: pytest.CaptureFixture[str],
    text: bytes,
    code: int,
    problem: str,
) -> None:
    capsys.readouterr()
    assert sign(tmp_path, key, text) == code
    told = capsys.readouterr()
    assert problem in told.err and told.out == ""


def test_with_the_devices_file_the_rest_is_found(
    tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "device.toml"
    own.write_text('[agent]\ndevice = "cam-7"\nfleet = "lab"\n[remote]\nallow = ["batch"]\n')
    check = ("--check-with", str(own))
    assert sign(tmp_path, key, b"[batch]\nmax_rows = 5\n", *check) == 0
    assert sign(tmp_path, key, b"[batch]\nmax_rows = 0\n", *check) == 3
    assert "desired configuration 3:2: batch.max_rows: is 0" in capsys.readouterr().err
    assert sign(tmp_path, key, b"[drift]\nwindow = 500\n", *check) == 3
    assert "remote.allow of this device does not name it" in capsys.readouterr().err
    own.write_text(own.read_text().replace("cam-7", "cam-8"))
    assert sign(tmp_path, key, b"[batch]\nmax_rows = 5\n", *check) == 2
    assert "is of lab/cam-8, not of lab/cam-7" in capsys.readouterr().err


def test_a_broker_that_is_not_there_is_one_line(
    tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    assert sign(tmp_path, key, b"", "--publish", url) == 5
    assert "Connection refused" in capsys.readouterr().err


def test_a_key_that_everybody_can_read_does_not_sign(
    tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(key).chmod(0o644)
    assert sign(tmp_path, key, b"") == 3
    assert "run: chmod o-rwx" in capsys.readouterr().err


def test_where_the_remote_hand_is_off_nothing_is_said_of_the_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has nothing to answer there, and may well be running."""
    config = tmp_path / "edgemon.toml"
    config.write_text('[agent]\nstate_dir = "state"\nrun_dir = "run"\n[ship]\nsink = "file"\n')
    assert main(["remote", "show", "--config", str(config)]) == 0
    said = capsys.readouterr().out
    assert "remote hand   off: remote.enabled = false\n" in said
    assert "not running" not in said
