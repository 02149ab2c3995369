"""The profiles of the plant's models, made from files as a user makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e.harness import EDGEMON
from tests.failures.plant import REFERENCE_ROWS, Plant, write_reference


@pytest.fixture(scope="session")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wear.profile and eye.profile."""
    folder = tmp_path_factory.mktemp("profiles")
    plant = Plant(1)
    for model, rows in (("wear", plant.wear(REFERENCE_ROWS)), ("eye", plant.eye(REFERENCE_ROWS))):
        write_reference(folder / f"{model}.jsonl", rows, model)
        subprocess.run(
            [*EDGEMON, "profile", "build", f"{model}.jsonl", "--name", model, "--out", f"{model}.profile"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
    return folder
