"""What arrived at the other end, in the order in which it was logged."""

from __future__ import annotations

from typing import Any

import edgemon
from tests.client.collector import Collector
from tests.client.test_agent import client_of
from tests.e2e.harness import Device

__all__ = ["Arrived", "client_of", "events"]


def events(client: edgemon.Client, collector: Collector) -> list[Any]:
    """All that was logged until now: [model, output, features, latency, …] or a map."""
    assert client.flush("memory", timeout=30)
    return collector.events


class Arrived:
    """Rows of a device that has stopped."""

    def __init__(self, device: Device) -> None:
        self._predictions = device.rows_left("pred")
        self._metrics = device.rows_left("sys")

    def predictions(self, model: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self._predictions if row["model"] == model]

    def outputs(self, model: str) -> list[Any]:
        return [row["output"] for row in self.predictions(model)]

    def features(self, model: str, names: list[str]) -> list[list[Any]]:
        return [[row.get(f"f:{name}") for name in names] for row in self.predictions(model)]

    def metric(self, name: str) -> list[tuple[int, float]]:
        """(step, value)."""
        return [
            (int(str(row["step"])), float(str(row["value"])))
            for row in self._metrics
            if row.get("name") == name
        ]
