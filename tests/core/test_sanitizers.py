"""The kernels under AddressSanitizer and UndefinedBehaviorSanitizer, with their assertions on."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
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


def test_doubles_that_lie_at_odd_addresses_are_not_read_there(tmp_path: Path) -> None:
    """They would trap on some ARMv7 hardware. Here the compiler makes them trap, in a module of ours."""
    trapping = ["-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"]
    module = tmp_path / "moments.so"
    sources = [HERE.parents[1] / "edgemon/_core/moments.c", CSRC / "em_moments.c"]
    if not sources[0].exists():
        pytest.skip("needs what Cython made of the extensions")
    include = [f"-I{CSRC}", f"-I{sysconfig.get_path('include')}"]
    built = subprocess.run(
        [
            *compiler(),
            *trapping,
            "-O1",
            "-fPIC",
            "-shared",
            *include,
            *sources,
            "-lm",
            "-o",
            module,
        ],
        capture_output=True,
        text=True,
    )
    if "Python.h" in built.stderr or "sanitize" in built.stderr:
        pytest.skip("needs Python's headers and a compiler with the alignment sanitizer")
    assert built.returncode == 0, built.stderr
    program = """
import sys
from array import array
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
name = "edgemon._core.moments"
loader = ExtensionFileLoader(name, sys.argv[1])
module = module_from_spec(spec_from_file_location(name, sys.argv[1], loader=loader))
loader.exec_module(module)
moments = module.Moments()
odd = memoryview(bytearray(1) + array("d", [1.0, 2.0, 6.0]).tobytes())[1:].cast("d")
moments.push_many(odd)
print(moments.mean)
"""
    run = subprocess.run([sys.executable, "-c", program, str(module)], capture_output=True)
    assert (run.returncode, run.stdout) == (0, b"3.0\n"), run.stderr
