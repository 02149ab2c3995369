"""The agent loads its configuration in a process that has 15 MB: what is imported for it is counted."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"logging", "argparse", "difflib", "dataclasses", "inspect", "pathlib", "hashlib", "ssl"}
HEAVY |= {"textwrap", "asyncio", "json", "edgemon.config.describe", "enum_", "socket", "grp"}

PROGRAM = """
import sys
before = set(sys.modules)
from edgemon.config import find_config, load, parse, reload, restart_keys
config = parse("[models.a]\\nwindow = '5s'")
restart_keys(config, config)
print("\\n".join(set(sys.modules) - before))
"""


def test_a_configuration_without_faults_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{PROGRAM}"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "tomllib" in loaded
    assert not loaded & HEAVY
