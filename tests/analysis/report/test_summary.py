"""The summary: progress as a sentence, and all results as JSON."""

import json

import polars as pl
import pytest

from tesseral.analysis.report import summary
from tesseral.analysis.report.arm_table import arm_table
from tesseral.analysis.statistics.comparisons.paired import Comparison, arm_errors
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import load
from tesseral.analysis.terms.estimate import Estimate
from tesseral.analysis.terms.sampling import Sampling
from tests.support.synthetic_study import info, label, table, trial_rows


def change(value, low=None, high=None, p=None, p_holm=None, **changes):
    given = {"arm": "b", "baseline": "a", "pairs": 6, "missing": 0, "unit": "pair", "units": 6}
    return Comparison(
        difference=Estimate(value), change=Estimate(value, low, high, p), p_holm=p_holm, **(given | changes)
    )


RELATIVE = "test.relative_error"


def test_summary_is_json_and_text(tables, results):
    tree = json.loads(json.dumps(summary.to_dict(results), allow_nan=False))
    assert tree["progress"] == {"planned": 32, "complete": 32, "pruned": 0, "failed": 0, "running": 0}
    assert [arm["arm"] for arm in tree["arms"]] == ["lmax=0", "lmax=1", "lmax=2", "lmax=3"]
    assert tree["arms"][0]["comparison"] is None
    change_ = tree["arms"][2]["comparison"]["change"]
    assert change_["low"] < change_["value"] < change_["high"] < 0
    seconds = tables.trials.filter(pl.col("arm") == "lmax=1")["seconds"].median()
    assert tree["arms"][1]["seconds"] == pytest.approx(seconds)
    rows = arm_table(results)
    assert list(rows[0]) == [
        "arm",
        "trials",
        "error, %",
        "change, %, new data",
        "Holm p",
        "parameters",
        "time",
        "notes",
    ]
    assert rows[1]["time"] == "77 s"


def test_json_carries_units_and_targets(crossed, crossed_results):
    tree = json.loads(json.dumps(summary.to_dict(crossed_results), allow_nan=False))
    assert (tree["metric"], tree["unit"]) == (RELATIVE, "%")
    assert tree["groups"][3] == {
        "target": {"quantity": "dipole", "chosen": None, "unit": "e bohr", "orders": [1]}, "levels": {},
        "baseline": label(0, "dipole"), "arms": [label(k, "dipole") for k in range(3)],
    }  # fmt: skip
    arm = {row["arm"]: row for row in tree["arms"]}[label(2, "quadrupole")]
    assert arm["target"]["quantity"] == "quadrupole"
    assert arm["baseline"] == label(0, "quadrupole")
    assert {name: error["unit"] for name, error in arm["errors"].items()} == {
        "relative_error": "%",
        "error": "e bohr^2",
    }
    mean = arm_errors(crossed.trials, "test.error", [arm["arm"]], Sampling(4))[0].error
    assert arm["errors"]["error"]["error"]["value"] == pytest.approx(mean.value)
    assert tree["floor"] == {"epsilon": 1.06, "electrons": 0.0012, "dipole": 0.0034, "self_repulsion": 0.008}


def test_both_stages_stand_in_a_sentence(tuned_results):
    assert summary.progress_text(tuned_results) == (
        "6 of 6 trials complete · search: 11 of 11 trials ended (3 stopped early, 1 failed)"
    )
    rows = trial_rows()
    rows[0]["state"], rows[1]["state"] = "running", "failed"
    alone = load(table(rows), [], [], info())
    assert summary.progress_text(analyse(alone)) == "30 of 32 trials complete, 1 begun, 1 failed"
