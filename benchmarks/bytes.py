"""Bytes per row on the wire: our batch beside what others would send of the same rows.

Rows are real: models fitted on one half of scikit-learn's bundled data sets answer the other half's rows one at a time,
and their latency is measured; system samples come from psutil on this machine; with EDGEMON_DATA set to a folder with
the Numenta (nab_*.csv.gz) and insect (abrupt_insects.csv.gz) series, those too. At most 1,000 rows a batch; a smaller
set makes a smaller batch, no row is repeated. Every format carries the same values and loses none, save the last
column. Message headers (MQTT, TLS) are the same for all and left out.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import psutil
import zstandard

from edgemon import wire
from edgemon.records import Batch, Row

ROWS = 1000
SAMPLES = 300
WALL_NS = 1_790_000_000_000_000_000


def main() -> None:
    """Print the tables."""
    print(f"Bytes per row, at most {ROWS} rows a batch (smaller is better)\n")
    head = f"{'':34}{'edgemon':>10}{'gzip':>10}{'gzip':>10}{'zstd':>10}{'edgemon':>10}"
    print(f"{head}\n{'stream':34}{'exact':>10}{'JSON':>10}{'Influx':>10}{'msgpack':>10}{'f32':>10}")
    timings = []
    for name, kind, rows in streams():
        batch = make_batch(kind, rows)
        encoder = wire.Encoder()
        sizes = [
            len(encoder.encode(batch)),
            len(json_lines(rows)),
            len(influx_lines(kind, rows)),
            len(msgpack_rows(rows)),
            len(wire.encode(batch, precision="f32")),
        ]
        if wire.decode(encoder.encode(batch)) != batch:
            raise AssertionError(f"{name}: the batch does not come back equal")
        print(
            f"{f'{name} ({len(rows)})':34}" + "".join(f"{size / len(rows):10.2f}" for size in sizes)
        )
        print(
            f"{'  times our exact bytes':34}"
            + "".join(f"{size / sizes[0]:10.2f}" for size in sizes)
        )
        timings.append((name, len(rows), len(batch.columns), encoding_us(batch)))
    print(
        "\nEncoding, µs per row (median of 9; first = with the trial of encodings, then = 15 of 16 batches)\n"
    )
    print(f"{'stream':34}{'columns':>10}{'first':>10}{'then':>10}{'decoding':>10}")
    for name, count, columns, (first, later, decoding) in timings:
        per_row = "".join(f"{value / count:10.2f}" for value in (first, later, decoding))
        print(f"{name:34}{columns:10d}{per_row}")


def make_batch(kind: str, rows: list[Row]) -> Batch:
    """The rows with the envelope of a real agent."""
    rng = random.Random(7)
    return Batch(
        kind=kind,
        seq=1841,
        device="gate-camera-07-3fa2c1",
        fleet="default",
        stream=rng.randbytes(16),
        boot=rng.randbytes(16),
        wall_ns=WALL_NS,
        mono_ns=86_412_345_678_901,
        clock_error_ms=2.5,
        dropped=0,
        resource={"agent": "0.1.0", "config": "9f86d081884c7d65"},
        rows=len(rows),
        columns=wire.columns_from_rows(rows),
    )


# ---- what others send ----------------------------------------------------------------------------


def json_lines(rows: list[Row]) -> bytes:
    """One JSON object a line, gzip at its best level."""
    lines = (json.dumps(_with_wall(row), separators=(",", ":"), allow_nan=True) for row in rows)
    return gzip.compress("\n".join(lines).encode(), 9)


def influx_lines(kind: str, rows: list[Row]) -> bytes:
    """Influx line protocol as Telegraf sends it: tags, fields, ns; gzip at its best level."""
    lines = []
    for row in rows:
        tags = "".join(f",{key}={row[key]!s}" for key in ("model", "version") if key in row)
        fields = []
        for key, value in row.items():
            if key in ("model", "version", "t"):
                continue
            if isinstance(value, list):
                fields += [f"{key}_{k}={element!r}" for k, element in enumerate(value)]
            elif isinstance(value, str):
                fields.append(f'{key}="{value}"')
            else:
                fields.append(f"{key}={value!r}{'i' if isinstance(value, int) else ''}")
        lines.append(f"{kind}{tags} {','.join(fields)} {_wall_us(row)}000")
    return gzip.compress("\n".join(lines).encode(), 9)


def msgpack_rows(rows: list[Row]) -> bytes:
    """A msgpack list of maps, zstd 9."""
    return zstandard.ZstdCompressor(level=9).compress(
        msgpack.packb([_with_wall(row) for row in rows])
    )


def _with_wall(row: Row) -> Row:
    return {**row, "t": _wall_us(row)}


def _wall_us(row: Row) -> int:
    t = row["t"]
    assert isinstance(t, int)
    return WALL_NS // 1000 + t


# ---- the streams ---------------------------------------------------------------------------------


def streams() -> Iterator[tuple[str, str, list[Row]]]:
    """(name, kind, rows) of each stream that can be had here."""
    yield "digits, 10 confidences", "pred", _classified("digits", features=False, vector=True)
    yield "digits, class + 64 features", "pred", _classified("digits", features=True, vector=False)
    yield "wine, class + 13 features", "pred", _classified("wine", features=True, vector=False)
    yield "breast cancer, p + 30 features", "pred", _classified("breast_cancer", True, False, True)
    yield "diabetes, value + 10 features", "pred", _classified("diabetes", True, False)
    yield "system samples", "sys", _system_samples()
    folder = os.environ.get("EDGEMON_DATA", "")
    if folder and os.path.isdir(folder):
        yield "NAB machine temperature + score", "pred", _numenta(folder)
        yield "insects, 5 confidences + 49 f.", "pred", _insects(folder)
    else:
        print("(NAB and insects left out: EDGEMON_DATA names no folder)")


def _classified(name: str, features: bool, vector: bool, probability: bool = False) -> list[Row]:
    """Every row of a bundled set, asked once, of a model that was fitted on the other half."""
    from sklearn import datasets
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = getattr(datasets, f"load_{name}")()
    order = random.Random(1).sample(range(len(data.data)), len(data.data))
    halves = order[::2], order[1::2]
    kinds: dict[str, Callable[[], object]] = {
        "diabetes": Ridge,
        "digits": lambda: MLPClassifier((32,), max_iter=300, random_state=1),
    }
    names = [str(title).replace(" ", "_") for title in getattr(data, "feature_names", [])]
    rows: list[Row] = []
    for asked, fitted in (halves, halves[::-1]):
        model = make_pipeline(StandardScaler(), kinds.get(name, LogisticRegression)())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(data.data[fitted], data.target[fitted])

        def answer(x: list[float], model: Any = model) -> float | str | list[float]:
            if vector:
                return [float(p) for p in model.predict_proba([x])[0]]
            if probability:
                return float(model.predict_proba([x])[0][1])
            result = model.predict([x])[0]
            return float(result) if name == "diabetes" else str(data.target_names[result])

        live = data.data[asked].tolist()
        rows += _predictions(name, live, names if features else [], answer, len(rows))
    return rows[:ROWS]


def _predictions(
    model: str,
    live: list[list[float]],
    names: list[str],
    answer: Callable[[list[float]], float | str | list[float]],
    already: int = 0,
) -> list[Row]:
    """One row at a time, ten a second on the rows' own clock, with the latency that was measured."""
    rows: list[Row] = []
    for k, x in enumerate(live[: ROWS - already], start=already):
        begin = time.perf_counter()
        output = answer(x)
        latency_s = time.perf_counter() - begin
        row: Row = {"t": 100_000 * k + int(latency_s * 1e6), "model": model, "version": "3"}
        row |= {"id": f"{model}-{70_000 + k}", "output": output, "latency": latency_s, "w": 1.0}
        features = zip(names, x if names else [], strict=True)
        rows.append(row | {f"f:{name}": value for name, value in features})
    return rows


def _system_samples() -> list[Row]:
    rows: list[Row] = []
    begin = time.monotonic_ns()
    for k in range(SAMPLES):
        memory = psutil.virtual_memory()
        cpu = psutil.cpu_times_percent()
        network = psutil.net_io_counters()
        disk = psutil.disk_usage("/")
        row: Row = {"t": 10_000_000 * k + (time.monotonic_ns() - begin) // 1000}
        row |= {
            f"cpu_{field}_percent": getattr(cpu, field)
            for field in ("user", "system", "idle", "iowait")
        }
        row |= {
            "load_1m": os.getloadavg()[0],
            "memory_available_bytes": float(memory.available),
            "memory_used_percent": memory.percent,
            "disk_free_bytes": float(disk.free),
            "network_sent_bytes": float(network.bytes_sent),
            "network_received_bytes": float(network.bytes_recv),
        }
        rows.append(row)
        time.sleep(0.02)
    return rows


def _numenta(folder: str) -> list[Row]:
    from sklearn.ensemble import IsolationForest

    with gzip.open(
        os.path.join(folder, "nab_machine_temperature_system_failure.csv.gz"), "rt"
    ) as lines:
        values = [[float(row["value"])] for row in csv.DictReader(lines)]
    forest = IsolationForest(n_estimators=20, random_state=1).fit(values[:5000])
    live = values[5000 : 5000 + ROWS]
    rows: list[Row] = []
    for k, value in enumerate(live):
        begin = time.perf_counter()
        score = float(forest.score_samples([value])[0])
        latency_s = time.perf_counter() - begin
        rows.append({
            "t": 300_000_000 * k + int(latency_s * 1e6), "model": "machine", "version": "1", "id": f"m-{k}",
            "output": score, "latency": latency_s, "w": 1.0, "f:temperature": value[0],
        })  # fmt: skip
    return rows


def _insects(folder: str) -> list[Row]:
    from sklearn.linear_model import LogisticRegression

    with gzip.open(os.path.join(folder, "abrupt_insects.csv.gz"), "rt") as lines:
        reader = csv.DictReader(lines)
        table = list(reader)
    names = [name for name in table[0] if name != "label"]
    x = [[float(row[name]) for name in names] for row in table]
    model = LogisticRegression(max_iter=500).fit(x[:1000], [row["label"] for row in table[:1000]])
    return _predictions(
        "insects",
        x[1000:3000],
        names,
        lambda row: [float(p) for p in model.predict_proba([row])[0]],
    )


# ---- time ----------------------------------------------------------------------------------------


def encoding_us(batch: Batch) -> tuple[float, float, float]:
    """Median µs to encode with a fresh choice, with a remembered one, and to decode."""

    def median(action: Callable[[], object]) -> float:
        times = []
        for _ in range(9):
            begin = time.perf_counter()
            action()
            times.append(time.perf_counter() - begin)
        return sorted(times)[4] * 1e6

    encoder = wire.Encoder()
    frame = encoder.encode(batch)
    first = median(lambda: wire.encode(batch))
    return first, median(lambda: encoder.encode(batch)), median(lambda: wire.decode(frame))


if __name__ == "__main__":
    main()
