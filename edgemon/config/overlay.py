"""A text from afar over the local file: how the two are joined, and what no device would take.

The local file must be right by itself. Laid over it, table by table and key by key, the text must make
a configuration that is right as well, and touch nothing but what the local file allows (reach.py).
"""

from __future__ import annotations

from edgemon.config.locate import line_of, locate
from edgemon.config.reach import leaves, refusal, whole_section
from edgemon.config.schema import BY_NAME
from edgemon.config.syntax import document_of
from edgemon.config.tables import Table
from edgemon.config.toml import dotted
from edgemon.errors import ConfigError, Fault
from edgemon.typed import Any

MAX_KEYS = 256


def fit_to_read(text: str, name: str) -> dict[str, Any]:
    """The document, before any value in it is looked at.

    Raises ConfigError when it is no TOML, when it has so many keys that their faults alone would be megabytes, and
    when it has sections of which nothing is within reach, such as those that run programs.
    """
    document = document_of(text, name)
    if (keys := sum(1 for _ in leaves(document))) > MAX_KEYS:
        raise ConfigError([Fault(name, 0, "", f"has {keys} keys, must have at most {MAX_KEYS}")])
    known = {*BY_NAME, "plugins"}
    forbidden = {at: document[at] for at in document if at in known and whole_section(at)}
    if forbidden:
        lines = locate(text)
        raise ConfigError(
            [
                Fault(name, line_of(lines, path), dotted(path), refusal(path, ["*"]))
                for path in leaves(forbidden)
            ]
        )
    return document


def never_taken(text: str, name: str) -> list[Fault]:
    """What no device would take, whatever it allows. Raises ConfigError as `fit_to_read`."""
    document = fit_to_read(text, name)
    lines, faults = locate(text), []
    for path in leaves(document):
        if problem := refusal(path, ["*"]):
            faults.append(Fault(name, line_of(lines, path), dotted(path), problem))
    return faults


def merged(local: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Two documents as one: tables are joined key by key, of a key that both have the overlay's value holds."""
    joined = dict(local)
    for name, table in over.items():
        section, below = BY_NAME.get(name), joined.get(name)
        if section is None or not isinstance(table, dict) or not isinstance(below, dict):
            joined[name] = table
        elif name == "models":
            joined[name] = below | {
                model: _joined(section.keys, below.get(model, {}), settings)
                for model, settings in table.items()
            }
        else:
            joined[name] = _joined(section.keys, below, table)
    return joined


def _joined(keys: Any, below: Any, over: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(over, dict):
        return over
    tables = {key.name: key.kind for key in keys if isinstance(key.kind, Table)}
    return below | {
        name: _joined(tables[name].keys, below.get(name, {}), value) if name in tables else value
        for name, value in over.items()
    }
