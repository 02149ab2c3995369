"""Keras with the backend torch: batches of predict, steps of fit, with a real agent."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import edgemon
from edgemon.connectors import LogStats, PredictionLog, TrainingLog
from tests.client.collector import Collector
from tests.connectors.arrived import Arrived, client_of, events
from tests.e2e.harness import Device

_HOW = "(pip install 'edgemon[connectors-keras]')"
torch: Any = pytest.importorskip("torch", reason=f"needs PyTorch, Keras' backend here {_HOW}")
keras: Any = pytest.importorskip("keras", reason=f"needs Keras {_HOW}")

from edgemon.connectors.keras import Callback  # noqa: E402

# Keras' own, with numpy 2 and the backend torch.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

X = np.random.default_rng(8).normal(size=(70, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


def network(optimizer: Any = "sgd") -> Any:
    keras.utils.set_random_seed(1)
    made = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2, activation="softmax")])
    made.compile(optimizer, "sparse_categorical_crossentropy")
    return made


def test_what_a_model_predicted_is_stored_on_the_device(device: Device) -> None:
    device.start()
    model = network()
    plain = model.predict(X, batch_size=32, verbose=0)
    with client_of(device) as client:
        log = PredictionLog(client, "net", outputs="probabilities", classes=["no", "yes"])
        callback = Callback(log).with_inputs(X)
        watched = model.predict(X, batch_size=32, verbose=0, callbacks=[callback])
        model.predict(X, verbose=0, callbacks=[Callback(PredictionLog(client, "bare"))])
        assert client.flush("disk", timeout=30)
        assert log.stats() == (3, 70, {}, 0, "")
    device.stop()
    np.testing.assert_array_equal(watched, plain)
    arrived = Arrived(device)
    assert arrived.outputs("net") == plain.tolist() == arrived.outputs("bare")
    assert arrived.features("net", [f"f{index}" for index in range(4)]) == X.tolist()
    stored = arrived.predictions("net")
    assert [row["f:output.class"] for row in stored] == [
        "yes" if share > 0.5 else "no" for share in plain[:, 1]
    ]
    assert all(0 < row["latency"] < 60 for row in stored)


def test_a_training_is_stored_with_loss_gradient_norm_and_learning_rate(device: Device) -> None:
    device.start()
    rates = keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)
    model = network(keras.optimizers.SGD(rates))
    seen: list[tuple[float, float]] = []

    class Oracle(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
            gradients = [weight.value.grad for weight in self.model.trainable_weights]
            squares = sum((one.double() ** 2).sum().item() for one in gradients)
            seen.append((float(logs["loss"]), math.sqrt(squares)))

    with client_of(device) as client:
        log = TrainingLog(client, "fit", every=2)
        model.fit(
            X, Y, batch_size=16, epochs=2, verbose=0, shuffle=False,
            callbacks=[Callback(training=log), Oracle()],
        )  # fmt: skip
        broken = X.copy()
        broken[3, 2] = np.nan
        model.fit(
            broken, Y, verbose=0, callbacks=[Callback(training=TrainingLog(client, "broken"))]
        )
        assert client.flush("disk", timeout=30)
        assert log.stats() == (10, 15, {"every": 5}, 0, "")
    device.stop()
    arrived = Arrived(device)
    steps, losses = zip(*arrived.metric("fit/loss"), strict=True)
    assert steps == (0, 2, 4, 6, 8)
    np.testing.assert_allclose(losses, [loss for loss, _ in seen[::2]], rtol=1e-6)
    norms = [value for _, value in arrived.metric("fit/gradient_norm")]
    np.testing.assert_allclose(norms, [norm for _, norm in seen[::2]], rtol=1e-5)
    told = [value for _, value in arrived.metric("fit/learning_rate")]
    # Keras has counted the step already when the callback is asked.
    np.testing.assert_allclose(told, [0.1 * 0.5 ** ((step + 1) / 5) for step in steps], rtol=1e-5)
    assert math.isnan(arrived.metric("broken/loss")[-1][1])
    assert math.isnan(arrived.metric("broken/gradient_norm")[-1][1])


def test_inputs_by_name_and_removal(client: edgemon.Client, collector: Collector) -> None:
    model = network()
    callback = Callback(PredictionLog(client, "m"), inputs={"x": X})
    model.predict(X[:3], batch_size=2, verbose=0, callbacks=[callback])
    model.predict(X[:3], batch_size=2, verbose=0, callbacks=[callback])  # from the first row again
    found = events(client, collector)
    assert [event[2] for event in found] == X[[0, 1, 2, 0, 1, 2]].tolist()
    callback.remove()
    model.predict(X[:3], verbose=0, callbacks=[callback])
    assert len(events(client, collector)) == 6


def test_an_error_of_the_log_does_not_stop_the_training(nobody: edgemon.Client) -> None:
    model, log = network(), PredictionLog(nobody, "m", select=lambda found: found["nothing"])
    with pytest.warns(RuntimeWarning, match="could not log"):
        model.predict(X, verbose=0, callbacks=[Callback(log)])
    assert log.stats().errors == 3


def test_the_backend_jax(tmp_path: Any) -> None:
    """Another process, for a backend is chosen once. Its gradients are nowhere to be read."""
    pytest.importorskip("jax", reason="needs JAX (make test-connectors installs it)")
    code = """
import sys, numpy as np, edgemon, keras
from edgemon.connectors import PredictionLog, TrainingLog
from edgemon.connectors.keras import Callback
client = edgemon.Client("/nowhere/ingest.sock")
net = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
net.compile("sgd", "mse")
callback = Callback(PredictionLog(client, "m"), TrainingLog(client), inputs=np.ones((5, 4)))
net.predict(np.ones((5, 4)), verbose=0, callbacks=[callback])
net.fit(np.ones((5, 4)), np.ones((5, 2)), verbose=0, callbacks=[callback])
print(callback.predictions.stats(), callback.training.stats(), "torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True, text=True,
    )  # fmt: skip
    expected = LogStats(1, 5, {}, 0, ""), LogStats(1, 2, {}, 0, ""), False
    assert (done.stdout, done.returncode) == (
        " ".join(map(str, expected)) + "\n",
        0,
    ), done.stderr
