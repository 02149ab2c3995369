"""The one line that a person reads first, from an event's data."""

from __future__ import annotations

from edgemon.typed import Any

_OF_A_STREAM = {
    "missing": "is missing",
    "nan": "is NaN",
    "infinite": "is infinite",
    "out_of_range": "is out of range",
    "wrong_type": "sends another type",
    "new_category": "sends texts that it never sent",
}
_OF_THE_ROWS = {
    "features_changed": "predictions lack features",
    "repeated": "predictions repeat the features of the one before",
    "late": "predictions come late",
    "early": "predictions have times that are ahead of the clock (they are seconds since 1970)",
    "out_of_order": "predictions have times before that of the one before",
}


def rate(stream: str, kind: str, data: dict[str, Any]) -> str:
    """Something comes too often."""
    since, expected = data["values_since_change"], data["expected_rate"]
    what = (
        f"{stream} {_OF_A_STREAM[kind]} too often" if stream else f"too many {_OF_THE_ROWS[kind]}"
    )
    said = f"{what}: {data['rate']:.2%} of the last {since}"
    if bounds := data.get("range"):
        low, high = ("none" if bound is None else f"{bound:.6g}" for bound in bounds)
        said += f", with the range {low} to {high}"
    if latest := data.get("latest"):
        said += f"; the latest is {latest}"
    return said + (f"; {expected:.2%} is normal" if expected is not None else "")


def stuck(stream: str, data: dict[str, Any], by_rule: bool) -> str:
    """A run is too long."""
    limit = "is too often by stuck_after" if by_rule else "is not plausible"
    return (
        f"{stream} is stuck: {data['run']} times the same value {data['value']}, "
        f"{data['plausible_run']:.0f} {limit}"
    )


def silence(data: dict[str, Any], by_rule: bool) -> str:
    """No prediction for too long."""
    usual = "is allowed" if by_rule else "is the longest that its own pace lets expect"
    return f"no prediction for {data['silent_s']:.1f} s; {data['limit_s']:.1f} s {usual}"
