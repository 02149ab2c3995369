"""Names of the spool's folders and files. Nothing else builds or takes apart such a name.

<dir>/lock               held by the agent that writes
<dir>/stream             32 hex digits: the id of this numbering
<dir>/origin             origin.py; the machine that writes here
<dir>/watermark          slots.py, watermark.py
<dir>/gaps               slots.py, gaps.py
<dir>/cursor             cursor.py; written by the shipper
<dir>/0-event/           one folder a kind, its priority first; in it
    <16 hex>[-<n>].zst   a segment that holds no seq below that; -n when the name was taken
<dir>/journal/<kind>-<16 hex>[-<n>].zst      rows of the open batch with that seq
<dir>/quarantine/<8 digits>-<source>-<offset>.bin    damaged bytes, oldest first
"""

from __future__ import annotations

from edgemon.records import KINDS

LOCK = "lock"
STREAM = "stream"
ORIGIN = "origin"
WATERMARK = "watermark"
GAPS = "gaps"
CURSOR = "cursor"
JOURNAL = "journal"
QUARANTINE = "quarantine"

PRIORITY = {kind: priority for priority, kind in enumerate(KINDS)}
FOLDERS = {kind: f"{priority}-{kind}" for kind, priority in PRIORITY.items()}

_SUFFIX = ".zst"
_HEX = frozenset("0123456789abcdef")


def segment_name(seq: int, copy: int = 0) -> str:
    """Name of the segment whose first batch is `seq`; `copy` > 0 when that name is taken."""
    return f"{seq:016x}-{copy:x}{_SUFFIX}" if copy else f"{seq:016x}{_SUFFIX}"


def parse_segment_name(name: str) -> tuple[int, int] | None:
    """(seq, copy) of a segment's name, None when it is not one."""
    stem, suffix = name[: -len(_SUFFIX)], name[-len(_SUFFIX) :]
    digits, dash, copy = stem.partition("-")
    if suffix != _SUFFIX or len(digits) != 16 or not _HEX.issuperset(digits):
        return None
    if not dash:
        return int(digits, 16), 0
    if not 0 < len(copy) <= 8 or not _HEX.issuperset(copy):
        return None
    return int(digits, 16), int(copy, 16)


def journal_name(kind: str, seq: int, copy: int = 0) -> str:
    """Name of a journal of the open batch (kind, seq)."""
    return f"{kind}-{segment_name(seq, copy)}"


def parse_journal_name(name: str) -> tuple[str, int, int] | None:
    """(kind, seq, copy) of a journal's name, None when it is not one."""
    kind, _, rest = name.partition("-")
    parsed = parse_segment_name(rest)
    return None if kind not in PRIORITY or parsed is None else (kind, *parsed)
