"""`edgemon profile`: the reference that drift is tested against. Build one, look at one."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgemon.cli._data import FORMATS, read_file, read_profile, stem
from edgemon.cli._profile_text import as_json, as_text, notes
from edgemon.cli._tables import add_column_arguments, add_truth_arguments
from edgemon.cli._terminal import Progress, counted, human_bytes
from edgemon.drift.build import ProfileBuilder
from edgemon.drift.profile import BINS, MAX_POINTS, Profile
from edgemon.drift.sources import SourceError, read_recording
from edgemon.errors import UsageError

if TYPE_CHECKING:
    import argparse

_DATA = "printf 'age,score\\n31,0.2\\n47,0.9\\n58,0.7\\n' > data.csv"
EPILOG = f"""
{_DATA}
edgemon profile build data.csv --out fraud.profile
edgemon profile show fraud.profile
edgemon profile adopt fraud --predictions 10000
edgemon profile build --from-stream fraud --predictions 1000 --out new.profile
"""

_POLL_S = 0.5
_REQUEST_TIMEOUT_S = 10.0

Request = Callable[[dict[str, object]], dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from edgemon.cli import add_config_argument

    commands = parser.add_subparsers(
        dest="action", required=True, metavar="build | show | diff | adopt"
    )

    build = commands.add_parser(
        "build",
        help="make a profile from a file or a running agent",
        epilog=_DATA
        + """
edgemon profile build data.csv --out fraud.profile
edgemon profile build --from-stream fraud --predictions 1000 --out new.profile
""",
    )
    build.add_argument(
        "file", nargs="?", help="CSV, JSON lines or .npy, also .gz; - is CSV on stdin"
    )
    build.add_argument("--out", required=True, metavar="FILE", help="where the profile is written")
    build.add_argument("--name", help="the model's name (default: the file's or stream's)")
    build.add_argument(
        "--max-points",
        type=int,
        default=MAX_POINTS,
        metavar="N",
        help=f"values of the reference kept for each stream (default: {MAX_POINTS})",
    )
    add_column_arguments(build)
    add_truth_arguments(build)
    columns = build.add_argument_group("how the file is read")
    columns.add_argument("--format", choices=FORMATS, help="default: by the name")
    columns.add_argument("--model", default="", help="JSON lines: only this model's predictions")
    columns.add_argument(
        "--shuffled", action="store_true", help="the order of the rows means nothing"
    )
    stream = build.add_argument_group("from a running agent")
    stream.add_argument("--from-stream", metavar="MODEL", help="record the predictions to come")
    stream.add_argument("--version", help="only this version of the model")
    stream.add_argument("--predictions", type=int, default=1000, metavar="N", help="default: 1000")
    stream.add_argument("--socket", help="the agent's control socket (default: from --config)")
    add_config_argument(stream)  # type: ignore[arg-type]  # a group takes arguments as a parser does

    show = commands.add_parser(
        "show",
        help="show what a profile holds",
        epilog=_DATA
        + """
edgemon profile build data.csv --out fraud.profile
edgemon profile show fraud.profile
""",
    )
    show.add_argument("file", help="a profile")
    show.add_argument("--json", action="store_true", help="print it as JSON")

    diff = commands.add_parser(
        "diff",
        help="show how two profiles differ, stream by stream",
        epilog=_DATA
        + """
edgemon profile build data.csv --out old.profile
sed s/47/74/ data.csv | edgemon profile build - --out new.profile
edgemon profile diff old.profile new.profile
""",
    )
    diff.add_argument("old", help="a profile")
    diff.add_argument("new", help="another")
    diff.add_argument("--json", action="store_true", help="print it as JSON")
    diff.add_argument(
        "--fail-above",
        type=float,
        metavar="D",
        help="exit code 1 when a stream's distance is larger, or it is on one side only",
    )

    adopt = commands.add_parser(
        "adopt",
        help="take what comes in now as what is normal, on a running agent",
        epilog="edgemon profile adopt fraud --predictions 10000",
    )
    adopt.add_argument("model", help="name of the model")
    adopt.add_argument("--version", help="only this version (default: the one seen last)")
    source = adopt.add_mutually_exclusive_group()
    source.add_argument(
        "--predictions",
        type=int,
        default=10_000,
        metavar="N",
        help="make the reference from the next N (default: 10000)",
    )
    source.add_argument("--file", metavar="FILE", help="take this profile, at once")
    adopt.add_argument("--no-wait", action="store_true", help="do not wait until it is made")
    adopt.add_argument("--socket", help="the agent's control socket (default: from --config)")
    add_config_argument(adopt)


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "show":
        return _show(arguments)
    if arguments.action == "diff":
        from edgemon.cli._difference import diff_profiles

        return diff_profiles(arguments.old, arguments.new, arguments.json, arguments.fail_above)
    if arguments.action == "adopt":
        return adopt(arguments.model, arguments, _requester(arguments))
    return _build(arguments)


# -- build


def _build(arguments: argparse.Namespace) -> int:
    if (arguments.file is None) == (arguments.from_stream is None):
        raise UsageError("give a file, or --from-stream MODEL")
    if not BINS <= arguments.max_points <= 1_000_000:
        raise UsageError(f"--max-points must lie between {BINS} and 1000000")
    if arguments.from_stream is not None:
        builder = ProfileBuilder(arguments.name or arguments.from_stream, arguments.max_points)
        build_from_stream(
            builder,
            _requester(arguments),
            {"model": arguments.from_stream, "version": arguments.version},
            arguments.predictions,
        )
    else:
        builder = ProfileBuilder(
            arguments.name or stem(arguments.file),
            arguments.max_points,
            ordered=not arguments.shuffled,
        )
        builder.labelled.task = arguments.task
        read_file(builder, arguments.file, arguments)
    profile = builder.finish()
    if not profile.features:
        raise SourceError(f"{arguments.file or arguments.from_stream}: there is no value in it")
    size_bytes = write_profile(profile, arguments.out)
    kinds = [feature.kind for feature in profile.features]
    sys.stdout.write(
        f"{arguments.out}: {profile.name}, {counted(profile.rows, 'prediction')}, "
        f"{kinds.count('numeric')} numeric and {kinds.count('text')} text streams, "
        f"{human_bytes(size_bytes)}, hash {profile.hash}\n"
    )
    for line in notes(profile, builder.empty_streams):
        sys.stderr.write(f"edgemon: note: {line}\n")
    return 0


def build_from_stream(
    builder: ProfileBuilder,
    request: Request,
    who: dict[str, object],
    predictions: int,
    *,
    sleep: Callable[[float], None] = time.sleep,
    progress: Progress | None = None,
) -> None:
    """Have the agent record the next `predictions`, wait for them, and fetch them."""
    state = request({"cmd": "record", **who, "predictions": predictions})
    if "version" in state:  # another version may come in meanwhile
        who = {**who, "version": state["version"]}
    try:
        with progress or Progress(predictions, "predictions") as bar:
            while int(state["have"]) < int(state["want"]):
                sleep(_POLL_S)
                state = request({"cmd": "recorded", **who})
                bar.update(int(state["have"]))
            bar.update(int(state["have"]))
        read_recording(request, builder, who)
    except KeyboardInterrupt:
        request({"cmd": "take_recording", **who})  # the agent need not keep it any longer
        raise
    if left_out := state.get("left_out"):
        sys.stderr.write(
            f"edgemon: note: left out, too long for categories: {', '.join(left_out)}\n"
        )


def write_profile(profile: Profile, path: str) -> int:
    """Write it whole or not at all; its size in bytes."""
    from edgemon.spool.fs import OsFileSystem, write_atomically

    data = profile.to_bytes()
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise UsageError(f"--out {path}: there is no folder {folder}")
    write_atomically(OsFileSystem(), os.path.abspath(path), data)
    return len(data)


def _requester(arguments: argparse.Namespace) -> Request:
    from edgemon.control import AGENT_SOCKET, request

    path = arguments.socket
    if not path:
        from edgemon.config import find_config, load

        path = os.path.join(load(find_config(arguments.config)).agent.run_dir, AGENT_SOCKET)
    return lambda message: request(path, message, _REQUEST_TIMEOUT_S)


# -- adopt


def adopt(
    model: str,
    arguments: argparse.Namespace,
    request: Request,
    *,
    sleep: Callable[[float], None] = time.sleep,
    progress: Progress | None = None,
) -> int:
    """Have the agent take another reference, and wait until it has."""
    who: dict[str, object] = {"cmd": "adopt", "model": model, "version": arguments.version}
    if arguments.file is not None:
        taken = request({**who, "file": os.path.abspath(arguments.file)})
        sys.stdout.write(f"{model}: drift is judged by {arguments.file} now, {taken['profile']}\n")
        return 0
    started = request({**who, "predictions": arguments.predictions})
    if arguments.no_wait:
        sys.stdout.write(
            f"{model}: recording the next {counted(arguments.predictions, 'prediction')}\n"
        )
        return 0
    with progress or Progress(arguments.predictions, "predictions") as bar:
        while True:
            now = _model_status(request({"cmd": "status"}), model, started["version"])
            making = now["reference"]
            if making is None:
                break
            bar.update(min(int(making["have"]), arguments.predictions))
            sleep(_POLL_S)
        bar.update(arguments.predictions)
    if now["profile"] == started["profile"]:
        sys.stderr.write(f"edgemon: {model}: the profile was not taken; the agent's log says why\n")
        return 1
    sys.stdout.write(f"{model}: drift is judged by what came in, {now['profile']}\n")
    return 0


def _model_status(status: dict[str, Any], model: str, version: str) -> dict[str, Any]:
    for one in status["models"]:
        if (one["model"], one["version"]) == (model, version):
            found: dict[str, Any] = one
            return found
    raise UsageError(f"model {model!r} was let go while its predictions were recorded")


# -- show


def _show(arguments: argparse.Namespace) -> int:
    profile = read_profile(arguments.file)
    if arguments.json:
        json.dump(as_json(profile), sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(as_text(profile))
    return 0
