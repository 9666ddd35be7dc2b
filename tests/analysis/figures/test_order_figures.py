"""The figure of benefit by order: labels that have room, and what it does not show."""

from types import SimpleNamespace

import polars as pl
import pytest

from tesseral.analysis.figures.axes import WIDTH
from tesseral.analysis.figures.order_figures import LETTER, benefit_by_order, benefit_figures
from tesseral.analysis.statistics.orders.benefit import benefit
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import load
from tests.support.dipole_study import DIPOLE, dipole_rows
from tests.support.synthetic_study import info, table


def rows(targets: list[str]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (order, target, f"lmax={k}, {target}", f"lmax={k}", True, 4, -10.0 * k, -15.0, -5.0)
            for order in (0, 2)
            for target in targets
            for k in (1, 2)
        ],
        schema=["l", "target", "arm", "hidden", "reachable", "pairs", "change", "low", "high"],
        orient="row",
    )


def axis(targets: list[str]) -> dict:
    chart = benefit_by_order(rows(targets)).to_dict()
    return chart["layer"][-1]["encoding"]["x"]["axis"]


def test_labels_stand_upright_while_they_have_room():
    shown = axis(["dipole", "energy"])
    assert shown["labelAngle"] == 0
    assert "split" in shown["labelExpr"]


def test_labels_of_many_groups_are_aslant_and_do_not_overlap():
    targets = [f"polarizability, train={size}" for size in (100, 300, 1000, 3000)]
    assert len("polarizability") * LETTER * 8 > WIDTH
    shown = axis(targets)
    assert shown["labelAngle"] == -45
    assert "labelExpr" not in shown, "one line each"


def sized(within: tuple[str, ...]):
    """Three hidden orders at two sizes of the training set."""
    made, arms, levels = [], [], {}
    for size in (50, 100):
        for row in dipole_rows():
            arm = f"{row['arm']}, train={size}"
            lmax = row["arm"].removeprefix("lmax=")
            row = row | {"arm": arm, "trial": f"{size}{row['trial']}"[:64]}
            made.append(row)
            if arm not in arms:
                arms.append(arm)
                levels[arm] = {"network.hidden.lmax": lmax, "data.train": str(size)}
    base = {arm: f"lmax=0, train={levels[arm]['data.train'] if within else 50}" for arm in arms}
    study = info(
        arms=tuple(arms),
        baseline=arms[0],
        baselines=base,
        targets=dict.fromkeys(arms, DIPOLE),
        metric="test.relative_error",
        levels=levels,
        within=within,
        factors={"network.hidden.lmax": ("0", "1", "2"), "data.train": ("50", "100")},
    )
    return load(table(made), [], [], study)


def test_what_one_size_alone_shows_is_said():
    tables = sized(())
    results = analyse(tables)
    several = benefit(sized(("data.train",)))
    assert {arm.split("train=")[1] for arm in several["arm"]} == {"50", "100"}
    alone = SimpleNamespace(benefits=several.filter(pl.col("arm").str.ends_with("=50")), study=tables.study)
    alone.benefits = pl.concat([alone.benefits, alone.benefits.with_columns(l=pl.lit(2, dtype=pl.Int64))])
    alone.arms, alone.trends = results.arms, ()
    (figure,) = benefit_figures(alone)
    assert figure.caption.endswith(
        "3 arms with another data.train than the baseline are not shown; as study.within, it would give each level a "
        "baseline of its own."
    )
    whole = SimpleNamespace(benefits=several, study=sized(("data.train",)).study, arms=results.arms, trends=())
    (figure,) = benefit_figures(whole)
    assert "not shown" not in figure.caption


@pytest.mark.parametrize("within", [(), ("data.train",)])
def test_both_are_drawn(within):
    analyse(sized(within))
