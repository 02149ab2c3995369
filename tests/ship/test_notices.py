"""Webhooks and e-mails: `edgemon ship` as a process, a real HTTP server and a real SMTP server."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgemon.config import parse
from edgemon.control import nudge
from edgemon.ship.notify import REFUSALS
from edgemon.ship.uploader import Uploader
from edgemon.spool.fs import OsFileSystem
from edgemon.spool.notices import Notices, new_key
from tests.certificates import OPENSSL, Certificates
from tests.notice_servers import Hook, MailServer, server_context
from tests.servers import HOST, free_port, wait_for
from tests.ship.rig import ShipProgram, config_text

NOTICE = {
    "id": "", "time": "2026-01-02T03:04:05Z", "device": "cam-7", "fleet": "lab", "state": "fired", "severity": "alarm",
    "message": "slow: latency.p99 is 312ms (model fraud, version 3)\r\nBcc: x@example.org", "model": "fraud",
    "version": "3", "stream": "", "series": "", "rule": "slow", "when": "latency.p99 > 250ms",
    "values": {"latency.p99": 0.312}, "since_s": 0.0, "suppressed": 0,
}  # fmt: skip


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    yield server
    server.stop()


class Bench:
    """A folder of notices, and a shipper for it."""

    def __init__(self, folder: Path, actions: str, sink: str = "none") -> None:
        text = config_text(folder, ship=f'sink = "{sink}"') + actions
        self.config = parse(text, str(folder / "edgemon.toml"))
        self._text = text
        self.notices = Notices(OsFileSystem(), self.config.agent.state_dir)
        self.program: ShipProgram | None = None

    def put(self, kind: str, action: str) -> str:
        key = new_key()
        self.notices.put(kind, action, key, json.dumps(NOTICE | {"id": key}).encode())
        return key

    def start(self) -> ShipProgram:
        self.program = ShipProgram(self.config, self._text)
        return self.program

    def once(self, *before: str) -> subprocess.CompletedProcess[str]:
        """before: words before the command."""
        Path(self.config.file).write_text(self._text)
        command = [sys.executable, "-m", "edgemon", "ship", "--config", self.config.file, "--once"]
        command = [*before, *command]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def wait_empty(self) -> None:
        wait_for(lambda: not self.notices.waiting(), what="all notices have left")

    def last_error(self) -> str:
        assert self.program is not None
        found = self.program.status()["notices"]
        assert isinstance(found, dict)
        return str(found["last_error"] or "")

    def stop(self) -> None:
        if self.program is not None and self.program.process.poll() is None:
            assert self.program.end() == 0


@pytest.fixture
def bench(short_tmp: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(actions: str, sink: str = "none") -> Bench:
        made.append(Bench(short_tmp, actions, sink))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def private(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def webhook(
    hook: Hook, name: str = "duty", more: str = "", host: str = HOST, scheme: str = "http"
) -> str:
    return f'[actions.{name}]\nurl = "{scheme}://{host}:{hook.port}/hook?room=7"\n{more}\n'


def children_of(pid: int) -> list[str]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


def test_a_webhook_is_posted_as_it_was_written_signed_and_with_its_token(
    bench: Callable[..., Bench], hook: Hook, tmp_path: Path
) -> None:
    key = private(tmp_path, "key", "a secret\nsecond line\n")
    token = private(tmp_path, "token", "tok-1\n")
    one = bench(webhook(hook, more=f'hmac_key_file = "{key}"\ntoken_file = "{token}"'))
    identity = one.put("webhook", "duty")
    program = one.start()
    one.wait_empty()
    [post] = hook.posts
    assert post.path == "/hook?room=7"
    assert json.loads(post.body) == NOTICE | {"id": identity}
    assert post.headers["Content-Type"] == "application/json"
    assert post.headers["X-Edgemon-Id"] == identity
    digest = hmac.new(b"a secret", post.body, hashlib.sha256).hexdigest()
    assert post.headers["X-Edgemon-Signature"] == f"sha256={digest}"
    assert post.headers["Authorization"] == "Bearer tok-1"
    wait_for(lambda: not children_of(program.process.pid), what="the process that sends is gone")
    program.wait_status(
        lambda status: status["notices"] == {"waiting": 0, "sent": 1, "last_error": None},
        "the count",
    )


def test_who_starts_it_ignoring_the_ends_of_children_does_not_take_them_from_the_shipper(
    bench: Callable[..., Bench], hook: Hook
) -> None:
    one = bench(webhook(hook))
    one.put("webhook", "duty")
    ignoring = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    result = one.once(sys.executable, "-c", f"{ignoring}; os.execv(sys.argv[1], sys.argv[1:])")
    assert (result.returncode, result.stderr.count("Traceback")) == (0, 0), result.stderr
    assert len(hook.posts) == 1
    assert not one.notices.waiting()


def test_a_server_in_trouble_is_tried_again_until_it_takes_it(
    bench: Callable[..., Bench], hook: Hook
) -> None:
    hook.answers = [503, 429, 500]
    one = bench(webhook(hook))
    identity = one.put("webhook", "duty")
    one.start()
    one.wait_empty()
    assert [post.headers["X-Edgemon-Id"] for post in hook.posts] == [identity] * 4
    assert one.last_error() == f"duty: {HOST}:{hook.port} answered 500 Internal Server Error"


def test_what_was_under_way_when_the_shipper_was_killed_is_sent_again(
    bench: Callable[..., Bench], hook: Hook
) -> None:
    hook.held.set()
    one = bench(webhook(hook))
    keys = [one.put("webhook", "duty") for _ in range(3)]
    program = one.start()
    wait_for(lambda: hook.posts, what="the first request")
    program.end(signal.SIGKILL)
    assert len(one.notices.waiting()) == 3
    hook.held.clear()
    hook.go_on.set()
    one.start()
    one.wait_empty()
    assert [post.headers["X-Edgemon-Id"] for post in hook.posts] == [keys[0], *keys]


def test_what_is_refused_for_good_is_given_up_and_the_next_is_sent(
    bench: Callable[..., Bench], hook: Hook
) -> None:
    hook.answers = [404] * REFUSALS
    one = bench(webhook(hook))
    one.put("webhook", "duty")
    after = one.put("webhook", "duty")
    program = one.start()
    one.wait_empty()
    assert len(hook.posts) == REFUSALS + 1
    assert hook.posts[-1].headers["X-Edgemon-Id"] == after
    counters = program.status()["counters"]
    assert isinstance(counters, dict)
    assert counters['edgemon_ship_dropped_notices_total{reason="refused"}'] == 1
    assert counters['edgemon_ship_notice_failures_total{reason="webhook"}'] == REFUSALS


def test_a_damaged_notice_is_given_up_and_the_next_is_sent(
    bench: Callable[..., Bench], hook: Hook
) -> None:
    one = bench(webhook(hook))
    one.put("webhook", "duty")
    [damaged] = one.notices.waiting()
    Path(one.notices.path(damaged)).write_bytes(b"\0" * 100)
    after = one.put("webhook", "duty")
    one.start()
    one.wait_empty()
    assert [post.headers["X-Edgemon-Id"] for post in hook.posts] == [after]


def test_one_that_cannot_be_reached_holds_up_no_other(
    bench: Callable[..., Bench], hook: Hook
) -> None:
    other = Hook()
    try:
        hook.answers = [503] * 100_000
        one = bench(webhook(hook) + webhook(other, "other"))
        one.put("webhook", "duty")
        key = one.put("webhook", "other")
        one.start()
        wait_for(lambda: other.posts, what="the other one")
        assert other.posts[0].headers["X-Edgemon-Id"] == key
        wait_for(lambda: len(one.notices.waiting()) == 1, what="it has left")
    finally:
        other.stop()


def test_a_redirection_is_not_followed(bench: Callable[..., Bench], hook: Hook) -> None:
    hook.answers = [302]
    one = bench(webhook(hook))
    one.put("webhook", "duty")
    one.start()
    one.wait_empty()
    assert [post.path for post in hook.posts] == ["/hook?room=7"] * 2
    assert "answered 302 Found; redirections are not followed" in one.last_error()


def test_what_no_action_is_for_any_more_is_dropped_and_counted(
    bench: Callable[..., Bench], hook: Hook
) -> None:
    one = bench(webhook(hook))
    one.put("webhook", "gone")
    one.put("email", "duty")
    program = one.start()
    one.wait_empty()
    assert hook.posts == []
    program.wait_status(
        lambda status: (
            "'edgemon_ship_dropped_notices_total{reason=\"unknown_action\"}': 2"
            in str(status["counters"])
        ),
        "the count",
    )


def test_no_more_than_max_per_hour_leave(bench: Callable[..., Bench], hook: Hook) -> None:
    one = bench(webhook(hook, more="max_per_hour = 2"))
    for _ in range(4):
        one.put("webhook", "duty")
    program = one.start()
    program.wait_status(lambda status: "'sent': 2" in str(status["notices"]), "two are sent")
    program.wait_status(lambda status: "'waiting': 2" in str(status["notices"]), "two wait")
    wait_for(lambda: not children_of(program.process.pid), what="nobody waits for the hour to end")
    assert len(hook.posts) == 2


def test_once_sends_what_waits_and_says_whether_it_could(
    bench: Callable[..., Bench], hook: Hook
) -> None:
    one = bench(webhook(hook))
    one.put("webhook", "duty")
    assert one.once().returncode == 0
    assert len(hook.posts) == 1
    away = bench(webhook(hook).replace(f":{hook.port}/", f":{free_port()}/"))
    away.put("webhook", "duty")
    done = away.once()
    assert done.returncode == 5
    assert "connection refused" in done.stderr
    assert len(away.notices.waiting()) == 1


def test_a_nudge_sends_at_once_and_a_reload_takes_another_address(
    bench: Callable[..., Bench], hook: Hook
) -> None:
    one = bench(webhook(hook).replace(f":{hook.port}/", f":{free_port()}/"))
    program = one.start()
    program.wait_status(lambda status: status["notices"] is not None, "it answers")
    one.put("webhook", "duty")
    nudge(program.socket)
    wait_for(lambda: "connection refused" in one.last_error(), what="an error")
    Path(one.config.file).write_text(
        config_text(Path(one.config.agent.run_dir), ship='sink = "none"') + webhook(hook)
    )
    program.process.send_signal(signal.SIGHUP)
    one.wait_empty()
    assert len(hook.posts) == 1


def test_a_secret_that_everybody_can_read_is_not_used(
    bench: Callable[..., Bench], hook: Hook, tmp_path: Path
) -> None:
    key = private(tmp_path, "key", "a secret\n")
    one = bench(webhook(hook, more=f'hmac_key_file = "{key}"'))
    one.put("webhook", "duty")
    key.chmod(0o600)
    program = one.start()
    one.wait_empty()
    os.chmod(key, 0o644)  # while it runs
    one.put("webhook", "duty")
    nudge(program.socket)
    wait_for(lambda: "can be read by everybody" in one.last_error(), what="the refusal")
    assert len(hook.posts) == 1


# -- e-mail and TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if OPENSSL is None:
        pytest.skip("needs openssl (Debian: openssl)")
    return Certificates(tmp_path_factory.mktemp("tls") / "certificates")


def mail(server: MailServer, more: str) -> str:
    return (
        f'[actions.boss]\nto = ["boss@example.org", "duty@example.org"]\nsender = "cam@example.org"\n'
        f'smtp_host = "{HOST}"\nsmtp_port = {server.port}\n{more}\n'
    )


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_an_e_mail_is_sent_encrypted_and_with_the_password(
    bench: Callable[..., Bench], certificates: Certificates, tmp_path: Path, security: str
) -> None:
    context = server_context(*certificates.signed(f"mail-{security}", HOST))
    password = private(tmp_path, "password", "open sesame\n")
    server = MailServer(context, at_once=security == "tls", password="open sesame")
    try:
        one = bench(mail(
            server,
            f'security = "{security}"\nca_file = "{certificates.ca}"\nusername = "cam"\npassword_file = "{password}"',
        ))  # fmt: skip
        key = one.put("email", "boss")
        one.start()
        one.wait_empty()
    finally:
        server.stop()
    [letter] = server.letters
    assert server.recipients == [["boss@example.org", "duty@example.org"]]
    assert letter["Subject"] == (
        "[edgemon] cam-7: alarm: slow: latency.p99 is 312ms (model fraud, version 3) Bcc: x@example.org"
    )
    assert letter["Bcc"] is None  # what an application calls its model makes no header
    assert letter["Message-ID"] == f"<{key}@example.org>"
    text = letter.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert b"when: latency.p99 > 250ms" in text
    assert b"latency.p99 = 0.312" in text


def test_a_server_without_starttls_gets_no_mail(bench: Callable[..., Bench]) -> None:
    server = MailServer()
    try:
        one = bench(mail(server, ""))
        one.put("email", "boss")
        program = one.start()
        program.wait_status(lambda status: "STARTTLS" in str(status["notices"]), "the refusal")
        assert server.letters == []
    finally:
        server.stop()


def test_a_mail_server_that_cannot_now_is_tried_again(bench: Callable[..., Bench]) -> None:
    server = MailServer()
    server.answer = "451 later"
    try:
        one = bench(mail(server, 'security = "none"'))
        one.put("email", "boss")
        program = one.start()
        program.wait_status(
            lambda status: "answered 451 later" in str(status["notices"]), "the trouble"
        )
        server.answer = "250 OK"
        one.wait_empty()
        assert len(server.letters) == 1
    finally:
        server.stop()


def test_a_server_is_trusted_by_its_certificate_alone(
    bench: Callable[..., Bench], certificates: Certificates
) -> None:
    hook = Hook(server_context(*certificates.signed("hook", HOST)))
    try:
        stranger = bench(webhook(hook, scheme="https"))
        stranger.put("webhook", "duty")
        program = stranger.start()
        program.wait_status(
            lambda status: "certificate is not trusted" in str(status["notices"]), "the distrust"
        )
        assert hook.posts == []
        stranger.stop()
        bench(webhook(hook, scheme="https", more=f'ca_file = "{certificates.ca}"')).start()
        stranger.wait_empty()
        assert len(hook.posts) == 1
    finally:
        hook.stop()


def test_a_shipper_without_actions_loads_nothing_of_this(bench: Callable[..., Bench]) -> None:
    one = bench("")
    program = one.start()
    program.wait_status(lambda status: status["notices"] is None, "it answers")
    maps = Path(f"/proc/{program.process.pid}/maps").read_text()
    assert "libssl" not in maps


def test_a_child_for_which_there_are_no_descriptors_leaves_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipe2 = os.pipe2
    made: list[tuple[int, int]] = []

    def one(flags: int) -> tuple[int, int]:
        if made:
            raise OSError(24, "Too many open files")
        made.append(pipe2(flags))
        return made[0]

    uploader = Uploader("--notices")
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "pipe2", one)
    with pytest.raises(OSError, match="Too many"):
        uploader.give({}, 0.0)
    assert len(os.listdir("/proc/self/fd")) == before
    assert uploader.fileno() == -1
