"""What trained networks lose without an order: paired rises with intervals, an order named only if it stands out."""

import numpy as np
import polars as pl
import pytest

from tesseral.analysis.figures.ablation_figures import ablation_figures
from tesseral.analysis.statistics.features.ablations import Place, ablations, needs
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.terms.sampling import Sampling
from tests.analysis.statistics.features.test_layers import ablated, read, tables
from tests.support.synthetic_study import trial_row, trial_rows

BLOCKS = 4
TRIALS = [trial_row(1, block, replicate) for block in range(BLOCKS) for replicate in range(2)]


def rows_of(rises: dict[tuple[int, int], list[float]]) -> list[dict]:
    """Of errors as trained that differ much from block to block, times factors for each block."""
    rows = []
    for trial in TRIALS:
        intact = 0.1 * 3 ** trial["block"] * (1 + 0.2 * trial["replicate"])
        errors = {place: intact * factors[trial["block"]] for place, factors in rises.items()}
        rows += ablated(trial["trial"], intact, errors)
    return rows


def test_rises_are_paired_geometric_means_over_blocks():
    """Errors as trained lie a factor of 27 apart, rises by a factor of 4 in each: nothing of that spread is left."""
    rises = ablations(read(rows_of({(1, 0): [4.0] * 4, (1, 1): [1.0, 2.0, 2.0, 4.0]}), TRIALS), Sampling(BLOCKS))
    zero = {row["l"]: row for row in rises.to_dicts() if row["kind"] == "zero"}
    assert [zero[0][name] for name in ("rise", "low", "high")] == pytest.approx([300.0] * 3)
    assert zero[0]["error"] / zero[0]["intact"] == pytest.approx(4)
    assert zero[1]["rise"] == pytest.approx(100)
    assert zero[1]["low"] == pytest.approx(100 * (2 * 2 ** -(3.182446 * (2 / 3) ** 0.5 / 2) - 1), rel=1e-5)
    halves = rises.filter(kind="shuffle", l=0)["rise"].to_list()
    assert halves == pytest.approx([100.0])


def test_errors_that_are_not_positive_are_left_out():
    rows = ablated(TRIALS[0]["trial"], 0.2, {(1, 0): 0.0, (1, 1): 0.4})
    assert ablations(read(rows, TRIALS), Sampling(BLOCKS))["l"].unique().to_list() == [1]


def test_the_order_needed_most_is_named_only_where_its_pairs_say_so():
    clear = rows_of({(1, 0): [4.0, 4.1, 4.2, 3.9], (1, 1): [2.0, 2.1, 1.9, 2.0], (2, 1): [1.1, 0.9, 1.0, 1.05]})
    assert needs(read(clear, TRIALS), ["lmax=1"], Sampling(BLOCKS))["lmax=1"] == ((Place(1, 0),), (Place(2, 1),))
    blurred = rows_of({(1, 0): [4.0, 2.0, 4.2, 2.9], (1, 1): [3.0, 3.1, 2.9, 3.0], (2, 1): [1.1, 1.2, 1.1, 1.05]})
    assert needs(read(blurred, TRIALS), ["lmax=1"], Sampling(BLOCKS))["lmax=1"].most == (Place(1, 0), Place(1, 1))
    # Far apart from block to block, yet always in the same order: pairs tell them apart.
    paired = rows_of({(1, 0): [22, 44, 88, 176], (1, 1): [20, 40, 80, 160]})
    assert needs(read(paired, TRIALS), ["lmax=1"], Sampling(BLOCKS))["lmax=1"].most == (Place(1, 0),)
    nothing = rows_of({(1, 0): [1.1, 0.9, 1.0, 1.05], (1, 1): [1.0, 1.01, 0.99, 1.0]})
    assert needs(read(nothing, TRIALS), ["lmax=1"], Sampling(BLOCKS))["lmax=1"] == ((), (Place(1, 0), Place(1, 1)))
    two = [row for row in clear if row["trial"] in {trial["trial"] for trial in TRIALS if trial["block"] < 2}]
    assert needs(read(two, TRIALS), ["lmax=1"], Sampling(BLOCKS))["lmax=1"] == ((), ())


def test_that_a_place_is_needed_is_corrected_for_all_places():
    """One that its own interval alone would call needed is seen by itself, and not as one of many."""
    doubtful = {(1, 0): [1.3, 1.1, 1.35, 1.2]}
    (rise,) = ablations(read(rows_of(doubtful), TRIALS), Sampling(BLOCKS)).filter(kind="zero").to_dicts()
    assert rise["low"] > 0
    assert needs(read(rows_of(doubtful), TRIALS), ["lmax=1"], Sampling(BLOCKS))["lmax=1"] == ((Place(1, 0),), ())
    flat = {(1, order): [1.02, 0.98, 1.01, 0.99] for order in range(1, 6)}
    assert Place(1, 0) in needs(read(rows_of(doubtful | flat), TRIALS), ["lmax=1"], Sampling(BLOCKS))["lmax=1"].unseen


def caption(tmp_path, rises: dict[tuple[int, int], list[float]]) -> str:
    study = tables(rows_of(rises), tmp_path)
    (figure,) = ablation_figures(analyse(study))
    assert "first 16 structures of the validation split" in figure.caption
    assert "is the L² error of the density on" in figure.caption
    assert "Arms are compared by another error, the density error ε." in figure.caption
    return figure.caption.partition("for multiple comparisons. ")[2]


def test_captions_claim_no_more_than_intervals_do(tmp_path):
    assert len(trial_rows()) > len(TRIALS)
    clear = {(1, 0): [4.0, 4.1, 4.2, 3.9], (1, 1): [2.0, 2.1, 1.9, 2.0], (2, 1): [1.1, 0.9, 1.0, 1.05]}
    assert caption(tmp_path, clear) == (
        "lmax=1 (0.569 % without an ablation): the largest rise is that of l = 0 in layer 1 (+305 % [+285, +326]); "
        "ablating l = 1 in layer 2 raises the error by an amount that is not significant."
    )
    blurred = {(1, 0): [4.0, 2.0, 4.2, 2.9], (1, 1): [3.0, 3.1, 2.9, 3.0]}
    assert caption(tmp_path, blurred).startswith(
        "lmax=1 (0.569 % without an ablation): the largest rise is that of l = 0 in layer 1"
    )
    assert "; that of l = 1 in layer 1 (+200 %" in caption(tmp_path, blurred)
    assert caption(tmp_path, blurred).endswith("does not differ from it significantly.")
    many = {(layer, order): [4.0, 2.0, 4.2, 2.9 + 0.1 * layer] for layer in (1, 2) for order in (0, 1)}
    assert "no order stands out, because the largest of 4 rises, " in caption(tmp_path, many)
    assert caption(tmp_path, many).endswith(", does not differ significantly from 3 others.")
    nothing = {(1, 0): [1.1, 0.9, 1.0, 1.05], (1, 1): [1.0, 1.01, 0.99, 1.0]}
    assert "no ablation by zeros raises the error significantly." in caption(tmp_path, nothing)


def test_of_two_equal_places_seldom_one_is_named_among_twenty_arms():
    """60 studies of 20 arms in six blocks, each with two places that are needed equally."""
    draw = np.random.default_rng(5)
    arms, blocks, named = [f"arm {k}" for k in range(20)], 6, 0
    keys = [(arm, f"{arm} {block}", block) for arm in arms for block in range(blocks)]
    for _ in range(60):
        parts = []
        for order, statistic, level in (
            (None, "ablation_none", 0.0),
            (0, "ablation_zero", 1.0),
            (1, "ablation_zero", 1.0),
        ):
            values = np.exp(level + 0.1 * draw.standard_normal(len(keys)))
            frame = pl.DataFrame(keys, schema=["arm", "trial", "block"], orient="row")
            place = {"layer": pl.lit(1), "l": pl.lit(order, dtype=pl.Int64), "statistic": pl.lit(statistic)}
            parts.append(frame.with_columns(**place, value=pl.Series(values)))
        found = needs(pl.concat(parts), arms, Sampling(blocks))
        assert all(needed.most for needed in found.values())
        named += any(len(needed.most) == 1 for needed in found.values())
    assert named / 60 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)
