"""How the benefit of hidden features depends on the order of the output: claims, their tests and their sentences."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tesseral.analysis.report import summary
from tesseral.analysis.report.findings import findings
from tesseral.analysis.statistics.comparisons.paired import holm
from tesseral.analysis.statistics.orders.order_trend import Trend, trend_sentences, trends
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import StudyTables, load
from tests.support.synthetic_study import BENEFIT, crossed_rows, crossed_tables, info, label, table, trial_row

BLOCKS = 6
ERRORS = np.array([30.0, 30.0, 30.0, 30.0])
"""Relative errors of the baseline at l = 0 … 3, %."""


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> StudyTables:
    return crossed_tables(tmp_path_factory.mktemp("crossed"))


def noisy(draw: np.random.Generator, means: np.ndarray) -> np.ndarray:
    """Errors of each arm, block and order: log-normal about `means` (arm, order), blocks and arms with effects."""
    arms, orders = means.shape
    blocks = 0.1 * draw.standard_normal((1, BLOCKS, orders)) + 0.05 * draw.standard_normal((arms, BLOCKS, 1))
    return means[:, None, :] * np.exp(blocks + 0.03 * draw.standard_normal((arms, BLOCKS, orders)))


def of_errors(errors: np.ndarray, **changes) -> tuple[Trend, ...]:
    """The trends of a density study.

    :param errors: relative error of each arm, block and order, %.
    """
    names = tuple(f"lmax={arm}" for arm in range(len(errors)))
    rows = [
        trial_row(arm, block, 0, unreachable=None)
        | {f"metric.test.relative_error.l{order}": float(error) for order, error in enumerate(row)}
        for arm, by_block in enumerate(errors)
        for block, row in enumerate(by_block)
    ]
    levels = {name: {"network.hidden.lmax": name[-1]} for name in names}
    study = info(arms=names, levels=levels, blocks=BLOCKS, replicates=1, **changes)
    return trends(load(table(rows), [], [], study))


def told(*ratios: float, seed: int = 1) -> str:
    """The sentence on one arm whose error over the baseline's is `ratios` by order."""
    (trend,) = of_errors(noisy(np.random.default_rng(seed), np.array([ERRORS, ERRORS * ratios])))
    (sentence,) = trend_sentences([trend])
    return sentence


def test_claims_are_the_largest_p_of_paired_t_tests():
    errors = noisy(np.random.default_rng(2), np.array([ERRORS, ERRORS * (0.9, 0.7, 0.5, 0.4)]))
    (trend,) = of_errors(errors)
    logs = np.log(errors[1] / errors[0])
    means = [float(100 * np.expm1(mean)) for mean in logs.mean(axis=0)]
    assert [change.value for change in trend.changes.values()] == pytest.approx(means)
    each = [float(stats.ttest_1samp(column, 0.0).pvalue) for column in logs.T]
    steps = [float(stats.ttest_rel(logs[:, k], logs[:, k + 1]).pvalue) for k in range(3)]
    others = [float(stats.ttest_rel(logs[:, k], logs[:, 3]).pvalue) for k in range(3)]
    expected = [*each, max(each[3], *others), max(each[3], *steps)]
    assert [claim.kind for claim in trend.claims] == ["changed"] * 4 + ["largest", "grows"]
    assert [claim.p for claim in trend.claims] == pytest.approx(expected)
    assert [claim.p_holm for claim in trend.claims] == pytest.approx(holm(expected))
    assert trend.pairs == BLOCKS


def test_intervals_and_tests_are_for_new_data():
    errors = noisy(np.random.default_rng(2), np.array([ERRORS, ERRORS * (0.9, 0.7, 0.5, 0.4)]))
    (alone,), (new,) = of_errors(errors), of_errors(errors, overlaps={"lmax=0": 0.25, "lmax=1": 0.25})
    wider = (1 + BLOCKS * 0.25) ** 0.5  # Nadeau and Bengio's factor
    logs = [np.log1p(np.array([change.low, change.high]) / 100) for change in (alone.changes[3], new.changes[3])]
    assert np.ptp(logs[1]) == pytest.approx(wider * np.ptp(logs[0]))
    values = np.log(errors[1] / errors[0])[:, 0]
    t = stats.ttest_1samp(values, 0.0).statistic / wider
    assert new.claims[0].p == pytest.approx(2 * stats.t.sf(abs(t), BLOCKS - 1))


def test_a_benefit_that_grows_at_each_step_is_told():
    sentence = told(0.95, 0.7, 0.5, 0.35)
    assert sentence.startswith(
        "By order of the output (l = 0, 1, 2, 3; 6 pairs), lmax=1 against lmax=0 has a benefit that grows with l, from "
        "l = 0 (+1 % [−10, +13]) to l = 3 (−61.9 % [−65.4, −58.2])."
    )
    assert "has a benefit that shrinks with l, from l = 0 (−6" in told(0.35, 0.5, 0.7, 0.95)


def test_harm_that_becomes_less_is_no_benefit_that_grows():
    sentence = told(1.49, 1.35, 1.22, 1.11)
    assert "benefit" not in sentence
    assert "lmax=1 against lmax=0 is worse at l = 0 (+59 % [+41, +78]), l = 1 (+46 %" in sentence


def test_a_benefit_that_peaks_between_the_orders_is_told_as_that():
    sentence = told(0.9, 0.6, 0.4, 0.55)
    assert "has its largest benefit at l = 2 (−" in sentence
    assert "with l" not in sentence


def test_an_order_that_becomes_worse_is_told_beside_the_benefit():
    sentence = told(1.5, 0.9, 0.6, 0.4)
    assert "grows with l, from l = 0 (+" in sentence
    assert "; it is worse at l = 0 (+" in sentence


def test_an_equal_benefit_has_no_shape():
    assert told(0.6, 0.6, 0.6, 0.6).endswith("and at which order it is largest is undecided.")
    assert told(1.0, 1.0, 1.0, 1.0).endswith("changes the error of no order by a decided amount.")


def test_orders_that_neither_arm_learns_are_left_out_and_feign_no_growth():
    """An irreducible share of 0.95 at l = 0 hides its benefit, which is the same at all orders."""
    draw, claimed, studies = np.random.default_rng(5), 0, 80
    for _ in range(studies):
        errors = noisy(draw, np.array([ERRORS, 0.6 * ERRORS]))
        errors[..., 0] = 95.0 + 0.05 * errors[..., 0]
        (trend,) = of_errors(errors)
        assert (trend.unlearnt, tuple(trend.changes)) == ((0,), (1, 2, 3))
        claimed += trend.shape is not None
    assert claimed / studies <= 0.055
    assert "; not learnt and left out: l = 0), " in trend_sentences([trend])[0]


def test_what_one_of_both_learns_is_kept():
    """The criterion is on the interval: a mean of 88.5 % whose interval reaches beyond 90 % shows no learning."""
    errors = np.stack([np.full((BLOCKS, 4), 99.0), np.full((BLOCKS, 4), 20.0)])
    errors[1, :, 3] = np.arange(86.0, 92.0)
    (trend,) = of_errors(errors)
    assert (tuple(trend.changes), trend.unlearnt) == ((0, 1, 2), (3,))
    errors[1, :, 3] -= 2.0
    (trend,) = of_errors(errors)
    assert (tuple(trend.changes), trend.unlearnt) == ((0, 1, 2, 3), ())
    errors[1, :, 1:] = 99.0
    assert of_errors(errors) == ()


def test_claims_of_arms_that_differ_in_nothing_are_rare():
    """Three arms against a baseline like them, four orders each: any claim at all counts."""
    draw, studies = np.random.default_rng(6), 80
    wrong = sum(
        any(claim.holds for trend in of_errors(noisy(draw, np.array([ERRORS] * 4))) for claim in trend.claims)
        for _ in range(studies)
    )
    assert wrong <= stats.binom.ppf(0.99, studies, 0.05)


def test_outputs_of_several_targets_are_averaged_by_order(tables):
    first, second = trends(tables)
    assert [(trend.hidden, trend.baseline, trend.where) for trend in (first, second)] == [
        ("lmax=1", "lmax=0", ""),
        ("lmax=2", "lmax=0", ""),
    ]
    metric = "metric.test.relative_error"
    rows = {(row["arm"], row["block"], row["replicate"]): row for row in crossed_rows()}
    ratios = [
        np.log(rows[label(2, quantity), block, replicate][name] / rows[label(0, quantity), block, replicate][name])
        for quantity, name in (("dipole", metric), ("density", f"{metric}.l1"))
        for block in range(4)
        for replicate in range(2)
    ]
    assert second.changes[1].value == pytest.approx(100 * np.expm1(np.mean(ratios)))


def test_the_findings_hold_them(tmp_path, monkeypatch):
    for order in range(4):
        monkeypatch.setitem(BENEFIT, order, (0.6, 0.57, 0.6 * 0.5 ** (order + 1)))
    flat, grown = (
        sentence for sentence in findings(analyse(crossed_tables(tmp_path))) if sentence.startswith("By order")
    )
    assert "lmax=1 against lmax=0" in flat
    assert "with l," not in flat
    assert "lmax=2 against lmax=0 has a benefit that grows with l, from l = 0 (−" in grown


def test_many_are_counted(tables):
    grows, peaks = (
        of_errors(noisy(np.random.default_rng(1), np.array([ERRORS, ERRORS * ratios])))[0]
        for ratios in ((1.5, 0.7, 0.5, 0.35), (0.9, 0.6, 0.4, 0.55))
    )
    many = [replace(grows, where=f"layers={layers}") for layers in range(4)]
    assert len(trend_sentences(many)) == 4
    assert "; layers=3), " in trend_sentences(many)[3]
    assert trend_sentences([*many, peaks]) == [
        "In 5 comparisons by order l of the output, the benefit of hidden features grows with l in 4 and is largest at "
        "one order in 1. At least one order becomes worse in 4."
    ]
    undecided = replace(grows, claims=tuple(replace(claim, p_holm=0.06) for claim in grows.claims))
    assert trend_sentences([*many, undecided])[0].startswith(
        "In 5 comparisons by order l of the output, the benefit of hidden features grows with l in 4 and has no "
        "decided shape in 1."
    )
    assert trend_sentences([replace(grows, claims=())]) == []


def test_pairs_that_lack_an_output_are_left_out(tmp_path):
    rows = [row for row in crossed_rows() if (row["arm"], row["block"]) != (label(2, "dipole"), 3)]
    first, second = trends(crossed_tables(tmp_path, rows))
    assert (first.pairs, second.pairs) == (8, 6)


def test_orders_out_of_reach_count_in_no_trend(tmp_path):
    """Scalars reach no order above 0 here: one order is no trend."""
    rows = [
        row | {"unreachable": "1x1o+1x2e+1x3o+1x4e"}
        for row in crossed_rows()
        if row["factor.target.quantity"] == "density"
    ]
    assert trends(crossed_tables(tmp_path, rows)) == ()


def test_a_study_of_one_order_has_no_trend(tmp_path):
    rows = [row for row in crossed_rows() if row["factor.target.quantity"] == "dipole"]
    assert trends(crossed_tables(tmp_path, rows)) == ()


def test_json_holds_them(tables):
    (first, second) = summary.to_dict(analyse(tables))["trends"]
    assert first["hidden"] == "lmax=1"
    assert second["changes"][1]["value"] == trends(tables)[1].changes[1].value
    assert {claim["kind"] for claim in second["claims"]} >= {"changed", "largest"}
