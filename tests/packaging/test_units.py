"""The units are right, and as hard as they say: systemd's own judgement, without a running systemd."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgemon.config import parse

UNITS = Path(__file__).parent.parent.parent / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
# Exposure in tenths; 10.0 is a service without any sandbox.
HARDEST_ALLOWED = 15

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian's systemd)"
)


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False
    )


def test_every_unit_is_right(tmp_path: Path) -> None:
    program = tmp_path / "edgemon"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/usr/bin/edgemon", str(program))
        (tmp_path / unit.name).write_text(text)
    units = sorted(str(tmp_path / unit.name) for unit in UNITS.iterdir())
    verified = analyze("verify", "--man=no", *units)
    # What it says of units of this machine is not ours.
    said = [line for line in verified.stderr.splitlines() if "edgemon" in line]
    assert said == []


def test_a_wrong_unit_would_be_noticed(tmp_path: Path) -> None:
    unit = tmp_path / "edgemon-agent.service"
    unit.write_text((UNITS / unit.name).read_text().replace("PrivateTmp", "PrivateTemp"))
    assert "PrivateTemp" in analyze("verify", "--man=no", str(unit)).stderr


@pytest.mark.parametrize("name", SERVICES)
def test_exposure_is_low(name: str) -> None:
    judged = analyze(
        "security", "--offline=true", f"--threshold={HARDEST_ALLOWED}", str(UNITS / name)
    )
    assert judged.returncode == 0, judged.stdout


def test_the_agent_may_open_no_network_socket() -> None:
    text = (UNITS / "edgemon-agent.service").read_text()
    assert re.findall(r"^RestrictAddressFamilies=(.*)$", text, re.M) == ["AF_UNIX"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_system_call_goes_around_the_address_families(name: str) -> None:
    """What io_uring opens is not seen by a filter of socket(2)."""
    allowed: set[str] = set()
    lines = re.findall(r"^SystemCallFilter=(.*)$", (UNITS / name).read_text(), re.M)
    for line in lines:
        of_line = {call for word in line.lstrip("~").split() for call in calls(word)}
        allowed = allowed - of_line if line.startswith("~") else allowed | of_line
    assert {"socket", "openat", "fsync", "epoll_wait"} <= allowed
    assert not {call for call in allowed if call.startswith("io_uring_")}


def calls(word: str) -> set[str]:
    """The system calls of a set, with those of the sets in it; of a call itself."""
    if not word.startswith("@"):
        return {word}
    shown = analyze("syscall-filter", word).stdout.splitlines()[1:]
    members = {line.strip() for line in shown if line.startswith("    ") and "#" not in line}
    assert members, word
    return {call for member in members for call in calls(member)}


@pytest.mark.parametrize("name", SERVICES)
def test_systemd_waits_longer_than_a_stop_may_take(name: str) -> None:
    """And whoever configures a longer one reads what to do, in the unit and on the page."""
    half = "agent" if "agent" in name else "ship"
    drain_s = getattr(parse(""), half).drain_timeout_s
    text = (UNITS / name).read_text()
    (waits,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.M)
    assert int(waits) >= drain_s + 15
    for page in (text, (UNITS.parent / "docs/install.md").read_text()):
        assert f"{half}.drain_timeout" in page and "15 s longer" in page


@pytest.mark.parametrize("name", SERVICES)
def test_each_directive_that_is_left_out_has_its_reason(name: str) -> None:
    """What `security` still marks is named in the unit, or has its reason here."""
    elsewhere = {
        "PrivateMounts",  # said of a unit that has PrivateTmp, which implies it
        "RestrictAddressFamilies",  # a Unix socket is what it is there for
        "DeviceAllow",  # the clock's device, which ProtectClock adds
        "UMask",  # the group edgemon may read
    }
    text = (UNITS / name).read_text()
    marked = re.findall(
        r"^✗ (\w+)=", analyze("security", "--offline=true", str(UNITS / name)).stdout, re.M
    )
    assert marked, "nothing is marked: has the output another form?"
    for directive in set(marked) - elsewhere:
        assert re.search(rf"^# .*\b{directive}\b", text, re.M), f"{directive}: why not?"
