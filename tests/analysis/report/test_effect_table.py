"""The table of effects."""

from dataclasses import replace

from tesseral.analysis.report.effect_table import effect_table
from tesseral.analysis.report.report import render
from tesseral.analysis.statistics.comparisons.factors import Effect
from tesseral.analysis.terms.estimate import Bounds, Estimate
from tests.support.report_page import cells

CHANGE = Estimate(-20.0, -30.0, -10.0, 0.001, Bounds(-25.0, -15.0, 0.0001))


def test_each_effect_has_its_intervals_verdict_and_aliases(results):
    main = Effect("lmax 1 against 0", "", 1, 4, ("layers 3 against 2 × loss raw against equal",), CHANGE, 0.002, 0.001)
    open_ = replace(main, name="layers 3 against 2", aliases=(), p_holm=0.2)
    rows = effect_table(replace(results, effects=(main, open_)))
    assert rows[0] == {
        "effect": "lmax 1 against 0",
        "arms": "4",
        "change, %, new data": "−20 [−30, −10]",
        "for these data": "[−25, −15]",
        "Holm p": "0.002",
        "verdict": "lower",
        "aliases": "layers 3 against 2 × loss raw against equal",
    }
    assert (rows[1]["verdict"], rows[1]["aliases"]) == ("undecided", "")
    page = render(replace(results, effects=(main, open_)))
    assert cells(page, "Factors")[0][0] == "lmax 1 against 0"
    assert effect_table(results) == []  # one factor
