"""What watching a model costs its application: each call with a connector and without, turn by turn.

Small models, so that the connector's share is large: softmax(x W + b) over 16 features and 10 classes, unless said
otherwise, one thread. What is compared is the processor time of the whole process, the client's sending included. Calls
of both kinds alternate in blocks of two milliseconds, each is timed by itself, and medians are taken, so that what else
the machine does meets both; the 10th percentiles say what the calls cost that it did not disturb. A real agent takes
the events; where it is behind, it is waited for between the calls.
What is not installed is named and left out (`make test-connectors` installs all).
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import edgemon
from benchmarks.client import agent
from edgemon.connectors import PredictionLog, TrainingLog

BLOCK_S = 0.002
SECONDS = 4.0  # a case
PENDING = 2_000  # events
FEATURES, CLASSES = 16, 10

Call = Callable[[], object]
RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=(100, FEATURES)).astype(np.float32)


class Case(NamedTuple):
    """rows: predictions of a call."""

    name: str
    rows: int
    plain: Call
    watched: Call


class Cost(NamedTuple):
    """Medians, microseconds of processor time a call; over: difference of the 10th percentiles."""

    plain: float
    watched: float
    over: float


def measure(case: Case, client: edgemon.Client) -> Cost:
    clock = time.process_time_ns
    times: tuple[list[float], list[float]] = ([], [])
    for call in (case.plain, case.watched) * 3:
        begun = clock()
        call()
        calls = max(1, min(20, int(BLOCK_S * 1e9 / (clock() - begun))))
    kinds = list(zip((case.plain, case.watched), times, strict=True))
    end_s = time.monotonic() + SECONDS
    while time.monotonic() < end_s:
        if client.stats().pending > PENDING:
            client.flush("memory", timeout=1.0)
        kinds.reverse()  # neither is always the one that comes after a wait
        for call, taken in kinds:
            block = []
            for _ in range(calls):
                begun = clock()
                call()
                block.append(clock() - begun)
            taken.append(statistics.median(block) / 1e3)
    plain, watched = (statistics.median(taken) for taken in times)
    return Cost(plain, watched, _tenth(times[1]) - _tenth(times[0]))


def _tenth(values: list[float]) -> float:
    return sorted(values)[len(values) // 10]


def of_torch(client: edgemon.Client) -> Iterator[Case]:
    import torch

    from edgemon.connectors.torch import Training, watch

    torch.set_num_threads(1)

    def pair(
        name: str, build: Callable[[], Any], x: Any, grad: bool = False, **options: Any
    ) -> Case:
        plain, watched = build().eval(), build().eval()
        watch(watched, PredictionLog(client, "torch", outputs="logits", **options))

        def call(net: Any) -> None:
            with torch.set_grad_enabled(grad):
                net(x)

        return Case(name, len(x), lambda: call(plain), lambda: call(watched))

    def dense() -> Any:
        return torch.nn.Linear(FEATURES, CLASSES)

    def wide() -> Any:
        return torch.nn.Sequential(
            torch.nn.Linear(FEATURES, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256),
            torch.nn.ReLU(), torch.nn.Linear(256, CLASSES),
        )  # fmt: skip

    def convolution() -> Any:
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 16, 3, 2), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3, 2),
            torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, CLASSES),
        )  # fmt: skip

    yield pair("PyTorch, one layer", dense, torch.from_numpy(X[:1]))
    yield pair("PyTorch, one layer", dense, torch.from_numpy(X))
    yield pair("PyTorch, one layer, `sample=0.01`", dense, torch.from_numpy(X), sample=0.01)
    yield pair("PyTorch, 256-256", wide, torch.from_numpy(X))
    yield pair(
        "PyTorch, two convolutions, image 3 × 96 × 96", convolution, torch.rand(1, 3, 96, 96)
    )

    for every in (1, 10):

        def loop(watched: bool, every: int = every) -> Call:
            net = wide()
            optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
            training = Training(optimizer, TrainingLog(client, every=every)) if watched else None
            x, y = torch.from_numpy(X), torch.zeros(len(X), dtype=torch.long)

            def step() -> None:
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(net(x), y)
                loss.backward()
                if training is not None:
                    training.step(loss)
                optimizer.step()

            return step

        name = f"PyTorch, 256-256, a training step of 100, `every={every}`"
        yield Case(name, 0, loop(False), loop(True))


def of_keras(client: edgemon.Client) -> Iterator[Case]:
    import keras

    from edgemon.connectors.keras import Callback

    net = keras.Sequential(
        [keras.layers.Input((FEATURES,)), keras.layers.Dense(CLASSES, activation="softmax")]
    )
    net.compile("sgd", "sparse_categorical_crossentropy")
    callback = Callback(
        PredictionLog(client, "keras", outputs="probabilities"), TrainingLog(client), inputs=X
    )

    def predict(callbacks: list[Any]) -> None:
        net.predict(X, verbose=0, callbacks=callbacks)

    def fit(callbacks: list[Any]) -> None:
        net.fit(X, np.zeros(100), batch_size=10, verbose=0, callbacks=callbacks)

    class Idle(keras.callbacks.Callback):  # type: ignore[misc]
        """Where no callback has these, Keras hands its own to a pool of threads, which costs more."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            pass

        def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
            pass

    idle, ours = [Idle()], [callback]
    backend = f"Keras on {keras.backend.backend()}"
    yield Case(
        f"{backend}, predict of 4 batches", 100, lambda: predict(idle), lambda: predict(ours)
    )
    yield Case(f"{backend}, fit of 10 steps", 0, lambda: fit(idle), lambda: fit(ours))


def of_sklearn(client: edgemon.Client) -> Iterator[Case]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    from edgemon.connectors.sklearn import Watched

    y = np.arange(100) % CLASSES
    table = X.astype(np.float64)
    for name, model, rows in (
        ("scikit-learn, logistic regression", LogisticRegression(max_iter=1000), 1),
        ("scikit-learn, logistic regression", LogisticRegression(max_iter=1000), 100),
        ("scikit-learn, 100 trees", RandomForestClassifier(100), 1),
    ):
        fitted, part = model.fit(table, y), table[:rows]
        watched = Watched(fitted, PredictionLog(client, "sklearn"))

        def plain(fitted: Any = fitted, part: Any = part) -> object:
            return fitted.predict_proba(part)

        def logged(watched: Any = watched, part: Any = part) -> object:
            return watched.predict_proba(part)

        yield Case(name, rows, plain, logged)


def of_onnxruntime(client: edgemon.Client) -> Iterator[Case]:
    import onnxruntime

    from edgemon.connectors.onnxruntime import WatchedSession
    from tests.connectors.onnx_models import dense_softmax

    weights = RANDOM.normal(size=(FEATURES, CLASSES))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        dense_softmax(weights, np.zeros(CLASSES)), options, providers=["CPUExecutionProvider"]
    )
    watched = WatchedSession(session, PredictionLog(client, "onnx", outputs="probabilities"))

    def call(session: Any, part: Any) -> Call:
        return lambda: session.run(["shares"], {"x": part})

    for rows in (1, 100):
        part = X[:rows]
        yield Case("ONNX Runtime, one layer", rows, call(session, part), call(watched, part))


def of_litert(client: edgemon.Client) -> Iterator[Case]:
    from ai_edge_litert.interpreter import Interpreter

    from edgemon.connectors.litert import WatchedInterpreter
    from tests.connectors.tflite_models import dense_softmax

    weights = RANDOM.normal(size=(FEATURES, CLASSES))

    def made() -> Any:
        interpreter = Interpreter(
            model_content=dense_softmax(weights, np.zeros(CLASSES), 1), num_threads=1
        )
        interpreter.allocate_tensors()
        return interpreter

    def call(interpreter: Any, source: int, target: int) -> object:
        interpreter.set_tensor(source, X[:1])
        interpreter.invoke()
        return interpreter.get_tensor(target)

    plain = made()
    watched = WatchedInterpreter(made(), PredictionLog(client, "lite", outputs="probabilities"))
    where = plain.get_input_details()[0]["index"], plain.get_output_details()[0]["index"]
    yield Case("LiteRT, one layer", 1, lambda: call(plain, *where), lambda: call(watched, *where))


CONNECTORS: dict[str, Callable[[edgemon.Client], Iterator[Case]]] = {
    "torch": of_torch,
    "keras": of_keras,
    "sklearn": of_sklearn,
    "onnxruntime": of_onnxruntime,
    "ai_edge_litert": of_litert,
}


def main() -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ["OMP_NUM_THREADS"] = "1"  # before any framework is loaded
    missing = [name for name in CONNECTORS if importlib.util.find_spec(name) is None]
    print(
        "| µs of processor time a call | rows | plain | watched | ratio | more, undisturbed | a row |"
    )
    print("|---|---|---|---|---|---|---|")
    with (
        tempfile.TemporaryDirectory(prefix="em-", dir="/tmp") as folder,
        agent(Path(folder)) as (_, path),
        edgemon.Client(path) as client,
    ):
        for name, cases in CONNECTORS.items():
            if name in missing:
                continue
            for case in cases(client):
                cost = measure(case, client)
                ratio = f"{cost.watched / cost.plain:.2f}"
                row = f"{cost.over / case.rows:.2f}" if case.rows else ""
                print(
                    f"| {case.name} | {case.rows or ''} | {cost.plain:,.1f} | {cost.watched:,.1f} "
                    f"| {ratio} | {cost.over:,.1f} | {row} |",
                    flush=True,
                )
        dropped = sum(client.dropped.values())
        print(f"\n{client.stats().taken:,} events taken, {dropped:,} dropped.")
    for name in missing:
        print(f"\n{name} is not installed and was not measured.")


if __name__ == "__main__":
    main()
