"""A study with known numbers that predicts the dipole: three hidden orders, one target."""

from typing import Any

from tesseral.analysis.tables.load import StudyTables, load
from tesseral.analysis.terms.targets import TargetLabel
from tesseral.study.configuration.quantities import QUANTITIES
from tests.support.synthetic_study import crossed_rows, info, table

DIPOLE = TargetLabel(QUANTITIES["dipole"])
RELATIVE = "test.relative_error"


def dipole_rows() -> list[dict[str, Any]]:
    """Trials of three arms that predict the dipole."""
    return [row | {"arm": row["arm"].split(",")[0]} for row in crossed_rows() if row["target"] == "dipole"]


def dipole_tables(metric: str) -> StudyTables:
    """The tables of their study, judged by a metric such as `RELATIVE`."""
    arms = ("lmax=0", "lmax=1", "lmax=2")
    study = info(arms=arms, baseline=arms[0], targets=dict.fromkeys(arms, DIPOLE), metric=metric)
    return load(table(dipole_rows()), [], [], study)
