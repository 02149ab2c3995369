"""Plugins of an application's own monitor: they run beside it, survive its forks, and end with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.plugins.rig import program

_CONFIG = """
[agent]
state_dir = "state"
run_dir = "run"
[system]
interval = "1s"
[ship]
sink = "none"
[plugins.soil]
command = ["{path}"]
"""
_APPLICATION = """
import os
from pathlib import Path
from edgemon import EdgeMonitor
from tests.servers import wait_for

with EdgeMonitor("edgemon.toml") as monitor:
    def plugin():
        return monitor.get_status()["agent"]["plugins"][0]

    wait_for(lambda: plugin()["series"], what="the first values")
    pid = plugin()["pid"]
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert monitor.get_status()["agent"]["system"]["soil_a"] == 1.0
    assert (plugin()["pid"], plugin()["restarts"]) == (pid, 0)
assert not Path(f"/proc/{pid}").exists()
print("done")
"""


def test_a_plugin_in_an_application_that_forks(short_tmp: Path) -> None:
    (short_tmp / "edgemon.toml").write_text(_CONFIG.format(path=program(short_tmp)))
    root = str(Path(__file__).parents[2])
    code = f"import sys; sys.path.append({root!r})\n{_APPLICATION}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=short_tmp, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "done\n", done.stderr
