"""What the report says of a search, a design, a match and an allocation, against the records that were put in."""

import html
import json
import re

import polars as pl
import pytest

from tesseral.analysis.figures.curve_figures import search_figures
from tesseral.analysis.report import summary
from tesseral.analysis.report.arm_table import arm_table
from tesseral.analysis.report.findings import findings
from tesseral.analysis.report.notes import notes
from tesseral.analysis.report.report import report
from tesseral.analysis.statistics.paired import arm_errors, compare_arms
from tesseral.analysis.statistics.progress import allocate, blocks_given
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.endings import endings
from tesseral.analysis.tables.load import load, trials_frame
from tesseral.analysis.tables.open import open_study, study_info
from tesseral.analysis.tables.search import Saved, SearchRecords, arm_searches, best_so_far, saved
from tesseral.study.configuration.trial import digest
from tesseral.study.design.arm import Excluded
from tesseral.study.design.study_file import Match
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tesseral.study.wording import scaled
from tests.support.synthetic_study import (
    ENDED,
    TUNED,
    VALIDATION,
    info,
    study_tables,
    table,
    trial_row,
    trial_rows,
    tuned_study,
)

MATCHED = {"match": "parameters", "parameters_live": 9000, "components": 120, "flops": 1_240_000}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    storage = tmp_path_factory.mktemp("storage")
    tuned_study(Store(storage))
    return open_study(storage, "tuned")


@pytest.fixture(scope="module")
def page(tuned):
    return report(tuned)


def words(page):
    """The page's text and tags, on one line."""
    return " ".join(html.unescape(page).split())


def cells(page, heading):
    """The rows of the first table of a section as text."""
    body = page.split(f"<h2>{heading}</h2>")[1].split("<tbody>")[1].split("</tbody>")[0]
    plain = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.S) for row in re.findall(r"<tr>(.*?)</tr>", body, re.S)]
    return [[" ".join(html.unescape(re.sub(r"<[^>]*>", "", cell)).split()) for cell in row] for row in plain]


def sequential(blocks, **changes):
    """Trials of arms that were given so many of twelve blocks, and what was asked for."""
    rows = [row for row in trial_rows(blocks=12) if row["block"] < blocks[row["arm"]]]
    given = {"blocks": 3, "sequential": True, "precision": 20.0, "max_blocks": 12}
    return load(table(rows), [], [], info(**(given | changes)))


def test_the_search_is_counted_as_its_records_say(tuned):
    found = {arm.arm: arm for arm in analyse(tuned).searches}
    for label, came in VALIDATION.items():
        errors = [value for value in came if isinstance(value, float)]
        arm = found[label]
        assert (arm.complete, arm.pruned, arm.failed) == (len(errors), came.count("pruned"), came.count("failed"))
        assert arm.repeats == sum(str(value).startswith("repeat") for value in came)
        assert arm.proposed == arm.planned == len(came) - arm.repeats
        assert arm.best == min(errors)
        assert arm.settings == {"training.learning_rate": 1e-3 * (came.index(min(errors)) + 1)}
        assert arm.ended == ENDED[label]
    stands = analyse(tuned).search_progress
    assert (stands.planned, stands.complete, stands.pruned, stands.failed, stands.unfinished) == (11, 7, 3, 1, 0)


def test_a_store_of_objects_reads_the_same(store, tuned):
    tuned_study(store)
    read = open_study(store.url, "tuned")
    assert analyse(read).searches == analyse(tuned).searches
    assert read.search.proposals.equals(tuned.search.proposals)


def test_the_confirm_stage_is_judged_alone(tuned):
    """Validation errors of the search are lower or higher than test errors, and change nothing."""
    without = tuned.trials.filter(pl.col("stage") == "confirm")
    arms = list(tuned.study.arms)
    assert arm_errors(tuned.trials, "test.l2_error", arms, 3) == arm_errors(without, "test.l2_error", arms, 3)
    assert compare_arms(tuned.trials, "test.l2_error", arms, arms[0], 3) == compare_arms(
        without, "test.l2_error", arms, arms[0], 3
    )
    assert [row.error.error.value for row in analyse(tuned).arms] == pytest.approx([0.61, 0.41])
    stands = analyse(tuned).progress
    assert (stands.planned, stands.complete, stands.pruned, stands.failed) == (6, 6, 0, 0)
    assert [row.failed for row in analyse(tuned).arms] == [0, 0]


def test_the_best_so_far_falls_where_it_was_put(tuned):
    steps = best_so_far(tuned.trials, tuned.search, "validation.l2_error")
    # Of lmax=0 the fifth proposal was a repeat: the sixth is the fifth distinct one. It failed; the last is complete.
    assert steps.rows() == [
        ("lmax=0", 1, 0.9), ("lmax=0", 3, 0.7), ("lmax=0", 6, 0.7), ("lmax=1", 1, 0.5), ("lmax=1", 5, 0.4),
    ]  # fmt: skip
    (figure,) = search_figures(tuned)
    assert figure.name == "search"
    assert figure.svg.count("lmax=1") >= 2


def test_a_trial_that_two_arms_share_is_one_proposal_of_each():
    """The trials table has a row for each of its arms."""
    shared = {"stage": "search", "trial": "a" * 64, "proposal": 0, "metric.validation.l2_error": 0.5}
    trials = trials_frame(table([trial_row(0, 0, 0, **shared), trial_row(1, 0, 0, **shared)]))
    arms = ("lmax=0", "lmax=1")
    proposals = pl.DataFrame({"arm": arms, "number": [0, 0], "trial": ["a" * 64] * 2})
    searches = arm_searches(trials, SearchRecords(proposals), arms, 1, "validation.l2_error")
    assert [(search.proposed, search.complete, search.repeats) for search in searches] == [(1, 1, 0), (1, 1, 0)]


def test_the_page_shows_the_search(page):
    rows = cells(page, "Search")
    assert rows[0] == ["lmax=0", "6 of 6", "4", "1", "1", "1", "0.700", "learning_rate=0.003"]
    chosen = "learning_rate=0.005; ended before its budget: 50 proposals running repeated earlier ones"
    assert rows[1] == ["lmax=1", "5 of 5", "3", "2", "0", "0", "0.400", chosen]
    text = words(page)
    assert "6 distinct proposals in each arm by Optuna’s sampler tpe, minimising L² error of the density" in text
    assert "from epoch 2, with one trial in 3 continuing at each rung" in text
    assert "The search sees validation errors only" in text
    assert "Nothing of it enters the errors and intervals of this page" in text
    assert "hyperparameters are tuned on structures that the confirm stage may test on" in text
    assert "6 of 6 trials complete · search: 11 of 11 trials ended (3 stopped early, 1 failed)" in text
    assert 'id="search"' in page


def test_what_early_stopping_saved(tuned, page):
    """Three trials were stopped after 4 of 12 steps and 1.5 s."""
    assert saved(tuned.trials) == Saved(trials=3, unknown=0, seconds=4.5, whole=13.5)
    sentence = (
        "Early stopping saved about 9.0 s of training: 3 trials took 4.5 s in total before being stopped, and would "
        "have taken 14 s to the end at the same pace."
    )
    assert sentence in words(page)
    assert summary.to_dict(analyse(tuned))["search"]["saved"]["whole"] == 13.5
    first = tuned.trials.filter(state="pruned")["trial"][0]
    seconds = pl.when(pl.col("trial") != first).then("seconds")
    assert saved(tuned.trials.with_columns(seconds)) == Saved(2, 1, 3.0, 9.0)
    assert Saved(2, 1, 3.0, 9.0).sentence.endswith("at the same pace. The time of 1 more is unknown.")
    assert saved(tuned.trials.filter(pl.col("state") != "pruned")) is None
    assert saved(tuned.trials.with_columns(seconds=pl.lit(None, pl.Float64))) is None


def test_both_stages_stand_in_a_sentence(tuned):
    assert summary.progress_text(analyse(tuned)) == (
        "6 of 6 trials complete · search: 11 of 11 trials ended (3 stopped early, 1 failed)"
    )
    rows = trial_rows()
    rows[0]["state"], rows[1]["state"] = "running", "failed"
    alone = load(table(rows), [], [], info())
    assert summary.progress_text(analyse(alone)) == "30 of 32 trials complete, 1 running, 1 failed"


def test_endings_are_grouped_by_reason(tuned, page):
    failed, pruned = endings(tuned.trials)
    assert (failed.stage, failed.state, failed.trials, failed.arms, failed.alike) == (
        "search", "failed", 1, ("lmax=0",), True,
    )  # fmt: skip
    assert (pruned.state, pruned.trials, pruned.arms) == ("pruned", 3, ("lmax=0", "lmax=1"))
    rows = cells(page, "Failed and stopped trials")
    assert rows[0][:4] == ["search", "failed", "1", "the loss became NaN at step 7"]
    assert rows[1][:3] == ["search", "stopped early", "3"]
    assert "Preliminary" not in page


def test_reasons_that_differ_in_numbers_are_one_and_others_are_not():
    reasons = ["the loss became NaN at step 12", "the loss became NaN at step 1.5e3", "out of memory", None]
    rows = [trial_row(0, b, 0, state="failed", reason=reason) for b, reason in enumerate(reasons)]
    rows += [trial_row(1, b, 0, state="pruned", reason="number 2 of 3", steps=30 + 60 * (b > 1)) for b in range(3)]
    found = endings(load(table(rows), [], [], info()).trials)
    assert [(group.state, group.reason, group.trials, group.alike) for group in found] == [
        ("failed", reasons[0], 2, False), ("failed", "not recorded", 1, True), ("failed", "out of memory", 1, True),
        ("pruned", "number 2 of 3", 2, True), ("pruned", "number 2 of 3", 1, True),
    ]  # fmt: skip


def test_copied_trials_are_told(tuned, page):
    sentence = "4 of 17 trials were trained earlier by the study older and copied."
    assert sentence in notes(tuned)
    assert sentence in page
    assert sentence in json.loads(json.dumps(summary.to_dict(analyse(tuned)), allow_nan=False))["notes"]
    assert notes(load(table(trial_rows()), [], [], info())) == []


def test_arms_that_a_condition_left_out_are_told(tuned, page):
    assert "1 arm excluded by the condition “network.hidden.lmax < 2”: lmax=2." in notes(tuned)
    assert ["excluded", "lmax=2, by the condition network.hidden.lmax < 2"] in cells(page, "Design")
    assert ["kind", "full factorial: every combination of levels; 2 arms"] in cells(page, "Design")


def test_a_search_that_goes_on_is_preliminary(tmp_path):
    tuned_study(Store(tmp_path))
    for path in [*tmp_path.glob("tuned/search/*/best.json"), *tmp_path.glob("tuned/trials/*/outcome.json")]:
        path.unlink()
    read = open_study(tmp_path, "tuned")
    assert findings(analyse(read)) == [
        "Preliminary: 0 of 12 search trials have ended.",
        "Preliminary: 0 of 6 trials are complete.",
        "There is nothing to compare yet, because no trial of the confirm stage is complete.",
    ]
    assert [row[-1] for row in cells(report(read), "Search")] == ["not chosen yet", "not chosen yet"]


def test_a_proposal_without_a_trial_yet_is_no_repeat(tmp_path):
    tuned_study(Store(tmp_path))
    key = digest("lmax=1")[:12]
    (tmp_path / f"tuned/search/{key}/5.json").write_text('{"trial": "not yet"}')
    (tmp_path / f"tuned/search/{key}/6.json").write_text('{"tri')
    with pytest.warns(UserWarning, match=r"6\.json is left out"):
        arm = analyse(open_study(tmp_path, "tuned")).searches[1]
    assert (arm.proposed, arm.repeats, arm.complete) == (6, 0, 3)


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


def test_arms_that_matching_joined_are_one(tmp_path):
    study = Study.parse(TUNED.replace('where = ["network.hidden.lmax < 2"]', ""), "t")
    assert [arm.label for arm in study.arms] == ["lmax=0", "lmax=1", "lmax=2"]
    found = study_info(study, tmp_path, ["lmax=0 = lmax=2", "lmax=1"])
    assert found.arms == ("lmax=0 = lmax=2", "lmax=1")
    assert found.baseline == "lmax=0 = lmax=2"
    assert study_info(study, tmp_path, ["lmax=1"]).arms == ("lmax=0", "lmax=1", "lmax=2")


def matched(*residuals, **changes):
    rows = [row | MATCHED | changes | {"residual": residuals[int(row["arm"][-1])]} for row in trial_rows()]
    return load(table(rows), [], [], info(match=Match(by="parameters")))


def test_matched_arms_show_what_was_matched():
    tables = matched(0.0, 0.004, -0.023, 0.0)
    rows = arm_table(analyse(tables))
    assert list(rows[0])[5:] == ["live parameters", "residual, %", "FLOPs per step", "time", "notes"]
    assert [row["live parameters"] for row in rows] == ["9,000"] * 4
    assert [row["residual, %"] for row in rows] == ["0.00", "+0.40", "−2.30", "0.00"]
    assert rows[2]["FLOPs per step"] == "1.24 M"
    assert rows[2]["notes"] == "size differs from its target by −2.30 %"
    assert rows[1]["notes"] == ""
    assert "but 1 arm deviates by more than 1 %, so a change may come from size" in " ".join(findings(analyse(tables)))
    size = (
        "multiplicities of the hidden irreps are scaled to equal live parameters (those that a gradient can reach); "
        "the target is the largest arm; the "
    )
    assert ["size", f"{size}largest residual is 2.3 %"] in cells(report(tables), "Design")


def test_a_close_match_is_told_and_one_within_levels_is_compared_within_them():
    close, told = (
        matched(0.0, 0.004, -0.002, 0.0),
        "The arms are matched in live parameters (those that a gradient can reach) to within 1 %.",
    )
    assert told in findings(analyse(close))
    within = load(close.trials, [], [], info(match=Match(by="parameters", to=9000, within=("network.layers",))))
    assert told in findings(analyse(within))
    assert "within each level of network.layers; the target is 9,000" in report(within)


def test_units_of_a_match_that_is_a_factor_stand_in_the_table():
    units = ("none", "parameters", "components", "flops")
    rows = [row | MATCHED | {"match": units[int(row["arm"][-1])], "residual": 0.001} for row in trial_rows()]
    tables = load(table(rows), [], [], info())
    found = arm_table(analyse(tables))
    assert [row["matched in"] for row in found] == list(units)
    assert [row["residual, %"] for row in found] == ["–", "+0.10", "+0.10", "+0.10"]
    assert {row["components"] for row in found} == {"120"}
    told = " ".join(findings(analyse(tables)))
    assert "matched in different ways (components, flops, none, parameters)" in told


def test_a_sequential_allocation_says_why_it_stopped():
    blocks = {"lmax=0": 12, "lmax=1": 11, "lmax=2": 12, "lmax=3": 10}
    tables = sequential(blocks, precision=25.0)
    comparisons = compare_arms(tables.trials, "test.epsilon", tables.study.arms, "lmax=0", 12)
    assert blocks_given(tables) == blocks
    found = {arm.arm: arm for arm in allocate(tables, comparisons)}
    assert found["lmax=0"].stopped is None
    for comparison in comparisons:
        arm, change = found[comparison.arm], comparison.change
        factor = 1 + arm.half_width / 100
        assert 100 + change.high == pytest.approx((100 + change.low) * factor**2, rel=1e-12)
    # A look at six blocks is the first, and five more follow it.
    assert [found[arm].stopped for arm in blocks] == [None, "precision", "precision", None]
    most = sequential(blocks, precision=1e-6)
    assert [arm.stopped for arm in allocate(most, comparisons)] == [None, None, "most blocks", None]
    page = report(tables)
    rows = cells(page, "Blocks given")
    assert [(row[0], row[1]) for row in rows] == [(arm, str(n)) for arm, n in blocks.items()]
    text = words(page)
    assert "with at least 6 blocks, the 95 % interval of the paired change is no wider than ±25 %; 5 more" in text
    assert "At most 12 blocks are given. The rule looks at the width of the interval only, never at the side" in text
    assert "4 arms × 3 to 12 blocks × 2 replicates" in text
    assert "90 of 90 trials complete" in text


def test_without_precision_more_blocks_may_follow():
    three = sequential(dict.fromkeys(("lmax=0", "lmax=1", "lmax=2", "lmax=3"), 3), precision=1e-6)
    comparisons = compare_arms(three.trials, "test.epsilon", three.study.arms, "lmax=0", 6)
    assert [arm.stopped for arm in allocate(three, comparisons)] == [None] * 4
    assert findings(analyse(three))[0] == "Preliminary: more blocks will be added."
    most = sequential(dict.fromkeys(("lmax=0", "lmax=1", "lmax=2", "lmax=3"), 12), precision=1e-6)
    comparisons = compare_arms(most.trials, "test.epsilon", most.study.arms, "lmax=0", 12)
    assert [arm.stopped for arm in allocate(most, comparisons)] == [None] + ["most blocks"] * 3
    assert "Preliminary" not in " ".join(findings(analyse(most)))


def test_a_trial_that_runs_keeps_its_arm_open():
    rows = trial_rows(blocks=11)
    rows[-1]["state"] = "running"
    given = {"blocks": 3, "sequential": True, "precision": 1e6, "max_blocks": 12}
    tables = load(table(rows), [], [], info(**given))
    comparisons = compare_arms(tables.trials, "test.epsilon", tables.study.arms, "lmax=0", 12)
    assert [arm.stopped for arm in allocate(tables, comparisons)] == [None, "precision", "precision", None]


def test_the_design_of_a_fraction_stands_in_the_page():
    notes_ = ("2^(3-1) fraction of resolution III: 4 of 8 combinations", "generator C = AB: c = a × b")
    excluded = (Excluded("lmax=9, <b>", "lmax < 9", "design.where[0]"),)
    study = info(design="fractional", design_notes=notes_, excluded=excluded)
    page = report(load(table(trial_rows()), [], [], study))
    assert f"{notes_[0]}<br>{notes_[1]}" in page
    assert "lmax=9, &lt;b&gt;, by the condition <code>lmax &lt; 9</code>" in page
    assert ["kind", "two-level fractional factorial; 4 arms"] in cells(page, "Design")


def test_the_mean_of_a_mean_is_not_written_twice(tmp_path):
    rows = [row | {"metric.test.mse": 0.01 * row["metric.test.epsilon"]} for row in trial_rows()]
    page = report(study_tables(tmp_path, rows, metric="test.mse"))
    assert "mean mean" not in page
    assert "Error: the mean squared error on the test split, averaged" in page


def test_headings_of_tables_have_a_scope(page):
    assert "<th>" not in page
    assert page.count("<th scope=") == page.count("<th ")
    assert "<script" not in page


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (950, "950"), (1_240_000, "1.24 M"), (999_600, "1.00 M"), (3.5e10, "35.0 G"), (1e3, "1.00 k")],
)
def test_large_numbers_have_prefixes(value, text):
    assert scaled(value) == text
