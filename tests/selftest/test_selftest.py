"""The self-test says yes here, and no wherever something is wrong."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgemon import selftest
from edgemon.config import parse
from edgemon.selftest.known import EXTENSIONS
from edgemon.selftest.place import Place
from tests.servers import free_port

ROOT = Path(__file__).parent.parent.parent


def command(folder: Path, toml: str | None, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code and answer of `edgemon selftest --json` in a folder with this configuration."""
    if toml is not None:
        (folder / "edgemon.toml").write_text(
            f'[agent]\nstate_dir = "state"\nrun_dir = "run"\n{toml}'
        )
        options = ("--config", "edgemon.toml", *options)
    done = subprocess.run(
        [sys.executable, "-m", "edgemon", "selftest", "--json", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def results(answer: dict[str, Any]) -> dict[str, str]:
    return {one["check"]: one["result"] for one in answer["findings"]}


def test_all_is_well_here_and_nothing_is_left_behind(short_tmp: Path) -> None:
    code, answer = command(short_tmp, '[ship]\nsink = "file"\n')
    assert code == 0 and answer["ok"]
    assert set(results(answer).values()) == {"ok"}
    assert (
        len(answer["findings"]) == answer["expected"] == selftest.EXPECTED == len(selftest.CHECKS)
    )
    assert [path.name for path in short_tmp.rglob("*")] == ["edgemon.toml"]


@pytest.mark.parametrize("made", ["", "below", "below/state"])
def test_the_disk_is_tried_where_the_data_are_or_will_be(short_tmp: Path, made: str) -> None:
    (short_tmp / made).mkdir(parents=True, exist_ok=True)
    before = sorted(short_tmp.rglob("*"))
    wanted = short_tmp / "below/state"
    config = parse(f'[agent]\nstate_dir = "{wanted}"\nrun_dir = "{short_tmp}/r"\n')
    said = selftest.device.disk(Place(config, "", "/nowhere"))
    tried = short_tmp / made
    assert said.startswith(
        f"{tried}: " if tried == wanted else f"{tried}, where {wanted} will be: "
    )
    assert sorted(short_tmp.rglob("*")) == before


def test_a_binary_without_configuration_is_checked_as_far_as_it_goes(tmp_path: Path) -> None:
    if Path("/etc/edgemon/edgemon.toml").exists():
        pytest.skip("this machine has a configuration")
    code, answer = command(tmp_path, None)
    found = results(answer)
    assert code == 0
    assert {check for check, result in found.items() if result != "ok"} == {"configuration", "sink"}
    assert command(tmp_path, None, "--strict")[0] == 1


def test_the_list_of_extensions_is_that_of_the_sources() -> None:
    names = {path.stem for path in (ROOT / "edgemon/_core").glob("*.pyx")}
    assert set(EXTENSIONS) == names, "edgemon/selftest/known.py lists what setup.py builds"


# What is replaced, by what, and the check that notices it.
BROKEN = {
    "extension": ("sys.modules['edgemon._core.ring'] = None", "extensions"),
    "checksum": ("m = load('crc32c'); m.crc32c = lambda data, value=0: 7", "checksum"),
    "p-value": ("m = load('pvalue'); m.ks_pvalue = lambda h, m, n: 0.18", "drift"),
    "statistic": (
        "m = load('ks'); t = m.SlidingKS; m.SlidingKS = lambda r, w, h: t(r, w - 1, h)",
        "drift",
    ),
    "decoder": (
        "import edgemon.records as r; t = r.Prediction\n"
        "r.Prediction = lambda *a: t(*a[:-1], 1.8e9)",
        "protocol",
    ),
    "batch": ("import edgemon.wire as w; w.decode = lambda frame: None", "batch"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_computes_otherwise_is_noticed(tmp_path: Path, name: str) -> None:
    breakage, noticed_by = BROKEN[name]
    code = f"""
import importlib, sys
load = lambda name: importlib.import_module("edgemon._core." + name)
from edgemon.cli import main
from edgemon import selftest
{breakage}
sys.exit(main(["selftest", "--json"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1, done.stderr
    assert results(json.loads(done.stdout))[noticed_by] == "failed"


def test_a_check_that_went_missing_is_noticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgemon.cli import main

    monkeypatch.setattr(selftest, "CHECKS", selftest.CHECKS[1:])
    monkeypatch.setenv("EDGEMON_CONFIG", "/nowhere/edgemon.toml")
    assert main(["selftest"]) == 1
    assert f"{selftest.EXPECTED - 1} of {selftest.EXPECTED} checks" in capsys.readouterr().out


def test_a_refused_configuration_fails(tmp_path: Path) -> None:
    code, answer = command(tmp_path, "[shipp]\nsink = 3\n")
    found = {one["check"]: one for one in answer["findings"]}
    assert code == 1 and found["configuration"]["result"] == "failed"
    assert re.search(r"edgemon\.toml:4: .*shipp", found["configuration"]["found"])
    assert found["drift"]["result"] == "ok"


def test_a_folder_that_cannot_be_written_fails(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    code, answer = command(tmp_path, "")
    found = {one["check"]: one for one in answer["findings"]}
    assert code == 1 and found["disk"]["result"] == "failed"
    assert "state" in found["disk"]["found"]


def test_a_broker_that_is_away_warns_and_does_not_fail(short_tmp: Path) -> None:
    toml = f'[ship]\nsink = "mqtt"\n[mqtt]\nhost = "127.0.0.1"\nport = {free_port()}\n'
    code, answer = command(short_tmp, toml)
    assert code == 0 and results(answer)["sink"] == "warning"
    assert command(short_tmp, toml, "--strict")[0] == 1


@pytest.mark.parametrize("sink", ["mqtt", "s3"])
def test_a_sink_that_listens_is_found(short_tmp: Path, sink: str) -> None:
    with socket.socket() as broker:
        broker.bind(("127.0.0.1", 0))
        broker.listen(1)
        port = broker.getsockname()[1]
        tables = {
            "mqtt": f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\n',
            "s3": f'[s3]\nbucket = "bucket"\nendpoint = "http://127.0.0.1:{port}"\n',
        }
        code, answer = command(short_tmp, f'[ship]\nsink = "{sink}"\n{tables[sink]}')
    found = {one["check"]: one for one in answer["findings"]}
    assert code == 0 and found["sink"]["result"] == "ok"
    assert f"127.0.0.1:{port}" in found["sink"]["found"]


@pytest.mark.parametrize(
    ("says", "result", "told"),
    [("echo '{\"hello\":1}'", "ok", "says hello"), ("exit 3", "warning", "ended with exit code 3")],
)
def test_a_sink_that_is_a_plugin_is_started(
    short_tmp: Path, says: str, result: str, told: str
) -> None:
    program = short_tmp / "sink"
    program.write_text(f"#!/bin/sh\n{says}\nread -r line && read -r line\n")
    program.chmod(0o755)
    plugin = f'[plugins.mine]\nkind = "sink"\ncommand = ["{program}"]\n'
    code, answer = command(short_tmp, f'[ship]\nsink = "plugin"\n{plugin}')
    found = {one["check"]: one for one in answer["findings"]}
    assert code == 0 and found["sink"]["result"] == result
    assert told in found["sink"]["found"]


def test_a_plugin_that_does_not_stop_is_killed_by_the_deadline_of_its_start(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgemon.plugins.process.STOP_S", 60.0)  # not what ends it here
    monkeypatch.setattr(selftest.device, "SINK_S", 3.0)  # a busy machine must start it within
    program = short_tmp / "sink"
    program.write_text(
        f"#!/bin/sh\necho $$ > {short_tmp}/pid\necho '{{\"hello\":1}}'\nexec sleep 600\n"
    )
    program.chmod(0o755)
    config = parse(
        f'[agent]\nstate_dir = "{short_tmp}/s"\nrun_dir = "{short_tmp}/r"\n[ship]\nsink = "plugin"\n'
        f'[plugins.mine]\nkind = "sink"\ncommand = ["{program}"]\n'
    )
    (found,) = (one for one in selftest.run(config) if one.check == "sink")
    assert found.result == "ok", found
    with pytest.raises(ProcessLookupError):
        os.kill(int((short_tmp / "pid").read_text()), 0)
    assert found.took_s < 30


def test_it_does_not_wait_for_a_sink_that_says_nothing(short_tmp: Path) -> None:
    """A listener whose queue is full: a connection to it hangs."""
    fillers = []
    with socket.socket() as broker:
        broker.bind(("127.0.0.1", 0))
        broker.listen(0)
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(broker.getsockname())
            fillers.append(filler)
        config = parse(
            f'[agent]\nstate_dir = "{short_tmp}/s"\nrun_dir = "{short_tmp}/r"\n[ship]\nsink = "mqtt"\n'
            f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.getsockname()[1]}\n'
        )
        begun = time.monotonic()
        found = {one.check: one for one in selftest.run(config)}
        took_s = time.monotonic() - begun
        for filler in fillers:
            filler.close()
    assert found["sink"].result == "warning", found["sink"]
    # What the steps that wait allow themselves, not how fast this machine is.
    assert found["sink"].took_s < selftest.device.SINK_S + 20 and took_s < 60
