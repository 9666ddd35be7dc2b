"""Arms of several studies, compared in pairs where their trials share data, test split, block and seed.

Seeds of a trial follow from the seed of its study, its block and its replicate. Trials of two studies are therefore
pairs, as those of two arms of one study are, if both studies have one seed, one way of splitting and the same data, and
if their test splits are equally large. Where they are not, errors stand beside one another and no change is stated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd
from typing import Any, NamedTuple

import polars as pl

from tesseral.analysis.statistics.comparisons.paired import ArmError, Comparison, arm_errors, compare_pairs, corrected
from tesseral.analysis.tables.in_units import asked_units, in_units
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.terms.sampling import Sampling
from tesseral.analysis.terms.targets import TargetLabel
from tesseral.study.configuration.trial import State
from tesseral.study.errors import TesseralError


class Shared(NamedTuple):
    """What trials of two arms must have in common to be pairs."""

    target: TargetLabel
    data: str | None
    """SHA-256 of the content of the reference data."""
    test: int | None
    """Structures of the test split."""
    groups: str | None
    """What one split holds together."""
    split: str | None
    """The published split, if there is one."""
    held: int | None
    """Structures of the hold-out that test splits are drawn from."""
    folds: bool
    seed: int | None
    """Of the study."""
    tests: str | None
    """Reference data of the test set of its own that the metric is measured on."""


DIFFERS = {
    "target": "another quantity is predicted",
    "data": "the data are others",
    "test": "the test splits have other sizes",
    "groups": "structures are grouped otherwise in splits",
    "split": "the published splits are others",
    "held": "the hold-outs have other sizes",
    "folds": "blocks are split otherwise",
    "seed": "the studies have other seeds",
    "tests": "the test sets are others",
}
"""What is said where one of them differs."""


@dataclass(frozen=True)
class StudyArm:
    """An arm of one of several studies."""

    study: str
    arm: str
    target: TargetLabel
    error: ArmError
    parameters: int | None
    seconds: float | None
    """Median training time of its complete trials, s."""
    comparison: Comparison | None
    """With the baseline; None for the baseline itself, and where there are no pairs."""
    unpaired: str
    """Why it is not compared with the baseline; empty if it is, or is the baseline."""
    same: bool
    """Whether its pairs with the baseline are the same trials, which one study copied from the other."""
    error_holds: str
    """What the interval of `error` that is shown holds for; see `Sampling.shown`."""
    change_here: str
    """What the interval of the change beside that for new data holds for; empty without a comparison."""

    @property
    def label(self) -> str:
        """Such as `quickstart: lmax=1`."""
        return label(self.study, self.arm)


def label(study: str, arm: str) -> str:
    """The label of an arm among those of several studies.

    :param study: its name.
    :param arm: label within the study.
    """
    return f"{study}: {arm}"


def compare_studies(
    studies: Sequence[StudyTables],
    metric: str | None = None,
    baseline: str | None = None,
    units: Sequence[str] = (),
) -> list[StudyArm]:
    """The arms of several studies, each compared with one baseline.

    p-values are corrected by Holm over the comparisons made here. Errors are in the units of the first study.

    :param studies: two or more, each once.
    :param metric: such as `test.epsilon`; None: the one that all are judged by.
    :param baseline: label of an arm such as `quickstart: lmax=1`; None: the first study's own.
    :param units: names of units to take in the place of the first study's, such as `eV`; `atomic` stands for those of
        the data.
    :returns: the arms, in the order of the studies.
    :raises TesseralError: if the studies have different metrics and none is given, there is no such arm or no such
        unit; see
        `tesseral.analysis.statistics.comparisons.paired.trial_errors` for what else is raised.
    """
    shown = asked_units(studies, units)
    studies = [in_units(tables, shown) for tables in studies]
    metrics = dict.fromkeys(tables.study.metric for tables in studies)
    if metric is None and len(metrics) > 1:
        raise TesseralError(f"expected studies of one metric, or --metric, got {', '.join(metrics)}")
    metric = metric or next(iter(metrics))
    arms = [(tables, arm) for tables in studies for arm in tables.study.arms]
    labels = {label(tables.study.name, arm): (tables, arm) for tables, arm in arms}
    baseline = baseline or label(studies[0].study.name, studies[0].study.baseline)
    if baseline not in labels:
        raise TesseralError(f"expected an arm as baseline, got {baseline!r}; there are: {'; '.join(labels)}")
    base_tables, base = labels[baseline]
    base_trials = _trials(base_tables, base)
    made = []
    for tables, arm in arms:
        study = tables.study
        (error,) = arm_errors(tables.trials, metric, [arm], study.sampling_of(metric))
        own = _trials(tables, arm)
        comparison, unpaired, here = None, "", ""
        if label(study.name, arm) != baseline:
            unpaired = _difference(_shared(tables, arm, own, metric), _shared(base_tables, base, base_trials, metric))
            if not unpaired:
                both = pl.concat([own, base_trials], how="diagonal_relaxed")
                names = (label(study.name, arm), baseline)
                sampling = _sampling(metric, tables, arm, base_tables, base)
                (comparison,) = compare_pairs(both, metric, [names], sampling)
                here = sampling.here
                if not comparison.pairs:
                    comparison, unpaired, here = None, "no block and replicate is complete in both", ""
        facts = own.filter(pl.col("state") == State.COMPLETE.value)
        parameters = facts["parameters"].drop_nulls()
        made.append(
            StudyArm(
                study=study.name,
                arm=arm,
                target=study.target_of(arm),
                error=error,
                parameters=parameters[0] if len(parameters) else None,
                seconds=facts.select(pl.col("seconds").median()).item(),
                comparison=comparison,
                unpaired=unpaired,
                same=comparison is not None and set(facts["trial"]) <= set(base_trials["trial"]),
                error_holds=study.sampling_of(metric).shown,
                change_here=here,
            )
        )
    return _holm(made)


def _trials(tables: StudyTables, arm: str) -> pl.DataFrame:
    """The trials of an arm in the confirm stage, under the label that it has among several studies."""
    own = tables.trials.filter(pl.col("arm") == arm, pl.col("stage") == "confirm")
    return own.with_columns(arm=pl.lit(label(tables.study.name, arm)))


def _shared(tables: StudyTables, arm: str, trials: pl.DataFrame, metric: str) -> Shared:
    study, tests = tables.study, metric.partition(".")[0]
    return Shared(
        target=study.target_of(arm),
        data=_only(trials, "data_hash"),
        test=_only(trials, "setting.data.test"),
        groups=_only(trials, "setting.data.groups"),
        split=_only(trials, "setting.data.split"),
        held=_only(trials, "held"),
        folds=study.folds,
        seed=study.seed,
        tests=_only(trials, f"setting.data.tests.{tests}"),
    )


def _only(trials: pl.DataFrame, column: str) -> Any:
    """The value that all trials have in a column; None if there is none, or several."""
    values = trials[column].drop_nulls().unique().to_list() if column in trials.columns else []
    return values[0] if len(values) == 1 else None


def _difference(one: Shared, other: Shared) -> str:
    """Why trials are no pairs; empty if they are."""
    return ", ".join(words for field, words in DIFFERS.items() if getattr(one, field) != getattr(other, field))


def _sampling(metric: str, tables: StudyTables, arm: str, base_tables: StudyTables, base: str) -> Sampling:
    """How pairs were sampled. Blocks that share a setting in either study are one unit."""
    mine, theirs = tables.study.sampling_of(metric), base_tables.study.sampling_of(metric)
    overlaps = {
        label(tables.study.name, arm): mine.overlap(arm),
        label(base_tables.study.name, base): theirs.overlap(base),
    }
    searches = gcd(mine.searches, theirs.searches)
    fixed = mine.fixed or theirs.fixed
    return Sampling(min(mine.blocks, theirs.blocks), searches, overlaps, theirs.aggregate, fixed)


def _holm(arms: list[StudyArm]) -> list[StudyArm]:
    """The arms with p-values that are corrected over all of their comparisons."""
    compared = [arm.comparison for arm in arms if arm.comparison is not None]
    changes = [comparison.change for comparison in compared]
    new = iter(corrected([change.p if change else None for change in changes]))
    here = iter(corrected([change.here.p if change and change.here else None for change in changes]))
    return [
        arm
        if arm.comparison is None
        else replace(arm, comparison=replace(arm.comparison, p_holm=next(new), p_holm_here=next(here)))
        for arm in arms
    ]
