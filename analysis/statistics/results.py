"""Results of a study, computed once from its tables: what the report, its figures, table and JSON are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tesseral.analysis.statistics.arms import ArmSummary, summarise_arms
from tesseral.analysis.statistics.comparisons.best import Best, best
from tesseral.analysis.statistics.comparisons.epochs import epoch_changes
from tesseral.analysis.statistics.comparisons.factors import Effect, effects
from tesseral.analysis.statistics.comparisons.frontier import frontier
from tesseral.analysis.statistics.comparisons.paired import Comparison
from tesseral.analysis.statistics.comparisons.scaling import SizeCurve, size_curves
from tesseral.analysis.statistics.comparisons.steps import Step, steps
from tesseral.analysis.statistics.features.ablations import Needs, ablations, needs
from tesseral.analysis.statistics.features.dead_irreps import DeadIrreps, dead_irreps_by_arm
from tesseral.analysis.statistics.features.emergence import (
    Hierarchy,
    hierarchies,
    places_by_order,
    places_taken,
)
from tesseral.analysis.statistics.features.features import hidden_features
from tesseral.analysis.statistics.features.layers import effective_ranks, gradients, layer_traces
from tesseral.analysis.statistics.orders.benefit import benefit
from tesseral.analysis.statistics.orders.order_trend import Trend, trends
from tesseral.analysis.statistics.orders.orders import OrderTable, order_tables
from tesseral.analysis.statistics.progress import ArmAllocation, Progress, allocate, searches, stage_progress
from tesseral.analysis.statistics.searches.importance import Importance, importances
from tesseral.analysis.statistics.searches.search_value import search_values
from tesseral.analysis.statistics.searches.slices import slices
from tesseral.analysis.statistics.test_sets import SetError, errors_by_set
from tesseral.analysis.tables.in_units import asked_units, in_units
from tesseral.analysis.tables.learning_curves import learning_curves
from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.search import Saved, SearchSummary, saved
from tesseral.analysis.tables.study_info import StudyInfo

_SEED = 0
"""Of the bootstrap and the permutations, so that a report is the same each time."""


@dataclass(frozen=True, kw_only=True)
class LayerResults:
    """What the hidden layers of trained networks hold and use; frames are empty if nothing was traced."""

    features: pl.DataFrame
    """From `features.hidden_features`."""
    places: pl.DataFrame
    """From `emergence.places_by_order`."""
    hierarchies: tuple[Hierarchy, ...]
    """From `emergence.hierarchies`."""
    effective_ranks: pl.DataFrame
    """From `layers.effective_ranks`."""
    gradients: pl.DataFrame
    """From `layers.gradients`."""
    ablations: pl.DataFrame
    """From `ablations.ablations`."""
    needs: Mapping[str, Needs]
    """Arm → its significant ablations, for arms with ablations."""
    dead_irreps: Mapping[str, DeadIrreps]
    """Arm → irreps and paths without a gradient, for arms with traced gradients."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that a report states about a study."""

    tables: StudyTables
    arms: tuple[ArmSummary, ...]
    """In the order of the study."""
    best: tuple[Best, ...]
    """The arms that cannot be told from the best, of each group in which two or more have trials."""
    effects: tuple[Effect, ...]
    """Main effects and two-factor interactions; empty if fewer than two factors vary within a group."""
    frontier: pl.DataFrame
    """From `frontier.frontier`."""
    test_sets: tuple[SetError, ...]
    """Every metric on the test split and on test sets of their own; empty without such sets."""
    steps: tuple[Step, ...]
    """Adjacent levels of ordered factors, each with its verdict."""
    allocations: tuple[ArmAllocation, ...]
    """The blocks of every arm; empty for a fixed allocation."""
    progress: Progress
    """Progress of the confirm stage."""
    search_progress: Progress | None
    """None for a study without a search."""
    searches: tuple[SearchSummary, ...]
    """Empty for a study without a search."""
    importances: tuple[Importance, ...]
    """From `importance.importances`; empty without a search space."""
    search_values: pl.DataFrame
    """From `search_value.search_values`; empty without a search."""
    slices: pl.DataFrame
    """From `slices.slices`: the error of each proposal by hyperparameter; empty without a search."""
    saved: Saved | None
    """Training time that early stopping saved, if any."""
    order_tables: tuple[tuple[StudyTables, OrderTable], ...]
    """Errors by order of the target, with the tables of the group of arms that they belong to."""
    benefits: pl.DataFrame
    """From `benefit.benefit`."""
    trends: tuple[Trend, ...]
    scaling: tuple[SizeCurve, ...]
    """From `scaling.size_curves`; empty where the size of the training set is no factor."""
    epochs: pl.DataFrame
    """From `epochs.epoch_changes`: changes against the baseline during training."""
    curves: pl.DataFrame
    """From `learning_curves.learning_curves`."""
    layers: LayerResults

    @property
    def study(self) -> StudyInfo:
        """The study: its arms, targets, baselines and design."""
        return self.tables.study

    @property
    def comparisons(self) -> list[Comparison]:
        """The comparisons of all arms that have one, in the order of the study."""
        return [summary.comparison for summary in self.arms if summary.comparison is not None]


def analyse(tables: StudyTables, units: Sequence[str] = ()) -> Results:
    """Compute the results of a study, at any stage: unfinished, without a complete trial, with failed ones.

    :param tables: in the units of reference data; results have those of the study.
    :param units: names of other units to take in their place, such as `eV`; `atomic` stands for those of the data.
    :raises TesseralError: if the study's metric is not recorded, its baseline is no arm, or a unit is not known.
    :raises FileNotFoundError: if a file was compacted since `tables` were loaded: `tesseral.read_study(…, analyse)`
        then reads anew.
    """
    tables = in_units(tables, asked_units([tables], units))
    # Files are read first and at once, because a running study compacts them.
    curves, layers = learning_curves(tables), _layers(tables)
    by_order, by_size = trends(tables), size_curves(tables)
    # The first screen answers these questions side by side. They share the level of significance, so that all that it
    # claims together is false in at most 5 % of studies.
    questions = 1 + bool(by_order) + bool(by_size)
    by_step, stages = steps(tables, questions), stage_progress(tables)
    arms = summarise_arms(tables, 1 if by_step else questions)
    return Results(
        tables=tables,
        arms=arms,
        best=best(tables),
        effects=effects(tables),
        frontier=frontier(tables, np.random.default_rng(_SEED)),
        test_sets=errors_by_set(tables),
        steps=by_step,
        allocations=allocate(tables, [arm.comparison for arm in arms if arm.comparison is not None]),
        progress=stages["confirm"],
        search_progress=stages.get("search"),
        searches=searches(tables),
        importances=importances(tables, np.random.default_rng(_SEED)),
        search_values=search_values(tables),
        slices=slices(tables),
        saved=saved(tables.trials),
        order_tables=tuple((part, table) for part in tables.by_group() for table in order_tables(part)),
        benefits=benefit(tables),
        trends=tuple(trend.among(questions) for trend in by_order),
        scaling=tuple(curve.among(questions) for curve in by_size),
        epochs=epoch_changes(tables, curves),
        curves=curves,
        layers=layers,
    )


def _layers(tables: StudyTables) -> LayerResults:
    features = hidden_features(tables.traces, tables.trials)
    rows, sampling = layer_traces(tables.traces, tables.trials), tables.study.sampling
    ablated = ablations(rows, sampling)
    taken = places_taken(features)
    with_ablations = set(ablated["arm"])
    return LayerResults(
        features=features,
        places=places_by_order(taken),
        hierarchies=hierarchies(taken, tables.trials, tables.study),
        effective_ranks=effective_ranks(rows),
        gradients=gradients(rows),
        ablations=ablated,
        needs=needs(rows, [arm for arm in tables.study.arms if arm in with_ablations], sampling),
        dead_irreps=dead_irreps_by_arm(tables, rows),
    )
