"""The message and its signature: what counts, and that nothing else does."""

from __future__ import annotations

import hmac
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon.config.remembered import MAX_TEXT_BYTES, Overlay
from edgemon.errors import ConfigError
from edgemon.remote.keys import read_keys
from edgemon.remote.message import MAX_BYTES, RefusedError, hmac_sha256, sign, verify

KEY = b"0123456789abcdef" * 4
OVERLAY = Overlay(12, "cam-7", "lab", '[batch]\nmax_age = "5m"\n')


def refusal(message: bytes, *keys: bytes) -> str:
    with pytest.raises(RefusedError) as caught:
        verify(message, keys or [KEY])
    return caught.value.reason


def test_what_was_signed_comes_back() -> None:
    signed = verify(sign(OVERLAY, KEY), [b"another" * 8, KEY])
    assert signed.overlay == OVERLAY and len(signed.digest) == 64


def test_the_bytes_are_those_of_the_specification() -> None:
    """Golden: a device in the field reads what was written years ago."""
    assert sign(OVERLAY, KEY) == (
        b"edgemon-desired/1\nfleet: lab\ndevice: cam-7\nrevision: 12\n"
        b"hmac-sha256: 56bb8f7986f057cbff06ba4260309dd1d7ce143491c98c165b85163a12f5ec17\n"
        b'\n[batch]\nmax_age = "5m"\n'
    )


def test_openssl_signs_the_same(tmp_path: Path) -> None:
    message = sign(OVERLAY, KEY)
    lines = message.splitlines(keepends=True)
    (tmp_path / "signed").write_bytes(b"".join(lines[:4] + lines[5:]))
    command = ["openssl", "dgst", "-sha256", "-hmac", KEY.decode(), str(tmp_path / "signed")]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("needs openssl")
    assert told.split()[-1] == lines[4].decode().split()[1]


@given(st.binary(max_size=200), st.binary(max_size=300))
def test_the_hmac_is_that_of_the_standard_library(key: bytes, data: bytes) -> None:
    assert hmac_sha256(key, data) == hmac.digest(key, data, "sha256")


@given(st.integers(0, len(sign(OVERLAY, KEY)) * 8 - 1))
def test_no_bit_of_a_message_can_be_changed(bit: int) -> None:
    message = bytearray(sign(OVERLAY, KEY))
    message[bit // 8] ^= 1 << bit % 8
    assert refusal(bytes(message)) in ("signature", "malformed")


@given(st.data())
def test_no_byte_can_be_left_out_or_put_in(data: st.DataObject) -> None:
    message = sign(OVERLAY, KEY)
    at = data.draw(st.integers(0, len(message)))
    end = data.draw(st.integers(at, len(message)))
    changed = message[:at] + data.draw(st.binary(max_size=3)) + message[end:]
    if changed != message:
        assert refusal(changed) in ("signature", "malformed")


def test_bytes_cannot_move_between_header_and_text() -> None:
    """Two messages whose signed bytes would be one if the parts were only joined."""
    one = sign(OVERLAY._replace(revision=1, text="2\n\n"), KEY)
    moved = one.replace(b"revision: 1\n", b"revision: 12\n").replace(b"\n\n2\n\n", b"\n\n\n")
    assert refusal(moved) == "signature"


def test_a_key_of_another_device_or_none_is_refused() -> None:
    assert refusal(sign(OVERLAY, KEY), b"x" * 64) == "signature"
    with pytest.raises(RefusedError):
        verify(sign(OVERLAY, KEY), [])


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "malformed"),
        (b"[batch]\nmax_age = '5m'\n", "malformed"),
        (b"\xff\xfe" * 100, "malformed"),
        (sign(OVERLAY, KEY).replace(b"\n", b"\r\n"), "malformed"),
        (sign(OVERLAY, KEY).replace(b"revision: 12", b"revision: 012"), "malformed"),
        (bytes(MAX_BYTES + 1), "too_large"),
    ],
)
def test_what_is_no_message_is_refused(message: bytes, reason: str) -> None:
    assert refusal(message) == reason


def by_hand(body: bytes, revision: str = "3") -> bytes:
    """Signed as it stands, whatever `sign` would say of it."""
    head = b"edgemon-desired/1\nfleet: lab\ndevice: cam-7\nrevision: %s\n" % revision.encode()
    tag = hmac.digest(KEY, head + b"\n" + body, "sha256").hex().encode()
    return head + b"hmac-sha256: " + tag + b"\n\n" + body


def test_what_was_signed_well_is_bounded_too() -> None:
    assert refusal(by_hand(b"a = 1\nb = '\xff'\n")) == "invalid"
    assert refusal(by_hand(b"#" * (MAX_TEXT_BYTES + 1))) == "too_large"
    assert refusal(by_hand(b"", str(2**53))) == "malformed"
    assert verify(by_hand(b"#" * MAX_TEXT_BYTES), [KEY]).overlay.revision == 3
    for wrong in (OVERLAY._replace(revision=0), OVERLAY._replace(device="a b")):
        with pytest.raises(RefusedError):
            sign(wrong, KEY)


def test_a_key_file_has_one_or_several_keys(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"# old\n{'a' * 64}\n\n{'b' * 32} \n")
    path.chmod(0o640)
    assert read_keys(str(path), "e.toml") == [b"a" * 64, b"b" * 32]


@pytest.mark.parametrize(
    ("text", "mode", "problem"),
    [
        ("a" * 64, 0o644, "can be read by everybody; run: chmod o-rwx"),
        ("a" * 64, 0o602, "can be written by everybody"),
        ("", 0o600, "has 0 keys"),
        ("# nothing\n", 0o600, "has 0 keys"),
        ("short\n", 0o600, "has a key of 5 characters"),
        ("a" * 201, 0o600, "has a key of 201 characters"),
        (("a" * 64 + "\n") * 9, 0o600, "has 9 keys"),
        ("#" * 5000, 0o600, "is larger than 4096 bytes"),
    ],
)
def test_a_key_file_that_is_not_safe_or_not_right_is_refused(
    tmp_path: Path, text: str, mode: int, problem: str
) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    os.chmod(path, mode)
    with pytest.raises(ConfigError) as caught:
        read_keys(str(path), "e.toml")
    assert problem in str(caught.value) and "remote.key_file" in str(caught.value)


def test_a_key_file_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"e.toml: remote.key_file: cannot read .*/none: No such"):
        read_keys(str(tmp_path / "none"), "e.toml")
