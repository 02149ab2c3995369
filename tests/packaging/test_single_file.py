"""What starts other processes, or opens a port, in the single file outside systemd, on each processor: `edgemon run`
with a plugin, a rule that has a command run and a webhook posted, /metrics, and a configuration from afar.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Device
from tests.notice_servers import Hook
from tests.packaging.conftest import Binary
from tests.packaging.container import ROOT
from tests.servers import HOST, Listener, Mosquitto, free_port, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.mosquitto]

CONFIG = """
device = "cam-7"
fleet = "lab"
[system]
interval = "1s"
[metrics]
listen = "127.0.0.1:{metrics_port}"
[ship]
sink = "mqtt"
initial_interval = "100ms"
[mqtt]
host = "127.0.0.1"
port = {broker_port}
[plugins.soil]
command = ["{folder}/soil"]
options = {{ file = "{folder}/moisture" }}
[[rules]]
name = "queue"
when = "metric.queue > 3"
do = ["event", "exec:note", "webhook:duty"]
[actions.note]
command = ["{folder}/note"]
[actions.duty]
url = "http://127.0.0.1:{hook_port}/"
[remote]
enabled = true
key_file = "{folder}/remote.key"
allow = ["batch"]
confirm = "5s"
"""
# With the libraries of this machine, not with those that the file has unpacked.
NOTE = """#!/bin/sh
cd "$(dirname "$0")"
echo "$EDGEMON_RULE ${LD_LIBRARY_PATH-none}" >noted.new
mv noted.new noted
"""
ENOUGH_S = 120.0  # emulated, on a busy machine


def test_all_that_starts_processes_works(
    binary: Binary, short_tmp: Path, mosquitto: Mosquitto
) -> None:
    hook = Hook()
    metrics_port = free_port()
    shutil.copy(ROOT / "docs/examples/plugins/soil", short_tmp)
    (short_tmp / "moisture").write_text("41.5\n")
    (short_tmp / "note").write_text(NOTE)
    (short_tmp / "note").chmod(0o755)

    def command(*words: str, text: str = "") -> None:
        subprocess.run(
            [*binary.program, *words],
            cwd=short_tmp, input=text, text=True, check=True, timeout=ENOUGH_S,
        )  # fmt: skip

    command("remote", "key", "--out", "remote.key")
    device = Device(
        short_tmp,
        CONFIG.format(
            folder=short_tmp,
            metrics_port=metrics_port,
            broker_port=mosquitto.port,
            hook_port=hook.port,
        ),
        binary.program,
    )
    listener = Listener(mosquitto.port, "edgemon/v1/lab/cam-7/#")

    def reported() -> dict[str, Any]:
        found = listener.on("/reported")
        latest: dict[str, Any] = json.loads(found[-1].payload) if found else {}
        return latest

    def status() -> dict[str, Any]:
        return device.status() or {}

    try:
        device.start()
        wait_for(
            lambda: status().get("system", {}).get("soil_moisture_percent") == 41.5,
            ENOUGH_S, "the plugin's value",
        )  # fmt: skip
        command("send", "-", text='{"metric":"queue","value":9}\n')
        wait_for(lambda: hook.posts and (short_tmp / "noted").exists(), ENOUGH_S, "both")
        assert (short_tmp / "noted").read_text() == "queue none\n"
        assert json.loads(hook.posts[0].body)["rule"] == "queue"

        connection = http.client.HTTPConnection(HOST, metrics_port, timeout=ENOUGH_S)
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
        connection.close()
        assert 'edgemon_device_reading{series="soil_moisture_percent"} 41.5' in page

        wait_for(lambda: reported().get("status") == "none", ENOUGH_S, "nothing came yet")
        command("remote", "sign", "-", "--key-file", "remote.key", "--fleet", "lab", "--device", "cam-7", "--revision",
                "1", "--publish", f"mqtt://{HOST}:{mosquitto.port}", text='[batch]\nmax_age = "5m"\n')  # fmt: skip
        wait_for(lambda: reported().get("status") == "applied", ENOUGH_S, "it is confirmed")
        assert reported()["in_force"] == 1
        (one,) = status()["plugins"]
        assert (one["state"], one["restarts"], one["bad_lines"]) == ("idle", 0, 0)
        plugin = one["pid"]
        assert device.stop() == 0
        wait_for(lambda: not os.path.exists(f"/proc/{plugin}"), ENOUGH_S, "the plugin is gone")
    finally:
        listener.close()
        hook.stop()
        if device.process is not None and device.process.poll() is None:
            device.stop()
