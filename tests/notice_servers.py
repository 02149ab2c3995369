"""What webhooks and e-mails are sent to in the tests: a real HTTP server and a real SMTP server, on loopback."""

from __future__ import annotations

import ssl
import threading
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

from tests.servers import HOST, free_port


class Post(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


class Hook:
    """Takes POST requests. answers: statuses of the next ones, then 204.  held: while it is set, none is answered."""

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.posts: list[Post] = []
        self.answers: list[int] = []
        self.held = threading.Event()
        self.go_on = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = hook.answers.pop(0) if hook.answers else 204
                hook.posts.append(Post(self.path, dict(self.headers), body))
                if hook.held.is_set():
                    hook.go_on.wait(60)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Not to the test's standard error."""

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """Clients that are killed, or that do not trust us."""

        self._server = Quiet((HOST, port), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class MailServer:
    """Takes e-mails. tls: it offers STARTTLS and takes no mail without, or speaks TLS at once.  password: of "cam", who
    alone may send then.
    """

    def __init__(
        self, tls: ssl.SSLContext | None = None, *, at_once: bool = False, password: str = ""
    ) -> None:
        self.letters: list[Message] = []
        self.recipients: list[list[str]] = []
        self.answer = "250 OK"
        server = self

        class Handler:
            async def handle_DATA(self, _server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802
                if password and not session.authenticated:
                    return "530 who are you"
                if server.answer.startswith("250"):
                    server.recipients.append(list(envelope.rcpt_tos))
                    parser: BytesParser[EmailMessage] = BytesParser(policy=default)
                    server.letters.append(parser.parsebytes(envelope.content or b""))  # type: ignore[arg-type]
                return server.answer

        def authenticate(
            _server: Any, _session: Any, _envelope: Any, _how: str, data: Any
        ) -> AuthResult:
            ok = isinstance(data, LoginPassword) and data == LoginPassword(
                b"cam", password.encode()
            )
            return AuthResult(success=ok)

        options: dict[str, Any] = {"hostname": HOST, "port": free_port(), "ready_timeout": 60.0}
        if tls is not None and not at_once:
            options |= {"tls_context": tls, "require_starttls": True}
        if password:
            options |= {"authenticator": authenticate, "auth_require_tls": not at_once}
        if at_once:
            options["ssl_context"] = tls
        self._controller = Controller(Handler(), **options)
        self._controller.start()
        self.port: int = self._controller.port

    def stop(self) -> None:
        self._controller.stop()
