"""The one line that a person reads first, from an event's data."""

from __future__ import annotations

from edgemon.typed import Any


def started(data: dict[str, Any]) -> str:
    """A numeric stream began to drift; data: what `DriftDetector.explain` gives."""
    stream, direction, n = data["stream"], data["direction"], data["n"]
    where = (
        f"{data['at_share']:.1%} of the last {n} values lie up to {_number(data['at'])}, "
        f"{data['at_quantile']:.1%} of the reference"
    )
    if data["by"] == "esr":
        return f"{stream} drifted {direction} fast: {where}"
    return f"{stream} drifted {direction}: D = {data['D']:.3f}, at most {data['threshold_D']:.3f} is normal; {where}"


def cleared(data: dict[str, Any], clear_ratio: float) -> str:
    """It is as before."""
    return (
        f"{data['stream']} is as before: D = {data['D']:.3f}, and for a whole window below "
        f"{clear_ratio:g} of the threshold {data['threshold_D']:.3f}"
    )


def autocorrelated(data: dict[str, Any]) -> str:
    """A stream's values depend on each other more than its profile shows."""
    return (
        f"{data['stream']} depends on its values before, more than its profile shows: sqrt(tau) is "
        f"{data['sqrt_tau_live']:.2f}, in the profile {data['sqrt_tau_profile']:.2f} (a shuffled file "
        f"hides it); {data['consequence']}"
    )


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
