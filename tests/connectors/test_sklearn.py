"""scikit-learn: wrapped estimators, with a real agent, and as scikit-learn itself uses them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import edgemon
from edgemon.connectors import PredictionLog
from tests.client.collector import Collector
from tests.connectors.arrived import Arrived, client_of, events
from tests.e2e.harness import Device

pytest.importorskip(
    "sklearn", reason="needs scikit-learn (pip install 'edgemon[connectors-sklearn]')"
)

from sklearn.base import BaseEstimator, RegressorMixin, clone, is_classifier, is_regressor
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.validation import check_is_fitted

from edgemon.connectors.sklearn import Watched

IRIS = load_iris()
X, Y = StandardScaler().fit_transform(IRIS.data), IRIS.target_names[IRIS.target]
COLUMNS = ["sl", "sw", "pl", "pw"]


def test_what_an_estimator_computed_is_stored_on_the_device(device: Device) -> None:
    device.start()
    with client_of(device) as client:
        log = PredictionLog(client, "iris", columns=COLUMNS)
        model = Watched(LogisticRegression(max_iter=500), log).fit(X, Y)
        probabilities = model.predict_proba(X)
        labels = Watched(model.estimator_, PredictionLog(client, "labels")).predict(X[:20])
        svc = LinearSVC().fit(X, Y == "setosa")
        scores = Watched(svc, PredictionLog(client, "scores")).decision_function(X)
        line = LinearRegression().fit(X[:, :3], X[:, 3])
        numbers = Watched(line, PredictionLog(client, "numbers")).predict(X[:, :3])
        assert client.flush("disk", timeout=30)
        assert log.stats() == (1, 150, {}, 0, "")
    device.stop()
    arrived = Arrived(device)
    assert arrived.outputs("iris") == probabilities.tolist()
    assert arrived.features("iris", COLUMNS) == X.tolist()
    likeliest = [row["f:output.class"] for row in arrived.predictions("iris")]
    assert likeliest == model.estimator_.predict(X).tolist()
    assert all(0 < row["latency"] < 60 for row in arrived.predictions("iris"))
    assert arrived.outputs("labels") == labels.tolist()
    assert arrived.outputs("scores") == scores.tolist()
    assert arrived.outputs("numbers") == numbers.tolist()


def test_the_result_is_the_very_same_object(nobody: edgemon.Client) -> None:
    class Same(LogisticRegression):  # type: ignore[misc]
        def predict(self, X: Any) -> Any:  # noqa: N803
            self.last_ = super().predict(X)
            return self.last_

    model = Watched(Same(), PredictionLog(nobody, "m")).fit(X, Y)
    assert model.predict(X) is model.estimator_.last_


def test_parameters_clone_and_search(nobody: edgemon.Client) -> None:
    log = PredictionLog(nobody, "m")
    model = Watched(LogisticRegression(C=3.0, max_iter=500), log)
    assert model.get_params()["estimator__C"] == 3.0
    copied = clone(model.set_params(estimator__C=4.0))
    assert copied.estimator.C == 4.0 and copied.estimator is not model.estimator
    assert copied.log is log
    search = GridSearchCV(model, {"estimator__C": [0.1, 1.0]}, cv=2).fit(X, Y)
    assert search.best_params_["estimator__C"] in (0.1, 1.0)
    assert log.stats() == (0, 0, {}, 0, "")  # scored by the estimators themselves


def test_it_is_what_its_estimator_is(nobody: edgemon.Client) -> None:
    log = PredictionLog(nobody, "m")
    assert is_classifier(Watched(LogisticRegression(), log))
    assert is_regressor(Watched(Ridge(), log)) and not is_classifier(Watched(Ridge(), log))
    assert not hasattr(Watched(Ridge(), log), "predict_proba")
    unfitted = Watched(LogisticRegression(), log)
    with pytest.raises(NotFittedError):
        check_is_fitted(unfitted)
    with pytest.raises(NotFittedError):
        unfitted.predict(X)
    fitted = unfitted.fit(X, Y)
    check_is_fitted(fitted)
    assert not hasattr(fitted.estimator, "classes_")  # a clone was fitted
    assert fitted.classes_.tolist() == sorted(set(Y)) and fitted.n_features_in_ == 4
    assert fitted.score(X, Y) > 0.9
    with pytest.raises(AttributeError, match="no_such"):
        _ = fitted.no_such
    assert log.stats().calls == 0
    assert cross_val_score(clone(fitted), X, Y, cv=2).mean() > 0.8


def test_in_a_pipeline_and_around_one(client: edgemon.Client, collector: Collector) -> None:
    inside = make_pipeline(
        StandardScaler(), Watched(LogisticRegression(), PredictionLog(client, "in"))
    ).fit(X, Y)
    around = Watched(
        make_pipeline(StandardScaler(), LogisticRegression()), PredictionLog(client, "out")
    ).fit(X, Y)
    assert inside.predict(X[:1]).tolist() == around.predict(X[:1]).tolist()
    scaled, raw = events(client, collector)
    np.testing.assert_allclose(scaled[2], StandardScaler().fit(X).transform(X[:1])[0])
    assert raw[2] == X[0].tolist()


def test_a_pickled_estimator_predicts_and_logs_through_a_client_of_its_process(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEMON_SOCKET", collector.path)
    with edgemon.Client("/nowhere/ingest.sock") as before:
        model = Watched(LogisticRegression(), PredictionLog(before, "m", version=3)).fit(X, Y)
        other = pickle.loads(pickle.dumps(model))
    assert other.predict(X[:2]).tolist() == model.predict(X[:2]).tolist()
    assert other.log.stats() == (1, 2, {}, 0, "")
    assert [event[-1] for event in events(other.log.client, collector)] == [3, 3]
    other.log.client.close()


def test_methods_and_remove(nobody: edgemon.Client) -> None:
    log = PredictionLog(nobody, "m")
    model = Watched(LogisticRegression(), log, methods=["predict"]).fit(X, Y)
    model.predict_proba(X)
    assert log.stats().calls == 0
    model.predict(X)
    assert log.stats().calls == 1
    estimator = model.remove()
    assert isinstance(estimator, LogisticRegression)
    assert model.predict(X).tolist() == estimator.predict(X).tolist()
    assert log.stats().calls == 1


def test_tables_keep_their_names_and_texts(client: edgemon.Client, collector: Collector) -> None:
    pandas: Any = pytest.importorskip("pandas", reason="needs pandas (pip install pandas)")
    table = pandas.DataFrame({"size": [1.5, np.nan], "kind": ["a", None], "count": [1, 2]})
    table["group"] = pandas.Categorical(["x", "y"])

    class Sum(RegressorMixin, BaseEstimator):  # type: ignore[misc]
        def predict(self, X: Any) -> Any:  # noqa: N803
            return X["count"].to_numpy() * 2.0

    Watched(Sum(), PredictionLog(client, "m")).predict(table)
    Watched(Sum(), PredictionLog(client, "m", columns=["count"])).predict(table)
    first, second, third, fourth = events(client, collector)
    assert first[:3] == ["m", 2.0, {"size": 1.5, "kind": "a", "count": 1, "group": "x"}]
    assert second[2] | {"size": 0} == {"size": 0, "kind": None, "count": 2, "group": "y"}
    assert np.isnan(second[2]["size"])
    assert (third[2], fourth[2]) == ({"count": 1}, {"count": 2})
    frame = pandas.DataFrame(X, columns=COLUMNS)
    fitted = Watched(LinearRegression(), PredictionLog(client, "named")).fit(frame, X[:, 0])
    fitted.predict(frame[:1])
    assert events(client, collector)[-1][2] == dict(zip(COLUMNS, X[0].tolist(), strict=True))


def test_polars(client: edgemon.Client, collector: Collector) -> None:
    polars: Any = pytest.importorskip("polars", reason="needs polars (pip install polars)")
    frame = polars.DataFrame(X, schema=COLUMNS)
    Watched(LinearRegression(), PredictionLog(client, "m")).fit(frame, X[:, 0]).predict(frame[:1])
    assert events(client, collector)[-1][2] == dict(zip(COLUMNS, X[0].tolist(), strict=True))


def test_texts_are_logged_by_their_length(client: edgemon.Client, collector: Collector) -> None:
    texts = ["buy now", "see you", "buy cheap now", "see me"]
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0, 1, 0])
    found = Watched(pipeline, PredictionLog(client, "m")).predict(texts[:1])
    assert [event[:3] for event in events(client, collector)] == [
        ["m", str(found[0]), {"length": 7}]
    ]


def test_sparse_input_becomes_statistics(client: edgemon.Client, collector: Collector) -> None:
    sparse: Any = pytest.importorskip("scipy.sparse")
    dense = np.zeros((3, 500))
    dense[0, :4] = [1.0, 2.0, -3.0, 5.5]
    dense[1, 10] = 7.0
    model = LinearRegression().fit(dense, [0.0, 1.0, 2.0])
    for kind in (sparse.csr_matrix, sparse.csc_array):
        Watched(model, PredictionLog(client, "m")).predict(kind(dense))
        for row, event in zip(dense, events(client, collector)[-3:], strict=True):
            told = event[2]
            oracle = [row.mean(), row.std(), row.min(), row.max(), 0.0]
            np.testing.assert_allclose(
                [told[name] for name in ("mean", "std", "min", "max", "missing")], oracle
            )
