"""The frame: one table of commands, errors as lines and exit codes, and nothing imported in vain."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from edgemon import cli
from edgemon.cli import COMMANDS, Command, add_config_argument, main
from edgemon.errors import (
    ConfigError,
    DamagedError,
    EdgemonError,
    Fault,
    LockedError,
    UnreachableError,
    UnsupportedError,
)
from edgemon.version import VERSION

FAKE = "edgemon.cli.fake"


class Fake(ModuleType):
    """A command that does what a test says."""

    EPILOG = "edgemon fake --count 3"

    def __init__(self) -> None:
        super().__init__(FAKE)
        self.CONFIG_ONLY = False
        self.outcome: Any = 0
        self.arguments: Any = None

    def add_arguments(self, parser: Any) -> None:
        add_config_argument(parser)
        parser.add_argument("--count", type=int, default=1)
        inner = parser.add_subparsers(dest="verb")
        inner.add_parser("ls", epilog="edgemon fake ls").add_argument("--all", action="store_true")

    def run(self, arguments: Any) -> int:
        self.arguments = arguments
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        result: int = self.outcome() if callable(self.outcome) else self.outcome
        return result


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    module = Fake()
    monkeypatch.setitem(sys.modules, FAKE, module)
    monkeypatch.setattr(cli, "COMMANDS", (*COMMANDS, Command("fake", "do as told")))
    return module


# --- what is printed without a command -------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--debug", "--help"]])
def test_help_lists_every_command_with_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n  {command.name:<9} {command.summary}\n" in text
    assert "example:" in text
    assert text.endswith(
        "exit codes:\n" + "".join(f"  {code:<9} {said}\n" for code, said in cli.EXIT_CODES.items())
    )
    assert max(map(len, text.splitlines())) <= 100


def test_the_commands_are_those_that_the_design_names() -> None:
    names = "init check config run agent ship receive decode profile drift send status selftest top report"
    names += " plugin remote spool demo"
    assert " ".join(command.name for command in COMMANDS) == names


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"edgemon {VERSION}\n"


def test_no_command_is_a_wrong_call_and_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", cli.help_text())


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("chek", 'no command "chek"; did you mean "check"? (see edgemon --help)'),
        ("Status", 'no command "Status"; did you mean "status"? (see edgemon --help)'),
        ("recieve", 'no command "recieve"; did you mean "receive"? (see edgemon --help)'),
        ("xyzzy", 'no command "xyzzy" (see edgemon --help)'),
        ("--verbose", "unknown option --verbose before the command (see edgemon --help)"),
    ],
)
def test_an_unknown_command_names_the_nearest(
    name: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name]) == 2
    assert capsys.readouterr().err == f"edgemon: {line}\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["decode", "nowhere/batch.zst"], "nowhere/batch.zst: no such file or directory"),
        (["decode", "/"], "/: is a directory"),
        (["init", "--out=nowhere/new.toml"], "nowhere/new.toml: no such file or directory"),
        (["remote", "key", "--out", "nowhere/key"], "nowhere/key: no such file or directory"),
    ],
)
def test_a_file_of_the_command_line_that_is_not_there_is_a_wrong_call(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err == f"edgemon: {reason}\n"


def test_help_imports_no_command_and_no_argparse() -> None:
    program = (
        "import sys; sys.argv = ['edgemon', '--help']; from edgemon.cli import main; main();"
        "print(sorted(m for m in sys.modules if m.startswith('edgemon.cli.') "
        "or m in ('argparse', 'tomllib', 'logging')), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == "[]\n"


# --- commands --------------------------------------------------------------------------------


def test_the_arguments_reach_the_command_and_its_code_comes_back(fake: Fake) -> None:
    fake.outcome = 1
    assert main(["fake", "--config", "f.toml", "--count", "3"]) == 1
    assert fake.arguments.config == "f.toml"
    assert fake.arguments.count == 3
    assert fake.arguments.debug is False


@pytest.mark.parametrize(
    "words",
    [
        ["--debug", "fake", "ls", "--all"],
        ["fake", "--debug", "ls", "--all"],
        ["fake", "ls", "--all", "--debug"],
    ],
)
def test_debug_may_stand_anywhere(fake: Fake, words: list[str]) -> None:
    assert main(words) == 0
    assert fake.arguments.debug is True
    assert fake.arguments.verb == "ls"


def test_help_of_a_command_and_of_its_subcommand_has_an_example(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fake", "--help"]) == 0
    text = capsys.readouterr().out
    assert "usage: edgemon fake" in text
    assert "do as told" in text
    assert text.endswith("example:\n  edgemon fake --count 3\n")
    assert main(["fake", "ls", "--help"]) == 0
    assert capsys.readouterr().out.endswith("example:\n  edgemon fake ls\n")
    assert fake.arguments is None


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--cout=3"],
            'edgemon fake: unrecognized arguments: --cout=3; did you mean "--count"?',
        ),
        (["--zzzz=3"], "edgemon fake: unrecognized arguments: --zzzz=3"),
        (["--count", "x"], "edgemon fake: argument --count: invalid int value: 'x'"),
        (["ls", "--al"], 'edgemon fake: unrecognized arguments: --al; did you mean "--all"?'),
    ],
)
@pytest.mark.usefixtures("fake")
def test_a_wrong_call_is_one_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fake", *words]) == 2
    assert capsys.readouterr().err == f"{line} (see edgemon fake --help)\n"


@pytest.mark.parametrize(
    ("words", "config"),
    [([], None), (["--config", "f"], "f"), (["--config=f=g"], "f=g"), (["--config="], "")],
)
def test_a_command_with_no_other_option_than_config_does_without_argparse(
    fake: Fake, words: list[str], config: str | None
) -> None:
    fake.CONFIG_ONLY = True
    assert main(["fake", *words]) == 0
    assert isinstance(fake.arguments, SimpleNamespace)
    assert fake.arguments.config == config


@pytest.mark.parametrize("words", [["--config"], ["--config", "--count"], ["-x"], ["a"]])
def test_anything_else_for_it_goes_to_argparse(
    fake: Fake, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.CONFIG_ONLY = True
    assert main(["fake", *words]) == 2
    assert capsys.readouterr().err.startswith("edgemon fake: ")


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (EdgemonError("no"), 1, "edgemon: no\n"),
        (DamagedError("torn"), 4, "edgemon: torn\n"),
        (UnsupportedError("newer"), 4, "edgemon: newer\n"),
        (UnreachableError("gone"), 5, "edgemon: gone\n"),
        (LockedError("held"), 6, "edgemon: held\n"),
        (
            ConfigError([Fault("f.toml", 0, "", "no such file")]),
            3,
            "edgemon: f.toml: no such file\n",
        ),
        (
            ConfigError([Fault("f.toml", 2, "a.b", "bad"), Fault("f.toml", 3, "a.c", "worse")]),
            3,
            "f.toml:2: a.b: bad\nf.toml:3: a.c: worse\nedgemon: 2 faults in f.toml\n",
        ),
        (FileNotFoundError(2, "No such file", "x.csv"), 1, "edgemon: x.csv: no such file\n"),
        (OSError(28, "No space left on device"), 1, "edgemon: no space left on device\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(
    fake: Fake, error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.outcome = error
    assert main(["fake"]) == code
    assert capsys.readouterr().err == line


def test_a_mistake_of_ours_is_one_line_that_says_where(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.outcome = ValueError("two\nlines")
    assert main(["fake"]) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"edgemon: internal error: ValueError: two lines ({__file__}:")
    assert line.endswith("); --debug shows more\n")
    assert line.count("\n") == 1


@pytest.mark.parametrize("error", [EdgemonError("no"), ValueError("oh"), KeyboardInterrupt()])
def test_debug_shows_where_an_error_comes_from(fake: Fake, error: BaseException) -> None:
    fake.outcome = error
    with pytest.raises(type(error)):
        main(["fake", "--debug"])


def test_a_closed_standard_error_does_not_hide_the_exit_code(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    fake.outcome = LockedError("held")
    assert main(["fake"]) == 6


def test_a_reader_that_goes_away_ends_the_command_in_silence() -> None:
    reader, writer = os.pipe()
    os.close(reader)  # so that the first write fails, as after `| head -1`
    buffered = {name: v for name, v in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-m", "edgemon", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=buffered,  # what is still in the buffer at exit must not fail once more
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


# --- what is not installed -------------------------------------------------------------------


def test_a_command_that_is_left_out_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "COMMANDS", (*COMMANDS, Command("nowhere", "is not there")))
    assert main(["--help"]) == 0
    assert "nowhere" not in capsys.readouterr().out
    assert main(["nowhre"]) == 2
    assert "nowhere" not in capsys.readouterr().err
    assert main(["nowhere"]) == 2
    assert capsys.readouterr().err == (
        'edgemon: "nowhere" is not part of this installation (edgemon.cli.nowhere is missing)\n'
    )


@pytest.mark.parametrize(("extra", "hint"), [("demo", "; install edgemon[demo]"), ("", "")])
def test_a_command_whose_dependency_is_missing_names_it(
    extra: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def import_module(name: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named 'rich' ({name})", name="rich")

    monkeypatch.setattr("edgemon.std.importlib.import_module", import_module)
    monkeypatch.setattr(cli, "COMMANDS", (Command("show", "", extra=extra),))
    assert main(["show"]) == 2
    assert capsys.readouterr().err == (
        f'edgemon: "show" needs the Python package rich, which is not installed{hint}\n'
    )


# --- the commands that there are -------------------------------------------------------------


def present() -> list[Command]:
    folder = Path(cli.__file__).parent
    return [command for command in COMMANDS if (folder / f"{command.name}.py").exists()]


@pytest.mark.parametrize("command", present(), ids=lambda command: command.name)
def test_each_command_keeps_to_the_frame(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        assert not (error.name or "").startswith("edgemon")
        pytest.skip(f"{command.name} needs {error.name}")
    assert callable(module.add_arguments)
    assert callable(module.run)
    assert f"edgemon {command.name}" in module.EPILOG
    assert main([command.name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: edgemon {command.name}")
    assert "example" in text.lower()


# --- the documentation -----------------------------------------------------------------------

DOCS = Path(cli.__file__).parents[2] / "docs" / "commands.md"


def test_the_documentation_has_a_section_for_each_command_in_order() -> None:
    sections = re.findall(r"^## edgemon (\w+)$", DOCS.read_text(encoding="utf-8"), re.M)
    assert sections == [command.name for command in COMMANDS]


def test_help_and_documentation_have_every_exit_code_that_there_is() -> None:
    def below(kind: type[EdgemonError]) -> set[int]:
        return {kind.exit_code}.union(*(below(inner) for inner in kind.__subclasses__()))

    codes = list(map(int, re.findall(r"^\| (\d+) \|", DOCS.read_text(encoding="utf-8"), re.M)))
    assert codes == list(cli.EXIT_CODES)
    assert set(codes) == below(EdgemonError) | {0, cli.INTERRUPTED, cli.PIPE_CLOSED}


def test_the_binarys_help_and_man_page_have_its_own_commands_and_the_exit_codes(
    tmp_path: Path,
) -> None:
    """It has no rich and no demo, and what needs a part that it leaves out is left out with it."""
    packaging = DOCS.parents[1] / "packaging"
    program = """
import sys
import bundle
from edgemon import cli

class Without:
    def __init__(self, finder):
        self.find = finder.find_spec
    def find_spec(self, name, path=None, target=None):
        return None if name in bundle.WORKSTATION else self.find(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
for command in cli.installed():
    cli._load(command)
print(cli.help_text())
"""
    run = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": f"{packaging}:{DOCS.parents[1]}"}
    done = subprocess.run(run, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed = re.findall(r"^  ([a-z]+) +\w", done.stdout.split("\noptions:")[0], re.M)
    assert set(listed) == {command.name for command in COMMANDS} - {"demo", "config"}

    subprocess.run([sys.executable, packaging / "texts.py", tmp_path], env=environment, check=True)
    man_page = (tmp_path / "edgemon.1").read_text()
    assert set(re.findall(r"^\.SS edgemon (\w+)$", man_page, re.M)) == set(listed)
    codes = re.findall(r"^\.TP\n\.B (\d+)\n(.+)$", man_page, re.M)
    assert {int(code): said for code, said in codes} == cli.EXIT_CODES


@pytest.mark.parametrize("name", ["init", "check"])
def test_the_documentation_names_every_option_of(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = DOCS.read_text(encoding="utf-8")
    section = (
        text.split(f"## edgemon {name}\n")[1].split("\n## ")[0] + text.split("\n## edgemon")[0]
    )
    main([name, "--help"])
    for option in re.findall(r"--[a-z-]+", capsys.readouterr().out):
        assert option in section


def _subcommands() -> list[tuple[str, str]]:
    found = []
    for command in COMMANDS:
        module = cli._load(command)
        parser = cli._make_parser(command, module)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                found += [(command.name, name) for name in action.choices]
    return found


@pytest.mark.parametrize(("name", "verb"), _subcommands())
def test_every_subcommand_has_an_example_under_its_help(
    name: str, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, verb, "--help"]) == 0
    _, _, example = capsys.readouterr().out.partition("\nexample:\n")
    assert f"edgemon {name} {verb}" in example
