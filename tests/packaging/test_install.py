"""install.sh into a root of its own: what it puts there, what it refuses in one line, and that it takes all away."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edgemon.version import VERSION
from tests.packaging.container import ROOT, system

PACKAGING = ROOT / "packaging"
SCRIPT = PACKAGING / "install.sh"
# Debian's default shell, and that of small systems.
SHELLS = [["dash"], ["busybox", "sh"], ["bash"]]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: install.sh does")


def header(bits: int, machine: int) -> bytes:
    """The beginning of an ELF file of that processor."""
    head = bytearray(b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(57))
    head[16:20] = bytes([2, 0, machine, 0])
    return bytes(head)


ARM32, ARM64, X86 = header(32, 0x28), header(64, 0xB7), header(64, 0x3E)
GLIBC = b"\0x\0GNU C Library (Debian GLIBC %s-9+deb12u10) stable release version %s.\nCopyright"
LIBC = "lib/aarch64-linux-gnu/libc.so.6"


def has_glibc(file: Path, kind: bytes, version: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(kind + GLIBC % (version, version))


@pytest.fixture(params=SHELLS, ids=" ".join)
def shell(request: pytest.FixtureRequest) -> list[str]:
    words: list[str] = request.param
    if shutil.which(words[0]) is None:
        pytest.skip(f"needs {words[0]}")
    return words


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The root of a 64-bit ARM system with glibc and systemd, and with a user whose number is taken."""
    root = tmp_path / "image"
    for folder in ("bin", "etc/systemd/system", "usr/local"):
        (root / folder).mkdir(parents=True)
    (root / "bin/sh").write_bytes(ARM64)
    has_glibc(root / LIBC, ARM64, b"2.36")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nsome:x:999:999::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nsome:x:999:\n")
    return root


def run(shell: list[str], *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*shell, str(SCRIPT), *map(str, words)],
        env=os.environ | {"EDGEMON_LOCK": str(PACKAGING)} | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    for word in (*words, "nothing was installed"):
        assert word in done.stderr


def test_a_single_file_goes_into_an_image_and_out_again(
    shell: list[str], image: Path, tmp_path: Path
) -> None:
    binary = tmp_path / "edgemon-0.1.0-linux-arm64"
    binary.write_bytes(ARM64 + b"the program")
    before = files(image)
    done = run(shell, "--root", image, binary)
    assert (done.returncode, done.stderr) == (0, "")
    installed = image / "usr/local/bin/edgemon"
    assert installed.read_bytes() == binary.read_bytes()
    assert installed.stat().st_mode & 0o777 == 0o755
    assert "edgemon:x:998:998::/var/lib/edgemon:" in (image / "etc/passwd").read_text()
    state = (image / "var/lib/edgemon").stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o777) == (998, 998, 0o750)
    units = image / "etc/systemd/system"
    assert {unit.name for unit in units.glob("edgemon-*") if unit.is_file()} == {
        unit.name for unit in (PACKAGING.parent / "systemd").iterdir()
    }
    agent = (units / "edgemon-agent.service").read_text()
    assert "ExecStart=/usr/local/bin/edgemon agent" in agent and "/usr/bin/edgemon" not in agent
    assert "NotifyAccess=all" in (units / "edgemon-agent.service.d/single-file.conf").read_text()

    (image / "var/lib/edgemon/spool").write_text("collected")
    again = run(shell, "--root", image, binary)
    assert again.returncode == 0
    assert (image / "etc/passwd").read_text().count("\nedgemon:") == 1

    assert run(shell, "--root", image, "--uninstall").returncode == 0
    assert files(image) - before == {"var/lib/edgemon/spool"}
    assert run(shell, "--root", image, "--uninstall", "--purge").returncode == 0
    assert files(image) == before


def test_armv6_is_refused(shell: list[str], image: Path, tmp_path: Path) -> None:
    binary = tmp_path / "edgemon-0.1.0-linux-armhf"
    binary.write_bytes(ARM32)
    (image / "bin/sh").write_bytes(ARM32)
    has_glibc(image / "lib/libc.so.6", ARM32, b"2.36")
    before = files(image)
    refused(run(shell, "--root", image, binary, EDGEMON_MACHINE="armv6l"), "armv6l", "ARMv7")
    assert files(image) == before
    assert run(shell, "--root", image, binary, EDGEMON_MACHINE="armv7l").returncode == 0


@pytest.mark.parametrize(
    ("userland", "binary", "said"),
    [(ARM32, ARM64, "under a 64-bit kernel"), (ARM64, ARM32, "armhf"), (ARM64, X86, "amd64")],
)
def test_the_wrong_userland_is_refused(
    shell: list[str], image: Path, tmp_path: Path, userland: bytes, binary: bytes, said: str
) -> None:
    file = tmp_path / "edgemon"
    file.write_bytes(binary)
    (image / "bin/sh").write_bytes(userland)
    before = files(image)
    refused(run(shell, "--root", image, file, EDGEMON_MACHINE="aarch64"), said)
    assert files(image) == before


def test_an_old_glibc_is_refused(shell: list[str], tmp_path: Path) -> None:
    """Not into an image: into this very system, were it not refused."""
    file = tmp_path / "edgemon"
    shutil.copy("/bin/true", file)
    for found in ("2.31", "1.99"):  # JetPack 5 has 2.31
        refused(run(shell, file, EDGEMON_GLIBC=found), found, "2.35")
    assert not Path("/usr/local/bin/edgemon").exists()


@pytest.mark.parametrize("place", [LIBC, "lib/libc.so.6", "usr/lib64/libc.so.6"])
def test_an_image_with_an_old_glibc_is_refused(
    shell: list[str], image: Path, tmp_path: Path, place: str
) -> None:
    """Whatever this machine has, and whatever another processor's programs find in the image."""
    file = tmp_path / "edgemon"
    file.write_bytes(ARM64)
    (image / LIBC).unlink()
    has_glibc(image / "lib/arm-linux-gnueabihf/libc.so.6", ARM32, b"2.41")
    has_glibc(image / place, ARM64, b"2.31")
    before = files(image)
    refused(run(shell, "--root", image, file), "2.31", "2.35")
    assert files(image) == before
    has_glibc(image / place, ARM64, b"2.35")
    assert run(shell, "--root", image, file).returncode == 0


def test_musl_is_refused(shell: list[str], image: Path, tmp_path: Path) -> None:
    (image / LIBC).unlink()
    (image / "lib/ld-musl-aarch64.so.1").write_bytes(ARM64 + b"musl libc")
    before = files(image)
    file = tmp_path / "edgemon"
    file.write_bytes(ARM64)
    refused(run(shell, "--root", image, file), "musl", "2.35")
    assert files(image) == before

    shutil.copy("/bin/true", file)
    says_no = tmp_path / "bin/getconf"  # as that of musl does
    says_no.parent.mkdir()
    says_no.write_text("#!/bin/sh\necho getconf: GNU_LIBC_VERSION: unknown variable >&2\nexit 1\n")
    says_no.chmod(0o755)
    path = f"{says_no.parent}:{os.environ['PATH']}"
    refused(run(shell, file, PATH=path), "musl", "2.35")
    assert not Path("/usr/local/bin/edgemon").exists()


def test_the_glibc_of_an_image_is_read_from_its_library(shell: list[str], tmp_path: Path) -> None:
    """This machine's own, as a file."""
    with open("/proc/self/maps") as maps:
        library = next(line.split()[-1] for line in maps if "/libc.so.6" in line)
    (tmp_path / "image/bin").mkdir(parents=True)
    (tmp_path / "image/lib").mkdir()
    shutil.copy("/bin/sh", tmp_path / "image/bin/sh")
    shutil.copy(library, tmp_path / "image/lib/libc.so.6")
    shown = tmp_path / "shown.sh"
    shown.write_text(SCRIPT.read_text().partition("# -- units")[0] + 'glibc "$(userland)"\n')
    said = subprocess.check_output(
        [*shell, str(shown), "--root", str(tmp_path / "image"), "any"], text=True
    )
    assert f"glibc {said}" == f"{os.confstr('CS_GNU_LIBC_VERSION')}\n"


def test_no_program_is_refused(shell: list[str], image: Path, tmp_path: Path) -> None:
    file = tmp_path / "edgemon"
    file.write_text("#!/bin/sh\n")
    done = run(shell, "--root", image, file)
    assert done.returncode == 1 and "no program" in done.stderr


def package(folder: Path, arch: str, name: str = "edgemon") -> Path:
    """A .deb for that processor with nothing in it."""
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: 0\nArchitecture: {arch}\nMaintainer: x\nDescription: x\n"
        "Depends: libc6 (>= 2.35), passwd\n"
    )
    deb = folder / f"edgemon_0_{arch}.deb"
    subprocess.run(["dpkg-deb", "--build", str(tree), str(deb)], check=True, capture_output=True)
    return deb


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
def test_a_deb_on_armv6_is_refused(shell: list[str], tmp_path: Path) -> None:
    """Raspbian calls its packages armhf too."""
    deb = package(tmp_path, "armhf")
    said = run(shell, deb, EDGEMON_DEB_ARCH="armhf", EDGEMON_MACHINE="armv6l")
    refused(said, "armv6l", "ARMv7")


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
def test_a_deb_of_another_processor_or_for_a_newer_glibc_is_refused(
    shell: list[str], tmp_path: Path
) -> None:
    deb = package(tmp_path, "arm64")
    refused(run(shell, deb, EDGEMON_DEB_ARCH="armhf"), "arm64", "armhf")
    refused(run(shell, deb, EDGEMON_DEB_ARCH="arm64", EDGEMON_GLIBC="2.31"), "2.31", "2.35")


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
def test_another_package_is_refused(shell: list[str], tmp_path: Path) -> None:
    deb = package(tmp_path, "amd64", "hello")
    refused(run(shell, deb, EDGEMON_DEB_ARCH="amd64", EDGEMON_GLIBC="2.31"), "hello")


@pytest.mark.parametrize("words", [[], ["--sideways"], ["--root"], ["one", "two"], ["/nowhere"]])
def test_a_wrong_call_says_so(shell: list[str], words: list[str]) -> None:
    done = run(shell, *words)
    assert done.returncode in (1, 2) and done.stdout + done.stderr


@pytest.mark.parametrize("root", ["", "/", "//", "/nowhere"])
def test_an_image_that_is_none_is_refused(shell: list[str], root: str) -> None:
    """--root "$IMAGE" without an IMAGE would mean the very machine that builds it."""
    # Were it not refused, the version of glibc would be.
    done = run(shell, "--root", root, "/bin/true", EDGEMON_GLIBC="1.99")
    assert done.returncode == 1 and "nothing was done" in done.stderr, done


@pytest.mark.parametrize("words", [["--uninstall", "edgemon"], ["--purge", "edgemon"]])
def test_a_call_that_means_two_things_does_nothing(
    shell: list[str], image: Path, words: list[str]
) -> None:
    before = files(image)
    done = run(shell, "--root", image, *words)
    assert done.returncode == 1 and "nothing was done" in done.stderr
    assert files(image) == before


def test_two_at_a_time_are_one(shell: list[str]) -> None:
    if shutil.which("flock") is None:
        pytest.skip("needs flock")
    folder = os.open(PACKAGING, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    done = run(shell, "/bin/true", EDGEMON_GLIBC="1.99")
    os.close(folder)
    assert (done.returncode, done.stderr) == (
        1, "install.sh: another install.sh is at work: nothing was done\n"
    )  # fmt: skip
    refused(run(shell, "/bin/true", EDGEMON_GLIBC="1.99"), "1.99")


def test_a_damaged_file_is_refused(shell: list[str], image: Path, tmp_path: Path) -> None:
    """By the sums that stand beside it; those of other files do not matter."""
    folder = tmp_path / "down loads"
    folder.mkdir()
    binary = folder / "edgemon-0.1.0-linux-arm64"
    binary.write_bytes(ARM64 + b"the program")
    other = f"{'0' * 64}  edgemon-0.0.9-linux-arm64\n{'1' * 64}  {binary.name}.cdx.json\n"
    (folder / "other.sha256").write_text(other)
    sums = folder / f"{binary.name}.sha256"
    before = files(image)
    for between in ("  ", " *"):
        sums.write_text(f"{other}{hashlib.sha256(b'another').hexdigest()}{between}{binary.name}\n")
        refused(run(shell, "--root", image, binary), str(binary), str(sums), "damaged")
        assert files(image) == before
        right = hashlib.sha256(binary.read_bytes()).hexdigest()
        sums.write_text(f"{other}{right}{between}{binary.name}\n")
        assert run(shell, "--root", image, binary).returncode == 0
        assert run(shell, "--root", image, "--uninstall", "--purge").returncode == 0


def test_a_program_of_that_name_that_is_not_ours_stays(
    shell: list[str], image: Path, tmp_path: Path
) -> None:
    """pip, as root, puts a script there."""
    script = image / "usr/local/bin/edgemon"
    script.parent.mkdir()
    script.write_text("#!/usr/bin/python3\n")
    binary = tmp_path / "edgemon"
    binary.write_bytes(ARM64)
    before = files(image)
    refused(run(shell, "--root", image, binary), "another program")
    assert run(shell, "--root", image, "--uninstall").returncode == 0
    assert files(image) == before


def test_the_administrators_own_units_stay(shell: list[str], image: Path) -> None:
    """`systemctl edit --full` of a package's unit puts one where those of the single file would be."""
    unit = image / "etc/systemd/system/edgemon-agent.service"
    unit.write_text("[Service]\nExecStart=/usr/bin/edgemon agent\n")
    assert run(shell, "--root", image, "--uninstall").returncode == 0
    assert unit.exists()


def test_services_can_read_it_whatever_roots_mask_is(image: Path, tmp_path: Path) -> None:
    binary = tmp_path / "edgemon"
    binary.write_bytes(ARM64)
    done = run(["sh", "-c", 'umask 077; exec sh "$@"', "sh"], "--root", image, binary)
    assert done.returncode == 0
    for path in (
        "usr/local/bin",
        "usr/local/bin/edgemon",
        "etc/edgemon",
        "etc/systemd/system/edgemon-ship.service.d",
    ):
        assert (image / path).stat().st_mode & 0o755 == 0o755, path
    assert (image / "etc/systemd/system/edgemon-ship.service").stat().st_mode & 0o777 == 0o644


def test_an_absolute_link_of_an_image_means_the_image(
    shell: list[str], image: Path, tmp_path: Path
) -> None:
    """As Yocto's update-alternatives makes them; this machine has other programs there."""
    (image / "bin/sh").rename(image / "bin/busybox.nosuid")
    (image / "bin/bash").symlink_to("busybox.nosuid")
    (image / "bin/sh").symlink_to("/bin/bash")
    binary = tmp_path / "edgemon"
    binary.write_bytes(ARM64)
    done = run(shell, "--root", image, binary)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_is_half_done_where_a_unit_cannot_be_made(
    shell: list[str], image: Path, tmp_path: Path
) -> None:
    """The program and the units that were there stay, each whole."""
    kit = tmp_path / "kit"
    shutil.copytree(PACKAGING.parent / "systemd", kit / "systemd")
    shutil.copy(SCRIPT, kit)
    binary = tmp_path / "edgemon"
    binary.write_bytes(ARM64 + b"old")
    words = [*shell, str(kit / "install.sh"), "--root", str(image), str(binary)]
    subprocess.run(words, check=True, capture_output=True)
    before = {path: (image / path).read_bytes() for path in files(image)}
    binary.write_bytes(ARM64 + b"new")
    unit = kit / "systemd/edgemon-ship.service"
    unit.unlink()
    unit.symlink_to("/nowhere")
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode != 0 and "edgemon-ship.service" in done.stderr
    assert {path: (image / path).read_bytes() for path in files(image)} == before


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_the_scripts_have_no_known_mistakes() -> None:
    on_devices = [SCRIPT, *(PACKAGING / "debian").iterdir()]
    subprocess.run(["shellcheck", "--shell=sh", *map(str, on_devices)], check=True, timeout=60)
    # Those that build split words, and read target.sh, on purpose.
    building = [*map(str, PACKAGING.glob("*.sh"))]
    subprocess.run(
        ["shellcheck", "--shell=bash", "--severity=error", *building], check=True, timeout=60
    )


@pytest.mark.slow
def test_the_single_file_on_a_system_without_packages(tmp_path: Path) -> None:
    """A small Debian without dpkg and apt, and without a service manager: installed, tried, upgraded, taken away."""
    binary = ROOT / f"dist/edgemon-{VERSION}-linux-amd64"
    if not binary.exists():
        pytest.skip(f"needs {binary.name}: make binary")
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", str(system()), str(root)], check=True)
    for program in [*root.glob("usr/bin/dpkg*"), *root.glob("usr/bin/apt*")]:
        program.unlink()
    kit = root / "kit"
    shutil.copytree(PACKAGING.parent / "systemd", kit / "systemd")
    shutil.copy(SCRIPT, kit)
    shutil.copy(binary, kit / "edgemon")

    def inside(*words: str) -> str:
        mounted = 'mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; exec chroot "$0" "$@"'
        done = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "sh", "-euc", mounted, str(root), *words],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    for what in ("; start it with:", "; restart it with:"):  # the second time it is an upgrade
        said = inside("sh", "/kit/install.sh", "/kit/edgemon")
        assert "checks done: 0 failed" in said and f"{what} /usr/local/bin/edgemon run" in said
    assert inside("edgemon", "--version") == f"edgemon {VERSION}\n"
    assert inside("stat", "-c", "%U %a", "/var/lib/edgemon").split() == ["edgemon", "750"]
    assert "sink" in inside("edgemon", "check", "--config", "/etc/edgemon/edgemon.toml")
    inside("sh", "/kit/install.sh", "--uninstall")
    assert (root / "etc/edgemon/edgemon.toml").exists()
    inside("sh", "/kit/install.sh", "--uninstall", "--purge")
    for gone in ("usr/local/bin/edgemon", "etc/edgemon", "var/lib/edgemon"):
        assert not (root / gone).exists(), gone
    assert "edgemon" not in (root / "etc/passwd").read_text()
