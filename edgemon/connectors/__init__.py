"""Connectors: a framework's models and training loops, watched through `edgemon.Client`.

    PredictionLog, TrainingLog        what is logged of a model, of a training
    edgemon.connectors.torch          watch(module), Training(optimizer)
    edgemon.connectors.keras          Callback
    edgemon.connectors.sklearn        Watched(estimator)
    edgemon.connectors.onnxruntime    WatchedSession(session)
    edgemon.connectors.litert         WatchedInterpreter(interpreter)

Importing this imports no framework, and nothing else of edgemon imports it.
"""

from edgemon.connectors.predictions import PredictionLog
from edgemon.connectors.shared import LogStats
from edgemon.connectors.training import TrainingLog

__all__ = ["LogStats", "PredictionLog", "TrainingLog"]
