from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon.drift.build import ProfileBuilder
from edgemon.drift.csv_source import read_csv
from edgemon.drift.json_source import read_json_lines
from edgemon.drift.npy_source import read_npy
from edgemon.drift.profile import Profile
from edgemon.drift.sources import Roles, SourceError, read_recording
from tests.drift.data import FakeAgent, normal


def csv(content: str, **roles: Any) -> Profile:
    builder = ProfileBuilder("m")
    _drain(read_csv(io.StringIO(content), builder, Roles(**roles), "data.csv"))
    return builder.finish()


def jsonl(*events: object, model: str = "", **roles: Any) -> Profile:
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    builder = ProfileBuilder("m")
    _drain(read_json_lines(lines, builder, Roles(**roles), "data.jsonl", model))
    return builder.finish()


def npy(data: bytes, **roles: Any) -> Profile:
    builder = ProfileBuilder("m")
    _drain(read_npy(io.BytesIO(data), builder, Roles(**roles), "data.npy"))
    return builder.finish()


def _drain(rows: Iterator[int]) -> None:
    for _ in rows:
        pass


def streams(profile: Profile) -> dict[str, str]:
    return {feature.name: feature.kind for feature in profile.features}


# -- CSV


def test_columns_take_their_roles_from_their_names() -> None:
    profile = csv("ts,id,model,age,output,latency,city,label\n1,a,m,31,0.5,0.01,Rome,1\n")
    assert streams(profile) == {
        "output": "numeric",
        "latency": "numeric",
        "f:age": "numeric",
        "f:city": "text",
    }


@pytest.mark.parametrize("name", ["output", "prediction", "score"])
def test_the_output_is_found_by_its_usual_names(name: str) -> None:
    assert streams(csv(f"a,{name}\n1,2\n")) == {"output": "numeric", "f:a": "numeric"}


def test_roles_can_be_given() -> None:
    text = "a,b,c,score\n1,2,3,4\n"
    assert list(streams(csv(text, output="b"))) == ["output", "f:a", "f:c", "f:score"]
    assert list(streams(csv(text, features=("c", "a")))) == ["output", "f:a", "f:c"]
    assert list(streams(csv(text, ignore=("a", "score")))) == ["f:b", "f:c"]
    assert streams(csv(text, text=("a",)))["f:a"] == "text"
    assert list(streams(csv("id,label\n1,2\n", features=("label",)))) == ["f:label"]


def test_a_column_may_be_called_as_its_stream_is() -> None:
    assert list(streams(csv("f:a,b,output\n1,2,3\n"))) == list(streams(csv("a,b,output\n1,2,3\n")))
    with pytest.raises(SourceError, match=r"^data.csv:1: 'f:a' and 'a' are one feature"):
        csv("f:a,a\n1,2\n")


def test_empty_cells_and_the_usual_words_are_missing() -> None:
    profile = csv("a\n1\n\n \nNA\nnan\nNULL\nNone\nn/a\n2\n")
    (feature,) = profile.features
    # An entirely empty line is no row.
    assert (profile.rows, feature.n, feature.missing) == (8, 2, 6)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_taken_from_the_header(delimiter: str) -> None:
    text = "\ufeffa,b\r\n1,2\r\n".replace(",", delimiter)
    assert list(streams(csv(text))) == ["f:a", "f:b"]


def test_quotes_infinities_and_exponents_are_read() -> None:
    profile = csv('a,"b, c"\n1e3,"x, y"\n-inf,"z"\n')
    assert list(profile.features[0].values) == [float("-inf"), 1000.0]
    assert profile.features[1].categories == {"x, y": 1, "z": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "data.csv: the file is empty"),
        ("a,b\n1,2\n1\n", "data.csv:3: 1 cells, the header has 2"),
        ("a,b\n1,2\n1,x\n", "data.csv:3: stream 'f:b' held numbers, now the text 'x'"),
        ("a,b\nx,2\n1,2\n", "data.csv:3: stream 'f:a' held text, now the number 1.0"),
        ("a,a\n1,2\n", "data.csv:1: column names must be there and differ"),
        ("a,\n1,2\n", "data.csv:1: column names must be there and differ"),
        ("1,2\n3,4\n", "data.csv:1: the first row holds numbers"),
        ("id,ts\n1,2\n", "data.csv:1: no column is left"),
    ],
)
def test_faults_of_a_table_are_named_with_file_and_line(text: str, words: str) -> None:
    with pytest.raises(SourceError) as refused:
        csv(text)
    assert str(refused.value).startswith(words)


def test_a_role_for_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(SourceError, match="there is no column 'z'; there are a, b"):
        csv("a,b\n1,2\n", ignore=("z",))


# -- JSON lines


def test_predictions_are_read_as_the_agent_reads_them() -> None:
    profile = jsonl(
        {"model": "m", "output": 0.9, "features": {"a": 1, "b": "x"}, "latency": 0.01},
        {"model": "m", "id": "7", "label": 1},
        {"metric": "loss", "value": 3},
        "",
        {"model": "m", "output": 0.1, "features": {"a": None, "b": "y"}},
    )
    assert profile.rows == 2
    assert streams(profile) == {
        "output": "numeric",
        "latency": "numeric",
        "f:a": "numeric",
        "f:b": "text",
    }
    assert [feature.missing for feature in profile.features] == [0, 1, 1, 0]


def test_a_vector_is_its_largest_entry_and_where_that_is() -> None:
    profile = jsonl({"output": [0.1, 0.7, 0.2], "features": [1.5, True]})
    assert list(profile.features[0].values) == [0.7]
    assert abs(profile.features[1].values[0] - 0.8018) < 1e-4
    assert profile.features[2].categories == {"1": 1}
    assert list(streams(profile)) == ["confidence", "entropy", "class", "f:f0", "f:f1"]


def test_one_model_is_picked_or_asked_for() -> None:
    events = [{"model": "a", "output": 1}, {"model": "b", "output": 2}, {"model": "a", "output": 3}]
    assert jsonl(*events, model="a").rows == 2
    with pytest.raises(SourceError, match=r"data\.jsonl:2: predictions of 'b', before of 'a'"):
        jsonl(*events)


def test_features_can_be_chosen_and_left_out() -> None:
    event = {"output": 1, "features": {"a": 1, "b": 2, "c": 3}}
    assert list(streams(jsonl(event, features=("b",)))) == ["output", "f:b"]
    assert list(streams(jsonl(event, ignore=("b",)))) == ["output", "f:a", "f:c"]
    assert streams(jsonl(event, text=("a",)))["f:a"] == "text"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['{"output": 1}', "{"], "data.jsonl:2: not JSON"),
        (["[1]"], "data.jsonl:1: an object"),
        (['{"metric": "x", "value": 1}'], "data.jsonl: there is no prediction"),
        (['{"output": {"a": 1}}'], "data.jsonl:1: stream 'output' holds a dict"),
        (['{"output": 1, "features": 5}'], "data.jsonl:1: features must be"),
        (['{"output": 1}', '{"output": "x"}'], "data.jsonl:2: stream 'output' held numbers"),
        (['{"output": 1' + "0" * 400 + "}"], "data.jsonl:1: int too large"),
        (['{"output": ["x", 1]}'], "data.jsonl:1: "),
    ],
)
def test_faults_of_json_lines_are_named_with_file_and_line(lines: list[str], words: str) -> None:
    with pytest.raises(SourceError) as refused:
        jsonl(*lines)
    assert str(refused.value).startswith(words)


# -- NumPy files


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<i8", ">i4", "<i2", "|i1", "|u1", "|b1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_each_number_type_are_read(dtype: str, order: str) -> None:
    values = np.array([[0, 1, 5], [1, 1, 7], [0, 0, 9]]).astype(dtype)
    file = io.BytesIO()
    np.save(file, np.asarray(values, order=order))  # type: ignore[call-overload]
    profile = npy(file.getvalue())
    assert profile.rows == 3
    for i, feature in enumerate(profile.features):
        assert feature.name == f"f:f{i}"
        assert list(feature.values) == sorted(set(values[:, i].astype(float)))


def test_large_arrays_are_read_in_parts_and_roles_apply() -> None:
    values = np.random.default_rng(1).normal(size=(70_000, 3))
    values[5, 0] = np.nan
    file = io.BytesIO()
    np.save(file, values)
    profile = npy(file.getvalue(), output="f2", ignore=("f1",))
    output, feature = profile.features
    assert (output.name, feature.name) == ("output", "f:f0")
    assert (profile.rows, feature.n, feature.missing) == (70_000, 69_999, 1)
    assert output.low == values[:, 2].min()


def test_a_vector_is_one_column() -> None:
    file = io.BytesIO()
    np.save(file, np.arange(5.0))
    assert [feature.n for feature in npy(file.getvalue()).features] == [5]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 2, 2)), "of shape (2, 2, 2)"),
        (np.zeros((0, 3)), "of shape (0, 3)"),
        (np.array(["a", "b"]), "an array of '<U1'"),
        (np.zeros(3, dtype=complex), "an array of '<c16'"),
    ],
)
def test_arrays_that_are_no_table_are_refused(array: Any, words: str) -> None:
    file = io.BytesIO()
    np.save(file, array)
    with pytest.raises(SourceError) as refused:
        npy(file.getvalue())
    assert words in str(refused.value)


@given(st.data())
def test_a_damaged_array_is_refused_in_words_or_read(data: st.DataObject) -> None:
    file = io.BytesIO()
    np.save(file, np.arange(6.0).reshape(3, 2))
    whole = bytearray(file.getvalue())
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    else:
        whole[data.draw(st.integers(0, 127))] = data.draw(st.integers(0, 255))
    try:
        npy(bytes(whole))
    except SourceError as refused:
        assert str(refused).startswith("data.npy")


# -- the agent


def test_a_recording_is_fetched_page_after_page_and_let_go() -> None:
    numbers = list(normal(1, 5))
    agent = FakeAgent({"output": numbers, "f:c": ["a", "b", "a"], "f:n": [1.0, float("nan")]})
    agent.have = 5
    builder = ProfileBuilder("fraud")
    read_recording(agent, builder, {"model": "fraud", "version": None})
    profile = builder.finish()
    assert agent.let_go
    assert profile.rows == 5
    assert list(profile.features[0].values) == sorted(numbers)
    assert profile.features[1].categories == {"a": 2, "b": 1}
    assert [feature.missing for feature in profile.features] == [0, 2, 4]


def test_a_file_of_any_size_is_read_within_fixed_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "big.csv"
    with path.open("w") as file:
        file.write("a,b\n")
        for i in range(60_000):
            file.write(f"{i},{i % 7}\n")
    builder = ProfileBuilder("m", max_points=100)
    with path.open(encoding="utf-8", newline="") as lines:
        tracemalloc.start()
        _drain(read_csv(lines, builder, Roles(), str(path)))
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert builder.rows == 60_000
    # 2 streams of (1,000 + 20,000) float64, as the builder says, and what arrays grow by.
    assert peak_bytes < 800_000
