"""The software bill of materials of a binary: CycloneDX 1.5, one JSON file.

It is derived from what PyInstaller put in: each Python module is traced to its distribution, modules of the standard
library to CPython, and each shared library stands with its checksum, and its version where the interpreter knows it.
PyInstaller's bootloader is part of every program that it makes. What is compiled into another file is found by the
words that it leaves there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import uuid
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

Component = dict[str, Any]

# Libraries that get compiled into others: what their authors have every copy say, and their licence.
_SAYS = {
    "zlib": (re.compile(rb" (?:in|de)flate (\d+(?:\.\d+)+) Copyright"), "Zlib"),
    "expat": (re.compile(rb"\0expat_(\d+(?:\.\d+)+)\0"), "MIT"),
}
_THEMSELVES = ("libz.so", "libexpat.so")


def write(
    path: str, modules: list[str], binaries: list[tuple[str, str]], program: str, pyinstaller: str
) -> None:
    """modules: dotted names. binaries: (name in the bundle, path of the file). program: path of what starts all this,
    PyInstaller's bootloader. pyinstaller: its version."""
    owners = metadata.packages_distributions()
    names: set[str] = set()
    for top in {name.partition(".")[0] for name in modules} | {_top(name) for name, _ in binaries}:
        names.update(owners.get(top, ()))
    own = metadata.version("edgemon")
    components = [_distribution(name) for name in sorted(names, key=str.lower) if name != "edgemon"]
    version = sys.version.split()[0]
    components.append(
        _component("platform", "CPython", version, f"pkg:generic/cpython@{version}", "PSF-2.0")
    )
    components.append(
        _component(
            "library", "PyInstaller bootloader", pyinstaller, f"pkg:pypi/pyinstaller@{pyinstaller}",
            "GPL-2.0-or-later WITH Bootloader-exception",
        )
    )  # fmt: skip
    components += [
        _library(name, source) for name, source in sorted(binaries) if _top(name) == name
    ]
    components += _compiled_in([("edgemon", program), *sorted(binaries)])
    stamp = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(stamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": _component("application", "edgemon", own, f"pkg:pypi/edgemon@{own}", "Apache-2.0"),
            "properties": [{"name": "edgemon:platform", "value": sysconfig_platform()}],
        },
        "components": components,
    }  # fmt: skip
    # Named after its content: the same bundle has the same number.
    content = json.dumps(bill, sort_keys=True).encode()
    bill["serialNumber"] = (
        f"urn:uuid:{uuid.UUID(bytes=hashlib.sha256(content).digest()[:16], version=4)}"
    )
    with open(path, "w", encoding="utf-8") as file:
        json.dump(bill, file, indent=1)
        file.write("\n")


def sysconfig_platform() -> str:
    """Such as linux-aarch64."""
    import sysconfig

    return sysconfig.get_platform()


def _top(name: str) -> str:
    """The first part of a path, or of a module's dotted name; a library in no folder is its own."""
    first = name.replace("\\", "/").partition("/")[0]
    return first if ".so" in first else first.partition(".")[0]


def _distribution(name: str) -> Component:
    about = metadata.metadata(name)
    version = metadata.version(name)
    licence = about.get("License-Expression") or ""
    if not licence:
        trove = [
            line for line in about.get_all("Classifier") or [] if line.startswith("License ::")
        ]
        licence = trove[0].rpartition(" :: ")[2] if trove else (about.get("License") or "").strip()
    short = licence if len(licence) < 80 else licence.partition("\n")[0][:80]
    canonical = name.lower().replace("_", "-")
    return _component("library", name, version, f"pkg:pypi/{canonical}@{version}", short)


def _compiled_in(files: list[tuple[str, str]]) -> list[Component]:
    """Libraries inside programs, extensions and other libraries. files: (name in the bundle, path)."""
    found = []
    for name, path in files:
        if name.startswith(_THEMSELVES):
            continue
        with open(path, "rb") as file:
            content = file.read()
        inside = [
            (library, said[1].decode(), licence)
            for library, (words, licence) in _SAYS.items()
            if (said := words.search(content))
        ]
        if _top(name) == "zstandard" and b"ZSTD_" in content:
            inside.append(("zstd", _zstd(), "BSD-3-Clause OR GPL-2.0-only"))
        for library, version, licence in inside:
            one = _component(
                "library", library, version, f"pkg:generic/{library}@{version}", licence
            )
            one["bom-ref"] = f"{one['purl']}#{name}"
            one["properties"] = [{"name": "edgemon:compiled-into", "value": name}]
            found.append(one)
    return found


def _zstd() -> str:
    import zstandard

    return ".".join(map(str, zstandard.ZSTD_VERSION))


def _library(name: str, path: str) -> Component:
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    stem = name.partition(".so")[0]
    found = _component("library", name, _versions().get(stem.rstrip("0123456789.-"), ""), "", "")
    found["hashes"] = [{"alg": "SHA-256", "content": digest}]
    found["bom-ref"] = f"file:{name}"
    return found


def _versions() -> dict[str, str]:
    """Of shared libraries, as the interpreter that is bundled with them says."""
    import pyexpat
    import sqlite3
    import ssl
    import zlib

    openssl = ssl.OPENSSL_VERSION.split()[1]
    return {
        "libssl": openssl,
        "libcrypto": openssl,
        "libsqlite": sqlite3.sqlite_version,
        "libz": zlib.ZLIB_RUNTIME_VERSION,
        "libexpat": pyexpat.EXPAT_VERSION.removeprefix("expat_"),
        "libpython": sys.version.split()[0],
    }


def _component(kind: str, name: str, version: str, purl: str, licence: str) -> Component:
    found: Component = {"type": kind, "name": name}
    if version:
        found["version"] = version
    if purl:
        found["purl"] = found["bom-ref"] = purl
    if licence:
        found["licenses"] = [{"license": {"name": licence}}]
    return found
