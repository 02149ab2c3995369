"""The control socket: requests, bounds, and who may take the path."""

from __future__ import annotations

import json
import os
import select
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgemon import control
from edgemon.control import ControlServer, Handler, Message, make_run_dir, nudge, request
from edgemon.errors import EdgemonError, LockedError, UnreachableError, UsageError


class Running:
    """A server whose loop runs in a thread, so that the tests can be ordinary blocking clients."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.seen: list[Message] = []
        self.nudged = threading.Event()
        handlers: dict[str, Handler] = {
            "echo": self._echo,
            "nudge": self._nudge,
            "refuse": self._refuse,
            "break": self._break,
            "large": lambda _: {"text": "x" * 1_000_000},
        }
        self.server = ControlServer(path, handlers)
        self._stop_r, self._stop_w = os.pipe()
        self._thread = threading.Thread(target=self._loop)
        self._thread.start()

    def _loop(self) -> None:
        poll = select.poll()
        poll.register(self.server.fileno(), select.POLLIN)
        poll.register(self._stop_r, select.POLLIN)
        while not any(fd == self._stop_r for fd, _ in poll.poll()):
            self.server.on_readable()

    def stop(self) -> None:
        os.write(self._stop_w, b"x")
        self._thread.join()
        self.server.close()
        os.close(self._stop_r)
        os.close(self._stop_w)

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(10)
        sock.connect(self.path)
        return sock

    def _echo(self, message: Message) -> Message:
        self.seen.append(message)
        return {"you_said": message.get("text")}

    def _nudge(self, _: Message) -> Message:
        self.nudged.set()
        return {}

    def _refuse(self, _: Message) -> Message:
        raise EdgemonError("not today")

    def _break(self, _: Message) -> Message:
        raise ZeroDivisionError("our own mistake")


@pytest.fixture
def running(short_tmp: Path) -> Iterator[Running]:
    server = Running(str(short_tmp / "s.sock"))
    yield server
    server.stop()


def read_line(sock: socket.socket) -> object:
    with sock.makefile("rb") as stream:
        return json.loads(stream.readline())


def test_a_request_gets_the_handlers_reply(running: Running) -> None:
    assert request(running.path, {"cmd": "echo", "text": "hé"}) == {"you_said": "hé"}


def test_the_socket_is_for_its_owner_alone(running: Running) -> None:
    assert stat.S_IMODE(os.stat(running.path).st_mode) == 0o600


def test_an_error_of_the_handler_is_raised_at_the_client(running: Running) -> None:
    with pytest.raises(EdgemonError, match=r"^not today$"):
        request(running.path, {"cmd": "refuse"})


def test_a_handler_that_breaks_does_not_stop_the_server(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(EdgemonError, match="break failed: ZeroDivisionError"):
        request(running.path, {"cmd": "break"})
    assert "our own mistake" in capsys.readouterr().err
    assert request(running.path, {"cmd": "echo"}) == {"you_said": None}


def test_an_unknown_command_names_the_known_ones(running: Running) -> None:
    with pytest.raises(EdgemonError, match="unknown command 'ehco'; known are break, echo"):
        request(running.path, {"cmd": "ehco"})


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b"\xff\n", b"[]\n", b'{"cmd":["echo"]}\n', b"[" * 20_000 + b"\n"]
)
def test_what_is_no_request_gets_an_error_and_the_connection_goes_on(
    running: Running, line: bytes
) -> None:
    with running.connect() as sock:
        sock.sendall(line)
        assert "error" in str(read_line(sock))
        sock.sendall(b'{"cmd":"echo","text":1}\n')
        assert read_line(sock) == {"you_said": 1}


def test_an_endless_line_is_refused_and_the_connection_closed(running: Running) -> None:
    with running.connect() as sock:
        sock.sendall(b"x" * (control.MAX_REQUEST_BYTES + 1))
        assert "longer than 65536 bytes" in str(read_line(sock))
        assert sock.recv(1) == b""


def test_a_request_in_pieces_is_put_together(running: Running) -> None:
    with running.connect() as sock:
        for byte in b'{"cmd":"echo","text":"piecemeal"}\n':
            sock.sendall(bytes([byte]))
        assert read_line(sock) == {"you_said": "piecemeal"}


def test_thousands_of_requests_at_once_are_answered_in_order(running: Running) -> None:
    with running.connect() as sock:
        lines = b"".join(b'{"cmd":"echo","text":%d}\n' % n for n in range(2_000))
        threading.Thread(target=sock.sendall, args=(lines,)).start()
        with sock.makefile("rb") as stream:
            assert [json.loads(stream.readline())["you_said"] for _ in range(2_000)] == list(
                range(2_000)
            )


def test_a_client_that_never_reads_holds_nobody_else(running: Running) -> None:
    with running.connect() as sock:
        sock.sendall(b'{"cmd":"large"}\n' * 8)
        assert request(running.path, {"cmd": "echo", "text": 2}, timeout_s=10) == {"you_said": 2}


def test_a_reply_larger_than_the_socket_buffer_arrives_whole(running: Running) -> None:
    assert request(running.path, {"cmd": "large"}, timeout_s=10) == {"text": "x" * 1_000_000}


def test_one_client_too_many_closes_the_one_that_was_silent_longest(running: Running) -> None:
    clients = []
    for number in range(control.MAX_CLIENTS):
        sock = running.connect()
        sock.sendall(b'{"cmd":"echo","text":%d}\n' % number)
        assert read_line(sock) == {"you_said": number}
        clients.append(sock)
    clients[0].sendall(b'{"cmd":"echo","text":"still here"}\n')
    assert read_line(clients[0]) == {"you_said": "still here"}
    assert request(running.path, {"cmd": "echo", "text": "late"}) == {"you_said": "late"}
    assert clients[1].recv(1) == b""
    clients[2].sendall(b'{"cmd":"echo","text":"kept"}\n')
    assert read_line(clients[2]) == {"you_said": "kept"}
    for sock in clients:
        sock.close()


def test_a_nudge_is_taken_without_waiting_for_an_answer(running: Running) -> None:
    assert nudge(running.path)
    assert running.nudged.wait(10)


def test_a_nudge_to_nobody_is_false(short_tmp: Path) -> None:
    assert not nudge(str(short_tmp / "nobody.sock"))


def test_nobody_there_is_one_helpful_line(short_tmp: Path) -> None:
    path = str(short_tmp / "nobody.sock")
    with pytest.raises(UnreachableError) as caught:
        request(path, {"cmd": "status"})
    assert str(caught.value) == f"no agent answers on {path}; is `edgemon run` running?"
    assert caught.value.exit_code == 5


def test_a_process_that_hangs_is_given_up_after_the_timeout(short_tmp: Path) -> None:
    path = str(short_tmp / "hung.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        with pytest.raises(UnreachableError, match=r"did not answer within 0\.05 s"):
            request(path, {"cmd": "status"}, timeout_s=0.05, who="shipper")


def test_a_stale_socket_file_is_replaced(short_tmp: Path) -> None:
    path = str(short_tmp / "s.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    server = ControlServer(path, {})
    server.close()
    assert not os.path.exists(path)


def test_a_socket_that_answers_is_left_alone(running: Running) -> None:
    with pytest.raises(LockedError, match="another process answers"):
        ControlServer(running.path, {})
    assert request(running.path, {"cmd": "echo", "text": 1}) == {"you_said": 1}


def test_an_ordinary_file_at_the_path_is_left_alone(short_tmp: Path) -> None:
    path = short_tmp / "s.sock"
    path.write_text("precious")
    with pytest.raises(UnreachableError, match="a file that is no socket"):
        ControlServer(str(path), {})
    assert path.read_text() == "precious"


def test_closing_leaves_the_socket_of_a_successor(short_tmp: Path) -> None:
    path = str(short_tmp / "s.sock")
    first = ControlServer(path, {})
    os.unlink(path)
    second = ControlServer(path, {})
    first.close()
    assert os.path.exists(path)
    second.close()


def test_a_path_too_long_for_a_socket_says_so(short_tmp: Path) -> None:
    with pytest.raises(UsageError, match="may have 107"):
        ControlServer(str(short_tmp / ("x" * 107)), {})


def test_a_new_run_dir_can_be_entered_by_all_and_one_that_is_there_stays(short_tmp: Path) -> None:
    made, there = short_tmp / "made", short_tmp / "there"
    there.mkdir(mode=0o700)
    umask = os.umask(0o022)
    try:
        for folder in (made, there):
            make_run_dir(str(folder))
    finally:
        os.umask(umask)
    assert [folder.stat().st_mode & 0o777 for folder in (made, there)] == [0o755, 0o700]
