"""Entry points, read without importlib.metadata: the same as it reads, and what is loaded of them."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from edgemon.errors import UsageError
from edgemon.plugins import entry


def package(folder: Path, name: str, points: str) -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)


def oracle(group: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for point in importlib.metadata.entry_points(group=group):
        value = f"{point.module}:{point.attr}" if point.attr else point.module
        found.setdefault(point.name, value)
    return found


@pytest.mark.parametrize(
    "group", ["console_scripts", "pytest11", "distutils.commands", "none.such"]
)
def test_what_is_installed_here_is_read_as_importlib_reads_it(group: str) -> None:
    assert entry.offered(group) == oracle(group)


def test_forms_that_a_file_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(
        tmp_path / "first",
        "one",
        "# by hand\n[other]\nx = a:b\n\n[edgemon.collectors]\nsoil = pins.soil:Soil\n  air=pins : Air.make [i2c]\n"
        "; no\nwhole = pins\n[edgemon.sinks]\nsoil = pins:Sink\n",
    )
    package(
        tmp_path / "second", "two", "[edgemon.collectors]\nsoil = later:Soil\nrain = later:Rain\n"
    )
    (tmp_path / "second" / "bad-1.0.dist-info").mkdir()
    (tmp_path / "second" / "bad-1.0.dist-info" / "entry_points.txt").write_bytes(b"\xff\xfe\x00")
    monkeypatch.setattr(
        sys, "path", [str(tmp_path / "first"), "/nonexistent", str(tmp_path / "second")]
    )
    assert entry.offered("edgemon.collectors") == {
        "soil": "pins.soil:Soil", "air": "pins:Air.make", "whole": "pins", "rain": "later:Rain",
    }  # fmt: skip
    assert entry.offered("edgemon.sinks") == {"soil": "pins:Sink"}
    with pytest.raises(UsageError) as caught:
        entry.find("sink", "sol")
    assert str(caught.value) == (
        'no installed package has the entry point "sol" of the group edgemon.sinks; there is soil'
    )


def test_an_object_within_a_module_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, "pins", "[edgemon.collectors]\nair = edgemon_test_pins:Air.make\n")
    (tmp_path / "edgemon_test_pins.py").write_text(
        "class Air:\n    @classmethod\n    def make(cls): return cls()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert type(entry.load("collector", "air")()).__name__ == "Air"
