"""Two data sets beside each other, as tables and JSON: `profile diff` and `drift test`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from edgemon.cli._data import read_profile
from edgemon.cli._terminal import counted, table
from edgemon.drift.compare import Comparison, Difference, NumericComparison, compare_profiles
from edgemon.drift.report import json_safe

_QUANTILE_NAMES = ("5%", "25%", "50%", "75%", "95%")


def diff_profiles(old: str, new: str, as_json: bool, fail_above: float | None) -> int:
    """`edgemon profile diff`; 1 when something is further apart than fail_above."""
    first, second = read_profile(old), read_profile(new)
    difference = compare_profiles(first, second)
    if as_json:
        answer = {"reference": first.hash, "current": second.hash} | difference_as_json(difference)
        json.dump(answer, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(f"{old} {first.hash} ({counted(first.rows, 'prediction')})\n")
        sys.stdout.write(f"{new} {second.hash} ({counted(second.rows, 'prediction')})\n\n")
        sys.stdout.write(as_text(difference))
    if fail_above is None:
        return 0
    apart = any(one.d > fail_above for one in difference.of)
    return int(apart or bool(difference.lost or difference.new))


def as_text(difference: Difference, verdicts: Sequence[tuple[float, bool]] | None = None) -> str:
    """A line a stream. verdicts: (adjusted p, whether it drifted), one a stream."""
    parts = []
    numeric = [i for i, one in enumerate(difference.of) if isinstance(one, NumericComparison)]
    text = [i for i in range(len(difference.of)) if i not in numeric]
    decided = ("p", "of missing", "adjusted", "drift") if verdicts is not None else ()

    def verdict(i: int) -> tuple[str, ...]:
        if verdicts is None:
            return ()
        adjusted, drifted = verdicts[i]
        one = difference.of[i]
        return (
            f"{one.p:.2g}",
            f"{one.missing.p:.2g}",
            f"{adjusted:.2g}",
            "DRIFT" if drifted else "no",
        )

    if numeric:
        rows = [(*_numeric_cells(difference.of[i]), *verdict(i)) for i in numeric]
        headers = ("stream", "D", "where", "median", "PSI", "W1", "JS", "missing", *decided)
        parts.append(table(rows, headers))
    if text:
        rows = [(*_text_cells(difference.of[i]), *verdict(i)) for i in text]
        parts.append(
            table(rows, ("stream", "TV", "JS", "missing", "moved most", "new", "lost", *decided))
        )
    for names, what in ((difference.lost, "gone, or of another kind"), (difference.new, "new")):
        if names:
            parts.append(f"{what}: {', '.join(names)}\n")
    return "\n".join(parts)


def _numeric_cells(one: Comparison) -> tuple[str, ...]:
    assert isinstance(one, NumericComparison)
    where = f"{one.direction} at {one.at:.4g}" if one.h else ""
    return (
        one.stream,
        f"{one.d:.3f}",
        where,
        f"{one.reference_quantiles[2]:.4g} -> {one.current_quantiles[2]:.4g}",
        f"{one.effects.psi:.3f}",
        f"{one.effects.wasserstein:.3g}",
        f"{one.effects.jensen_shannon:.3f}",
        _missing(one),
    )


def _text_cells(one: Comparison) -> tuple[str, ...]:
    assert not isinstance(one, NumericComparison)
    moved = ", ".join(
        f"{name} {was:.1%} -> {now:.1%}" for name, was, now in one.moved[:2] if was != now
    )
    return (
        one.stream,
        f"{one.d:.3f}",
        f"{one.jensen_shannon:.3f}",
        _missing(one),
        moved,
        _some(one.new),
        _some(one.lost),
    )


def _missing(one: Comparison) -> str:
    return f"{one.missing.reference:.2%} -> {one.missing.current:.2%}"


def _some(names: Sequence[str]) -> str:
    more = f", {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def difference_as_json(difference: Difference) -> dict[str, object]:
    """All of it, with "inf" for infinities."""
    streams = []
    for one in difference.of:
        fields: dict[str, object] = one._asdict()
        fields["missing"] = one.missing._asdict()
        if isinstance(one, NumericComparison):
            fields["kind"] = "numeric"
            sizes = one.effects._asdict()
            sizes["quantile_shifts"] = dict(
                zip(_QUANTILE_NAMES, sizes["quantile_shifts"], strict=True)
            )
            fields["effects"] = sizes
            for side in ("reference_quantiles", "current_quantiles"):
                values = getattr(one, side)
                fields[side] = dict(zip(_QUANTILE_NAMES, values, strict=True))
        else:
            fields["kind"] = "text"
            fields["moved"] = {name: [was, now] for name, was, now in one.moved[:20]}
        streams.append(json_safe(fields))
    return {
        "streams": streams,
        "only_reference": list(difference.lost),
        "only_current": list(difference.new),
    }
