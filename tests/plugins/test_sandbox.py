"""Plugins under the filters of edgemon's own units: they run, and what docs/plugins.md says they may not do fails."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.harness import Device
from tests.plugins import sandbox
from tests.plugins.rig import EXAMPLES, program
from tests.plugins.test_agent import CONFIG, plugin
from tests.servers import wait_for

UNITS = Path(__file__).parents[2] / "systemd"

pytestmark = pytest.mark.skipif(bool(sandbox.missing()), reason=f"needs {sandbox.missing()}")

_TRIES = """
import mmap, socket
def tried(what):
    try: what()
    except OSError: return 0
    return 1
def answer(question):
    say(values={
        "unix": tried(lambda: socket.socket(socket.AF_UNIX)),
        "inet": tried(lambda: socket.socket(socket.AF_INET)),
        "code": tried(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)),
        "nice": tried(lambda: os.nice(1)),
        "fork": tried(lambda: os.system("/bin/true")),
    })
"""


def under(unit: str, *words: str) -> list[str]:
    """A command in the sandbox of a unit."""
    return [sys.executable, "-m", "tests.plugins.sandbox", str(UNITS / unit), *words]


def edgemon(*words: str) -> list[str]:
    return [sys.executable, "-m", "edgemon", *words]


def test_collectors_and_a_sink_run_under_the_units_filters(
    short_tmp: Path, example_site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", f"{example_site}:{root}")
    (short_tmp / "reading").write_text("41.5\n")
    tries = program(short_tmp, _TRIES, "tries")
    device = Device(
        short_tmp,
        f"""{CONFIG}
[ship]
sink = "plugin"
[plugins.archive]
kind = "sink"
command = ["{shutil.copy(EXAMPLES / "archive", short_tmp)}"]
options = {{ folder = "{short_tmp}/out" }}
[plugins.soil]
command = ["{shutil.copy(EXAMPLES / "soil", short_tmp)}"]
options = {{ file = "{short_tmp}/reading" }}
[plugins.tasks]
entry_point = "processes"
[plugins.tries]
command = ["{tries}"]
""",
    )
    with (short_tmp / "agent.log").open("wb") as log:
        agent = subprocess.Popen(
            under("edgemon-agent.service", *edgemon("agent")), cwd=short_tmp, stderr=log
        )
        try:
            wait_for(lambda: device.status() is not None, what="the agent answers")
            names = ("soil", "tasks", "tries")
            wait_for(lambda: all(plugin(device, name)["series"] for name in names), what="values")
            wait_for(
                lambda: (device.status() or {}).get("collectors", {}).get("memory"), what="a row"
            )
            status = device.status()
        finally:
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(30) == 0
    assert status is not None
    system = status["system"]
    assert system["soil_moisture_percent"] == 41.5
    assert {name: system[f"tries_{name}"] for name in ("unix", "inet", "code", "nice", "fork")} == {
        "unix": 1, "inet": 0, "code": 0, "nice": 0, "fork": 1,
    }  # fmt: skip
    shipped = subprocess.run(
        under("edgemon-ship.service", *edgemon("ship", "--once")),
        cwd=short_tmp, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shipped.returncode == 0, shipped.stderr
    assert list((short_tmp / "out").glob("sys-*.msgpack.zst"))
