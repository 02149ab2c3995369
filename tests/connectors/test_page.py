"""The programs of docs/connectors.md, as they stand there."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.client.collector import Collector
from tests.connectors.arrived import events

PAGE = (Path(__file__).parents[2] / "docs" / "connectors.md").read_text()


def example(heading: str) -> str:
    """The program of a section."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (found,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return str(found)


@pytest.fixture
def run(collector: Collector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs the section's program after that of "What is logged"; its names, and the events that came."""
    monkeypatch.setenv("EDGEMON_SOCKET", collector.path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}

    def done(heading: str) -> tuple[dict[str, Any], list[Any]]:
        exec(example("What is logged"), names)
        exec(example(heading), names)
        return names, events(names["client"], collector)

    yield done
    if "client" in names:
        names["client"].close()


def metrics(found: list[Any]) -> Counter[str]:
    return Counter(event["metric"] for event in found if isinstance(event, dict))


def predictions(found: list[Any], model: str) -> list[Any]:
    return [event for event in found if isinstance(event, list) and event[0] == model]


def test_pytorch(run: Any) -> None:
    pytest.importorskip("torch", reason="needs PyTorch (pip install 'edgemon[connectors-torch]')")
    names, found = run("PyTorch")
    assert metrics(found) == dict.fromkeys(
        ("train/loss", "train/gradient_norm", "train/learning_rate"), 10
    )
    logged = predictions(found, "net")
    expected = names["torch"].softmax(names["logits"], 1).numpy()
    np.testing.assert_allclose([event[1] for event in logged], expected, rtol=1e-5)
    assert [event[2] for event in logged] == names["x"].tolist()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_keras(run: Any) -> None:
    how = "(pip install 'edgemon[connectors-keras]' 'edgemon[connectors-torch]')"
    pytest.importorskip("torch", reason=f"needs PyTorch {how}")
    pytest.importorskip("keras", reason=f"needs Keras {how}")
    names, found = run("Keras")
    assert metrics(found) == dict.fromkeys(
        ("fit/loss", "fit/gradient_norm", "fit/learning_rate"), 2
    )
    logged = predictions(found, "keras")
    assert [event[1] for event in logged] == names["shares"].tolist()
    assert [event[2] for event in logged] == names["inputs"].tolist()


def test_scikit_learn(run: Any) -> None:
    pytest.importorskip(
        "sklearn", reason="needs scikit-learn (pip install 'edgemon[connectors-sklearn]')"
    )
    pytest.importorskip("pandas", reason="needs pandas (pip install pandas)")
    names, found = run("scikit-learn")
    logged = predictions(found, "iris")
    assert [event[1] for event in logged] == names["shares"].tolist()
    first = logged[0][2]
    assert first["petal width (cm)"] == 0.2 and first["output.class"] == "0"


def test_onnx_runtime(run: Any, tmp_path: Path) -> None:
    from tests.connectors.onnx_models import dense_softmax

    how = "(pip install 'edgemon[connectors-onnxruntime]' onnx)"
    pytest.importorskip("onnxruntime", reason=f"needs ONNX Runtime {how}")
    pytest.importorskip("onnx", reason=f"needs onnx to write a model {how}")
    (tmp_path / "model.onnx").write_bytes(dense_softmax(np.eye(4)[:, :3], np.arange(3.0)))
    names, found = run("ONNX Runtime")
    logged = predictions(found, "onnx")
    assert [event[1] for event in logged] == names["shares"].tolist()
    assert [event[2] for event in logged] == [[1.0] * 4] * 5


def test_litert(run: Any, tmp_path: Path) -> None:
    from tests.connectors.tflite_models import dense_softmax

    pytest.importorskip(
        "ai_edge_litert", reason="needs LiteRT (pip install 'edgemon[connectors-litert]')"
    )
    (tmp_path / "model.tflite").write_bytes(dense_softmax(np.eye(4)[:, :3], np.arange(3.0), 1))
    names, found = run("LiteRT")
    interpreter = names["interpreter"]
    (details,) = interpreter.get_output_details()
    ((_, output, features, latency),) = predictions(found, "lite")
    assert output == interpreter.get_tensor(details["index"])[0].tolist()
    assert features == [1.0] * 4 and latency > 0


def test_every_reason_to_skip_is_on_the_page() -> None:
    room = Path(__file__).parents[2] / "edgemon" / "connectors"
    code = "".join(path.read_text() for path in room.glob("*.py"))
    reasons = set(re.findall(r"skip\(\"(\w+)\"", code))
    table = PAGE.split("| `stats().skipped[…]` | |")[1].split("\n\n")[0]
    assert reasons == set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|[^|]*\|", table, re.M))))
