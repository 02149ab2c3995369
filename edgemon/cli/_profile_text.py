"""A profile as a person or a program reads it."""

from __future__ import annotations

from collections.abc import Iterator

from edgemon.cli._lines import BLOCKS
from edgemon.cli._terminal import counted, table
from edgemon.drift.labelled import REGRESSION, LabelledProfile
from edgemon.drift.profile import FeatureProfile, Profile

# A window of 1,000, drift's default, wants ten times as many rows; fewer than one window are refused.
_GOOD_ROWS = 10_000


def notes(profile: Profile, empty_streams: list[str]) -> Iterator[str]:
    """What a person should know of a profile that was just made."""
    if empty_streams:
        yield f"left out, since they have no value: {', '.join(empty_streams)}"
    if profile.rows < _GOOD_ROWS:
        yield (
            f"{counted(profile.rows, 'prediction')}; ten times drift.window (1,000 unless you set it) find "
            "smaller changes, and fewer than one window are refused"
        )
    dependent = [feature for feature in profile.features if feature.sqrt_tau > 1.5]
    if dependent:
        worst = max(dependent, key=lambda feature: feature.sqrt_tau)
        yield (
            f"{counted(len(dependent), 'stream')} with values that depend on those before, most {worst.name}: only a "
            f"change {worst.sqrt_tau:.1f} times as large as usual can be told from chance there. A "
            "file that is sorted, or that changes within itself, looks so too (see --shuffled)"
        )
    for feature in profile.features:
        if feature.other:
            yield f"{feature.name}: too many different texts; {counted(feature.other, 'row')} counted as other"


def as_json(profile: Profile) -> dict[str, object]:
    """All but the reference's values."""
    features = []
    for feature in profile.features:
        fields = feature._asdict()
        del fields["values"], fields["counts"]
        fields["points"] = feature.points
        fields["distinct"] = len(feature.values)
        features.append(fields)
    return {
        "name": profile.name,
        "hash": profile.hash,
        "rows": profile.rows,
        "max_points": profile.max_points,
        "labelled": profile.labelled.to_map() if profile.labelled is not None else None,
        "features": features,
    }


def as_text(profile: Profile) -> str:
    """A table with a line a stream, and a picture of each distribution."""
    lines = f"{profile.name}: {counted(profile.rows, 'prediction')}, hash {profile.hash}\n\n"
    numeric = [feature for feature in profile.features if feature.kind == "numeric"]
    if numeric:
        rows = []
        for feature in numeric:
            quantiles = [f"{value:.4g}" for value in feature.quantiles((0.05, 0.5, 0.95))]
            rows.append(
                (
                    feature.name,
                    _percent(feature.missing_ratio),
                    len(feature.values),
                    f"{feature.low:.4g}",
                    *quantiles,
                    f"{feature.high:.4g}",
                    f"{feature.sqrt_tau:.2f}",
                    sparkline(feature),
                )
            )
        headers = ("stream", "missing", "distinct", "min", "5 %", "50 %", "95 %", "max", "√τ")
        lines += table(rows, (*headers, "distribution (1 % to 99 %)"))
    text = [feature for feature in profile.features if feature.kind == "text"]
    if text:
        lines += "\n" if numeric else ""
        rows_of_text = []
        for feature in text:
            common = sorted(feature.categories.items(), key=lambda item: (-item[1], item[0]))
            shown = ", ".join(f"{name} {_percent(k / feature.n)}" for name, k in common[:5])
            more = len(common) - 5
            shown += f", {more} more" if more > 0 else ""
            distinct = f"{len(common)}{'+' if feature.other else ''}"
            rows_of_text.append((feature.name, _percent(feature.missing_ratio), distinct, shown))
        lines += table(rows_of_text, ("stream", "missing", "distinct", "most common"))
    return lines + (f"\n{_truth(profile.labelled)}\n" if profile.labelled is not None else "")


def _truth(labelled: LabelledProfile) -> str:
    """One line of what the model's errors were."""
    if labelled.task == REGRESSION:
        return f"errors: MAE {labelled.mae:.4g}, RMSE {labelled.rmse:.4g}, a tenth above {labelled.limit:.4g}"
    wrong = _percent(labelled.hits / labelled.rows)
    known = f"calibrated by {labelled.stream}" if labelled.stream else "without probabilities"
    return f"errors: {wrong} of {counted(labelled.rows, 'labelled row')} wrong; {known}"


def sparkline(feature: FeatureProfile, cells: int = 20) -> str:
    """The reference's histogram over `cells` equal parts between its 1 % and 99 % quantiles.

    A cell with anything in it shows at least the lowest bar; an empty one is a blank.
    """
    finite = [
        (value, count)
        for value, count in zip(feature.values, feature.counts, strict=True)
        if abs(value) != float("inf")
    ]
    if not finite:
        return ""
    low, high = feature.quantiles((0.01, 0.99))
    low, high = max(low, finite[0][0]), min(high, finite[-1][0])
    width = high / cells - low / cells  # before the difference can overflow
    heights = [0] * cells
    for value, count in finite:
        if low <= value <= high:
            cell = int((value / cells - low / cells) / width * cells) if width > 0 else cells // 2
            heights[min(cells - 1, cell)] += count
    top = max(heights)
    return "".join(
        BLOCKS[max(0, round(height / top * len(BLOCKS)) - 1)] if height else " "
        for height in heights
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
