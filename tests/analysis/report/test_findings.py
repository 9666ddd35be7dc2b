"""The findings: each sentence says no more than its interval does, and keeps to one target."""

import html
import re
from dataclasses import replace

import pytest

from tesseral.analysis.report.arm_table import arm_table
from tesseral.analysis.report.findings import (
    cautions,
    compared,
    findings,
    learning_rates,
    lowest_sentence,
    of_arms,
    verdict,
    verdict_here,
    verdicts,
)
from tesseral.analysis.report.report import report
from tesseral.analysis.statistics.comparisons.best import Best
from tesseral.analysis.statistics.comparisons.paired import ArmError, Comparison, compare_arms, holm
from tesseral.analysis.statistics.comparisons.steps import steps
from tesseral.analysis.statistics.orders.order_trend import trends
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import load
from tesseral.analysis.tables.open import open_study
from tesseral.analysis.terms.estimate import Estimate
from tesseral.analysis.terms.sampling import Sampling
from tesseral.study.design.study_file import Search
from tesseral.study.records.rate_scan import ArmScan, RateScan
from tesseral.study.records.store import Store
from tests.support.report_page import cells
from tests.support.synthetic_study import TARGETS, crossed_rows, info, label, table, trial_rows, tuned_study

METRIC = "test.epsilon"


def change(value, low=None, high=None, p=None, p_holm=None, **changes):
    given = {"arm": "b", "baseline": "a", "pairs": 6, "missing": 0, "unit": "pair", "units": 6}
    return Comparison(
        difference=Estimate(value), change=Estimate(value, low, high, p), p_holm=p_holm, **(given | changes)
    )


def findings_of(rows, **changes):
    """The findings of trials of the study `info(**changes)`."""
    return findings(analyse(load(table(rows), [], [], info(**changes))))


def test_opening_paragraph_states_the_change(tables, page, results):
    change = compare_arms(tables.trials, METRIC, list(tables.study.arms), "lmax=0", Sampling(4))[1].change
    bounds = f"{-change.value:.1f} % [{-change.high:.1f}, {-change.low:.1f}]"
    sentence = f"Against lmax=0, lmax=2 lowers the density error ε by {bounds} (8 pairs in 4 blocks)."
    assert sentence in findings(results)
    assert html.escape(sentence) in page


def test_that_a_change_is_one_of_reach_is_said_once():
    sentence = "lmax=0 cannot reach 1x4e, which is predicted as zero. This accounts for part of each change."
    assert findings_of(trial_rows()).count(sentence) == 1
    alike = [row | {"unreachable": "1x4e"} for row in trial_rows()]
    assert not any("cannot reach" in told for told in findings_of(alike))
    some = [row | {"unreachable": None if row["arm"] == "lmax=3" else "1x4e"} for row in trial_rows()]
    told = findings_of(some)
    assert sentence.replace("each change", "the change of each arm that reaches it") in told
    less = [row | {"unreachable": "1x4e" if row["arm"] == "lmax=2" else None} for row in trial_rows()]
    told = findings_of(less)
    assert "lmax=2 cannot reach 1x4e, which is predicted as zero. This accounts for part of its change." in told
    assert sum("cannot reach" in one for one in told) == 1


@pytest.mark.parametrize(
    ("comparison", "decided", "sentence"),
    [
        (
            change(-47, -52, -41, 0.001, 0.002),
            "lower",
            "Against a, b lowers the density error ε by 47.0 % [41.0, 52.0] (6 pairs).",
        ),
        (
            change(12, 2, 23, 0.01, 0.02, unit="block", units=3, missing=1),
            "higher",
            "Against a, b raises the density error ε by 12 % [2, 23] (6 pairs in 3 blocks; 1 trial incomplete).",
        ),
        (
            change(-8, -21, 8, 0.3, 0.3),
            "undecided",
            "b against a is undecided: the density error ε changes by −8 % [−21, +8] (6 pairs).",
        ),
        (
            change(-20, -35, -3, 0.03, 0.09),
            "undecided",
            "b against a is undecided after Holm’s correction (p = 0.09): "
            "the density error ε changes by −20 % [−35, −3] (6 pairs).",
        ),
        (
            change(-45, pairs=2, units=2),
            "without an interval",
            "Against a, b changes the density error ε by −45.0 % (2 pairs, too few for an interval).",
        ),
    ],
)
def test_words_say_no_more_than_the_interval(comparison, decided, sentence):
    assert verdict(comparison) == decided
    assert compared(comparison, METRIC) == sentence


def test_words_without_a_ratio_or_a_pair():
    none = Comparison("b", "a, x", 0, 4, "pair", 0, None, None)
    assert compared(none, METRIC) == "b cannot be compared with “a, x” yet: no pair of trials is complete."
    zero = Comparison("b", "a", 3, 0, "block", 3, Estimate(-1.0), None)
    assert "the relative change of b is undefined: an error is zero or negative" in compared(zero, METRIC)


@pytest.mark.parametrize(
    ("alike", "tail"),
    [
        (None, "."),
        ((), "; every other arm is told from the best."),
        (("b", "c, d"), "; not told from the best: b and “c, d”."),
        (("b", "c, d", "e"), "; none of the 3 other arms is told from the best."),
    ],
)
def test_the_lowest_is_named_with_those_that_are_not_told_from_it(alike, tail):
    error = ArmError("a", 8, "block", 4, Estimate(0.4, 0.3, 0.5), 0.1)
    best = Best(("a", "b", "c, d", "e"), error, alike)
    head = "a has the lowest observed mean of the density error ε: 0.40 % [0.30, 0.50] (8 trials in 4 blocks)"
    assert lowest_sentence(best, METRIC) == head + tail


def test_the_lowest_is_named_by_the_aggregate_of_the_study_and_told_where_pairs_tell_it():
    error = ArmError("a", 6, "block", 6, Estimate(0.4, 0.3, 0.5), 0.1)
    assert lowest_sentence(Best(("a", "b"), error, ("b",), told=True), METRIC, aggregate="iqm") == (
        "a has the lowest observed interquartile mean of the density error ε: 0.40 % [0.30, 0.50] (6 trials in "
        "6 blocks), but in pairs it is told from the best; not told from the best: b."
    )


def test_few_blocks_make_intervals_conditional():
    few = load(table(trial_rows(blocks=1, replicates=3)), [], [], info(blocks=1, replicates=3))
    assert any(
        "its intervals are conditional: they hold for its data splits only" in sentence
        for sentence in findings(analyse(few))
    )
    assert {verdict(comparison) for comparison in analyse(few).comparisons} == {"without an interval"}
    sentence = next(told for told in findings(analyse(few)) if told.startswith("Against lmax=0, lmax=1"))
    assert re.search(r"changes the density error ε by −\d+ % \[.*\] for these splits \(3 pairs\): no verdict", sentence)
    many = load(table(trial_rows()), [], [], info())
    assert not any("conditional" in sentence for sentence in findings(analyse(many)))


def test_new_data_may_leave_undecided_what_these_data_decide():
    overlaps = dict.fromkeys((f"lmax={k}" for k in range(4)), 12 / 36)
    rows = [row | {"metric.test.epsilon": row["metric.test.epsilon"] ** 0.3} for row in trial_rows()]
    results = analyse(load(table(rows), [], [], info(overlaps=overlaps)))
    comparison = results.comparisons[0]
    assert (verdict(comparison), verdict_here(comparison)) == ("lower", "lower")
    rows = [row | {"metric.test.epsilon": row["metric.test.epsilon"] ** 0.05} for row in trial_rows(blocks=3)]
    far = analyse(load(table(rows), [], [], info(blocks=3, overlaps=dict.fromkeys(overlaps, 20.0))))
    assert (verdict(far.comparisons[0]), verdict_here(far.comparisons[0])) == ("undecided", "lower")
    (sentence,) = (told for told in findings(far) if told.startswith("lmax=1 against"))
    assert sentence.endswith("(6 pairs in 3 blocks). For these data alone it is lower.")
    headings = list(arm_table(far)[0])
    assert headings.index("for these data") == headings.index("change, %, new data") + 1


def test_one_search_an_arm_gives_no_verdict(tuned_results):
    (comparison,) = tuned_results.comparisons
    assert verdict(comparison) == "without an interval"
    assert comparison.change.here.high < 0  # for the settings found the arms differ
    assert {(step.verdict, step.verdict_here) for step in tuned_results.steps} == {("no verdict", "no verdict")}
    told = findings(tuned_results)
    assert any("changes" in one and "for the settings found" in one and "no verdict" in one for one in told)
    assert any(one.startswith("Each arm was tuned by one search, and the luck of a search is part") for one in told)
    assert not any("lowers" in one or "raises" in one for one in told)


def test_two_finished_blocks_of_six_have_points_and_no_interval():
    early = load(table(trial_rows(blocks=2)), [], [], info(blocks=6))
    told = " ".join(findings(analyse(early)))
    assert "Preliminary: 16 of 48 trials are complete." in told
    assert told.count("(4 pairs in 2 blocks, too few for an interval)") == 3
    assert "conditional" not in told
    assert "[" not in told
    assert {row["notes"].partition("too few ")[2] for row in arm_table(analyse(early))} == {"blocks for an interval"}


def test_many_arms_are_counted_not_listed():
    rows = [
        row | {"arm": f"{row['arm']}, k={k}", "metric.test.epsilon": row["metric.test.epsilon"] * (1 + 0.01 * k)}
        for row in trial_rows()
        for k in range(3)
    ]
    arms = tuple(dict.fromkeys(row["arm"] for row in rows))
    told = findings_of(rows, arms=arms, baseline=arms[0])
    assert len(told) == 8
    assert told[3] == (
        "“lmax=0, k=0” cannot reach 1x4e, which is predicted as zero. This accounts for part of the change of each arm "
        "that reaches it."
    )
    assert "ε = 1.06 %, the fit floor" in told[4]
    assert "not matched in size (91,000 to 281,000 parameters)" in told[5]
    assert "none of 8 trials is seen to fail, up to 37 % of starts still may" in told[6]
    assert told[0].startswith("11 arms are compared with “lmax=0, k=0” in the density error ε: 9 lower")


def test_opening_sentences_keep_to_a_target(crossed_results):
    told = findings(crossed_results)
    assert (
        "Against “lmax=0, quantity=quadrupole”, “lmax=2, quantity=quadrupole” lowers the relative error of the "
        "quadrupole by 58.0 % [54.4, 61.4] for new data of the same kind, [56.0, 60.0] for these data "
        "(8 pairs in 4 blocks)."
    ) in told
    assert "8 comparisons within groups in the relative error: 4 undecided, 4 lower." in told
    for sentence in told:
        assert len({quantity for quantity in TARGETS if f"quantity={quantity}" in sentence}) <= 1


def test_parameters_are_weighed_within_a_target(crossed):
    """Networks of different targets may differ in size, for they are not compared."""
    sizes = dict(zip(TARGETS, (1000, 2000, 3000, 4000), strict=True))
    rows = [row | {"parameters": sizes[row["target"]]} for row in crossed_rows()]
    assert not any("not matched" in told for told in findings(analyse(load(table(rows), [], [], crossed.study))))
    rows[0] = rows[0] | {"parameters": 1500}
    mixed = [row | ({"parameters": 1500} if row["arm"] == label(0, "energy") else {}) for row in rows]
    assert any(
        "(1,000 to 4,000 parameters)" in told for told in findings(analyse(load(table(mixed), [], [], crossed.study)))
    )


def test_the_first_screen_tells_steps_and_the_arms_are_told_below(crossed_results, crossed_page):
    """Whatever the first screen claims shares one level of significance; the rest stands by its own."""
    shown, below = verdicts(crossed_results), of_arms(crossed_results)
    assert not set(shown) & set(below)
    assert not any("Against" in sentence or "lowest" in sentence for sentence in shown)
    assert any("lowest observed" in sentence for sentence in below)
    assert crossed_page.index(html.escape(shown[0])) < crossed_page.index("<h2>Arms</h2>")
    assert crossed_page.index(html.escape(below[0])) > crossed_page.index("<h2>Arms</h2>")


def test_questions_of_the_first_screen_share_their_level(crossed, crossed_results):
    (step, *_), (alone, *_) = crossed_results.steps, steps(crossed)
    assert step.comparison.p_holm == pytest.approx(min(1.0, 2 * alone.comparison.p_holm))
    (trend, *_), (single, *_) = crossed_results.trends, trends(crossed)
    assert [claim.p_holm for claim in trend.claims] == [min(1.0, 2 * claim.p_holm) for claim in single.claims]
    # Comparisons are told below, where they are corrected by themselves.
    changes = [c.change.p for c in crossed_results.comparisons]
    assert [c.p_holm for c in crossed_results.comparisons] == pytest.approx(holm(changes))


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


RATE = "training.learning_rate"
FLAT = ArmScan("lmax=0", 0.01, (0.003, 0.01, 0.03), (2.2, 2.0, 2.1))
STEEP = ArmScan("lmax=1", 0.01, (0.003, 0.01, 0.03, 0.09), (3.0, 1.5, 1.2, None))


def test_how_the_learning_rate_was_chosen_is_told():
    assert findings_of(trial_rows())[-1] == (
        "No scan of the learning rate is recorded, and one learning rate may favour an arm "
        "(tesseral plan --probe-rate scans it)."
    )
    scan = RateScan("", "l2_error", 0.25, (FLAT, replace(STEEP, errors=(3.0, 1.26, 1.2, None))))
    assert findings_of(trial_rows(), scan=scan)[-1].startswith(
        "The learning rate was scanned: at the study's rate, the validation"
    )
    assert "within 5.0 % of that at the arm's best scanned rate" in findings_of(trial_rows(), scan=scan)[-1]
    favoured = findings_of(trial_rows(), scan=RateScan("", "l2_error", 0.25, (FLAT, STEEP)))[-1]
    assert "is that at the best rate in lmax=0 and is 25.0 % above that at the best rate in lmax=1" in favoured


def test_a_terminal_gets_cautions_in_few_words():
    def told(rows, **changes):
        return cautions(analyse(load(table(rows), [], [], info(**changes))))

    equal = [row | {"parameters": 91_000} for row in trial_rows()]
    assert told(trial_rows()) == [
        "The arms are not matched in size (91,000 to 281,000 parameters).",
        "One learning rate serves all arms, and no scan of it is recorded (tesseral plan --probe-rate).",
    ]
    favours = RateScan("", "l2_error", 0.25, (FLAT, STEEP))
    assert told(equal, scan=favours) == ["The learning rate may favour arms: the page says which."]
    assert told(equal, scan=RateScan("", "l2_error", 0.25, (FLAT, FLAT))) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"search": Search(trials=5, space={RATE: [1e-3, 1e-2]}), "searches": 3},
        {"search": Search(trials=5, space={"training": {"learning_rate": {"low": 1e-3, "high": 1e-2}}}), "searches": 3},
        {"search": Search(trials=5, space={"training": {"choices": [{"learning_rate": 1e-3}, {}]}}), "searches": 3},
        {"factors": {RATE: ("0.001", "0.01", "0.02", "0.03")}},
        {"factors": {"data.train": ("10", "20", "30", "40")}},
    ],
)
def test_nothing_is_told_where_the_rate_is_tuned_or_ablated_or_networks_are_equal(changes):
    assert learning_rates(info(**changes)) == []
