"""ONNX Runtime: wrapped sessions, with real models and a real agent."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from scipy import special

import edgemon
from edgemon.connectors import PredictionLog
from edgemon.connectors.onnxruntime import WatchedSession
from tests.client.collector import Collector
from tests.connectors.arrived import Arrived, client_of, events
from tests.connectors.onnx_models import dense_softmax
from tests.e2e.harness import Device

_HOW = "(pip install 'edgemon[connectors-onnxruntime]' onnx)"
onnxruntime: Any = pytest.importorskip("onnxruntime", reason=f"needs ONNX Runtime {_HOW}")
pytest.importorskip("onnx", reason=f"needs onnx to write a model {_HOW}")

RANDOM = np.random.default_rng(6)
WEIGHTS, BIAS = RANDOM.normal(size=(4, 3)), RANDOM.normal(size=3)


def session() -> Any:
    return onnxruntime.InferenceSession(
        dense_softmax(WEIGHTS, BIAS), providers=["CPUExecutionProvider"]
    )


def test_what_a_session_computed_is_stored_on_the_device(device: Device) -> None:
    device.start()
    x = RANDOM.normal(size=(30, 4)).astype(np.float32)
    with client_of(device) as client:
        log = PredictionLog(client, "net", outputs="probabilities", classes=["a", "b", "c"])
        watched = WatchedSession(session(), log, output="shares")
        logits, shares = watched.run(None, {"x": x})
        watched.run(["logits"], {"x": x})
        first = WatchedSession(session(), PredictionLog(client, "first", outputs="logits"))
        first.run(None, {"x": x})
        assert client.flush("disk", timeout=30)
        assert log.stats() == (1, 30, {"not_asked": 1}, 0, "")
    device.stop()
    np.testing.assert_allclose(shares, special.softmax(x @ WEIGHTS + BIAS, axis=1), rtol=1e-4)
    arrived = Arrived(device)
    assert arrived.outputs("net") == shares.tolist()
    assert arrived.features("net", ["f0", "f1", "f2", "f3"]) == x.tolist()
    stored = arrived.predictions("net")
    assert [row["f:output.class"] for row in stored] == ["abc"[at] for at in logits.argmax(1)]
    assert all(0 < row["latency"] < 60 for row in stored)
    np.testing.assert_allclose(arrived.outputs("first"), shares, rtol=1e-5)


def test_the_result_is_the_very_same_object_and_the_rest_is_the_sessions(
    nobody: edgemon.Client,
) -> None:
    class Session:
        def __init__(self) -> None:
            self.inner = session()
            self.last: Any = None

        def run(self, *given: Any) -> Any:
            self.last = self.inner.run(*given)
            return self.last

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    inner, log = Session(), PredictionLog(nobody, "m", outputs="logits")
    watched = WatchedSession(inner, log)
    assert watched.run(None, {"x": np.ones((2, 4), np.float32)}) is inner.last
    assert watched.get_inputs()[0].name == "x"
    with pytest.raises(Exception, match=r"[Ii]nvalid"):  # the session's own
        watched.run(None, {"x": np.ones((2, 5), np.float32)})
    assert watched.remove() is inner
    watched.run(None, {"x": np.ones((2, 4), np.float32)})
    assert log.stats() == (1, 2, {}, 0, "")
    with pytest.raises(ValueError, match="no output 'score', but logits, shares"):
        WatchedSession(inner, log, output="score")


def test_ort_values_and_threads(nobody: edgemon.Client) -> None:
    log = PredictionLog(nobody, "m", outputs="logits")
    watched = WatchedSession(session(), log)
    value = onnxruntime.OrtValue.ortvalue_from_numpy(np.ones((3, 4), np.float32))

    def work() -> None:
        for _ in range(20):
            watched.run(None, {"x": value})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.stats() == (80, 240, {}, 0, "")


def test_a_classifier_of_scikit_learn_with_maps_of_probabilities(
    client: edgemon.Client, collector: Collector
) -> None:
    skl2onnx: Any = pytest.importorskip(
        "skl2onnx", reason="needs skl2onnx (make test-connectors installs it)"
    )
    from sklearn.linear_model import LogisticRegression

    x = RANDOM.normal(size=(40, 4)).astype(np.float32)
    y = np.where(x[:, 0] > 0, "up", "down")
    fitted = LogisticRegression().fit(x, y)
    converted = skl2onnx.to_onnx(fitted, x[:1]).SerializeToString()
    inner = onnxruntime.InferenceSession(converted, providers=["CPUExecutionProvider"])
    shares = WatchedSession(
        inner, PredictionLog(client, "m", outputs="probabilities"), output="output_probability"
    )
    labels = WatchedSession(inner, PredictionLog(client, "m", outputs="labels"))
    shares.run(None, {"X": x[:5]})
    labels.run(None, {"X": x[:5]})
    found = events(client, collector)
    np.testing.assert_allclose(
        [event[1] for event in found[:5]], fitted.predict_proba(x[:5]), rtol=1e-4
    )
    assert [event[1] for event in found[5:]] == fitted.predict(x[:5]).tolist()
