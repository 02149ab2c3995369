"""The binaries that `make binary` made, and the container that the tests of one file share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from edgemon.version import VERSION
from tests.packaging.container import AGENT, DEB, ROOT, SHIP, Container, booted


class Binary(NamedTuple):
    """program: the words that start it.  deb: the package of the same build."""

    arch: str
    program: list[str]
    deb: Path


def built(arch: str) -> Binary:
    """What `make binary` made for a processor; skips when it was not made."""
    file = ROOT / f"dist/edgemon-{VERSION}-linux-{arch}"
    if not file.exists():
        pytest.skip(f"needs {file.name}: make binary ARCH={'host' if arch == 'amd64' else arch}")
    program = [str(file)]
    if arch != "amd64":
        # Where the emulator finds the C library of that processor; children inherit it.
        program = ["env", f"QEMU_LD_PREFIX={ROOT}/build/{arch}/root", *program]
    return Binary(arch, program, ROOT / f"dist/edgemon_{VERSION}_{arch}.deb")


@pytest.fixture(scope="module", params=["amd64", "arm64", "armhf"])
def binary(request: pytest.FixtureRequest) -> Binary:
    return built(request.param)


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """With the .deb installed and both halves running."""
    if not DEB.exists():
        pytest.skip(f"needs {DEB.name}: make binary")
    with booted(tmp_path_factory.mktemp("container")) as made:
        made.run("dpkg", "-i", f"/dist/{DEB.name}")
        made.wait_active(AGENT)
        made.wait_active(SHIP)
        yield made
