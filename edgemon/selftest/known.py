"""Checks whose answers are known: the extensions, compiled for another processor, compute what they did on ours."""

from __future__ import annotations

import importlib
from array import array

from edgemon.records import Row
from edgemon.selftest.place import Place, need

# All of edgemon/_core; a test compares it with setup.py.
EXTENSIONS = (
    "client", "clock", "columns", "confidence", "crc32c", "decode", "esr", "gauge", "hist", "intake", "join", "ks",
    "moments", "msgpack", "process", "pvalue", "ring", "sketch",
)  # fmt: skip

# Batch 7 below, as encoded on x86-64 on 2026-11-21 (zstd 1.5).
_BATCH = bytes.fromhex(
    "28b52ffd24ca150600b40b8fa2656d01a16ba470726564a3646576a164a5666c656574a166a673747265616dc41000010203040506070809"
    "0a0b0c0d0e0fa373657107a4626f6f74c41000a27430cf18d75b8423f30000a26d3005a3636c6bc0a16e06a464726f7000a17280a1639495"
    "a56d6f64656ca3737472a16391a16d9095a179a26638a16493cd03e80496010000017dcd01f4910095a16ea26938a1699601000001010091"
    "0195a173a3737472a17891a1009102a16493c400c400c406a0b0a0b0a0b001004007a2a6a16c19"
)
_ROWS: list[Row] = [{"model": "m", "y": 0.5 + i / 8, "n": i, "s": "ab"[i % 2]} for i in range(6)]
_JSON = b'{"model":"m","version":2,"output":[0.1,0.9],"features":{"a":1.5,"b":"x","c":null},"ts":1.7e9}\n'
# The same event: msgpack has no end of line.
_MSGPACK = bytes.fromhex(
    "85a56d6f64656ca16da776657273696f6e02a66f757470757492cb3fb999999999999acb3feccccccccccccda86665617475726573"
    "83a161cb3ff8000000000000a162a178a163c0a27473cb41d954fc40000000"
)


def extensions(_: Place) -> str:
    """All of them load."""
    for name in EXTENSIONS:
        importlib.import_module(f"edgemon._core.{name}")
    return f"all {len(EXTENSIONS)} load"


def checksum(_: Place) -> str:
    """CRC-32C of "123456789" (RFC 3720's polynomial; the usual check value), and of 32 zeros (RFC 3720, B.4)."""
    from edgemon._core.crc32c import crc32c

    need(crc32c(b"123456789") == 0xE3069283, "CRC-32C of 123456789 is not e3069283")
    need(crc32c(bytes(32)) == 0x8A9136AA, "CRC-32C of 32 zeros is not 8a9136aa")
    return "CRC-32C is right"


def drift(_: Place) -> str:
    """Sliding Kolmogorov-Smirnov: four values against the last six, after two others; D = 8/12, p = 19/105 (scipy)."""
    from edgemon._core.ks import Reference, SlidingKS
    from edgemon._core.pvalue import ks_pvalue

    ks = SlidingKS(Reference(array("d", [1, 2, 3, 4]), array("q", [1, 1, 1, 1])), 6, 8)
    alarms = [ks.push(value) for value in (-1.0, 2.0, 0.0, 2.5, 5.0, 6.0, 7.0, 8.0)]
    need((ks.h, ks.lcm) == (8, 12), f"D is {ks.h}/{ks.lcm}, not 8/12")
    need(alarms.index(True) == 7, "the alarm is raised at another value")
    p = ks_pvalue(8, 4, 6)
    need(abs(p - 19 / 105) < 1e-12, f"p is {p!r}, not 19/105")
    return "Kolmogorov-Smirnov D = 8/12 and p = 19/105, as computed elsewhere"


def protocol(_: Place) -> str:
    """One prediction as a JSON line and as msgpack is the same record."""
    from edgemon.ingest.protocol import Connection, Limits
    from edgemon.metrics import Counters
    from edgemon.records import Prediction

    wanted = Prediction("m", "2", {"a": 1.5, "b": "x", "c": None}, [0.1, 0.9], None, None, 1.7e9)
    for name, frame in (("JSON", _JSON), ("msgpack", _MSGPACK)):
        got = list(Connection(Limits(), Counters()).feed(frame))
        need(got == [wanted], f"a prediction in {name} is read as {got}")
    return "JSON lines and msgpack are read"


def batch(_: Place) -> str:
    """A batch of another machine is read, and what is written here is read again."""
    from edgemon import wire
    from edgemon.records import Batch

    columns = wire.columns_from_rows(_ROWS)
    wanted = Batch(
        "pred", 7, "d", "f", bytes(range(16)), bytes(16), 1_790_000_000_000_000_000, 5, None, 0, {}, 6, columns
    )  # fmt: skip
    need(wire.decode(_BATCH) == wanted, "a batch from another machine is read wrongly")
    need(
        wire.decode(wire.Encoder().encode(wanted)) == wanted,
        "a batch does not survive a round trip",
    )
    return f"version {wire.FORMAT_VERSION} is read and written"
