"""Notes on copied trials, excluded arms, and searches that found nothing."""

import json

import polars as pl

from tesseral.analysis.report import summary
from tesseral.analysis.report.arm_table import arm_table
from tesseral.analysis.report.findings import findings
from tesseral.analysis.report.notes import notes
from tesseral.analysis.report.report import report
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import load
from tesseral.analysis.tables.open import open_study
from tesseral.study.configuration.trial import digest
from tesseral.study.records.store import Store
from tests.support.report_page import cells
from tests.support.synthetic_study import info, table, trial_rows, tuned_study


def test_copied_trials_are_told(tuned, tuned_page, tuned_results):
    sentence = "4 of 17 trials were trained earlier by the study older and copied."
    assert sentence in notes(tuned)
    assert sentence in tuned_page
    assert sentence in json.loads(json.dumps(summary.to_dict(tuned_results), allow_nan=False))["notes"]
    assert notes(load(table(trial_rows()), [], [], info())) == []


def test_arms_that_a_condition_left_out_are_told(tuned, tuned_page):
    assert "1 arm excluded by the condition “network.hidden.lmax < 2”: lmax=2." in notes(tuned)
    assert ["excluded", "lmax=2, by the condition network.hidden.lmax < 2"] in cells(tuned_page, "Design")
    assert ["kind", "full factorial: every combination of levels; 2 arms"] in cells(tuned_page, "Design")


def test_an_arm_whose_search_found_nothing_is_not_confirmed(tmp_path):
    tuned_study(Store(tmp_path))
    best = tmp_path / f"tuned/search/{digest('lmax=1')[:12]}/best.json"
    best.write_text(json.dumps(json.loads(best.read_text()) | {"trial": None, "value": None, "settings": {}}))
    read = open_study(tmp_path, "tuned")
    without = load(
        read.trials.filter((pl.col("stage") == "search") | (pl.col("arm") == "lmax=0")), [], [], read.study, read.search
    )
    assert analyse(without).progress.planned == 3
    assert "not confirmed: no trial of its search was completed" in arm_table(analyse(without))[1]["notes"]
    assert "lmax=1 is not confirmed, because no trial of its search was completed." in notes(without)
    assert "none: no trial was completed" in cells(report(without), "Search")[1][-1]
    assert not any("Preliminary" in sentence for sentence in findings(analyse(without)))
