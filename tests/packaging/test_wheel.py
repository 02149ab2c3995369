"""The wheel of each processor, built from the sdist, under the Python of its own Debian: the self-test."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile

import pytest

from edgemon.version import VERSION
from tests.packaging.container import ROOT

pytestmark = pytest.mark.slow

PROCESSORS = {"host": "x86_64", "arm64": "aarch64", "armhf": "armv7l"}


@pytest.mark.parametrize("arch", PROCESSORS)
def test_a_wheel_passes_the_self_test(arch: str) -> None:
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    wheel = ROOT / f"dist/edgemon-{VERSION}-{python}-{python}-linux_{PROCESSORS[arch]}.whl"
    if not wheel.exists():
        pytest.skip(f"needs {wheel.name}: make binary ARCH={arch}")
    folder = ROOT / "build" / arch / "unpacked-wheel"  # which the other root file system sees, too
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    if arch == "host":
        command = ["env", f"PYTHONPATH={folder}", sys.executable]
    else:
        if os.geteuid() != 0:
            pytest.skip("needs root, for chroot")
        inside = f"/project/build/{arch}/unpacked-wheel:/opt/site"
        inroot = [str(ROOT / "packaging/inroot.sh"), str(ROOT / "build" / arch / "root")]
        command = [*inroot, "env", f"PYTHONPATH={inside}", "python3"]
    program = "import edgemon, sys; from edgemon.cli import main; print(edgemon.__file__); sys.exit(main(['selftest']))"
    done = subprocess.run(
        [*command, "-P", "-c", program],
        cwd="/", capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"build/{arch}/unpacked-wheel/edgemon/__init__.py" in done.stdout
    assert "checks done: 0 failed" in done.stdout
