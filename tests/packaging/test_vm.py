"""A real arm64 kernel with systemd and 128 MB: the .deb is installed, the power fails, nothing acknowledged is lost.

The machine is emulated as a whole, its kernel and cgroups too, so `MemoryMax=48M` and `TasksMax=16` of the unit are in
force, for what the agent starts as well. The power cut kills the emulator: what the machine had not yet handed to its
disk is gone.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgemon.version import VERSION
from tests.packaging.container import ROOT

VM = ROOT / "build/vm"
DEB = ROOT / f"dist/edgemon_{VERSION}_arm64.deb"
ENOUGH = 600  # acknowledged predictions before the power fails
BOOT_S = 240.0
_UNIT = """
[Unit]
After=multi-user.target
[Service]
Type=simple
ExecStart=/test/run.sh
[Install]
WantedBy=multi-user.target
"""
_CONFIG = """
[models."*"]
capture = "all"
[ship]
sink = "none"
"""
_ALL = (
    _CONFIG
    + """
[system]
interval = "2s"
[plugins.soil]
command = ["/usr/lib/edgemon/plugins/soil"]
options = { file = "/run/soil/moisture" }
[[rules]]
when = "metric.queue > 3"
do = ["exec:forks"]
[[rules]]
when = "metric.hunger > 3"
do = ["exec:eats"]
[actions.forks]
command = ["/usr/local/bin/forks"]
timeout = "2m"
[actions.eats]
command = ["/usr/bin/tail", "/dev/zero"]
timeout = "2m"
"""
)
# Starts until it may not any more; the shell that does so ends with that.
_FORKS = """#!/bin/sh
sh -c 'for number in $(seq 40); do echo $number >>/var/lib/edgemon/forks; sleep 3 & done'
wc -l </var/lib/edgemon/forks >/var/lib/edgemon/forked
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (VM / ".done").exists() or not DEB.exists(),
        reason=f"needs packaging/vm.sh and {DEB.name}: make test-vm",
    ),
]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An ext4 image of the machine, with the package and what it is to do."""
    tree = tmp_path / "tree"
    subprocess.run(["cp", "-a", str(VM / "root"), str(tree)], check=True)
    (tree / "test").mkdir()
    shutil.copy(DEB, tree / "test/edgemon.deb")
    shutil.copy(Path(__file__).with_name("vm_run.sh"), tree / "test/run.sh")
    (tree / "test/run.sh").chmod(0o755)
    (tree / "etc/systemd/system/test.service").write_text(_UNIT)
    wants = tree / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "test.service").symlink_to("../test.service")
    (tree / "test/all.toml").write_text(_ALL)
    for path, text in (
        ("usr/lib/edgemon/plugins/soil", (ROOT / "docs/examples/plugins/soil").read_text()),
        ("usr/local/bin/forks", _FORKS),
    ):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
        (tree / path).chmod(0o755)
    (tree / "etc/edgemon").mkdir()
    (tree / "etc/edgemon/edgemon.toml").write_text(_CONFIG)
    (tree / "etc/fstab").write_text("/dev/vda / ext4 defaults,noatime 0 1\n")
    image = tmp_path / "disk"
    subprocess.run(["mkfs.ext4", "-q", "-d", str(tree), str(image), "900M"], check=True)
    shutil.rmtree(tree)
    return image


class Machine:
    """An emulated computer. said: what its test unit said on the console, so far."""

    def __init__(self, disk: Path) -> None:
        self._log = disk.with_name(f"console-{time.monotonic_ns()}")
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a53", "-m", "128", "-nographic", "-net", "none",
                 "-no-reboot", "-kernel", str(VM / "vmlinuz"), "-initrd", str(VM / "initrd.gz"),
                 "-append", "console=ttyAMA0 quiet loglevel=3 systemd.show_status=0",
                 "-drive", f"file={disk},if=none,id=disk,format=raw",
                 "-device", "virtio-blk-device,drive=disk"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def said(self) -> list[str]:
        return re.findall(r"EDGEMON-VM: ([^\r\n]*)", self._log.read_text(errors="replace"))

    def wait(self, wanted: str, timeout_s: float) -> re.Match[str]:
        """Until it has said this; AssertionError when it says that it failed, ends, or says nothing in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            ended = self.process.poll() is not None
            for line in self.said:
                assert not line.startswith("failed"), self.console()
                if found := re.fullmatch(wanted, line):
                    return found
            assert not ended and time.monotonic() < deadline, self.console()
            time.sleep(0.5)

    def console(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]

    def cut_power(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def machines(disk: Path) -> Iterator[list[Machine]]:
    made = [Machine(disk)]
    yield made
    for machine in made:
        machine.cut_power()


def acknowledged(machine: Machine) -> int:
    return max(
        (int(line.split()[1]) for line in machine.said if line.startswith("acknowledged")),
        default=0,
    )


def test_power_cut_on_128_mb_loses_nothing_that_was_acknowledged(
    machines: list[Machine], disk: Path
) -> None:
    machine = machines[0]
    machine.wait("active", BOOT_S)
    machine.wait(f"acknowledged {ENOUGH}", BOOT_S)
    machine.cut_power()
    promised = acknowledged(machine)
    assert promised >= ENOUGH

    machine = Machine(disk)
    machines.append(machine)
    machine.wait("done", 1.5 * BOOT_S)  # it does much more
    said = " | ".join(machine.said)
    print(f"\n{promised} acknowledged before the cut; after it: {said}")
    assert int(machine.wait(r"kept (\d+)", 1)[1]) >= promised
    assert int(machine.wait(r"memory max (\d+)", 1)[1]) == 48 << 20
    assert machine.wait(r"tasks max (\d+)", 1)[1] == "16"
    assert machine.wait(r"seccomp (\d)", 1)[1] == "2"
    machine.wait("selftest .* 0 failed.*", 1)
    figures = r"{}: rss (\d+) KiB, memory (\d+), tasks (\d+)"
    for state, rss_mb, most_mib in (
        ("as installed", 15, 48),
        ("with .*", 16, 48),
        ("in 33554432", 16, 32),
        ("shipper in 41943040", 24, 40),
    ):
        found = machine.wait(figures.format(state), 1)
        assert int(found[1]) * 1024 <= rss_mb * 1_000_000, (state, found[1])
        assert int(found[2]) <= most_mib << 20 and int(found[3]) <= 16
    # Of the 16 tasks two are the agent's own; the plugin and the shells are some.
    assert 5 <= int(machine.wait(r"forked (\d+)", 1)[1]) < 16
    machine.wait("restarts 0", 1)
    machine.wait("result result 'oom-kill'", 1)
    machine.wait("kept the last", 1)
