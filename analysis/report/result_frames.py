"""The arms, trials and comparisons of a study as data frames of numbers, for other programs."""

from collections.abc import Callable
from typing import Any, Literal

import polars as pl

from tesseral.analysis.statistics.results import Results
from tesseral.analysis.terms.estimate import Estimate
from tesseral.analysis.terms.targets import TargetLabel
from tesseral.study.configuration.metrics import METRICS

Kind = Literal["arms", "trials", "comparisons"]


def result_frame(results: Results, kind: Kind) -> pl.DataFrame:
    """The results of a study, one row for each arm, trial or comparison.

    Of an estimate there are its value, `_low` and `_high` for new data of the same kind, `_low_here` and `_high_here`
    for these data. Of an arm, `error` is by the study's metric, which stands beside it; every other metric has its full
    name, such as `test.component_mae`. Errors are in the unit that stands beside them, under `unit` or `<metric>_unit`,
    changes in percent of the baseline's error, times in s. The columns of trials are those of the records, with errors
    in the units shown.

    :param results: of the study.
    :param kind: which of its tables.
    """
    frame = _FRAMES[kind](results)
    return frame.with_columns(pl.col(pl.Null).cast(pl.Float64))  # bounds that no arm has are numbers all the same


def _arms(results: Results) -> pl.DataFrame:
    metric = results.study.metric
    split, _, name = metric.partition(".")
    rows = []
    for arm in results.arms:
        unit = _unit(arm.target, metric)
        row: dict[str, Any] = {"arm": arm.arm, "baseline": arm.baseline, "target": arm.target.quantity.name}
        row |= {"metric": metric, "unit": unit, "trials": arm.error.trials, "failed": arm.failed}
        row |= {"independent": arm.error.unit, "independent_values": arm.error.units} | _estimate(
            "error", arm.error.error
        )
        row |= {"deviation": arm.error.deviation, "match": arm.match, "residual": arm.residual}
        row |= {size: getattr(arm, size) for size in ("parameters", "parameters_live", "components", "flops")}
        row |= {"seconds": arm.seconds, "unreachable": arm.unreachable, "dead": arm.dead}
        for other, measured in arm.errors.items():
            if other != name:
                whole = f"{split}.{other}"  # of a metric that is called `error` too
                row |= _estimate(whole, measured.error) | {f"{whole}_unit": measured.unit}
        rows.append(row)
    words = dict.fromkeys(("match", "unreachable", "dead"), pl.String)
    return pl.DataFrame(_level(rows), schema_overrides=words, infer_schema_length=None)


def _unit(target: TargetLabel, metric: str) -> str:
    """The unit of a metric such as `test.error`, or of its part of an order, such as `test.error.l1`."""
    name = metric.partition(".")[2].partition(".")[0]
    return target.unit_of(METRICS[name]) if name in METRICS else ""


def _comparisons(results: Results) -> pl.DataFrame:
    rows = [
        {"arm": each.arm, "baseline": each.baseline, "pairs": each.pairs, "missing": each.missing}
        | {"independent": each.unit, "independent_values": each.units}
        | _estimate("change", each.change)
        | {"p": each.change and each.change.p, "p_holm": each.p_holm, "p_holm_here": each.p_holm_here}
        | _estimate("difference", each.difference)
        | {"difference_unit": _unit(results.study.target_of(each.arm), results.study.metric)}
        for each in results.comparisons
    ]
    return pl.DataFrame(_level(rows), infer_schema_length=None)


def _trials(results: Results) -> pl.DataFrame:
    trials, study = results.tables.trials, results.study
    columns: list[pl.Expr] = []
    for column in trials.columns:
        columns.append(pl.col(column))
        metric = column.removeprefix("metric.")
        if metric != column and metric.partition(".")[2].partition(".")[0] in METRICS:
            units = {arm: _unit(study.target_of(arm), metric) for arm in study.arms}
            unit = pl.when(pl.col(column).is_not_null()).then(pl.col("arm").replace_strict(units, default=None))
            columns.append(unit.alias(f"{column}_unit"))
    return trials.select(columns)


_FRAMES: dict[Kind, Callable[[Results], pl.DataFrame]] = {
    "arms": _arms,
    "trials": _trials,
    "comparisons": _comparisons,
}


def _estimate(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    here = estimate.here if estimate else None
    return {
        name: estimate.value if estimate else None,
        f"{name}_low": estimate.low if estimate else None,
        f"{name}_high": estimate.high if estimate else None,
        f"{name}_low_here": here.low if here else None,
        f"{name}_high_here": here.high if here else None,
    }


def _level(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the same columns, null where one lacks a column of another."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return [{column: row.get(column) for column in columns} for row in rows]
