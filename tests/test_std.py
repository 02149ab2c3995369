"""edgemon.std against the library's own modules: what is left out of a stand-in changes nothing of what is in it."""

from __future__ import annotations

import json as real_json
import os
import random as real_random
import re
import subprocess
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgemon.flow.names import any_of
from edgemon.std import json, random, socket, threading
from edgemon.std.contextlib import suppress
from tests.servers import wait_for

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(values, st.booleans(), st.booleans())
def test_json_is_written_as_by_the_library(value: object, ascii_only: bool, by_key: bool) -> None:
    for separators in ((", ", ": "), (",", ":")):
        ours = json.dumps(
            value, ensure_ascii=ascii_only, separators=separators, sort_keys=by_key, default=str
        )
        assert ours == real_json.dumps(
            value, ensure_ascii=ascii_only, separators=separators, sort_keys=by_key, default=str
        )


def test_what_json_cannot_have_is_refused_in_the_same_words() -> None:
    circle: list[object] = []
    circle.append(circle)
    for value in (object(), {1: {2}}, circle):
        with pytest.raises((TypeError, ValueError)) as theirs:
            real_json.dumps(value)
        with pytest.raises(theirs.type, match=re.escape(str(theirs.value))):
            json.dumps(value)
    assert json.dumps(object, default=lambda kind: kind.__name__) == '"object"'


@given(
    values.map(real_json.dumps)
    | st.text()
    | st.text(alphabet='{}[]":,0123456789eE+-.\\utrfalsn \n')
)
@example(" [1,\n2]\t\r\n")
@example("[1] [2]")
@example("NaN")
@example('{"a":-Infinity,"a":1e999}')
@example('"\\ud800"')
@example("\ufeff1")
@example("")
def test_json_is_read_as_by_the_library(text: str) -> None:
    for source in (
        text,
        text.encode("utf-8", "surrogatepass"),
        text.encode("utf-16", "surrogatepass"),
    ):
        try:
            wanted = repr(real_json.loads(source))
        except ValueError as error:
            with pytest.raises(type(error), match=re.escape(str(error))):
                json.loads(source)
        else:
            assert repr(json.loads(source)) == wanted


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(1, 2**40), max_size=20))
def test_a_seed_gives_the_librarys_numbers(seed: int, stops: list[int]) -> None:
    ours, theirs = random.Random(seed), real_random.Random(seed)
    for stop in stops:
        assert ours.random() == theirs.random()
        assert ours.getrandbits(40) == theirs.getrandbits(40)
        assert ours.randrange(stop) == theirs.randrange(stop)


def test_without_a_seed_two_processes_draw_different_numbers() -> None:
    program = "from edgemon.std.random import random, Random; print(random(), Random().random())"
    drawn = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
        for _ in range(2)
    ]
    assert len({number for line in drawn for number in line.split()}) == 4


def test_a_socket_accepts_and_is_closed_at_the_end_of_its_block(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(1)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.family == socket.AF_UNIX
                assert accepted.gettimeout() is None
                assert not os.get_inheritable(accepted.fileno())
                accepted.sendall(b"here")
                assert client.recv(10) == b"here"
            assert client.recv(10) == b""
        assert client.fileno() == accepted.fileno() == -1
    assert listener.fileno() == -1


def test_suppress_keeps_quiet_about_what_it_was_given_alone() -> None:
    with suppress(OSError, ValueError):
        raise FileNotFoundError
    with pytest.raises(KeyError), suppress(OSError):
        raise KeyError


def test_a_thread_waits_for_what_another_one_notifies_of() -> None:
    changed, wanted, seen = threading.Condition(), [0], [0]

    def follow() -> None:
        with changed:
            while seen[0] < 100:
                while wanted == seen:
                    changed.wait()
                seen[0] = wanted[0]

    thread = threading.Thread(target=follow, name="follow", daemon=True)
    assert thread.ident is None
    assert not thread.is_alive()
    thread.start()
    for _ in range(100):
        with changed:
            wanted[0] += 1
            changed.notify()
            changed.notify()  # twice is as good as once
        wait_for(lambda: seen == wanted)
    thread.join(20.0)
    assert not thread.is_alive()


def test_waiting_and_joining_end_in_time() -> None:
    changed = threading.Condition()
    begun = time.monotonic()
    with changed:
        assert not changed.wait(0.05)
        assert not changed.wait(-1.0)
    assert time.monotonic() - begun >= 0.05
    go_on: list[int] = []
    thread = threading.Thread(
        target=lambda: wait_for(lambda: bool(go_on)), name="slow", daemon=True
    )
    thread.start()
    thread.join(0.01)
    assert thread.is_alive()
    go_on.append(1)
    thread.join(20.0)
    assert not thread.is_alive()


@given(st.lists(st.text("ab*?", max_size=6), max_size=3), st.text("ab*?\n", max_size=8))
def test_patterns_match_as_a_shells_do(patterns: list[str], name: str) -> None:
    assert any_of(patterns)(name) == any(fnmatchcase(name, pattern) for pattern in patterns)


def test_whoever_wants_the_librarys_collections_gets_them_after_our_array() -> None:
    program = (
        "import sys; assert 'collections' not in sys.modules\n"
        "from edgemon.std.array import array; assert 'collections' not in sys.modules\n"
        "import collections.abc; from collections import Counter\n"
        "assert collections.abc.MutableSequence and Counter('aa')['a'] == 2\n"
        "assert isinstance(array('d', [1.0]), collections.abc.MutableSequence)\n"
        "import array as real; assert real.array is array\n"
    )
    subprocess.run([sys.executable, "-I", "-c", program], check=True)
