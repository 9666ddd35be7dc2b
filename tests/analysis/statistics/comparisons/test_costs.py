"""Ratios of costs against hand calculations."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tesseral.analysis.statistics.comparisons.costs import cost_ratios, deciding_costs, is_dearer
from tesseral.analysis.terms.estimate import Bounds, Estimate
from tesseral.analysis.terms.sampling import Sampling
from tests.support.synthetic_study import table, trial_rows

WIDE = Estimate(1.4, here=Bounds(0.8, 2.5, 0.2))
"""A ratio that is not shown to differ from one."""


def test_a_ratio_that_varies_has_its_interval_over_blocks():
    rows = trial_rows(blocks=4, replicates=2)
    draw = np.random.default_rng(0)
    for row in rows:
        row["seconds"] *= float(np.exp(0.1 * draw.standard_normal()))
    ratios = cost_ratios(pl.DataFrame(pl.from_arrow(table(rows))), "lmax=1", "lmax=0", Sampling(4))
    assert list(ratios) == ["seconds", "parameters"]  # the others are not recorded
    by_arm = [np.array([row["seconds"] for row in rows if row["arm"] == arm]) for arm in ("lmax=1", "lmax=0")]
    units = np.log(by_arm[0] / by_arm[1]).reshape(4, 2).mean(axis=1)
    known = np.exp(stats.ttest_1samp(units, 0).confidence_interval(0.95))
    assert ratios["seconds"].value == pytest.approx(np.exp(units.mean()), rel=1e-12)
    assert (ratios["seconds"].here.low, ratios["seconds"].here.high) == pytest.approx(tuple(known), rel=1e-12)
    assert ratios["seconds"].low is None
    assert ratios["parameters"] == Estimate(pytest.approx(163 / 91))
    assert (deciding_costs(ratios), is_dearer(ratios)) == (("seconds",), True)


def test_searches_that_chose_different_networks_are_the_units():
    """Blocks of one search share its setting: they are no further evidence of what it costs."""
    rows, chosen = trial_rows(arms=2, blocks=6, replicates=2), (120_000, 170_000, 150_000)
    for row in rows:
        if row["arm"] == "lmax=1":
            row["parameters"] = chosen[row["block"] % 3]
    trials = pl.DataFrame(pl.from_arrow(table(rows)))
    ratio = cost_ratios(trials, "lmax=1", "lmax=0", Sampling(6, 3))["parameters"]
    known = np.exp(stats.ttest_1samp(np.log(np.array(chosen) / 91_000), 0).confidence_interval(0.95))
    assert ratio.value == pytest.approx(stats.gmean(chosen) / 91_000, rel=1e-12)
    assert (ratio.here.low, ratio.here.high) == pytest.approx(tuple(known), rel=1e-12)
    assert ratio.low is None
    by_block = cost_ratios(trials, "lmax=1", "lmax=0", Sampling(6))["parameters"]
    assert by_block.here.low > ratio.here.low


@pytest.mark.parametrize(
    ("ratios", "deciding", "dearer"),
    [
        ({"seconds": WIDE, "flops": Estimate(2.4), "parameters": Estimate(0.5)}, "seconds flops", True),
        ({"seconds": WIDE, "flops": Estimate(0.9)}, "seconds flops", False),
        ({"seconds": WIDE, "flops": Estimate(1.001), "parameters": Estimate(1.5)}, "seconds flops parameters", True),
        ({"seconds": WIDE, "flops": Estimate(1.001)}, "seconds", False),
        ({"seconds": WIDE}, "seconds", False),
        ({"seconds": Estimate(1.2, here=Bounds(1.1, 1.3, 0.1)), "flops": Estimate(0.5)}, "seconds", True),
        ({"seconds": Estimate(0.8, here=Bounds(0.7, 0.9, 0.1)), "flops": Estimate(2.0)}, "seconds", False),
        ({"flops": Estimate(2.0), "parameters": Estimate(0.5)}, "flops", True),
        ({"parameters": Estimate(1.0)}, "parameters", False),
        ({"peak_memory": Estimate(2.0)}, "", False),
        ({}, "", False),
    ],
)
def test_the_first_cost_that_differs_decides(ratios, deciding, dearer):
    assert (" ".join(deciding_costs(ratios)), is_dearer(ratios)) == (deciding, dearer)
