"""What a profile knows of the model's errors: how many there were, and how sure the model was when it erred.

edgemon.performance.labelled collects it; the file's specification is in profile.py.
"""

from __future__ import annotations

from edgemon.typed import Any, NamedTuple

CLASSIFICATION, REGRESSION = "classification", "regression"


class LabelledProfile(NamedTuple):
    """The reference of a model's errors.

    task: "classification" or "regression".  rows: labelled rows that the rate of `hits` is of; a hit is a wrong class,
    or an absolute error above `limit`.  mae, rmse: of a regression.  sqrt_tau: of the series of hits, at least so much
    (autocorrelation.sqrt_tau_at_least).
    stream: "output" or "confidence", whose 20 bins (FeatureProfile.edges) `counts` and `correct` are by: labelled rows,
    and how many of them were right; "" and empty where there were no probabilities.
    """

    task: str
    rows: int
    hits: int
    limit: float
    mae: float
    rmse: float
    sqrt_tau: float
    stream: str
    counts: tuple[int, ...]
    correct: tuple[int, ...]

    def to_map(self) -> dict[str, Any]:
        """As msgpack takes it."""
        return {**self._asdict(), "counts": list(self.counts), "correct": list(self.correct)}

    @classmethod
    def from_map(cls, fields: dict[str, Any]) -> LabelledProfile:
        """What `to_map` gave; ValueError or TypeError where it is not that."""
        made = cls(
            **{**fields, "counts": tuple(fields["counts"]), "correct": tuple(fields["correct"])}
        )
        whole = all(isinstance(n, int) for n in (made.rows, made.hits, *made.counts, *made.correct))
        if (
            not whole
            or made.task not in (CLASSIFICATION, REGRESSION)
            or not 0 <= made.hits <= made.rows
            or made.rows < 1
            or len(made.counts) != len(made.correct)
            or any(not 0 <= right <= n for n, right in zip(made.counts, made.correct, strict=True))
        ):
            raise ValueError("what it says of labelled rows is not what the format says")
        return made
