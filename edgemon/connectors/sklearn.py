"""scikit-learn: an estimator whose predictions are logged.

model = Watched(LogisticRegression(), PredictionLog(client, "iris")).fit(X, y)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from edgemon.connectors.predictions import PredictionLog

METHODS = ("predict", "predict_proba", "decision_function")
_KINDS = {"predict_proba": "probabilities", "decision_function": "values"}


def _has(method: str) -> Callable[[Any], bool]:
    """A method is there where the estimator has it, so that hasattr says the same of both."""
    return lambda self: hasattr(self._inner(), method)


class Watched(MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator that logs what it predicts, and is one in pipelines, searches, clone and pickle.

    estimator: fitted or not; `fit` fits a clone of it (`estimator_`), as scikit-learn's own meta-estimators do.
    methods: which of METHODS are logged. A class is logged as text, probabilities and scores as numbers; the log's
    own `outputs` is not looked at. Names of columns are those that the estimator was fitted with.

    What a method returns is the estimator's own object. Attributes that it has not are the estimator's.
    `score` and whatever else the estimator does by itself is not logged.
    """

    def __init__(
        self,
        estimator: Any,
        log: PredictionLog | None = None,
        *,
        methods: Sequence[str] = METHODS,
    ) -> None:
        self.estimator = estimator
        self.log = log
        self.methods = methods

    def fit(self, X: Any, y: Any = None, **params: Any) -> Watched:  # noqa: N803
        """Fit a clone of the estimator."""
        self.estimator_ = clone(self.estimator).fit(X, y, **params)
        return self

    @available_if(_has("predict"))  # type: ignore[untyped-decorator]
    def predict(self, X: Any, **params: Any) -> Any:  # noqa: N803
        """As the estimator's, and logged."""
        return self._call("predict", X, params)

    @available_if(_has("predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any, **params: Any) -> Any:  # noqa: N803
        """As the estimator's, and logged."""
        return self._call("predict_proba", X, params)

    @available_if(_has("decision_function"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any, **params: Any) -> Any:  # noqa: N803
        """As the estimator's, and logged."""
        return self._call("decision_function", X, params)

    @available_if(_has("score"))  # type: ignore[untyped-decorator]
    def score(self, X: Any, y: Any = None, **params: Any) -> Any:  # noqa: N803
        """As the estimator's."""
        return self._inner().score(X, y, **params)

    def remove(self) -> Any:
        """Log no more; the estimator itself, fitted if this one was, without the wrapper."""
        self.log = None
        return self._inner()

    def _inner(self) -> Any:
        return self.__dict__.get("estimator_", self.estimator)

    def _call(self, method: str, X: Any, params: dict[str, Any]) -> Any:  # noqa: N803
        inner, log = self._inner(), self.log
        begun = perf_counter()
        result = getattr(inner, method)(X, **params)
        seconds = perf_counter() - begun
        if log is not None and method in self.methods:
            with log.guarded():
                kind = _KINDS.get(method) or ("labels" if is_classifier(inner) else "values")
                log.record(
                    X,
                    result if log.select is None else log.select(result),
                    seconds,
                    kind=kind,
                    classes=_texts(inner, "classes_") if kind == "probabilities" else None,
                    columns=None if hasattr(X, "columns") else _texts(inner, "feature_names_in_"),
                )
        return result

    def __sklearn_is_fitted__(self) -> bool:
        if "estimator_" in self.__dict__:
            return True
        check_is_fitted(self.estimator)
        return True

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import get_tags  # of 1.6 and later, which alone calls this

        return get_tags(self.estimator)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "estimator" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self._inner(), name)


def _texts(estimator: Any, attribute: str) -> list[str] | None:
    found = getattr(estimator, attribute, None)
    return None if found is None else [str(one) for one in found]
