"""docs/rules.md says what is so."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

import pytest

from edgemon.config import parse
from edgemon.errors import ConfigError
from edgemon.rules.expression import parse as condition
from edgemon.rules.figures import FIGURES, SERIES, SYSTEM, find, markdown

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
DEVICE_PAGE = PAGE.with_name("device.md")
BEGIN, END = "<!-- figures: made from edgemon/rules/figures.py -->\n", "<!-- end of figures -->\n"


def documented() -> str:
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    return f"{before}{BEGIN}\n{markdown()}\n{END}{rest.split(END)[1]}"


def test_the_table_of_figures_is_that_of_the_program() -> None:
    assert PAGE.read_text(encoding="utf-8") == documented(), (
        "run: .venv/bin/python -m tests.rules.test_page --write"
    )


def test_its_ten_rules_are_accepted() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## Ten rules\n")[2].partition("\n## ")[0]
    config = parse(textwrap.dedent(text))
    assert len(config.rules) == 10
    assert list(config.actions) == ["restart-camera"]


def test_its_fault_is_what_is_said() -> None:
    when = "rate > 1 and latncy.p99 > 250ms"
    rules = '[[rules]]\nwhen = "rate > 1"\n\n' + '[[rules]]\nwhen = "rate > 2"\n\n'
    with pytest.raises(ConfigError) as caught:
        parse("\n" * 6 + f'{rules}[[rules]]\nwhen = "{when}"\n', "edgemon.toml")
    [fault] = caught.value.faults
    assert f"{fault}\n{fault.detail}\n" in PAGE.read_text(encoding="utf-8")


def test_every_figure_can_be_named() -> None:
    for figure in FIGURES:
        unit = next(iter(figure.unit.factors), "")
        assert condition(f"{figure.name} > 0{unit}").figures[figure.name] == figure
    for series in SERIES:
        assert find(SYSTEM + series.replace("*", "x")) is not None


def test_every_series_of_the_collectors_is_known() -> None:
    """By docs/device.md, which the collectors' own tests hold."""
    table = (
        DEVICE_PAGE.read_text(encoding="utf-8").partition("| collector |")[2].partition("\n\n")[0]
    )
    names = re.findall(r"`([a-z0-9_]+(?:_[a-z0-9_<>\[\].]+))`", table)
    assert len(names) > 25
    for name in names:
        example = re.sub(r"<\w+>", "x", re.sub(r"\[.*?\]", "", name))
        assert find(SYSTEM + example) is not None, name


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    PAGE.write_text(documented(), encoding="utf-8")
