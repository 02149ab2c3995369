"""The world that failures happen in, with profiles of the plant's models made from files as a user makes them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import EDGEMON
from tests.failures.acts import DeviceFailure
from tests.failures.catalogue import Failure
from tests.failures.plant import REFERENCE_ROWS, Plant, write_reference
from tests.failures.world import World


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


@pytest.fixture
def note_delay() -> Callable[[str, str], None]:
    """note_delay(name, delay): for the table in docs/failures.md, where `make failures` asks for it."""

    def note(name: str, delay: str) -> None:
        if path := os.environ.get("EDGEMON_FAILURES"):
            with Path(path).open("a") as file:
                file.write(json.dumps([name, delay]) + "\n")

    return note


@pytest.fixture
def world(request: pytest.FixtureRequest, short_tmp: Path, profiles: Path) -> Iterator[World]:
    """Of the test's `failure`, running and well."""
    failure: Failure | DeviceFailure = request.getfixturevalue("failure")
    made = failure.world(short_tmp, profiles)
    made.start()
    yield made
    made.stop()
