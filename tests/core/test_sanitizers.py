"""The kernels under AddressSanitizer and UndefinedBehaviorSanitizer, with their assertions on."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CSRC = HERE.parent.parent / "csrc"
KERNELS = (
    "ring", "moments", "sketch", "hist", "ks", "confidence", "crc32c", "esr", "pvalue", "window", "watch",
    "quality", "table", "join",
    "event", "json", "msgpack", "shape", "decimal", "utf8",
)  # fmt: skip
STRICT = "-std=c11 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wvla -Werror"
# A cast of a double that the integer cannot hold is not in the "undefined" group, and matters here.
SANITIZE = "-fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all"


def compiler() -> list[str]:
    command = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs a C compiler: {command[0]} is not there")
    return command


@pytest.mark.parametrize("dispatch", ["", "-DEM_PORTABLE"], ids=["processor", "portable"])
def test_kernels_have_no_undefined_behaviour(tmp_path: Path, dispatch: str) -> None:
    cc = compiler()
    probe = tmp_path / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    built = subprocess.run(
        [*cc, *SANITIZE.split(), str(probe), "-o", str(tmp_path / "probe")], capture_output=True
    )
    if built.returncode != 0 or subprocess.run([tmp_path / "probe"]).returncode != 0:
        pytest.skip("needs a compiler with the address and undefined-behaviour sanitizers")
    program = tmp_path / "kernels"
    sources = [HERE / "kernels.c", *(CSRC / f"em_{name}.c" for name in KERNELS)]
    subprocess.run(
        [*cc, *STRICT.split(), *SANITIZE.split(), "-O1", "-g", *dispatch.split(), f"-I{CSRC}"]
        + [str(source) for source in sources]
        + ["-lm", "-o", str(program)],
        check=True,
    )
    run = subprocess.run([program], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "done\n", "")
