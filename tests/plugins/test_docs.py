"""docs/plugins.md is the protocol's specification: what it shows is what is said."""

from __future__ import annotations

import json
import re
from pathlib import Path

from edgemon.config import parse
from edgemon.config.plugins import PLUGINS
from edgemon.plugins import host, process, protocol
from tests.plugins.rig import EXAMPLES

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")


def shown(op: str) -> dict[str, object]:
    """edgemon's line of that op, as the page has it."""
    (line,) = set(re.findall(rf'`(\{{"op":"{op}".*?\}})`', PAGE))
    found: dict[str, object] = json.loads(line.replace("{…}", "{}"))
    return found


def test_the_lines_of_edgemon_have_the_keys_of_the_page_in_that_order() -> None:
    about = process.about(parse("[agent]\ndevice = 'd'"))
    start = json.loads(protocol.start("soil", "collector", {}, about))
    assert list(shown("start")) == list(start)
    assert shown("start")["version"] == protocol.VERSION
    assert json.dumps(shown("collect"), separators=(",", ":")).encode() + b"\n" == protocol.COLLECT
    assert json.dumps(shown("stop"), separators=(",", ":")).encode() + b"\n" == protocol.STOP
    sink = Path(process.__file__).with_name("sink.py").read_text()
    keys = [
        "op",
        "device",
        "fleet",
        *re.findall(r'^            "(\w+)": parcel', sink, re.M),
        "batch",
    ]
    assert list(shown("send")) == keys


def test_what_a_plugin_may_say_is_understood() -> None:
    answers = re.findall(r'`(\{"(?:hello|values|ack|retry|reject|error|log)".*?\})`', PAGE)
    assert {protocol.parse(line.encode()).kind for line in answers} == {
        "hello", "values", "ack", "retry", "reject", "error", "log",
    }  # fmt: skip


def test_the_bounds_of_the_page_are_those_in_force() -> None:
    assert f"line above {protocol.MAX_LINE_BYTES >> 10} KiB" in PAGE
    assert f"{process.MAX_BYTES_A_MINUTE >> 20} MiB within a minute" in PAGE
    assert f"more than {process.LOG_LINES_A_MINUTE} lines a minute" in PAGE
    assert f"within {process.STOP_S:g} s" in PAGE
    assert f"first {protocol.MAX_SERIES} names" in PAGE
    assert f"1 to {protocol.MAX_NAME_CHARACTERS} of the characters" in PAGE
    assert all(re.search(rf"\b{name}\b", PAGE) for name in host.KEPT)


def test_its_tables_of_toml_are_accepted() -> None:
    tables = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    assert len(tables) == 2
    for table in tables:
        config = parse(table.replace("/usr/lib/edgemon/plugins", str(EXAMPLES)))
        assert config.plugins
    names = {key.name for key in PLUGINS.keys}
    assert names >= set(
        re.findall(r"`(memory|cpu_time|open_files|nice|timeout|start_timeout|interval)`", PAGE)
    )
