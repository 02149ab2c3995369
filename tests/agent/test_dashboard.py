"""packaging/grafana/edgemon.json asks for what the agent's page has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import edgemon
from edgemon.agent.exposition import page
from tests.agent.test_metrics import AGENT

ROOT = Path(edgemon.__file__).parent
DASHBOARD = ROOT.parent / "packaging" / "grafana" / "edgemon.json"
SHIP: dict[str, Any] = {
    "sink": "mqtt", "connected": True, "inflight": 1, "shipped": {"pred": {"batches": 1, "bytes": 2}},
}  # fmt: skip


def panels() -> list[dict[str, Any]]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = loaded["panels"]
    return found


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel.get("targets", ())]


def test_every_metric_that_it_asks_for_is_on_the_page_or_is_a_counter_of_the_source() -> None:
    text = page(AGENT, SHIP, 0.0, openmetrics=False).decode()
    known = set(re.findall(r"^(edgemon_\w+)", text, re.M))
    for path in ROOT.rglob("*.py"):
        if path.name != "exposition.py":
            known |= set(re.findall(r'"(edgemon_\w+_total)"', path.read_text(encoding="utf-8")))
    asked = {name for query in queries() for name in re.findall(r"edgemon_\w+", query)}
    assert len(asked) > 15
    assert asked - known == set()


def test_every_label_that_it_asks_for_is_there() -> None:
    text = page(AGENT, SHIP, 0.0, openmetrics=False).decode()
    known = set(re.findall(r'[{,](\w+)="', text)) | {"instance"}
    matched = {label for query in queries() for label in re.findall(r"[{,](\w+)=", query)}
    assert matched - known == set()


def test_panels_are_named_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["title"]
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
