"""What scipy said, replayed without it: also `python tests/drift/test_golden_ks.py` on a small device.

Needs nothing but edgemon's extensions. make_golden_ks.py makes the file.
"""

from __future__ import annotations

import json
import math
import sys
from array import array
from pathlib import Path
from typing import Any

from edgemon._core.ks import Reference, SlidingKS
from edgemon.drift.build import distinct
from edgemon.drift.pvalue import ks_pvalue

GOLDEN = Path(__file__).parent / "golden" / "ks.json"


def golden() -> dict[str, list[dict[str, Any]]]:
    data: dict[str, list[dict[str, Any]]] = json.loads(GOLDEN.read_text())
    assert (len(data["windows"]), len(data["streams"])) == (300, 60)
    return data


def reference_of(texts: list[str]) -> Reference:
    return Reference(*distinct(sorted(float(text) + 0.0 for text in texts)))


def test_statistic_is_the_one_that_scipy_gave() -> None:
    for case in golden()["windows"]:
        ks = SlidingKS(reference_of(case["sample"]), len(case["window"]), 1)
        for text in case["window"]:
            ks.push(float(text))
        assert (ks.h, ks.lcm) == (case["h"], case["lcm"]), case


def test_p_value_is_the_one_that_scipy_gave() -> None:
    for case in golden()["windows"]:
        p = ks_pvalue(case["h"], len(case["sample"]), len(case["window"]))
        assert math.isclose(p, float(case["p"]), rel_tol=1e-9), (p, case)


def test_alarms_come_at_the_predictions_at_which_scipy_would_raise_them() -> None:
    alarms = 0
    for case in golden()["streams"]:
        values = array("d", map(float, case["stream"]))
        one_by_one = SlidingKS(reference_of(case["sample"]), case["n"], case["threshold"])
        assert [k for k, x in enumerate(values) if one_by_one.push(x)] == case["alarms"], case
        many = SlidingKS(reference_of(case["sample"]), case["n"], case["threshold"])
        found, begin = [], 0
        while (crossed := many.push_many(values[begin:])) >= 0:
            begin += crossed + 1
            found.append(begin - 1)
        assert found == case["alarms"], case
        alarms += len(found)
    assert alarms > 500


if __name__ == "__main__":
    for test in (
        test_statistic_is_the_one_that_scipy_gave,
        test_p_value_is_the_one_that_scipy_gave,
        test_alarms_come_at_the_predictions_at_which_scipy_would_raise_them,
    ):
        test()
        sys.stdout.write(f"{test.__name__}: done\n")
