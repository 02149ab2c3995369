"""What of a prediction may leave the device: features by name, ids as keyed hashes.

Redaction is applied where rows are made, so that what may not leave is neither in a batch, nor in its journal, nor
in a row that waits for an alarm.
"""

from __future__ import annotations

import os
from _blake2 import blake2b  # not hashlib, which loads OpenSSL

from edgemon.config import Config, RedactSettings
from edgemon.errors import StorageError
from edgemon.flow.names import any_of
from edgemon.records import Event, Row
from edgemon.spool.fs import FileSystem, join, write_atomically

KEY_FILE = "ids.key"
KEY_BYTES = 32
# 96 bits: among a thousand million ids, two have one hash with a chance of 10^-11.
HASH_BYTES = 12
_MAX_DECIDED = 4096
# In an aggregate: columns that hold single values, or texts as they were sent.
_SINGLE_VALUES = ("min", "max", "sketch", "cats", "transitions", "confusion")
# Streams that are made of a prediction's output; of "truth" the names of classes, as they were predicted.
_OF_OUTPUT = frozenset({"output", "class", "confidence", "entropy", "truth"})


class Pseudonyms:
    """Ids -> 24 hexadecimal digits, by BLAKE2b with a key that never leaves the device.

    The same id has the same hash on this device, for predictions and labels alike; without the key it can neither
    be computed nor guessed.

    >>> Pseudonyms(bytes(32)).of("a-17")
    'b6973201eca246869cbc7b12'
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, identifier: str) -> str:
        data = identifier.encode("utf-8", "surrogatepass")
        return blake2b(
            data, key=self._key, digest_size=HASH_BYTES, person=b"edgemon id"
        ).hexdigest()


def load_pseudonyms(config: Config, fs: FileSystem) -> Pseudonyms | None:
    """With the key in agent.state_dir, which is made where there is none; None where no model wants it.

    StorageError where it cannot be read or made: ids never leave unhashed for want of a key.
    """
    if not any(model.redact.hash_ids for model in config.models.values()):
        return None
    path = join(config.agent.state_dir, KEY_FILE)
    try:
        try:
            key = fs.read(path, 0, KEY_BYTES + 1)
        except FileNotFoundError:
            key = os.urandom(KEY_BYTES)
            # So that its mode is narrow from the first instant: what is there already keeps its own.
            temporary = os.open(path + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.fchmod(temporary, 0o600)
            os.close(temporary)
            write_atomically(fs, path, key)
    except OSError as error:
        raise StorageError(f"{path}: the key for hash_ids: {error.strerror}") from error
    if len(key) != KEY_BYTES:
        raise StorageError(
            f"{path}: the key for hash_ids has {len(key)} bytes and not {KEY_BYTES}; restore it, or remove the "
            "file for a new one, with which the same ids have other hashes"
        )
    return Pseudonyms(key)


class Redaction:
    """One model's rules at work.

    >>> settings = RedactSettings(allow=["b_*"], deny=["b_secret"], hash_ids=False, output=True)
    >>> rules = Redaction(settings, None)
    >>> rules.features({"a": 1.0, "b_x": 2.0, "b_secret": 3.0})
    {'b_x': 2.0}
    """

    __slots__ = ("_allow", "_decided", "_deny", "_pseudonym", "all_features", "output")

    def __init__(self, rules: RedactSettings, pseudonyms: Pseudonyms | None) -> None:
        self._allow = any_of(rules.allow) if rules.allow else None
        self._deny = any_of(rules.deny)
        self._decided: dict[str, bool] = {}
        assert pseudonyms is not None or not rules.hash_ids, "hash_ids without a key"
        self._pseudonym = pseudonyms.of if pseudonyms is not None and rules.hash_ids else None
        self.all_features = not rules.allow and not rules.deny
        self.output = rules.output

    @property
    def nothing(self) -> bool:
        """Whether all may leave as it is."""
        return self.all_features and self.output and self._pseudonym is None

    def identifier(self, identifier: str | None) -> str | None:
        """As it may leave."""
        if identifier is None or self._pseudonym is None:
            return identifier
        return self._pseudonym(identifier)

    def may_leave(self, feature: str) -> bool:
        """Whether the feature may stand in a row."""
        if self.all_features:
            return True
        may = self._decided.get(feature)
        if may is None:
            if len(self._decided) >= _MAX_DECIDED:  # names come from clients
                self._decided.clear()
            may = self._allow is None or self._allow(feature)
            may = may and not self._deny(feature)
            self._decided[feature] = may
        return may

    def features(self, features: dict[str, float | str | None]) -> dict[str, float | str | None]:
        """Those that may leave."""
        if self.all_features:
            return features
        return {name: value for name, value in features.items() if self.may_leave(name)}

    def aggregate(self, row: Row) -> Row:
        """A window's row: of what may not leave no single value, and no text as it was sent."""
        if self._hides(str(row["stream"])):
            for column in _SINGLE_VALUES:
                row.pop(column, None)
        return row

    def event(self, event: Event) -> Event:
        """An event that a stream raised: where the stream may not leave, its numbers but none of its texts."""
        if not self._hides(event.stream):
            return event
        numbers: dict[str, object] = {
            name: value
            for name, value in (event.data or {}).items()
            if isinstance(value, (int, float)) or name == "kind"  # of a fault: a word of ours
        }
        message = f"{event.stream}: {event.type}; what it holds stays on the device (redact)"
        return event._replace(message=message, data=numbers)

    def _hides(self, stream: str) -> bool:
        if stream.startswith("f:"):
            return not self.may_leave(stream[2:])
        return not self.output and stream in _OF_OUTPUT
