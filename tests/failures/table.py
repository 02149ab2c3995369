"""Writes the table of docs/failures.md: python -m tests.failures.table DELAYS, the file that the tests wrote."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

from tests.failures.acts import OF_DEVICES
from tests.failures.catalogue import OF_PREDICTIONS

PAGE = Path(__file__).parent.parent.parent / "docs" / "failures.md"
BEGIN, END = "<!-- catalogue -->", "<!-- end of the catalogue -->"


class Entry(NamedTuple):
    """What the page says of a failure, but for its delay."""

    name: str
    what: str
    event: str
    stream: str
    twin_is: str


ENTRIES = [
    Entry(failure.name, failure.what, failure.event, failure.stream, failure.twin_is)
    for failure in OF_PREDICTIONS
] + [
    Entry(failure.name, failure.what, failure.event, failure.stream, failure.twin_is)
    for failure in OF_DEVICES
]


def lines(delays: dict[str, str]) -> list[str]:
    """A row for each failure. delays: name -> how long it took."""
    table = [
        "| failure | event | of | delay | healthy twin, silent |",
        "|---|---|---|---|---|",
    ]
    for failure in ENTRIES:
        stream = f"`{failure.stream}`" if failure.stream else ""
        delay = delays.get(failure.name, "")
        table.append(
            f"| {failure.what} | `{failure.event}` | {stream} | {delay} | {failure.twin_is} |"
        )
    return table


def main() -> None:
    delays = dict(json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines())
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(before + "\n".join([BEGIN, "", *lines(delays), "", END]) + after)


if __name__ == "__main__":
    main()
