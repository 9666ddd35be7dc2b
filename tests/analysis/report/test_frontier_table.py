"""The table of the frontier."""

from dataclasses import replace

import polars as pl

from tesseral.analysis.report.frontier_table import frontier_table
from tests.support.report_page import cells


def test_each_arm_says_whether_and_how_surely_it_is_on_it(results, page):
    rows = frontier_table(results)
    assert [row["arm"] for row in rows] == ["lmax=0", "lmax=1", "lmax=2", "lmax=3"]
    assert rows[0] == {"arm": "lmax=0", "against time": "on it, 100 %", "against parameters": "on it, 100 %"}
    assert cells(page, "Frontier of error against cost")[0] == list(rows[0].values())
    never = results.frontier.with_columns(front=pl.col("arm") == "lmax=0", share=pl.lit(None, dtype=pl.Float64))
    assert frontier_table(replace(results, frontier=never)) == [
        {"arm": "lmax=0", "against time": "on it", "against parameters": "on it"}
    ]
