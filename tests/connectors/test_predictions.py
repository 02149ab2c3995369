"""What the logs of all connectors share: outputs, bounds, sampling, errors, copies, forks."""

from __future__ import annotations

import copy
import math
import os
import pickle
import subprocess
import sys
import threading
import warnings
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

import edgemon
from edgemon.connectors import PredictionLog, TrainingLog
from edgemon.connectors.outputs import as_array, outputs_of
from tests.client.collector import Collector
from tests.connectors.arrived import Arrived, client_of, events
from tests.e2e.harness import Device


def test_logits_are_logged_as_probabilities() -> None:
    logits = np.array([[1.0, -2.0, 1000.0], [0.0, 0.0, 0.0]], dtype=np.float32)
    found, _ = outputs_of(logits, "logits", None, 100)
    np.testing.assert_allclose(found, special.softmax(logits.astype(float), axis=1), rtol=1e-6)
    assert found.dtype == np.float32
    found, beside = outputs_of(np.array([[-700.0], [2.0]]), "logits", ["no", "yes"], 100)
    np.testing.assert_allclose(found, special.expit([-700.0, 2.0]))
    assert beside == {"output.class": ["no", "yes"]}


def test_more_classes_than_the_limit_become_class_confidence_and_entropy() -> None:
    shares = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    whole, beside = outputs_of(shares, "probabilities", None, 3)
    assert whole is shares and beside == {}
    names, beside = outputs_of(shares, "probabilities", ["a", "b", "c"], 2)
    assert names == ["a", "b"] and beside["output.confidence"].tolist() == [0.5, 1.0]
    np.testing.assert_allclose(beside["output.entropy"], stats.entropy(shares, axis=1))
    assert outputs_of(shares, "probabilities", None, 2)[0] == ["0", "1"]


def test_labels_are_texts_and_maps_are_tables() -> None:
    assert outputs_of(np.array([3, 1]), "labels", None, 100) == (["3", "1"], {})
    table = as_array([{"a": 0.25, "b": 0.75}, {"b": 0.5, "a": 0.5}])
    assert table.tolist() == [[0.25, 0.75], [0.5, 0.5]]
    assert as_array(np.ones(2, np.float16)).dtype == np.float32


@pytest.mark.parametrize(
    ("array", "kind", "classes", "told"),
    [
        (np.ones((2, 3, 4)), "values", None, r"shape \(2, 3, 4\)"),
        (np.ones((2, 5)), "values", None, "5 numbers, and max_classes is 4"),
        (np.ones((2, 2)), "labels", None, "one a row"),
        (np.array(["a"]), "values", None, 'outputs="labels"'),
        (np.ones((2, 2)), "probabilities", ["a"], "1 classes are named, and the output has 2"),
    ],
)
def test_outputs_that_cannot_be_logged_say_why(
    array: Any, kind: str, classes: Any, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        outputs_of(array, kind, classes, 4)


@pytest.mark.parametrize(
    "options",
    [
        {"outputs": "softmax"}, {"max_classes": 0}, {"max_classes": 2000}, {"max_features": 251},
        {"sample": 1.5}, {"sample": math.nan}, {"max_rows": 0},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused_when_the_log_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        PredictionLog(None, "m", **options)
    with pytest.raises(TypeError, match="not float"):
        PredictionLog(1.0, "m")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="every"):
        TrainingLog(None, every=0)


def test_the_sample_is_a_fair_share_of_rows_and_the_rest_is_counted(
    nobody: edgemon.Client,
) -> None:
    log = PredictionLog(nobody, "m", sample=0.3, max_rows=10**6)
    log._random.seed(5)
    taken = np.zeros(50)
    for _ in range(2_000):
        rows = log.rows_of(50)
        taken[[] if rows is None else rows] += 1
    # Each row has its own chance of 0.3: within five standard deviations.
    assert np.abs(taken - 600).max() < 5 * math.sqrt(2_000 * 0.3 * 0.7)
    assert abs(taken.sum() - 30_000) < 5 * math.sqrt(100_000 * 0.3 * 0.7)
    assert log.stats().skipped["sample"] == 100_000 - taken.sum()


def test_sampled_rows_keep_their_features(client: edgemon.Client, collector: Collector) -> None:
    log = PredictionLog(client, "m", sample=0.5)
    log._random.seed(1)
    table = np.arange(200.0).reshape(100, 2)
    log.record(table, table[:, 0], 1.0)
    found = events(client, collector)
    assert 20 < len(found) < 80 and log.stats().logged == len(found)
    assert all(event[2] == [event[1], event[1] + 1] for event in found)
    assert {event[3] for event in found} == {0.01}


def test_of_a_large_batch_max_rows_are_taken_evenly(
    client: edgemon.Client, collector: Collector
) -> None:
    log = PredictionLog(client, "m", max_rows=4)
    log.record(None, np.arange(10.0), None)
    assert [event[1] for event in events(client, collector)] == [0.0, 2.0, 5.0, 7.0]
    assert log.stats() == (1, 4, {"max_rows": 6}, 0, "")
    nothing = PredictionLog(client, "m", sample=0.0)
    nothing.record(None, np.arange(10.0), None)
    assert nothing.stats() == (1, 0, {"sample": 10}, 0, "")


def test_without_an_axis_for_the_batch(client: edgemon.Client, collector: Collector) -> None:
    log = PredictionLog(client, "m", batched=False)
    log.record({"x": [1.0, 2.0]}, np.array([0.25, 0.75]), 0.5)
    log.record(np.ones(3), 2.0, None)
    assert events(client, collector) == [
        ["m", [0.25, 0.75], [1.0, 2.0], 0.5],
        ["m", 2.0, [1.0, 1.0, 1.0]],
    ]


def test_errors_are_counted_and_told_once_and_never_raised(nobody: edgemon.Client) -> None:
    log = PredictionLog(nobody, "m")
    with pytest.warns(RuntimeWarning, match="could not log a call") as told:
        for _ in range(3):
            log.record(None, object(), 1.0)
    assert len(told) == 1 and log.stats().errors == 3 and log.stats().calls == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PredictionLog(nobody, "m").record(None, object(), 1.0)
        with np.errstate(all="raise"):
            log.record(np.full((2, 100), np.nan), np.array([[1e308, -1e308], [0, 1]]), 1.0, kind="logits")  # fmt: skip
    assert log.stats().logged == 2


def test_what_the_client_refuses_is_counted(collector: Collector) -> None:
    client = edgemon.Client(collector.path)
    client.close()
    log = PredictionLog(client, "m")
    log.record(None, np.arange(3.0), None)
    assert log.stats().skipped == {"refused": 3}


def test_copies_are_the_same_log_and_pickles_begin_anew(tmp_path: Any) -> None:
    log = PredictionLog(tmp_path / "ingest.sock", "m", version=2, classes="ab")
    assert copy.deepcopy(log) is log and copy.copy(log) is log
    log.record(None, np.ones(2), None)
    other = pickle.loads(pickle.dumps(log))
    assert other.stats() == (0, 0, {}, 0, "") and other.classes == ["a", "b"]
    assert other.client is log.client  # of the same path, in the same process


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_of_fork_logs_on_though_a_thread_held_the_lock(device: Device) -> None:
    device.start()
    with client_of(device) as client:
        log = PredictionLog(client, "m")
        log.record(None, np.ones(1), None)
        holding, release = threading.Event(), threading.Event()

        def hold() -> None:
            with log._lock:
                holding.set()
                release.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        holding.wait()
        pid = os.fork()
        if pid == 0:
            log.record(None, np.ones(2), None)
            os._exit(0 if log.stats().logged == 2 and client.flush("disk", timeout=30) else 1)
        release.set()
        thread.join()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    device.stop()
    assert len(Arrived(device).outputs("m")) == 3


def test_nan_and_infinity_of_a_training_reach_the_disk(device: Device) -> None:
    device.start()
    with client_of(device) as client:
        log = TrainingLog(client, "tune")
        for step, loss in enumerate((1.5, math.inf, -math.inf, math.nan)):
            log.record(step, {"loss": loss})
        assert client.flush("disk", timeout=30)
        assert log.stats().logged == 4
    device.stop()
    steps, values = zip(*Arrived(device).metric("tune/loss"), strict=True)
    assert steps == (0, 1, 2, 3)
    assert values[:3] == (1.5, math.inf, -math.inf) and math.isnan(values[3])


def test_importing_the_room_imports_no_framework() -> None:
    code = """
import sys
import edgemon.connectors, edgemon.connectors.onnxruntime, edgemon.connectors.litert
frameworks = {"torch", "keras", "sklearn", "onnxruntime", "ai_edge_litert", "tensorflow", "pandas", "scipy"}
print(sorted(frameworks & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
