"""Batches as JSON values that tell apart all that `==` does not: NaN is itself, -0.0 is not 0.0.

The same form that tests/wire/decode.js prints.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

from edgemon.records import Batch


def canonical(batch: Batch, skipped: Iterable[str] = ()) -> dict[str, object]:
    """Comparable with ==, whatever is in the batch."""
    return {
        "k": batch.kind,
        "dev": batch.device,
        "fleet": batch.fleet,
        "stream": _cell(batch.stream),
        "seq": batch.seq,
        "boot": _cell(batch.boot),
        "t0": batch.wall_ns,
        "m0": batch.mono_ns,
        "clk": batch.clock_error_ms,
        "n": batch.rows,
        "drop": batch.dropped,
        "r": dict(batch.resource),
        "columns": [
            [column.name, column.type, [_cell(value) for value in column.values]]
            for column in batch.columns
        ],
        "skipped": list(skipped),
    }


def _cell(value: object) -> object:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, list):
        return [_cell(element) for element in value]
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        if value == 0 and math.copysign(1, value) < 0:
            return "-0"
    return value


def text(batch: Batch) -> str:
    """One line an envelope key and a column, for golden files."""
    form = canonical(batch)
    columns = form.pop("columns")
    assert isinstance(columns, list)
    lines = [
        f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in form.items()
    ]
    inner = ",\n".join(f"  {json.dumps(column, ensure_ascii=False)}" for column in columns)
    return "{\n" + ",\n".join([*lines, f' "columns": [\n{inner}\n ]']) + "\n}\n"
