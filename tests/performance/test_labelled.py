"""The labelled part of a profile: what is collected, how it is read from files, and its place in the format."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
import pytest

from edgemon.drift.build import ProfileBuilder
from edgemon.drift.csv_source import read_csv
from edgemon.drift.json_source import read_json_lines
from edgemon.drift.labelled import LabelledProfile
from edgemon.drift.profile import Profile
from edgemon.drift.sources import Roles
from edgemon.errors import DamagedError


def drain(rows: Iterator[int]) -> None:
    for _ in rows:
        pass


def csv(text: str, task: str = "auto", **roles: Any) -> LabelledProfile | None:
    builder = ProfileBuilder("m")
    builder.labelled.task = task
    drain(read_csv(io.StringIO(text), builder, Roles(**roles), "data.csv"))
    return builder.finish().labelled


def jsonl(*events: dict[str, object]) -> LabelledProfile | None:
    builder = ProfileBuilder("m")
    lines = io.StringIO("".join(json.dumps(event) + "\n" for event in events))
    drain(read_json_lines(lines, builder, Roles(), "data.jsonl"))
    return builder.finish().labelled


def test_scores_with_a_label_are_counted_by_the_bins_of_the_output() -> None:
    rows = "".join(f"{k / 100},{int(k >= 40)}\n" for k in range(100))
    found = csv("score,label\n" + rows)
    assert found is not None
    assert (found.task, found.rows, found.hits, found.stream) == (
        "classification",
        100,
        10,
        "output",
    )
    assert sum(found.counts) == 100 and sum(found.correct) == 90
    wrong = [n - right for n, right in zip(found.counts, found.correct, strict=True)]
    assert wrong == [0] * 8 + [5, 5] + [0] * 10  # predicted 0 below 0.5, true from 0.4 on


def test_a_named_class_has_its_confidence_in_a_column_of_its_own() -> None:
    text = "output,confidence,truth\n" + "cat,0.9,cat\ndog,0.6,cat\n" * 30
    found = csv(text, label="truth", confidence="confidence")
    assert found is not None
    assert (found.rows, found.hits, found.stream, sum(found.correct)) == (60, 30, "confidence", 30)
    without = csv(text, label="truth")
    assert without is not None and (without.stream, without.counts) == ("", ())


def test_quantities_have_a_limit_that_a_tenth_is_above() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(20, 5, 2_000)
    output = truth + rng.normal(0, 2, 2_000)
    rows = "".join(f"{a!r},{b!r}\n" for a, b in zip(output.tolist(), truth.tolist(), strict=True))
    found = csv("output,label\n" + rows)
    assert found is not None
    error = np.abs(output - truth)
    assert (found.task, found.rows, found.hits) == ("regression", 2_000, 200)
    assert found.hits == np.sum(error > found.limit)
    assert found.mae == pytest.approx(error.mean())
    assert found.rmse == pytest.approx(np.sqrt(np.mean(error**2)))
    assert found.stream == ""


def test_numbers_that_begin_like_scores_may_be_quantities_and_integers_may_be_classes() -> None:
    text = "output,label\n0.5,1\n" + "21,20\n3,3\n" * 20
    found = csv(text)
    assert found is not None and (found.task, found.rows) == ("regression", 41)
    found = csv(text, task="classification")
    assert found is not None and (found.task, found.rows, found.hits) == ("classification", 41, 20)


@pytest.mark.parametrize(
    "text",
    ["output,label\n0.5,\n,1\n", "label\n1\n", "output\n0.5\n", "output,label\n0.5,1\n"],
)
def test_without_output_and_label_in_a_row_there_is_nothing(text: str) -> None:
    roles: dict[str, Any] = {"ignore": ("label",)} if text.endswith("0.5,1\n") else {}
    roles = {"features": ("label",)} if text == "label\n1\n" else roles
    assert csv(text, **roles) is None


def test_labels_of_json_lines_stand_in_the_line_or_come_by_id() -> None:
    vectors = [{"model": "m", "id": k, "output": [0.2, 0.8]} for k in range(40)]
    labels = [{"model": "m", "id": k, "label": k % 2} for k in range(40)]
    by_id = jsonl(*vectors, *labels, {"model": "m", "id": "unknown", "label": 1})
    inside = jsonl(*(a | b for a, b in zip(vectors, labels, strict=True)))
    assert by_id == inside is not None
    assert (by_id.rows, by_id.hits, by_id.stream) == (40, 20, "confidence")  # type: ignore[union-attr]


def profile(labels: bool) -> Profile:
    builder = ProfileBuilder("m")
    for k in range(1_000):
        builder.number("output", k / 1_000)
        if labels:
            builder.labelled.pair(k / 1_000, float(k > 300))
        builder.row_done()
    return builder.finish()


def test_the_same_data_give_the_same_bytes_and_they_come_back() -> None:
    data = profile(True).to_bytes()
    assert data == profile(True).to_bytes()
    assert Profile.from_bytes(data, window=100).labelled == profile(True).labelled
    assert Profile.from_bytes(data).hash == profile(True).hash != profile(False).hash


def test_a_profile_without_labels_is_written_as_ever() -> None:
    """Files of before are read, and files of now are those of before where there is no truth."""
    made = profile(False)
    head = next(iter(made._chunks()))
    assert set(msgpack.unpackb(head)) == {"name", "rows", "max_points", "features"}
    assert Profile.from_bytes(made.to_bytes()).labelled is None


@pytest.mark.parametrize(
    "change",
    [{"task": "x"}, {"rows": 0}, {"hits": -1}, {"hits": 2_000}, {"counts": [1]}, {"rows": "1"}, {"more": 1}],
)  # fmt: skip
def test_what_a_damaged_block_says_is_not_believed(change: dict[str, Any]) -> None:
    good = profile(True)
    assert good.labelled is not None
    fields = good.labelled.to_map() | change

    class Forged:
        def to_map(self) -> dict[str, Any]:
            return fields

    forged = Profile("m", good.features, good.rows, good.max_points, Forged())  # type: ignore[arg-type]
    with pytest.raises(DamagedError, match="the profile is damaged"):
        Profile.from_bytes(forged.to_bytes())
