"""Bytes of a plugin: what is a line, what is a message, what is a value."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemon.plugins import protocol
from edgemon.plugins.protocol import MAX_LINE_BYTES, BadLineError, Lines, Message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"hello":1}', Message("hello")),
        (b'{"hello":1,"name":"soil"}', Message("hello")),
        (b'{"values":{"a":1.5}}', Message("values", values={"a": 1.5})),
        (b'{"ack":true}', Message("ack")),
        (b'{"retry":"disk full"}', Message("retry", "disk full")),
        (b'{"reject":"no\\n  such kind"}', Message("reject", "no such kind")),
        (b'{"error":"pin 4"}', Message("error", "pin 4")),
        (b'{"error":"pin \\ud800"}', Message("error", "pin ?")),
        (b'{"log":"warm","level":"warning"}', Message("log", "warm", "warning")),
        (b'{"log":"warm","level":"shout"}', Message("log", "warm", "info")),
        (b'  {"ack":1}\r', Message("ack")),
    ],
)
def test_messages(line: bytes, message: Message) -> None:
    assert protocol.parse(line) == message


@pytest.mark.parametrize(
    "line",
    [b"", b"hello", b"[1]", b'"hello"', b"{}", b'{"value":1}', b'{"hello":2}', b'{"hello":true}',
     b'{"hello":"1"}', b'{"values":[1]}', b'{"values":3}', b"\xff\xfe", b"[" * 60_000,
     b'{"values":{"a":' + b"9" * 5000 + b"}}"],
)  # fmt: skip
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(BadLineError):
        protocol.parse(line)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(line: bytes) -> None:
    try:
        message = protocol.parse(line)
    except BadLineError:
        return
    assert message.kind in ("hello", "values", "ack", "retry", "reject", "error", "log")


def test_values_that_are_no_series_are_left_out_with_the_reason() -> None:
    values = json.loads(
        '{"ok":1,"a_2":-0.5,"big":1e999,"nan":NaN,"yes":true,"no":null,"text":"1","list":[1],'
        '"Upper":1,"":1,"9x":1,"a-b":1,"a.b":1}'
    )
    values |= {"huge": 10**400, "n" * 65: 1}
    good, bad = protocol.readings(values)
    assert good == {"ok": 1.0, "a_2": -0.5}
    assert (bad.count("number"), bad.count("name")) == (7, 6)


@given(st.lists(st.binary(max_size=30)), st.integers(1, 7))
def test_lines_are_the_same_however_they_come(texts: list[bytes], step: int) -> None:
    stream = b"".join(text.replace(b"\n", b"") + b"\n" for text in texts)
    lines, found = Lines(), []
    for at in range(0, len(stream), step):
        found += lines.feed(stream[at : at + step]) or []
    assert found == [line for line in stream.split(b"\n") if line.strip()]


def test_a_line_has_a_greatest_length() -> None:
    assert Lines().feed(b"x" * MAX_LINE_BYTES + b"\n") == [b"x" * MAX_LINE_BYTES]
    assert Lines().feed(b"x" * (MAX_LINE_BYTES + 1) + b"\n") is None
    lines = Lines()
    assert lines.feed(b"x" * MAX_LINE_BYTES) == []
    assert lines.feed(b"x") is None


def test_what_edgemon_says_is_as_the_page_has_it() -> None:
    told = protocol.start("soil", "collector", {"pin": 4}, {"device": "d", "fleet": "f"})
    assert told == (
        b'{"op":"start","version":1,"name":"soil","kind":"collector","device":"d","fleet":"f",'
        b'"options":{"pin":4}}\n'
    )
    given_ = protocol.send(b"\x00\xff", {"kind": "agg", "seq": 3})
    assert given_ == b'{"op":"send","kind":"agg","seq":3,"batch":"AP8="}\n'
