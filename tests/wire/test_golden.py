"""Golden files stay readable for ever, here and in another language."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

import msgpack
import pytest
import zstandard

from edgemon import wire
from edgemon.wire import scheme
from tests.wire import golden
from tests.wire.batches import batch_of_rows
from tests.wire.canonical import canonical, text

NAMES = sorted(name[:-4] for name in os.listdir(golden.FOLDER) if name.endswith(".zst"))
DECODER = os.path.join(os.path.dirname(__file__), "decode.js")
needs_node = pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("zstd")), reason="needs node and the zstd tool"
)


def read(name: str) -> tuple[bytes, Any]:
    path = os.path.join(golden.FOLDER, name)
    with open(path + ".zst", "rb") as frame, open(path + ".json", encoding="utf-8") as expected:
        return frame.read(), json.load(expected)


def test_every_golden_batch_has_its_file() -> None:
    assert set(NAMES) == {*golden.BATCHES, *golden.VARIANTS}


def test_the_golden_files_have_every_encoding() -> None:
    found = set()
    for name in NAMES:
        body = msgpack.unpackb(zstandard.ZstdDecompressor().decompress(read(name)[0]))
        found |= {entry[2] for entry in body["c"]}
    known = {value for key, value in vars(scheme).items() if key.isupper() and type(value) is str}
    assert found == known


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_file_reads_as_expected(name: str) -> None:
    frame, expected = read(name)
    decoded, skipped = wire.decode_report(frame)
    assert canonical(decoded, skipped) == expected
    assert json.loads(text(decoded)) == expected


@pytest.mark.parametrize("name", NAMES)
def test_todays_encoder_says_the_same(name: str) -> None:
    _, expected = read(name)
    assert canonical(wire.decode(golden.encoded(name))) == expected


def decode_elsewhere(frame: bytes) -> Any:
    body = subprocess.run(["zstd", "-dc"], input=frame, capture_output=True, check=True).stdout
    out = subprocess.run(["node", DECODER], input=body, capture_output=True, check=False)
    assert out.returncode == 0, out.stderr.decode()
    return json.loads(out.stdout)


@needs_node
@pytest.mark.parametrize("name", NAMES)
def test_a_decoder_in_another_language_reads_it_identically(name: str) -> None:
    frame, expected = read(name)
    assert decode_elsewhere(frame) == expected


@needs_node
def test_the_other_decoder_skips_and_names_an_unknown_encoding() -> None:
    batch = batch_of_rows([{"a": 1, "b": 2.5}])
    body = msgpack.unpackb(wire.Encoder().body(batch)[0])
    body["c"][0][2] = "z"
    frame = zstandard.ZstdCompressor(write_checksum=True).compress(msgpack.packb(body))
    out = decode_elsewhere(frame)
    assert out["skipped"] == ["a"]
    assert out["columns"] == [["b", "f8", [2.5]]]
