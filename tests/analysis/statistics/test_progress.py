"""The blocks of a sequential allocation, and why an arm gets no more."""

import pytest

from tesseral.analysis.report.findings import findings
from tesseral.analysis.report.report import report
from tesseral.analysis.statistics.comparisons.paired import compare_arms
from tesseral.analysis.statistics.progress import allocate, blocks_given
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import load
from tesseral.analysis.terms.sampling import Sampling
from tesseral.analysis.terms.targets import TargetLabel
from tesseral.study.configuration.quantities import QUANTITIES
from tests.support.report_page import cells, words
from tests.support.synthetic_study import info, label, table, trial_rows

DIPOLE = TargetLabel(QUANTITIES["dipole"])
RELATIVE = "test.relative_error"


def sequential(blocks, **changes):
    """Trials of arms that were given so many of twelve blocks, and what was asked for."""
    rows = [row for row in trial_rows(blocks=12) if row["block"] < blocks[row["arm"]]]
    given = {"blocks": 3, "sequential": True, "precision": 20.0, "max_blocks": 12}
    return load(table(rows), [], [], info(**(given | changes)))


def test_a_sequential_allocation_says_why_it_stopped():
    blocks = {"lmax=0": 12, "lmax=1": 11, "lmax=2": 12, "lmax=3": 10}
    tables = sequential(blocks, precision=25.0)
    comparisons = compare_arms(tables.trials, "test.epsilon", tables.study.arms, "lmax=0", Sampling(12))
    assert blocks_given(tables) == blocks
    allocations = {arm.arm: arm for arm in allocate(tables, comparisons)}
    assert allocations["lmax=0"].stopped is None
    for comparison in comparisons:
        arm, change = allocations[comparison.arm], comparison.change
        factor = 1 + arm.half_width / 100
        assert 100 + change.high == pytest.approx((100 + change.low) * factor**2, rel=1e-12)
    # A look at six blocks is the first, and five more follow it.
    assert [allocations[arm].stopped for arm in blocks] == [None, "precision", "precision", None]
    most = sequential(blocks, precision=1e-6)
    assert [arm.stopped for arm in allocate(most, comparisons)] == [None, None, "most blocks", None]
    page = report(tables)
    rows = cells(page, "Blocks given")
    assert [(row[0], row[1]) for row in rows] == [(arm, str(n)) for arm, n in blocks.items()]
    text = words(page)
    assert (
        "with at least 6 blocks, the 95 % interval of the paired change for these data is no wider than ±25 %; 5 more"
        in text
    )
    assert "At most 12 blocks are given. The rule looks at the width of the interval only, never at the side" in text
    assert "4 arms × 3 to 12 blocks × 2 replicates" in text
    assert "90 of 90 trials complete" in text


def test_without_precision_more_blocks_may_follow():
    three = sequential(dict.fromkeys(("lmax=0", "lmax=1", "lmax=2", "lmax=3"), 3), precision=1e-6)
    comparisons = compare_arms(three.trials, "test.epsilon", three.study.arms, "lmax=0", Sampling(6))
    assert [arm.stopped for arm in allocate(three, comparisons)] == [None] * 4
    assert findings(analyse(three))[0] == "Preliminary: more blocks will be added."
    most = sequential(dict.fromkeys(("lmax=0", "lmax=1", "lmax=2", "lmax=3"), 12), precision=1e-6)
    comparisons = compare_arms(most.trials, "test.epsilon", most.study.arms, "lmax=0", Sampling(12))
    assert [arm.stopped for arm in allocate(most, comparisons)] == [None] + ["most blocks"] * 3
    assert "Preliminary" not in " ".join(findings(analyse(most)))


def test_a_trial_that_runs_keeps_its_arm_open():
    rows = trial_rows(blocks=11)
    rows[-1]["state"] = "running"
    given = {"blocks": 3, "sequential": True, "precision": 1e6, "max_blocks": 12}
    tables = load(table(rows), [], [], info(**given))
    comparisons = compare_arms(tables.trials, "test.epsilon", tables.study.arms, "lmax=0", Sampling(12))
    assert [arm.stopped for arm in allocate(tables, comparisons)] == [None, "precision", "precision", None]


def test_blocks_are_added_by_the_change_within_a_target(tmp_path):
    """Dipoles vary by 1 % against each other and by a factor of e against energies: their width is met."""
    rows = []
    for block in range(11):
        for arm, size in ((label(0, "energy"), 1.0), (label(0, "dipole"), 2.0), (label(1, "dipole"), 1.5)):
            factor = 2.718 ** (block % 2) if "dipole" in arm else 1.0
            wobble = 1 + 0.002 * (block % 3) * (arm == label(1, "dipole"))
            rows.append(trial_rows()[0] | {
                "arm": arm, "block": block, "replicate": 0, "metric.test.relative_error": size * factor * wobble,
            })  # fmt: skip
    arms = (label(0, "energy"), label(0, "dipole"), label(1, "dipole"))
    targets = dict(zip(arms, (TargetLabel(QUANTITIES["energy"]), DIPOLE, DIPOLE), strict=True))
    own = dict(zip(arms, (arms[0], arms[1], arms[1]), strict=True))
    given = {"arms": arms, "baseline": arms[0], "targets": targets, "metric": RELATIVE, "replicates": 1}
    sequential = {"blocks": 3, "sequential": True, "precision": 5.0, "max_blocks": 20}
    tables = load(table(rows), [], [], info(**given, **sequential, baselines=own))
    results = analyse(tables)
    comparisons = [row.comparison for row in results.arms if row.comparison is not None]
    assert [allocation.stopped for allocation in allocate(tables, comparisons)] == [None, None, "precision"]
    page = words(report(tables))
    assert page.count("<td>baseline</td>") == 2
    assert not any("more blocks will be added" in told for told in findings(results))
    crossed = load(table(rows), [], [], info(**given, **sequential))
    assert [allocation.stopped for allocation in allocate(crossed, comparisons)] == [None, None, None]
