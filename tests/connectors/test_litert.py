"""LiteRT: wrapped interpreters and signatures, with real models and a real agent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special

import edgemon
from edgemon.connectors import PredictionLog
from edgemon.connectors.litert import WatchedInterpreter
from tests.client.collector import Collector
from tests.connectors.arrived import Arrived, client_of, events
from tests.connectors.tflite_models import dense_softmax
from tests.e2e.harness import Device

litert: Any = pytest.importorskip(
    "ai_edge_litert.interpreter",
    reason="needs LiteRT (pip install 'edgemon[connectors-litert]')",
)

RANDOM = np.random.default_rng(4)
WEIGHTS, BIAS = RANDOM.normal(size=(4, 3)), RANDOM.normal(size=3)


def interpreter(batch: int = 1, **options: Any) -> Any:
    made = litert.Interpreter(model_content=dense_softmax(WEIGHTS, BIAS, batch, **options))
    made.allocate_tensors()
    return made


def run(model: Any, x: Any) -> Any:
    """As an application does it."""
    model.set_tensor(model.get_input_details()[0]["index"], x)
    model.invoke()
    return model.get_tensor(model.get_output_details()[0]["index"])


def test_what_an_interpreter_computed_is_stored_on_the_device(device: Device) -> None:
    device.start()
    x = RANDOM.normal(size=(50, 4)).astype(np.float32)
    with client_of(device) as client:
        log = PredictionLog(client, "net", outputs="probabilities", columns=["a", "b", "c", "d"])
        model = WatchedInterpreter(interpreter(), log)
        results = [run(model, row[None])[0].tolist() for row in x]
        batch = WatchedInterpreter(interpreter(50), PredictionLog(client, "signature"))
        answer = batch.get_signature_runner("serve")(x=x)
        assert client.flush("disk", timeout=30)
        assert log.stats() == (50, 50, {}, 0, "")
    device.stop()
    np.testing.assert_allclose(results, special.softmax(x @ WEIGHTS + BIAS, axis=1), rtol=1e-4)
    arrived = Arrived(device)
    assert arrived.outputs("net") == results
    assert arrived.features("net", ["a", "b", "c", "d"]) == x.tolist()
    assert all(0 < row["latency"] < 60 for row in arrived.predictions("net"))
    assert arrived.outputs("signature") == answer["shares"].tolist()
    assert arrived.features("signature", ["f0", "f3"]) == x[:, [0, 3]].tolist()


def test_quantized_tensors_are_logged_as_what_they_mean(
    client: edgemon.Client, collector: Collector
) -> None:
    x = np.array([[0.5, -0.25, 1.0, 0.0]])
    model = interpreter(scale=0.05, zero_point=3)
    plain = run(model, np.round(x / 0.05 + 3).astype(np.int8))
    log = PredictionLog(client, "m", outputs="probabilities")
    watched = WatchedInterpreter(model, log)
    assert run(watched, np.round(x / 0.05 + 3).astype(np.int8)).tolist() == plain.tolist()
    runner = watched.get_signature_runner()
    assert runner(x=np.round(x / 0.05 + 3).astype(np.int8))["shares"].tolist() == plain.tolist()
    first, second = events(client, collector)
    assert first[1] == ((plain[0].astype(float) + 128) / 256).tolist() == second[1]
    np.testing.assert_allclose(first[1], special.softmax(x @ WEIGHTS + BIAS)[0], atol=0.05)
    np.testing.assert_allclose(first[2], x[0], atol=1e-6)
    assert first[2] == second[2]


def test_the_wrapper_is_an_interpreter_and_can_be_taken_off(nobody: edgemon.Client) -> None:
    inner, log = interpreter(), PredictionLog(nobody, "m")
    model = WatchedInterpreter(inner, log)
    assert model.get_input_details()[0]["name"] == "serve_x"
    runner = model.get_signature_runner()
    assert list(runner.get_output_details()) == ["shares"]
    runner(x=np.ones((1, 4), np.float32))
    assert log.stats() == (1, 1, {}, 0, "")
    assert model.remove() is inner
    runner(x=np.ones((1, 4), np.float32))
    del runner  # while it is there, LiteRT refuses to invoke
    run(model, np.ones((1, 4), np.float32))
    assert log.stats() == (1, 1, {}, 0, "")


def test_an_error_of_the_model_is_the_applications_and_one_of_the_log_is_not(
    nobody: edgemon.Client,
) -> None:
    unready = litert.Interpreter(model_content=dense_softmax(WEIGHTS, BIAS, 1))
    log = PredictionLog(nobody, "m")
    with pytest.warns(RuntimeWarning, match="could not log"), pytest.raises(RuntimeError):
        WatchedInterpreter(unready, log).invoke()
    model = WatchedInterpreter(interpreter(), log, output=5)
    assert run(model, np.ones((1, 4), np.float32)).shape == (1, 3)
    assert log.stats().logged == 0 and log.stats().errors == 2
