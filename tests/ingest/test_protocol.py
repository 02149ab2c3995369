"""What bytes of a connection become: records, counted drops or the end of the connection."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon._core.decode import Stream
from edgemon.errors import ProtocolError
from edgemon.ingest.protocol import DROPPED, Connection, Limits, Record, decoder
from edgemon.metrics import Counters
from edgemon.records import AckRequest, Failure, Label, Metric, Prediction


def feed(*chunks: bytes, limits: Limits | None = None) -> tuple[list[Record], Connection, Counters]:
    counters = Counters()
    connection = Connection(limits or Limits(), counters)
    records = [record for chunk in chunks for record in connection.feed(chunk)]
    return records, connection, counters


def as_json(*events: object) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def as_msgpack(*events: object) -> bytes:
    return b"".join(msgpack.packb(event) for event in events)


FULL: dict[str, Any] = {
    "model": "fraud", "version": "7", "ts": 1765432100.25, "id": "a-17",
    "features": {"amount": 12.5, "country": "DE", "age": None}, "output": 0.93, "latency": 0.0032,
}  # fmt: skip


@pytest.mark.parametrize("encode", [as_json, as_msgpack])
def test_a_full_event_becomes_a_prediction(encode: Any) -> None:
    (record,), connection, _ = feed(encode(FULL))
    assert record == Prediction(
        "fraud",
        "7",
        {"amount": 12.5, "country": "DE", "age": None},
        0.93,
        0.0032,
        "a-17",
        1765432100.25,
    )
    assert connection.encoding == ("json" if encode is as_json else "msgpack")


@pytest.mark.parametrize("encode", [as_json, as_msgpack])
def test_model_and_output_are_enough(encode: Any) -> None:
    (record,), _, _ = feed(encode({"model": "m", "output": "cat"}))
    assert record == Prediction("m", "", {}, "cat", None, None, None)


def test_a_compact_event_is_an_array_with_trailing_fields_left_out() -> None:
    (record,), _, _ = feed(as_msgpack(["m", 0.5, [1, 2.5, True], 0.01]))
    assert record == Prediction("m", "", {"f0": 1.0, "f1": 2.5, "f2": 1.0}, 0.5, 0.01, None, None)


def test_labels_metrics_and_acks_are_told_apart() -> None:
    records, connection, _ = feed(
        as_json(
            {"model": "m", "id": 17, "label": 1},
            {"metric": "train/loss", "value": 0.31, "step": 1200},
            {"ack": 5, "level": "disk"},
            {"ack": "x"},
        )
    )
    assert records == [
        Label("m", "", "17", 1.0, None),
        Metric("train/loss", 0.31, 1200, None),
        AckRequest(5, "disk"),
        AckRequest("x", "memory"),
    ]
    assert connection.events == 2


def test_a_prediction_that_failed_is_a_record_of_its_own() -> None:
    records, connection, _ = feed(
        as_json(
            {"model": "m", "error": "timeout", "output": 1, "features": "passed over"},
            {"model": "m", "version": 3, "error": 503, "id": "a", "ts": 1.5},
            {"model": "m", "error": None, "output": 1},  # an application that always has the field
            {"model": "m", "error": "x", "id": "a", "label": 1},
        )
    )
    assert records == [
        Failure("m", "", "timeout", None, None),
        Failure("m", "3", "503", "a", 1.5),
        Prediction("m", "", {}, 1.0, None, None, None),
        Label("m", "", "a", 1.0, None),
    ]
    assert connection.events == 4


def test_nan_and_infinity_come_through_both_encodings() -> None:
    event = {"model": "m", "output": math.nan, "features": [math.inf, -math.inf]}
    for encode in (as_json, as_msgpack):
        (record,), _, _ = feed(encode(event))
        assert isinstance(record, Prediction)
        assert math.isnan(record.output)  # type: ignore[arg-type]
        assert record.features == {"f0": math.inf, "f1": -math.inf}


@given(st.lists(st.integers(0, 400), max_size=8), st.booleans())
def test_frames_survive_any_cut_of_the_stream(cuts: list[int], packed: bool) -> None:
    events = [FULL | {"id": str(index), "version": "ü"} for index in range(3)]
    stream = as_msgpack(*events) if packed else as_json(*events)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    chunks = [stream[a:b] for a, b in itertools.pairwise(edges)]
    records, _, _ = feed(*chunks)
    assert [record.id for record in records if isinstance(record, Prediction)] == ["0", "1", "2"]


scalar = (
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=5)
)
anything = st.recursive(
    scalar,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
)
events = st.fixed_dictionaries(
    {},
    optional={
        "model": anything, "output": anything, "features": anything, "id": anything, "ts": anything,
        "latency": anything, "label": anything, "version": anything, "metric": anything, "value": anything,
        "step": anything, "ack": anything, "level": anything, "error": anything,
    },
)  # fmt: skip


@given(st.lists(events, max_size=4))
def test_json_and_msgpack_agree_on_any_event(made: list[dict[str, object]]) -> None:
    made = [{}, *made]  # the first byte of the JSON stream is `{`
    from_json, _, counted_json = feed(as_json(*made))
    from_msgpack, _, counted_msgpack = feed(as_msgpack(*made))
    assert repr(from_json) == repr(from_msgpack)
    assert counted_json.snapshot() == counted_msgpack.snapshot()


@given(st.lists(events, max_size=3))
def test_every_event_is_a_record_or_a_counted_drop(made: list[dict[str, object]]) -> None:
    records, _, counters = feed(as_msgpack({}, *made))
    dropped = sum(v for k, v in counters.snapshot().items() if k.startswith(DROPPED))
    assert len(records) + dropped == len(made) + 1


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (17, "not_an_event"),
        ({}, "not_an_event"),
        (["m"] * 8, "not_an_event"),
        ({"model": ""}, "bad_name"),
        ({"model": 5, "output": 1}, "bad_name"),
        ({"model": "m", "features": 5}, "bad_features"),
        ({"model": "m", "features": {"": 1}}, "bad_features"),
        ({"model": "m", "features": [0.0] * 257}, "too_many_features"),
        ({"model": "m", "output": []}, "bad_output"),
        ({"model": "m", "output": ["a"]}, "bad_output"),
        ({"model": "m", "output": {"a": 1}}, "bad_output"),
        ({"model": "m", "ts": "now"}, "bad_number"),
        ({"model": "m", "latency": math.inf}, "bad_number"),
        ({"model": "m", "output": "x" * 5000}, "string_size"),
        ({"model": "m", "id": [1]}, "bad_id"),
        ({"model": "m", "label": 1}, "bad_label"),
        ({"model": "m", "error": ["timeout"]}, "bad_id"),
        ({"metric": "x", "value": "high"}, "bad_metric"),
        ({"ack": [1]}, "bad_ack"),
        ({"ack": 1, "level": "moon"}, "bad_ack"),
    ],
)
def test_an_invalid_event_costs_only_itself(event: object, reason: str) -> None:
    good = {"model": "m", "output": 1.0}
    records, connection, counters = feed(as_msgpack(good, event, good))
    assert len(records) == 2
    assert counters.get(DROPPED, reason=reason) == 1
    assert connection.complaint is not None


def test_the_first_complaint_says_where() -> None:
    good = as_json({"model": "m", "output": 1.0})
    _, connection, _ = feed(good, as_json({"model": "m", "output": {}}), as_json({"model": ""}))
    assert connection.complaint == (
        f'"output" is a number, a string or a list of numbers (frame at byte {len(good)});'
        " later faults are only counted"
    )


def test_half_a_surrogate_pair_is_dropped_and_counted() -> None:
    _, _, counters = feed(b'{"model":"m","output":"\\ud800"}\n')
    assert counters.get(DROPPED, reason="bad_utf8") == 1


def test_a_nested_value_inside_the_features_is_a_missing_value() -> None:
    (record,), _, counters = feed(as_json({"model": "m", "features": {"a": [1], "b": 2}}))
    assert isinstance(record, Prediction)
    assert record.features == {"a": None, "b": 2.0}
    assert counters.get("edgemon_ingest_dropped_values_total", reason="wrong_type") == 1


@pytest.mark.parametrize(
    ("stream", "reason", "at_byte"),
    [
        (b'{"model":"m"}\n{"model":}\n', "malformed", 23),
        (b'{"model":"m"}\nnonsense\n', "malformed", 14),
        (b'{"model":"m"}\n{"model":"\xff"}\n', "bad_utf8", 24),
        (b'{"a":' + b"[" * 30000 + b"\n", "malformed", 0),
        (b'{"a":' + b"1" * 5000 + b"}\n", "malformed", 0),
        (b'{"a":"' + b"x" * 70000, "frame_size", 0),
        (b"\xc1", "malformed", 0),
        (b"\x80\xc1", "malformed", 1),
        (b"\x91" * 2000, "malformed", 0),
        (b"\x80\xc4\x05hello", "malformed", 1),
        (b"\xa1\xff", "bad_utf8", 0),
    ],
)
def test_bytes_that_are_no_frame_end_the_connection(
    stream: bytes, reason: str, at_byte: int
) -> None:
    with pytest.raises(ProtocolError) as caught:
        feed(stream)
    assert (caught.value.reason, caught.value.at_byte) == (reason, at_byte)


def test_an_endless_msgpack_object_is_cut_off_at_the_frame_size() -> None:
    limits = Limits(max_frame_bytes=1000)
    chunks = [b"\xdc\x03\xe8"] + [msgpack.packb(0.5)] * 400
    with pytest.raises(ProtocolError) as caught:
        feed(*chunks, limits=limits)
    assert caught.value.reason == "frame_size"


def test_what_came_before_a_fault_is_not_lost() -> None:
    connection = Connection(Limits(), Counters())
    seen = []
    with pytest.raises(ProtocolError):
        for record in connection.feed(as_json({"model": "m", "output": 1}) + b"{oops\n"):
            seen.append(record)
    assert len(seen) == 1


def test_replies_use_the_connections_encoding() -> None:
    _, json_connection, _ = feed(as_json({"ack": 1}))
    _, msgpack_connection, _ = feed(as_msgpack({"ack": 1}))
    assert json.loads(json_connection.encode({"ack": 1})) == {"ack": 1}
    assert msgpack.unpackb(msgpack_connection.encode({"ack": 1})) == {"ack": 1}


def test_connections_share_a_decoder_and_nothing_else() -> None:
    limits, counters = Limits(), Counters()
    shared = decoder(limits)
    streams = [
        as_json({"model": "\u00e9\n", "features": {"a": 1, "b": "x"}, "output": [0.5, 0.25]}, FULL),
        as_msgpack({"model": "m", "features": [1.5] * 20, "id": 17}, FULL),
        as_json(FULL, FULL),
    ]
    alone = [feed(stream)[0] for stream in streams]
    connections = [Connection(limits, counters, shared) for _ in streams]
    together: list[list[Record]] = [[] for _ in streams]
    for at in range(max(map(len, streams))):
        for stream, connection, records in zip(streams, connections, together, strict=True):
            records += connection.feed(stream[at : at + 1])
    assert together == alone


def test_a_connection_holds_only_what_is_not_whole() -> None:
    stream = Stream(decoder(Limits()))
    stream.feed(as_json(FULL, FULL) + b'{"model":')
    assert [stream.next().id, stream.next().id] == ["a-17", "a-17"]
    assert stream.next() is None and stream.waiting_bytes == len(b'{"model":')
    stream.feed(b'"m"}\n\n \n')
    assert stream.next().model == "m"
    assert stream.next() is None and stream.waiting_bytes == 0


@pytest.mark.parametrize(
    "limits",
    [
        Limits(max_frame_bytes=15),
        Limits(max_string_bytes=15),
        Limits(max_features=0),
        Limits(max_nesting=0),
        Limits(max_nesting=65),
    ],
)
def test_a_limit_out_of_range_is_refused(limits: Limits) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Connection(limits, Counters())
