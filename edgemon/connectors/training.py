"""What is logged of a training: loss, gradient norm and learning rate, each as a metric with its step."""

from __future__ import annotations

from collections.abc import Mapping

from edgemon.connectors.shared import ClientLike, Log


class TrainingLog(Log):
    """Hands the numbers of a training to a client, each `every` steps, as `metric(f"{prefix}/{name}", value, step)`.

    client: an `edgemon.Client`, the path of an ingest socket, or None for the default one.
    every: 1 and more; a step that is not logged costs a comparison, and its gradients are not read.
    ValueError for what is out of range. Nothing else raises.
    """

    def __init__(self, client: ClientLike = None, prefix: str = "train", *, every: int = 1) -> None:
        if every < 1:
            raise ValueError(f"every is at least 1, not {every}")
        super().__init__(client)
        self.prefix = prefix
        self.every = every

    def is_due(self, step: int) -> bool:
        """Whether this step is logged; else it is counted as skipped."""
        self.count(calls=1)
        if step % self.every == 0:
            return True
        self.skip("every")
        return False

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers of one step as they are: NaN and the infinities, too. Never raises."""
        with self.guarded():
            taken = 0
            for name, value in values.items():
                taken += self.client.metric(f"{self.prefix}/{name}", value, step)
            self.count(logged=taken)
            self.skip("refused", len(values) - taken)

    def __repr__(self) -> str:
        return f"TrainingLog(prefix={self.prefix!r}, every={self.every})"


def learning_rates(rates: list[float]) -> dict[str, float]:
    """One a parameter group, under the names of their metrics."""
    if len(rates) == 1:
        return {"learning_rate": rates[0]}
    return {f"learning_rate/{group}": rate for group, rate in enumerate(rates)}
