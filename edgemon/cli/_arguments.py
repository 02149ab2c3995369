"""argparse as edgemon wants it: one line for an error, an example under every help."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import textwrap
from typing import Any, NoReturn

from edgemon.errors import UsageError


class Parser(argparse.ArgumentParser):
    """Subparsers are of this class too."""

    def __init__(self, **options: Any) -> None:
        options["epilog"] = _as_example(options.get("epilog") or "")
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        options.setdefault("allow_abbrev", False)
        super().__init__(**options)

    def error(self, message: str) -> NoReturn:
        message += self._suggestion(message)
        sys.stderr.write(f"{self.prog}: {message} (see {self.prog} --help)\n")
        raise SystemExit(UsageError.exit_code)

    def _suggestion(self, message: str) -> str:
        unknown = re.match(r"unrecognized arguments: (--[^ =]+)", message)
        if unknown is None:
            return ""
        near = difflib.get_close_matches(unknown[1], self._options(), 1, 0.7)
        return f'; did you mean "{near[0]}"?' if near else ""

    def _options(self) -> list[str]:
        """All long options, those of subcommands too: argparse reports theirs up here."""
        found = [name for name in self._option_string_actions if name.startswith("--")]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    found += parser._options()
        return found


def _as_example(epilog: str) -> str | None:
    text = textwrap.dedent(epilog).strip()
    if not text or text.lower().startswith("example"):
        return text or None
    return "example:\n" + textwrap.indent(text, "  ")
