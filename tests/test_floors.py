"""The floors of ARCHITECTURE.md: imports only go down, and some rooms never look at each other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import edgemon

ROOT = Path(edgemon.__file__).parent

# Room -> floor. A module belongs to the room of its first component below `edgemon`.
FLOORS = {
    "_core": 1,
    "version": 1,
    "typed": 1,
    "std": 1,
    "zstd": 1,
    "errors": 2,
    "records": 2,
    "metrics": 2,
    "log": 2,
    "program": 2,
    "service": 2,
    "wire": 2,
    "anomaly": 3,
    "drift": 3,
    "performance": 3,
    "quality": 3,
    "rules": 3,
    "flow": 3,
    "config": 3,
    "spool": 4,
    "ingest": 4,
    "collect": 4,
    "plugins": 4,
    "ship": 4,
    "client": 4,
    "remote": 4,
    "control": 4,
    "agent": 5,
    "connectors": 5,
    "receive": 5,
    "selftest": 5,
    "monitor": 6,
    "report": 6,
    "cli": 6,
    "demo": 6,
    "__main__": 6,
}
# Rooms on one floor that must not know each other, beyond "imports only go down".
STRANGERS = [
    ("agent", "receive"),
    ("ingest", "ship"),
    ("ingest", "spool"),
    ("collect", "spool"),
    ("drift", "flow"),
]
# Rooms that nothing else of edgemon may import: they stand for a framework that an application has.
ENDS = ["connectors"]
# Rooms that the agent and the shipper are made of.
LEAN = {
    "errors", "records", "metrics", "log", "program", "service", "wire", "anomaly", "drift", "quality", "performance",
    "flow", "rules", "config", "spool", "ingest", "collect", "plugins", "ship", "remote", "control", "agent", "zstd",
}  # fmt: skip
# What these rooms have of their own instead, in edgemon.typed and edgemon.std.
HAVE_STAND_INS = {"typing"} | {
    path.stem for path in (ROOT / "std").iterdir() if path.stem not in ("__init__", "__pycache__")
}
# Loaded for what only some configurations have, which needs more of the library.
MAY_BE_LARGE = {ROOT / "ship" / "s3.py", ROOT / "ship" / "secrets.py"}
# What only one module may call: the house rule behind every promise about durability.
PORT = ROOT / "spool" / "fs.py"


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)


def room(dotted: str) -> str:
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 else "version"


def imports(path: Path) -> set[str]:
    """Dotted names of edgemon modules that a file imports, at module level or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}: relative imports hide the floor"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "edgemon"}


def own_room(path: Path) -> str:
    relative = path.relative_to(ROOT).with_suffix("")
    return relative.parts[0] if relative.parts[0] != "__init__" else "version"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_go_down(path: Path) -> None:
    here = own_room(path)
    assert here in FLOORS, f"{here} has no floor: add it to ARCHITECTURE.md and here"
    for name in imports(path):
        there = room(name)
        if there == here:
            continue
        assert there not in ENDS, f"{here} imports {name}"
        assert FLOORS[there] <= FLOORS[here], (
            f"{here} (floor {FLOORS[here]}) imports {name} (floor {FLOORS[there]})"
        )
        assert (here, there) not in STRANGERS and (there, here) not in STRANGERS, (
            f"{here} imports {name}"
        )


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_file_system_port_syncs_and_renames(path: Path) -> None:
    if path == PORT:
        return
    called = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }
    assert not called & {"fsync", "fdatasync", "rename", "replace", "sync"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_in_the_package_imports_numpy_when_it_is_imported(path: Path) -> None:
    if own_room(path) in ("demo", "connectors"):
        return
    top = [
        node
        for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in top if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in names} & {"numpy", "scipy", "sklearn", "boto3"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_device_runs_does_without_the_librarys_megabytes(path: Path) -> None:
    if own_room(path) not in LEAN or path in MAY_BE_LARGE:
        return
    for node in ast.parse(path.read_text()).body:
        names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
        if isinstance(node, ast.ImportFrom):
            names = {node.module or ""}
        large = {name for name in names if name.split(".")[0] in HAVE_STAND_INS}
        assert not large, f"line {node.lineno}: take {large} from edgemon.typed or edgemon.std"


def test_every_room_stands_in_the_table_of_floors() -> None:
    page = (ROOT.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = page[page.index("## Floors") : page.index("## Where do I add")]
    named: dict[str, int] = {}
    for line in table.splitlines():
        cells = line.split()
        level = next((index for index, cell in enumerate(cells) if cell.isdigit()), None)
        if line.startswith("    ") and level is not None:
            for name in cells[:level]:
                named[name.removeprefix("edgemon/").removesuffix("/").removesuffix(".py")] = int(
                    cells[level]
                )
    assert {name: named.get(name) for name in FLOORS} == FLOORS


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"])
def test_every_file_that_a_page_names_is_there(name: str) -> None:
    top = ROOT.parent
    page = (top / name).read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./-]*\w\.(?:py|pyi|pyx|h|c|sql|sh|toml|md))`", page))
    named |= set(re.findall(r"\]\(([\w./-]+\.md)\)", page))
    known = [
        path.relative_to(top).as_posix()
        for folder in ("edgemon", "csrc", "tests", "benchmarks", "packaging", "docs")
        for path in (top / folder).rglob("*.*")
    ]
    known += [path.name for path in top.glob("*.*")]
    of_a_user = {"edgemon.toml"}
    missing = {
        one
        for one in named - of_a_user
        if not any(path == one or path.endswith(f"/{one}") for path in known)
    }
    assert not missing
