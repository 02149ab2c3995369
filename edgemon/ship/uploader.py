"""A child process that does one job at a time: it has what is heavy, so that the shipper does not.

boto3 with a client takes 40 to 50 MB; TLS, HTTP and SMTP take their share too. The child is started for a
job, kept for as long as jobs follow, and killed when there are none; nothing stays behind. A job is one
JSON line on its standard input, the answer one on its standard output:

    {"op": "put", …}  ->  {"result": "ok" | "temporary" | "permanent", "message": "one line"}

The child is this program itself (`edgemon ship --uploads`, `--notices`), so it works from a single binary too.
"""

from __future__ import annotations

import os
import time

from edgemon.program import own_program
from edgemon.std import json, signal
from edgemon.typed import NamedTuple

_MAX_ANSWER_BYTES = 64 * 1024
_REAP_S = 1.0


class Answer(NamedTuple):
    """What became of a job.  result: "ok", "temporary" or "permanent".  message: one line."""

    result: str
    message: str


class Uploader:
    """At most one child and one job. Does not block, save for a child that is ending anyway.

    option: of `edgemon ship`, says which child.  name: of it, in messages.
    """

    def __init__(self, option: str = "--uploads", name: str = "upload process") -> None:
        self._option = option
        self._name = name
        self._pid = 0
        self._jobs = -1  # write end of its standard input
        self._answers = -1  # read end of its standard output
        self._received = b""
        self._deadline = 0.0
        self.busy = False
        self.starts = 0

    def fileno(self) -> int:
        """To be watched for reading; -1 when there is no child."""
        return self._answers

    @property
    def deadline(self) -> float:
        """When the job must be done, or the child is killed; monotonic seconds."""
        return self._deadline

    def give(self, job: dict[str, object], deadline: float) -> None:
        """Start this job; only when not busy. Raises OSError when there can be no child."""
        assert not self.busy
        line = json.dumps(job).encode() + b"\n"
        if not self._pid:
            self._spawn()
        try:
            os.write(self._jobs, line)  # shorter than the pipe: it does not block
        except BrokenPipeError:  # the one before ended unnoticed
            self.kill()
            self._spawn()
            os.write(self._jobs, line)
        self._deadline = deadline
        self.busy = True

    def read(self) -> Answer | None:
        """When readable: the answer, or None while it is not whole. A child that died says so."""
        try:
            data = os.read(self._answers, _MAX_ANSWER_BYTES)
        except BlockingIOError:
            return None
        self._received += data
        if data and b"\n" not in self._received and len(self._received) < _MAX_ANSWER_BYTES:
            return None
        line, _, self._received = self._received.partition(b"\n")
        was_busy, self.busy = self.busy, False
        if not data or not was_busy:
            ended = self._reap()
            return Answer("temporary", f"the {self._name} {ended}") if was_busy else None
        try:
            answer = json.loads(line)
            return Answer(str(answer["result"]), " ".join(str(answer["message"]).split()))
        except (ValueError, KeyError, TypeError):
            self.kill()
            return Answer("temporary", f"the {self._name} answered what nobody can read")

    def kill(self) -> None:
        """End the child at once, whatever it does."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._forget()

    def _spawn(self) -> None:
        job_read, self._jobs = os.pipe2(os.O_CLOEXEC)
        try:
            self._answers, answer_write = os.pipe2(os.O_CLOEXEC)
        except OSError:
            os.close(job_read)
            os.close(self._jobs)
            self._jobs = -1
            raise
        command = [*own_program(), "ship", self._option]
        try:
            self._pid = os.posix_spawn(
                command[0],
                command,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, job_read, 0),
                    (os.POSIX_SPAWN_DUP2, answer_write, 1),
                ],
                setsigmask=[],
                setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE],
                setpgroup=0,  # a Ctrl-C is for the shipper, which may still want an answer
            )
        except OSError:
            self._forget()
            raise
        finally:
            os.close(job_read)
            os.close(answer_write)
        os.set_blocking(self._answers, False)
        self.starts += 1

    def _reap(self) -> str:
        """It closed its output: how it ended."""
        status = -1
        until = time.monotonic() + _REAP_S
        pid = 0
        while not pid and time.monotonic() < until:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if not pid:
                time.sleep(0.001)  # between its last word and its end
        if not pid:
            self.kill()
            return "closed its output and had to be killed"
        self._forget()
        code = os.waitstatus_to_exitcode(status)
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def _forget(self) -> None:
        for fd in (self._jobs, self._answers):
            os.close(fd)
        self._pid = 0
        self._jobs = self._answers = -1
        self._received = b""
        self.busy = False
