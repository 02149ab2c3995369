"""The programs of docs/protocol.md, as they stand there, against a real agent."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.client.test_header import CSRC, STRICT, build
from tests.e2e.harness import Device
from tests.servers import wait_for

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"


def example(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(found)


def run(device: Device, *command: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, EDGEMON_SOCKET=str(device.run_dir / "ingest.sock"))
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_c(device: Device, tmp_path: Path) -> None:
    source = tmp_path / "example.c"
    source.write_text(example("c").replace("10.0", "60.0"))  # a busy machine's disk
    program = build(tmp_path, [source], "-std=c99")
    device.start()
    done = run(device, str(program))
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "1003 sent, 0 dropped, all on disk\n",
        "",
    )
    device.stop()
    predictions = [row for row in device.rows_left("pred") if "label" not in row]
    assert [row["f:amount"] for row in predictions] == [12.5 + number for number in range(1000)]
    assert {row["latency"] for row in predictions} == {0.003}
    assert [row["id"] for row in device.rows_left("pred") if "label" in row] == ["a-17"]
    assert [row["cats"] for row in device.rows_left("agg") if row["stream"] == "error"] == [
        '{"timeout": 1}'
    ]
    assert [
        row["value"] for row in device.rows_left("sys") if row.get("name") == "queue/length"
    ] == [3]


def test_c_says_when_nobody_is_there(device: Device, tmp_path: Path) -> None:
    source = tmp_path / "example.c"
    source.write_text(example("c").replace("10.0", "0.1"))
    done = run(device, str(build(tmp_path, [source], "-std=c99")))
    assert (done.returncode, done.stdout) == (1, "0 sent, 0 dropped, not all on disk\n")


def test_the_command_that_the_page_gives_for_c(tmp_path: Path) -> None:
    (tmp_path / "example.c").write_text(example("c"))
    (given,) = re.findall(r"/\* (cc .*?) \*/", example("c"))
    words = shlex.split(given.replace("csrc/include", str(CSRC / "include")))
    if shutil.which(words[0]) is None:
        pytest.skip("needs a C compiler: cc is not there")
    subprocess.run([*words, *STRICT], cwd=tmp_path, check=True)


def test_node(device: Device, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("needs node (Debian: apt-get install nodejs)")
    (tmp_path / "example.mjs").write_text(example("js"))
    device.start()
    done = run(device, "node", str(tmp_path / "example.mjs"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 dropped, all on disk\n", "")
    device.stop()
    amounts = [row["f:amount"] for row in device.rows_left("pred")]
    assert amounts == [12.5 + number for number in range(1000)]
    done = run(device, "node", str(tmp_path / "example.mjs"))  # nobody is there
    assert (done.returncode, done.stdout, done.stderr) == (1, "0 dropped, not all on disk\n", "")


def test_shell(device: Device) -> None:
    program = shutil.which("nc")
    if (
        program is None
        or "OpenBSD" not in subprocess.run([program, "-h"], capture_output=True, text=True).stderr
    ):
        pytest.skip("needs netcat-openbsd (Debian: apt-get install netcat-openbsd)")
    device.start()
    done = run(device, "sh", "-eu", "-c", example("sh"))
    assert (done.returncode, done.stdout, done.stderr) == (0, '{"ack": 1, "level": "disk"}\n', "")
    wait_for(lambda: (device.status() or {})["ingest"]["predictions"] == 1)
    device.stop()
    assert [row["output"] for row in device.rows_left("pred")] == ["open"]
    values = [
        row["value"] for row in device.rows_left("sys") if row.get("name") == "room/temperature"
    ]
    assert values == [20.5, 21.0, 21.5]
    nobody = run(device, "sh", "-eu", "-c", example("sh").partition("# Many")[0])
    assert (nobody.returncode, nobody.stdout, nobody.stderr) == (0, "", "")
