"""What the agent keeps in its state folder beside the spool: profiles made here, and the checkpoint."""

from __future__ import annotations

from _blake2 import blake2b  # not hashlib, which loads OpenSSL

from edgemon import log
from edgemon.agent import checkpoint
from edgemon.agent.checkpoint import Saved
from edgemon.errors import EdgemonError
from edgemon.metrics import Counters
from edgemon.spool.fs import FileSystem, join, write_atomically
from edgemon.std.collections.abc import Callable
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.drift.profile import Profile

MAX_FILE_BYTES = checkpoint.MAX_BODY_BYTES + (1 << 20)  # what cannot be compressed grows a little
# Files kept for one model; more versions than that have their oldest name removed.
MAX_PROFILES_OF_A_MODEL = 16
# Of all models together: those go first that no model of this life has used, then the one used longest ago.
MAX_PROFILES, MAX_PROFILES_BYTES = 4096, 64 << 20
# Versions that are kept in mind when they were let go.
MAX_LET_GO = 64
FAILED = "edgemon_agent_state_failures_total"
REMOVED = "edgemon_agent_removed_profiles_total"

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_MAX_NAME = 80


class StateStore:
    """Reads at once (at the start, or when a model is new), writes in the writer's thread.

    profiles/<model>-<version>.profile holds a reference that was made on this device; one that was adopted
    in place of a configured profile has ~<that profile's hash> before the dot, and is not found any more
    when another is configured.  Nothing raises: what fails is logged, counted and gone without.

    write: hands a job to the writer's thread, with its size in bytes; False when it is full.
    writer_counters: of that thread.
    """

    def __init__(
        self,
        fs: FileSystem,
        state_dir: str,
        counters: Counters,
        writer_counters: Counters,
        write: Callable[[Callable[[], None], int], bool],
    ) -> None:
        self._fs = fs
        self._folder = state_dir
        self._profiles = join(state_dir, "profiles")
        self._counters = counters
        self._writer_counters = writer_counters
        self._write = write
        self._saved: dict[tuple[str, str], Saved] = {}
        self._used: dict[str, None] = {}  # names of profiles, the one used last at the end

    # -- profiles

    def profile(self, model: str, version: str, configured: str, window: int) -> Profile | None:
        """The one that was made here for that version, loaded for detectors with this window."""
        name = profile_name(model, version, configured)
        path = join(self._profiles, name)
        data = self._read(path)
        if data is None:
            return None
        self._use(name)
        from edgemon.drift.profile import Profile  # memory that only who has a profile pays

        try:
            return Profile.from_bytes(data, path, window=window)
        except EdgemonError as error:
            self._failed(str(error), "read")
            return None

    def save_profile(self, model: str, version: str, configured: str, data: bytes) -> None:
        """Keep it, soon."""
        name = profile_name(model, version, configured)
        prefix = _escaped(model) + "-"
        self._use(name)
        used = list(self._used)

        def write() -> None:
            fs = self._fs
            fs.make_dir(self._profiles)
            write_atomically(fs, join(self._profiles, name), data)
            names = fs.listdir(self._profiles)
            others = [
                other
                for other in names
                if other.startswith(prefix) and "-" not in other[len(prefix) :] and other != name
            ]
            gone = others[: max(0, len(others) - MAX_PROFILES_OF_A_MODEL + 1)]
            self._remove_profiles(gone, "too_many_of_a_model")
            self._bound_profiles([other for other in names if other not in gone], used)

        self._later(write, len(data), name)

    def _use(self, name: str) -> None:
        self._used.pop(name, None)
        self._used[name] = None
        if len(self._used) > MAX_PROFILES:
            del self._used[next(iter(self._used))]

    def _bound_profiles(self, names: list[str], used: list[str]) -> None:
        """Keep those of all models within the bounds. used: in this life, the last one at the end."""
        age = {name: place for place, name in enumerate(used)}
        ordered = sorted(names, key=lambda name: age.get(name, -1))
        sizes = [self._fs.size(join(self._profiles, name)) for name in ordered]
        count, size_bytes = len(ordered), sum(sizes)
        gone: list[str] = []
        for name, one_bytes in zip(ordered[:-1], sizes, strict=False):  # the last one is new
            if count <= MAX_PROFILES and size_bytes <= MAX_PROFILES_BYTES:
                break
            gone.append(name)
            count, size_bytes = count - 1, size_bytes - one_bytes
        self._remove_profiles(gone, "too_many")

    def _remove_profiles(self, names: list[str], reason: str) -> None:
        for name in names:
            log.info(f"{join(self._profiles, name)}: removed to make room for another")
            self._writer_counters.add(REMOVED, reason=reason)
            self._fs.unlink(join(self._profiles, name))

    # -- checkpoint

    def load_checkpoint(self) -> None:
        """Read it, at the start."""
        path = join(self._folder, checkpoint.FILE_NAME)
        data = self._read(path)
        if data is None:
            return
        try:
            saved = checkpoint.decode(data, path)
        except EdgemonError as error:
            self._failed(f"{error}; all detectors begin anew", "read")
            return
        self._saved = {(one.model, one.version): one for one in saved}

    def take(self, model: str, version: str) -> Saved | None:
        """What was saved of a model's version, once."""
        return self._saved.pop((model, version), None)

    def put_back(self, saved: Saved) -> None:
        """A version was let go: this is for when it comes again, as if it had been read."""
        self._saved.pop((saved.model, saved.version), None)
        self._saved[saved.model, saved.version] = saved
        if len(self._saved) > MAX_LET_GO:
            del self._saved[next(iter(self._saved))]

    def save_checkpoint(self, states: list[Saved], most: int) -> None:
        """Write these, and what was read and not taken yet, at most so many in all, soon."""
        old = [one for key, one in self._saved.items() if key not in {s[:2] for s in states}]
        kept = (old + states)[-most:]
        data, left_out = checkpoint.encode(kept)
        if left_out:
            limit = f"{checkpoint.MAX_BODY_BYTES >> 20} MiB"
            self._failed(
                f"{left_out} of {len(kept)} models have no place in the checkpoint, which takes {limit}: those seen "
                "longest ago; their detectors begin anew after a restart",
                "too_large",
            )
        path = join(self._folder, checkpoint.FILE_NAME)
        self._later(lambda: write_atomically(self._fs, path, data), len(data), path)

    # -- the past of the device's series

    def load_past(self, restore: Callable[[bytes], None]) -> None:
        """Hand it over, where there is one. ValueError of `restore`: it is not, and the past begins anew."""
        path = join(self._folder, checkpoint.PAST_FILE_NAME)
        data = self._read(path)
        if data is None:
            return
        try:
            restore(checkpoint.unseal(data, path))
        except (EdgemonError, ValueError) as error:
            self._failed(f"{path}: {error}; the past of the device begins anew", "read")

    def save_past(self, state: bytes) -> None:
        """Write it, soon."""
        if len(state) > checkpoint.MAX_BODY_BYTES:
            limit = f"{checkpoint.MAX_BODY_BYTES >> 20} MiB"
            self._failed(
                f"the past of the device has {len(state)} bytes, more than {limit}: not written",
                "too_large",
            )
            return
        data = checkpoint.seal(state)
        path = join(self._folder, checkpoint.PAST_FILE_NAME)
        self._later(lambda: write_atomically(self._fs, path, data), len(data), path)

    # -- the disk

    def _read(self, path: str) -> bytes | None:
        try:
            size = self._fs.size(path)
            if size > MAX_FILE_BYTES:
                self._failed(f"{path}: {size} bytes are too many", "read")
                return None
            return self._fs.read(path, 0, size)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._failed(f"{path}: {error.strerror}", "read")
            return None

    def _later(self, write: Callable[[], None], size_bytes: int, what: str) -> None:
        def guarded() -> None:
            try:
                write()
            except OSError as error:
                self._writer_counters.add(FAILED, reason="write")
                log.error(f"{what} cannot be written: {error.strerror}")

        if not self._write(guarded, size_bytes):
            self._failed(f"{what}: not written, the disk is too far behind", "write")

    def _failed(self, message: str, reason: str) -> None:
        self._counters.add(FAILED, reason=reason)
        log.warning(message)


def profile_name(model: str, version: str, configured: str) -> str:
    """A file's name, different for different models and versions.

    >>> profile_name("fraud", "1.2", ""), profile_name("a/b", "x-y", "0123")
    ('fraud-1.2.profile', 'a%2fb-x%2dy~0123.profile')
    """
    # In the version "-" is written otherwise, so that the last one stands before it.
    last = _escaped(version).replace("-", "%2d")
    return f"{_escaped(model)}-{last}{'~' + configured if configured else ''}.profile"


def _escaped(text: str) -> str:
    data = text.encode("utf-8", "surrogatepass")
    name = "".join(chr(byte) if chr(byte) in _PLAIN else f"%{byte:02x}" for byte in data)
    if len(name) <= _MAX_NAME:
        return name
    return name[: _MAX_NAME - 17] + "%" + blake2b(data, digest_size=8).hexdigest()
