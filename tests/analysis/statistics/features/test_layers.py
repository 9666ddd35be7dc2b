"""What layers hold and use, against rows with known answers; and how a report shows it."""

import json
import math
import re
from dataclasses import replace

import polars as pl
import pytest

from tesseral.analysis.figures.ablation_figures import ablation_figures
from tesseral.analysis.figures.layer_figures import layer_figures
from tesseral.analysis.report import summary
from tesseral.analysis.report.report import report
from tesseral.analysis.statistics.features.dead_irreps import (
    LayerIrrep,
    dead_irrep_sentences,
    dead_irreps_by_arm,
    find_dead_irreps,
)
from tesseral.analysis.statistics.features.layers import effective_ranks, gradients, layer_traces
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import StudyTables, load
from tesseral.study.records.schemas import STATISTICS, TRACES, to_table
from tests.support.synthetic_study import info, table, trial_row, trial_rows


def row(trial: str, statistic: str, value: float, epoch: int = 4, **place: object) -> dict:
    assert statistic in STATISTICS
    return {"trial": trial, "step": epoch, "epoch": epoch, "statistic": statistic, "value": value} | place


def at(layer: int, order: int, p: int | None = 1, path: str | None = None) -> dict:
    return {"layer": layer, "l": order, "p": p, "path": path}


def read(rows: list[dict], trials: list[dict]) -> pl.DataFrame:
    lazy = pl.DataFrame(pl.from_arrow(to_table(rows, TRACES))).lazy()
    return layer_traces(lazy, pl.DataFrame(pl.from_arrow(table(trials))))


TRIALS = [trial_row(1, block, 0) for block in range(2)]
ONE, TWO = (trial["trial"] for trial in TRIALS)


def test_only_complete_trials_of_the_confirm_stage_count():
    others = [trial_row(1, 2, 0, state="running"), trial_row(1, 3, 0, stage="search")]
    rows = [row(trial["trial"], "effective_rank", 2.0, **at(1, 0)) for trial in [*TRIALS, *others]]
    rows.append(row(ONE, "effective_rank", math.inf, **at(1, 1)))
    kept = read(rows, [*TRIALS, *others])
    assert sorted(kept["trial"]) == sorted([ONE, TWO])
    assert set(kept["arm"]) == {"lmax=1"}


def test_effective_ranks_are_those_of_each_parity_at_the_end_averaged_over_trials():
    rows = [
        row(ONE, "effective_rank", 9.0, epoch=0, **at(1, 1)),
        row(ONE, "effective_rank", 2.0, **at(1, 1)),
        row(ONE, "effective_rank", 1.5, **at(1, 1, -1)),
        row(TWO, "effective_rank", 4.5, **at(1, 1)),
    ]
    assert effective_ranks(read(rows, TRIALS)).rows() == [("lmax=1", 1, 1, -1, 1.5), ("lmax=1", 1, 1, 1, 3.25)]


def test_gradients_are_those_of_the_last_hidden_layer():
    rows = [row(trial, "rms", 1.0, **at(layer, 0)) for trial in (ONE, TWO) for layer in (1, 2)]
    for trial, scale in ((ONE, 1.0), (TWO, 100.0)):
        for layer in (1, 2, 3):  # the third is the output's
            rows.append(row(trial, "weight_rms", 2.0, **at(layer, 0)))
            rows.append(row(trial, "gradient_rms", 0.5 * layer * scale, **at(layer, 0)))
        rows.append(row(trial, "weight_rms", 1.0, **at(2, 1)))
        rows.append(row(trial, "gradient_rms", 0.0, **at(2, 1)))
        rows.append(row(trial, "gradient_rms", 7.0, **at(2, 0, 1, "messages: 0e x 0e -> 0e")))
    ((arm, epoch, order, effect),) = gradients(read(rows, TRIALS)).rows()
    assert (arm, epoch, order) == ("lmax=1", 4, 0)
    assert effect == pytest.approx(2.0 * 10)


def test_the_last_hidden_layer_is_each_arms_own():
    """The readout of a shallow network stands where a deep one has its last hidden layer."""
    deep = trial_row(2, 0, 0)
    rows = []
    for trial, depth in ((ONE, 1), (deep["trial"], 2)):
        for layer in range(1, depth + 2):
            rows += [row(trial, "rms", 1.0, **at(layer, 0))] if layer <= depth else []
            rows.append(row(trial, "weight_rms", 1.0, **at(layer, 0)))
            rows.append(row(trial, "gradient_rms", 10.0**layer, **at(layer, 0)))
    effects = gradients(read(rows, [*TRIALS, deep]))
    assert effects.select("arm", "effect").rows() == [("lmax=1", pytest.approx(10)), ("lmax=2", pytest.approx(100))]


def ablated(trial: str, intact: float, errors: dict[tuple[int, int], float]) -> list[dict]:
    rows = [row(trial, "ablation_none", intact)]
    for (layer, order), error in errors.items():
        rows.append(row(trial, "ablation_zero", error, **at(layer, order, None)))
        rows.append(row(trial, "ablation_shuffle", 0.5 * error, **at(layer, order, None)))
    return rows


def message(order: int, p: int) -> str:
    irrep = f"{order}{'e' if p == 1 else 'o'}"
    return f"messages: 0e x {irrep} -> {irrep}"


def traced(zero_paths: tuple[str, ...] = (), zero: tuple[LayerIrrep, ...] = ()) -> list[dict]:
    """Two trials of one layer of 0e+0o+1o, with a path to each."""
    rows = []
    for trial in (ONE, TWO):
        for order, p in ((0, 1), (0, -1), (1, -1)):
            path = message(order, p)
            dead = LayerIrrep(1, order, p) in zero
            rows.append(row(trial, "feature_gradient", 0.0 if dead else 1e-30, **at(1, order, p)))
            value = 0.0 if dead or path in zero_paths else 1e-9
            rows.append(row(trial, "edge_gradient_rms", value, **at(1, order, p, path)))
    return rows


def test_the_audit_compares_with_the_plan():
    odd = LayerIrrep(1, 0, -1)
    healthy = find_dead_irreps(read(traced(), TRIALS), ())
    assert healthy == ((), (), (), 3, 0, ())
    foreseen = find_dead_irreps(read(traced(zero=(odd,)), TRIALS), [odd])
    assert foreseen == ((odd,), (), (), 3, 1, ())
    assert find_dead_irreps(read(traced(zero=(odd,)), TRIALS), ()).unforeseen == (odd,)
    assert find_dead_irreps(read(traced(), TRIALS), [odd, LayerIrrep(1, 1, -1)]).alive == (odd, LayerIrrep(1, 1, -1))
    wasted = find_dead_irreps(read(traced(zero_paths=(message(1, -1),)), TRIALS), ()).wasted
    assert wasted == ("messages: 0e x 1o -> 1o in layer 1",)
    # What is never produced is not among the features, and a gradient in one trial is a gradient.
    assert find_dead_irreps(read(traced(), TRIALS), [LayerIrrep(1, 2, 1)]).alive == ()
    rows = [{**each, "value": 1.0} if each["trial"] == TWO else each for each in traced(zero=(odd,))]
    assert find_dead_irreps(read(rows, TRIALS), ()).dead == ()
    assert find_dead_irreps(read([row(ONE, "rms", 1.0, **at(1, 0))], TRIALS), ()) is None


def test_every_path_is_judged_by_its_own_statistic():
    """One product's path is dead beside another's that makes the same irrep; so are weights of edges beside others."""
    rows = traced()
    zero_paths = [("contraction: 1o x 1o -> 0e", "gradient_rms"), (message(0, 1), "gradient_rms")]
    for trial in (ONE, TWO):
        rows += [row(trial, name, 0.0, **at(1, 0, 1, path)) for path, name in zero_paths]
        rows.append(row(trial, "gradient_rms", 1.0, **at(1, 0, 1, "contraction: 0e x 0e -> 0e")))
        # Of an irrep that the layer has inside alone, no feature.
        rows.append(row(trial, "edge_gradient_rms", 0.0, **at(1, 2, 1, message(2, 1))))
    dead = find_dead_irreps(read(rows, TRIALS), ())
    assert (dead.paths, dead.dead_paths) == (7, 3)
    expected = ("contraction: 1o x 1o -> 0e", message(0, 1), message(2, 1))
    assert dead.wasted == tuple(f"{path} in layer 1" for path in expected)
    assert dead_irrep_sentences({"lmax=1": dead, "lmax=2": dead._replace(wasted=dead.wasted[:1])}) == [
        "lmax=1: the gradient of the loss is zero with respect to the weights of 3 paths whose output is not a dead "
        "irrep: contraction: 1o x 1o -> 0e in layer 1, messages: 0e x 0e -> 0e in layer 1 and messages: 0e x 2e -> "
        "2e in layer 1.",
        "lmax=2: the gradient of the loss is zero with respect to the weights of 1 path whose output is not a dead "
        "irrep: contraction: 1o x 1o -> 0e in layer 1.",
    ]


def tables(rows: list[dict], tmp_path, **changes: object) -> StudyTables:
    import pyarrow.parquet as pq

    from tesseral.study.records.segments import Source

    path = tmp_path / "traces.parquet"
    pq.write_table(to_table(rows, TRACES), path)
    return load(table(trial_rows()), [], [Source(str(path), "", None)], info(**changes))


def of_arms() -> list[dict]:
    rows = []
    for trial in trial_rows():
        orders = range(trial["factor.network.hidden.lmax"] + 1)
        rows += ablated(trial["trial"], 0.25, {(layer, k): 8.0 / (k + layer) for layer in (1, 2) for k in orders})
        for layer in (1, 2):
            for k in orders:
                place = at(layer, k, (-1) ** k)
                rows += [row(trial["trial"], name, 1.0 + k, **place) for name in ("rms", "effective_rank")]
                rows += [row(trial["trial"], name, 0.1, **place) for name in ("weight_rms", "gradient_rms")]
                rows.append(row(trial["trial"], "feature_gradient", 0.0 if k == 3 else 0.1, **place))
                rows.append(row(trial["trial"], "share", 1 / len(orders), **place))
    return rows


def test_a_report_shows_what_networks_use(tmp_path):
    study = tables(of_arms(), tmp_path)
    results = analyse(study)
    (bars,) = ablation_figures(results)
    sentence = "lmax=3 (0.250 % without an ablation): the largest rise is that of l = 0 in layer 1 (+3,100 % [+3,100,"
    assert sentence in bars.caption
    assert len(re.findall("<title>[^<]*exchanged among atoms: ", bars.svg)) == 2 * (1 + 2 + 3 + 4)
    names = [figure.name for figure in layer_figures(results)]
    assert names == ["effective-rank", "gradients-1"]
    lines = dead_irrep_sentences(results.layers.dead_irreps)
    assert lines == [
        "In 3 of 4 arms, the loss has a gradient with respect to the features of every produced irrep.",
        "lmax=3: the gradient of the loss is zero with respect to the features 3o in layer 1 and 3o in layer 2, which "
        "are not among the dead irreps that the plan lists.",
    ]
    page = report(study)
    for text in (
        "Features that trained networks use",
        "Effective rank and gradients of each order",
        lines[1].partition(",")[0],
    ):
        assert text in page


def test_a_report_without_such_traces_says_nothing_of_it(tmp_path):
    kept = [each for each in of_arms() if each["statistic"] in ("rms", "share")]
    page = report(tables(kept, tmp_path))
    assert "Hidden features by order" in page
    for text in ("Features that trained networks use", "Effective rank", "gradient of the loss"):
        assert text not in page


def test_one_sentence_tells_that_all_is_as_planned(tmp_path):
    rows = traced(zero=(LayerIrrep(1, 0, -1),))
    study = tables(rows, tmp_path)
    dead = pl.when(pl.col("arm") == "lmax=1").then(pl.lit([{"layer": 1, "l": 0, "p": -1}]))
    study = replace(study, trials=study.trials.with_columns(dead_irreps=dead))
    assert dead_irrep_sentences(dead_irreps_by_arm(study, layer_traces(study.traces, study.trials))) == [
        "In every arm, the loss has a gradient with respect to the features of every produced irrep, except the dead "
        "irreps that the plan lists (they change no output). It has one with respect to the weights of 2 of 3 traced "
        "product paths; the other paths lead to dead irreps."
    ]


def test_json_holds_what_the_report_shows_of_layers(tmp_path):
    study = tables(of_arms() + [{**each, "trial": trial_rows()[0]["trial"]} for each in traced()[:6]], tmp_path)
    layers = json.loads(json.dumps(summary.to_dict(analyse(study))["layers"]))
    assert {name: len(rows) for name, rows in layers.items() if name != "structures"} == {
        "places": 2 * (1 + 2 + 3 + 4),
        "hierarchies": 2 * 3,
        "effective_rank": 2 * (1 + 2 + 3 + 4),
        "weight_effects": 1 + 2 + 3 + 4,
        "ablations": 4 * (1 + 2 + 3 + 4),
        "metrics": 4,
        "needs": 4,
        "audit": 4,
    }
    first = {"arm": "lmax=0", "layer": 1, "l": 0, "kind": "zero", "error": 8.0, "intact": 0.25, "rise": 3100.0}
    assert layers["ablations"][0].items() >= {name: pytest.approx(value) for name, value in first.items()}.items()
    assert layers["effective_rank"][0] == {"arm": "lmax=0", "layer": 1, "l": 0, "p": 1, "rank": 1.0}
    assert layers["weight_effects"][0] == {"arm": "lmax=0", "epoch": 4, "l": 0, "effect": pytest.approx(0.01)}
    assert layers["metrics"]["lmax=1"] == "l2_error"
    assert layers["needs"]["lmax=3"] == {"most": [[1, 0]], "unseen": []}
    assert layers["audit"]["lmax=3"]["dead"] == [[1, 3, -1], [2, 3, -1]]
    json.dumps(summary.to_dict(analyse(tables([], tmp_path))))


def test_ranks_stand_in_a_panel_for_each_parity(tmp_path):
    rows = [row(trial_rows()[0]["trial"], "effective_rank", 2.0 + p, **at(1, 1, p)) for p in (1, -1)]
    study = tables(rows, tmp_path)
    (ranks,) = layer_figures(analyse(study))
    titles = re.findall("<title>(lmax=0, [^<]*)</title>", ranks.svg) + re.findall(
        'aria-label="(lmax=0, [^"]*)"', ranks.svg
    )
    assert set(titles) == {"lmax=0, layer 1, l = 1, even: 3", "lmax=0, layer 1, l = 1, odd: 1"}
    assert "are added" not in ranks.caption
