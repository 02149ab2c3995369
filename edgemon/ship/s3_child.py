"""The upload process: jobs from standard input, answers to standard output. See uploader.py.

    {"op": "check", bucket, prefix, region, endpoint}
    {"op": "put", …, "path", "key", "size_bytes", "crc32c"}      the file at path becomes the object

Up to PART_BYTES an object goes up in one PUT, read from the file as it is sent; above that in parts
of that size, one at a time in memory. It is written only if there is none of that name
(If-None-Match). When there is one, and its size and checksum agree, it is ours from an attempt
before. A store without conditions is asked to write it again, which is the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import sys

from edgemon._core.crc32c import crc32c
from edgemon.errors import EdgemonError
from edgemon.ship.s3_store import Place, code_of, connect, explain, status_of
from edgemon.std import json
from edgemon.std.collections.abc import Iterator
from edgemon.typed import Any, BinaryIO

PART_BYTES = 8 << 20
_READ_BYTES = 64 << 10
_CHECKSUM = "edgemon-crc32c"  # our own metadata: every store keeps it that keeps any
_TYPE = "application/zstd"


class _PermanentError(Exception):
    """The same object can never be put."""


class _ChangedError(Exception):
    """The file is not the one that the job speaks of."""


def serve(jobs: BinaryIO | None = None, answers: BinaryIO | None = None) -> None:
    """Do one job after the other until there are no more."""
    jobs, answers = jobs or sys.stdin.buffer, answers or sys.stdout.buffer
    uploads = Uploads()
    for line in jobs:
        result, message = uploads.do(json.loads(line))
        answers.write(json.dumps({"result": result, "message": message}).encode() + b"\n")
        answers.flush()


class Uploads:
    """Keeps a client while jobs are for one place."""

    def __init__(self) -> None:
        self._place: Place | None = None
        self._client: Any = None
        self._conditions = True  # whether the store knows If-None-Match

    def do(self, job: dict[str, Any]) -> tuple[str, str]:
        """(result, message) of a job."""
        place = Place(job["bucket"], job["prefix"].strip("/"), job["region"], job["endpoint"])
        doing = "s3:ListBucket" if job["op"] == "check" else "s3:PutObject"
        try:
            if place != self._place:
                self._client, self._place, self._conditions = connect(place), place, True
            if job["op"] == "check":
                self._check(place)
            else:
                self._put(place, job)
        except _PermanentError as error:
            return "permanent", str(error)
        except (_ChangedError, EdgemonError) as error:
            return "temporary", str(error)
        except Exception as error:
            trouble = explain(error, place, doing)
            return ("permanent" if trouble.permanent else "temporary"), trouble.message
        return "ok", ""

    def _check(self, place: Place) -> None:
        """Whether the bucket is there and knows us."""
        prefix = f"{place.prefix}/v1/" if place.prefix else "v1/"
        try:
            self._client.list_objects_v2(Bucket=place.bucket, Prefix=prefix, MaxKeys=1)
        except Exception as error:
            # A device may well have the right to put and none to look. What a denial with a reason
            # would have said (key, signature, clock) it says in other codes.
            if code_of(error) != "AccessDenied":
                raise

    def _put(self, place: Place, job: dict[str, Any]) -> None:
        size, checksum = int(job["size_bytes"]), int(job["crc32c"])
        target = {"Bucket": place.bucket, "Key": job["key"]}
        with open(job["path"], "rb") as file:
            _verify(file, size, checksum)
            if self._conditions:
                try:
                    self._write(file, size, checksum, target, {"IfNoneMatch": "*"})
                    return
                except Exception as error:
                    if status_of(error) == 501:
                        self._conditions = False
                    elif status_of(error) != 412:
                        raise
                    elif self._is_ours(file, size, checksum, target):
                        return
            self._write(file, size, checksum, target, {})

    def _write(
        self,
        file: BinaryIO,
        size: int,
        checksum: int,
        target: dict[str, str],
        condition: dict[str, str],
    ) -> None:
        about = {"ContentType": _TYPE, "Metadata": {_CHECKSUM: f"{checksum:08x}"}}
        if size <= PART_BYTES:
            digest = hashlib.md5(usedforsecurity=False)
            for part in _parts(file, _READ_BYTES):
                digest.update(part)
            file.seek(0)
            md5 = base64.b64encode(digest.digest()).decode()
            self._client.put_object(**target, **about, **condition, Body=file, ContentMD5=md5)
            return
        upload = target | {
            "UploadId": self._client.create_multipart_upload(**target, **about)["UploadId"]
        }
        try:
            done = []
            for number, part in enumerate(_parts(file), 1):
                answer = self._client.upload_part(
                    **upload, PartNumber=number, Body=part, ContentMD5=_md5(part)
                )
                done.append({"PartNumber": number, "ETag": answer["ETag"]})
            self._client.complete_multipart_upload(
                **upload, **condition, MultipartUpload={"Parts": done}
            )
        except Exception:
            _quietly(self._client.abort_multipart_upload, **upload)  # parts cost money
            raise

    def _is_ours(self, file: BinaryIO, size: int, checksum: int, target: dict[str, str]) -> bool:
        """Whether the object of that name is this one; False when we may not look.

        Raises _PermanentError when it is another.
        """
        try:
            there = self._client.head_object(**target)
        except Exception as error:
            if status_of(error) in (403, 404):  # no right to look; or it is gone again
                return False
            raise
        tag = str(there.get("ETag", "")).strip('"')
        mark = there.get("Metadata", {}).get(_CHECKSUM)
        if there.get("ContentLength") == size and (
            tag == _etag(file, size) or mark == f"{checksum:08x}"
        ):
            return True
        raise _PermanentError(
            f"another object has the name {target['Key']}: {there.get('ContentLength')} bytes with "
            f"the tag {tag}, ours has {size} (is this a copied device?)"
        )


def _verify(file: BinaryIO, size: int, checksum: int) -> None:
    """The file could be that of another shipper, or cut by a full disk."""
    found, seen = 0, 0
    for part in _parts(file, _READ_BYTES):
        found, seen = crc32c(part, found), seen + len(part)
    if (seen, found) != (size, checksum):
        raise _ChangedError(f"{file.name} has changed under the upload")


def _parts(file: BinaryIO, size_bytes: int = PART_BYTES) -> Iterator[bytes]:
    file.seek(0)
    while part := file.read(size_bytes):
        yield part


def _etag(file: BinaryIO, size: int) -> str:
    """What S3 calls an object that was put like this one, unless it is encrypted with a key of ours."""
    digests = [hashlib.md5(part, usedforsecurity=False) for part in _parts(file)]
    if size <= PART_BYTES:
        return digests[0].hexdigest()
    joined = b"".join(digest.digest() for digest in digests)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(digests)}"


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _quietly(function: Any, **arguments: Any) -> None:
    """What fails here has failed before for the reason that is told."""
    try:
        function(**arguments)
    except Exception:
        return
