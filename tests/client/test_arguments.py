"""What an application may hand to the client, and what becomes of it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgemon
from tests.client.collector import Collector
from tests.client.test_encoder import BAD
from tests.servers import wait_for


@pytest.mark.parametrize(("arguments", "options"), BAD)
def test_a_bad_argument_is_counted_told_once_and_never_raised(
    short_tmp: Path, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    client = edgemon.Client(str(short_tmp / "nobody"))
    with pytest.warns(RuntimeWarning, match=r"edgemon\.Client: dropped, for") as told:
        assert client.log(*arguments, **options) is False
        assert client.log(*arguments, **options) is False
    assert len(told) == 1
    assert client.dropped["bad_event"] == 2
    assert client.log("m", 1)
    client.close()


def test_a_warning_that_is_an_error_does_not_hurt_either(short_tmp: Path) -> None:
    client = edgemon.Client(str(short_tmp / "nobody"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert client.log("m", object()) is False
        assert client.log("m", 1, {"a": object()}) is True
        assert client.log("m", "x" * 70_000) is False
    client.close()
    assert client.stats().lost_values == 1


def test_values_that_are_none_are_counted_and_the_event_stays(collector: Collector) -> None:
    client = edgemon.Client(collector.path)
    with pytest.warns(RuntimeWarning, match="sent as missing"):
        assert client.log("m", 1, {"a": object(), "b": 2}, latency=float("nan"))
    client.close()
    wait_for(lambda: collector.events)
    assert collector.events == [["m", 1, {"a": None, "b": 2}, None]]
    assert client.stats().lost_values == 2


@pytest.mark.parametrize(
    "options",
    [{"buffer_bytes": 8191}, {"buffer_bytes": 1 << 31}, {"linger": 0.0}, {"linger": 61.0}],
)
def test_sizes_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        edgemon.Client("x", **options)


def test_truth_and_metric_say_what_the_protocol_needs(collector: Collector) -> None:
    client = edgemon.Client(collector.path)
    assert client.truth("a-17", 1, "fraud")
    assert client.truth(18, "cat", "pets", version=3, ts=1.5)
    assert client.metric("train/loss", np.float32(0.5), step=np.int64(1200))
    assert client.metric("temperature", 21, ts=2)
    with pytest.warns(RuntimeWarning):
        assert not client.truth(None, 1, "fraud")  # type: ignore[arg-type]
    assert not client.truth("a", None, "fraud")  # type: ignore[arg-type]
    assert not client.metric("", 1)
    assert not client.metric("x", "1")  # type: ignore[arg-type]
    assert not client.metric("x", 1, step=1.5)  # type: ignore[arg-type]
    assert client.dropped["bad_event"] == 5
    client.close()
    wait_for(lambda: len(collector.events) == 4)
    assert collector.events == [
        {"model": "fraud", "id": "a-17", "label": 1},
        {"model": "pets", "id": 18, "label": "cat", "version": 3, "ts": 1.5},
        {"metric": "train/loss", "value": 0.5, "step": 1200},
        {"metric": "temperature", "value": 21, "ts": 2.0},
    ]


def test_an_error_has_a_name_a_code_or_an_exception(collector: Collector) -> None:
    client = edgemon.Client(collector.path)
    assert client.error("fraud")
    assert client.error("fraud", "timeout", version=3, id="a-17", ts=1.5)
    assert client.error("fraud", 503)
    assert client.error("fraud", ValueError("what it says may be secret"))
    with pytest.warns(RuntimeWarning):
        assert not client.error("fraud", None)  # type: ignore[arg-type]
    assert not client.error("", "timeout")
    assert not client.error("fraud", "x" * 257)
    assert client.dropped["bad_event"] == 3
    client.close()
    wait_for(lambda: len(collector.events) == 4)
    assert collector.events == [
        {"model": "fraud", "error": "error"},
        {"model": "fraud", "error": "timeout", "version": 3, "id": "a-17", "ts": 1.5},
        {"model": "fraud", "error": 503},
        {"model": "fraud", "error": "ValueError"},
    ]
