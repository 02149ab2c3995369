"""`edgemon receive s3://…`: what is new, once, from real S3 servers."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

import pytest

from edgemon.errors import StorageError, UsageError
from edgemon.receive.control import Limits, Stop
from edgemon.receive.intake import Intake
from edgemon.receive.quarantine import Quarantine
from edgemon.receive.s3 import BucketSource, parse_url, sender_of
from edgemon.receive.seen import Seen
from edgemon.receive.sqlite import SqliteStore
from tests.receive.batches import make_frame
from tests.receive.processes import Receiver, edgemon, query, seqs
from tests.s3_servers import Rclone, S3Server, Seaweed
from tests.servers import wait_for

OURS = "v1/fleet=default/dt=2025-06-15/hour=15/device=dev-1/"


@pytest.fixture(params=["seaweed", "rclone"])
def server(request: pytest.FixtureRequest) -> S3Server:
    made: S3Server = request.getfixturevalue(request.param)
    return made


# What does not depend on the store is tried with one.
one_store = pytest.mark.parametrize("server", ["seaweed"], indirect=True)


def put(server: S3Server, bucket: str, key: str, *wanted: int, prefix: str = OURS) -> None:
    body = b"".join(make_frame(seq) for seq in wanted)
    server.client().put_object(Bucket=bucket, Key=f"{prefix}{key}.msgpack.zst", Body=body)


def words(server: S3Server, bucket: str, *more: str, prefix: str = "") -> list[str]:
    url = f"s3://{bucket}/{prefix}"
    return [url, "--endpoint-url", server.endpoint, "--to", "sqlite:fleet.db", *more]


def receive(folder: Path, server: S3Server, bucket: str, *more: str, prefix: str = "") -> str:
    result = edgemon("receive", *words(server, bucket, *more, prefix=prefix), cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stderr.decode()


def test_every_batch_of_every_object_is_stored(server: S3Server, tmp_path: Path) -> None:
    bucket = server.bucket()
    put(server, bucket, "a", 1, 2, 3)
    put(server, bucket, "b", 4)
    receive(tmp_path, server, bucket)
    assert seqs(tmp_path / "fleet.db") == [1, 2, 3, 4]


def test_the_second_run_reads_only_what_is_new(server: S3Server, tmp_path: Path) -> None:
    bucket = server.bucket()
    put(server, bucket, "b", 2)
    assert "1 new objects" in receive(tmp_path, server, bucket)
    assert "0 new objects" in receive(tmp_path, server, bucket)
    put(server, bucket, "a", 1)  # before what was seen: a device ships late
    put(server, bucket, "c", 3)
    assert "2 new objects" in receive(tmp_path, server, bucket)
    assert seqs(tmp_path / "fleet.db") == [1, 2, 3]


@one_store
def test_an_object_that_changed_is_read_again_and_nothing_is_stored_twice(
    server: S3Server, tmp_path: Path
) -> None:
    bucket = server.bucket()
    put(server, bucket, "a", 1)
    receive(tmp_path, server, bucket)
    put(server, bucket, "a", 1, 2)
    assert "1 new objects" in receive(tmp_path, server, bucket)
    assert seqs(tmp_path / "fleet.db") == [1, 2]


@one_store
def test_without_its_memory_it_reads_all_and_stores_nothing_twice(
    server: S3Server, tmp_path: Path
) -> None:
    bucket = server.bucket()
    put(server, bucket, "a", 1, 2)
    receive(tmp_path, server, bucket)
    for file in tmp_path.glob("fleet.db.objects*"):
        file.unlink()
    assert "2 known before" in receive(tmp_path, server, bucket)
    assert seqs(tmp_path / "fleet.db") == [1, 2]


@one_store
def test_what_a_lifecycle_rule_removed_is_forgotten(server: S3Server, tmp_path: Path) -> None:
    bucket = server.bucket()
    put(server, bucket, "a", 1)
    put(server, bucket, "b", 2)
    receive(tmp_path, server, bucket)
    server.client().delete_object(Bucket=bucket, Key=f"{OURS}a.msgpack.zst")
    receive(tmp_path, server, bucket)
    keys = query(tmp_path / "fleet.db.objects", "SELECT key FROM seen")
    assert keys == [(f"{OURS}b.msgpack.zst",)]
    assert seqs(tmp_path / "fleet.db") == [1, 2]


@one_store
def test_only_what_is_below_the_prefix_is_read(server: S3Server, tmp_path: Path) -> None:
    bucket = server.bucket()
    put(server, bucket, "a", 1, prefix=f"site/{OURS}")
    put(server, bucket, "b", 2, prefix=f"site-2/{OURS}")
    receive(tmp_path, server, bucket, prefix="site")
    assert seqs(tmp_path / "fleet.db") == [1]


@one_store
def test_damage_goes_to_the_quarantine_and_the_rest_is_stored(
    server: S3Server, tmp_path: Path
) -> None:
    bucket = server.bucket()
    whole = make_frame(3)
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 0x55
    body = make_frame(1) + bytes(broken) + make_frame(2)
    server.client().put_object(Bucket=bucket, Key=f"{OURS}a.msgpack.zst", Body=body)
    torn = make_frame(4) + whole[:-7]
    server.client().put_object(Bucket=bucket, Key=f"{OURS}b.msgpack.zst", Body=torn)
    put(server, bucket, "c", 5)
    result = edgemon("receive", *words(server, bucket), cwd=tmp_path)
    assert result.returncode == 4
    assert seqs(tmp_path / "fleet.db") == [1, 2, 4, 5]
    kept = [path.read_bytes() for path in (tmp_path / "fleet.db.quarantine").glob("*.zst")]
    assert sorted(kept, key=len) == sorted([bytes(broken), whole[:-7]], key=len)
    again = edgemon("receive", *words(server, bucket), cwd=tmp_path)
    assert again.returncode == 0 and b"0 new objects" in again.stderr


@one_store
def test_a_batch_in_the_folder_of_another_device_is_put_aside(
    server: S3Server, tmp_path: Path
) -> None:
    bucket = server.bucket()
    put(server, bucket, "a", 1, prefix=OURS.replace("dev-1", "dev-2"))
    result = edgemon("receive", *words(server, bucket), cwd=tmp_path)
    assert result.returncode == 4
    assert b"in the name of default/dev-2" in result.stderr
    assert seqs(tmp_path / "fleet.db") == []


@one_store
def test_objects_that_are_no_batches_are_left_alone(server: S3Server, tmp_path: Path) -> None:
    bucket = server.bucket()
    server.client().put_object(Bucket=bucket, Key="v1/readme.txt", Body=b"hello")
    put(server, bucket, "a", 1)
    receive(tmp_path, server, bucket)
    assert seqs(tmp_path / "fleet.db") == [1]


def test_following_stores_what_comes(server: S3Server, tmp_path: Path) -> None:
    bucket = server.bucket()
    put(server, bucket, "a", 1)
    with Receiver(tmp_path, *words(server, bucket, "--follow", "--interval", "100ms")) as receiver:
        wait_for(lambda: seqs(tmp_path / "fleet.db") == [1], what="the first")
        today = OURS.replace("2025-06-15", "9999-12-31")
        put(server, bucket, "b", 2, prefix=today)
        wait_for(lambda: seqs(tmp_path / "fleet.db") == [1, 2], what="the second")
        assert receiver.stop() == 0


def test_following_outlives_a_store_that_is_away(rclone: Rclone, tmp_path: Path) -> None:
    bucket = rclone.bucket()
    put(rclone, bucket, "a", 1, prefix="anywhere/")
    with Receiver(tmp_path, *words(rclone, bucket, "--follow", "--interval", "100ms")) as receiver:
        wait_for(lambda: seqs(tmp_path / "fleet.db") == [1], what="the first")
        rclone.kill()
        receiver.wait_for_log("next try in")
        rclone.start()
        put(rclone, bucket, "b", 2, prefix="anywhere/")
        wait_for(lambda: seqs(tmp_path / "fleet.db") == [1, 2], what="the second")
        assert receiver.stop() == 0


@one_store
def test_following_ends_when_nothing_comes(server: S3Server, tmp_path: Path) -> None:
    bucket = server.bucket()
    put(server, bucket, "a", 1)
    receive(tmp_path, server, bucket, "--follow", "--until-idle", "300ms", "--interval", "100ms")
    assert seqs(tmp_path / "fleet.db") == [1]


def test_what_could_not_be_stored_is_not_remembered(
    seaweed: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = seaweed.bucket()
    put(seaweed, bucket, "a", 1)
    put(seaweed, bucket, "b", 2)
    store = SqliteStore(str(tmp_path / "fleet.db"))
    seen = Seen(str(tmp_path / "fleet.db.objects"))
    place = parse_url(f"s3://{bucket}", "", seaweed.endpoint)

    def look() -> int:
        intake = Intake(store, Quarantine(str(tmp_path / "quarantine")))
        with Stop() as stop:
            return BucketSource(place, intake, seen, stop, Limits()).run_once().files

    def full(*_: object) -> None:
        raise StorageError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "write", full)
        with pytest.raises(StorageError, match="disk full"):
            look()
    seen.close()
    seen = Seen(str(tmp_path / "fleet.db.objects"))
    assert look() == 2
    assert look() == 0
    seen.close()
    store.close()
    assert seqs(tmp_path / "fleet.db") == [1, 2]


@one_store
def test_a_receiver_that_is_killed_goes_on_where_it_was(server: S3Server, tmp_path: Path) -> None:
    bucket = server.bucket()
    for number in range(30):
        put(server, bucket, f"{number:02}", *range(10 * number + 1, 10 * number + 11))
    for wait_s in (0.4, 0.6, 0.8):
        with Receiver(tmp_path, *words(server, bucket)) as receiver:
            with contextlib.suppress(subprocess.TimeoutExpired):
                receiver.process.wait(wait_s)
            receiver.kill()
    receive(tmp_path, server, bucket)
    assert seqs(tmp_path / "fleet.db") == list(range(1, 301))


@one_store
def test_rows_on_standard_output_are_all_of_them_each_time(
    server: S3Server, tmp_path: Path
) -> None:
    bucket = server.bucket()
    put(server, bucket, "a", 1)
    for _ in range(2):
        result = edgemon(
            "receive", f"s3://{bucket}", "--endpoint-url", server.endpoint, cwd=tmp_path
        )
        rows = [json.loads(line) for line in result.stdout.splitlines()]
        assert {row["seq"] for row in rows} == {1} and len(rows) == 3


def test_a_bucket_that_is_not_there_is_one_line(server: S3Server, tmp_path: Path) -> None:
    result = edgemon("receive", *words(server, "no-such-bucket"), cwd=tmp_path)
    assert result.returncode == 5
    assert b'there is no bucket "no-such-bucket"' in result.stderr
    assert b"Traceback" not in result.stderr


def test_a_wrong_secret_is_one_line(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = server.bucket()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    result = edgemon("receive", *words(server, bucket, "--follow"), cwd=tmp_path)
    assert result.returncode == 5
    assert b"the secret key does not fit the access key" in result.stderr


@pytest.mark.parametrize("url", ["s3://", "s3:///prefix", "s4://bucket", "bucket"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        parse_url(url, "", "")


def test_the_sender_is_what_the_key_says() -> None:
    assert sender_of(f"a/b/{OURS}x.zst") == ("default", "dev-1")
    assert sender_of("a/device=cam/x.zst") is None
