"""A profile: what a model's streams looked like when all was well, in a file of its own.

The file, version 1. Integers are little-endian.

    offset  bytes  what
    0       8      b"EDGEPROF"
    8       2      format version, 1
    10      2      zero
    12      8      digest: BLAKE2b of the body, 8 bytes; in hexadecimal, the profile's hash
    20      8      length of the body in bytes
    28      -      one zstd frame: the body

The body is a sequence of msgpack objects. First the head, a map: name (str), rows (int), max_points
(int), features (int: how many maps follow, in order), and, where the profile was made from rows with their truth,
labelled (map: the fields of labelled.LabelledProfile; absent = none). Then one map a stream:

    name        str    the stream: "output", "confidence", "entropy", "class", "latency" or
    "f:<feature>"
    kind        str    "numeric" or "text"
    n           int    values seen (numbers that are not NaN, or texts)
    missing     int    rows without a value
    values      bin    the reference: u distinct values, float64, strictly increasing, in byte
    planes (below) counts      bin    how often each stands in the reference, uint32 in byte planes;
    empty: each once low, high   float  smallest and largest value seen (the reference may have been
    reduced) edges       bin    19 float64: the 5 %, 10 %, …, 95 % quantiles; bin i holds edges[i-1]
    < x <= edges[i] sqrt_tau    float  factor by which autocorrelation widens what is normal, >= 1
    tau_rows    int    consecutive values that it was estimated from categories  map    text ->
    rows, for kind "text" other       int    rows whose text was not kept, because there were too
    many different ones

kind "text" has empty values, counts and edges, and low = high = 0. Byte planes: the first byte of
every item, then the second byte of every item, and so on; sorted numbers compress far better so.
Time of making, host and path are not in the file: the same data give the same bytes.
"""

from __future__ import annotations

import math
import struct
import sys
from _blake2 import blake2b  # not hashlib, which loads OpenSSL: 3.6 MB that the agent does not have
from bisect import bisect_left
from itertools import accumulate

from edgemon._core import msgpack
from edgemon._core.esr import EsrTable
from edgemon._core.ks import Reference
from edgemon.drift.labelled import LabelledProfile
from edgemon.errors import DamagedError, UnsupportedError
from edgemon.std.array import array
from edgemon.std.collections.abc import Iterator
from edgemon.std.contextlib import suppress
from edgemon.typed import TYPE_CHECKING, Any, NamedTuple
from edgemon.zstd import zstandard

if TYPE_CHECKING:
    from typing import Literal

FORMAT_VERSION = 1
MAX_POINTS = 10_000
BINS = 20

_MAGIC = b"EDGEPROF"
_HEADER = struct.Struct("<8sHH8sQ")
_MAX_BODY_BYTES = 256 * 1024 * 1024
_CHUNK_BYTES = 8 * 1024
_WINDOW_LOG = 17
# Up to here the detector's counts fit 16 bits, which is where it is fastest.
_SMALL_LCM = 2**15 - 1


class FeatureProfile(NamedTuple):
    """One stream of a profile. Fields: see the file's specification above.

    values: array("d"), counts: array("I"), of equal length; edges: 19 numbers, () for text.
    """

    name: str
    kind: Literal["numeric", "text"]
    n: int
    missing: int
    values: array[float]
    counts: array[int]
    low: float
    high: float
    edges: tuple[float, ...]
    sqrt_tau: float
    tau_rows: int
    categories: dict[str, int]
    other: int

    @property
    def points(self) -> int:
        """m: the size of the reference, at most the profile's max_points."""
        return sum(self.counts)

    @property
    def missing_ratio(self) -> float:
        """Share of rows without a value, 0 to 1."""
        rows = self.n + self.missing
        return self.missing / rows if rows else 0.0

    def quantile(self, q: float) -> float:
        """The smallest reference value with at least a share q of the reference at or below it; NaN
        when empty.

        >>> from edgemon.drift.build import numeric_feature
        >>> numeric_feature("output", [3.0, 1.0, 2.0, 2.0]).quantile(0.5)
        2.0
        """
        return self.quantiles((q,))[0]

    def quantiles(self, qs: tuple[float, ...]) -> list[float]:
        """`quantile` of each of qs. O(u)."""
        if not self.values:
            return [math.nan] * len(qs)
        at_or_below = array("Q", accumulate(self.counts))
        m = at_or_below[-1]
        return [self.values[bisect_left(at_or_below, min(m, max(1, math.ceil(q * m))))] for q in qs]

    def histogram(self) -> list[int]:
        """The reference's counts in its own 20 bins (uneven where values tie)."""
        counts = [0] * BINS
        for value, count in zip(self.values, self.counts, strict=True):
            counts[bisect_left(self.edges, value)] += count
        return counts

    def for_window(self, window: int) -> tuple[array[float], array[int]]:
        """Values and counts of the reference as a detector with this window uses it.

        The whole reference, unless lcm(m, window) would need wide counters: then it is reduced to
        the largest multiple of the window, by the rule of `reduce_sorted`. A reference smaller than
        the window stays whole.
        """
        m = self.points
        if m <= window or math.lcm(m, window) <= _SMALL_LCM:
            return self.values, self.counts
        return reduce_sorted(self.values, self.counts, m // window * window)


class Profile:
    """All streams of a model, in order, and what the detectors of its versions share.

    name: the model's.  rows: predictions that it was made from.  hash: 16 hexadecimal digits; equal
    profiles have equal hashes.  shared: tables that the detectors made for a stream, by window and
    part of the budget, for those of other versions.  labelled: what is known of its errors, None without truth.
    """

    __slots__ = (
        "_by_name",
        "_references",
        "_window",
        "features",
        "hash",
        "labelled",
        "max_points",
        "name",
        "rows",
        "shared",
    )

    def __init__(
        self,
        name: str,
        features: tuple[FeatureProfile, ...],
        rows: int,
        max_points: int = MAX_POINTS,
        labelled: LabelledProfile | None = None,
    ) -> None:
        self._fill(name, features, rows, max_points, labelled)
        self.hash = _digest(self._chunks()).hex()

    def _fill(
        self,
        name: str,
        features: tuple[FeatureProfile, ...],
        rows: int,
        max_points: int,
        labelled: LabelledProfile | None,
    ) -> None:
        self.name = name
        self.features = features
        self.rows = rows
        self.max_points = max_points
        self.labelled = labelled
        self._by_name = {feature.name: feature for feature in features}
        self._references: dict[tuple[str, int], Reference] = {}
        self.shared: dict[tuple[str, int, float], EsrTable | None] = {}
        self._window = 0

    def feature(self, stream: str) -> FeatureProfile | None:
        """The stream of that name."""
        return self._by_name.get(stream)

    def edges(self, stream: str) -> tuple[float, ...] | None:
        """The 19 edges of a numeric stream's 20 bins, None where there are none."""
        feature = self._by_name.get(stream)
        return feature.edges if feature is not None and feature.edges else None

    def reference(self, stream: str, window: int) -> Reference:
        """The stream's reference for detectors with this window; made once and shared."""
        reference = self._references.get((stream, window))
        if reference is None:
            if self._window:
                raise RuntimeError(f"the profile was loaded for a window of {self._window}")
            reference = Reference(*self._by_name[stream].for_window(window))
            self._references[stream, window] = reference
        return reference

    def to_bytes(self, level: int = 19) -> bytes:
        """The file's content. level: zstd's; the hash does not depend on it."""
        if self._window:
            raise RuntimeError("a profile loaded for its detectors has no values to write")
        body = b"".join(self._chunks())
        # A small window: it is what decompression takes, on the device.
        parameters = zstandard.ZstdCompressionParameters.from_level(level, window_log=_WINDOW_LOG)
        frame = zstandard.ZstdCompressor(compression_params=parameters).compress(body)
        return _HEADER.pack(_MAGIC, FORMAT_VERSION, 0, bytes.fromhex(self.hash), len(body)) + frame

    @classmethod
    def from_bytes(
        cls, data: bytes, source: str = "profile", window: int = 0, known: Profile | None = None
    ) -> Profile:
        """The profile in `data`. DamagedError, beginning with `source`, where it is not whole.

        window: 0, or that of all detectors to come. Then each stream's values become its reference
        as they are read and are not kept, which saves the agent two thirds of what loading takes:
        features have no values, and references for other windows and `to_bytes` are RuntimeErrors.

        known: is given back where it is the same, so that it is not in memory twice.
        """
        if len(data) < _HEADER.size or not data.startswith(_MAGIC):
            raise DamagedError(f"{source}: not a profile (made by `edgemon profile build`)")
        _, version, zero, digest, length = _HEADER.unpack_from(data)
        if version > FORMAT_VERSION:
            raise UnsupportedError(
                f"{source}: a profile of format {version}, this edgemon reads {FORMAT_VERSION}"
            )
        if version < 1 or zero or length > _MAX_BODY_BYTES:
            raise DamagedError(f"{source}: the profile's header is damaged")
        frame = memoryview(data)[_HEADER.size :]
        try:
            if _digest(_bounded(frame, length)) != digest:
                raise DamagedError(f"{source}: the profile is damaged: its digest does not match")
            if known is not None and (known.hash, known._window) == (digest.hex(), window):
                return known
            return cls._from_body(_bounded(frame, length), digest.hex(), window)
        except (
            zstandard.ZstdError,
            ValueError,
            KeyError,
            TypeError,
            StopIteration,
        ) as error:
            raise DamagedError(
                f"{source}: the profile is damaged: {error or type(error).__name__}"
            ) from error

    @classmethod
    def _from_body(cls, chunks: Iterator[bytes], hash_: str, window: int) -> Profile:
        # Object by object, so that no more than one stream is held twice.
        objects = _unpack(chunks)
        head = next(objects)
        features: list[FeatureProfile] = []
        references: dict[tuple[str, int], Reference] = {}
        for _ in range(head["features"]):
            feature = _feature_from_map(next(objects))
            if window and feature.kind == "numeric":
                references[feature.name, window] = Reference(*feature.for_window(window))
                feature = feature._replace(values=array("d"), counts=array("I"))
            features.append(feature)
        if next(objects, None) is not None:
            raise ValueError("more follows than its head says")
        profile = cls.__new__(cls)
        labelled = LabelledProfile.from_map(head["labelled"]) if "labelled" in head else None
        profile._fill(head["name"], tuple(features), head["rows"], head["max_points"], labelled)
        profile.hash = hash_
        profile._window, profile._references = window, references
        return profile

    def _chunks(self) -> Iterator[bytes]:
        head: dict[str, Any] = {
            "name": self.name,
            "rows": self.rows,
            "max_points": self.max_points,
            "features": len(self.features),
        }
        if self.labelled is not None:
            head["labelled"] = self.labelled.to_map()
        yield msgpack.packb(head)
        for feature in self.features:
            yield msgpack.packb(_feature_to_map(feature))


def reduce_sorted(
    values: array[float], counts: array[int], points: int
) -> tuple[array[float], array[int]]:
    """The reduction of a sorted sample to `points` values: evenly spaced order statistics.

    Of m sorted values it keeps number floor((2 k + 1) m / (2 points)), k = 0 … points - 1, counted
    from 0. The distribution function moves by at most 1 / (2 points) anywhere, and the result is
    closer to the law than a random sample of `points` values, so judging it as such a sample is on
    the safe side. Deterministic, O(u + points).

    >>> reduce_sorted(array("d", [1.0, 2.0, 3.0, 4.0]), array("I", [1, 1, 1, 3]), 3)
    (array('d', [2.0, 4.0]), array('I', [1, 2]))
    """
    m = sum(counts)
    if points >= m:
        return values, counts
    kept, kept_counts = array("d"), array("I")
    k = at_or_below = 0
    for value, count in zip(values, counts, strict=True):
        at_or_below += count
        first = k
        while k < points and (2 * k + 1) * m // (2 * points) < at_or_below:
            k += 1
        if k > first:
            kept.append(value)
            kept_counts.append(k - first)
    return kept, kept_counts


def _feature_to_map(feature: FeatureProfile) -> dict[str, Any]:
    fields: dict[str, Any] = feature._asdict()
    once = all(count == 1 for count in feature.counts)
    fields["values"] = _to_planes(feature.values)
    fields["counts"] = b"" if once else _to_planes(feature.counts)
    fields["edges"] = _to_planes(array("d", feature.edges))
    return fields


def _feature_from_map(fields: dict[str, Any]) -> FeatureProfile:
    values = _from_planes("d", fields["values"])
    counts = (
        _from_planes("I", fields["counts"]) if fields["counts"] else array("I", [1]) * len(values)
    )
    edges = tuple(_from_planes("d", fields["edges"]))
    if len(counts) != len(values) or fields["kind"] not in ("numeric", "text"):
        raise ValueError(f"stream {fields['name']!r} is not what the format says")
    return FeatureProfile(**{**fields, "values": values, "counts": counts, "edges": edges})


def _to_planes(items: array[Any]) -> bytes:
    width = items.itemsize
    if sys.byteorder == "big":
        items = array(items.typecode, items)
        items.byteswap()
    data = items.tobytes()
    return b"".join(data[plane::width] for plane in range(width))


def _from_planes(typecode: str, planes: bytes) -> array[Any]:
    items: array[Any] = array(typecode)
    width = items.itemsize
    if len(planes) % width:
        raise ValueError("an array is cut off")
    length = len(planes) // width
    data = bytearray(len(planes))
    for plane in range(width):
        data[plane::width] = planes[plane * length : (plane + 1) * length]
    items.frombytes(data)
    if sys.byteorder == "big":
        items.byteswap()
    return items


def _digest(chunks: Iterator[bytes]) -> bytes:
    digest = blake2b(digest_size=8)
    for chunk in chunks:
        digest.update(chunk)
    return digest.digest()


def _bounded(frame: memoryview, length: int) -> Iterator[bytes]:
    """The decompressed body in pieces; ValueError unless it is `length` bytes and nothing follows."""
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    left = length
    for start in range(0, len(frame), _CHUNK_BYTES):
        if decompressor.eof:
            raise ValueError("something follows its end")
        chunk = decompressor.decompress(frame[start : start + _CHUNK_BYTES])
        left -= len(chunk)
        if left < 0:
            break
        yield chunk
    if left or not decompressor.eof or decompressor.unused_data:
        raise ValueError("its length is not what the header says")


def _unpack(chunks: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    held = b""
    for chunk in chunks:
        held += chunk
        with suppress(msgpack.IncompleteError):
            while held:
                value, end = msgpack.unpack_from(held)
                held = held[end:]
                yield value
