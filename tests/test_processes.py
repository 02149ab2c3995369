"""What each process may import: memory on a device is decided here. Real processes that have done their work."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edgemon.control import request
from edgemon.errors import EdgemonError
from tests.servers import wait_for

# Runs the command line and leaves the list of loaded modules behind.
_REPORT = """
import atexit, sys
atexit.register(lambda: print(*sorted(sys.modules), file=open("modules.txt", "w")))
from edgemon.cli import main
sys.exit(main(sys.argv[1:]))
"""
_CONFIG = """
[agent]
state_dir = "state"
run_dir = "run"
[models."*"]
capture = "all"
[system]
interval = "1s"
[ship]
sink = "{sink}"
[mqtt]
host = "127.0.0.1"
port = 1
[s3]
bucket = "bucket"
endpoint = "http://127.0.0.1:1"
"""
# Each costs a megabyte or more, or does not belong on that side of the wall.
NEVER = {
    "numpy",
    "scipy",
    "pydantic",
    "sqlite3",
    "rich",
    "sklearn",
    "hypothesis",
    "tomllib",
    "edgemon.config.builder",
    "edgemon.config.loader",
    "edgemon.config.model_keys",
    "edgemon.config.schema",
    "edgemon.receive",
    "edgemon.demo",
    # of the configuration used here, which has no plugin
    "edgemon.plugins",
    "edgemon.agent.plugins",
    "edgemon.config.plugins",
    "edgemon.config.trust",
}
NOT_IN_THE_AGENT = NEVER | {
    "asyncio", "ssl", "_ssl", "_hashlib", "paho", "boto3", "botocore", "urllib.request", "http.client", "email",
    "msgpack", "datetime", "dataclasses", "inspect", "logging", "typing", "platform", "string",
    "contextlib", "importlib", "threading", "socket", "signal", "selectors", "random", "json",
    "argparse", "pathlib", "difflib", "concurrent.futures", "psutil", "ctypes",
    "edgemon.ship", "edgemon.wire.decoder",
    "edgemon.agent.baseline", "edgemon.drift.build", "edgemon.drift.detector", "edgemon.drift.profile",  # without one
}  # fmt: skip
# What a configuration brings that is read with regular expressions, as rules are.
OF_REGULAR_EXPRESSIONS = {"re", "collections", "enum", "functools", "copyreg"}
NOT_IN_THE_SHIPPER = NEVER | {
    "asyncio",
    "boto3",
    "botocore",
    "psutil",
    "argparse",
    "email",
    "http",
    "logging",
    "urllib.request",
    "edgemon.agent",
    "edgemon.ingest",
}
NOT_IN_A_SHIPPER_TO_A_FOLDER = NOT_IN_THE_SHIPPER | {"ssl", "_ssl", "paho"}


def modules_of(folder: Path, command: str, sink: str, work: str = "", more: str = "") -> set[str]:
    """Start `edgemon <command>` in `folder`, let it work, stop it; what it had imported."""
    (folder / "edgemon.toml").write_text(_CONFIG.format(sink=sink) + more)
    process = subprocess.Popen(
        [sys.executable, "-c", _REPORT, command], cwd=folder, stderr=subprocess.DEVNULL
    )
    try:

        def answers() -> bool:
            assert process.poll() is None, f"edgemon {command} ended"
            try:
                request(str(folder / "run" / f"{command}.sock"), {"cmd": "status"}, 2.0)
            except EdgemonError:
                return False
            return True

        wait_for(answers)
        if work:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(20.0)
                client.connect(str(folder / "run" / "ingest.sock"))
                client.sendall(work.encode() + b'{"ack":1,"level":"disk"}\n')
                assert b"disk" in client.recv(1000)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    return set((folder / "modules.txt").read_text().split())


def banned(loaded: set[str], forbidden: set[str]) -> set[str]:
    return {
        name
        for name in loaded
        if any(name == bad or name.startswith(bad + ".") for bad in forbidden)
    }


def test_the_agent_imports_nothing_heavy_and_nothing_of_the_network(short_tmp: Path) -> None:
    events = '{"model":"m","output":[0.1,0.9],"features":{"a":1,"b":"x"},"latency":0.1}\n' * 50
    loaded = modules_of(short_tmp, "agent", "none", events)
    assert banned(loaded, NOT_IN_THE_AGENT | OF_REGULAR_EXPRESSIONS) == set()
    assert "edgemon.spool.worker" in loaded
    assert not any(name.startswith("edgemon.rules") for name in loaded)  # where there are none
    assert not any(name.startswith("edgemon.performance") for name in loaded)  # nor truths


def test_truths_and_errors_bring_nothing_heavy_into_the_agent(short_tmp: Path) -> None:
    events = '{"model":"m","id":1,"output":0.9}\n{"model":"m","id":1,"label":1}\n{"model":"m","error":"timeout"}\n'
    loaded = modules_of(short_tmp, "agent", "none", events * 3)
    assert banned(loaded, NOT_IN_THE_AGENT | OF_REGULAR_EXPRESSIONS) == set()
    assert {"edgemon.performance.join", "edgemon.performance.model"} <= loaded


def test_rules_bring_nothing_heavy_into_the_agent(short_tmp: Path) -> None:
    rules = '[[rules]]\nwhen = "errors > 0"\ndo = ["event", "log", "exec:it", "webhook:far", "email:boss"]\n'
    actions = (
        '[actions.it]\ncommand = ["/bin/true"]\n[actions.far]\nurl = "https://127.0.0.1:1/"\n'
        '[actions.boss]\nto = ["a@b"]\nsender = "c@d"\nsmtp_host = "127.0.0.1"\n'
    )
    events = '{"model":"m","output":1}\n{"model":"m","error":"E"}\n'
    window = '[models.m]\nwindow = "1s"\n'
    loaded = modules_of(short_tmp, "agent", "none", events, rules + actions + window)
    assert banned(loaded, NOT_IN_THE_AGENT) == set()
    assert {"edgemon.agent.rules", "edgemon.rules.engine"} <= loaded


@pytest.mark.parametrize(
    ("sink", "forbidden"),
    [
        ("file", NOT_IN_A_SHIPPER_TO_A_FOLDER),
        ("mqtt", NOT_IN_THE_SHIPPER | {"ssl", "_ssl", "platform", "email"}),
        ("s3", NOT_IN_A_SHIPPER_TO_A_FOLDER),
    ],
)
def test_the_shipper_imports_only_what_its_sink_needs(
    short_tmp: Path, sink: str, forbidden: set[str]
) -> None:
    modules_of(short_tmp, "agent", sink, '{"model":"m","output":1}\n')
    loaded = modules_of(short_tmp, "ship", sink)
    assert banned(loaded, forbidden) == set()
    assert f"edgemon.ship.{sink}" in loaded


def test_a_shipper_with_webhooks_leaves_tls_to_its_child(short_tmp: Path) -> None:
    actions = '[actions.far]\nurl = "https://127.0.0.1:1/"\n'
    modules_of(short_tmp, "agent", "file", '{"model":"m","output":1}\n')
    loaded = modules_of(short_tmp, "ship", "file", more=actions)
    forbidden = NOT_IN_A_SHIPPER_TO_A_FOLDER | {"http.client", "smtplib", "email", "edgemon.rules"}
    assert banned(loaded, forbidden) == set()
    assert "edgemon.ship.notify" in loaded


def test_importing_edgemon_costs_an_application_nothing() -> None:
    code = "import sys; before = set(sys.modules); import edgemon; print(sorted(set(sys.modules) - before))"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "['edgemon', 'edgemon.version']"
