"""EdgeMonitor in an application that forks, and at its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from edgemon import EdgeMonitor
from tests.monitor.helpers import log, received, write_config
from tests.servers import free_port, wait_for


def run_program(
    folder: Path, program: str, *, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """An application of its own, in a folder with edgemon.toml."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, signal, sys\nfrom edgemon import EdgeMonitor\n" + program,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=check,
        timeout=60,
    )


_LOG = """
def log(monitor, numbers):
    for number in numbers:
        monitor.log_model_output(monitor.log_model_input({"number": number}), number)
"""


def test_an_application_gets_no_numpy_and_nothing_of_the_network(
    config: Path, short_tmp: Path
) -> None:
    del config
    program = f"""{_LOG}
import random
with EdgeMonitor("edgemon.toml") as monitor:
    monitor.set_reference_data("number", [random.random() for _ in range(5000)])
    log(monitor, range(2000))
    assert monitor.flush("memory", 30)
    assert monitor.get_status()["drifted"] == {{"default": ["f:number"]}}
print(*sorted(sys.modules))
"""
    loaded = set(run_program(short_tmp, program).stdout.split())
    assert "edgemon.agent.agent" in loaded
    foreign = {"numpy", "scipy", "ssl", "_ssl", "paho", "asyncio", "boto3", "logging", "argparse"}
    foreign |= {"dataclasses", "sqlite3", "edgemon.ship", "edgemon.receive", "edgemon.cli"}
    assert not loaded & foreign


def is_gone(pid: int) -> bool:
    """Whether a process has ended; who should wait for it may be gone too, or slow."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_forked_child_logs_to_its_parents_monitor(config: Path, short_tmp: Path) -> None:
    del config
    program = f"""{_LOG}
monitor = EdgeMonitor("edgemon.toml")
monitor.start()
log(monitor, range(100))
shared = monitor.log_model_input({{"number": 100}})
child = os.fork()
if child == 0:
    monitor.log_model_output(shared, 100)
    log(monitor, range(101, 200))
    assert monitor.get_status()["running"]
    errors = []
    for start in (EdgeMonitor("edgemon.toml").start, monitor.start):
        try:
            start()
        except Exception as error:
            errors.append(type(error).__name__)
    assert errors == ["LockedError", "UsageError"], errors
    monitor.stop()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
log(monitor, range(200, 300))
assert monitor.flush("memory", 30)
assert monitor.get_status()["predictions"] == 300, monitor.get_status()
monitor.stop()
"""
    run_program(short_tmp, program)
    numbers = received(short_tmp, "SELECT json_extract(features, '$.number') FROM predictions")
    assert sorted(number for (number,) in numbers) == list(range(300))
    assert received(short_tmp, "SELECT count(DISTINCT prediction_id) FROM predictions") == [(300,)]


def test_a_monitor_that_was_made_before_a_fork_is_started_by_who_starts_it(
    config: Path, short_tmp: Path
) -> None:
    del config
    program = f"""{_LOG}
monitor = EdgeMonitor("edgemon.toml")
child = os.fork()
if child == 0:
    with monitor:
        log(monitor, range(10))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
with monitor:
    log(monitor, range(10, 20))
"""
    run_program(short_tmp, program)
    numbers = received(short_tmp, "SELECT json_extract(features, '$.number') FROM predictions")
    assert sorted(number for (number,) in numbers) == list(range(20))


def test_a_child_that_lives_on_holds_neither_the_lock_nor_the_sockets(
    short_tmp: Path,
) -> None:
    port = free_port()
    more = f'[ingest]\ndgram = "dgram.sock"\n[metrics]\nlisten = "127.0.0.1:{port}"'
    config = write_config(short_tmp, more=more)
    program = f"""{_LOG}
monitor = EdgeMonitor("edgemon.toml")
monitor.start()
log(monitor, range(10))
assert monitor.flush("disk", 30)
while not (shipper := monitor.get_status()["shipper"]):
    pass
with open("shipper.pid", "w") as file:
    file.write(str(shipper["pid"]))
read, write = os.pipe()
if os.fork() == 0:
    sys.stdout.flush()
    os.close(1); os.close(2)
    os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
    os.dup2(1, 2)
    os.write(write, b"x")
    signal.sigtimedwait([signal.SIGUSR1], 60)
    os._exit(0)
os.read(read, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    # The child that lives on is found by its session.
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, signal, sys\nfrom edgemon import EdgeMonitor\n" + program,
        ],
        cwd=short_tmp,
        start_new_session=True,
    )
    try:
        assert process.wait(60) == -signal.SIGKILL
        shipper = int((short_tmp / "shipper.pid").read_text())
        wait_for(lambda: is_gone(shipper), what="the shipper ended by itself")
        with EdgeMonitor(config) as monitor:  # neither lock nor socket is held
            log(monitor, range(10, 20), "default")
            assert monitor.get_status()["predictions"] == 10
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    numbers = received(short_tmp, "SELECT json_extract(features, '$.number') FROM predictions")
    assert sorted(number for (number,) in numbers) == list(range(20))


def test_an_application_that_forgets_to_stop_loses_nothing(config: Path, short_tmp: Path) -> None:
    del config
    run_program(
        short_tmp,
        f'{_LOG}\nmonitor = EdgeMonitor("edgemon.toml")\nmonitor.start()\nlog(monitor, range(500))',
    )
    assert received(short_tmp, "SELECT count(*) FROM predictions") == [(500,)]


def test_when_the_application_is_killed_its_shipper_ends_and_what_was_on_disk_is_not_lost(
    config: Path, short_tmp: Path
) -> None:
    program = f"""{_LOG}
monitor = EdgeMonitor("edgemon.toml")
monitor.start()
log(monitor, range(500))
while not (shipper := monitor.get_status()["shipper"]):
    pass
assert monitor.flush("disk", 30)
print(shipper["pid"], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = run_program(short_tmp, program, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    shipper = int(done.stdout)
    wait_for(lambda: is_gone(shipper), what="the shipper ended by itself")
    with EdgeMonitor(config):
        pass
    numbers = received(short_tmp, "SELECT json_extract(features, '$.number') FROM predictions")
    assert sorted(number for (number,) in numbers) == list(range(500))
