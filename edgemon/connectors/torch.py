"""PyTorch: a module's predictions through forward hooks, a training loop's numbers through one call a step.

    handle = watch(network, PredictionLog(client, "digits", outputs="logits"))
    training = Training(optimizer, TrainingLog(client, every=10))

Nothing waits for a device. What lies on a CUDA device is reduced there to what is logged, copied into pinned memory
without waiting, and handed to the client by a later call, when the device has come so far.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import Any

import torch

from edgemon.connectors.columns import MAX_VALUES, STATISTICS, Reduced, summary_axis
from edgemon.connectors.predictions import PredictionLog
from edgemon.connectors.training import TrainingLog, learning_rates

MAX_PENDING = 64  # batches, or steps, that a device has not finished
CHANNEL_AXIS = 1


def watch(
    module: torch.nn.Module, log: PredictionLog, *, training: bool = False, sync: bool = False
) -> Watch:
    """Log what a module predicts, from now on until `remove()` of what is returned.

    training: log in training mode, too; without it those calls are counted as skipped.
    sync: wait for a device that can say nothing of its copies (anything but CUDA), whose calls are skipped otherwise.

    Hooks return nothing, so what the module returns is the same object. A copy of the module (deepcopy, pickle) is not
    watched. Inside a graph of torch.compile hooks do nothing: watch what torch.compile returns.
    """
    return Watch(module, log, training=training, sync=sync)


class Watch:
    """The handle of a watched module. Made by `watch`."""

    def __init__(
        self, module: torch.nn.Module, log: PredictionLog, *, training: bool, sync: bool
    ) -> None:
        self.log = log
        self._training = training
        self._sync = sync
        self._pending = Pending(log.skip)
        self._thread = threading.local()
        self._handles = [
            module.register_forward_pre_hook(_Hook(self._before), with_kwargs=True),
            module.register_forward_hook(_Hook(self._after), with_kwargs=True),
        ]

    def remove(self) -> None:
        """Take the hooks away. What a device has not finished is counted as skipped ("device_busy")."""
        for handle in self._handles:
            handle.remove()
        self._pending.end()

    def flush(self) -> None:
        """Wait for the device, and log what was pending."""
        with self.log.guarded():
            self._pending.drain(wait=True)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _before(self, _module: Any, args: Any, kwargs: Any) -> None:
        with self.log.guarded():
            first = args[0] if args else next(iter(kwargs.values()), None)
            mark = _Mark() if getattr(first, "is_cuda", False) else None
            self._thread.begun = perf_counter(), mark

    def _after(self, module: Any, args: Any, kwargs: Any, output: Any) -> None:
        ended = perf_counter()
        with self.log.guarded():
            begun, mark = getattr(self._thread, "begun", (None, None))
            self._thread.begun = None, None
            if module.training and not self._training:
                self.log.skip("training")
            elif not torch.jit.is_tracing():
                seconds = None if begun is None else ended - begun
                self._log(_tensors(args, kwargs), self.log.chosen(output), seconds, mark)

    def _log(self, inputs: dict[str, Any], output: Any, seconds: float | None, mark: Any) -> None:
        if not isinstance(output, torch.Tensor):
            raise TypeError(f"the output is a {type(output).__name__}, no tensor; give select=")
        on_devices = _devices((*inputs.values(), output))
        if not on_devices:
            self._record(inputs, output, seconds)
        elif on_devices == {"cuda"}:
            self._pending.drain()
            self._later(inputs, output, mark)
        elif self._sync:
            self._record({name: one.cpu() for name, one in inputs.items()}, output.cpu(), seconds)
        else:
            self.log.skip("device")

    def _record(self, inputs: dict[str, Any], output: Any, seconds: float | None) -> None:
        arrays = {name: as_numpy(one) for name, one in inputs.items()}
        self.log.record(arrays, as_numpy(output), seconds, channel_axis=CHANNEL_AXIS)

    def _later(self, inputs: dict[str, Any], output: Any, mark: _Mark | None) -> None:
        log, end = self.log, _Mark()
        if output.ndim > 2:
            raise ValueError(f"outputs of shape {tuple(output.shape)}; give select=")
        host_output = _to_host(output)
        host_inputs = {
            name: host
            for name, one in inputs.items()
            if (host := _reduced_to_host(one, log.channel_axis, log.max_features)) is not None
        }
        copied = _Mark()

        def deliver() -> None:
            seconds = None if mark is None else mark.seconds_until(end)
            log.record(host_inputs, as_numpy(host_output), seconds)

        self._pending.put(copied, deliver)


class Training:
    """Logs loss, gradient norm and learning rate of a training loop, by one call a step.

        loss.backward()
        training.step(loss)
        optimizer.step()

    The gradient norm is one L2 norm over all parameters of the optimizer; with several parameter groups each has its
    learning rate. Numbers of a CUDA device are logged by a later step or `flush()`.  sync: as of `watch`.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, log: TrainingLog, *, sync: bool = False
    ) -> None:
        self.log = log
        self.steps = 0
        self._sync = sync
        self._optimizer: torch.optim.Optimizer | None = optimizer
        self._pending = Pending(log.skip)

    def step(self, loss: Any = None, gradient_norm: Any = None) -> None:
        """After `backward()`, and before the gradients are cleared. Never raises, never waits for a device.

        gradient_norm: where it is known, as clip_grad_norm_ returns it; without it it is computed when it is due.
        """
        if self._optimizer is None:
            return
        step, self.steps = self.steps, self.steps + 1
        if not self.log.is_due(step):
            return
        with self.log.guarded(), torch.no_grad():
            groups = self._optimizer.param_groups
            rates = learning_rates([float(group["lr"]) for group in groups])
            if gradient_norm is None:
                gradients = [
                    one.grad for group in groups for one in group["params"] if one.grad is not None
                ]
                gradient_norm = norm(gradients) if gradients else None
            numbers = {"loss": loss, "gradient_norm": gradient_norm} | rates
            self._log(step, {name: one for name, one in numbers.items() if one is not None})

    def flush(self) -> None:
        """Wait for the device, and log what was pending."""
        with self.log.guarded():
            self._pending.drain(wait=True)

    def remove(self) -> None:
        """Later steps are not logged, and the optimizer is let go. What a device has not finished is skipped."""
        self._optimizer = None
        self._pending.end()

    def _log(self, step: int, numbers: dict[str, Any]) -> None:
        self._pending.drain()
        on_devices = _devices(one for one in numbers.values() if isinstance(one, torch.Tensor))
        if not on_devices or (self._sync and on_devices != {"cuda"}):
            self.log.record(step, {name: float(one) for name, one in numbers.items()})
            return
        if on_devices != {"cuda"}:
            self.log.skip("device")
            return
        host = {
            name: _to_host(one) if isinstance(one, torch.Tensor) else one
            for name, one in numbers.items()
        }
        self._pending.put(
            _Mark(), lambda: self.log.record(step, {name: float(one) for name, one in host.items()})
        )


class Pending:
    """Copies that a device has not finished, in order, at most MAX_PENDING; one more is counted and let go.

    skip: told "device_busy" for each that is never logged.
    """

    def __init__(self, skip: Callable[[str], None]) -> None:
        self._skip = skip
        self._waiting: deque[tuple[Any, Callable[[], None]]] = deque()
        self._lock = threading.Lock()

    def put(self, event: Any, deliver: Callable[[], None]) -> None:
        """event: query() says whether the device is there, synchronize() waits for it."""
        if len(self._waiting) >= MAX_PENDING:
            self._skip("device_busy")
        else:
            self._waiting.append((event, deliver))

    def drain(self, *, wait: bool = False) -> None:
        """Deliver what is there; another thread that delivers already is not waited for, unless it is asked for."""
        if self._lock.acquire(blocking=wait):
            try:
                while self._waiting and (wait or self._waiting[0][0].query()):
                    event, deliver = self._waiting.popleft()
                    event.synchronize()
                    deliver()
            finally:
                self._lock.release()

    def end(self) -> None:
        """Deliver what is there, and let the rest go."""
        self.drain()
        while self._waiting:
            with contextlib.suppress(IndexError):
                self._waiting.popleft()
                self._skip("device_busy")


def statistics(tensor: torch.Tensor, channel_axis: int) -> torch.Tensor:
    """`edgemon.connectors.columns.statistics` where the tensor is: (n, …) -> (n, 5 C), one row a prediction."""
    channels = (
        tensor.detach().movedim(channel_axis, 1)
        if channel_axis and tensor.ndim > 2
        else tensor.detach()[:, None]
    )
    flat = channels.reshape(*channels.shape[:2], -1)
    flat = flat[:, :, :: -(-flat.shape[2] // MAX_VALUES) or 1].double()
    missing = flat.isnan()
    count = (flat.shape[2] - missing.sum(2)).double()
    known = flat.masked_fill(missing, 0.0)
    mean = known.sum(2) / count
    spread = (known - mean[:, :, None]).masked_fill(missing, 0.0).square().sum(2)
    least = flat.masked_fill(missing, torch.inf).amin(2)
    most = flat.masked_fill(missing, -torch.inf).amax(2)
    nothing = count == 0
    found = torch.stack(
        [
            mean,
            (spread / count).sqrt(),
            least.masked_fill(nothing, torch.nan),
            most.masked_fill(nothing, torch.nan),
            1.0 - count / max(1, flat.shape[2]),
        ],
        dim=2,
    )
    assert found.shape[2] == len(STATISTICS)
    return found.reshape(len(tensor), -1)


def norm(gradients: list[torch.Tensor]) -> torch.Tensor:
    """One L2 norm over all tensors together, on their device."""
    return torch.nn.utils.get_total_norm(gradients)


def as_numpy(tensor: torch.Tensor) -> Any:
    """The tensor's own memory, without a copy, where numpy can count with its type; else as float32."""
    return _countable(tensor).numpy()


class _Hook:
    """A hook that stays behind when its module is copied or pickled: there it is a function that does nothing."""

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> None:
        if not torch.compiler.is_compiling():
            self._call(*args)

    def __reduce__(self) -> tuple[Any, ...]:
        # Of the standard library, so that the pickle needs no edgemon where it is loaded.
        return getattr, (contextlib.nullcontext(), "__exit__")


class _Mark:
    """A place in the work of the current CUDA stream."""

    def __init__(self) -> None:
        self._event = torch.cuda.Event(enable_timing=True)
        self._event.record()

    def query(self) -> bool:
        return bool(self._event.query())

    def synchronize(self) -> None:
        self._event.synchronize()

    def seconds_until(self, later: _Mark) -> float:
        return float(self._event.elapsed_time(later._event)) / 1e3


def _devices(tensors: Iterable[torch.Tensor]) -> set[str]:
    return {tensor.device.type for tensor in tensors} - {"cpu"}


def _countable(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach()
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _to_host(tensor: torch.Tensor) -> torch.Tensor:
    """Of a CUDA device: into pinned memory, and nothing waits. It may be read when the device has come so far."""
    return _countable(tensor).to("cpu", non_blocking=True)


def _reduced_to_host(tensor: torch.Tensor, channel_axis: int | None, room: int) -> Any:
    """An input's columns where they are few, else its statistics; None where there is no room for them."""
    if tensor.ndim < 3 and (tensor.ndim == 1 or tensor.shape[1] <= room):
        return as_numpy(_to_host(tensor))
    axis = CHANNEL_AXIS if channel_axis is None else channel_axis
    axis_taken = summary_axis(tensor.shape, axis, room)
    if axis_taken is None:
        return None
    return Reduced(as_numpy(_to_host(statistics(tensor, axis_taken))))


def _tensors(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors with a batch that a module was called with, by name."""
    named = {f"input{index}": one for index, one in enumerate(args)} | dict(kwargs)
    return {name: one for name, one in named.items() if isinstance(one, torch.Tensor) and one.ndim}
