"""Features by order against direct sums, and the epochs at which their shares settle."""

import numpy as np
import polars as pl
import pytest

from tesseral.analysis.statistics.features.features import (
    emergence,
    hidden_features,
    mean_features,
)
from tesseral.analysis.statistics.orders.orders import unreachable_orders
from tesseral.study.errors import RecordError
from tesseral.study.records.schemas import TRACES, to_table
from tests.support.synthetic_study import study_tables, table, trial_row


def frame(rows):
    return pl.DataFrame(pl.from_arrow(table(rows)))


def traces(rows):
    return pl.DataFrame(pl.from_arrow(to_table(rows, TRACES))).lazy()


def measured(trial, epoch, squares):
    """Trace rows of one layer from the features themselves: (l, p) → array (channels, 2l + 1)."""
    total = sum(float((x**2).sum()) for x in squares.values())
    rows = []
    for (order, parity), x in squares.items():
        place = {"trial": trial, "step": epoch, "epoch": epoch, "layer": 1, "l": order, "p": parity}
        rows.append({**place, "statistic": "rms", "value": float(np.sqrt((x**2).mean()))})
        rows.append({**place, "statistic": "share", "value": float((x**2).sum() / total)})
    return rows


def per_trial(curves):
    """`hidden_features` of one layer and order from (trial → shares by epoch)."""
    return pl.DataFrame(
        [
            {"arm": "a", "trial": trial, "layer": 1, "epoch": epoch, "l": 2, "share": share, "rms": 1.0}
            for trial, shares in curves.items()
            for epoch, share in shares.items()
        ]
    )


def test_parities_are_joined_as_if_they_were_one():
    draw = np.random.default_rng(0)
    layer = {(1, 1): draw.normal(size=(3, 3)), (1, -1): 4 * draw.normal(size=(10, 3)), (0, 1): draw.normal(size=(5, 1))}
    row = trial_row(1, 0, 0)
    features = hidden_features(traces(measured(row["trial"], 0, layer)), frame([row]))
    both = np.concatenate([layer[1, 1], layer[1, -1]])
    total = sum((x**2).sum() for x in layer.values())
    assert features["l"].to_list() == [0, 1]
    assert features["share"].to_list() == pytest.approx([(layer[0, 1] ** 2).sum() / total, (both**2).sum() / total])
    assert features["rms"][1] == pytest.approx(np.sqrt((both**2).mean()), rel=1e-12)


def test_a_parity_that_no_path_reaches_does_not_dilute_the_other():
    layer = {(1, 1): np.zeros((50, 3)), (1, -1): np.full((2, 3), 2.0), (2, 1): np.zeros((2, 5))}
    row = trial_row(1, 0, 0)
    features = hidden_features(traces(measured(row["trial"], 0, layer)), frame([row]))
    assert features["rms"].to_list() == pytest.approx([2.0, 0.0])
    assert features["share"].to_list() == pytest.approx([1.0, 0.0])


def test_paths_and_unfinished_trials_are_no_features():
    done, running = trial_row(1, 0, 0), trial_row(1, 1, 0, state="running")
    layer = {(0, 1): np.ones((2, 1))}
    rows = measured(done["trial"], 0, layer) + measured(running["trial"], 0, layer)
    rows.append({**rows[0], "path": "1x1->0", "value": 9.0})
    features = hidden_features(traces(rows), frame([done, running]))
    assert features["trial"].to_list() == [done["trial"]]
    assert features["rms"].to_list() == [1.0]


def test_means_are_over_trials():
    rows = [trial_row(0, block, 0) for block in range(2)]
    shares = []
    made = []
    for row, scale in zip(rows, (1.0, 3.0), strict=True):
        layer = {(0, 1): np.ones((1, 1)), (1, 1): np.full((1, 3), scale)}
        made += measured(row["trial"], 0, layer)
        shares.append(3 * scale**2 / (1 + 3 * scale**2))
    mean = mean_features(hidden_features(traces(made), frame(rows)))
    assert mean["trials"].to_list() == [2, 2]
    assert mean["share"].to_list() == pytest.approx([1 - np.mean(shares), np.mean(shares)])
    assert mean["rms"].to_list() == pytest.approx([1.0, 2.0])


def test_a_share_that_rises_or_falls_settles_half_way():
    rising = {0: 0.1, 1: 0.15, 2: 0.29, 5: 0.31, 10: 0.50}
    falling = {0: 0.9, 1: 0.8, 2: 0.51, 5: 0.49, 10: 0.10}
    row = emergence(per_trial({"t": rising})).row(0, named=True)
    assert (row["epoch"], row["first"], row["last"]) == (5, 0.1, 0.5)
    assert emergence(per_trial({"t": falling}))["epoch"].to_list() == [5]
    both = emergence(per_trial({"t": rising, "u": {0: 0.0, 1: 1.0, 10: 1.0}})).row(0, named=True)
    assert (both["trials"], both["epoch"], both["earliest"], both["latest"]) == (2, 3, 1, 5)


def test_a_share_that_swings_settles_after_its_turn():
    swinging = {0: 0.20, 1: 0.05, 2: 0.08, 3: 0.10, 5: 0.17, 10: 0.21}
    assert emergence(per_trial({"t": swinging}))["epoch"].to_list() == [5]


def test_a_share_that_never_moves_never_settles():
    assert emergence(per_trial({"t": {0: 1.0, 5: 1.0}})).row(0, named=True)["epoch"] is None


def test_shares_settle_where_a_search_along_each_trial_says():
    draw = np.random.default_rng(3)
    epochs = [0, 1, 2, 4, 8, 16]
    shares = {f"t{k}": dict(zip(epochs, draw.integers(0, 5, 6) / 4, strict=True)) for k in range(60)}
    settled = []
    for curve in shares.values():
        distances = {epoch: abs(share - curve[16]) for epoch, share in curve.items()}
        far = [epoch for epoch, distance in distances.items() if distance > max(distances.values()) / 2]
        settled += [min(epoch for epoch in epochs if epoch > max(far))] if far else []
    row = emergence(per_trial(shares).sample(fraction=1, shuffle=True, seed=0)).row(0, named=True)
    assert (row["epoch"], row["earliest"], row["latest"]) == (np.median(settled), min(settled), max(settled))
    assert row["first"] == pytest.approx(np.mean([curve[0] for curve in shares.values()]))
    assert row["last"] == pytest.approx(np.mean([curve[16] for curve in shares.values()]))


def test_a_trial_that_two_arms_chose_has_its_features_in_both():
    first, other = trial_row(1, 0, 0), trial_row(2, 0, 0)
    second = {**other, "trial": first["trial"]}
    rows = measured(first["trial"], 7, {(0, 1): np.ones((2, 1)), (3, -1): np.ones((1, 7))})
    features = hidden_features(traces(rows[::-1]), frame([first, second]))
    assert features.select("arm", "trial", "layer", "epoch", "l").rows() == [
        (arm, first["trial"], 1, 7, order) for arm in sorted([first["arm"], second["arm"]]) for order in (0, 3)
    ]


def test_no_complete_trial_has_no_features():
    row = trial_row(1, 0, 0, state="running")
    features = hidden_features(traces(measured(row["trial"], 0, {(0, 1): np.ones((2, 1))})), frame([row]))
    assert features.columns == ["arm", "trial", "layer", "epoch", "l", "share", "rms"]
    assert features.is_empty()
    assert mean_features(features).is_empty()
    assert emergence(features).is_empty()


@pytest.mark.parametrize(
    "place",
    [{"epoch": 2**30}, {"epoch": 2**62}, {"epoch": -1}, {"layer": 2**10}, {"layer": None}, {"l": 16}, {"l": -1}],
    ids=str,
)
def test_a_place_that_the_key_has_no_bits_for_is_an_error(place):
    row = trial_row(1, 0, 0)
    rows = [{**made, **place} for made in measured(row["trial"], 0, {(0, 1): np.ones((2, 1))})]
    with pytest.raises(RecordError, match=r"layer below 1,024, epoch below 1,073,741,824, l below 16"):
        hidden_features(traces(rows), frame([row]))


def test_more_trials_than_the_key_has_bits_for_are_an_error(monkeypatch):
    monkeypatch.setattr("tesseral.analysis.statistics.features.features._MOST_TRIALS", 2)
    rows = [trial_row(1, block, 0) for block in range(3)]
    assert hidden_features(traces([]), frame(rows[:2])).is_empty()
    with pytest.raises(RecordError, match="at most 2 complete trials of arms, got 3"):
        hidden_features(traces([]), frame(rows))


def test_the_last_places_that_the_key_has_bits_for_are_told_apart():
    trials = [trial_row(1, block, 0) for block in range(2)]
    places = [(layer, epoch, order) for layer in (0, 2**10 - 1) for epoch in (0, 10**9, 2**30 - 1) for order in (0, 15)]
    rows = [
        {**made, "layer": layer, "epoch": epoch}
        for trial in trials
        for layer, epoch, order in places
        for made in measured(trial["trial"], 0, {(order, -1): np.ones((2, 2 * order + 1))})
    ]
    found = hidden_features(traces(rows), frame(trials))
    assert found.select("layer", "epoch", "l").rows() == 2 * places
    assert found["share"].to_list() == [1.0] * len(found)


def test_shares_of_a_layer_sum_to_one(tmp_path):
    tables = study_tables(tmp_path)
    means = mean_features(hidden_features(tables.traces, tables.trials))
    sums = means.group_by("arm", "layer", "epoch").agg(pl.col("share").sum())
    assert sums.height == 4 * 3 * 17
    assert sums["share"].to_list() == pytest.approx([1.0] * sums.height)
    assert sorted(means.filter(pl.col("arm") == "lmax=3")["l"].unique()) == [0, 1, 2, 3]


def test_higher_orders_settle_later_in_the_synthetic_study(tmp_path):
    tables = study_tables(tmp_path)
    settled = emergence(hidden_features(tables.traces, tables.trials))
    last_layer = settled.filter(pl.col("arm") == "lmax=3", pl.col("layer") == 3)
    epochs = last_layer.filter(pl.col("l") > 0)["epoch"].to_list()
    assert epochs == sorted(set(epochs))


def test_orders_are_read_from_irreps():
    assert unreachable_orders(frame([trial_row(0, 0, 0, unreachable="1x4e, 2x13o")])) == {4, 13}
    assert unreachable_orders(frame([trial_row(1, 0, 0)])) == set()
