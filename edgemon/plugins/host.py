"""The plugin's end: `edgemon plugin host JOB` sets the limits and becomes the program, or holds the Python object.

The limits are set here, before a line of the plugin runs, and not in the agent: between fork and exec in a process with
threads little is safe. Only PATH and a few others of the environment go on to a plugin.
"""

from __future__ import annotations

import os
import resource
import sys

from edgemon._core.process import die_with_parent
from edgemon.plugins import Rejected, entry, protocol
from edgemon.plugins.protocol import one_line
from edgemon.std import json, signal
from edgemon.std.contextlib import suppress
from edgemon.typed import Any, NoReturn

CANNOT_RUN = 126
# Of the environment: what programs need to find things and to speak the user's language.
KEPT = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
)
# Where systemd put edgemon's secrets: only who asks for it is told.
_SECRETS = "CREDENTIALS_DIRECTORY"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# When memory is short it goes before edgemon does.
_OOM_SCORE = b"500"


def main(text: str) -> int:
    """text: the job, as PluginProcess writes it."""
    job: dict[str, Any] = json.loads(text)
    die_with_parent()
    if os.getppid() != job["parent"] and not getattr(sys, "frozen", False):
        return 1  # it died before; in a single file the unpacker may stand between
    _limit(job)
    os.chdir("/")
    if job["command"]:
        _become(job)
    kept = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
    os.environ.clear()
    os.environ.update(kept | _environ(job))
    return serve(job["kind"], job["entry_point"])


def _limit(job: dict[str, Any]) -> None:
    """0 is no limit. Lower ones that are in force already stay."""
    for which, most in (
        (resource.RLIMIT_AS, int(job["memory_bytes"])),
        (resource.RLIMIT_CPU, int(job["cpu_time_s"])),
        (resource.RLIMIT_NOFILE, int(job["open_files"])),
    ):
        hard = resource.getrlimit(which)[1]
        if most and (hard == resource.RLIM_INFINITY or most < hard):
            resource.setrlimit(
                which, (most, most + 1)
            )  # of processor time: a signal first that says why
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # a sandbox may forbid both
        os.nice(int(job["nice"]))
    with suppress(OSError), open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
        file.write(_OOM_SCORE)


def _environ(job: dict[str, Any]) -> dict[str, str]:
    keep = (*KEPT, _SECRETS) if job["credentials"] else KEPT
    kept = {key: os.environ[key] for key in keep if key in os.environ}
    kept |= {key: value for key, value in os.environ.items() if key.startswith("LC_")}
    return {"PATH": _PATH} | kept | {"EDGEMON_PLUGIN": job["name"]}


def _become(job: dict[str, Any]) -> NoReturn:
    command = job["command"]
    for name in os.listdir("/proc/self/fd"):  # what whoever started edgemon had left open
        with suppress(OSError):
            if int(name) > 2:
                os.set_inheritable(int(name), False)
    signal.signal(
        signal.SIGPIPE, signal.SIG_DFL
    )  # which Python ignores, and exec would keep ignored
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execve(command[0], command, _environ(job))
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror or error}\n")
        sys.stderr.flush()
        os._exit(CANNOT_RUN)


def serve(kind: str, entry_point: str) -> int:
    """Hold a Python object and answer for it, until the questions end."""
    questions = os.fdopen(os.dup(0), "rb")
    answers = os.dup(1)
    # What the plugin prints is not to be taken for an answer.
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    def say(**message: object) -> None:
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        while line:
            line = line[os.write(answers, line) :]

    plugin: Any = None
    for line in questions:
        question = json.loads(line)
        op = question["op"]
        if op == "start":
            plugin = entry.load(kind, entry_point)()
            if hasattr(plugin, "start"):
                plugin.start(question["options"])
            say(hello=protocol.VERSION)
        elif op == "stop":
            break
        else:
            say(**(_values(plugin) if op == "collect" else _sent(plugin, question)))
    if hasattr(plugin, "stop"):
        plugin.stop()
    return 0


def _values(plugin: Any) -> dict[str, object]:
    try:
        values = plugin.collect()
        return {"values": {str(name): _plain(value) for name, value in values.items()}}
    except Exception as error:
        return {"error": _said(error)}


def _plain(value: object) -> object:
    """numpy's numbers too; what is none becomes None, which is counted on the other side."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def _sent(plugin: Any, question: dict[str, Any]) -> dict[str, object]:
    import binascii

    del question["op"]
    batch = binascii.a2b_base64(question.pop("batch"))
    try:
        plugin.send(batch, question)
    except Rejected as error:
        return {"reject": one_line(str(error)) or "rejected"}
    except Exception as error:
        return {"retry": _said(error)}
    return {"ack": True}


def _said(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}")
