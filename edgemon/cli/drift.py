"""`edgemon drift`: two data sets, offline. Did anything change?"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edgemon.cli._data import FORMATS, is_profile, read_file, read_profile, stem
from edgemon.cli._difference import as_text, difference_as_json
from edgemon.cli._tables import add_column_arguments
from edgemon.drift.build import ProfileBuilder
from edgemon.drift.compare import Difference, bonferroni, compare_profiles, holm
from edgemon.drift.profile import Profile
from edgemon.drift.sources import SourceError
from edgemon.errors import UsageError

if TYPE_CHECKING:
    import argparse

EPILOG = """
seq 1 1000 | awk 'BEGIN{print "x,y"}{print rand()","rand()}' > a.csv
seq 1 1000 | awk 'BEGIN{print "x,y"}{print rand()","rand()+0.2}' > b.csv
edgemon drift test --reference a.csv --current b.csv --plot drift.svg
"""

# Up to here all values of a file are compared; above, as many evenly spaced order statistics.
_MAX_POINTS = 100_000
_ADJUST: dict[str, Callable[[Sequence[float]], list[float]]] = {
    "holm": holm,
    "bonferroni": bonferroni,
    "none": list,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="test")
    test = commands.add_parser(
        "test",
        help="compare two files, stream by stream; exit code 1 when something drifted",
        epilog=EPILOG,
    )
    kinds = "CSV, JSON lines or .npy, also .gz; - is CSV on stdin"
    test.add_argument("--reference", required=True, metavar="FILE", help=f"{kinds}; or a profile")
    test.add_argument("--current", required=True, metavar="FILE", help=f"{kinds}; or a profile")
    test.add_argument(
        "--alpha",
        type=float,
        default=0.01,
        metavar="P",
        help="chance of any false alarm over all streams (default: 0.01)",
    )
    test.add_argument(
        "--adjust", choices=tuple(_ADJUST), default="holm", help="for many tests (default: holm)"
    )
    test.add_argument(
        "--min-effect",
        type=float,
        default=0.0,
        metavar="D",
        help="a distance (D, TV, or of missing rates) below this is no drift (default: 0)",
    )
    test.add_argument("--json", action="store_true", help="print it as JSON")
    test.add_argument("--plot", metavar="FILE", help="draw both curves of each stream, as SVG")
    add_column_arguments(test)
    columns = test.add_argument_group("how files are read")
    columns.add_argument("--format", choices=FORMATS, help="default: by the name")
    columns.add_argument("--model", default="", help="JSON lines: only this model's predictions")
    columns.add_argument(
        "--shuffled", action="store_true", help="the order of the rows means nothing"
    )


def run(arguments: argparse.Namespace) -> int:
    if not 0.0 < arguments.alpha < 1.0:
        raise UsageError("--alpha must lie between 0 and 1")
    if arguments.reference == arguments.current == "-":
        raise UsageError("only one of the two can come from standard input")
    for path in (arguments.reference, arguments.current):
        is_profile(path)  # both can be opened, before the work begins
    reference = _load(arguments.reference, arguments)
    current = _load(arguments.current, arguments)
    difference = compare_profiles(reference, current)
    verdicts = judge(difference, arguments.alpha, arguments.adjust, arguments.min_effect)
    drifted = any(is_drift for _, is_drift in verdicts) or bool(difference.lost or difference.new)
    if arguments.plot is not None:
        from edgemon.cli._plot import svg

        titles = (f"reference: {arguments.reference}", f"current: {arguments.current}")
        with open(arguments.plot, "w", encoding="utf-8") as file:
            file.write(svg(reference, current, difference, titles))
    if arguments.json:
        _print_json(arguments, difference, verdicts, drifted)
    else:
        sys.stdout.write(as_text(difference, verdicts))
        sys.stdout.write(
            f"\n{sum(is_drift for _, is_drift in verdicts)} of {len(verdicts)} streams drifted, at "
            f"most {arguments.alpha:g} false alarms over all\n"
        )
    return int(drifted)


def judge(
    difference: Difference, alpha: float, adjust: str, min_effect: float
) -> list[tuple[float, bool]]:
    """(adjusted p, whether it drifted) for each stream.

    A stream is tested twice, its values and its missing rate; all tests share alpha. The smaller
    adjusted p of the two is given.
    """
    ps = [p for one in difference.of for p in (one.p, one.missing.p)]
    adjusted = _ADJUST[adjust](ps)
    verdicts = []
    for i, one in enumerate(difference.of):
        of_values, of_missing = adjusted[2 * i], adjusted[2 * i + 1]
        holes = abs(one.missing.current - one.missing.reference)
        drifted = (of_values <= alpha and one.d >= min_effect) or (
            of_missing <= alpha and holes >= min_effect
        )
        verdicts.append((min(of_values, of_missing), drifted))
    return verdicts


def _load(path: str, arguments: argparse.Namespace) -> Profile:
    if is_profile(path):
        return read_profile(path)
    builder = ProfileBuilder(stem(path), _MAX_POINTS, ordered=not arguments.shuffled)
    read_file(builder, path, arguments)
    profile = builder.finish()
    if not profile.features:
        raise SourceError(f"{path}: there is no value in it")
    return profile


def _print_json(
    arguments: argparse.Namespace,
    difference: Difference,
    verdicts: list[tuple[float, bool]],
    drifted: bool,
) -> None:
    found = difference_as_json(difference)
    streams: list[dict[str, object]] = found["streams"]  # type: ignore[assignment]
    for stream, (adjusted, is_drift) in zip(streams, verdicts, strict=True):
        stream["p_adjusted"], stream["drifted"] = adjusted, is_drift
    answer = {
        "drifted": drifted,
        "alpha": arguments.alpha,
        "adjust": arguments.adjust,
        "min_effect": arguments.min_effect,
    } | found
    json.dump(answer, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")
