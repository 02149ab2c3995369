"""Every type of event stands in the table of docs/failures.md, and on the page that the table names."""

from __future__ import annotations

import re
from pathlib import Path

from edgemon.quality.kinds import KINDS

ROOT = Path(__file__).parents[2]
AREAS = "agent|anomaly|clock|drift|errors|model|performance|plugin|profile|quality|rule|spool"
NO_EVENTS = re.compile(  # what looks alike: figures of rules, files
    r"agent\.(sock|memory)|drift\.(d|ratio|drifted)|errors\.(rate|share)|model\.(onnx|tflite)|plugin\.test"
    r"|spool\.(told|waiting|oldest|fill|drops|bytes|failing)"
)


def _in_the_code() -> set[str]:
    found = {f"quality.{kind}" for kind in KINDS}
    for path in (ROOT / "edgemon").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(rf'"((?:{AREAS})\.[a-z_]+|config\.re\w+|gap)"', text))
    for module, prefix, call in (
        ("agent/remote.py", "config.remote", r'self\._say\("(\w+)"'),
        ("remote/store.py", "config.remote", r'self\._ended\("(\w+)"'),
        ("drift/numeric.py", "drift", r'Transition\("(\w+)"'),
        ("drift/numeric.py", "drift", r'self\._transition\("(\w+)"'),
    ):
        text = (ROOT / "edgemon" / module).read_text(encoding="utf-8")
        found |= {f"{prefix}.{what}" for what in re.findall(call, text)}
    return {name for name in found if not NO_EVENTS.fullmatch(name)}


def _of_the_page() -> dict[str, str]:
    """Type -> the last cell of its row."""
    page = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
    rows = page[page.index("## All events") :].splitlines()
    found = {}
    for cells in (row.split(" | ") for row in rows if row.startswith("| `")):
        area = ""
        for name in re.findall(r"`([\w.]+)`", cells[0])[("`type`" in cells[0]) :]:
            if name.startswith("."):
                name = area + name
            area = name.rpartition(".")[0]
            assert name not in found, f"{name} stands twice"
            found[name] = cells[-1].strip(" |")
    return found


def test_every_type_stands_in_the_table_and_no_other() -> None:
    named = _in_the_code()
    assert len(named) > 40
    assert set(_of_the_page()) == named | {
        "rule.fired",
        "rule.cleared",
        "profile.built",
        "profile.adopted",
    }


def test_the_page_that_the_table_names_has_it() -> None:
    for name, where in _of_the_page().items():
        if where != "this page":
            page = re.search(r"\((\w+\.md)\)", where)
            assert page is not None, where
            text = (ROOT / "docs" / page[1]).read_text(encoding="utf-8")
            assert f"`{name}`" in text or f"`.{name.rpartition('.')[2]}`" in text, (
                f"{name}: {page[1]}"
            )
