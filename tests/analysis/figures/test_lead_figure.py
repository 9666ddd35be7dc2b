"""The figure beside the verdicts shows what they tell: steps where a factor is ordered, else the comparisons."""

from dataclasses import replace

from tesseral.analysis.figures.lead_figure import lead_figure, step_figure
from tesseral.analysis.report.report import render
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import load
from tests.support.synthetic_study import info, table, trial_rows

LEVELS = {f"lmax={k}": {"network.hidden.lmax": str(k)} for k in range(4)}


def drawn(results):
    """Label → what is drawn of it."""
    spec = lead_figure(results).chart.to_dict()
    rows = next(rows for rows in spec["datasets"].values() if "label" in rows[0])
    return {row.pop("label"): row for row in rows}


def test_steps_are_drawn_with_both_intervals():
    study = info(levels=LEVELS, blocks=6, overlaps=dict.fromkeys(LEVELS, 12 / 36))
    results = analyse(load(table(trial_rows(blocks=6)), [], [], study))
    rows = drawn(results)
    assert list(rows) == ["lmax 1 against 0", "lmax 2 against 1", "lmax 3 against 2"]
    change = results.steps[0].comparison.change
    first = rows["lmax 1 against 0"]
    assert [first[key] for key in ("value", "low", "high")] == [change.value, change.low, change.high]
    assert [first["low_here"], first["high_here"]] == [change.here.low, change.here.high]
    assert change.low < change.here.low < change.here.high < change.high
    assert "not corrected for multiple comparisons; verdicts are" in lead_figure(results).caption
    assert "Grey: ±δ, 2 %." in lead_figure(results).caption
    assert [{"low": -2.0, "high": 2.0}] in lead_figure(results).chart.to_dict()["datasets"].values()
    assert first["told"].endswith(f" for these data ({results.steps[0].verdict})")
    assert step_figure(results) is None


def test_many_steps_are_drawn_beside_their_table():
    results = analyse(load(table(trial_rows(blocks=6)), [], [], info(levels=LEVELS, blocks=6)))
    many = replace(results, steps=tuple(replace(results.steps[0], where=f"layers={k}") for k in range(13)))
    assert lead_figure(many) is None
    page = render(many)
    assert page.index("<h2>Steps</h2>") < page.index('<figure id="steps">') < page.index("earns its cost</td>")
    assert '<figure id="steps">' not in render(results)


def test_arms_without_an_order_are_drawn_against_their_baseline():
    results = analyse(load(table(trial_rows(blocks=6)), [], [], info(blocks=6)))
    assert results.steps == ()
    assert list(drawn(results)) == [f"lmax={k}, against lmax=0" for k in (1, 2, 3)]


def test_nothing_is_drawn_without_a_change():
    assert lead_figure(analyse(load(table([]), [], [], info()))) is None
