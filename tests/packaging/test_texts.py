"""The .deb's man page and completion say what its program says."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.conftest import built

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb"),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the package; of each processor's they are made from the same parsers."""
    folder = tmp_path_factory.mktemp("deb")
    subprocess.run(["dpkg-deb", "-x", str(built("amd64").deb), str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def commands(tree: Path) -> set[str]:
    """Those of `edgemon --help`, each of which the program has."""

    def asked(*words: str) -> subprocess.CompletedProcess[str]:
        program = str(tree / "usr/bin/edgemon")
        return subprocess.run(
            [program, *words, "--help"], capture_output=True, text=True, timeout=60, check=False
        )

    named = set(re.findall(r"^  (\w+)  ", asked().stdout.partition("\noptions:")[0], re.M))
    assert {"agent", "ship", "spool", "status"} <= named
    assert {name for name in named if asked(name).returncode != 0} == set()
    return named


def test_the_man_page_has_every_command(tree: Path, commands: set[str]) -> None:
    page = gzip.decompress((tree / "usr/share/man/man1/edgemon.1.gz").read_bytes()).decode()
    assert page.startswith(".TH EDGEMON 1 ")
    assert set(re.findall(r"^\.SS edgemon (\S+)$", page, re.M)) == commands
    assert "/etc/edgemon/edgemon.toml" in page


def test_the_completion_offers_every_command_and_what_follows(
    tree: Path, commands: set[str]
) -> None:
    def offered(*words: str) -> set[str]:
        """By bash, when the last word is typed so far."""
        script = (
            '. "$0"; COMP_WORDS=(edgemon "$@"); COMP_CWORD=$#; _edgemon; echo "${COMPREPLY[@]}"'
        )
        file = tree / "usr/share/bash-completion/completions/edgemon"
        said = subprocess.check_output(["bash", "-c", script, str(file), *words], text=True)
        return set(said.split())

    assert offered("sp") == {"spool"}
    assert offered("") == commands | {"--help", "--version"}
    assert {"cat", "verify"} <= offered("spool", "")
    assert offered("spool", "ver") == {"verify"}
    assert "--once" in offered("ship", "--")
    assert offered("ship", "--config", "/") == set()
