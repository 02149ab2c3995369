"""docs/failures.md has what the catalogue has."""

from __future__ import annotations

from tests.failures.table import ENTRIES, PAGE


def test_every_failure_stands_in_the_page_with_its_event_and_its_delay() -> None:
    rows = [line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    found = {row[0].removeprefix("| "): (row[1], row[3]) for row in rows if len(row) == 5}
    assert len(ENTRIES) >= 25
    for failure in ENTRIES:
        event, delay = found[failure.what]
        assert event == f"`{failure.event}`"
        assert delay, f"make failures has not measured {failure.name}"


def test_names_are_used_once() -> None:
    names = [failure.name for failure in ENTRIES]
    assert len(set(names)) == len(names)
