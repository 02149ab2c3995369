"""LiteRT (TensorFlow Lite): an interpreter whose `invoke` and signatures are logged.

    interpreter = WatchedInterpreter(Interpreter("model.tflite"), PredictionLog(client, "digits"))

It needs nothing but the interpreter it is given: of ai_edge_litert, tflite_runtime or tf.lite.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np

from edgemon.connectors.predictions import PredictionLog

CHANNEL_AXIS = -1


class WatchedInterpreter:
    """An Interpreter, to be used as one: what it does not have itself is the interpreter's.

    Tensors with one scale are logged dequantized. Inputs are read before `invoke`, which may reuse their memory; the
    copies are not in the latency.
    """

    def __init__(self, interpreter: Any, log: PredictionLog, *, output: int = 0) -> None:
        """output: position of the output tensor that is logged, in the order of get_output_details()."""
        self.interpreter = interpreter
        self.log: PredictionLog | None = log
        self._output = output

    def invoke(self) -> None:
        """As the interpreter's, and logged."""
        log = self.log
        inputs = self._inputs(log) if log is not None else None
        begun = perf_counter()
        self.interpreter.invoke()
        seconds = perf_counter() - begun
        if log is not None:
            with log.guarded():
                details = self.interpreter.get_output_details()[self._output]
                output = dequantized(self.interpreter.get_tensor(details["index"]), details)
                log.record(inputs, output, seconds, channel_axis=CHANNEL_AXIS)

    def get_signature_runner(self, signature_key: str | None = None) -> Any:
        """As the interpreter's; its calls are logged while the interpreter is watched."""
        return WatchedRunner(self, self.interpreter.get_signature_runner(signature_key))

    def remove(self) -> Any:
        """Log no more; the interpreter itself, without the wrapper."""
        self.log = None
        return self.interpreter

    def __getattr__(self, name: str) -> Any:
        if name == "interpreter":  # of a copy that is not made yet
            raise AttributeError(name)
        return getattr(self.interpreter, name)

    def _inputs(self, log: PredictionLog) -> dict[str, Any] | None:
        with log.guarded():
            return {
                one["name"]: dequantized(self.interpreter.get_tensor(one["index"]), one)
                for one in self.interpreter.get_input_details()
                if log.max_features
            }
        return None


class WatchedRunner:
    """A SignatureRunner of a watched interpreter. Its first output is logged, or what the log's select makes of all."""

    def __init__(self, watched: WatchedInterpreter, runner: Any) -> None:
        self._watched = watched
        self.runner = runner

    def __call__(self, **inputs: Any) -> Any:
        begun = perf_counter()
        outputs = self.runner(**inputs)
        seconds = perf_counter() - begun
        log = self._watched.log
        if log is not None:
            with log.guarded():
                log.record(
                    _dequantized(inputs, self.runner.get_input_details()),
                    log.chosen(_dequantized(outputs, self.runner.get_output_details())),
                    seconds,
                    channel_axis=CHANNEL_AXIS,
                )
        return outputs

    def __getattr__(self, name: str) -> Any:
        if name == "runner":
            raise AttributeError(name)
        return getattr(self.runner, name)


def dequantized(tensor: Any, details: Mapping[str, Any]) -> Any:
    """(q - zero point) * scale, as float32; a tensor without a scale, or with one for each channel, as it is."""
    scale, zero_point = details["quantization"]
    if not scale:
        return tensor
    return ((tensor.astype(np.int64) - zero_point) * scale).astype(np.float32)


def _dequantized(
    tensors: Mapping[str, Any], details: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    return {name: dequantized(one, details[name]) for name, one in tensors.items()}
