"""How well models do, in words: from the status of a model's version (edgemon.performance.model)."""

from __future__ import annotations

from typing import Any

from edgemon.cli._terminal import counted, human_count, wrapped


def lines(models: list[dict[str, Any]]) -> list[str]:
    """For `edgemon status`: one for each version of which anything is known."""
    found = []
    for model in models:
        if said := said_of(model):
            name = f"{model['model']} {model['version']}".strip()
            found.append(wrapped(f"  {name}: {'; '.join(said)}", "    "))
    return ["", "performance", *found] if found else []


def said_of(model: dict[str, Any]) -> list[str]:
    """All that is to be said of one version; alarms first."""
    performance = model.get("performance") or {}
    said = [*alarms(model)]
    if truth := performance.get("truth"):
        latest, all_ = truth["window"], truth["since_start"]
        its = "its" if all_["n"] == 1 else "their"
        said.append(f"{measured(all_)} of {counted(all_['n'], 'prediction')} with {its} truth")
        if latest and latest["n"] < all_["n"]:
            said.append(f"{measured(latest)} of the latest {human_count(latest['n'])}")
        if truth["blind"]:
            said.append(f"not watched: {truth['blind']}")
        elif truth["reference_lacks"]:
            said.append(
                f"the reference of its errors lacks {counted(truth['reference_lacks'], 'truth')}"
            )
    if estimate := performance.get("estimate"):
        said.append(
            f"accuracy {_percent(estimate['accuracy'])} ± {100 * estimate['se']:.2g}, estimated without truths"
            f" (reference {_percent(estimate['reference'])})"
        )
    if errors := model.get("errors"):
        said.append(f"{counted(errors, 'error')} reported")
    return said


def alarms(model: dict[str, Any]) -> list[str]:
    """What is worse than it was."""
    performance = model.get("performance") or {}
    said = []
    if drop := performance.get("drop"):
        by = {"truth": "truths", "estimate": "the estimate"}
        said.append(f"WORSE than before, by {' and '.join(by.get(who, who) for who in drop)}")
    if (performance.get("failures") or {}).get("alarm"):
        said.append("FAILS more often than before")
    return said


def brief(model: dict[str, Any]) -> str:
    """The one figure that has room in a table; "" where none is known."""
    performance = model.get("performance") or {}
    if truth := performance.get("truth"):
        of = truth["window"] or truth["since_start"]
        return f"{100 * of['accuracy']:.0f} % right" if "accuracy" in of else f"MAE {of['mae']:.3g}"
    if estimate := performance.get("estimate"):
        return f"{100 * estimate['accuracy']:.0f} % est."
    return ""


def measured(figures: dict[str, Any]) -> str:
    """Figures of pairs (performance.scores.figures)."""
    if "mae" in figures:
        return f"MAE {figures['mae']:.4g}, RMSE {figures['rmse']:.4g}"
    said = f"accuracy {_percent(figures['accuracy'])}"
    if "brier" in figures:
        said += f", Brier {figures['brier']:.3f}"
    if "ece" in figures:
        said += f", calibration error {figures['ece']:.3f}"
    return said


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
