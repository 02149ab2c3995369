"""ONNX Runtime: a session whose `run` is logged.

    session = WatchedSession(onnxruntime.InferenceSession("model.onnx"), PredictionLog(client, "digits"))

It needs nothing of ONNX Runtime but the session it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

from edgemon.connectors.predictions import PredictionLog

CHANNEL_AXIS = 1


class WatchedSession:
    """An InferenceSession, to be used as one: what it does not have itself is the session's.

    output: name of the output that is logged; without it the first of those that a run asked for, or what the log's
    select makes of the list.  A run that did not ask for it is counted as skipped ("not_asked").
    `run` returns the session's own list. `run_with_iobinding`, `run_with_ort_values` and `run_async` are not logged.
    """

    def __init__(self, session: Any, log: PredictionLog, *, output: str | None = None) -> None:
        self.session = session
        self.log: PredictionLog | None = log
        self._output = output
        self._names = [one.name for one in session.get_outputs()]
        if output is not None and output not in self._names:
            raise ValueError(f"the session has no output {output!r}, but {', '.join(self._names)}")

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        run_options: Any = None,
    ) -> Any:
        """As the session's, and logged."""
        log = self.log
        begun = perf_counter()
        outputs = self.session.run(output_names, input_feed, run_options)
        seconds = perf_counter() - begun
        if log is not None:
            with log.guarded():
                self._record(log, output_names, input_feed, outputs, seconds)
        return outputs

    def remove(self) -> Any:
        """Log no more; the session itself, without the wrapper."""
        self.log = None
        return self.session

    def __getattr__(self, name: str) -> Any:
        if name == "session":  # of a copy that is not made yet
            raise AttributeError(name)
        return getattr(self.session, name)

    def _record(
        self,
        log: PredictionLog,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        outputs: Any,
        seconds: float,
    ) -> None:
        if self._output is not None:
            names = list(output_names) if output_names else self._names
            if self._output not in names:
                log.skip("not_asked")
                return
            outputs = outputs[names.index(self._output)]
        else:
            outputs = log.chosen(outputs)
        inputs = {name: _array(one) for name, one in input_feed.items()}
        log.record(inputs, outputs, seconds, channel_axis=CHANNEL_AXIS)


def _array(value: Any) -> Any:
    """Of an OrtValue its array; what is on another device is copied by ONNX Runtime."""
    return value.numpy() if callable(getattr(value, "numpy", None)) else value
