"""The folder sink: for people without a broker, and for devices that are emptied by hand.

One file a batch, complete or absent:

    <folder>/<fleet>/<device>/<kind>-<stream, 32 hex>-<seq, 16 digits>.msgpack.zst

The name is the dedupe key, so a batch that is sent again finds its file and is done. A folder that
holds `ship.folder_max_bytes` takes no more: the sink goes down, its reason stands in `edgemon
status`, and the shipper tries again later; what waits stays in the spool. Who empties the folder
removes whole files; a name that ends in .tmp is one that is being written.
"""

from __future__ import annotations

from edgemon.ship.sink import Parcel, Sink, SinkContext, SinkEvents, WithoutConnection
from edgemon.spool.fs import FileSystem, join, write_atomically

SUFFIX = ".msgpack.zst"
_TEMPORARY = ".tmp"


def make(context: SinkContext) -> Sink:
    config = context.config
    folder = join(join(config.ship.folder, config.agent.fleet), config.agent.device)
    return FileSink(folder, config.ship.folder_max_bytes, context.fs, context.events)


def file_name(parcel: Parcel) -> str:
    """Where a batch goes, below the device's folder."""
    return f"{parcel.kind}-{parcel.stream}-{parcel.seq:016d}{SUFFIX}"


class FileSink(WithoutConnection):
    """folder: the device's own.  max_bytes: what may lie in it, files of others included."""

    def __init__(self, folder: str, max_bytes: int, fs: FileSystem, events: SinkEvents) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._fs = fs
        self._events = events
        self._used_bytes = 0
        self._up = False

    def start(self, now: float) -> None:
        try:
            self._fs.make_dir(self._folder)
            self._used_bytes = self._measure()
        except OSError as error:
            self._events.on_down(f"{self._folder}: {error.strerror or error}")
            return
        self._up = True
        self._events.on_up()

    def ready(self) -> bool:
        return self._up

    def submit(self, parcel: Parcel, now: float) -> None:
        try:
            if not self._write(parcel):
                self._up = False
                self._events.on_down(
                    f"{self._folder} is full: {self._used_bytes} of {self._max_bytes} bytes "
                    f"(ship.folder_max_bytes); empty it, or allow more"
                )
                return
        except OSError as error:
            self._up = False
            self._events.on_down(f"{self._folder}: {error.strerror or error}")
            return
        self._events.on_ack(parcel.key)

    def stop(self, now: float) -> None:
        self._up = False
        self._events.on_down("")

    def close(self) -> None:
        self._up = False

    def _write(self, parcel: Parcel) -> bool:
        """False when there is no room."""
        path = join(self._folder, file_name(parcel))
        if self._exists(path):
            return True
        size = len(parcel.frame)
        if self._used_bytes + size > self._max_bytes:
            self._used_bytes = self._measure()  # somebody may have emptied it
            if self._used_bytes + size > self._max_bytes:
                return False
        write_atomically(self._fs, path, parcel.frame)
        self._used_bytes += size
        return True

    def _exists(self, path: str) -> bool:
        try:
            self._fs.size(path)
        except FileNotFoundError:
            return False
        return True

    def _measure(self) -> int:
        """Bytes in the folder; removes what an interrupted write has left."""
        used_bytes = 0
        for name in self._fs.listdir(self._folder):
            path = join(self._folder, name)
            try:
                if name.endswith(_TEMPORARY):
                    self._fs.unlink(path)
                else:
                    used_bytes += self._fs.size(path)
            except FileNotFoundError:
                pass  # taken away meanwhile
        return used_bytes
