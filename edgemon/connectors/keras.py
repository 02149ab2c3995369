"""Keras: a callback for `fit` and `predict`, on any backend.

callback = Callback(PredictionLog(client, "digits", outputs="probabilities"), TrainingLog(client))
model.fit(x, y, callbacks=[callback])
model.predict(x, callbacks=[callback.with_inputs(x)])
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import keras

from edgemon.connectors.predictions import PredictionLog
from edgemon.connectors.training import TrainingLog, learning_rates


class Callback(keras.callbacks.Callback):  # type: ignore[misc]
    """Logs the batches of `predict`, and the steps of `fit`.

    Keras tells a callback no inputs: `with_inputs` gives them beside. The loss is what Keras hands over, the mean of
    the epoch so far. The gradient norm, one L2 norm over all trainable weights, is read with the backend torch; on
    others gradients do not leave the compiled step, and are not logged.

    sync: wait for an accelerator, whose batches and steps are skipped otherwise: Keras has no way to copy without it.

    Steps count on over epochs and calls of `fit`. With steps_per_execution above 1 only the last step of each
    execution is seen, and only those that are due are logged.
    """

    def __init__(
        self,
        predictions: PredictionLog | None = None,
        training: TrainingLog | None = None,
        *,
        inputs: Any = None,
        sync: bool = False,
    ) -> None:
        super().__init__()
        self._sync = sync
        self.predictions = predictions
        self.training = training
        self.steps = 0
        self._inputs = inputs
        self._done = 0
        self._begun: float | None = None

    def with_inputs(self, inputs: Any) -> Callback:
        """For one `predict`: a callback that logs these inputs, an array or a list or map of arrays, row by row."""
        other = copy.copy(self)
        other._inputs = inputs
        return other

    def remove(self) -> None:
        """Log no more."""
        self.predictions = self.training = self._inputs = None

    # -- predict

    def on_predict_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        self._done, self._begun = 0, None

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        self._begun = perf_counter()

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        log, begun, ended = self.predictions, self._begun, perf_counter()
        if log is None or not logs:
            return
        with log.guarded():
            seconds = None if begun is None else ended - begun
            outputs = log.chosen(logs["outputs"])
            first, self._done = self._done, self._done + len(outputs)
            inputs = _slice(self._inputs, first, self._done)
            if not self._may_read(outputs):
                log.skip("device", len(outputs))
                return
            log.record(
                inputs, keras.ops.convert_to_numpy(outputs), seconds, channel_axis=_channel_axis()
            )

    def on_predict_end(self, logs: Any = None) -> None:  # noqa: ARG002
        self._begun = None

    # -- fit

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        log = self.training
        if log is None:
            return
        step, self.steps = self.steps, self.steps + 1
        if not log.is_due(step):
            return
        with log.guarded():
            optimizer = self.model.optimizer
            if not self._may_read(optimizer.learning_rate, *(logs or {}).values()):
                log.skip("device")
                return
            values = {name: float(value) for name, value in (logs or {}).items()}
            values |= learning_rates([float(optimizer.learning_rate)])
            if keras.backend.backend() == "torch":
                values |= self._gradient_norm()
            log.record(step, values)

    def _may_read(self, *numbers: Any) -> bool:
        """Whether reading them waits for no device, or the waiting was asked for."""
        devices = [str(getattr(getattr(one, "value", one), "device", "cpu")) for one in numbers]
        return self._sync or all("cpu" in device.lower() for device in devices)

    def _gradient_norm(self) -> dict[str, float]:
        from edgemon.connectors.torch import norm

        gradients = [
            weight.value.grad
            for weight in self.model.trainable_weights
            if weight.value.grad is not None
        ]
        return {"gradient_norm": float(norm(gradients))} if gradients else {}


def _slice(inputs: Any, first: int, end: int) -> Any:
    if isinstance(inputs, Mapping):
        return {name: _slice(one, first, end) for name, one in inputs.items()}
    if isinstance(inputs, (list, tuple)):
        return {f"input{at}": _slice(one, first, end) for at, one in enumerate(inputs)}
    return None if inputs is None else inputs[first:end]


def _channel_axis() -> int:
    return 1 if keras.config.image_data_format() == "channels_first" else -1
