"""Trials that failed or were stopped early, grouped by reason."""

from tesseral.analysis.tables.endings import endings
from tesseral.analysis.tables.load import load
from tests.support.report_page import cells
from tests.support.synthetic_study import info, table, trial_row


def test_endings_are_grouped_by_reason(tuned, tuned_page):
    failed, pruned = endings(tuned.trials)
    assert (failed.stage, failed.state, failed.trials, failed.arms, failed.alike) == (
        "search", "failed", 1, ("lmax=0",), True,
    )  # fmt: skip
    assert (pruned.state, pruned.trials, pruned.arms) == ("pruned", 3, ("lmax=0", "lmax=1"))
    rows = cells(tuned_page, "Failed and stopped trials")
    assert rows[0][:4] == ["search", "failed", "1", "the loss became NaN at step 7"]
    assert rows[1][:3] == ["search", "stopped early", "3"]
    assert "Preliminary" not in tuned_page


def test_reasons_that_differ_in_numbers_are_one_and_others_are_not():
    reasons = ["the loss became NaN at step 12", "the loss became NaN at step 1.5e3", "out of memory", None]
    rows = [trial_row(0, b, 0, state="failed", reason=reason) for b, reason in enumerate(reasons)]
    rows += [trial_row(1, b, 0, state="pruned", reason="number 2 of 3", steps=30 + 60 * (b > 1)) for b in range(3)]
    groups = endings(load(table(rows), [], [], info()).trials)
    assert [(group.state, group.reason, group.trials, group.alike) for group in groups] == [
        ("failed", reasons[0], 2, False), ("failed", "not recorded", 1, True), ("failed", "out of memory", 1, True),
        ("pruned", "number 2 of 3", 2, True), ("pruned", "number 2 of 3", 1, True),
    ]  # fmt: skip
