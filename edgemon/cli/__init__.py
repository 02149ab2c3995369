"""The command line's frame: one table of commands, one place that turns errors into exit codes.

A command is a module edgemon/cli/<name>.py with

    EPILOG                       an example that works when it is pasted
    add_arguments(parser)        its options; it may add subcommands of its own
    run(arguments) -> int        the exit code; errors are raised (EdgemonError)

and, for a process that lives long, CONFIG_ONLY = True: a call with no option but --config is then
read without argparse, which saves 0.6 MB, and `arguments` has config and debug alone. Only the
module of the command that is called is imported, so that `edgemon --help` answers at once, and a
command that an installation leaves out does no harm.
"""

from __future__ import annotations

import os
import sys

from edgemon.errors import ConfigError, EdgemonError, UsageError
from edgemon.std import importlib
from edgemon.std.types import ModuleType, SimpleNamespace
from edgemon.typed import TYPE_CHECKING, NamedTuple
from edgemon.version import VERSION

if TYPE_CHECKING:
    import argparse

INTERRUPTED = 130
# What a shell reports when SIGPIPE ended a program, as in `edgemon decode FILE | head`.
PIPE_CLOSED = 141


class Command(NamedTuple):
    """One row of `edgemon --help`.

    extra: the optional dependencies that it needs, for a hint.  needs: a module of ours without which it cannot be, and
    which an installation may leave out.
    """

    name: str
    summary: str
    extra: str = ""
    needs: str = ""

    @property
    def module(self) -> str:
        """Where it is; a neighbour, so that a row is all that a command needs."""
        return f"edgemon.cli.{self.name}"


COMMANDS = (
    Command("init", "write a commented configuration that works as it is"),
    Command("check", "say whether a configuration is right, and all that is not"),
    Command(
        "config",
        "turn another monitor's configuration into one of ours",
        extra="convert",
        needs="edgemon.config.convert",
    ),
    Command("run", "run agent and shipper, and keep them running"),
    Command("agent", "run the agent alone: socket, statistics, spool"),
    Command("ship", "run the shipper alone: from the spool to a broker or a folder"),
    Command("receive", "read batches from a broker, a folder or files into a store"),
    Command("decode", "show what batches and spool segments hold"),
    Command("profile", "build, show, compare or adopt what drift is tested against"),
    Command("drift", "test two files for drift, stream by stream"),
    Command("send", "send predictions from a file or a pipe to the agent"),
    Command("status", "show what comes in, what drifts, what waits and what was dropped"),
    Command("selftest", "try this binary on this device, in two seconds"),
    Command("top", "watch models, rates, drift, device and spool, live in the terminal"),
    Command("report", "one page with curves from a store or a spool, for a browser"),
    Command("plugin", "list plugins, and try one by hand"),
    Command("remote", "sign configuration for a device; there, see and drop it"),
    Command("spool", "look into the spool, check it, mend it, take batches out"),
    Command("demo", "show the whole way on real data, in two minutes", extra="demo"),
)

# What the help, the man page and, at greater length, docs/commands.md say of them.
EXIT_CODES = {
    0: "done",
    1: "the answer is no",
    2: "wrong call",
    3: "configuration refused",
    4: "damaged data",
    5: "unreachable",
    6: "locked",
    INTERRUPTED: "interrupted",
    PIPE_CLOSED: "the reader of the output went away",
}

# Those that have CONFIG_ONLY, known before their module is: SIGHUP means "reload" to them.
_LONG_LIVED = frozenset({"run", "agent", "ship"})

_HELP_HEAD = """\
usage: edgemon [--version] [--help] [--debug] COMMAND …

edgemon watches machine-learning models where they run.

commands:
"""

_HELP_TAIL = """
options:
  --help, -h   this text; after a command, that command's
  --version    the version
  --debug      show where an error comes from

example:
  edgemon init --out edgemon.toml
  edgemon check --config edgemon.toml
  edgemon run --config edgemon.toml

Without --config, $EDGEMON_CONFIG, ./edgemon.toml and
/etc/edgemon/edgemon.toml are tried.

exit codes:
"""


def main(argv: list[str] | None = None) -> int:
    """Runs one command and gives its exit code.

    argv: the words after the program's name; None takes them from sys.argv.
    """
    words, debug = _without_debug(sys.argv[1:] if argv is None else argv)
    if argv is None:
        _take_children_back()
    try:
        code = _dispatch(words, debug)
        sys.stdout.flush()
        return code
    except SystemExit as leaving:  # argparse, after --help
        return leaving.code if isinstance(leaving.code, int) else 0
    except BrokenPipeError:
        _let_go_of_stdout()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        if debug:
            raise
        return INTERRUPTED
    except Exception as error:
        if debug:
            raise
        _explain(error)
        return _exit_code(error, words)


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """The option --config; hand its value to edgemon.config.find_config."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="configuration (default: $EDGEMON_CONFIG, ./edgemon.toml, /etc/edgemon/edgemon.toml)",
    )


def _take_children_back() -> None:
    """Who was started where SIGCHLD is ignored, as below bash's `trap '' CHLD`, could not wait for any child."""
    from edgemon.std import signal

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def hold_reloads() -> None:
    """Keep SIGHUP until the process can act on it: by default it would kill one that is still starting.

    Whoever installs its handler lets it through. Threads and processes that are started before inherit the mask.
    """
    from edgemon.std import signal

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def help_text() -> str:
    """What `edgemon --help` prints."""
    rows = "".join(f"  {command.name:<9} {command.summary}\n" for command in installed())
    codes = "".join(f"  {code:<9} {meaning}\n" for code, meaning in EXIT_CODES.items())
    return _HELP_HEAD + rows + _HELP_TAIL + codes


def installed() -> list[Command]:
    """The commands that are part of this installation, found without importing them."""
    return [
        command
        for command in COMMANDS
        if _is_there(command.module) and (not command.needs or _is_there(command.needs))
    ]


def _is_there(module: str) -> bool:
    """Whether one of our modules can be imported; that nothing is, makes the help quick."""
    package = module.split(".")[1:-1]
    folders = ["/".join([root, *package]) for root in sys.modules["edgemon"].__path__]
    return any(finder.find_spec(module, folders) for finder in sys.meta_path)


def _without_debug(words: list[str]) -> tuple[list[str], bool]:
    """--debug may stand anywhere, behind a subcommand too."""
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != "--debug"]
    return kept + words[end:], len(kept) < end


def _dispatch(words: list[str], debug: bool) -> int:
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in ("--help", "-h"):
            sys.stdout.write(help_text())
            return 0
        if option == "--version":
            sys.stdout.write(f"edgemon {VERSION}\n")
            return 0
        raise UsageError(f"unknown option {option} before the command (see edgemon --help)")
    if not words:
        sys.stderr.write(help_text())
        return UsageError.exit_code
    name, rest = words[0], words[1:]
    if name in _LONG_LIVED:
        hold_reloads()
    command = next((command for command in COMMANDS if command.name == name), None)
    if command is None:
        raise UsageError(f'no command "{name}"{_suggestion(name)} (see edgemon --help)')
    module = _load(command)
    arguments: SimpleNamespace | argparse.Namespace | None = None
    if getattr(module, "CONFIG_ONLY", False):
        arguments = _plain(rest)
    if arguments is None:
        arguments = _make_parser(command, module).parse_args(rest)
    arguments.debug = debug
    code: int = module.run(arguments)
    return code


def _load(command: Command) -> ModuleType:
    try:
        return importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.partition(".")[0] == "edgemon":
            problem = f'"{command.name}" is not part of this installation'
            raise UsageError(f"{problem} ({missing} is missing)") from error
        hint = f"; install edgemon[{command.extra}]" if command.extra else ""
        raise UsageError(
            f'"{command.name}" needs the Python package {missing}, which is not installed{hint}'
        ) from error


def _plain(words: list[str]) -> SimpleNamespace | None:
    """Arguments of a CONFIG_ONLY command without argparse; None when there is more to it."""
    if not words:
        return SimpleNamespace(config=None)
    if len(words) == 1 and words[0].startswith("--config="):
        return SimpleNamespace(config=words[0].partition("=")[2])
    if len(words) == 2 and words[0] == "--config" and not words[1].startswith("-"):
        return SimpleNamespace(config=words[1])
    return None


def _make_parser(command: Command, module: ModuleType) -> argparse.ArgumentParser:
    from edgemon.cli._arguments import Parser

    parser = Parser(
        prog=f"edgemon {command.name}", description=command.summary, epilog=module.EPILOG
    )
    module.add_arguments(parser)
    # main() has taken it out already; it stands here for the help.
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    return parser


def _suggestion(name: str) -> str:
    import difflib

    names = [command.name for command in installed()]
    near = difflib.get_close_matches(name.lower(), names, 1, 0.5)
    return f'; did you mean "{near[0]}"?' if near else ""


def _exit_code(error: Exception, words: list[str]) -> int:
    if isinstance(error, EdgemonError):
        return error.exit_code
    if isinstance(
        error, FileNotFoundError | IsADirectoryError | NotADirectoryError | PermissionError
    ):
        name = str(error.filename)
        if any(word == name or word.endswith(f"={name}") for word in words):
            return UsageError.exit_code  # the command line names a file that cannot be meant
    return 1


def _explain(error: Exception) -> None:
    """One line a fault, for a person."""
    if isinstance(error, ConfigError):
        lines = _fault_lines(error)
    elif isinstance(error, EdgemonError):
        lines = [f"edgemon: {line}" for line in str(error).splitlines()]
    elif isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        lines = [f"edgemon: {name}{error.strerror.lower()}"]
    else:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        lines = [f"edgemon: internal error: {what} ({_origin(error)}); --debug shows more"]
    try:
        sys.stderr.writelines(f"{line}\n" for line in lines)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # nobody reads standard error: the exit code still says it


def _fault_lines(error: ConfigError) -> list[str]:
    """Faults with a line stand as a compiler's do, so that editors can jump to them."""
    count = len(error.faults)
    if count == 1 and not error.faults[0].line:
        return [f"edgemon: {error.faults[0]}"]
    files = {fault.file for fault in error.faults}
    total = f"edgemon: {count} fault{'s' if count > 1 else ''} in {', '.join(sorted(files))}"
    lines = (line for fault in error.faults for line in (str(fault), *fault.detail.splitlines()))
    return [*lines, total]


def _origin(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "nowhere"


def _let_go_of_stdout() -> None:
    """Keeps the interpreter from failing once more when it flushes at exit."""
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, sys.stdout.fileno())
        os.close(quiet)
    except (OSError, ValueError):
        pass
