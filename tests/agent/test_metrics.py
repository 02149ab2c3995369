"""The page at /metrics, as scrapers read it: from a running edgemon, over a port and over a Unix socket."""

from __future__ import annotations

import json
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from edgemon.agent import exposition
from edgemon.agent.exposition import page
from edgemon.agent.loop import Loop
from edgemon.agent.scrape import MetricsPort
from edgemon.config.settings import MetricsSettings
from edgemon.metrics import Counters
from tests.e2e.test_activation import LAUNCH
from tests.servers import free_port, wait_for

_NASTY = 'a"b\\c\nd{}\u001b[31m<é>'
_CONFIG = """
[agent]
device = "dev-1"
state_dir = "state"
run_dir = "run"
[system]
interval = "1s"
[models."*"]
reference = {{ first = 1000 }}
drift = {{ window = 200 }}
[ship]
sink = "file"
[metrics]
listen = "{listen}"
"""


@contextmanager
def running(folder: Path, listen: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    (folder / "edgemon.toml").write_text(_CONFIG.format(listen=listen))
    process = subprocess.Popen(
        [sys.executable, "-m", "edgemon", *(command or ("run",))], cwd=folder, stderr=subprocess.DEVNULL
    )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def connect(where: str) -> socket.socket:
    if where.startswith("/"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20.0)
        try:
            sock.connect(where)
        except OSError:
            sock.close()
            raise
        return sock
    host, _, port = where.rpartition(":")
    return socket.create_connection((host, int(port)), 20.0)


def ask(where: str, request: bytes) -> tuple[str, dict[str, str], bytes]:
    """(status line, fields, body)."""
    with connect(where) as sock:
        sock.sendall(request)
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return status, dict(field.split(": ", 1) for field in fields), body


def get(where: str, accept: str = "") -> tuple[str, dict[str, str], bytes]:
    head = f"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"
    return ask(where, head.encode())


def reachable(where: str) -> bool:
    try:
        connect(where).close()
    except OSError:
        return False
    return True


def send(folder: Path, model: str, count: int) -> None:
    event = {"model": model, "version": "1", "output": 0.5, "latency": 0.25, "features": {"x": 1.0}}
    draw = random.Random(1)
    lines = "".join(
        json.dumps(event | {"features": {"x": draw.gauss(0, 1)}}) + "\n" for _ in range(count)
    )
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20.0)
        client.connect(str(folder / "run" / "ingest.sock"))
        client.sendall(lines.encode() + b'{"ack":1,"level":"disk"}\n')
        assert b"disk" in client.recv(1000)


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Name and labels -> value, as the reference parser of the format reads it, which is strict."""
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parser.text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def promtool(text: bytes) -> None:
    """Asks Prometheus' own checker for what is wrong or unusual."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("needs promtool (Debian: apt-get install prometheus)")
    done = subprocess.run(
        [program, "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_a_scraper_reads_models_drift_spool_and_shipper(short_tmp: Path) -> None:
    where = f"127.0.0.1:{free_port()}"
    with running(short_tmp, where):
        wait_for(lambda: reachable(where))
        send(short_tmp, _NASTY, 1500)
        wait_for(lambda: b"edgemon_ship_up 1" in get(where, "application/openmetrics-text")[2])
        status, fields, body = get(where, "application/openmetrics-text; version=1.0.0, text/plain")
        assert status == "HTTP/1.1 200 OK"
        assert fields["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        assert int(fields["Content-Length"]) == len(body)
        found = samples(body)
        model = (("model", _NASTY), ("version", "1"))
        assert found["edgemon_model_predictions_total", model] == 1500
        assert found[
            "edgemon_model_latency_seconds", (model[0], ("quantile", "0.5"), model[1])
        ] == (pytest.approx(0.25, rel=0.011))
        stream = (model[0], ("stream", "f:x"), model[1])
        assert 0 <= found["edgemon_drift_distance_ratio", stream] <= 1
        assert 0 < found["edgemon_drift_threshold_ratio", stream] <= 1
        assert found["edgemon_drift_drifted", stream] == 0
        assert found["edgemon_spool_healthy", ()] == 1
        assert found["edgemon_ship_connected", (("sink", "file"),)] == 1
        assert found["edgemon_ingest_predictions_total", ()] == 1500
        _, fields, body = get(where)
        assert fields["Content-Type"].startswith("text/plain; version=0.0.4")
        promtool(body)


def test_over_a_unix_socket_without_a_shipper_and_gone_at_the_end(short_tmp: Path) -> None:
    where = str(short_tmp / "metrics.sock")
    with running(short_tmp, where, "agent"):
        wait_for(lambda: reachable(where))
        assert (short_tmp / "metrics.sock").stat().st_mode & 0o777 == 0o660
        found = samples(get(where, "application/openmetrics-text")[2])
        assert found["edgemon_ship_up", ()] == 0
    assert not (short_tmp / "metrics.sock").exists()


def test_what_is_no_scrape_is_refused_and_harms_nobody(short_tmp: Path) -> None:
    where = str(short_tmp / "metrics.sock")
    with running(short_tmp, where, "agent"):
        wait_for(lambda: reachable(where))
        for request, answer in (
            (b"POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
            (b"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found"),
            (b"GET /metrics/../../etc/passwd HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found"),
            (b"\x16\x03\x01 hello\r\n\r\n", "HTTP/1.1 400 Bad Request"),
            (b"GET /metrics\r\n\r\n", "HTTP/1.1 400 Bad Request"),
            (b"GET /metrics HTTP/1.1\r\nA: " + b"a" * 8180, "HTTP/1.1 431 Request Header Fields Too Large"),
        ):  # fmt: skip
            assert ask(where, request)[0] == answer
        assert ask(where, b"GET /metrics?x=1 HTTP/1.0\r\n\r\n")[0] == "HTTP/1.1 200 OK"
        # More connections than it keeps, all silent: the next one is served all the same.
        with ExitStack() as silent:
            for _ in range(20):
                silent.enter_context(connect(where))
            wait_for(
                lambda: b'{reason="too_many"} ' in get(where)[2]
            )  # a page is kept for a second
        found = samples(get(where, "application/openmetrics-text")[2])
        assert found["edgemon_metrics_refused_requests_total", (("reason", "404"),)] == 2


def test_without_the_section_nothing_listens_and_nothing_is_imported(short_tmp: Path) -> None:
    code = (
        "import atexit, sys; from edgemon.cli import main\n"
        "atexit.register(lambda: print(*sorted(sys.modules), file=open('modules', 'w')))\n"
        "sys.exit(main(['agent']))"
    )
    (short_tmp / "edgemon.toml").write_text(_CONFIG.format(listen=""))
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=short_tmp, stderr=subprocess.DEVNULL
    )
    try:
        wait_for((short_tmp / "run" / "agent.sock").exists)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    loaded = (short_tmp / "modules").read_text().split()
    assert "edgemon.agent.agent" in loaded
    assert not {"edgemon.agent.scrape", "edgemon.agent.exposition", "http", "http.server"} & set(
        loaded
    )


def test_a_port_that_is_taken_is_said_in_one_line(short_tmp: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        (short_tmp / "edgemon.toml").write_text(_CONFIG.format(listen=where))
        done = subprocess.run(
            [sys.executable, "-m", "edgemon", "agent"], cwd=short_tmp, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
    assert done.returncode == 6
    assert f"metrics.listen: another process listens on {where}" in done.stderr


STREAM = {
    "stream": "f:x",
    "d": 0.1,
    "threshold_d": 0.2,
    "n": 10,
    "window": 10,
    "drifted": True,
    "by": "ks",
}
MODEL: dict[str, Any] = {
    "model": "m", "version": "", "predictions": 3, "rate_per_s": 1.0, "last_seen_s_ago": 2.0, "streams": 1,
    "profile": "ab", "drifted": ["f:x"], "drift": [STREAM],
    "latency": {"n": 3, "p50": 0.1, "p95": float("inf"), "p99": 0.3},
}  # fmt: skip
AGENT: dict[str, Any] = {
    "version": "1", "device": "d", "fleet": "f", "uptime_s": 10.0, "rss_bytes": 1,
    "ingest": {"rate_per_s": 1.0, "clients": []}, "models": [MODEL], "system": {"cpu_percent": float("nan")},
    "spool": {
        "bytes": 1, "max_bytes": 2, "journal_bytes": 0, "segments": 1, "oldest_wall_s": None, "failure": "",
        "held_back": False, "kinds": {"pred": {"batches": 1, "rows": 2}},
    },
    "counters": {'edgemon_agent_events_total{reason="drift.started"}': 2, "edgemon_new_things_total": 1},
}  # fmt: skip


def test_every_number_of_floating_point_has_a_spelling() -> None:
    found = samples(page(AGENT, None, 0.0, openmetrics=True))
    assert found["edgemon_model_latency_seconds", (("model", "m"), ("quantile", "0.95"), ("version", ""))] == (
        float("inf")
    )  # fmt: skip
    cpu = found["edgemon_device_reading", (("series", "cpu_percent"),)]
    assert cpu != cpu
    assert found["edgemon_agent_events_total", (("reason", "drift.started"),)] == 2
    promtool(page(AGENT, None, 0.0, openmetrics=False))


def test_how_well_a_model_does_is_on_the_page_where_it_is_known() -> None:
    truth = {"window": {"n": 50, "accuracy": 0.9, "brier": 0.1, "ece": 0.05}}
    known = {"drop": ["truth"], "truth": truth, "estimate": {"accuracy": 0.8}}
    model = MODEL | {"performance": known, "errors": 7}
    body = page(AGENT | {"models": [model]}, None, 0.0, openmetrics=True)
    which = (("model", "m"), ("version", ""))
    found = {
        name.removeprefix("edgemon_model_"): value
        for (name, of), value in samples(body).items()
        if of == which
    }
    assert {name: found[name] for name in (
        "errors_total", "accuracy_ratio", "brier_score", "calibration_error", "estimated_accuracy_ratio", "does_worse",
    )} == {
        "errors_total": 7, "accuracy_ratio": 0.9, "brier_score": 0.1, "calibration_error": 0.05,
        "estimated_accuracy_ratio": 0.8, "does_worse": 1,
    }  # fmt: skip
    assert "mae" not in found
    assert b"accuracy" not in page(AGENT, None, 0.0, openmetrics=True)
    promtool(page(AGENT | {"models": [model]}, None, 0.0, openmetrics=False))


def test_a_text_that_is_no_utf8_breaks_no_page() -> None:
    text = page(AGENT | {"models": [MODEL | {"model": "\ud800"}]}, None, 0.0, openmetrics=True)
    assert ("edgemon_model_streams", (("model", "\\ud800"), ("version", ""))) in samples(text)


def test_a_page_names_so_many_streams_and_counts_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exposition, "MAX_STREAMS", 5)
    models = [MODEL | {"model": str(i), "drift": [STREAM] * 3} for i in range(3)]
    unique = [
        m | {"drift": [s | {"stream": str(j)} for j, s in enumerate(m["drift"])]} for m in models
    ]
    found = samples(page(AGENT | {"models": unique}, None, 0.0, openmetrics=True))
    assert len([key for key in found if key[0] == "edgemon_drift_drifted"]) == 5
    assert found["edgemon_metrics_left_out_streams", ()] == 4


def test_a_shipper_that_answers_half_gives_what_it_has() -> None:
    found = samples(page(AGENT, {"sink": "mqtt", "bursts": 3}, 0.0, openmetrics=True))
    assert found["edgemon_ship_connected", (("sink", "mqtt"),)] == 0
    assert found["edgemon_ship_up", ()] == 1


@pytest.mark.parametrize("command", ["agent", "run"])
def test_a_port_that_systemd_hands_over_is_served(short_tmp: Path, command: str) -> None:
    (short_tmp / "edgemon.toml").write_text(_CONFIG.format(listen=""))
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        port.listen()
        where = f"127.0.0.1:{port.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(port.fileno()), "metrics", "", command],
            cwd=short_tmp, stderr=subprocess.DEVNULL, pass_fds=[port.fileno()],
        )  # fmt: skip
    try:
        # It listens already: the question waits until the agent is there.
        found = samples(get(where, "application/openmetrics-text")[2])
        assert found["edgemon_spool_healthy", ()] == 1
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_who_is_too_slow_is_closed_and_who_reads_slowly_gets_all() -> None:
    now = 100.0
    loop = Loop(lambda: now)
    counters = Counters()
    settings = MetricsSettings("", 0o660)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        body = b"x" * (4 << 20)
        port = MetricsPort(
            settings, loop, counters, lambda *_: body, "/nowhere/ship.sock", listener
        )
        with connect(where) as slow, connect(where) as reader:
            reader.setblocking(False)
            slow.sendall(b"GET /met")
            reader.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            got = bytearray()
            while not got.endswith(body[-10:]) or len(got) < len(body):
                loop.turn(0.0)
                with suppress(BlockingIOError):
                    got += reader.recv(1 << 20)
            now += 11.0
            loop.turn(0.0)
            assert slow.recv(10) == b""
        port.stop()
    assert got.endswith(body)
    assert counters.snapshot() == {'edgemon_metrics_closed_connections_total{reason="too_slow"}': 1}


def test_a_page_that_cannot_be_made_is_an_answer_and_not_the_end() -> None:
    loop = Loop()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)

        def make(*_: object) -> bytes:
            raise KeyError("spool")

        port = MetricsPort(
            MetricsSettings("", 0o660), loop, Counters(), make, "/nowhere/s", listener
        )
        with connect(f"127.0.0.1:{listener.getsockname()[1]}") as client:
            client.setblocking(False)
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            answer = b""
            while not answer:
                loop.turn(0.01)
                with suppress(BlockingIOError):
                    answer = client.recv(100)
            assert answer.startswith(b"HTTP/1.1 500 ")
        port.stop()
