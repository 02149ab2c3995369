"""The budget is kept, and a cost above its limit is noticed."""

from __future__ import annotations

import shutil

import pytest

from benchmarks import budget


def test_more_than_the_limit_is_noticed() -> None:
    rows = {cost.name: cost for cost in budget.costs({"onefile_arm64": 12.0, "deb_arm64": 9.6})}
    assert not rows["onefile_arm64"].kept
    assert rows["deb_arm64"].kept
    assert rows["start"].measured is None and rows["start"].kept


def test_what_the_file_does_not_know_is_noticed() -> None:
    with pytest.raises(ValueError, match="helper_rss"):
        budget.costs({"helper_rss": 1.0})


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("mosquitto", path="/usr/sbin:/usr/bin") is None, reason="needs mosquitto"
)
def test_the_budget_is_kept() -> None:
    if not budget.FOLDER_FORM.exists():
        pytest.skip("needs make binary: the budget is the binary's")
    found = budget.costs(budget.measure())
    assert [cost for cost in found if not cost.kept] == []
    missing = {cost.name for cost in found if cost.measured is None}
    assert not {name for name in missing if not name.startswith(("onefile_", "deb_"))}
