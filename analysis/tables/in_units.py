"""The tables of a study with errors in the units in which they are shown. Records stay as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.search import SearchRecords
from tesseral.analysis.terms.shown_units import CONVERTED, ShownUnits
from tesseral.analysis.terms.targets import TargetLabel
from tesseral.study.configuration.metrics import METRICS


def in_units(tables: StudyTables, units: ShownUnits) -> StudyTables:
    """Tables whose errors are in these units, and whose targets say so.

    :param tables: in the units of reference data.
    :param units: in which errors are shown.
    """
    study = tables.study
    shown = {arm: replace(study.target_of(arm), units=units) for arm in study.arms}
    factors = {arm: _factors(target) for arm, target in shown.items()}
    if all(factor == 1.0 for of_arm in factors.values() for factor in of_arm.values()):
        return tables
    return replace(
        tables,
        study=replace(study, targets=shown, units=units),
        trials=_trials(tables.trials, factors),
        curves=_curves(tables.curves, tables.trials, factors),
        search=_search(tables.search, study.objectives, factors),
    )


def asked_units(studies: Sequence[StudyTables], names: Sequence[str]) -> ShownUnits:
    """The units of the first study, with others in the place of some.

    :param names: of units, such as `eV`; `atomic` stands for those of reference data.
    :raises TesseralError: if a name is none of a unit that an error of these studies can have.
    """
    targets = [tables.study.target_of(arm) for tables in studies for arm in tables.study.arms]
    return studies[0].study.units.asked(names, {unit for target in targets for unit in _recorded(target).values()})


Factors = Mapping[str, Mapping[str, float]]
"""Arm → metric → what its values are multiplied by."""


def _factors(target: TargetLabel) -> dict[str, float]:
    return {name: target.units.factor(unit) for name, unit in _recorded(target).items()}


def _recorded(target: TargetLabel) -> dict[str, str]:
    """Metric whose values are converted → the unit in which they are recorded."""
    return {name: METRICS[name].unit_for(target.quantity) for name in CONVERTED if name in target.quantity.metrics}


def _trials(trials: pl.DataFrame, factors: Factors) -> pl.DataFrame:
    scaled = []
    for column in trials.columns:
        prefix, _, metric = column.removeprefix("metric.").partition(".")
        name = metric.partition(".")[0]
        if column == f"metric.{prefix}.{metric}" and name in CONVERTED and trials[column].dtype.is_numeric():
            of_arm = {arm: each.get(name, 1.0) for arm, each in factors.items()}
            factor = pl.col("arm").replace_strict(of_arm, default=1.0, return_dtype=pl.Float64)
            scaled.append((pl.col(column) * factor).alias(column))
    return trials.with_columns(scaled)


def _curves(curves: pl.LazyFrame, trials: pl.DataFrame, factors: Factors) -> pl.LazyFrame:
    rows = [(arm, name, factor) for arm, each in factors.items() for name, factor in each.items() if factor != 1.0]
    of_arm = pl.DataFrame(rows, schema={"arm": pl.String, "metric": pl.String, "factor": pl.Float64}, orient="row")
    of_trial = trials.select("trial", "arm").join(of_arm, on="arm").select("trial", "metric", "factor").unique()
    columns = curves.collect_schema().names()
    return (
        curves.join(of_trial.lazy(), on=["trial", "metric"], how="left")
        .with_columns(pl.col("value") * pl.col("factor").fill_null(1.0))
        .select(columns)
    )


def _search(search: SearchRecords, objectives: tuple[str, ...], factors: Factors) -> SearchRecords:
    name = objectives[0].partition(".")[2] if objectives else ""

    def scaled(arm: str, record: dict[str, Any]) -> dict[str, Any]:
        factor = factors.get(arm, {}).get(name, 1.0)
        return record if record["value"] is None else record | {"value": record["value"] * factor}

    return replace(search, best={key: scaled(key[0], record) for key, record in search.best.items()})
