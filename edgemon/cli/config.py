"""`edgemon config convert`: another monitor's configuration as one of ours."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from edgemon.config import parse
from edgemon.config.convert import Conversion, convert
from edgemon.config.describe import folders
from edgemon.config.loader import MAX_FILE_BYTES
from edgemon.errors import ConfigError, Fault, UsageError

if TYPE_CHECKING:
    import argparse

EPILOG = """
printf 'telemetry:\\n  upload_interval_seconds: 300\\n' > old.yaml
edgemon config convert old.yaml -o new.toml
edgemon check --config new.toml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    summary = "turn a YAML file of edge-mlops-monitor into TOML"
    one = commands.add_parser("convert", help=summary, description=summary, epilog=EPILOG)
    one.add_argument("file", help='the YAML file, "-" for standard input')
    one.add_argument("-o", "--out", metavar="FILE", help="where to write it (default: stdout)")
    one.add_argument("--force", action="store_true", help="replace a file that is there already")


def run(arguments: argparse.Namespace) -> int:
    path: str = arguments.file
    state_dir, run_dir = folders(root=os.geteuid() == 0, environ=os.environ)
    made = convert(_document(path), path, state_dir=state_dir, run_dir=run_dir)
    out: str | None = arguments.out
    parse(made.text, out or "edgemon.toml")  # what is written passes `edgemon check`
    if out is None or out == "-":
        sys.stdout.write(made.text)
        sys.stdout.flush()
    else:
        from edgemon.cli.init import write_new

        write_new(out, made.text, force=arguments.force)
    sys.stderr.write(summary_of(made))
    return 0


def summary_of(made: Conversion) -> str:
    """What became of the keys, a line for each that has no equal."""
    from edgemon.cli._terminal import counted, wrapped

    text = f"{counted(len(made.converted), 'key')} converted, {len(made.no_equal)} without an equal"
    lines = [text + (":" if made.no_equal else "")]
    lines += [wrapped(f"  {one.key}: {one.why}", "    ") for one in made.no_equal]
    return "\n".join(lines) + "\n"


def _document(path: str) -> Any:
    yaml = _yaml()
    if path == "-":
        raw = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    else:
        with open(path, "rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise _refusal(path, 0, "is larger than 1MiB: this is not a configuration")
    try:
        return yaml.safe_load(raw)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise _refusal(path, mark.line + 1 if mark else 0, f"not YAML: {problem}") from None
    except (RecursionError, ValueError) as error:  # ValueError: a date that does not exist
        problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise _refusal(path, 0, f"not YAML: {problem}") from None


def _refusal(path: str, line: int, problem: str) -> ConfigError:
    return ConfigError([Fault(path, line, "", problem)])


def _yaml() -> Any:
    """PyYAML, which no device needs."""
    try:
        import yaml
    except ModuleNotFoundError:
        raise UsageError(
            "reading YAML needs PyYAML, which is not installed here; install edgemon[convert], on any machine"
        ) from None
    return yaml
