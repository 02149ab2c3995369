"""The C core on ARM, under emulation: what scipy said on the host, replayed; the kernels' own checks.

The replay also runs on this machine, so that it is tested where there is no compiler for ARM, and
since what it prints holds a checksum of results that must be the same bits everywhere.
"""

from __future__ import annotations

import ast
import functools
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.core.test_sanitizers import CSRC, HERE, KERNELS, STRICT, compiler
from tests.drift.test_golden_ks import golden

REPLAYED = ("crc32c", "esr", "ks", "moments", "pvalue")


class Target(NamedTuple):
    compiler: str
    emulator: str
    packages: str
    flags: str = ""

    def compiles(self) -> bool:
        """There may be a compiler without its C library."""
        if shutil.which(self.compiler) is None:
            return False
        command = [self.compiler, "-print-file-name=libc.a"]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        return Path(found).is_absolute()


ARM64 = Target(
    "aarch64-linux-gnu-gcc",
    "qemu-aarch64-static",
    "gcc-aarch64-linux-gnu, libc6-dev-arm64-cross",
)
TARGETS = {
    "arm64": ARM64,
    "arm64-crc": ARM64._replace(flags="-march=armv8-a+crc"),
    "armhf": Target(
        "arm-linux-gnueabihf-gcc",
        "qemu-arm-static",
        "gcc-arm-linux-gnueabihf, libc6-dev-armhf-cross",
    ),
}


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> Target:
    chosen = TARGETS[request.param]
    if shutil.which(chosen.emulator) is None or not chosen.compiles():
        pytest.skip(f"needs {chosen.packages} and qemu-user-static")
    return chosen


def flags_of_the_extensions() -> list[str]:
    found = re.search(r"^CFLAGS = (\[.*\])$", (HERE.parent.parent / "setup.py").read_text(), re.M)
    assert found is not None
    flags: list[str] = ast.literal_eval(found[1])
    assert "-O3" in flags and "-ffp-contract=off" in flags
    return flags


def build(cc: list[str], driver: str, kernels: tuple[str, ...], program: Path) -> Path:
    sources = [HERE / driver, *(CSRC / f"em_{name}.c" for name in kernels)]
    subprocess.run(
        [*cc, *STRICT.split(), *flags_of_the_extensions(), f"-I{CSRC}"]
        + [str(source) for source in sources]
        + ["-lm", "-o", str(program)],
        check=True,
    )
    return program


def build_for(target: Target, driver: str, kernels: tuple[str, ...], program: Path) -> Path:
    return build([target.compiler, "-static", *target.flags.split()], driver, kernels, program)


@functools.cache
def golden_text() -> str:
    """The goldens in the form that golden_replay.c reads."""
    lines = []
    for case in golden()["windows"]:
        sample, window = case["sample"], case["window"]
        numbers = [len(sample), len(window), case["h"], case["lcm"], case["p"], *sample, *window]
        lines.append(" ".join(["window", *map(str, numbers)]))
    for case in golden()["streams"]:
        sample, stream, alarms = case["sample"], case["stream"], case["alarms"]
        sizes = [len(sample), len(stream), case["n"], case["threshold"], len(alarms)]
        lines.append(" ".join(["stream", *map(str, [*sizes, *sample, *stream, *alarms])]))
    return "\n".join(lines) + "\n"


def replay(command: list[str], text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def host_program(tmp_path_factory: pytest.TempPathFactory) -> str:
    program = tmp_path_factory.mktemp("host") / "golden_replay"
    return str(build(compiler(), "golden_replay.c", REPLAYED, program))


def test_kernels_alone_give_what_scipy_gave(host_program: str) -> None:
    alarms = sum(len(case["alarms"]) for case in golden()["streams"])
    run = replay([host_program], golden_text())
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(f"300 windows, 60 streams, {alarms} alarms, bits ")


def test_portable_kernels_give_the_same_bits(host_program: str, tmp_path: Path) -> None:
    cc = [*compiler(), "-DEM_PORTABLE"]
    portable = build(cc, "golden_replay.c", REPLAYED, tmp_path / "portable")
    run = replay([str(portable)], golden_text())
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == replay([host_program], golden_text()).stdout


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("window 2 2 1 2 1.0 0 1 1 2", "window 2 2 2 2 1.0 0 1 1 2"),  # h
        ("window 2 2 1 2 1.0 0 1 1 2", "window 2 2 1 4 1.0 0 1 1 2"),  # lcm
        ("window 2 2 1 2 1.0 0 1 1 2", "window 2 2 1 2 1.00000001 0 1 1 2"),  # p
        ("stream 1 4 1 1 2 0 0 1 0 2 1 3", "stream 1 4 1 1 1 0 0 1 0 2 1"),  # one alarm too many
        ("stream 1 4 1 1 2 0 0 1 0 2 1 3", "stream 1 4 1 1 2 0 0 1 0 2 1 2"),  # at another place
        ("stream 1 4 1 1 2 0 0 1 0 2 1 3", "stream 1 4 1 2 2 0 0 1 0 2 1 3"),  # threshold
        ("stream 1 4 1 1 2 0 0 1 0 2 1 3", "stream 1 4 1 1 2 0 0 1 0"),  # cut short
    ],
)
def test_replay_refuses_any_other_answer(host_program: str, right: str, wrong: str) -> None:
    assert replay([host_program], right).returncode == 0
    refused = replay([host_program], wrong)
    assert refused.returncode == 1 and "golden_replay.c" in refused.stderr


def test_on_arm_kernels_give_what_scipy_gave_and_the_bits_of_this_machine(
    host_program: str, target: Target, tmp_path: Path
) -> None:
    program = build_for(target, "golden_replay.c", REPLAYED, tmp_path / "golden_replay")
    run = replay([target.emulator, str(program)], golden_text())
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == replay([host_program], golden_text()).stdout


@pytest.mark.parametrize(
    ("driver", "kernels"),
    [("kernels.c", KERNELS), ("../wire/kernels.c", ("columns",))],
    ids=["core", "wire"],
)
def test_on_arm_kernels_pass_their_checks(
    target: Target, tmp_path: Path, driver: str, kernels: tuple[str, ...]
) -> None:
    program = build_for(target, driver, kernels, tmp_path / "kernels")
    run = replay([target.emulator, str(program)], "")
    assert (run.returncode, run.stdout, run.stderr) == (0, "done\n", "")


def test_checksum_on_arm64_takes_the_instruction_where_it_is_compiled_for() -> None:
    if not ARM64.compiles():
        pytest.skip(f"needs {ARM64.packages}")
    source = ["-O3", "-S", "-o", "-", str(CSRC / "em_crc32c.c")]
    assembly = {
        name: subprocess.run(
            [ARM64.compiler, *TARGETS[name].flags.split(), *source],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name in ("arm64", "arm64-crc")
    }
    assert "crc32cx" in assembly["arm64-crc"] and "crc32cx" not in assembly["arm64"]
