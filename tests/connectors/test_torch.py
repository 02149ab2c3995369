"""PyTorch: hooks and training steps, with real modules and a real agent."""

from __future__ import annotations

import copy
import math
import pickle
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import edgemon
from edgemon.connectors import PredictionLog, TrainingLog
from edgemon.connectors import columns as connector_columns
from tests.client.collector import Collector
from tests.connectors.arrived import Arrived, client_of, events
from tests.e2e.harness import Device

torch: Any = pytest.importorskip(
    "torch", reason="needs PyTorch (pip install 'edgemon[connectors-torch]')"
)

from edgemon.connectors.torch import (  # noqa: E402
    MAX_PENDING,
    Pending,
    Training,
    norm,
    statistics,
    watch,
)


def network() -> Any:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()


def test_what_a_module_computed_is_stored_on_the_device(device: Device) -> None:
    device.start()
    net = network()
    x = torch.randn(40, 4)
    with client_of(device) as client:
        log = PredictionLog(client, "net", version=7, outputs="logits", classes="abc")
        with watch(net, log), torch.no_grad():
            result = net(x)
            images = torch.rand(3, 2, 5, 6)
        convolution = torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3), torch.nn.Flatten()).eval()
        with watch(convolution, PredictionLog(client, "images")):
            pictures = convolution(images)
        net(x)  # not watched any more
        assert client.flush("disk", timeout=30)
        assert log.stats() == (1, 40, {}, 0, "")
    device.stop()
    arrived = Arrived(device)
    stored = arrived.predictions("net")
    expected = torch.softmax(result.double(), 1).float().tolist()
    assert [row["output"] for row in stored] == expected
    assert arrived.features("net", [f"f{index}" for index in range(4)]) == x.tolist()
    assert [row["f:output.class"] for row in stored] == ["abc"[at] for at in result.argmax(1)]
    assert {row["version"] for row in stored} == {"7"}
    latencies = {row["latency"] for row in stored}
    assert len(latencies) == 1 and 0 < latencies.pop() < 60  # the batch's, by row
    assert arrived.outputs("images") == pictures.tolist()
    names = [f"c{c}.{name}" for c in range(2) for name in ("mean", "std", "min", "max", "missing")]
    told = np.array(arrived.features("images", names)).reshape(3, 2, 5)
    flat = images.double().numpy().reshape(3, 2, 30)
    for at, oracle in enumerate((flat.mean(2), flat.std(2), flat.min(2), flat.max(2))):
        np.testing.assert_allclose(told[:, :, at], oracle, rtol=1e-12)
    assert (told[:, :, 4] == 0).all()


def test_a_training_is_stored_with_loss_gradient_norm_and_learning_rate(device: Device) -> None:
    device.start()
    torch.manual_seed(2)
    net = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.5)
    x, y = torch.randn(16, 4), torch.randn(16, 1)
    expected: dict[str, list[tuple[int, float]]] = {"loss": [], "gradient_norm": [], "learning_rate": []}  # fmt: skip
    with client_of(device) as client:
        training = Training(optimizer, TrainingLog(client, every=5))
        for step in range(40):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(net(x), y)
            if step == 30:
                loss = loss * torch.inf
            if step == 35:
                loss = loss * torch.nan
            loss.backward()
            training.step(loss)
            if step % 5 == 0:
                squares = [(one.grad.double() ** 2).sum().item() for one in net.parameters()]
                expected["loss"].append((step, loss.item()))
                expected["gradient_norm"].append((step, math.sqrt(sum(squares))))
                expected["learning_rate"].append((step, optimizer.param_groups[0]["lr"]))
            if step < 30:
                optimizer.step()
            schedule.step()
        training.remove()
        training.step(loss)
        assert client.flush("disk", timeout=30)
    device.stop()
    arrived = Arrived(device)
    for name, values in expected.items():
        stored = arrived.metric(f"train/{name}")
        assert [step for step, _ in stored] == [step for step, _ in values]
        np.testing.assert_allclose([v for _, v in stored], [v for _, v in values], rtol=1e-6)
    assert math.isinf(arrived.metric("train/loss")[6][1])
    assert math.isnan(arrived.metric("train/loss")[7][1])
    assert not math.isfinite(arrived.metric("train/gradient_norm")[7][1])


def test_the_result_is_the_same_object_and_gradients_flow(nobody: edgemon.Client) -> None:
    seen = []

    class Same(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            seen.append(x * 2)
            return seen[-1]

    module = Same().eval()
    watch(module, PredictionLog(nobody, "m"))
    x = torch.ones(2, 3, requires_grad=True)
    result = module(x)
    assert result is seen[-1]
    result.sum().backward()
    assert x.grad.tolist() == [[2.0] * 3] * 2


@pytest.mark.parametrize("mode", ["grad", "no_grad", "inference"])
@pytest.mark.parametrize("kind", ["float32", "bfloat16", "float16", "float64"])
def test_modes_and_types(
    mode: str, kind: str, client: edgemon.Client, collector: Collector
) -> None:
    net = torch.nn.Identity().eval()
    watch(net, PredictionLog(client, "m"))
    context = {
        "grad": torch.enable_grad, "no_grad": torch.no_grad, "inference": torch.inference_mode,
    }[mode]  # fmt: skip
    with context():
        net(torch.tensor([[0.25, 0.75]], dtype=getattr(torch, kind)))
    ((model, output, features, latency),) = events(client, collector)
    assert (model, output, features) == ("m", [0.25, 0.75], [0.25, 0.75])
    assert latency > 0


def test_training_mode_is_skipped_unless_asked_for(nobody: edgemon.Client) -> None:
    net = network().train()
    log = PredictionLog(nobody, "m")
    with watch(net, log):
        net(torch.ones(2, 4))
    assert log.stats() == (0, 0, {"training": 1}, 0, "")
    with watch(net, log, training=True):
        net(torch.ones(2, 4))
    assert log.stats().logged == 2


@pytest.mark.parametrize("fullgraph", [False, True])
def test_a_compiled_module_is_watched_and_its_graph_stays_whole(
    fullgraph: bool, nobody: edgemon.Client
) -> None:
    net, x = network(), torch.ones(2, 4)
    torch._dynamo.reset()
    inside, outside = PredictionLog(nobody, "inside"), PredictionLog(nobody, "outside")
    watch(net, inside)  # before the graph was made of it: nothing is seen, and nothing breaks
    compiled = torch.compile(net, backend="eager", fullgraph=fullgraph)
    handle = watch(compiled, outside)
    with torch.no_grad():
        for _ in range(3):
            assert torch.equal(compiled(x), net(x))
    assert outside.stats() == (3, 6, {}, 0, "")
    assert inside.stats() == (3, 6, {}, 0, "")  # of net(x) alone
    handle.remove()
    compiled(x)
    assert outside.stats().calls == 3


def test_tracing_and_exporting_log_nothing(nobody: edgemon.Client) -> None:
    net, log = network(), PredictionLog(nobody, "m")
    watch(net, log)
    torch.export.export(net, (torch.ones(1, 4),))
    assert log.stats() == (0, 0, {}, 0, "")


def test_a_copy_of_a_watched_module_is_not_watched(nobody: edgemon.Client) -> None:
    net, log = network(), PredictionLog(nobody, "m")
    watch(net, log)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(other(torch.ones(2, 4)), net(torch.ones(2, 4)))
    assert log.stats().calls == 2  # of the watched one
    assert b"edgemon" not in pickle.dumps(net)


def test_no_tensor_and_no_module_is_kept(nobody: edgemon.Client) -> None:
    net = network()
    handle = watch(net, PredictionLog(nobody, "m"))
    x = torch.ones(2, 4)
    result = net(x)
    of_x, of_result, of_net = weakref.ref(x), weakref.ref(result), weakref.ref(net)
    del x, result, net
    assert (of_x(), of_result(), of_net()) == (None, None, None)
    handle.remove()


def test_threads(nobody: edgemon.Client) -> None:
    net, log = network(), PredictionLog(nobody, "m", outputs="logits")
    watch(net, log)

    def work() -> None:
        with torch.no_grad():
            for _ in range(50):
                net(torch.ones(3, 4))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.stats() == (200, 600, {}, 0, "")


def test_what_cannot_be_logged_is_counted_and_told_once(nobody: edgemon.Client) -> None:
    net, log = torch.nn.Identity().eval(), PredictionLog(nobody, "m")
    watch(net, log)
    image = torch.ones(1, 3, 4, 4)
    with pytest.warns(RuntimeWarning, match=r"shape \(1, 3, 4, 4\).*give select=") as told:
        for _ in range(3):
            assert net(image) is image
    assert len(told) == 1
    assert log.stats().errors == 3


def test_select_and_several_inputs(client: edgemon.Client, collector: Collector) -> None:
    class Two(torch.nn.Module):  # type: ignore[misc]
        def forward(self, a: Any, mask: Any, *, b: Any) -> dict[str, Any]:
            return {"loss": (a * mask.sum()).sum(), "hidden": b, "score": a + b[:, 0]}

    net = Two().eval()
    watch(net, PredictionLog(client, "m", select=lambda found: found["score"]))
    net(torch.tensor([1.0, 2.0]), torch.ones(3, 3), b=torch.tensor([[5.0, 6.0], [7.0, 8.0]]))
    assert [event[:3] for event in events(client, collector)] == [
        ["m", 6.0, {"input0": 1.0, "b.f0": 5.0, "b.f1": 6.0}],
        ["m", 9.0, {"input0": 2.0, "b.f0": 7.0, "b.f1": 8.0}],
    ]


def test_statistics_of_a_device_are_those_of_numpy() -> None:
    generator = np.random.default_rng(3)
    for shape, axis in (((4, 3, 7, 5), 1), ((4, 7, 3), -1), ((2, 300), 0), ((2, 1, 400, 400), 1)):
        array = generator.normal(size=shape).astype(np.float32)
        array[0, ..., :2] = np.nan
        array[1] = np.nan
        np.testing.assert_allclose(
            statistics(torch.from_numpy(array), axis).numpy(),
            connector_columns.statistics(array, axis),
            rtol=1e-9,
        )


def test_norm_is_one_over_all_tensors() -> None:
    assert norm([torch.tensor([3.0]), torch.tensor([[0.0, 4.0]])]).item() == 5.0


class FakeEvent:
    """Of a device: says that it is there when the test says so."""

    def __init__(self) -> None:
        self.there = False
        self.waited = 0

    def query(self) -> bool:
        return self.there

    def synchronize(self) -> None:
        self.waited += not self.there


def test_pending_copies_are_delivered_in_order_and_never_waited_for() -> None:
    skipped: list[str] = []
    delivered: list[int] = []
    pending = Pending(skipped.append)
    marks = [FakeEvent() for _ in range(MAX_PENDING + 2)]
    for at, mark in enumerate(marks):
        pending.put(mark, lambda at=at: delivered.append(at))  # type: ignore[misc]
    assert skipped == ["device_busy"] * 2
    marks[1].there = True
    pending.drain()
    assert delivered == []
    marks[0].there = True
    pending.drain()
    assert delivered == [0, 1] and not any(mark.waited for mark in marks)
    marks[2].there = True
    pending.drain(wait=True)
    assert delivered == list(range(MAX_PENDING))
    assert [mark.waited for mark in marks[2:5]] == [0, 1, 1]
    pending.put(FakeEvent(), lambda: None)
    pending.end()
    assert len(skipped) == 3 and pending._waiting == type(pending._waiting)()


def test_training_is_told_the_norm_that_clipping_found(
    client: edgemon.Client, collector: Collector
) -> None:
    net = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(
        [{"params": [net.weight], "lr": 0.5}, {"params": [net.bias], "lr": 0.25}]
    )
    training = Training(optimizer, TrainingLog(client, "tune", every=2))
    net(torch.ones(1, 2)).sum().backward()
    for _ in range(3):
        training.step(0.5, gradient_norm=torch.tensor(9.0))
    training.step()
    assert events(client, collector) == [
        {"metric": f"tune/{name}", "value": value, "step": step}
        for step in (0, 2)
        for name, value in (
            ("loss", 0.5), ("gradient_norm", 9.0), ("learning_rate/0", 0.5), ("learning_rate/1", 0.25),
        )
    ]  # fmt: skip
    assert training.log.stats() == (4, 8, {"every": 2}, 0, "")
