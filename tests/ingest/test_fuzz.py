"""The decoder in C under sanitizers: what fuzzing found is replayed by every run, the slow run fuzzes on.

An input of the corpus begins with two bytes that choose limits and reads (tests/ingest/fuzz/drive.h).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.core.test_arm64 import Target, target
from tests.core.test_sanitizers import CSRC, SANITIZE, STRICT, compiler
from tests.ingest.test_agreement import DEFAULT, SMALL, agree

__all__ = ["target"]  # a fixture

HERE = Path(__file__).parent
DECODER = [
    CSRC / f"em_{name}.c" for name in ("event", "json", "msgpack", "shape", "decimal", "utf8")
]
ENCODINGS = ("json", "msgpack")
CORPUS = {encoding: sorted((HERE / "corpus" / encoding).iterdir()) for encoding in ENCODINGS}
CHANGES = 30  # of each input


def build(cc: list[str], flags: list[str], driver: str, program: Path) -> Path:
    sources = [str(HERE / "fuzz" / driver), *map(str, DECODER)]
    subprocess.run(
        [*cc, *STRICT.split(), *flags, f"-I{CSRC}", *sources, "-lm", "-o", str(program)], check=True
    )
    return program


def sanitizers_work(cc: list[str], flags: list[str], source: str, where: Path) -> bool:
    probe = where / "probe.c"
    probe.write_text(source)
    command = [*cc, *flags, str(probe), "-o", str(where / "probe")]
    return (
        subprocess.run(command, capture_output=True).returncode == 0
        and subprocess.run([where / "probe", "-runs=1"], capture_output=True).returncode == 0
    )


def replay(command: list[str], encoding: str) -> str:
    """What the replay of the corpus and of many changes of it prints; it ends in a hash of every event."""
    run = subprocess.run(
        [*command, encoding, str(CHANGES), *map(str, CORPUS[encoding])],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(f"{len(CORPUS[encoding])} inputs, ")
    return run.stdout


@pytest.fixture(scope="module")
def host_program(tmp_path_factory: pytest.TempPathFactory) -> str:
    where = tmp_path_factory.mktemp("host")
    return str(build(compiler(), ["-O2"], "replay.c", where / "replay"))


@pytest.mark.parametrize("dispatch", ["", "-DEM_PORTABLE"], ids=["processor", "portable"])
def test_the_corpus_and_changes_of_it_are_read_without_undefined_behaviour(
    dispatch: str, host_program: str, tmp_path: Path
) -> None:
    cc, flags = compiler(), SANITIZE.split()
    if not sanitizers_work(cc, flags, "int main(void) { return 0; }\n", tmp_path):
        pytest.skip("needs a compiler with the address and undefined-behaviour sanitizers")
    program = build(cc, [*flags, "-O1", "-g", *dispatch.split()], "replay.c", tmp_path / "replay")
    for encoding in ENCODINGS:
        assert replay([str(program)], encoding) == replay([host_program], encoding)


@pytest.mark.parametrize("target", ["arm64", "armhf"], indirect=True)
def test_on_arm_the_corpus_gives_the_events_of_this_machine(
    host_program: str, target: Target, tmp_path: Path
) -> None:
    cc = [target.compiler, "-static", *target.flags.split()]
    program = build(cc, ["-O2"], "replay.c", tmp_path / "replay")
    for encoding in ENCODINGS:
        assert replay([target.emulator, str(program)], encoding) == replay([host_program], encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_corpus_agrees_with_the_oracle(encoding: str) -> None:
    for file in CORPUS[encoding]:
        data = file.read_bytes()[2:]
        if (data[:1] == b"{") == (encoding == "json"):
            for limits in (DEFAULT, SMALL):
                agree(data, limits)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_fuzzing_finds_nothing(encoding: str, tmp_path: Path) -> None:
    """EDGEMON_FUZZ_SECONDS (240) of libFuzzer for each encoding. What it finds goes into tests/ingest/corpus."""
    seconds = int(os.environ.get("EDGEMON_FUZZ_SECONDS", "240"))
    flags = f"{SANITIZE} -fsanitize=fuzzer -O2 -g".split()
    probe = (
        "int LLVMFuzzerTestOneInput(const unsigned char *data, unsigned long size);\n"
        "int LLVMFuzzerTestOneInput(const unsigned char *data, unsigned long size)"
        " { return data == 0 && size; }\n"
    )
    if shutil.which("clang") is None or not sanitizers_work(["clang"], flags, probe, tmp_path):
        pytest.skip("needs clang with libFuzzer (Debian: clang)")
    program = build(
        ["clang"], [*flags, f"-DENCODING=EM_{encoding.upper()}"], "fuzz.c", tmp_path / "fuzz"
    )
    found = tmp_path / "found"
    found.mkdir()
    command = f"-max_total_time={seconds} -max_len=4096 -rss_limit_mb=1024 -timeout=10 -verbosity=0"
    command += (
        f" -dict={HERE}/fuzz/{encoding}.dict -artifact_prefix={HERE}/corpus/{encoding}/crash-"
    )
    run = subprocess.run(
        [str(program), *command.split(), str(found), str(HERE / "corpus" / encoding)],
        capture_output=True,
        text=True,
        timeout=seconds + 120,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert len(list(found.iterdir())) > 100  # it did find its way through the code
