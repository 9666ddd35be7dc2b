"""Sentences and rows of the verdicts by step, with the numbers of the statistics."""

import html
from dataclasses import replace
from typing import get_args

import pytest

from tesseral.analysis.report.report import render
from tesseral.analysis.report.step_text import step_lines, step_sentences, step_table
from tesseral.analysis.statistics.comparisons.paired import Comparison
from tesseral.analysis.statistics.comparisons.steps import Step, Verdict
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import load
from tesseral.analysis.terms.estimate import Bounds, Estimate
from tests.support.report_page import cells, words
from tests.support.synthetic_study import info, table, trial_rows

CHANGE = Estimate(-40.0, -53.0, -25.0, 0.001, Bounds(-48.0, -32.0, 0.0001))
STEP = Step(
    factor="lmax",
    upper="1",
    lower="0",
    where="",
    comparison=Comparison("lmax=1", "lmax=0", 6, 0, "block", 6, CHANGE, CHANGE, 0.003, 0.0003),
    costs={"seconds": Estimate(1.74, here=Bounds(1.65, 1.83, 0.0)), "flops": Estimate(3.47)},
    dearer=True,
    verdict="earns its cost",
    verdict_here="earns its cost",
    more=None,
    more_here=None,
)
CHANGES = (
    "the density error ε changes by −40 % [−53, −25] for new data of the same kind, [−48, −32] for these data, "
    "at 1.740 [1.650, 1.830] × the time"
)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, f"lmax 1 against 0 earns its cost: {CHANGES}."),
        (
            {"verdict": "no better, and dearer", "verdict_here": "no better, and dearer", "where": "layers=2"},
            f"lmax 1 against 0 (layers=2) is no better than δ = 2 %, and dearer: {CHANGES}.",
        ),
        (
            {"verdict": "no worse than δ", "verdict_here": "undecided"},
            f"lmax 1 against 0 is no worse than δ = 2 %: {CHANGES}.",
        ),
        (
            {"verdict": "lower by less than δ, and dearer", "verdict_here": "lower by less than δ, and dearer"},
            f"lmax 1 against 0 is lower by less than δ = 2 %, and dearer: {CHANGES}.",
        ),
        (
            {
                "verdict": "better; not shown to be dearer",
                "verdict_here": "better; not shown to be dearer",
                "costs": {"seconds": Estimate(1.0)},
            },
            f"lmax 1 against 0 is better; not shown to be dearer: {CHANGES.partition(', at')[0]}, at 1.00 × the time.",
        ),
        ({"verdict": "worse", "verdict_here": "worse"}, f"lmax 1 against 0 is worse: {CHANGES}."),
        (
            {"verdict": "undecided", "verdict_here": "undecided", "more": 9, "more_here": 3},
            f"lmax 1 against 0 is undecided: {CHANGES}. About 9 more blocks would decide it with a chance of 80 %.",
        ),
        (
            {"verdict": "undecided", "verdict_here": "undecided", "more_here": 1},
            f"lmax 1 against 0 is undecided: {CHANGES}. For new data even 1,000 more blocks would not decide it: more "
            "data would; for these data about 1 more block would with a chance of 80 %.",
        ),
        (
            {"verdict": "undecided"},
            f"lmax 1 against 0 is undecided: {CHANGES}. For new data even 1,000 more blocks would not decide it: more "
            "data would. For these data alone: earns its cost.",
        ),
    ],
)
def test_words_say_what_the_verdict_says(results, changes, sentence):
    assert step_sentences(replace(results, steps=(replace(STEP, **changes),))) == [sentence]


def test_a_terminal_gets_fewer_words(results):
    unclear = {"seconds": Estimate(1.0, here=Bounds(0.9, 1.1, 0.9)), "flops": Estimate(2.41)}
    steps = (
        STEP,
        replace(STEP, verdict="no worse than δ", costs={}, where="layers=2"),
        replace(STEP, verdict="undecided", costs=unclear),
    )
    assert step_lines(replace(results, steps=steps)) == [
        "lmax 1 against 0: earns its cost (−40 % [−53, −25] for new data, 1.7 × the time)",
        "lmax 1 against 0 (layers=2): no worse than 2 % (−40 % [−53, −25] for new data)",
        "lmax 1 against 0: undecided (−40 % [−53, −25] for new data, 1.00 × the time, 2.4 × the FLOPs)",
    ]


def test_an_interval_for_these_splits_alone_is_not_called_one_for_new_data(results):
    alone = replace(STEP.comparison, change=Estimate(-40.0, here=CHANGE.here))
    step = replace(STEP, comparison=alone, verdict="no verdict", costs={})
    two_blocks = replace(results, tables=replace(results.tables, study=info(blocks=2)), steps=(step,))
    assert step_lines(two_blocks) == ["lmax 1 against 0: no verdict (−40.0 % [−48.0, −32.0] for these splits)"]


def test_many_steps_are_counted(results):
    many = (STEP,) * 4 + (replace(STEP, verdict="undecided"),) * 3
    assert step_sentences(replace(results, steps=many)) == [
        "7 steps from a level to the next, others being equal: 4 earns its cost, 3 undecided."
    ]


def test_the_table_has_a_row_for_each_step():
    levels = {f"lmax={k}": {"network.hidden.lmax": str(k)} for k in range(4)}
    results = analyse(load(table(trial_rows(blocks=6)), [], [], info(levels=levels, blocks=6)))
    rows = step_table(results)
    assert [row["step"] for row in rows] == ["lmax 1 against 0", "lmax 2 against 1", "lmax 3 against 2"]
    assert rows[0]["parameters, ratio"] == "1.79"
    assert rows[0]["time, ratio"] == "4.17"
    assert rows[0]["verdict"] == "earns its cost"
    page = html.unescape(render(results))
    assert [row[0] for row in cells(page, "Steps")] == [row["step"] for row in rows]
    assert step_sentences(results)[0] in page
    note = words(page).split("<h2>Steps</h2>")[1].split('<p class="note">')[1].split("</p>")[0]
    named = [verdict.replace("δ", "2 %").lower() for verdict in get_args(Verdict)]
    assert [verdict for verdict in named if verdict not in note.lower()] == []
    assert "after Bonferroni’s correction over all steps" in note
