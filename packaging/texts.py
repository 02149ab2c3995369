"""The man page and the shell completion, from the command line's own parsers: nothing is said twice.

python packaging/texts.py FOLDER      writes edgemon.1 and edgemon.bash there
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator

import bundle

from edgemon import cli
from edgemon.errors import UsageError
from edgemon.version import VERSION

_FILES = """\
.SH FILES
.TP
.I /etc/edgemon/edgemon.toml
The configuration; every key is explained in it. Read without
.BR \\-\\-config ,
.I $EDGEMON_CONFIG
or an
.I edgemon.toml
in the working folder.
.TP
.I /var/lib/edgemon
What must survive a restart: the spool, drift detectors, what was adopted.
.TP
.I /run/edgemon/ingest.sock
The socket that applications write to. Members of the group edgemon may connect.
"""
_BASH_HEAD = """\
# bash completion of edgemon
_edgemon() {
    local cur=${COMP_WORDS[COMP_CWORD]} words="" place="edgemon" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ -z ${_edgemon_words["$place ${COMP_WORDS[i]}"]} ]] || place+=" ${COMP_WORDS[i]}"
    done
    words=${_edgemon_words["$place"]}
    case ${COMP_WORDS[COMP_CWORD - 1]} in
    --config | --file | --out | -o | --reference | --current | --dir | --plot) words="" ;;
    esac
    COMPREPLY=()
    [[ -z $words ]] || mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
declare -gA _edgemon_words=(
"""  # fmt: skip
_BASH_TAIL = """\
)
complete -o default -F _edgemon edgemon
"""


def parsers() -> Iterator[tuple[cli.Command, argparse.ArgumentParser]]:
    """Of the commands that are part of a device's binary."""
    for command in cli.COMMANDS:
        if {command.module, command.needs} & {*bundle.WORKSTATION}:
            continue
        with contextlib.suppress(UsageError):
            yield command, cli._make_parser(command, cli._load(command))


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def options(parser: argparse.ArgumentParser) -> list[str]:
    return [
        name
        for action in parser._actions
        if action.help is not argparse.SUPPRESS
        for name in action.option_strings
    ]


def completion() -> str:
    """For bash 4 or newer."""
    table = {"edgemon": [command.name for command, _ in parsers()] + ["--help", "--version"]}
    for command, parser in parsers():
        table[f"edgemon {command.name}"] = [*subcommands(parser), *options(parser)]
        for name, below in subcommands(parser).items():
            table[f"edgemon {command.name} {name}"] = options(below)
    rows = "".join(f'    ["{place}"]="{" ".join(words)}"\n' for place, words in table.items())
    return _BASH_HEAD + rows + _BASH_TAIL


def man_page() -> str:
    parts = [
        f'.TH EDGEMON 1 "" "edgemon {VERSION}" "User Commands"',
        ".SH NAME\nedgemon \\- monitor for machine-learning models on small devices",
        ".SH SYNOPSIS\n.B edgemon\n[\\-\\-version] [\\-\\-help] [\\-\\-debug] COMMAND ...",
        ".SH DESCRIPTION\nAn application hands each prediction to a Unix socket. edgemon aggregates, tests for drift\n"
        "exactly and continuously, keeps what matters on disk through crashes and power cuts, and ships it over\n"
        "MQTT or S3 when the network returns.",
        ".SH COMMANDS",
    ]  # fmt: skip
    for command, parser in parsers():
        parts.append(f".SS edgemon {command.name}\n.nf\n{escape(parser.format_help())}.fi")
        for name, below in subcommands(parser).items():
            parts.append(
                f".SS edgemon {command.name} {name}\n.nf\n{escape(below.format_help())}.fi"
            )
    codes = "".join(f".TP\n.B {code}\n{text}\n" for code, text in cli.EXIT_CODES.items())
    return "\n".join(parts) + "\n" + _FILES + ".SH EXIT STATUS\n" + codes


def escape(text: str) -> str:
    """Plain text for roff."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").splitlines()
    return "".join(f"\\&{line}\n" if line[:1] in (".", "'") else f"{line}\n" for line in lines)


def main() -> None:
    os.environ["COLUMNS"] = "78"
    folder = sys.argv[1]
    for name, text in (("edgemon.1", man_page()), ("edgemon.bash", completion())):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
