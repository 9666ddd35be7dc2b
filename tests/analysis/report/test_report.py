"""The report: the numbers that it states, what it escapes, and that it fetches nothing."""

import html
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tesseral.analysis.report import summary
from tesseral.analysis.report.arm_table import arm_table
from tesseral.analysis.report.report import render, report
from tesseral.analysis.report.report_figures import report_figures
from tesseral.analysis.report.step_text import step_lines
from tesseral.analysis.statistics.comparisons.paired import Comparison, arm_errors, compare_arms
from tesseral.analysis.statistics.orders.benefit import benefit
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import load
from tesseral.analysis.tables.study_info import ReferenceInfo
from tesseral.analysis.terms.estimate import Estimate
from tesseral.analysis.terms.sampling import Sampling
from tesseral.study.errors import TesseralError
from tests.support.report_page import cells, words
from tests.support.synthetic_study import crossed_rows, crossed_tables, info, study_tables, table, trial_row, trial_rows

METRIC = "test.epsilon"


def page_of(rows, **changes):
    return report(load(table(rows), [], [], info(**changes)))


def study_tables_from_disk(folder, rows, study):
    """The tables of sealed files as they lie in a folder."""
    from tesseral.study.records.segments import Source

    sources = [Source(str(path), "", None) for path in sorted(Path(folder).glob("curves/*/*.parquet"))]
    return load(table(rows), sources, [], study)


def change(value, low=None, high=None, p=None, p_holm=None, **changes):
    given = {"arm": "b", "baseline": "a", "pairs": 6, "missing": 0, "unit": "pair", "units": 6}
    return Comparison(
        difference=Estimate(value), change=Estimate(value, low, high, p), p_holm=p_holm, **(given | changes)
    )


def test_headline_numbers_are_those_of_the_statistics(tables, page):
    arms = list(tables.study.arms)
    errors, changes = (
        arm_errors(tables.trials, METRIC, arms, Sampling(4)),
        compare_arms(tables.trials, METRIC, arms, "lmax=0", Sampling(4)),
    )
    rows = cells(page, "Arms")
    assert [row[0] for row in rows] == arms
    for row, error in zip(rows, errors, strict=True):
        assert row[1] == "8"
        value, low, high = (float(text) for text in re.findall(r"[\d.]+", row[2]))
        assert (value, low, high) == pytest.approx((error.error.value, error.error.low, error.error.high), abs=5e-4)
    assert rows[0][3] == "baseline"
    for row, comparison in zip(rows[1:], changes, strict=True):
        change = comparison.change
        shown = [float(text) for text in re.findall(r"[-+]?[\d.]+", row[3].replace("−", "-"))]
        assert shown == pytest.approx([change.value, change.low, change.high], abs=0.05)
    assert rows[1][5] == "163,000"
    assert "cannot reach 1x4e" in rows[0][7]


def test_nothing_is_fetched(page):
    assert "<script" not in page
    assert "<link" not in page
    assert "@import" not in page
    for value in re.findall(r"(?:src|href|xlink:href)\s*=\s*[\"']([^\"']*)", page):
        assert value.startswith(("#", "data:image/svg+xml;base64,"))
    for value in re.findall(r"url\(([^)]*)\)", page):
        assert value.startswith("#")
    assert set(re.findall(r"https?://[^\"'<\s]*", page)) == {"http://www.w3.org/2000/svg"}  # a namespace, not a link


def test_everything_it_knows_is_on_the_page(page):
    text = html.unescape(page)
    for stated in (
        "PBE0/def2-SVP, density fitted in def2-universal-jfit, 56 structures",
        "1.06 %",
        "torch 2.13.0",
        "c0ffee",
        "d" * 64,
        "2025-03-01 14:00 UTC",
        '[study]\nname = "hierarchy"',
        "4 blocks",
        "2 replicates",
        "seed 7",
        "factor <code>network.hidden.lmax</code>",
        '<code>training.epochs</code></td><td class="value">60',
        "<td>lmax=0</td><td><code>1x4e</code></td>",
        "32 of 32 trials complete",
    ):
        assert stated in text


def test_dead_irreps_are_told_a_sentence_an_arm(page):
    assert "Dead hidden irreps" not in page
    dead = "0o in every layer is never produced; 1e in layer 3 is never read"
    rows = [row | ({"dead": dead} if row["arm"] == "lmax=1" else {}) for row in trial_rows()]
    told = page_of(rows).split("<h2>Out of reach</h2>")[1].split("</section>")[0]
    shown = f"lmax=1: {dead}.</p>"
    assert shown in told
    assert "<code>1x4e</code>" in told
    reached = page_of([row | {"unreachable": None} for row in rows])
    assert f"lmax=1: {dead}.</p>" in reached
    assert "predicted as zero, which counts" not in reached
    tables = load(table(rows), [], [], info())
    assert [arm["dead"] for arm in summary.to_dict(analyse(tables))["arms"]] == [None, dead, None, None]


def test_ids_are_unique_in_the_page_and_point_to_something(page):
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert {name.removeprefix("#") for name in re.findall(r"url\((#[^)]*)\)", page)} <= set(ids)


def test_hostile_names_are_text(tmp_path):
    evil = '"><script>alert(1)</script><img src="http://x.example/a.png">'
    rows = [row | {"arm": f"{evil}{row['arm']}"} for row in trial_rows(arms=2)]
    rows[0] |= {"state": "failed", "reason": evil}
    arms = tuple(dict.fromkeys(row["arm"] for row in rows))
    tables = study_tables(
        tmp_path,
        rows,
        arms=arms,
        baseline=arms[0],
        factors={f"a.{evil}[0]": (evil, "2")},
        description=evil,
        study_file=evil,
        reference=ReferenceInfo(method=evil),
    )
    page = report(tables)
    assert "<script" not in page
    assert "<img" not in page
    assert html.unescape(page).count(evil) > 20


def test_an_unfinished_study_says_so(tmp_path):
    rows = trial_rows()
    for row in rows:
        if row["block"] == 3:
            row["state"] = "running"
            del row["metric.test.epsilon"]
    page = report(study_tables(tmp_path, rows))
    assert "Preliminary: 24 of 32 trials are complete." in page
    assert "24 of 32 trials complete, 8 begun" in page
    assert "(6 pairs in 3 blocks; 2 trials incomplete)" in page


@pytest.mark.parametrize(
    "rows", [[], [trial_row(a, b, 0, state="planned", seconds=None) for a in range(4) for b in (0, 1)]]
)
def test_a_study_without_a_complete_trial_has_a_report(rows):
    page = page_of(rows)
    assert "There is nothing to compare yet, because no trial is complete." in page
    assert "<svg" not in page
    assert [row[2] for row in cells(page, "Arms")] == ["–"] * 4


def test_one_arm_has_no_comparison():
    page = page_of(trial_rows(arms=1), arms=("lmax=0",))
    assert "The mean of the density error ε is 0." in page
    assert "Against" not in page
    assert "lowest observed" not in page
    assert "change-by-arm" not in page


def test_failures_are_listed_with_their_reason():
    rows = trial_rows()
    rows[9] |= {"state": "failed", "reason": "the loss became NaN & more", "steps": 310}
    page = page_of(rows)
    assert "the loss became NaN &amp; more" in page
    assert f"<code>{rows[9]['trial'][:10]}</code>" in page
    assert "31 of 32 trials complete, 1 failed" in page
    assert "Preliminary" not in page
    assert "1 trial failed" in cells(page, "Arms")[1][7]


def test_merged_arms_and_files_left_out_are_told(tmp_path):
    merged = "lmax=0 = irreps=8x0e"
    rows = [row | {"arm": merged} if row["arm"] == "lmax=0" else row for row in trial_rows()]
    tables = study_tables(tmp_path, rows, arms=(merged, "lmax=1", "lmax=2", "lmax=3"), baseline=merged)
    page = report(tables)
    assert re.search(r"lmax=0 and irreps=8x0e resolve\s+to the same configuration, which was trained\s+once", page)
    assert "merged arms</td>" not in report(load(table(trial_rows()), [], [], info()))
    next(Path(tmp_path).glob("curves/*/*.parquet")).write_bytes(b"PAR1")
    with pytest.warns(UserWarning, match="is left out"):
        torn = study_tables_from_disk(tmp_path, rows, tables.study)
    assert "1-all.parquet is left out" in report(torn)


def test_a_metric_that_is_not_recorded_is_a_mistake():
    with pytest.raises(TesseralError, match=r"got 'test\.nonsense'; valid are"):
        page_of(trial_rows(), metric="test.nonsense")


def test_an_unfinished_study_of_targets_has_a_report(tmp_path):
    rows = [row | ({"state": "running"} if "dipole" in row["arm"] else {}) for row in crossed_rows()]
    tables = crossed_tables(tmp_path, rows)
    page = words(report(tables))
    assert "Preliminary: 72 of 96 trials are complete." in page
    assert "dipole" not in set(benefit(tables)["target"])
    assert load(table([]), [], [], tables.study).trials.is_empty()
    assert "nothing to compare yet" in report(load(table([]), [], [], tables.study))


def test_the_mean_of_a_mean_is_not_written_twice(tmp_path):
    rows = [row | {"metric.test.mse": 0.01 * row["metric.test.epsilon"]} for row in trial_rows()]
    page = report(study_tables(tmp_path, rows, metric="test.mse"))
    assert "mean mean" not in page
    assert "Error: the mean squared error on the test split, averaged" in page


def test_headings_of_tables_have_a_scope(tuned_page):
    assert "<th>" not in tuned_page
    assert tuned_page.count("<th scope=") == tuned_page.count("<th ")
    assert "<script" not in tuned_page


def test_control_characters_are_shown_as_escapes(tmp_path):
    """XML allows none of them, and one of them in a chart ends the process."""
    hostile = "l=\x1b[31m\x00\x07\u202e"
    rows = [row | {"arm": f"{hostile}{row['arm']}"} for row in trial_rows(arms=2)]
    rows[0] |= {"state": "failed", "reason": hostile}
    arms = tuple(dict.fromkeys(row["arm"] for row in rows))
    page = report(study_tables(tmp_path, rows, arms=arms, baseline=arms[0], description=hostile, study_file=hostile))
    assert html.unescape(page).count(r"l=\x1b[31m\x00\x07\u202e") > 20
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", page)


def test_a_column_that_would_say_nothing_is_a_sentence(results):
    """When orders have half of their last share: a column only if one of them begins below it."""
    heading, sentence = "half of its last share at epoch", "Every order has half of its last share from the first"
    for epoch in (0, 30):
        places = results.layers.places.with_columns(epoch=pl.lit(epoch, dtype=pl.Float64))
        shown = words(render(replace(results, layers=replace(results.layers, places=places))))
        assert (heading in shown, sentence in shown) == (epoch > 0, epoch == 0)


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({"published": True}, "for these data"),
        ({"tests": ("md",), "metric": "md.epsilon"}, "for these data"),
        ({"blocks": 2}, "for these splits"),
        ({}, "for new data of the same kind"),
    ],
)
def test_captions_say_what_their_intervals_hold_for(tmp_path, changes, holds):
    levels = {f"lmax={k}": {"network.hidden.lmax": str(k)} for k in range(4)}
    rows = [row | {"metric.md.epsilon": row["metric.test.epsilon"]} for row in trial_rows()]
    results = analyse(study_tables(tmp_path, rows, levels=levels, **changes))
    assert results.study.sampling.shown == holds
    page = render(results)
    text = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.split("<h2>How intervals are")[0])).split())
    captions = re.findall(r"95 % intervals?\b[^.]*", text)
    captions = [caption for caption in captions if "where the ratio varies" not in caption]  # of costs
    assert len(captions) > 5
    assert [caption for caption in captions if holds not in caption] == []
    assert "too few" not in text
    drawn = "draw from a published split" if "published" in changes else "split of the data"
    assert f"A block is one {drawn} with one data order;" in text
    assert f"Means on {'the test set md' if 'tests' in changes else 'the test split'} with" in text
    if "new data" not in holds:
        assert "intervals for new data" not in text
        assert all(f"] {holds}" in line or "[" not in line for line in step_lines(results))
        assert any("[" in cell for row in arm_table(results) for cell in row.values())


def test_no_caption_promises_intervals_before_there_are_any(tmp_path):
    """A study whose first two blocks have ended."""
    levels = {f"lmax={k}": {"network.hidden.lmax": str(k)} for k in range(4)}
    rows = [row for row in trial_rows() if row["block"] < 2]
    results = analyse(study_tables(tmp_path, rows, levels=levels))
    assert results.study.sampling.for_new_data
    text = words(render(results).split("<h2>How intervals are")[0])
    assert re.findall(r"[^.]*95 %[^.]*\bintervals?\b[^.]*", text) == []
    drawn = report_figures(results)
    told = [each.name for each in drawn if "There are too few trials for intervals." in each.caption]
    assert {"changes", "error-by-arm", "change-by-arm", "error-against-cost"} <= {*told}


@pytest.mark.parametrize("kept", [True, False])
def test_the_page_says_once_what_searches_saw(tuned_results, kept):
    study = replace(tuned_results.study, holds_out=kept, held=(20,) if kept else ())
    page = words(render(replace(tuned_results, tables=replace(tuned_results.tables, study=study))))
    assert ("No search saw the hold-out of 20 structures" in page) == kept
    assert ("None of the structures that it sees is in a test split" in page) == kept
    assert ("that the confirm stage may test on" in page) != kept
    assert ("Its searches may have seen structures" in page) != kept
