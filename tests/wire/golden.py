"""The batches behind the golden files. `python -m tests.wire.golden` writes those that are not there yet.

A golden file is never written anew: what version 1 once wrote must stay readable. Remove nothing; add.
"""

from __future__ import annotations

import math
import os
import random
import sys
import uuid
from collections.abc import Callable

from edgemon import wire
from edgemon.records import Batch, Row
from tests.wire.batches import INT64_MAX, INT64_MIN, batch_of_rows, column, f32, make_batch
from tests.wire.canonical import text

FOLDER = os.path.join(os.path.dirname(__file__), "golden", "v1")


def _pred() -> Batch:
    """Every encoding at least once."""
    rng = random.Random(11)
    few = [rng.random() for _ in range(5)]
    rows: list[Row] = []
    for k in range(150):
        weights = [math.exp(rng.gauss(0, 2)) for _ in range(3)]
        row: Row = {
            "t": 100_000 * k + rng.randrange(900),
            "model": "meter",
            "version": rng.choice(["1", "2"]),
            "id": f"meter-{998 + k}",
            "output": [weight / sum(weights) for weight in weights],
            "latency": rng.randrange(2**30) / 2**42,
            "w": 100.0,
            "f:celsius": round(rng.gauss(20, 3), 2),
            "f:volt": rng.randrange(1000, 3000) * 0.001,
            "f:noise": rng.gauss(0, 1),
            "f:single": f32(rng.gauss(0, 1)),
            "f:few": rng.choice(few),
            "f:trace": str(uuid.UUID(int=rng.getrandbits(128))),
            "f:place": rng.choice(["Köln", "東京", "Łódź"]),
            "f:words": " ".join(rng.choices(["we", "all", "went", "down", "to", "sea"], k=5)),
        }
        if k % 7 == 0:
            row |= {"ts": 1_790_000_000_000_000 + 1000 * rng.randrange(10**9), "f:celsius": None}
        if k % 50 == 3:
            row["f:volt"] = [math.nan, math.inf, -0.0][k // 50]
        rows.append(row)
    return batch_of_rows(rows)


def _extremes() -> Batch:
    floats = [0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 0.1]
    ints = [INT64_MIN, INT64_MAX, 0, -1, INT64_MAX, INT64_MIN, 1, 2]
    return make_batch(
        [
            column("f8", [*floats, None], "f8"),
            column("f4", [*map(f32, floats), None], "f4"),
            column("i8", [*ints, None], "i8"),
            column("str", ["", "é", "\0", None, "🙂", "\ufeff", "a" * 300, "0", "00"], "str"),
            column(
                "bin", [b"", b"\0", bytes(range(256)), None, b"a", b"b", b"c", b"d", b"e"], "bin"
            ),
            column("v8:2", [None, *([value, value] for value in floats)], "v8"),
            column("vi:2", [None, *([value, 0] for value in ints)], "vi"),
            column("v8:0", [[], None, [], None, [], None, [], None, []], "empty"),
            column("f8", [None] * 9, "nothing"),
            column("str", [None] * 9, "no text"),
            column("bin", [b"one"] * 9, "one"),
        ],
        seq=2**64 - 1,
    )._replace(clock_error_ms=None, wall_ns=INT64_MAX, mono_ns=0, device="gerät")


def _agg() -> Batch:
    rng = random.Random(12)
    rows: list[Row] = []
    for k in range(12):
        for stream in ("", "output", "latency", "f:celsius"):
            row: Row = {
                "t": 60_000_000 * (k + 1),
                "dur": 60_000_000,
                "model": "meter",
                "version": "1",
            }
            row |= {"stream": stream, "n": 600 - rng.randrange(3), "missing": rng.randrange(3)}
            if stream:
                row |= {
                    "mean": rng.gauss(20, 1),
                    "m2": rng.expovariate(0.01),
                    "min": 11.25,
                    "max": 31.5,
                }
                row |= {"sketch": rng.randbytes(40), "profile": "9f86d081884c7d65", "drifted": 0}
                row |= {"hist": [rng.randrange(20, 40) for _ in range(20)], "d": rng.random()}
                row |= {"ks_n": 1000, "ks_h": rng.randrange(9000), "ks_threshold": 8541}
            else:
                row["cats"] = '{"Köln": 3}'
            rows.append(row)
    return batch_of_rows(rows, "agg")


def _sys() -> Batch:
    rng = random.Random(13)
    free = 900_000_000.0
    rows: list[Row] = []
    for k in range(30):
        free -= 4096 * rng.randrange(50)
        rows.append(
            {
                "t": 10_000_000 * k,
                "cpu_percent": round(rng.random() * 100, 1),
                "memory_available_bytes": free,
            }
        )
    rows.append({"t": 300_000_001, "name": "épaisseur", "value": 0.25, "step": 7})
    return batch_of_rows(rows, "sys")


def _event() -> Batch:
    row: Row = {
        "t": 5,
        "type": "drift.started",
        "severity": "alarm",
        "model": "meter",
        "version": "1",
    }
    row |= {"stream": "f:celsius", "message": "f:celsius ist gewandert", "data": '{"h": 8600}'}
    return batch_of_rows([row], "event")


def _gap() -> Batch:
    return batch_of_rows([], "event")


BATCHES: dict[str, Callable[[], Batch]] = {
    "pred": _pred,
    "extremes": _extremes,
    "agg": _agg,
    "sys": _sys,
    "event": _event,
    "empty": _gap,
}
# Further golden files of the same batches: name -> (batch, how it is encoded).
VARIANTS: dict[str, tuple[str, dict[str, str]]] = {
    "pred-plain": ("pred", {"layout": "plain"}),
    "pred-f32": ("pred", {"precision": "f32"}),
    "extremes-plain": ("extremes", {"layout": "plain"}),
}


def encoded(name: str) -> bytes:
    batch, settings = VARIANTS.get(name, (name, {}))
    return wire.encode(BATCHES[batch](), **settings)  # type: ignore[arg-type]


def main() -> int:
    os.makedirs(FOLDER, exist_ok=True)
    for name in [*BATCHES, *VARIANTS]:
        path = os.path.join(FOLDER, name)
        if os.path.exists(path + ".zst"):
            print(f"{name}: kept")
            continue
        frame = encoded(name)
        with open(path + ".zst", "wb") as file:
            file.write(frame)
        with open(path + ".json", "w", encoding="utf-8") as lines:
            lines.write(text(wire.decode(frame)))
        print(f"{name}: {len(frame)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
