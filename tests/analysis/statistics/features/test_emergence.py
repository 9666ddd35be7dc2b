"""When orders take their places, and the ranks of order, time and size, against NumPy and SciPy."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tesseral.analysis.report.summary import to_dict
from tesseral.analysis.statistics.features.emergence import hierarchies, places_by_order, places_taken
from tests.support.report_page import words
from tests.support.synthetic_study import info

EPOCHS = (0, 1, 2, 5, 10)
BLOCKS = 6


def features(arm: str, trial: str, curves: dict[int, list[float]]) -> list[dict]:
    """Rows of `hidden_features` of one layer, from l → shares at `EPOCHS`."""
    return [
        {"arm": arm, "trial": trial, "layer": 1, "epoch": epoch, "l": order, "share": share, "rms": 1.0}
        for order, shares in curves.items()
        for epoch, share in zip(EPOCHS, shares, strict=True)
    ]


def test_a_place_is_taken_where_half_of_the_last_share_is_passed_for_good():
    curves = {
        0: [1.0, 0.9, 0.8, 0.6, 0.5],
        1: [0.0, 0.09, 0.21, 0.3, 0.4],
        2: [0.0, 0.06, 0.04, 0.06, 0.1],
        3: [0.0, 0.0, 0.0, 0.0, 0.0],
    }
    later = {0: curves[0], 1: [0.0, 0.0, 0.0, 0.0, 0.4]}
    taken = places_taken(pl.DataFrame(features("a", "t", curves) + features("a", "u", later)))
    assert taken.filter(pl.col("trial") == "t").select("l", "epoch").rows() == [(0, 0), (1, 2), (2, 5)]
    assert places_by_order(taken).select("l", "epoch", "earliest", "latest").rows()[1] == (1, 6.0, 2, 10)


def simulated(seed: int, losses: tuple[str, ...]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Last shares and epochs of four orders by loss and block, and the trials."""
    draw, rows, trials = np.random.default_rng(seed), [], []
    for loss in losses:
        fall = {"raw": 0.3, "equal": 0.6}[loss]
        for block in range(BLOCKS):
            trial = f"{loss}{block}"
            trials.append({"arm": f"loss={loss}", "trial": trial, "block": block, "replicate": 0})
            for order in range(4):
                share = fall**order * float(np.exp(0.4 * draw.standard_normal()))
                epoch = int(draw.integers(0, 6)) + 2 * order
                place = {"arm": f"loss={loss}", "trial": trial, "layer": 2, "l": order}
                rows.append({**place, "share": share, "epoch": epoch})
    return pl.DataFrame(rows), pl.DataFrame(trials)


def study(*losses: str, **changes):
    arms = tuple(f"loss={loss}" for loss in losses)
    levels = {arm: {"loss.name": loss} for arm, loss in zip(arms, losses, strict=True)}
    return info(arms=arms, baseline=arms[0], levels=levels, blocks=BLOCKS, replicates=1, **changes)


def by_trial(taken: pl.DataFrame, loss: str) -> np.ndarray:
    """Slope and both rank correlations of each block."""
    values = []
    for block in range(BLOCKS):
        part = taken.filter(pl.col("trial") == f"{loss}{block}")
        orders, shares, epochs = (part[name].to_numpy() for name in ("l", "share", "epoch"))
        slope = stats.linregress(orders, np.log(shares)).slope
        values.append([slope, stats.kendalltau(orders, epochs)[0], stats.kendalltau(orders, shares)[0]])
    return np.array(values)


def test_hierarchies_are_means_over_blocks_of_what_scipy_finds_in_each():
    taken, trials = simulated(1, ("raw", "equal"))
    first, second, between = hierarchies(taken, trials, study("raw", "equal"))
    assert [(each.arm, each.against, each.layer, each.trials) for each in (first, second, between)] == [
        ("loss=raw", None, 2, BLOCKS),
        ("loss=equal", None, 2, BLOCKS),
        ("loss=equal", "loss=raw", 2, BLOCKS),
    ]
    raw, equal = by_trial(taken, "raw"), by_trial(taken, "equal")
    for each, values in ((first, raw), (second, equal), (between, equal - raw)):
        low, high = stats.ttest_1samp(values[:, 0], 0.0).confidence_interval(0.95)
        factor = [each.factor.value, each.factor.low, each.factor.high]
        assert factor == pytest.approx(np.exp([values[:, 0].mean(), low, high]))
        assert each.with_epoch.value == pytest.approx(values[:, 1].mean())
        assert each.with_share.value == pytest.approx(values[:, 2].mean())
    reach = stats.ttest_1samp(equal[:, 1], 0.0).confidence_interval(0.95)
    assert (second.with_epoch.low, second.with_epoch.high) == pytest.approx((reach.low, min(1.0, reach.high)))
    assert first.factor.high < 0.45 < second.factor.low
    assert between.factor.low > 1


def test_ranks_without_scatter_have_no_interval_and_two_orders_have_no_rank():
    taken, trials = simulated(1, ("raw",))
    ordered = taken.with_columns(epoch=pl.col("l") + 1, share=0.5 ** pl.col("l"))
    (each,) = hierarchies(ordered, trials, study("raw"))
    assert each.factor.value == pytest.approx(0.5)
    assert (each.with_epoch.value, each.with_epoch.low) == (pytest.approx(1.0), None)
    assert each.with_share.value == pytest.approx(-1.0)
    (each,) = hierarchies(ordered.filter(pl.col("l") < 2), trials, study("raw"))
    assert (each.with_epoch, each.with_share) == (None, None)
    (each,) = hierarchies(ordered.with_columns(epoch=pl.lit(3)), trials, study("raw"))
    assert each.with_epoch is None
    assert hierarchies(ordered.filter(pl.col("l") == 0), trials, study("raw")) == ()


def test_the_report_and_json_hold_them(results, page):
    made = to_dict(results)["layers"]
    assert [each["arm"] for each in made["hierarchies"]][:3] == ["lmax=1"] * 3  # scalars alone have one order
    last = made["hierarchies"][-1]
    assert (last["arm"], last["layer"], last["trials"]) == ("lmax=3", 3, 8)
    assert last["with_share"]["value"] == pytest.approx(-1.0)
    places = [row["epoch"] for row in made["places"] if row["arm"] == "lmax=3" and row["layer"] == 3]
    assert places == sorted(places)
    assert "<summary>Order, time and size of hidden features</summary>" in page
    assert "share from l to l + 1, times" in words(page)
