"""A configuration that was read in a child is the one that would have been read here, faults and all."""

from __future__ import annotations

import marshal
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgemon import config as configuration
from edgemon.config import Config, apart, default_text, loader
from edgemon.config.settings import SeriesRule
from edgemon.errors import ConfigError

BEGUN, GO_ON = threading.Event(), threading.Event()

FULL = """
[agent]
device = "d"
[ingest]
max_rate = 10.5
allow_uids = [1, 2]
[models."*"]
capture = {sample = 0.25}
[models.a]
window = "5s"
reference = {first = 50000}
redact = {allow = ["x*"]}
[system]
anomalies = {series = {"cpu*" = {threshold = 5.0}}}
[ship]
mode = "burst"
at = ["03:00"]
[plugins.soil]
command = ["/bin/true"]
options = {depth = [1, 2.5, "x", {y = true}]}
"""


@pytest.mark.parametrize("text", [FULL, default_text(root=False), ""])
def test_what_a_child_read_is_what_is_read_here(text: str, tmp_path: Path) -> None:
    file = tmp_path / "e.toml"
    file.write_text(text)
    here = configuration.load(str(file))
    assert apart.load(str(file)) == here
    assert repr(apart.load(str(file))) == repr(here)  # of the same classes, at every depth
    assert apart.reload(here) == here


def test_a_tuple_without_names_stays_one() -> None:
    values = {"a": [SeriesRule("cpu*"), ("event", ("log",))]}
    restored = apart._restored(marshal.loads(marshal.dumps(apart._plain(values))))
    assert restored == values
    assert type(restored["a"][0]) is SeriesRule and type(restored["a"][1]) is tuple


def test_faults_of_a_child_are_raised_here(tmp_path: Path) -> None:
    file = tmp_path / "e.toml"
    file.write_text("[agent]\nstat_dir = 'x'\n[spool]\nmax_size = 'much'\n")
    with pytest.raises(ConfigError) as here:
        configuration.load(str(file))
    with pytest.raises(ConfigError) as there:
        apart.load(str(file))
    assert there.value.faults == here.value.faults
    assert len(there.value.faults) == 2
    with pytest.raises(ConfigError, match="no such file"):
        apart.load(str(tmp_path / "none.toml"))


def test_a_changed_key_that_needs_a_restart_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "e.toml"
    file.write_text("[agent]\nstate_dir = '/s'\n")
    running = apart.load(str(file))
    file.write_text("[agent]\nstate_dir = '/elsewhere'\n")
    with pytest.raises(ConfigError, match="restart to apply"):
        apart.reload(running)


def test_a_process_that_can_have_no_child_reads_the_file_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "e.toml"
    file.write_text(FULL)

    def fork() -> int:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(os, "fork", fork)
    before = len(os.listdir("/proc/self/fd"))
    assert apart.load(str(file)) == configuration.load(str(file))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_child_that_dies_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "e.toml"
    file.write_text(FULL)
    here, load = os.getpid(), loader.load

    def load_or_die(path: str) -> Config:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return load(path)

    monkeypatch.setattr(loader, "load", load_or_die)
    assert apart.load(str(file)) == load(str(file))


def test_half_an_answer_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "e.toml"
    file.write_text(FULL)
    dumps = marshal.dumps

    def half(value: Any) -> bytes:
        data = dumps(value)
        return data[: len(data) // 2]

    monkeypatch.setattr(marshal, "dumps", half)
    assert apart.load(str(file)) == configuration.load(str(file))


@pytest.fixture
def no_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    def pipe() -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe", pipe)


@pytest.mark.usefixtures("no_descriptors")
def test_without_descriptors_the_file_is_read_here(tmp_path: Path) -> None:
    file = tmp_path / "e.toml"
    file.write_text(FULL)
    assert apart.load(str(file)) == configuration.load(str(file))


@pytest.fixture
def children_are_ignored() -> Iterator[None]:
    """As in a program that was started by one that does not care for its children."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.usefixtures("children_are_ignored")
def test_a_child_that_nobody_has_to_wait_for(tmp_path: Path) -> None:
    file = tmp_path / "e.toml"
    file.write_text(FULL)
    assert apart.load(str(file)) == configuration.load(str(file))


def test_a_child_that_waits_for_a_thread_that_it_does_not_have_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread is importing a module when the process forks: in the child, its lock is never given back."""
    file = tmp_path / "e.toml"
    file.write_text(FULL)
    (tmp_path / "edgemon_slow_module.py").write_text(
        "from tests.config.test_apart import BEGUN, GO_ON\nBEGUN.set()\nGO_ON.wait()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    thread = threading.Thread(target=__import__, args=("edgemon_slow_module",))
    thread.start()
    BEGUN.wait()
    children = psutil.Process().children()  # of other tests
    here, load = os.getpid(), loader.load

    def load_with_it(path: str) -> Config:
        if os.getpid() == here:
            GO_ON.set()
        __import__("edgemon_slow_module")
        return load(path)

    monkeypatch.setattr(loader, "load", load_with_it)
    monkeypatch.setattr(apart, "DEADLINE_S", 0.3)
    assert apart.load(str(file)) == load(str(file))
    thread.join()
    assert psutil.Process().children() == children  # it is gone, and was waited for
