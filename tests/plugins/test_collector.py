"""A collector plugin over real processes: when it is asked, what becomes of its values, how it comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from edgemon.config import PluginSettings
from edgemon.metrics import Counters
from edgemon.plugins.collector import DROPPED_VALUES, ERRORS, PluginCollector
from edgemon.plugins.process import REFUSED, RESTARTS, TIMEOUTS, turn
from edgemon.plugins.protocol import MAX_SERIES
from tests.plugins.rig import ABOUT, program, settings


class Bench:
    """A collector whose clock is the machine's, with pauses of nearly nothing between starts."""

    def __init__(self, plugin: PluginSettings) -> None:
        self.counters = Counters()
        self.refused: list[tuple[str, str]] = []
        self.plugin = PluginCollector(
            plugin._replace(interval_s=0.05),
            self.counters,
            ABOUT,
            lambda name, text: self.refused.append((name, text)),
            lambda: 0.001,
        )
        self.plugin.start(time.monotonic())
        self.rows: list[dict[str, float]] = []

    def run(self, until: Callable[[], object], timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not until():
            assert time.monotonic() < deadline, self.plugin.status()
            turn([self.plugin.process], min(self.plugin.deadline(), time.monotonic() + 0.05))
            self.plugin.tick(time.monotonic())
            if row := self.plugin.collect(0.0):
                self.rows.append(row)

    def close(self) -> None:
        self.plugin.stop(time.monotonic())
        self.run(lambda: self.plugin.process.state == "down")


def test_each_answer_is_one_row_under_the_name_of_the_plugin(tmp_path: Path) -> None:
    body = "n = 0\ndef answer(question):\n    global n\n    n += 1\n    say(values={'count': n})"
    bench = Bench(settings(program(tmp_path, body)))
    bench.run(lambda: len(bench.rows) == 3)
    assert bench.rows == [{"soil_count": 1.0}, {"soil_count": 2.0}, {"soil_count": 3.0}]
    assert bench.plugin.latest == {"soil_count": 3.0}
    bench.close()
    assert bench.plugin.latest == {}
    assert bench.counters.snapshot() == {}


def test_one_that_others_may_write_is_not_started_until_they_may_not(tmp_path: Path) -> None:
    path = program(tmp_path)
    path.chmod(0o757)
    bench = Bench(settings(path))
    bench.run(lambda: bench.counters.get(REFUSED) >= 3)
    assert bench.refused == [("soil", f'everybody may write "{path}": chmod o-w')]
    assert bench.rows == []
    path.chmod(0o755)
    bench.run(lambda: bench.rows)
    bench.close()
    assert len(bench.refused) == 1
    assert bench.plugin.status()["restarts"] == 0, "it had never run"


def test_it_is_started_again_after_a_crash_and_after_a_stall(tmp_path: Path) -> None:
    marks = tmp_path / "starts"
    body = f"""
with open({str(marks)!r}, "a") as file: file.write("x")
starts = os.path.getsize({str(marks)!r})
def answer(question):
    if starts == 1: os._exit(1)
    if starts == 2: time.sleep(1000)
    say(values={{"starts": starts}})
"""
    bench = Bench(settings(program(tmp_path, body), "timeout = '1s'"))
    bench.run(lambda: bench.rows)
    starts = bench.rows[0][
        "soil_starts"
    ]  # 3, or more where the machine is slower than the time-out
    timeouts = bench.counters.get(TIMEOUTS)
    assert timeouts >= 1 and starts >= 3
    assert bench.counters.get(RESTARTS, reason="exited") == 1
    assert bench.counters.get(RESTARTS, reason="timeout") == timeouts
    assert bench.plugin.status()["restarts"] == starts - 1 == timeouts + 1
    bench.close()


def test_series_are_bounded_over_its_whole_life(tmp_path: Path) -> None:
    body = """
n = 0
def answer(question):
    global n
    n += 1
    say(values={f"s{n}_{i}": i for i in range(40)} | {"Bad": 1, "none": None})
"""
    bench = Bench(settings(program(tmp_path, body)))
    bench.run(lambda: bench.counters.get(DROPPED_VALUES, reason="too_many") >= 56)
    assert len({name for row in bench.rows for name in row}) == MAX_SERIES
    assert bench.plugin.status()["series"] == MAX_SERIES
    assert bench.counters.get(DROPPED_VALUES, reason="name") >= 3
    assert bench.counters.get(DROPPED_VALUES, reason="number") >= 3
    bench.close()


def test_an_error_or_a_wrong_answer_leaves_it_running(tmp_path: Path) -> None:
    body = """
n = 0
def answer(question):
    global n
    n += 1
    if n == 1: say(error="pin 4 is silent")
    elif n == 2: say(ack=True)
    else: say(values={"a": 1})
"""
    bench = Bench(settings(program(tmp_path, body)))
    bench.run(lambda: bench.rows)
    assert bench.counters.get(ERRORS, reason="exception") == 1
    assert bench.counters.get(ERRORS, reason="wrong_answer") == 1
    assert bench.plugin.status()["last_error"] == "pin 4 is silent"
    assert bench.plugin.status()["restarts"] == 0
    bench.close()
