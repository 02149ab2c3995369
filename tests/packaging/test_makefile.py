"""`make` says what it would do: the targets that try binaries make those that are missing first."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.container import ROOT

HOST = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf"}.get(platform.machine(), "")
MADE = {
    "test-arm": {"arm64": "dist/edgemon_0_arm64.deb", "armhf": "dist/edgemon_0_armhf.deb"},
    "test-slow": {"host": f"dist/edgemon-0-linux-{HOST}"},
    "test-packages": {"host": f"dist/edgemon-0-linux-{HOST}"},
    "test-vm": {"arm64": "dist/edgemon_0_arm64.deb"},
}


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("target", MADE)
def test_binaries_that_are_missing_are_made(target: str, tmp_path: Path) -> None:
    """With nothing but the Makefile there. `make -n` runs the lines that call make, and shows the others."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "dist").mkdir()

    def would_make() -> set[str]:
        shown = subprocess.check_output(
            ["make", "-n", "--no-print-directory", "-o", ".venv/.test", "VENV=.venv", target],
            cwd=tmp_path,
            text=True,
            timeout=60,
        )
        assert "pytest" in shown.splitlines()[-1]
        built = [line for line in shown.splitlines() if "packaging/build.sh" in line]
        return {line.split()[-1] for line in built}

    missing = set(MADE[target])
    assert would_make() == missing
    for arch, file in MADE[target].items():
        (tmp_path / file).touch()
        missing.remove(arch)
        assert would_make() == missing
