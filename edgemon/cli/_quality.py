"""What is wrong with the data of models, in words: from the status of a model's version (edgemon.quality.model)."""

from __future__ import annotations

from typing import Any

from edgemon.cli._terminal import wrapped


def lines(models: list[dict[str, Any]]) -> list[str]:
    """For `edgemon status`: one for each version with a fault."""
    found = []
    for model in models:
        if said := faults(model):
            name = f"{model['model']} {model['version']}".strip()
            found.append(wrapped(f"  {name}: {', '.join(said)}", "    "))
    return ["", "faults of the data", *found] if found else []


def faults(model: dict[str, Any]) -> list[str]:
    """Each fault that is on, the model's own last.

    >>> faults({"quality": [{"kind": "out_of_range", "stream": "f:a"}, {"kind": "silence", "stream": ""}]})
    ['f:a out of range', 'silence']
    """
    told = model.get("quality") or []
    return [f"{one['stream']} {one['kind'].replace('_', ' ')}".strip() for one in told]
