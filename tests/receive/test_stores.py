"""What every store promises, checked on each: all or nothing, once, over restarts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.receive.batches import (
    incoming,
    make_batch,
)
from tests.receive.stores import Csv, Jsonl, Kind, Parquet, Sqlite, Stream, rows_of


@pytest.fixture(params=[Sqlite, Jsonl, Csv, Parquet, Stream])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    make: Callable[[Path], Kind] = request.param
    return make(tmp_path)


def test_a_group_is_stored_and_counted(kind: Kind) -> None:
    store = kind.open()
    stored = store.write([incoming(make_batch(1)), incoming(make_batch(2))], [])
    store.close()
    assert stored.fresh == [True, True]
    assert stored.rows["predictions"] == 6
    assert kind.rows() == rows_of("dev-1", 1, 2)


def test_what_comes_twice_is_stored_once(kind: Kind) -> None:
    store = kind.open()
    store.write([incoming(make_batch(1))], [])
    again = store.write([incoming(make_batch(seq)) for seq in (1, 2, 2)], [])
    store.close()
    assert again.fresh == [False, True, False]
    assert again.rows["predictions"] == 3
    assert kind.rows() == rows_of("dev-1", 1, 2)


def test_what_comes_again_after_a_restart_is_stored_once(kind: Kind) -> None:
    store = kind.open()
    store.write([incoming(make_batch(seq)) for seq in (3, 1)], [])
    store.close()
    store = kind.open()
    assert store.write([incoming(make_batch(seq)) for seq in (1, 2, 3, 4)], []).fresh == [
        False,
        True,
        False,
        True,
    ]
    store.close()
    assert kind.rows() == rows_of("dev-1", 3, 1, 2, 4)


def test_device_stream_kind_and_seq_tell_batches_apart(kind: Kind) -> None:
    batches = [
        make_batch(1),
        make_batch(1, device="dev-2"),
        make_batch(1, stream=b"x" * 16),
        make_batch(1, [{"t": 0, "cpu_percent": 1.0}], kind="sys"),
        make_batch(2),
    ]
    store = kind.open()
    assert store.write([incoming(batch) for batch in batches], []).fresh == [True] * 5
    assert store.write([incoming(batch) for batch in batches], []).fresh == [False] * 5
    store.close()
