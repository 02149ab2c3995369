"""The bill of materials: what CycloneDX 1.5 requires, and every component that is really there."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.packaging.conftest import Binary

PACKAGING = Path(__file__).parent.parent.parent / "packaging"
TYPES = {"application", "framework", "library", "container", "platform", "operating-system", "file"}


@pytest.fixture
def bill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Of a bundle of two distributions, a standard module, an extension and a shared library."""
    monkeypatch.syspath_prepend(str(PACKAGING))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    import sbom  # type: ignore[import-not-found]

    library = tmp_path / "libssl.so.3"
    library.write_bytes(b"a library")
    extension = tmp_path / "ks.so"
    extension.write_bytes(b"ours")
    compressor = tmp_path / "backend_c.so"
    compressor.write_bytes(b"\0ZSTD_compress\0")
    themselves = tmp_path / "libz.so.1"
    themselves.write_bytes(b"\0 inflate 1.3.1 Copyright 1995-2024 Mark Adler \0")
    python = tmp_path / "libpython3.11.so.1.0"  # some have all of it in one
    python.write_bytes(b"\0expat_2.6.4\0")
    program = tmp_path / "edgemon"
    program.write_bytes(b"\0 inflate 1.2.13 Copyright 1995-2022 Mark Adler \0")
    sbom.write(
        str(tmp_path / "bill.json"),
        ["json", "edgemon.cli", "paho.mqtt.client", "zstandard.backend_c"],
        [
            ("libssl.so.3", str(library)),
            ("libz.so.1", str(themselves)),
            ("libpython3.11.so.1.0", str(python)),
            ("edgemon/_core/ks.so", str(extension)),
            ("zstandard/backend_c.so", str(compressor)),
        ],
        str(program),
        "6.22.3",
    )
    read: dict[str, Any] = json.loads((tmp_path / "bill.json").read_text())
    return read


def references(bill: dict[str, Any]) -> set[str]:
    return {component["bom-ref"] for component in bill["components"]}


def test_it_has_what_the_schema_requires(bill: dict[str, Any]) -> None:
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.5", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", bill["serialNumber"])
    uuid.UUID(bill["serialNumber"].removeprefix("urn:uuid:"))
    assert bill["metadata"]["timestamp"] == "2026-09-21T14:13:20Z"
    for component in [bill["metadata"]["component"], *bill["components"]]:
        assert component["type"] in TYPES and component["name"]
        for licence in component.get("licenses", []):
            assert licence["license"]["name"]
    assert len(references(bill)) == len(bill["components"]), "a reference is used twice"


def test_it_names_what_is_bundled_and_nothing_else(bill: dict[str, Any]) -> None:
    found = {component["name"]: component for component in bill["components"]}
    assert set(found) == {
        "zstandard", "paho-mqtt", "CPython", "PyInstaller bootloader", "libssl.so.3", "libz.so.1",
        "libpython3.11.so.1.0", "zlib", "zstd", "expat",
    }  # fmt: skip
    assert found["expat"]["bom-ref"] == "pkg:generic/expat@2.6.4#libpython3.11.so.1.0"
    assert found["PyInstaller bootloader"]["purl"] == "pkg:pypi/pyinstaller@6.22.3"
    assert found["CPython"]["version"] == sys.version.split()[0]
    assert re.fullmatch(r"pkg:pypi/paho-mqtt@2\.\d.*", found["paho-mqtt"]["purl"])
    assert found["zlib"]["purl"] == "pkg:generic/zlib@1.2.13"
    assert found["zlib"]["bom-ref"] == "pkg:generic/zlib@1.2.13#edgemon"
    assert found["zstd"]["properties"][0]["value"] == "zstandard/backend_c.so"
    assert found["zstd"]["version"] == ".".join(map(str, zstandard.ZSTD_VERSION))
    digest = hashlib.sha256(b"a library").hexdigest()
    assert found["libssl.so.3"]["hashes"] == [{"alg": "SHA-256", "content": digest}]


@pytest.mark.slow
def test_it_covers_every_shared_object_of_the_package(binary: Binary, tmp_path: Path) -> None:
    """A library by its name and content; an extension by the distribution, or the interpreter, that it is part of."""
    beside = Path(f"{binary.deb}.cdx.json").read_text()
    subprocess.run(["dpkg-deb", "-x", str(binary.deb), str(tmp_path)], check=True)
    assert (tmp_path / "usr/share/doc/edgemon/edgemon.cdx.json").read_text() == beside
    bill: dict[str, Any] = json.loads(beside)
    found = {component["name"]: component for component in bill["components"]}
    folder = tmp_path / "usr/lib/edgemon/_internal"
    owners = {"edgemon": "edgemon", f"python{sys.version_info[0]}": "CPython"}
    libraries = set()
    for file in folder.rglob("*.so*"):
        if file.parent == folder and not file.is_symlink() and ".cpython-" not in file.name:
            libraries.add(file.name)
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            assert found[file.name]["hashes"] == [{"alg": "SHA-256", "content": digest}], file.name
            continue
        top = file.relative_to(folder).parts[0].partition(".")[0]
        owner = owners.get(top, top)
        assert owner in found or owner == bill["metadata"]["component"]["name"], file
    assert {"libssl.so.3", "libpython3.11.so.1.0"} <= libraries
    assert {name for name in found if ".so" in name} == libraries
    # The program that starts it all.
    started = (tmp_path / "usr/lib/edgemon/edgemon").read_bytes()
    assert b"_PYI_" in started and found["PyInstaller bootloader"]["version"]
    # A library is in a file of its own, or compiled into one that says so.
    assert "zstd" in found and {"expat", "libexpat.so.1"} & set(found)
    needed = subprocess.run(
        ["readelf", "-d", tmp_path / "usr/lib/edgemon/edgemon"], capture_output=True, check=True
    ).stdout
    inside = any(re.fullmatch(r"pkg:generic/zlib@.*#edgemon", one) for one in references(bill))
    assert (b"libz.so" in needed) != inside


def test_every_module_that_works_on_a_device_is_bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PACKAGING))
    import bundle  # type: ignore[import-not-found]

    from edgemon.cli import COMMANDS

    names = set(bundle.hidden_imports())
    commands = {command.module for command in COMMANDS} - {"edgemon.cli.demo"}
    assert commands <= names
    assert {
        "edgemon.ship.s3_child",
        "edgemon.receive.sqlite",
        "edgemon._core.kernels",
        "edgemon",
    } <= names
    assert not {
        name
        for name in names
        if name.startswith(("edgemon.demo", "edgemon.connectors", "edgemon.receive.parquet"))
    }
