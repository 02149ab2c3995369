"""`edgemon ship` to a bucket: real processes, a real spool, real S3 servers."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgemon.records import KINDS
from edgemon.ship.sink import Key
from tests.receive.processes import edgemon, query
from tests.s3_servers import Rclone, S3Server, Seaweed
from tests.servers import wait_for
from tests.ship.objects import batches_of, frames_of
from tests.ship.rig import ShipProgram
from tests.ship.test_process import Place

AGES = 'max_age = "300ms"\nevent_max_age = "100ms"'


class Site(Place):
    """A device that ships to a bucket of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.bucket = ""

    def fill(
        self, server: S3Server, settings: str = AGES, *, bucket: str = "", ship: str = ""
    ) -> None:
        self.server = server
        self.bucket = bucket or server.bucket()
        s3 = f'bucket = "{self.bucket}"\nendpoint = "{server.endpoint}"\n{settings}'
        self.configure(1, ship=f'sink = "s3"\n{ship}', s3=s3)

    def contents(self) -> dict[str, list[tuple[Key, bytes]]]:
        """Object -> its batches."""
        found = {}
        for name, content in self.server.objects(self.bucket).items():
            kind, stream, first, last = batches_of(name)
            assert self.feeder is not None and stream == self.feeder.stream
            frames = frames_of(content)
            keys = [(kind, seq) for seq in range(first, last + 1)]
            found[name] = list(zip(keys, frames, strict=True))
        return found

    def assert_each_batch_is_in_one_object(self) -> None:
        assert self.feeder is not None
        contents = self.contents()
        batches = [batch for held in contents.values() for batch in held]
        names = "\n".join(sorted(name.rpartition("/")[2] for name in contents))
        log = self.program.log() if self.program is not None else ""
        found = Counter(key for key, _ in batches)
        assert found == Counter(self.feeder.sent.keys()), f"{names}\n{log}"
        assert dict(batches) == self.feeder.sent

    def assert_received_once(self) -> None:
        """Into SQLite, by the real command."""
        assert self.feeder is not None
        url = f"s3://{self.bucket}"
        result = edgemon(
            "receive", url, "--endpoint-url", self.server.endpoint, "--to", "sqlite:fleet.db",
            cwd=self.folder,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        rows = query(self.folder / "fleet.db", "SELECT kind, seq FROM batches")
        assert Counter(rows) == Counter(self.feeder.sent.keys())

    def wait_until_all_is_acknowledged(self, timeout_s: float = 60.0) -> None:
        feeder = self.feeder
        assert feeder is not None
        last = {
            kind: max((seq for k, seq in feeder.sent if k == kind), default=0) for kind in KINDS
        }
        assert self.program is not None
        self.program.wait_status(
            lambda status: status["acked"] == last, f"all acknowledged: {last}", timeout_s
        )


@pytest.fixture
def site(short_tmp: Path) -> Iterator[Site]:
    made = Site(short_tmp)
    yield made
    made.close()


def child_of(program: ShipProgram) -> int:
    """Process id of its upload process; 0 while there is none."""
    pid = program.process.pid
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else 0
    return 0


@pytest.fixture(params=["seaweed", "rclone"])
def server(request: pytest.FixtureRequest) -> S3Server:
    made: S3Server = request.getfixturevalue(request.param)
    return made


def test_all_batches_of_all_kinds_arrive_in_objects_and_are_acknowledged(
    server: S3Server, site: Site
) -> None:
    site.fill(server)
    assert site.feeder is not None
    site.feeder.add_all_kinds(50)
    program = site.ship()
    site.wait_until_all_is_acknowledged()
    site.assert_each_batch_is_in_one_object()
    assert len(site.contents()) == len(KINDS)
    assert program.end() == 0


def test_once_ships_what_is_there_without_waiting_for_its_age(seaweed: Seaweed, site: Site) -> None:
    site.fill(seaweed, 'max_age = "1d"\nevent_max_age = "1d"')
    assert site.feeder is not None
    site.feeder.add_all_kinds(40)
    result = site.once()
    assert result.returncode == 0, result.stderr
    site.assert_each_batch_is_in_one_object()
    site.assert_received_once()


def test_a_stop_ships_what_is_gathered_within_the_drain_timeout(
    seaweed: Seaweed, site: Site
) -> None:
    site.fill(seaweed, 'max_age = "1d"\nevent_max_age = "1d"', ship='drain_timeout = "2m"')
    assert site.feeder is not None
    site.feeder.add_all_kinds(40)
    program = site.ship()
    program.wait_status(lambda status: status["inflight"] == 160, "all gathered")
    assert site.contents() == {}
    assert program.end() == 0
    site.assert_each_batch_is_in_one_object()
    assert site.feeder.cursor() == dict.fromkeys(KINDS, 40)


def test_objects_are_cut_at_their_size(seaweed: Seaweed, site: Site) -> None:
    site.fill(seaweed, f'object_size = "64KiB"\n{AGES}')
    assert site.feeder is not None
    site.feeder.add("pred", 30, noise=10_000)
    site.ship()
    site.wait_until_all_is_acknowledged()
    objects = site.contents().values()
    assert max(sum(len(frame) for _, frame in held) for held in objects) <= 64 << 10
    # Six fit. On a machine that is busy one may be cut by its age before.
    assert max(len(held) for held in objects) == 6 and len(objects) >= 5
    site.assert_each_batch_is_in_one_object()


def test_an_object_above_eight_mebibytes_goes_up_in_parts(server: S3Server, site: Site) -> None:
    site.fill(server, 'object_size = "20MiB"\nmax_age = "1d"')
    assert site.feeder is not None
    site.feeder.add("pred", 17, noise=1 << 20)
    result = site.once()
    assert result.returncode == 0, result.stderr
    (held,) = site.contents().values()
    assert sum(len(frame) for _, frame in held) > 17 << 20
    site.assert_each_batch_is_in_one_object()
    os.unlink(site.feeder.directory + "/cursor")  # as if the acknowledgement had been lost
    assert site.once().returncode == 0
    site.assert_each_batch_is_in_one_object()


def test_an_event_overtakes_rows_that_are_still_gathered(seaweed: Seaweed, site: Site) -> None:
    site.fill(seaweed, 'max_age = "1d"\nevent_max_age = "100ms"')
    assert site.feeder is not None
    site.feeder.add("pred", 5)
    site.feeder.add("event", 1)
    site.ship()
    wait_for(lambda: site.contents(), what="the event")
    assert [key for held in site.contents().values() for key, _ in held] == [("event", 1)]


def test_the_upload_process_does_not_stay(seaweed: Seaweed, site: Site) -> None:
    site.fill(seaweed)
    assert site.feeder is not None
    site.feeder.add("pred", 5)
    program = site.ship()
    site.wait_until_all_is_acknowledged()
    wait_for(lambda: not child_of(program), what="no upload process")
    assert program.status()["connected"]
    assert program.end() == 0


def test_an_acknowledgement_that_was_lost_leads_to_the_same_object(
    server: S3Server, site: Site
) -> None:
    """The store has the object, the cursor does not know: the same bytes, once."""
    site.fill(server)
    assert site.feeder is not None
    site.feeder.add("pred", 20)
    assert site.once().returncode == 0
    before = site.server.objects(site.bucket)
    os.unlink(site.feeder.directory + "/cursor")
    site.feeder.add("pred", 20)  # more is there now, yet the first object ends where it did
    assert site.once().returncode == 0
    after = site.server.objects(site.bucket)
    assert before.items() <= after.items()
    site.assert_each_batch_is_in_one_object()


def test_another_object_of_the_same_name_is_not_overwritten_and_nothing_is_lost(
    seaweed: Seaweed, site: Site
) -> None:
    """Its batches are refused in this object, and arrive in others."""
    site.fill(seaweed)
    assert site.feeder is not None
    site.feeder.add("pred", 3)
    assert site.once().returncode == 0
    ((name, content),) = seaweed.objects(site.bucket).items()
    seaweed.client().put_object(Bucket=site.bucket, Key=name, Body=b"not ours")
    os.unlink(site.feeder.directory + "/cursor")
    program = site.ship()
    site.wait_until_all_is_acknowledged()
    assert "another object has the name" in program.log()
    found = seaweed.objects(site.bucket)
    assert found.pop(name) == b"not ours"
    assert b"".join(body for _, body in sorted(found.items())) == content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "the secret key does not fit the access key"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "does not know the access key"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no credentials for S3"),
    ],
)
def test_wrong_credentials_are_one_line_and_nothing_is_lost(
    server: S3Server,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    message: str,
) -> None:
    site.fill(server)
    assert site.feeder is not None
    site.feeder.add_all_kinds(3)
    with monkeypatch.context() as patch:
        for name, value in change.items():
            patch.setenv(name, value)
        result = site.once()
    assert result.returncode == 5
    assert message in result.stderr and "Traceback" not in result.stderr
    assert site.once().returncode == 0
    site.assert_each_batch_is_in_one_object()


def test_a_bucket_that_is_not_there_is_one_line(server: S3Server, site: Site) -> None:
    site.fill(server, bucket="no-such-bucket")
    assert site.feeder is not None
    site.feeder.add("event")
    result = site.once()
    assert result.returncode == 5
    assert 'there is no bucket "no-such-bucket" at http://127.0.0.1' in result.stderr


def test_a_store_that_is_stopped_and_comes_back_gets_every_batch(
    rclone: Rclone, site: Site
) -> None:
    site.fill(rclone, f'object_size = "64KiB"\n{AGES}')
    assert site.feeder is not None
    program = site.ship()
    site.feeder.add("pred", 20, noise=10_000)
    wait_for(lambda: site.contents(), what="a first object")
    rclone.kill()
    site.feeder.add("pred", 20, noise=10_000)
    site.feeder.add("event", 3)
    program.wait_status(lambda s: not s["connected"] and s["failures"], "it notices")
    assert "127.0.0.1" in str(program.status()["last_error"])
    rclone.start()
    site.wait_until_all_is_acknowledged()
    site.assert_each_batch_is_in_one_object()


def test_a_full_disk_is_one_line_and_the_batches_stay(seaweed: Seaweed, site: Site) -> None:
    site.fill(seaweed)
    assert site.feeder is not None
    site.feeder.add("pred", 3)
    (site.folder / "s3").write_text("a file where the folder should be")
    result = site.once()
    assert result.returncode == 5
    assert f"{site.folder}/s3" in result.stderr
    (site.folder / "s3").unlink()
    assert site.once().returncode == 0
    site.assert_each_batch_is_in_one_object()


def kill_at_random(site: Site, rounds: int, dice: random.Random) -> None:
    """Feed, and kill the shipper or its child, again and again; then let it finish."""
    assert site.feeder is not None
    program = site.ship()
    for _ in range(rounds):
        for kind in KINDS:
            site.feeder.add(kind, dice.randrange(8), noise=8000)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.process.wait(dice.uniform(0, 1.5))
        victim = child_of(program) if dice.random() < 0.5 else program.process.pid
        with contextlib.suppress(ProcessLookupError):
            if victim:
                os.kill(victim, signal.SIGKILL)
        if victim == program.process.pid:
            program.process.wait(20)
            program.spawn()
    site.wait_until_all_is_acknowledged()
    assert program.end() == 0


@pytest.mark.parametrize("rounds", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_kill_9_at_random_moments_loses_nothing_and_doubles_nothing(
    server: S3Server, site: Site, rounds: int
) -> None:
    site.fill(server, f'object_size = "64KiB"\n{AGES}')
    kill_at_random(site, rounds, random.Random(rounds))
    site.assert_each_batch_is_in_one_object()
    site.assert_received_once()
    assert [name for name in os.listdir(site.folder / "s3") if name.endswith(".part")] == []


def held(program: ShipProgram) -> tuple[int, int]:
    """KiB of memory that no file backs, and open descriptors, of the shipper."""
    process = Path(f"/proc/{program.process.pid}")
    (line,) = (line for line in (process / "status").read_text().splitlines() if "RssAnon" in line)
    return int(line.split()[1]), len(list((process / "fd").iterdir()))


@pytest.mark.slow
def test_a_thousand_uploads_leave_memory_and_descriptors_as_they_were(
    rclone: Rclone, site: Site
) -> None:
    """Four uploads a burst, 250 bursts: ten days of hours. The upload process ends in each tenth pause, the store is
    away twice."""
    site.fill(rclone, 'max_age = "100ms"\nevent_max_age = "100ms"')
    assert site.feeder is not None
    program = site.ship()
    seen = []
    for burst in range(1, 251):
        site.feeder.add_all_kinds(1)
        if burst in (100, 200):
            rclone.kill()
            program.wait_status(lambda s: not s["connected"] and s["failures"], "it notices")
            rclone.start()
        site.wait_until_all_is_acknowledged()
        if burst % 10 == 0:
            wait_for(lambda: not child_of(program), what="the end of the upload process")
            seen.append(held(program))
    print([kib for kib, _ in seen], [files for _, files in seen])
    settled = seen[2:]
    assert settled[-1][0] <= settled[0][0] + 256
    assert {files for _, files in settled} == {seen[0][1]}
    assert program.end() == 0
    site.assert_each_batch_is_in_one_object()
    assert len(site.contents()) == 1000
