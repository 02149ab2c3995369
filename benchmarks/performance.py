"""How well a model does: what watching it costs, how soon a rise of its errors is told, how often falsely.

Seeded. Cost: of a prediction with an id of a model whose truths are joined, beside the same without; events of msgpack
through decoder, table, windows and join, blocks of 1,000; thread time, the best of rounds. False alarms: reference and
stream drawn anew each time, errors independent at a rate that does not change, a promise that is loose enough to be
broken. Delays: at the default budget (0.01 a model within a million predictions), median and largest of the runs.
"""

from __future__ import annotations

import math
import random
import statistics
import time

import msgpack

from benchmarks._settings import Budget
from edgemon.agent.pipeline import Pipeline
from edgemon.config import parse
from edgemon.drift.budget import TRUTH_SHARE
from edgemon.drift.build import ProfileBuilder
from edgemon.drift.labelled import LabelledProfile
from edgemon.ingest.protocol import Connection, Limits
from edgemon.metrics import Counters
from edgemon.performance.calibration import Calibration, EstimateWatch
from edgemon.performance.watch import STARTED, ErrorWatch, Promised
from edgemon.records import Label, Prediction

PREDICTIONS, LABELS, ROUNDS = 50_000, 10_000, 3
RUNS, SPAN, AT_MOST = 1_000, 20_000, 0.2
WINDOW, RATE = 1_000, 0.05
RISES = (0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5)
DELAY_RUNS, LONGEST = 100, 50_000


def main() -> None:
    print("ns each                               no truths   truths joined")
    for what, output in (("a number", 0.9), ("three confidences", [0.7, 0.2, 0.1])):
        never, _ = best_ns("never", output)
        always, label = best_ns("always", output)
        print(f"a prediction, {what:20}    {never:8,.0f}        {always:8,.0f}")
    print(f"a truth that meets its prediction                  {label:10,.0f}")
    for rows in (1_000, 10_000):
        share = false_alarms(rows)
        print(
            f"errors, reference of {rows:,}: any false alarm within {SPAN:,} truths in {share:.3f} of {RUNS:,} runs,"
            f" promised at most {AT_MOST}"
        )
    share = false_estimates()
    print(f"estimate, reference of 1,000: in {share:.3f}, promised at most {AT_MOST}")
    real_data()
    print(
        f"\ntruths until a rise of the error rate from {RATE:.0%} is told, median (largest of {DELAY_RUNS})"
    )
    print("reference" + "".join(f"{rise:>18.0%}" for rise in RISES))
    for rows in (1_000, 10_000):
        cells = []
        for rise in RISES:
            found = sorted(delay(rows, rise, seed) for seed in range(DELAY_RUNS))
            late = found[-1]
            cells.append(
                f"{statistics.median(found):,.0f} ({late:,})" if late < LONGEST else "not sure"
            )
        print(f"{rows:9,}" + "".join(f"{cell:>18}" for cell in cells))


# -- cost


def best_ns(join: str, output: object) -> tuple[float, float]:
    """(of a prediction, of a label)."""
    rounds = [cost_ns(join, output) for _ in range(ROUNDS)]
    return min(of for of, _ in rounds), min(of for _, of in rounds)


def cost_ns(join: str, output: object) -> tuple[float, float]:
    toml = f'[models."*"]\ncapture = "none"\ntruth = {{ join = "{join}" }}\n'
    counters = Counters()
    pipeline = Pipeline(
        parse(toml, "/tmp/edgemon.toml"), {}, counters, lambda *_: None, lambda *_: None
    )
    connection = Connection(Limits(), counters)

    def feed(data: bytes) -> None:
        now_ns = time.monotonic_ns()
        pipeline.begin(now_ns, 1.8e9)
        for record in connection.feed_into(pipeline.table, data):
            if isinstance(record, Prediction):
                pipeline.prediction(record, now_ns, 1.8e9)
            elif isinstance(record, Label):
                pipeline.label(record, now_ns, 1.8e9)

    def spent_ns(events: list[object]) -> float:
        packed = [msgpack.packb(event) for event in events]
        chunks = [b"".join(packed[at : at + 1_000]) for at in range(0, len(packed), 1_000)]
        began = time.thread_time_ns()
        for chunk in chunks:
            feed(chunk)
        return (time.thread_time_ns() - began) / len(events)

    events: list[object] = [
        ["m", output, [number % 7, 2.5, 3.5], 0.01, str(number)] for number in range(PREDICTIONS)
    ]
    feed(b"".join(msgpack.packb(event) for event in events[:1_000]))
    prediction = spent_ns(events)
    labels: list[object] = [
        {"model": "m", "id": str(number), "label": number % 2}
        for number in range(PREDICTIONS - LABELS, PREDICTIONS)
    ]
    return prediction, spent_ns(labels)


# -- promise


def false_alarms(rows: int) -> float:
    alarms = 0
    for seed in range(RUNS):
        chance = random.Random(seed)
        watch = ErrorWatch(Promised(AT_MOST, SPAN), WINDOW, rows)
        watch.refer(binomial(chance, rows, RATE), rows)
        alarms += first_alarm(watch, chance, RATE, SPAN) < SPAN
    return alarms / RUNS


def first_alarm(watch: ErrorWatch, chance: random.Random, rate: float, most: int) -> int:
    """How many answers until it; `most` without one."""
    at, log_right = 0, math.log1p(-rate)
    while at < most:
        gap = int(math.log(1.0 - chance.random()) / log_right)
        at += gap + 1
        watch.passed(gap)
        if watch.answer(True) == STARTED:
            return min(at, most)
    return most


def delay(rows: int, rate: float, seed: int) -> int:
    budget = Budget()
    chance = random.Random(seed)
    promised = Promised(TRUTH_SHARE * budget.at_most, budget.per_predictions)
    watch = ErrorWatch(promised, WINDOW, rows)
    watch.refer(round(RATE * rows), rows)
    first_alarm(watch, chance, RATE, 2 * WINDOW)
    return first_alarm(watch, chance, rate, LONGEST)


def false_estimates() -> float:
    """Confidences that fall evenly into the 20 bins, right as often as they say."""
    alarms = 0
    q = [0.5 + bin_ / 40 for bin_ in range(20)]
    for seed in range(RUNS):
        chance = random.Random(seed)
        counts = histogram(chance, 1_000)
        right = [binomial(chance, n, share) for n, share in zip(counts, q, strict=True)]
        labelled = LabelledProfile(
            "classification", 1_000, 1_000 - sum(right), 0.0, 0.0, 0.0, 1.0, "confidence", tuple(counts), tuple(right)
        )  # fmt: skip
        watch = EstimateWatch(Calibration(labelled), Promised(AT_MOST, SPAN), WINDOW)
        alarms += any(watch.window(histogram(chance, WINDOW)) for _ in range(SPAN // WINDOW))
    return alarms / RUNS


def real_data() -> None:
    """scikit-learn's digits: 500 to learn, 650 for the profile, and of the rest windows of 500 whose mix of classes is
    drawn anew, so that they are harder or easier; 20 windows of each of 10 splits."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB

    images, truth = load_digits(return_X_y=True)
    rng = np.random.default_rng(1)
    for name, model in (
        ("logistic regression", LogisticRegression(max_iter=300, C=100)),
        ("naive Bayes", GaussianNB()),
    ):
        off, raw, within = [], [], 0
        for _ in range(10):
            learn, known, new = np.split(rng.permutation(len(truth)), [500, 1_150])
            model.fit(images[learn] / 16, truth[learn])
            builder = ProfileBuilder("digits")
            vectors = model.predict_proba(images[known] / 16).tolist()
            for vector, label in zip(vectors, truth[known].tolist(), strict=True):
                builder.number("confidence", max(vector))
                builder.labelled.pair(vector, float(label))
                builder.row_done()
            profile = builder.finish()
            assert profile.labelled is not None
            calibration, edges = Calibration(profile.labelled), profile.features[0].edges
            confidences = model.predict_proba(images[new] / 16)
            sure, right = confidences.max(axis=1), confidences.argmax(axis=1) == truth[new]
            for _ in range(20):
                weight = rng.dirichlet(np.ones(10))[truth[new]]
                window = rng.choice(len(new), 500, p=weight / weight.sum())
                hist = np.bincount(np.searchsorted(edges, sure[window]), minlength=20)
                found = calibration.estimate(hist.tolist())
                assert found is not None
                error = abs(found.accuracy - right[window].mean())
                off.append(error)
                raw.append(abs(sure[window].mean() - right[window].mean()))
                within += error < 2 * found.se
        print(
            f"digits, {name}: estimate off by {np.mean(off):.3f} on average, the mean confidence by {np.mean(raw):.3f};"
            f" within two standard errors {within / len(off):.0%}"
        )


def histogram(chance: random.Random, n: int) -> list[int]:
    drawn = chance.choices(range(20), k=n)
    return [drawn.count(bin_) for bin_ in range(20)]


def binomial(chance: random.Random, n: int, p: float) -> int:
    return sum(chance.random() < p for _ in range(n))
