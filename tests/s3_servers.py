"""Real S3 servers on loopback: SeaweedFS, which knows conditions, and rclone, which ignores them.

Both check signatures. SeaweedFS takes 3 s to start, so the fixtures share one; each test has a
bucket of its own.
"""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from tests.servers import HOST, Server, free_port, wait_for

ACCESS_KEY = "edgemonkey"
SECRET_KEY = "edgemonsecret"
_numbers = itertools.count()


def program(name: str) -> str | None:
    """A program of a PyPI package, beside this interpreter, or one in PATH."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def environment(*, secret: str = SECRET_KEY, access: str = ACCESS_KEY) -> dict[str, str]:
    """Variables for a process that talks to them; nothing of this machine's own AWS settings."""
    return {
        "AWS_ACCESS_KEY_ID": access,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }


class S3Server(Server):
    """conditions: whether it knows If-None-Match."""

    conditions = True

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    def stop(self) -> None:
        """SeaweedFS takes 18 s for SIGTERM, and keeps its data without it."""
        self._end(signal.SIGKILL)

    def client(self) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.session.Session().client(
            "s3",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            endpoint_url=self.endpoint,
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"total_max_attempts": 2},
            ),
        )

    def bucket(self) -> str:
        """A new one."""
        name = f"bucket-{next(_numbers)}"
        self.client().create_bucket(Bucket=name)
        return name

    def objects(self, bucket: str) -> dict[str, bytes]:
        """Key -> content."""
        client = self.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    def _answers_s3(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self.client().list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True

    def start(self) -> None:
        """Tries again: a port that was free a moment ago may be somebody else's connection now."""
        for last in (False, False, True):
            try:
                super().start()
                wait_for(self._answers_s3, what=f"S3 on port {self.port}")
                return
            except AssertionError:
                self.kill()
                if last:
                    print(self.log())
                    raise


class Seaweed(S3Server):
    """SeaweedFS: signatures, If-None-Match, checksums, multipart."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        keys = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "edgemon", "credentials": keys, "actions": actions}
        self._settings = folder / "s3.json"
        self._settings.write_text(json.dumps({"identities": [identity]}))

    def command(self) -> list[str]:
        weed = program("weed")
        assert weed is not None
        inner = ("master", "volume", "filer")
        ports = [f"-{name}.port={free_port()}" for name in inner]
        grpc = [f"-{name}.port.grpc={free_port()}" for name in (*inner, "s3")]
        return [
            weed, "server", f"-ip={HOST}", f"-ip.bind={HOST}", f"-dir={self.folder}", "-s3",
            f"-s3.port={self.port}", f"-s3.config={self._settings}", *ports, *grpc,
            "-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=200",
            "-master.volumeSizeLimitMB=64", "-master.telemetry=false", "-master.electionTimeout=1s",
        ]  # fmt: skip


class Rclone(S3Server):
    """`rclone serve s3`: ignores conditions and drops metadata."""

    conditions = False

    def command(self) -> list[str]:
        rclone = program("rclone")
        assert rclone is not None
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        return [
            rclone, "serve", "s3", str(data), "--addr", f"{HOST}:{self.port}", "--auth-key",
            f"{ACCESS_KEY},{SECRET_KEY}", "--config", "/dev/null", "--vfs-cache-mode", "off",
        ]  # fmt: skip
