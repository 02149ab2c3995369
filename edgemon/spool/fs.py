"""The file-system port: the only module that may fsync, rename, unlink or truncate.

Everything above it speaks to the `FileSystem` protocol, so that the tests can pull the plug on a disk of
their own (`tests/spool/memory_fs.py`). One conformance suite runs over both.

What a caller may rely on after a power cut:

- bytes written before a `File.sync` that returned are there;
- a name made, renamed or removed before a `sync_dir` of its folder that returned is so;
- everything else may be there, be missing, or be there in part, in any order.

What this module cannot promise: that the drive obeys a flush. An SD card that lies about it can lose
whatever it said was safe, and no program can tell.

All functions raise OSError as the system gives it. After a `sync` that raised, the file must not be
trusted: Linux drops the dirty pages and reports success the next time. Whoever calls writes elsewhere.
"""

from __future__ import annotations

import errno
import fcntl
import os

from edgemon.errors import LockedError
from edgemon.std.collections.abc import Callable
from edgemon.std.contextlib import suppress
from edgemon.typed import Protocol

_SECTOR_BYTES = 4096


class File(Protocol):
    """An open file. One writer at a time."""

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of `data`, or raise; after an error any part of it may have been written."""

    def truncate(self, size: int) -> None:
        """Cut or extend (with zeros) to `size` bytes."""

    def sync(self) -> None:
        """Return once the data are on the medium. A new name needs `FileSystem.sync_dir` as well."""

    def close(self) -> None:
        """Close; says nothing about durability."""


class Lock(Protocol):
    """A lock that dies with its process."""

    def release(self) -> None:
        """Give it up."""


class FileSystem(Protocol):
    """What the spool needs of a file system. Paths are strings with `/` between their parts.

    syncs, written_bytes: how often it synced a file or a folder, and what it wrote: the wear of the flash.
    """

    @property
    def syncs(self) -> int: ...
    @property
    def written_bytes(self) -> int: ...

    def open(self, path: str) -> File:
        """Open for writing; make the file, empty, when there is none."""

    def read(self, path: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer at the end of the file only."""

    def size(self, path: str) -> int:
        """Size of a file in bytes. FileNotFoundError when there is none."""

    def listdir(self, path: str) -> list[str]:
        """Names in a folder, sorted."""

    def make_dir(self, path: str) -> None:
        """Make a folder and its parents, durably; nothing happens when it is there."""

    def sync_dir(self, path: str) -> None:
        """Return once the names in this folder are on the medium."""

    def rename(self, old: str, new: str) -> None:
        """Give a file another name in the same folder, replacing what has it, at once or not at all."""

    def unlink(self, path: str) -> None:
        """Remove a file."""

    def free_bytes(self, path: str) -> int:
        """Bytes that an ordinary process may still write there."""

    def lock(self, path: str) -> Lock:
        """Take the lock file, and write our process id in it. LockedError when another process has it."""


def join(folder: str, name: str) -> str:
    """A path below a folder."""
    return f"{folder}/{name}"


def write_atomically(fs: FileSystem, path: str, data: bytes) -> None:
    """Replace a small file as a whole: after a power cut it holds the old bytes or the new ones.

    Durable when it returns. Leaves `path` + ".tmp" behind when it is interrupted.
    """
    temporary = path + ".tmp"
    file = fs.open(temporary)
    try:
        file.truncate(0)
        file.write_at(0, data)
        file.sync()
    finally:
        file.close()
    fs.rename(temporary, path)
    fs.sync_dir(path.rpartition("/")[0] or "/")


def reader_of(fs: FileSystem, path: str) -> Callable[[int, int], bytes]:
    """Reads one file: (offset, length) -> bytes. Sectors that the disk cannot read come as zeros, which
    no crc takes for data: what stands beside them is still found. Raises every other OSError."""

    def read(offset: int, length: int) -> bytes:
        try:
            return fs.read(path, offset, length)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        parts = []
        end = offset + length
        while offset < end:
            wanted = min(_SECTOR_BYTES - offset % _SECTOR_BYTES, end - offset)
            try:
                part = fs.read(path, offset, wanted)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                part = bytes(wanted)
            parts.append(part)
            if len(part) < wanted:
                break
            offset += wanted
        return b"".join(parts)

    return read


class OsFile:
    """A file of the operating system."""

    __slots__ = ("_fd", "_fs")

    def __init__(self, fs: OsFileSystem, fd: int) -> None:
        self._fs = fs
        self._fd = fd

    def write_at(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, offset)
            view = view[written:]
            offset += written
            self._fs.written_bytes += written

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        self._fs.syncs += 1
        # The data and what is needed to find them (the size): times of change are not worth a write.
        os.fdatasync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class OsLock:
    """flock: the kernel drops it when the process dies, however it dies."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class OsFileSystem:
    """The real one. Files are readable by the owner and the group, writable by the owner.

    What root makes in somebody's folder is his: a command at the device would otherwise leave what the service, which
    is another user, cannot read.
    """

    __slots__ = ("syncs", "written_bytes")

    def __init__(self) -> None:
        self.syncs = 0
        self.written_bytes = 0

    def open(self, path: str) -> File:
        return OsFile(self, _open(path))

    def read(self, path: str, offset: int, length: int) -> bytes:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            first = os.pread(fd, length, offset)
            if len(first) == length or not first:
                return first
            parts = [first]
            got = len(first)
            while got < length and (part := os.pread(fd, length - got, offset + got)):
                parts.append(part)
                got += len(part)
            return b"".join(parts)
        finally:
            os.close(fd)

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def listdir(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def make_dir(self, path: str) -> None:
        if os.path.isdir(path):
            return
        parent = os.path.dirname(path) or "."
        self.make_dir(parent)
        os.mkdir(path, 0o750)
        if os.geteuid() == 0:
            owner = os.stat(parent)
            with suppress(OSError):
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        with suppress(PermissionError):  # a parent that we may pass through and not read
            self.sync_dir(parent)

    def sync_dir(self, path: str) -> None:
        self.syncs += 1
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def free_bytes(self, path: str) -> int:
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize

    def lock(self, path: str) -> Lock:
        fd = _open(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(fd, 20, 0).strip().decode("ascii", "replace") or "unknown"
            os.close(fd)
            raise LockedError(
                f"{path.rpartition('/')[0]} is in use by process {pid}; two agents cannot share a spool"
            ) from None
        except OSError:
            os.close(fd)
            raise
        with suppress(OSError):  # a full disk: the lock holds without the number that names us
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        return OsLock(fd)


def _open(path: str) -> int:
    """For writing. Root follows no link in a folder of somebody else, who could have laid it to any file."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    if os.geteuid() != 0:
        return os.open(path, flags, 0o640)
    parent, _, name = path.rpartition("/")
    folder = os.open(parent or ("/" if path[:1] == "/" else "."), os.O_PATH | os.O_CLOEXEC)
    try:
        owner = os.fstat(folder)
        if owner.st_uid == 0:
            return os.open(path, flags, 0o640)
        fd = os.open(name, flags | os.O_NOFOLLOW, 0o640, dir_fd=folder)
        found = os.fstat(fd)
        if found.st_uid == 0 and found.st_nlink == 1:
            with suppress(OSError):  # root without the right to give away, as in a container
                os.fchown(fd, owner.st_uid, owner.st_gid)
        return fd
    finally:
        os.close(folder)
