"""`edgemon selftest`: does this binary work on this device?"""

from __future__ import annotations

import json
import sys
import tempfile
from typing import TYPE_CHECKING

from edgemon.cli import add_config_argument

if TYPE_CHECKING:
    import argparse

EPILOG = """example:
  edgemon selftest && edgemon run

Takes at most two seconds and changes nothing. The exit code is 1 when a check
failed; a warning, such as a broker that does not answer, leaves it 0 without
--strict. An installation without a configuration is checked as far as it goes.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--strict", action="store_true", help="a warning is a failure too")


def run(arguments: argparse.Namespace) -> int:
    from edgemon import selftest
    from edgemon.config import find_config, load
    from edgemon.errors import ConfigError

    config, fault = None, ""
    try:
        path = find_config(arguments.config)
    except ConfigError:
        path = ""  # none was asked for, and there is none
    try:
        config = load(path) if path else None
    except ConfigError as error:
        more = len(error.faults) - 1
        fault = f"{error.faults[0]}{f', and {more} more: edgemon check' if more else ''}"
    findings = []
    for finding in selftest.run(config, fault, tempfile.gettempdir()):
        findings.append(finding)
        if not arguments.json:
            sys.stdout.write(f"{finding.result:<8} {finding.check:<14} {finding.found}\n")
            sys.stdout.flush()
    bad = [
        one
        for one in findings
        if one.result == "failed" or (arguments.strict and one.result != "ok")
    ]
    warnings = sum(one.result == "warning" for one in findings)
    complete = len(findings) == selftest.EXPECTED
    if arguments.json:
        answer = {
            "ok": complete and not bad,
            "expected": selftest.EXPECTED,
            "findings": [one._asdict() for one in findings],
        }
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    else:
        said = f"{len(findings)} of {selftest.EXPECTED} checks done: {len(bad)} failed, {warnings} warned"
        sys.stdout.write(f"{said}, in {sum(one.took_s for one in findings):.2f} s\n")
    return 0 if complete and not bad else 1
