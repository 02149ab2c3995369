"""Truths that come later, from a client to the receiver's figures: real processes, a real broker."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, precision_recall_fscore_support

from edgemon import Client
from edgemon.performance.scores import figures, merge
from tests.e2e.harness import EDGEMON, Device, Receiver
from tests.servers import Mosquitto, wait_for

Array = np.ndarray[Any, Any]
TOML = """
[system]
enabled = false
[batch]
max_age = "1s"
[ship]
sink = "mqtt"
[mqtt]
host = "127.0.0.1"
port = {port}
tls = false
[models."*"]
capture = "none"
window = "2s"
truth = {{ join = "always" }}
[models.digits]
profile = "digits.profile"
[models.twin]
profile = "digits.profile"
"""
N = 3_000


@pytest.fixture
def device(short_tmp: Path, mosquitto: Mosquitto) -> Iterator[Device]:
    """One with a profile of "digits" and "twin"; not started."""
    with Device(short_tmp, TOML.format(port=mosquitto.port)) as made:
        yield made


def vectors(n: int, seed: int, wrong: float = 0.0) -> tuple[Array, Array]:
    """Confidences of three classes and truths. wrong: share of truths that are another class than the model learnt."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, 3))
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(3, p=p) for p in scores])
    changed = rng.random(n) < wrong
    return scores, np.where(changed, (truth + 1) % 3, truth)


def make_profile(folder: Path) -> float:
    """With `edgemon profile build`, from predictions and truths in JSON lines; the accuracy of the reference."""
    scores, truth = vectors(5_000, 1)
    lines = [
        json.dumps({"model": "digits", "output": list(p), "label": int(t)})
        for p, t in zip(scores.tolist(), truth.tolist(), strict=True)
    ]
    (folder / "labelled.jsonl").write_text("\n".join(lines))
    built = subprocess.run(
        [*EDGEMON, "profile", "build", "labelled.jsonl", "--out", "digits.profile"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return float((scores.argmax(axis=1) == truth).mean())


def send(device: Device, scores: Array, truth: Array, prefix: str, model: str = "digits") -> None:
    """All predictions, then all truths, in another order, as an application would."""
    with Client(device.run_dir / "ingest.sock") as client:
        for index, vector in enumerate(scores):
            client.log(model, vector, id=f"{prefix}{index}", version="1", latency=0.002)
            if index % 500 == 499:
                assert client.flush("memory", 30.0)
        for index in np.random.default_rng(2).permutation(len(truth)):
            client.truth(f"{prefix}{index}", int(truth[index]), model)
        assert client.flush("memory", 30.0)


@pytest.mark.mosquitto
def test_a_receiver_has_the_figures_of_predictions_and_truths(
    device: Device, receiver: Receiver
) -> None:
    folder = device.folder
    reference = make_profile(folder)
    device.start()
    scores, truth = vectors(N, 3)
    send(device, scores, truth, "a")
    # A second version of a truth, one for nobody, and errors of the application.
    with Client(device.run_dir / "ingest.sock") as client:
        client.truth("a0", 0, "digits")
        for _ in range(7):
            client.error("digits", TimeoutError("secret"), version="1")
        assert client.flush("memory", 30.0)

    def known() -> dict[str, Any]:
        (model,) = (device.status() or {})["models"]
        found: dict[str, Any] = model["performance"]
        return found

    wait_for(lambda: "estimate" in known(), what="a window is closed")
    assert known()["truth"]["since_start"]["n"] == N
    said = subprocess.run(
        [*EDGEMON, "status"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    assert "\n  digits 1: FAILS more often than before; accuracy" in said
    said = " ".join(said.split())  # lines are wrapped
    assert f"of {N:,} predictions with their truth; " in said
    assert "estimated without truths (reference" in said and "7 errors reported" in said
    status: Any = device.status()
    assert status["counters"]['edgemon_truth_unmatched_labels_total{reason="twice"}'] == 1
    assert device.stop() == 0
    wait_for(
        lambda: receiver.query("SELECT sum(n) FROM windows WHERE stream = 'truth'") == [(N,)],
        what="all pairs are stored",
    )
    wait_for(lambda: receiver.query("SELECT 1 FROM events WHERE type = 'agent.stopped'"))

    merged: dict[str, Any] = {}
    estimated = expected = 0.0
    errors = 0
    for stream, n, extra in receiver.query("SELECT stream, n, extra FROM windows"):
        found = json.loads(extra or "{}")
        if stream == "truth":
            merge(merged, found | {"n": n})
        elif stream == "":
            estimated += found.get("est_n", 0)
            expected += found.get("est_correct", 0.0)
            errors += found.get("errors", 0)
    measured = figures(merged)
    predicted = scores.argmax(axis=1)
    assert measured["accuracy"] == pytest.approx((predicted == truth).mean())
    assert measured["brier"] == pytest.approx(brier_score_loss(truth, scores, labels=range(3)))
    precision, recall, _, support = precision_recall_fscore_support(truth, predicted)
    for k in range(3):
        of = measured["classes"][str(k)]
        assert (of["n"], of["precision"], of["recall"]) == (
            support[k], pytest.approx(precision[k]), pytest.approx(recall[k]),
        )  # fmt: skip
    assert measured["ece"] < 0.05  # truths were drawn from the confidences
    assert (estimated, errors) == (N, 7)
    assert abs(expected / estimated - measured["accuracy"]) < 0.04
    assert abs(expected / estimated - reference) < 0.04
    assert receiver.query("SELECT categories FROM windows WHERE stream = 'error'") == [
        ('{"TimeoutError": 7}',)
    ]
    assert receiver.query("SELECT count(*) FROM labels") == [(N + 1,)]
    told = receiver.query(
        "SELECT type FROM events WHERE type LIKE 'performance%' OR type LIKE 'err%'"
    )
    assert told == [("errors.started",)]  # seven in a row, after thousands without

    page = folder / "report.html"
    subprocess.run(
        [*EDGEMON, "report", str(receiver.database), "-o", str(page)],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    html = page.read_text()
    assert f"{N:,} predictions met their truth: {100 * measured['accuracy']:.1f} % right" in html
    assert "How well it does" in html and "Accuracy" in html


@pytest.mark.mosquitto
def test_concept_drift_is_told_after_a_crash_too_and_the_healthy_twin_is_silent(
    device: Device, receiver: Receiver
) -> None:
    make_profile(device.folder)
    device.start()
    send(device, *vectors(1_000, 4), "a")
    send(device, *vectors(1_000, 5), "a", "twin")
    device.kill_agent()
    send(device, *vectors(1_500, 6, wrong=0.5), "b")
    send(device, *vectors(1_500, 7), "b", "twin")
    wait_for(lambda: receiver.query("SELECT 1 FROM events WHERE type = 'performance.drop'"))
    assert device.stop() == 0
    wait_for(lambda: receiver.query("SELECT 1 FROM events WHERE type = 'agent.stopped'"))
    told = receiver.query(
        "SELECT model, severity, data FROM events WHERE type LIKE 'performance.%'"
    )
    assert [(model, severity) for model, severity, _ in told] == [("digits", "alarm")]
    data = json.loads(told[0][2])
    assert data["by"] == "truth" and data["rate"] > data["reference_rate"] + 0.1
    assert 0 < data["since_answers"] < 500
