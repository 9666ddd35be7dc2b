"""The benefit of hidden features by order of the target."""

import pytest

from tesseral.analysis.figures.order_figures import benefit_figures
from tesseral.analysis.statistics.comparisons.paired import compare_arms
from tesseral.analysis.statistics.orders.benefit import benefit
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import load
from tests.support.dipole_study import RELATIVE, dipole_tables
from tests.support.report_page import tooltips
from tests.support.synthetic_study import BENEFIT, crossed_rows, info, label, table


def test_the_benefit_stands_by_order(crossed, crossed_results):
    benefits = benefit(crossed)
    places = list(dict.fromkeys(benefits.select("l", "target").iter_rows()))
    assert places == [
        (0, "energy"), (0, "density"), (1, "dipole"), (1, "density"), (2, "quadrupole"), (2, "density"), (3, "density"),
        (4, "density"),
    ]  # fmt: skip
    for row in benefits.to_dicts():
        lmax = int(row["hidden"].removeprefix("lmax="))
        assert row["change"] == pytest.approx(100 * (BENEFIT[row["l"]][lmax] - 1), abs=3.0)
        metric = RELATIVE + (f".l{row['l']}" if row["target"] == "density" else "")
        arms = [label(lmax, row["target"]), label(0, row["target"])]
        (alone,) = compare_arms(crossed.trials, metric, arms, arms[1], crossed.study.sampling)
        assert (row["change"], row["low"], row["high"]) == (alone.change.value, alone.change.low, alone.change.high)
        assert row["reachable"] == ((row["l"], row["target"]) != (4, "density"))
    (figure,) = benefit_figures(crossed_results)
    assert "against its baseline, an arm that differs in hidden features only" in figure.caption
    told = tooltips(figure)
    assert len([text for text in told if "out of reach of the arm or its baseline" in text]) == 4  # points and bars
    assert any(
        text.startswith("lmax=2, quantity=quadrupole: quadrupole, l = 2: −58.0 % [−61.4, −54.4]") for text in told
    )


def test_the_benefit_is_of_hidden_features_alone(crossed):
    levels = {arm: dict(given) for arm, given in crossed.study.levels.items()}
    levels[label(2, "dipole")]["network.layers"] = "4"
    other = load(table(crossed_rows()), [], [], info(**(vars(crossed.study) | {"levels": levels})))
    assert label(2, "dipole") not in set(benefit(other)["arm"])
    assert label(1, "dipole") in set(benefit(other)["arm"])
    assert list(benefit_figures(analyse(dipole_tables(RELATIVE)))) == []
