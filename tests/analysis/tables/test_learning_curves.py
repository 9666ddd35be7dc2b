"""Learning curves of the confirm stage."""

import polars as pl

from tesseral.analysis.tables.learning_curves import confirm_curves
from tests.support.synthetic_study import study_tables


def test_learning_prefers_the_validation_split(tmp_path):
    tables = study_tables(tmp_path)
    curves = confirm_curves(tables.curves, tables.trials, ["l2_error"])
    assert curves["split"].unique().to_list() == ["validation"]
    assert curves.height == 32 * 60
    failed = tables.trials.with_columns(state=pl.lit("failed"))
    assert confirm_curves(tables.curves, failed, ["l2_error"]).height == 0
