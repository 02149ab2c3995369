from __future__ import annotations

import doctest
import importlib
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "autocorrelation",
        "build",
        "categorical",
        "changepoint",
        "confidence",
        "counts",
        "detector",
        "effects",
        "esr",
        "explain",
        "multinomial",
        "profile",
        "sources",
        "special",
        "threshold",
    ],
)
def test_examples_in_docstrings_are_true(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"edgemon.drift.{module}"))
    assert result.failed == 0


def test_what_the_agent_loads_for_drift_is_lean() -> None:
    code = (
        "import sys; before = set(sys.modules); import edgemon.drift.detector; "
        "print(' '.join(sorted(set(sys.modules) - before)))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"dataclasses", "logging", "inspect", "asyncio", "hashlib", "random", "json", "csv"}
    heavy |= {"numpy", "pathlib", "ast", "ssl", "statistics", "decimal", "fractions"}
    assert not heavy & set(loaded)
    ours = {name for name in loaded if name.startswith("edgemon.drift.")}
    offline = {"build", "sources"}
    assert not {f"edgemon.drift.{name}" for name in offline} & ours
