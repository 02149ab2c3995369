"""The simulator behind the table of thresholds: against the definition, and reproducible."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "csrc" / "tools" / "ks_null.c"


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> str:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("no C compiler")
    program = str(tmp_path_factory.mktemp("ks_null") / "ks_null")
    flags = ["-O2", "-std=c11", "-pthread"]
    subprocess.run([compiler, *flags, str(SOURCE), "-lm", "-o", program], check=True)
    return program


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_its_records_are_those_of_the_definition(simulator: str) -> None:
    assert output(simulator, "check").startswith("0 of ")


def test_threads_do_not_change_the_result(simulator: str) -> None:
    cell = [simulator, "cell", "5", "50", "5", "10", "500"]
    one, two = (output(*cell, "--threads", threads) for threads in ("1", "2"))
    assert one == two
    assert output(*cell, "--seed", "7") != one


def test_it_refuses_what_it_cannot_simulate(simulator: str) -> None:
    refused = subprocess.run([simulator, "cell", "0", "50", "5", "10", "500"], capture_output=True)
    assert refused.returncode == 2
    assert b"usage" in refused.stderr
