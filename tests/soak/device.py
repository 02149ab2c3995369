"""The device of the soak: its configuration with every feature, and a planted /proc and /sys that change a little."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np

from tests.collect.devices import RASPBERRY_PI, plant
from tests.soak.clock import FastClock

HERE = Path(__file__).parent
DOCS = HERE.parent.parent / "docs"

# Time-outs are minutes here: a second of them is 6 ms of real time, and broker, receiver, plugin and command live in
# real time.
CONFIG = """\
device = "soak"
fleet = "lab"
drain_timeout = "5m"
[ingest]
coalesce = "1s"
dgram = "{folder}/run/ingest.dgram"
[models."*"]
window = "60s"
capture = {{ sample = 0.01 }}
recorder = 100
redact = {{ deny = ["state", "material"], hash_ids = true }}
truth = {{ join = "always", keep = 5000, ttl = "1h" }}
[models.press]
profile = "press.profile"
[models.eye]
profile = "eye.profile"
[models.sort]
profile = "sort.profile"
capture = {{ reservoir = 3 }}
[models.line]
reference = {{ first = 5000 }}
[models.night]
profile = "night.profile"
capture = "all"
redact = {{ hash_ids = false }}
version_ttl = "1d"
[system]
root = "pi"
[system.anomalies]
exclude = ["disk_free_bytes", "disk_used_percent", "disk_inodes_used_percent"]  # this machine's own
[batch]
max_age = "60s"
[spool]
sync_interval = "10s"
[ship]
sink = "mqtt"
confirm = "receiver"
confirm_timeout = "2h"
drain_timeout = "5m"
[mqtt]
host = "127.0.0.1"
port = {port}
keepalive = "1h"
connect_timeout = "5m"
[metrics]
listen = "{folder}/run/metrics.sock"
[remote]
enabled = true
key_file = "remote.key"
confirm = "20m"
[plugins.soil]
command = ["{docs}/examples/plugins/soil"]
options = {{ file = "{folder}/moisture" }}
interval = "1m"
timeout = "10m"
start_timeout = "10m"
[[rules]]
when = "latency.p99 > 250ms"
[[rules]]
when = "missing > 20%"
model = "press"
[[rules]]
when = "silence > 6h"
[[rules]]
when = "drift.ratio > 1"
[[rules]]
when = "agent.memory > 100MiB or spool.drops > 0 or ingest.errors > 0"
[[rules]]
when = "system.temperature_* > 80°C for 1m"
[[rules]]
name = "queue"
when = 'metric."queue length" > 100'
do = ["event", "log", "exec:touch", "webhook:duty", "email:mail"]
[actions.touch]
command = ["/usr/bin/touch", "{folder}/fired"]
timeout = "5m"
[actions.duty]
url = "http://127.0.0.1:{hook_port}/hook"
timeout = "5m"
[actions.mail]
to = ["duty@example.org"]
sender = "edgemon@example.org"
smtp_host = "127.0.0.1"
smtp_port = {mail_port}
security = "none"
timeout = "5m"
"""
OVERLAY = "[models.press]\ncapture = { sample = 0.02 }\n"
# What a reload of the local file changes.
BEFORE_RELOAD, AFTER_RELOAD = 'interval = "1m"', 'interval = "2m"'


class Hardware:
    """A Raspberry Pi whose figures go up and down a little, written anew every 20 ms of real time by a thread."""

    def __init__(self, folder: Path, clock: FastClock, seed: int) -> None:
        self._root = plant(folder / "pi", RASPBERRY_PI)
        self._moisture = folder / "moisture"
        self._clock = clock
        self._random = np.random.default_rng(seed)
        self._done = threading.Event()
        self._counted = np.zeros(8)
        self._at_s = 0.0
        self._write()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(0.02):
            self._write()

    def _write(self) -> None:
        random, now_s = self._random, self._clock.elapsed_s
        # A second: ticks busy and idle, bytes and packets in and out, sectors, ms of a busy disk.
        mean = np.array([20.0, 380.0, 2000.0, 10.0, 900.0, 8.0, 40.0, 30.0])
        self._counted += (now_s - self._at_s) * mean * random.uniform(0.9, 1.1, len(mean))
        self._at_s = now_s
        busy, idle, received, packets, sent, sent_packets, sectors, busy_ms = map(
            int, self._counted
        )
        available = int(random.normal(6_000_000, 20_000))
        celsius = random.normal(48.3, 0.5)
        cpu = f"{1000 + busy} 50 450 {8000 + idle} 400 0 100 0 0 0"
        files = {
            "proc/loadavg": f"{random.uniform(0.3, 0.5):.2f} 0.30 0.25 1/213 4711\n",
            "proc/stat": f"cpu  {cpu}\ncpu0 {cpu}\nintr 1 2 3\nctxt 99\n",
            "proc/meminfo": f"MemTotal: 8000000 kB\nMemFree: 500000 kB\nMemAvailable: {available} kB\n"
            "SwapTotal: 102396 kB\nSwapFree: 92396 kB\n",
            "proc/net/dev": RASPBERRY_PI["proc/net/dev"].replace(
                "1000000    1000    1    2    0     0          0         0   500000     900",
                f"{1_000_000 + received} {1000 + packets} 1 2 0 0 0 0 {500_000 + sent} {900 + sent_packets}",
            ),
            "proc/diskstats": f" 179 0 mmcblk0 1000 10 20000 500 2000 20 {40000 + sectors} 900 0 {3000 + busy_ms} 1400"
            " 0 0 0 0 0 0\n",
            "sys/class/thermal/thermal_zone0/temp": f"{celsius * 1000:.0f}\n",
            "sys/class/hwmon/hwmon0/temp1_input": f"{celsius * 1000:.0f}\n",
            "sys/class/hwmon/hwmon1/in1_input": f"{random.normal(1480, 5):.0f}\n",
        }
        for name, text in files.items():
            _replace(self._root / name, text)
        _replace(self._moisture, f"{random.normal(41.5, 0.3):.2f}\n")


def _replace(path: Path, text: str) -> None:
    """Never half a file."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    os.replace(new, path)
