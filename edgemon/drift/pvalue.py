"""The p-value of a KS statistic, for reports and the data of an alarm.

It is the chance of this h or a larger one in a single look at two samples of one law. It is no
measure of false alarms where one looks again and again: that is what `threshold` is for. Whether
h >= H is compared in integers; nothing is decided with a p-value.
"""

from __future__ import annotations

from edgemon._core.pvalue import kolmogorov, ks_pvalue

__all__ = ["kolmogorov", "ks_pvalue"]
