"""The process that sends webhooks and e-mails: jobs from standard input, answers to standard output. See uploader.py.

    {"kind": "webhook" | "email", "path": of the notice, "key": its id, "name", "action": {…}, "file": configuration}

Certificates are verified, always. Secrets are read for each job, from files that not everybody may read.
"""

from __future__ import annotations

import http.client
import os
import smtplib
import ssl
import sys
from email.message import EmailMessage
from email.utils import formatdate
from urllib.parse import urlsplit

from edgemon.errors import ConfigError, EdgemonError
from edgemon.ship.secrets import check_private
from edgemon.std import json, socket
from edgemon.typed import Any, BinaryIO
from edgemon.version import VERSION

PASSWORD = "EDGEMON_SMTP_PASSWORD"
_MAX_SECRET_BYTES = 4096
_MAX_ANSWER_BYTES = 4096
_SMTP_PORTS = {"starttls": 587, "tls": 465, "none": 25}
# Statuses outside 200 … 299 and 500 … 599 after which the same request may well be taken.
_TRY_AGAIN = frozenset({408, 425, 429})


class _RefusedError(Exception):
    """The other side will never take it as it is."""


class _TroubleError(Exception):
    """It may take it later."""


def serve(jobs: BinaryIO | None = None, answers: BinaryIO | None = None) -> None:
    """Do one job after the other until there are no more."""
    jobs, answers = jobs or sys.stdin.buffer, answers or sys.stdout.buffer
    for line in jobs:
        result, message = do(json.loads(line))
        answers.write(json.dumps({"result": result, "message": message}).encode() + b"\n")
        answers.flush()


def do(job: dict[str, Any]) -> tuple[str, str]:
    """(result, message) of a job. No message holds a secret, nor an address's path, which may be one."""
    try:
        with open(job["path"], "rb") as file:
            body = file.read()
    except FileNotFoundError:
        return "ok", ""  # it was too old, and had to make room
    try:
        notice = json.loads(body)
    except ValueError:
        return "permanent", f"{job['path']} is damaged"
    try:
        if job["kind"] == "webhook":
            _post(job, body)
        else:
            _mail(job, notice)
    except _RefusedError as error:
        return "permanent", str(error)
    except (_TroubleError, EdgemonError) as error:
        return "temporary", str(error)
    except (OSError, http.client.HTTPException, smtplib.SMTPException, ValueError) as error:
        return "temporary", f"{_host(job)}: {_reason(error)}"
    return "ok", ""


def _host(job: dict[str, Any]) -> str:
    action = job["action"]
    return str(action["smtp_host"] if job["kind"] == "email" else urlsplit(action["url"]).netloc)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message} (ca_file)"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split()) or type(error).__name__


def _tls(action: dict[str, Any]) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=action["ca_file"] or None)
    except OSError as error:
        raise _TroubleError(f"{action['ca_file']} cannot be used: {_reason(error)}") from None


def _secret(job: dict[str, Any], key: str) -> str:
    """The first line of a file that `key` names, "" where it names none."""
    path = job["action"][key]
    if not path:
        return ""
    try:
        check_private(path, f"actions.{job['name']}.{key}", job["file"])
        with open(path, encoding="utf-8") as file:
            secret = file.readline(_MAX_SECRET_BYTES).rstrip("\r\n")
    except ConfigError as error:
        raise _TroubleError(error.faults[0].problem) from None
    if not secret:
        raise _TroubleError(f"the first line of {path} is empty")
    return secret


# -- webhook


def _post(job: dict[str, Any], body: bytes) -> None:
    action = job["action"]
    url = urlsplit(action["url"])
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"edgemon/{VERSION}",
        "X-Edgemon-Id": job["key"],
    }
    if key := _secret(job, "hmac_key_file"):
        import hashlib
        import hmac

        digest = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        headers["X-Edgemon-Signature"] = f"sha256={digest}"
    if token := _secret(job, "token_file"):
        headers["Authorization"] = f"Bearer {token}"
    host, port = url.hostname or "", url.port
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(
            host, port, timeout=action["timeout_s"], context=_tls(action)
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=action["timeout_s"])
    try:
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        status = answer.status
        answer.read(_MAX_ANSWER_BYTES)
    finally:
        connection.close()
    if 200 <= status < 300:
        return
    words = f"{url.netloc} answered {status} {http.client.responses.get(status, '')}".rstrip()
    if status in _TRY_AGAIN or status >= 500:
        raise _TroubleError(words)
    raise _RefusedError(f"{words}; redirections are not followed" if 300 <= status < 400 else words)


# -- e-mail


def letter(action: dict[str, Any], key: str, notice: dict[str, Any]) -> EmailMessage:
    """What is mailed of a notice."""
    message = EmailMessage()
    what = "over" if notice["state"] == "cleared" else str(notice["severity"])
    subject = _plain(f"[edgemon] {notice['device']}: {what}: {notice['message']}")
    message["Subject"] = subject[:200]
    message["From"] = action["sender"]
    message["To"] = ", ".join(action["to"])
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{key}@{action['sender'].rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    shown = (
        "device", "fleet", "time", "state", "severity", "rule", "when", "model", "version", "stream", "series",
        "since_s", "suppressed", "id",
    )  # fmt: skip
    lines = [_plain(str(notice["message"])), ""]
    lines += [
        f"{name}: {_plain(str(notice[name]))}"
        for name in shown
        if notice.get(name) not in (None, "")
    ]
    lines += [f"{name} = {value:g}" for name, value in notice.get("values", {}).items()]
    message.set_content("\n".join(lines) + "\n")
    return message


def _plain(text: str) -> str:
    """On one line, without what a terminal or a mail program could take as anything but text."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _mail(job: dict[str, Any], notice: dict[str, Any]) -> None:
    action = job["action"]
    security, timeout_s = action["security"], action["timeout_s"]
    port = action["smtp_port"] or _SMTP_PORTS[security]
    password = _secret(job, "password_file") or os.environ.get(PASSWORD, "")
    name = socket.gethostname() or "localhost"
    server: smtplib.SMTP
    try:
        if security == "tls":
            server = smtplib.SMTP_SSL(
                action["smtp_host"], port, name, timeout=timeout_s, context=_tls(action)
            )
        else:
            server = smtplib.SMTP(action["smtp_host"], port, name, timeout=timeout_s)
        with server:
            if security == "starttls":
                server.starttls(context=_tls(action))
            if action["username"]:
                server.login(action["username"], password)
            server.send_message(letter(action, job["key"], notice))
    except smtplib.SMTPNotSupportedError as error:
        raise _RefusedError(f"{_host(job)}: {_reason(error)} (security)") from None
    except smtplib.SMTPRecipientsRefused as error:
        code, words = next(iter(error.recipients.values()))
        _judge(job, code, words)
    except smtplib.SMTPResponseException as error:
        _judge(job, error.smtp_code, error.smtp_error)


def _judge(job: dict[str, Any], code: int, words: bytes | str) -> None:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    problem = f"{_host(job)} answered {code} {' '.join(text.split())[:200]}"
    if 500 <= code < 600:
        raise _RefusedError(problem)
    raise _TroubleError(problem)
