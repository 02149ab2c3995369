"""A file system in memory that can be killed, lose its power, fill up and fail.

It keeps two images of every file and folder: what programs see, and what is on the medium. `sync` copies
the first to the second. `lose_power` leaves the medium, and of what was never synced any part: sectors of
a file, old or new or zero, and names, made or not. It is more hostile than a real file system: fsync of a
file does not save its name, and names may be lost out of order.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable
from random import Random

from edgemon.errors import LockedError

SECTOR_BYTES = 512
PAGE_BYTES = 4096
_CHANGES = frozenset(("open", "write", "truncate", "sync", "sync_dir", "rename", "unlink"))


class Crash(BaseException):
    """The process is gone in the middle of an operation; nothing catches this."""


class _Inode:
    __slots__ = ("data", "dirty_again", "durable", "stuck")

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = b""
        self.stuck = False  # after a failed sync the kernel takes dirty pages for clean,
        self.dirty_again: set[int] = set()  # but for those that are written once more

    def sync(self) -> None:
        if not self.stuck:
            self.durable = bytes(self.data)
            return
        if not self.dirty_again:
            return
        pages = []
        for start in range(0, len(self.data), PAGE_BYTES):
            end = min(start + PAGE_BYTES, len(self.data))
            if start // PAGE_BYTES in self.dirty_again:
                pages.append(bytes(self.data[start:end]))
            else:
                old = self.durable[start:end]
                pages.append(old + bytes(end - start - len(old)))
        self.durable = b"".join(pages)


class _Fault:
    __slots__ = ("code", "operation", "path_part", "skip", "times")

    def __init__(self, operation: str, code: int, path_part: str, skip: int, times: int) -> None:
        self.operation = operation
        self.code = code
        self.path_part = path_part
        self.skip = skip
        self.times = times


class MemoryFile:
    def __init__(self, fs: MemoryFileSystem, path: str, inode: _Inode) -> None:
        self._fs = fs
        self._path = path
        self._inode = inode
        self._boot = fs.boot
        self.closed = False

    def write_at(self, offset: int, data: bytes) -> None:
        self._begin("write")
        inode = self._inode
        room = self._fs.room_bytes()
        grows = max(0, offset + len(data) - len(inode.data))
        if room is not None and grows > room:
            data = data[: max(0, len(data) - (grows - room))]
            self._put(offset, data)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
        self._put(offset, data)

    def _put(self, offset: int, data: bytes) -> None:
        inode = self._inode
        self._fs.written_bytes += len(data)
        if offset > len(inode.data):
            inode.data.extend(bytes(offset - len(inode.data)))
        inode.data[offset : offset + len(data)] = data
        if inode.stuck and data:
            last = (offset + len(data) - 1) // PAGE_BYTES
            inode.dirty_again.update(range(offset // PAGE_BYTES, last + 1))

    def truncate(self, size: int) -> None:
        self._begin("truncate")
        data = self._inode.data
        if size <= len(data):
            del data[size:]
        else:
            data.extend(bytes(size - len(data)))

    def sync(self) -> None:
        try:
            self._begin("sync")
        except OSError:
            self._inode.stuck = True
            self._inode.dirty_again = set()
            raise
        self._inode.sync()

    def close(self) -> None:
        self.closed = True

    def _begin(self, operation: str) -> None:
        assert not self.closed, "used after close"
        assert self._boot == self._fs.boot, "used after a crash"
        self._fs.begin(operation, self._path)


class MemoryLock:
    def __init__(self, fs: MemoryFileSystem, path: str) -> None:
        self._fs = fs
        self._path = path

    def release(self) -> None:
        self._fs.locks.pop(self._path, None)


class MemoryFileSystem:
    """capacity_bytes: None is a disk without end."""

    def __init__(self, capacity_bytes: int | None = None) -> None:
        self.capacity_bytes = capacity_bytes
        self.boot = 0
        self.written_bytes = 0
        self.locks: dict[str, int] = {}
        self.calls: Counter[str] = Counter()
        self.before: Callable[[str, str], None] | None = None  # e.g. to stall a sync
        self.crash_after: int | None = None  # so many operations that change something
        self._faults: list[_Fault] = []
        self._folders: dict[str, dict[str, _Inode]] = {"": {}}
        self._durable: dict[str, dict[str, _Inode]] = {"": {}}
        self._changes: dict[str, list[dict[str, _Inode | None]]] = {"": []}

    # -- the port

    @property
    def syncs(self) -> int:
        return self.calls["sync"] + self.calls["sync_dir"]

    def open(self, path: str) -> MemoryFile:
        self.begin("open", path)
        folder, name = self._split(path)
        if name not in self._folders[folder]:
            self._change(folder, {name: _Inode()})
        return MemoryFile(self, path, self._folders[folder][name])

    def read(self, path: str, offset: int, length: int) -> bytes:
        self.begin("read", path)
        return bytes(self._inode(path).data[offset : offset + length])

    def size(self, path: str) -> int:
        self.begin("size", path)
        return len(self._inode(path).data)

    def listdir(self, path: str) -> list[str]:
        self.begin("listdir", path)
        self._need_folder(path)
        below = {other[len(path) + 1 :] for other in self._folders if other.startswith(path + "/")}
        return sorted({*self._folders[path], *(name.partition("/")[0] for name in below)})

    def make_dir(self, path: str) -> None:
        if path in self._folders:
            return
        self.begin("make_dir", path)
        self.make_dir(path.rpartition("/")[0])
        self._folders[path], self._durable[path], self._changes[path] = {}, {}, []

    def sync_dir(self, path: str) -> None:
        self.begin("sync_dir", path)
        self._need_folder(path)
        self._durable[path] = dict(self._folders[path])
        self._changes[path] = []

    def rename(self, old: str, new: str) -> None:
        self.begin("rename", old)
        folder, old_name = self._split(old)
        new_folder, new_name = self._split(new)
        assert folder == new_folder, "the port promises renames within a folder only"
        self._change(folder, {old_name: None, new_name: self._inode(old)})

    def unlink(self, path: str) -> None:
        self.begin("unlink", path)
        self._inode(path)
        folder, name = self._split(path)
        self._change(folder, {name: None})

    def free_bytes(self, path: str) -> int:
        self._need_folder(path)
        room = self.room_bytes()
        return 1 << 40 if room is None else room

    def lock(self, path: str) -> MemoryLock:
        if path in self.locks:
            raise LockedError(f"{path.rpartition('/')[0]} is in use by process {self.locks[path]}")
        self.begin("lock", path)
        self._change(path.rpartition("/")[0], {path.rpartition("/")[2]: _Inode()})
        self.locks[path] = os.getpid()
        return MemoryLock(self, path)

    # -- what a test does to it

    def fail(
        self, operation: str, code: int, *, path_part: str = "", skip: int = 0, times: int = 1
    ) -> None:
        """Let `operation` on paths with `path_part` raise, `times` times after the first `skip`."""
        self._faults.append(_Fault(operation, code, path_part, skip, times))

    def heal(self) -> None:
        """No fault from now on."""
        self._faults = []

    def kill(self) -> None:
        """The process dies; what it wrote stays in the page cache."""
        self.boot += 1
        self.locks = {}
        self.crash_after = None

    def lose_power(self, random: Random) -> None:
        """Everything that was not synced may vanish, or be torn."""
        self.kill()
        self.heal()
        inodes = {
            id(inode): inode
            for image in (self._folders, self._durable)
            for folder in image.values()
            for inode in folder.values()
        }
        for inode in inodes.values():
            inode.data = bytearray(_torn(bytes(inode.data), inode.durable, random))
            inode.durable = bytes(inode.data)
            inode.stuck = False
            inode.dirty_again = set()
        for folder, changes in self._changes.items():
            names = dict(self._durable[folder])
            stop = random.randint(0, len(changes))
            in_order = random.random() < 0.5
            for i, change in enumerate(changes):
                if (i < stop) if in_order else random.random() < 0.5:
                    for name, changed in change.items():
                        if changed is None:
                            names.pop(name, None)
                        else:
                            names[name] = changed
            self._folders[folder], self._durable[folder] = names, dict(names)
            self._changes[folder] = []

    def flip_bit(self, path: str, bit: int) -> None:
        """Damage the medium."""
        inode = self._inode(path)
        inode.data[bit // 8] ^= 1 << bit % 8
        if bit // 8 < len(inode.durable):
            damaged = bytearray(inode.durable)
            damaged[bit // 8] ^= 1 << bit % 8
            inode.durable = bytes(damaged)

    def put(self, path: str, data: bytes) -> None:
        """A file as some other program would leave it, durable."""
        self.make_dir(path.rpartition("/")[0])
        folder, name = self._split(path)
        inode = _Inode()
        inode.data, inode.durable = bytearray(data), data
        self._folders[folder][name] = self._durable[folder][name] = inode

    def paths(self, below: str = "") -> list[str]:
        """All files, sorted."""
        return sorted(
            f"{folder}/{name}"
            for folder, names in self._folders.items()
            if folder == below or folder.startswith(below + "/")
            for name in names
        )

    # -- inside

    def begin(self, operation: str, path: str) -> None:
        self.calls[operation] += 1
        if self.before is not None:
            self.before(operation, path)
        if self.crash_after is not None and operation in _CHANGES:
            self.crash_after -= 1
            if self.crash_after < 0:
                raise Crash
        for fault in self._faults:
            if fault.operation == operation and fault.path_part in path and fault.times:
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                raise OSError(fault.code, os.strerror(fault.code), path)

    def room_bytes(self) -> int | None:
        """Bytes left, None without a limit."""
        if self.capacity_bytes is None:
            return None
        used = sum(len(inode.data) for names in self._folders.values() for inode in names.values())
        return max(0, self.capacity_bytes - used)

    def _change(self, folder: str, change: dict[str, _Inode | None]) -> None:
        self._changes[folder].append(change)
        for name, inode in change.items():
            if inode is None:
                self._folders[folder].pop(name, None)
            else:
                self._folders[folder][name] = inode

    def _split(self, path: str) -> tuple[str, str]:
        folder, _, name = path.rpartition("/")
        self._need_folder(folder)
        return folder, name

    def _need_folder(self, path: str) -> None:
        if path not in self._folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def _inode(self, path: str) -> _Inode:
        folder, name = self._split(path)
        if name not in self._folders[folder]:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self._folders[folder][name]


def _torn(seen: bytes, durable: bytes, random: Random) -> bytes:
    """What a power cut may leave of a file that reads `seen` and of which `durable` was synced."""
    if seen == durable:
        return durable
    low, high = sorted((len(seen), len(durable)))
    size = random.choice((len(seen), len(durable), random.randint(low, high)))
    parts = []
    for start in range(0, size, SECTOR_BYTES):
        end = min(start + SECTOR_BYTES, size)
        old, new = durable[start:end], seen[start:end]
        choices = [part for part in (old, new) if len(part) == end - start]
        if len(old) < end - start:
            choices.append(old + bytes(end - start - len(old)))
        parts.append(random.choice(choices))
    return b"".join(parts)
