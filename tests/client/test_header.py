"""The header for applications in C: every standard, every warning, C++, and the sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.client.collector import Collector
from tests.core.test_sanitizers import SANITIZE, compiler

HERE = Path(__file__).parent
CSRC = HERE.parent.parent / "csrc"
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
IMPLEMENTATION = '#define EDGEMON_CLIENT_IMPLEMENTATION\n#include "edgemon_client.h"\n'


def build(folder: Path, sources: list[Path], *options: str) -> Path:
    """A program, compiled with every warning as an error."""
    program = folder / "program"
    include = f"-I{CSRC / 'include'}"
    command = [*compiler(), *STRICT, *options, include, *map(str, sources), "-o", str(program)]
    subprocess.run([*command, "-pthread"], check=True)
    return program


@pytest.mark.parametrize("standard", ["c99", "gnu99", "c11", "gnu17"])
def test_it_compiles_in_every_c_without_a_warning(tmp_path: Path, standard: str) -> None:
    source = tmp_path / "client.c"
    source.write_text(IMPLEMENTATION + "int main(void) { return 0; }\n")
    build(tmp_path, [source], f"-std={standard}", "-Wstrict-prototypes", "-O2")


@pytest.mark.parametrize("other", ["clang", "arm-linux-gnueabihf-gcc", "aarch64-linux-gnu-gcc"])
def test_other_compilers_have_nothing_to_say_either(tmp_path: Path, other: str) -> None:
    if shutil.which(other) is None:
        pytest.skip(f"needs {other}")
    source = tmp_path / "client.c"
    source.write_text(IMPLEMENTATION + "int main(void) { return 0; }\n")
    command = [other, *STRICT, "-std=c99", "-O2", f"-I{CSRC / 'include'}", str(source)]
    subprocess.run([*command, "-o", str(tmp_path / "program"), "-pthread"], check=True)


@pytest.mark.parametrize("standard", ["c++11", "c++20"])
def test_it_compiles_and_runs_in_cpp(tmp_path: Path, standard: str, collector: Collector) -> None:
    if shutil.which("g++") is None:
        pytest.skip("needs g++ (Debian: apt-get install g++)")
    source = tmp_path / "program.cpp"
    source.write_text(
        IMPLEMENTATION
        + """
int main(int, char **argv) {
    edgemon_options options = edgemon_options();
    options.socket = argv[1];
    edgemon_client *client = edgemon_open(&options);
    edgemon_prediction prediction = edgemon_prediction();
    prediction.model = "from C++";
    prediction.output_text = "cat";
    edgemon_log(client, &prediction);
    int all = edgemon_flush(client, EDGEMON_MEMORY, 20.0);
    edgemon_free(client);
    return all ? 0 : 1;
}
"""
    )
    program = tmp_path / "program"
    subprocess.run(
        ["g++", *STRICT, f"-std={standard}", f"-I{CSRC / 'include'}", str(source), "-o", str(program), "-pthread"],
        check=True,
    )  # fmt: skip
    subprocess.run([program, collector.path], check=True, timeout=60)
    assert collector.events == [["from C++", "cat"]]


def test_an_include_that_comes_too_late_says_what_to_do(tmp_path: Path) -> None:
    source = tmp_path / "client.c"
    source.write_text(f"#include <stdio.h>\n{IMPLEMENTATION}int main(void) {{ return 0; }}\n")
    done = subprocess.run(
        [*compiler(), "-std=c99", f"-I{CSRC / 'include'}", "-fsyntax-only", str(source)],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "include it before system headers, or compile with -std=gnu99" in done.stderr


@pytest.mark.parametrize(
    ("sanitizers", "fork"),
    [(SANITIZE, "early"), ("-fsanitize=thread", "early"), ("-O2", "late")],
    ids=["address", "thread", "none"],
)
def test_threads_a_fork_and_bad_input_with_and_without_sanitizers(
    tmp_path: Path, collector: Collector, sanitizers: str, fork: str
) -> None:
    probe = tmp_path / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    built = subprocess.run(
        [*compiler(), *sanitizers.split(), str(probe), "-o", str(tmp_path / "probe")],
        capture_output=True,
    )
    if built.returncode != 0 or subprocess.run([tmp_path / "probe"]).returncode != 0:
        pytest.skip(f"needs a compiler with {sanitizers}")
    client = tmp_path / "client.c"
    client.write_text(IMPLEMENTATION)
    program = build(
        tmp_path, [HERE / "stress.c", client], "-std=gnu99", "-O1", "-g", *sanitizers.split()
    )
    done = subprocess.run(
        [program, collector.path, fork],
        capture_output=True,
        text=True,
        timeout=120,
        env=dict(os.environ, TSAN_OPTIONS="die_after_fork=0"),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 20001 20001 1\n", "")
    of_model: dict[str, list[object]] = {}
    for event in collector.events:
        if isinstance(event, dict):
            assert event == {"metric": "begun", "value": 1.0}
            continue
        of_model.setdefault(event[0], []).append(event[4] if len(event) > 4 else None)
    assert len(of_model.pop("child")) == 100
    for name in "abcd":
        assert of_model[name] == [str(number) for number in range(5_000)]
