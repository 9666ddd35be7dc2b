"""Changes against the baseline at every recorded epoch, against SciPy, and what is said of them."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tesseral.analysis.report.summary import to_dict
from tesseral.analysis.statistics.comparisons.epochs import epoch_changes, epoch_sentences
from tesseral.analysis.statistics.comparisons.paired import compare_arms
from tesseral.analysis.tables.load import load
from tests.support.synthetic_study import EPOCHS, info, table, trial_row

BLOCKS = 6
ARMS = ("lmax=0", "lmax=1", "lmax=2")


def changes(*ratios: list[float], seed: int = 1, epochs: int = 4, **given) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Changes of a study whose arms have these ratios to the baseline's error at epochs 1, 2, …, and its curves."""
    draw = np.random.default_rng(seed)
    rows, curves = [], []
    for arm in range(1 + len(ratios)):
        for block in range(BLOCKS):
            row = trial_row(arm, block, 0)
            rows.append(row | {"metric.test.epsilon": 0.5})
            for epoch in range(epochs):
                ratio = 1.0 if arm == 0 else ratios[arm - 1][epoch]
                value = ratio / (epoch + 1) * float(np.exp(0.05 * draw.standard_normal()))
                place = {"arm": f"lmax={arm}", "trial": row["trial"], "epoch": epoch + 1, "split": "validation"}
                curves.append({**place, "metric": "l2_error", "l": None, "value": value})
    frame = pl.DataFrame(curves, schema_overrides={"l": pl.Int8})
    arms = tuple(f"lmax={arm}" for arm in range(1 + len(ratios)))
    study = info(arms=arms, blocks=BLOCKS, replicates=1, **given)
    return epoch_changes(load(table(rows), [], [], study), frame), frame


def test_each_epoch_is_a_paired_comparison():
    made, curves = changes([1.5, 1.0, 0.7, 0.6])
    assert made.select("arm", "baseline", "split", "metric").unique().rows() == [
        ("lmax=1", "lmax=0", "validation", "l2_error")
    ]
    assert made["epoch"].to_list() == [1, 2, 3, 4]
    for row in made.to_dicts():
        at = curves.filter(pl.col("epoch") == row["epoch"])
        ours, theirs = (at.filter(pl.col("arm") == arm)["value"].log().to_numpy() for arm in ("lmax=1", "lmax=0"))
        test = stats.ttest_rel(ours, theirs)
        low, high = test.confidence_interval(0.95)
        expected = 100 * np.expm1([np.mean(ours - theirs), low, high])
        assert [row["change"], row["low"], row["high"]] == pytest.approx(expected)
        assert row["pairs"] == BLOCKS


def test_intervals_are_for_new_data():
    alone, new = (
        changes([0.7] * 4, overlaps=dict.fromkeys(ARMS, overlap))[0].with_columns(
            width=((1 + pl.col("high") / 100) / (1 + pl.col("low") / 100)).log()
        )
        for overlap in (0.0, 0.25)
    )
    assert (new["width"] / alone["width"]).to_list() == pytest.approx([(1 + BLOCKS * 0.25) ** 0.5] * 4)


def test_what_depends_on_when_training_stops_is_said():
    made, _ = changes([1.5, 1.0, 0.7, 0.6], [0.7, 0.7, 1.0, 1.0], [0.6] * 4, [1.0] * 4)
    assert epoch_sentences(made) == [
        "By the interval of each of 4 epochs by itself, the error of lmax=1 is lower than that of lmax=0 from epoch 3 "
        "on (higher at epoch 1), the error of lmax=2 is undecided against that of lmax=0 from epoch 3 on (lower at "
        "epochs 1 to 2), the error of lmax=3 is lower than that of lmax=0 at every epoch and the error of lmax=4 is "
        "undecided against that of lmax=0 at every epoch."
    ]
    many, _ = changes([1.5, 1.0, 0.7, 0.6], [0.7, 0.7, 1.0, 1.0], *[[0.6] * 4] * 3)
    assert epoch_sentences(many) == [
        "By the interval of each of 4 epochs by itself, 2 of 5 arms would have been decided otherwise at an earlier "
        "epoch than at the last one."
    ]
    assert epoch_sentences(made.clear()) == []


def test_many_epochs_are_thinned_and_keep_their_ends():
    made, _ = changes([0.7] * 90, epochs=90)
    assert made.height == 40
    assert (made["epoch"][0], made["epoch"][-1]) == (1, 90)


def test_the_metric_of_the_study_at_the_end_is_not_mixed_in(results, page):
    made = to_dict(results)["epochs"]
    assert {row["metric"] for row in made} == {"l2_error"}
    assert [row["arm"] for row in made if row["epoch"] == EPOCHS] == ["lmax=1", "lmax=2", "lmax=3"]
    (alone, *_) = compare_arms(
        results.tables.trials, "test.l2_error", results.study.arms, "lmax=0", results.study.sampling
    )
    last = next(row for row in made if row["epoch"] == EPOCHS)
    assert last["change"] == pytest.approx(alone.change.value, abs=5.0)
    assert "as if training had stopped at an epoch of this one schedule" in page
    assert "the error of lmax=1 is lower than that of lmax=0 " in page
