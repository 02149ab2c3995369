"""How well a model did, on the report's page: curves, totals, a table of classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from edgemon.cli._terminal import counted, human_count
from edgemon.report.charts import cell, percent, text
from edgemon.report.figures import Point
from edgemon.report.performance import Performance


def performance(of: Performance, over_time: Callable[..., str]) -> Iterator[str]:
    """What a model's part of the page says of it. over_time(title, curves, y_text, note, top_of): a chart."""
    pictures = []
    if of.accuracy or of.estimate:
        curves = [
            ("measured", "a", _points(of.accuracy)),
            ("estimated", "b", _points(of.estimate)),
        ]
        drawn = [curve for curve in curves if curve[2]]
        note = (
            "estimated: from the model's own confidences, calibrated with its profile"
            if of.estimate
            else ""
        )
        pictures.append(over_time("Accuracy", drawn, percent, note, lambda _: 1.0))
    if of.mae:
        curves = [("MAE", "a", _points(of.mae)), ("RMSE", "b", _points(of.rmse))]
        pictures.append(over_time("Errors of predictions", curves, lambda y: f"{y:.4g}"))
    if of.errors:
        title = "Predictions that failed, as the application said"
        pictures.append(over_time(title, [("share", "c", _points(of.errors))], percent))
    if pictures:
        yield f'<h3>How well it does</h3><div class="charts">{"".join(pictures)}</div>'
    if (totals := of.totals) and "mae" in totals:
        yield (
            f"<p>{counted(totals['n'], 'prediction')} met their truth: MAE {totals['mae']:.4g}, RMSE"
            f" {totals['rmse']:.4g}, mean error {totals['bias']:.4g}.</p>"
        )
    elif totals:
        yield f"<p>{text(_measured(totals))}</p>{_classes(totals['classes'])}"


def _classes(classes: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, of in sorted(classes.items(), key=lambda item: -item[1]["n"]):
        shares = (
            percent(share) if share is not None else "" for share in (of["precision"], of["recall"])
        )
        cells = "".join(cell(value) for value in (human_count(of["n"]), *shares))
        rows.append(f"<tr><td>{text(name)}</td>{cells}</tr>")
    heads = "".join(f'<th class="n">{name}</th>' for name in ("truths", "precision", "recall"))
    return f'<div class="scroll"><table><tr><th>class</th>{heads}</tr>{"".join(rows)}</table></div>'


def _points(of: dict[int, float]) -> list[Point]:
    return [Point(at, of[at]) for at in sorted(of)]


def _measured(totals: dict[str, Any]) -> str:
    """All predictions with their truth, in a sentence."""
    share, error = 100 * totals["accuracy"], 200 * totals["accuracy_se"]
    said = f"{counted(totals['n'], 'prediction')} met their truth: {share:.1f} % right (± {error:.1f} at 95 %)"
    if "brier" in totals:
        said += f", Brier score {totals['brier']:.4g}"
    if "ece" in totals:
        said += f", expected calibration error {totals['ece']:.4g}"
    return said + "."
