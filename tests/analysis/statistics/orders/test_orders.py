"""Errors by order of the target, and their tables."""

import re

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tesseral.analysis.report.report import report
from tesseral.analysis.report.summary import to_dict
from tesseral.analysis.statistics.comparisons.paired import arm_errors, compare_arms
from tesseral.analysis.statistics.orders.orders import order_tables, output_errors
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import load
from tesseral.analysis.terms.sampling import Sampling
from tests.support.report_page import words
from tests.support.synthetic_study import info, label, table, trial_rows

ARMS = ["lmax=0", "lmax=1", "lmax=2", "lmax=3"]


def frame(rows):
    return pl.DataFrame(pl.from_arrow(table(rows)))


RELATIVE = "test.relative_error"


def test_output_errors_and_what_is_out_of_reach():
    rows = trial_rows(seed=1)
    outputs = output_errors(frame(rows), "test.block_error", ARMS, Sampling(4))
    assert outputs.height == 20
    assert outputs["arm"].unique(maintain_order=True).to_list() == ARMS
    assert outputs.filter(~pl.col("reachable")).select("arm", "l", "error").rows() == [("lmax=0", 4, 100.0)]
    values = [r["metric.test.block_error.l2"] for r in rows if r["arm"] == "lmax=1"]
    cell = outputs.filter(pl.col("arm") == "lmax=1", pl.col("l") == 2)
    assert cell["error"].item() == pytest.approx(stats.gmean(values), rel=1e-12)
    assert output_errors(frame(rows), "test.other", ARMS, Sampling(4)).height == 0


def test_errors_by_order_are_a_table(crossed, crossed_page):
    (density,) = [
        by_order for part in crossed.by_group() for by_order in order_tables(part) if by_order.metric == RELATIVE
    ]
    assert density.orders == (0, 1, 2, 3, 4)
    assert density.whole
    assert density.unreachable == {(label(0, "density"), 4)}
    errors = dict(density.rows)[label(1, "density")]
    for order, metric in ((3, f"{RELATIVE}.l3"), (None, RELATIVE)):
        alone = arm_errors(crossed.trials, metric, [label(1, "density")], crossed.study.sampling)[0].error
        assert (errors[order].value, errors[order].low, errors[order].high) == (alone.value, alone.low, alone.high)
    shown = crossed_page.split("<summary>Errors by order of the output</summary>")[1].split("</details>")[0]
    assert shown.count("<table>") == 2
    assert len(re.findall(r"\] †</td>", shown)) == 2
    assert "relative error of the density, %" in words(shown)


def test_the_parts_of_the_density_error_stand_beside_the_floor():
    rows = [row | {f"metric.test.block_epsilon.l{k}": 0.1 for k in range(3)} for row in trial_rows()]
    tables = load(table(rows), [], [], info())
    parts = {one.metric: one for one in order_tables(tables)}["test.block_epsilon"]
    assert parts.rows[0][1][None] == arm_errors(tables.trials, "test.epsilon", ["lmax=0"], Sampling(4))[0].error
    assert re.search(r"<td>fit floor</td><td class=\"number\">1\.06</td>\s*<td class=\"number\">–", report(tables))


def test_errors_over_the_orders_that_all_arms_reach():
    parts = {k: 0.1 * (k + 1) for k in range(5)}
    rows = [
        row | {f"metric.test.block_epsilon.l{k}": part * row["metric.test.epsilon"] for k, part in parts.items()}
        for row in trial_rows()
    ]
    tables = load(table(rows), [], [], info())
    reached = {one.metric: one.reached for one in order_tables(tables)}
    summed, shares = reached["test.block_epsilon"], reached["test.block_error"]
    assert (summed.orders, summed.composed) == ((0, 1, 2, 3), "sum")
    assert (shares.orders, shares.composed) == ((0, 1, 2, 3), "root mean square")
    whole = arm_errors(tables.trials, "test.epsilon", ARMS, Sampling(4))
    for mean in whole:
        assert summed.errors[mean.arm].value == pytest.approx(mean.error.value)  # 0.1 + 0.2 + 0.3 + 0.4 = 1
        of_trials = [
            np.sqrt(np.mean([row[f"metric.test.block_error.l{k}"] ** 2 for k in range(4)]))
            for row in rows
            if row["arm"] == mean.arm
        ]
        assert shares.errors[mean.arm].value == pytest.approx(stats.gmean(of_trials))
    alone = compare_arms(tables.trials, "test.epsilon", ARMS, ARMS[0], Sampling(4))
    assert [each.change.value for each in summed.comparisons] == pytest.approx([each.change.value for each in alone])
    shown = words(report(tables))
    assert shown.count('whole</th><th scope="col" class="number">reached by all</th>') == 1
    assert "the sum of ε_l, which ε of these orders does not exceed" in shown
    assert [part["orders"] for part in to_dict(analyse(tables))["reached"]] == [(0, 1, 2, 3)] * 2


def test_nothing_is_composed_where_all_arms_reach_all_orders():
    rows = [row | {"unreachable": None} for row in trial_rows()]
    assert all(one.reached is None for one in order_tables(load(table(rows), [], [], info())))
