"""Each counter of agent and shipper has its words, and the documentation the same."""

from __future__ import annotations

import re
from pathlib import Path

from edgemon.agent.counters import HELP

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "looking.md").read_text(encoding="utf-8")
BEGIN, END = (
    "<!-- counters: made from edgemon/agent/counters.py -->\n",
    "<!-- end of counters -->\n",
)


def named_in_the_code() -> set[str]:
    found = set()
    for path in (ROOT / "edgemon").rglob("*.py"):
        if path.name not in ("counters.py", "exposition.py"):
            text = path.read_text(encoding="utf-8")
            found |= set(re.findall(r'"(edgemon_\w+_total)["{]', text))
            found |= {
                f"edgemon_spool_{what}_total"
                for what in re.findall(r'(?:self|health)\.count\(\s*"(\w+)"', text)
            }
    return found


def test_every_counter_has_its_words_and_none_is_left_over() -> None:
    named = named_in_the_code()
    assert len(named) > 80
    assert named == set(HELP)


def test_the_documentation_lists_them() -> None:
    table = PAGE[PAGE.index(BEGIN) + len(BEGIN) : PAGE.index(END)]
    rows = "".join(f"| `{name}` | {words} |\n" for name, words in sorted(HELP.items()))
    assert table == f"| counter | counts |\n|---|---|\n{rows}"


def test_the_documentation_names_no_other() -> None:
    pages = [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")]
    named = {
        name
        for page in pages
        for name in re.findall(r"edgemon_\w+_total", page.read_text(encoding="utf-8"))
    }
    gauges = {"edgemon_model_predictions_total", "edgemon_model_errors_total"}
    shipped = {"edgemon_ship_shipped_batches_total", "edgemon_ship_shipped_bytes_total"}
    assert named - set(HELP) - gauges - shipped == set()
