"""Slices of the searches: the error of each proposal against the value of one hyperparameter.

All other hyperparameters vary along a slice, so it is a projection: a trend in it may be another one's. A sampler that
learns proposes more where errors were low; the density of its points says nothing of their errors. Nothing is tested.

A hyperparameter is a setting that differs between the proposals of one arm, because all else is the arm's own. That
holds for a declared space, with its conditions and tables, and for one that is defined by running. Hidden widths of
matched arms are none: they follow from the other settings.

Source: the slice plot of Optuna (Akiba et al., KDD 2019, arXiv 1907.10902).
"""

import json

import polars as pl

from tesseral.analysis.tables.load import StudyTables
from tesseral.analysis.tables.search import distinct_proposals
from tesseral.study.design.search_space import HIDDEN

_SETTING = "setting."
_SCHEMA = {
    "path": pl.String,
    "arm": pl.String,
    "repeat": pl.Int64,
    "number": pl.Int64,
    "value": pl.Float64,
    "label": pl.String,
    "error": pl.Float64,
    "chosen": pl.Boolean,
}


def slices(tables: StudyTables) -> pl.DataFrame:
    """The error of every complete proposal against each hyperparameter of its arm.

    :returns: path (of the setting), arm, repeat and number (of the search and of the proposal in it), value (null if it
        is no number), label (the value as text), error (in the unit of the search's first objective), chosen (whether
        its search chose this proposal), by path, then in the study's order of arms; empty without a search.
    """
    study = tables.study
    if not study.objectives:
        return pl.DataFrame(schema=_SCHEMA)
    settings = [name for name in tables.trials.columns if name.startswith(_SETTING)]
    best = [(*search, record["trial"]) for search, record in tables.search.best.items()]
    chosen = pl.DataFrame(best, {"arm": pl.String, "repeat": pl.Int64, "trial": pl.String}, orient="row").lazy()
    own = ["arm", "trial"]
    proposals = (
        distinct_proposals(tables.trials, tables.search, study.objectives[0])
        .lazy()
        .filter(pl.col("value").is_not_null(), pl.col("arm").is_in(list(study.arms)))
        .rename({"value": "error"})
        .join(
            tables.trials.lazy().filter(pl.col("stage") == "search").select(*own, "match", *settings).unique(own),
            on=own,
        )
        .join(chosen.with_columns(chosen=True), on=["arm", "repeat", "trial"], how="left")
        .with_columns(pl.col("chosen").fill_null(value=False))
    )
    parts = [pl.LazyFrame(schema=_SCHEMA)]
    for name in sorted(settings):
        number = pl.col(name) if tables.trials.schema[name].is_numeric() else pl.lit(None)
        free = pl.lit(not name.startswith(_SETTING + HIDDEN)) | (pl.col("match").fill_null("none") == "none")
        rows = proposals.filter(free).select(
            pl.lit(name.removeprefix(_SETTING)).alias("path"),
            *("arm", "repeat", "number"),
            number.cast(pl.Float64).alias("value"),
            _text(name, tables.trials.schema[name]).alias("label"),
            *("error", "chosen"),
        )
        parts.append(rows.drop_nulls("label").filter((pl.col("label").n_unique() > 1).over("arm")))
    return pl.concat(parts).sort("path", pl.col("arm").cast(pl.Enum(study.arms)), "repeat", "number").collect()


def _text(name: str, kind: pl.DataType) -> pl.Expr:
    """A setting as text; lists as JSON."""
    if kind.is_nested():
        return pl.col(name).map_elements(lambda value: json.dumps(value.to_list()), return_dtype=pl.String)
    return pl.col(name).cast(pl.String)
