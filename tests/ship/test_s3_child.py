"""The upload process's work against a store that answers as it is told: each refusal, one line."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from edgemon._core.crc32c import crc32c
from edgemon.ship.s3_child import PART_BYTES, Uploads, serve
from edgemon.ship.s3_store import Place, explain

BODY = b"some frames" * 100
KEY = "v1/fleet=lab/x.msgpack.zst"


class Reply(NamedTuple):
    status: int
    code: str = ""
    more: str = ""  # further elements of the error document
    headers: dict[str, str] = {}  # noqa: RUF012 (never changed)
    body: str = ""


class Store:
    """Answers requests in the order of `script`, the last one for ever; `log` has what came."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.log: list[tuple[str, dict[str, str], bytes]] = []
        self.clock_s: float | None = None
        store = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                store.log.append((self.command, headers, body))
                reply = store.script.pop(0) if len(store.script) > 1 else store.script[0]
                text = reply.body
                if reply.code:
                    text = (
                        f"<Error><Code>{reply.code}</Code><Message>so</Message>{reply.more}</Error>"
                    )
                self.send_response_only(reply.status)
                self.send_header("Date", formatdate(store.clock_s, usegmt=True))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in reply.headers:
                    self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text.encode())

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def store(s3_credentials: None) -> Iterator[Store]:
    made = Store()
    yield made
    made.close()


def job(store: Store, op: str = "put", **more: object) -> dict[str, Any]:
    place = {"bucket": "bucket", "prefix": "", "region": "", "endpoint": store.endpoint}
    return place | {"op": op} | more


@pytest.fixture
def put(store: Store, tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "object.part"
    path.write_bytes(BODY)
    about: dict[str, Any] = {
        "path": str(path),
        "key": KEY,
        "size_bytes": len(BODY),
        "crc32c": crc32c(BODY),
    }
    return job(store, **about)


def test_an_object_goes_up_once_with_its_checksum_and_its_condition(
    store: Store, put: dict[str, Any]
) -> None:
    store.script = [Reply(200)]
    assert Uploads().do(put) == ("ok", "")
    ((method, headers, body),) = store.log
    assert (method, body) == ("PUT", BODY)
    assert headers["if-none-match"] == "*" and headers["content-md5"]
    assert headers["x-amz-meta-edgemon-crc32c"] == f"{crc32c(BODY):08x}"


def test_a_file_that_changed_under_the_upload_is_not_sent(
    store: Store, put: dict[str, Any]
) -> None:
    Path(put["path"]).write_bytes(BODY[:-1] + b"!")
    result, message = Uploads().do(put)
    assert result == "temporary" and "has changed" in message
    assert store.log == []


def test_a_file_that_is_gone_is_temporary(store: Store, put: dict[str, Any]) -> None:
    Path(put["path"]).unlink()
    result, message = Uploads().do(put)
    assert result == "temporary" and "No such file" in message


def test_a_store_without_conditions_is_asked_without_them_from_then_on(
    store: Store, put: dict[str, Any]
) -> None:
    store.script = [Reply(501, "NotImplemented"), Reply(200)]
    uploads = Uploads()
    assert uploads.do(put) == ("ok", "")
    assert uploads.do(put) == ("ok", "")
    assert ["if-none-match" in headers for _, headers, _ in store.log] == [True, False, False]


@pytest.mark.parametrize(
    ("size", "checksum", "result"),
    [
        (len(BODY), crc32c(BODY), "ok"),
        (len(BODY), crc32c(BODY) ^ 1, "permanent"),
        (len(BODY) + 1, crc32c(BODY), "permanent"),
    ],
)
def test_an_object_that_is_there_is_ours_when_size_and_checksum_agree(
    store: Store, put: dict[str, Any], size: int, checksum: int, result: str
) -> None:
    there = {
        "Content-Length": str(size),
        "x-amz-meta-edgemon-crc32c": f"{checksum:08x}",
        "ETag": '"that of an encrypted object"',
    }
    store.script = [Reply(412, "PreconditionFailed"), Reply(200, headers=there)]
    found, message = Uploads().do(put)
    assert found == result
    assert result == "ok" or f"another object has the name {KEY}" in message


def test_an_object_that_we_may_not_look_at_is_written_again(
    store: Store, put: dict[str, Any]
) -> None:
    store.script = [Reply(412, "PreconditionFailed"), Reply(403), Reply(200)]
    assert Uploads().do(put) == ("ok", "")
    assert [method for method, _, _ in store.log] == ["PUT", "HEAD", "PUT"]
    assert "if-none-match" not in store.log[-1][1]


def test_two_writers_at_once_are_temporary(store: Store, put: dict[str, Any]) -> None:
    store.script = [Reply(409, "ConditionalRequestConflict")]
    assert Uploads().do(put)[0] == "temporary"


@pytest.mark.parametrize(
    ("reply", "result", "message"),
    [
        (Reply(400, "EntityTooLarge"), "permanent", "EntityTooLarge"),
        (Reply(400, "KeyTooLongError"), "permanent", "KeyTooLongError"),
        (Reply(404, "NoSuchBucket"), "temporary", 'there is no bucket "bucket" at http://127'),
        (Reply(403, "AccessDenied"), "temporary", "denies s3:PutObject on s3://bucket"),
        (Reply(403, "SignatureDoesNotMatch"), "temporary", "secret key does not fit"),
        (Reply(403, "InvalidAccessKeyId"), "temporary", "does not know the access key"),
        (Reply(400, "ExpiredToken"), "temporary", "session token: it has expired"),
        (
            Reply(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
            "temporary",
            'bucket "bucket" is in region eu-west-1: set s3.region to "eu-west-1"',
        ),
        (
            Reply(301, "PermanentRedirect", headers={"x-amz-bucket-region": "ap-south-1"}),
            "temporary",
            'is in region ap-south-1: set s3.region to "ap-south-1"',
        ),
        (Reply(503, "SlowDown"), "temporary", "is busy: SlowDown"),
        (Reply(400, "BadDigest"), "temporary", "BadDigest"),
        (Reply(507, "InsufficientStorage"), "temporary", "InsufficientStorage so"),
    ],
)
def test_every_refusal_is_one_line_and_permanent_only_where_the_object_is_the_reason(
    store: Store, put: dict[str, Any], reply: Reply, result: str, message: str
) -> None:
    store.script = [reply]
    found, said = Uploads().do(put)
    assert found == result and message in said and "\n" not in said


@pytest.mark.parametrize(
    ("off_s", "said"),
    [
        (-3 * 3600.0, "3 hours ahead of"),
        (20 * 60.0, "20 minutes behind"),
        (9e7, "1042 days behind"),
    ],
)
def test_a_wrong_clock_says_by_how_much(
    store: Store, put: dict[str, Any], off_s: float, said: str
) -> None:
    store.clock_s = time.time() + off_s
    store.script = [Reply(403, "RequestTimeTooSkewed")]
    result, message = Uploads().do(put)
    assert result == "temporary" and f"this clock is {said} the store's" in message
    store.script = [Reply(403, "SignatureDoesNotMatch")]  # what other stores say of it
    assert said in Uploads().do(put)[1]


def test_a_device_that_may_put_and_not_list_is_let_through(store: Store) -> None:
    store.script = [Reply(403, "AccessDenied")]
    assert Uploads().do(job(store, "check")) == ("ok", "")
    store.script = [Reply(403, "SignatureDoesNotMatch")]
    assert Uploads().do(job(store, "check"))[0] == "temporary"


def test_a_part_that_fails_leaves_no_parts_behind(
    store: Store, put: dict[str, Any], tmp_path: Path
) -> None:
    body = bytes(PART_BYTES + 1)
    (tmp_path / "big").write_bytes(body)
    big = put | {"path": str(tmp_path / "big"), "size_bytes": len(body), "crc32c": crc32c(body)}
    begun = "<R><Bucket>bucket</Bucket><Key>k</Key><UploadId>one</UploadId></R>"
    store.script = [Reply(200, body=begun), Reply(403, "AccessDenied"), Reply(204)]
    assert Uploads().do(big)[0] == "temporary"
    assert [method for method, _, _ in store.log] == ["POST", "PUT", "DELETE"]


def test_jobs_are_answered_line_by_line(store: Store, put: dict[str, Any]) -> None:
    store.script = [Reply(200)]
    jobs = io.BytesIO(json.dumps(put).encode() + b"\n" + json.dumps(put).encode() + b"\n")
    answers = io.BytesIO()
    serve(jobs, answers)
    lines = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert lines == [{"result": "ok", "message": ""}] * 2


def test_a_fault_of_our_own_is_told_and_tried_again() -> None:
    trouble = explain(ZeroDivisionError("division by zero"), Place("b", "", "", ""), "s3:PutObject")
    assert not trouble.permanent and "ZeroDivisionError" in trouble.message
