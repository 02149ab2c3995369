"""Anomalies in series of numbers: robust z-score, EWMA, moving average. Pure: values and time are arguments."""

from edgemon.anomaly.watch import Anomalies

__all__ = ["Anomalies"]
