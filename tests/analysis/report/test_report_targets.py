"""Studies of several targets: arms are compared within one, errors have units, and densities have their floor."""

import html
import json
import re
from xml.etree import ElementTree

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tesseral.analysis.figures.curve_figures import learning_figures
from tesseral.analysis.figures.error_figures import error_figures
from tesseral.analysis.figures.figure import by_group
from tesseral.analysis.figures.order_figures import benefit_figures
from tesseral.analysis.report import summary
from tesseral.analysis.report.arm_table import arm_table
from tesseral.analysis.report.findings import findings
from tesseral.analysis.report.report import report
from tesseral.analysis.statistics.benefit import benefit
from tesseral.analysis.statistics.fit_floor import fit_errors, floor_details
from tesseral.analysis.statistics.orders import order_tables
from tesseral.analysis.statistics.paired import arm_errors, compare_arms, holm
from tesseral.analysis.statistics.progress import allocate
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.learning_curves import learning_curves
from tesseral.analysis.tables.load import load
from tesseral.analysis.tables.open import study_info
from tesseral.analysis.tables.study_info import ReferenceInfo
from tesseral.analysis.terms.metric_label import describe, typeset
from tesseral.analysis.terms.targets import TargetLabel
from tesseral.study.configuration.quantities import QUANTITIES
from tesseral.study.errors import TesseralError
from tesseral.study.study import Study
from tests.support.synthetic_study import (
    BENEFIT,
    CROSSED,
    SPREADS,
    TARGETS,
    crossed_rows,
    crossed_tables,
    info,
    label,
    table,
    trial_rows,
)

DIPOLE = TargetLabel(QUANTITIES["dipole"])
RELATIVE = "test.relative_error"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return crossed_tables(tmp_path_factory.mktemp("crossed"))


@pytest.fixture(scope="module")
def page(tables):
    return report(tables)


def tooltips(figure):
    root = ElementTree.fromstring(figure.svg)
    return [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]


def words(page):
    return " ".join(html.unescape(page).split())


def sections_of(tables):
    """The figures of errors of each group, as a report has them."""
    results = analyse(tables)
    return by_group(tables, lambda part: [*error_figures(part, results.arms), *learning_figures(part, results.curves)])


def dipole_rows():
    """Trials of three arms that predict the dipole."""
    return [row | {"arm": row["arm"].split(",")[0]} for row in crossed_rows() if row["target"] == "dipole"]


def dipole_tables(metric):
    arms = ("lmax=0", "lmax=1", "lmax=2")
    study = info(arms=arms, baseline=arms[0], targets=dict.fromkeys(arms, DIPOLE), metric=metric)
    return load(table(dipole_rows()), [], [], study)


def test_arms_of_a_target_stand_together_and_share_a_baseline(tables):
    study = tables.study
    assert study.metric == RELATIVE
    assert study.arms == tuple(label(k, quantity) for quantity in TARGETS for k in range(3))
    assert {arm: study.baseline_of(arm) for arm in study.arms} == {
        label(k, quantity): label(0, quantity) for quantity in TARGETS for k in range(3)
    }
    assert [(g.target.quantity.name, g.target.unit, g.target.orders) for g in study.groups] == [
        ("energy", "hartree", (0,)), ("density", "", ()), ("quadrupole", "e bohr^2", (2,)), ("dipole", "e bohr", (1,)),
    ]  # fmt: skip


def test_the_baselines_levels_are_taken_in_each_target(tmp_path):
    """Also where the study's baseline is no first arm, and where another factor does not decide what is predicted."""
    factors = 'network.layers = [2, 3]\ntarget.scale = ["spread", "none"]'
    text = CROSSED.replace("network.hidden.lmax = [0, 1, 2]", factors)
    wanted = "layers=3, scale=none, quantity=dipole"
    text = (
        text.replace("allow_unreachable", f'baseline = "{wanted}"\nallow_unreachable') + "[network.hidden]\nlmax = 1\n"
    )
    study = study_info(Study.parse(text, "t"), tmp_path)
    assert len(study.arms) == 16
    for arm in study.arms:
        assert study.baseline_of(arm) == "layers=3, scale=none, quantity=" + study.target_of(arm).quantity.name


def test_arms_are_compared_within_levels_of_a_factor(tmp_path):
    factors = "network.hidden.lmax = [0, 1]\ntraining.epochs = [3, 9]\nmatch.by = ['none', 'components']"
    text = CROSSED.replace("network.hidden.lmax = [0, 1, 2]", factors).replace(
        "allow_unreachable", "within = ['training.epochs', 'match.by']\nallow_unreachable"
    )
    study = study_info(Study.parse(text, "t"), tmp_path)
    assert (len(study.arms), len(study.groups)) == (32, 16)
    group, arms = next(iter(study.groups.items()))
    assert (group.name, group.title) == ("energy at epochs=3, match=none", "Energy: epochs=3, match=none")
    assert arms == tuple(f"lmax={lmax}, epochs=3, match=none, quantity=energy" for lmax in (0, 1))
    for arm in study.arms:
        base = study.baseline_of(arm)
        assert base == arm.replace("lmax=1", "lmax=0")


def test_levels_that_match_arms_apart_compare_them_apart(tmp_path):
    text = CROSSED.replace("network.hidden.lmax = [0, 1, 2]", "network.hidden.lmax = [0, 1]\nnetwork.layers = [2, 3]")
    study = study_info(Study.parse(text + '[match]\nby = "components"\nwithin = ["network.layers"]', "t"), tmp_path)
    assert {dict(group.levels)["layers"] for group in study.groups} == {"2", "3"}
    assert study.baseline_of("lmax=1, layers=3, quantity=dipole") == "lmax=0, layers=3, quantity=dipole"


def test_a_reader_compares_with_another_arm(tmp_path):
    """In every group with the arm that has its levels; the study's own baseline is named."""
    study = Study.parse(CROSSED, "t")
    asked = study_info(study, tmp_path, baseline=label(2, "dipole"))
    assert (asked.baseline, asked.own_baseline) == (label(2, "dipole"), label(0, "energy"))
    assert asked.baseline_of(label(1, "energy")) == label(2, "energy")
    tables = load(table(crossed_rows()), [], [], asked)
    found = {row.arm: row for row in analyse(tables).arms}
    arms = [label(k, "quadrupole") for k in range(3)]
    alone = compare_arms(tables.trials, RELATIVE, arms, arms[2], 4)
    assert [found[one.arm].comparison.change for one in alone] == [one.change for one in alone]
    assert findings(analyse(tables))[0].startswith(
        f"Arms are compared with {label(2, 'dipole')}, as requested; the study"
    )
    assert summary.to_dict(analyse(tables))["own_baseline"] == label(0, "energy")
    own = study_info(study, tmp_path, baseline=label(0, "energy"))
    assert not own.chosen_baseline
    assert "as requested" not in " ".join(findings(analyse(load(table(crossed_rows()), [], [], own))))
    with pytest.raises(
        TesseralError, match="expected the label of an arm as a baseline, got 'lmax=9'; there are: lmax=0"
    ):
        study_info(study, tmp_path, baseline="lmax=9")
    text = CROSSED.replace(
        "blocks = 4\nreplicates = 2",
        "blocks = 6\nreplicates = 1\nallocate = 'sequential'\nprecision = 2.0\nmax_blocks = 12",
    )
    with pytest.raises(TesseralError, match=r"expected the study's own baseline .* because the change against it"):
        study_info(Study.parse(text, "t"), tmp_path, baseline=label(2, "dipole"))


def test_densities_of_other_orders_are_other_targets(tmp_path):
    text = CROSSED.replace(
        'target.quantity = ["energy", "density", "quadrupole", "dipole"]', "target.orders = [[0], [1]]"
    )
    study = study_info(Study.parse(text, "t"), tmp_path)
    assert [group.name for group in study.groups] == ["density of l = 0", "density of l = 1"]
    assert study.baseline_of("lmax=2, orders=[1]") == "lmax=0, orders=[1]"
    assert study.metric == "test.epsilon"


def test_changes_are_within_a_target_and_holm_is_over_all(tables):
    found = {row.arm: row for row in analyse(tables).arms}
    p_values = []
    for quantity in TARGETS:
        arms = [label(k, quantity) for k in range(3)]
        assert found[arms[0]].comparison is None
        for alone in compare_arms(tables.trials, RELATIVE, arms, arms[0], 4):
            comparison = found[alone.arm].comparison
            assert comparison.baseline == arms[0]
            assert comparison.change == alone.change
            p_values.append(alone.change.p)
    corrected = [row.comparison.p_holm for row in found.values() if row.comparison is not None]
    assert corrected == pytest.approx(holm(p_values))
    assert len(p_values) == 8


def test_an_arm_without_a_baseline_is_compared_with_none(tmp_path):
    """The dipole with lmax = 0 was left out, so that nothing has its target and the baseline's levels."""
    text = CROSSED.replace(
        "[replication]",
        "[design]\nwhere = [\"network.hidden.lmax > 0 or target.quantity != 'dipole'\"]\n\n[replication]",
    )
    rows = [row for row in crossed_rows() if row["arm"] != label(0, "dipole")]
    tables = crossed_tables(tmp_path, rows, text)
    found = {row.arm: row for row in analyse(tables).arms}
    for lmax in (1, 2):
        assert found[label(lmax, "dipole")].comparison is None
        assert any("not compared: no arm of its group" in flag for flag in found[label(lmax, "dipole")].flags)
    assert found[label(2, "energy")].comparison.baseline == label(0, "energy")
    cells = {row["arm"]: row["change, %"] for row in arm_table(analyse(tables))}
    assert cells[label(1, "dipole")] == "–"
    assert cells[label(0, "energy")] == "baseline"
    page = words(report(tables))
    assert "dipole: none" in page
    assert set(benefit(tables)["target"]) == {"energy", "density", "quadrupole"}
    assert any("lowest observed mean of the relative error of the dipole" in told for told in findings(analyse(tables)))


def test_a_baseline_that_is_no_arm_is_a_mistake(tables):
    with pytest.raises(TesseralError, match="expected a baseline among the arms, got 'x'"):
        compare_arms(tables.trials, RELATIVE, [label(0, "energy")], {label(0, "energy"): "x"}, 4)


def test_errors_stand_in_units_and_as_a_share_of_the_spread(tables):
    rows = {row["arm"]: row for row in arm_table(analyse(tables))}
    assert list(rows[label(0, "energy")])[:5] == [
        "arm",
        "trials",
        "error, % of spread",
        "error in its unit",
        "change, %",
    ]
    for quantity, unit in (("energy", "hartree"), ("dipole", "e bohr"), ("quadrupole", "e bohr²")):
        row = rows[label(1, quantity)]
        assert f" {unit} [" in row["error in its unit"]
        share = float(row["error, % of spread"].split()[0])
        own = float(row["error in its unit"].split()[0])
        assert own == pytest.approx(0.008 * SPREADS[quantity] * share, rel=0.01)
    assert re.fullmatch(r"ε 0\.4\d+ % \[.*\]", rows[label(1, "density")]["error in its unit"])


@pytest.mark.parametrize(
    ("metric", "headings", "sentence"),
    [
        (
            RELATIVE,
            ["error, % of spread", "error, e bohr"],
            "lmax=2 has the lowest observed mean of the relative error of the dipole: 25.0 % [21.0, 29.0] of the t",
        ),
        (
            "test.error",
            ["error, e bohr", "error, % of spread"],
            "lmax=2 has the lowest observed mean of the error of the dipole: 0.160 e bohr [0.134, 0.185] (8 trials in ",
        ),
    ],
)
def test_a_study_of_one_property_has_both_too(metric, headings, sentence):
    tables = dipole_tables(metric)
    assert list(arm_table(analyse(tables))[0])[2:4] == headings
    told = findings(analyse(tables))
    assert told[0].startswith(sentence)
    noun = describe(metric, DIPOLE).noun
    assert told[2].startswith(f"Against lmax=0, lmax=2 lowers {noun} by 46.0 % [44.4, 47.5]")
    page = words(report(tables))
    assert f"Error: {noun}" in page
    assert "ε" not in page.split("<h2>Design")[0]
    assert "SCF" not in page
    assert summary.to_dict(analyse(tables))["unit"] == ("%" if metric == RELATIVE else "e bohr")


def test_titles_and_axes_name_target_and_unit():
    assert describe("test.error", DIPOLE).title == "Error of the dipole (test)"
    assert describe("test.error", DIPOLE).axis == "error, e bohr"
    assert describe("test.error").axis == "error"
    assert describe(RELATIVE, DIPOLE).axis == "relative error, % of the target’s spread"
    assert describe(RELATIVE).noun == "the relative error"
    assert describe("test.error", TargetLabel(QUANTITIES["homo"])).noun == "the error of the HOMO energy"
    assert describe("test.epsilon", TargetLabel()).noun == "the density error ε"
    assert [typeset(unit) for unit in ("e bohr^3", "bohr^(-3/2)", "%")] == ["e bohr³", "bohr^(-3/2)", "%"]


def test_opening_sentences_keep_to_a_target(tables):
    told = findings(analyse(tables))
    assert told[2] == (
        "Against “lmax=0, quantity=quadrupole”, “lmax=2, quantity=quadrupole” lowers the relative error of the "
        "quadrupole by 58.0 % [56.0, 60.0] (8 pairs in 4 blocks)."
    )
    assert "8 comparisons within groups in the relative error: 4 undecided, 4 lower." in told
    for sentence in told:
        assert len({quantity for quantity in TARGETS if f"quantity={quantity}" in sentence}) <= 1


def test_json_carries_units_and_targets(tables):
    tree = json.loads(json.dumps(summary.to_dict(analyse(tables)), allow_nan=False))
    assert (tree["metric"], tree["unit"]) == (RELATIVE, "%")
    assert tree["groups"][3] == {
        "target": {"quantity": "dipole", "chosen": None, "unit": "e bohr", "orders": [1]}, "levels": {},
        "baseline": label(0, "dipole"), "arms": [label(k, "dipole") for k in range(3)],
    }  # fmt: skip
    arm = {row["arm"]: row for row in tree["arms"]}[label(2, "quadrupole")]
    assert arm["target"]["quantity"] == "quadrupole"
    assert arm["baseline"] == label(0, "quadrupole")
    assert {name: found["unit"] for name, found in arm["errors"].items()} == {
        "relative_error": "%",
        "error": "e bohr^2",
    }
    mean = arm_errors(tables.trials, "test.error", [arm["arm"]], 4)[0].error
    assert arm["errors"]["error"]["error"]["value"] == pytest.approx(mean.value)
    assert tree["floor"] == {"epsilon": 1.06, "electrons": 0.0012, "dipole": 0.0034, "self_repulsion": 0.008}


def test_the_benefit_stands_by_order(tables):
    found = benefit(tables)
    places = list(dict.fromkeys(found.select("l", "target").iter_rows()))
    assert places == [
        (0, "energy"), (0, "density"), (1, "dipole"), (1, "density"), (2, "quadrupole"), (2, "density"), (3, "density"),
        (4, "density"),
    ]  # fmt: skip
    for row in found.to_dicts():
        lmax = int(row["hidden"].removeprefix("lmax="))
        assert row["change"] == pytest.approx(100 * (BENEFIT[row["l"]][lmax] - 1), abs=3.0)
        metric = RELATIVE + (f".l{row['l']}" if row["target"] == "density" else "")
        arms = [label(lmax, row["target"]), label(0, row["target"])]
        (alone,) = compare_arms(tables.trials, metric, arms, arms[1], 4)
        assert (row["change"], row["low"], row["high"]) == (alone.change.value, alone.change.low, alone.change.high)
        assert row["reachable"] == ((row["l"], row["target"]) != (4, "density"))
    (figure,) = benefit_figures(analyse(tables))
    assert "against its baseline, an arm that differs in hidden features only" in figure.caption
    told = tooltips(figure)
    assert len([text for text in told if "out of reach of the arm or its baseline" in text]) == 4  # points and bars
    assert any(
        text.startswith("lmax=2, quantity=quadrupole: quadrupole, l = 2: −58.0 % [−60.0, −56.0]") for text in told
    )


def test_the_benefit_is_of_hidden_features_alone(tables):
    levels = {arm: dict(given) for arm, given in tables.study.levels.items()}
    levels[label(2, "dipole")]["network.layers"] = "4"
    other = load(table(crossed_rows()), [], [], info(**(vars(tables.study) | {"levels": levels})))
    assert label(2, "dipole") not in set(benefit(other)["arm"])
    assert label(1, "dipole") in set(benefit(other)["arm"])
    assert list(benefit_figures(analyse(dipole_tables(RELATIVE)))) == []


def test_each_target_has_its_figures(tables, page):
    sections = by_group(
        tables, lambda part: [*error_figures(part, analyse(part).arms), *learning_figures(part, learning_curves(part))]
    )
    assert [section.title for section in sections] == ["Energy", "Density", "Quadrupole", "Dipole"]
    energy, density = ([figure.name for figure in section.figures] for section in sections[:2])
    assert energy == ["error-by-arm-1", "change-by-arm-1", "error-against-cost-1", "learning-1"]
    assert density[2:] == ["error-by-order-2", "error-against-cost-2", "learning-2", "learning-by-order-2"]
    for section, quantity in zip(sections, TARGETS, strict=True):
        for figure in section.figures:
            assert {name for name in TARGETS if f"quantity={name}" in str(figure.svg)} == {quantity}
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert page.index('id="benefit-by-order"') < page.index("<h3>Energy</h3>") < page.index('id="error-by-arm-1"')


def test_errors_by_order_are_a_table(tables, page):
    (density,) = [found for part in tables.by_group() for found in order_tables(part) if found.metric == RELATIVE]
    assert density.orders == (0, 1, 2, 3, 4)
    assert density.whole
    assert density.unreachable == {(label(0, "density"), 4)}
    errors = dict(density.rows)[label(1, "density")]
    for order, metric in ((3, f"{RELATIVE}.l3"), (None, RELATIVE)):
        alone = arm_errors(tables.trials, metric, [label(1, "density")], 4)[0].error
        assert (errors[order].value, errors[order].low, errors[order].high) == (alone.value, alone.low, alone.high)
    shown = page.split("<summary>Errors by order of the output</summary>")[1].split("</details>")[0]
    assert shown.count("<table>") == 2
    assert len(re.findall(r"\] †</td>", shown)) == 2
    assert "relative error of the density, %" in words(shown)


def test_the_parts_of_the_density_error_stand_beside_the_floor():
    rows = [row | {f"metric.test.block_epsilon.l{k}": 0.1 for k in range(3)} for row in trial_rows()]
    tables = load(table(rows), [], [], info())
    found = {one.metric: one for one in order_tables(tables)}["test.block_epsilon"]
    assert found.rows[0][1][None] == arm_errors(tables.trials, "test.epsilon", ["lmax=0"], 4)[0].error
    assert re.search(r"<td>fit floor</td><td class=\"number\">1\.06</td>\s*<td class=\"number\">–", report(tables))


def test_the_floor_stands_beside_errors_of_a_density(tables, page):
    text = words(page)
    assert "the fit itself deviates from the SCF density by ε = 1.06 %, the fit floor." in findings(analyse(tables))[-2]
    errors = "0.00120 e in the number of electrons, 0.00340 e bohr in the dipole and 0.00800 % in the self-repulsion"
    assert f"Mean absolute errors of the fit: {errors} energy." in text
    alone = load(table(trial_rows()), [], [], info())
    for name in ("error-by-arm", "error-against-cost"):
        (figure,) = [figure for figure in error_figures(alone, analyse(alone).arms) if figure.name == name]
        assert "fit floor: 1.06 %" in tooltips(figure)
        assert figure.caption.endswith("Dashed: the fit floor, ε of the fitted density against the SCF density.")
    rounding = ReferenceInfo(fit_error=1.0, electron_error=2e-15, dipole_error=0.5)
    misses = "of the fit: less than 10⁻⁶ e in the number of electrons and 0.500 e bohr in the dipole."
    assert misses in " ".join(floor_details(info(reference=rounding)))
    sections = by_group(
        tables, lambda part: [*error_figures(part, analyse(part).arms), *learning_figures(part, learning_curves(part))]
    )
    for section in sections:
        for figure in section.figures:
            if not figure.name.startswith("change"):
                assert figure.caption.endswith("fit floor is 1.06 %.") == (section.title == "Density")
    unknown = info(reference=ReferenceInfo(method="PBE0"))
    assert "its own error against the SCF density, the fit floor, is unknown" in floor_details(unknown)[0]
    bare = load(table(trial_rows()), [], [], unknown)
    assert not any("Dashed" in figure.caption for figure in error_figures(bare, analyse(bare).arms))
    assert fit_errors(dipole_tables(RELATIVE).study) is None
    assert floor_details(dipole_tables(RELATIVE).study) == []


def reference(path, columns, **metadata):
    made = pa.table({"method": ["PBE0"] * 3, "basis": ["def2-SVP"] * 3, "converged": [True, True, False]} | columns)
    pq.write_table(made.replace_schema_metadata({f"tesseral.{k}": v for k, v in metadata.items()}), path)


def test_the_fit_is_read_from_the_reference_data(tmp_path):
    (tmp_path / "reference").mkdir()
    path, study = tmp_path / "reference" / "none.parquet", Study.parse(CROSSED, "t")
    fit = {"fit_error": [1.0, 2.0, 90.0], "electron_error": [-0.002, 0.004, 9.0], "self_repulsion_error": [None] * 3}
    reference(path, fit | {"auxiliary_basis": ["a"] * 3, "dipole_error": [0.1, 0.3, 9.0]})
    found = study_info(study, tmp_path).reference
    assert (found.structures, found.method, found.auxiliary_basis, found.fit_error) == (2, "PBE0", "a", 1.5)
    assert (found.electron_error, found.dipole_error) == (pytest.approx(0.003), pytest.approx(0.2))
    assert found.self_repulsion_error is None
    # Imported labels: no fit, and perhaps no method.
    reference(path, {"method": pa.nulls(3, pa.string()), "auxiliary_basis": pa.nulls(3, pa.string())})
    assert study_info(study, tmp_path).reference == ReferenceInfo(basis="def2-SVP", structures=2)


def test_units_of_labels_are_those_that_the_data_declare(tmp_path):
    (tmp_path / "reference").mkdir()
    declared = {"strain": {"irreps": "1x2e+1x0e", "unit": "bohr^3", "per": "structure"}}
    text = CROSSED.replace('"quadrupole"', '"label:strain"')
    study = Study.parse(text, "t")
    assert study_info(study, tmp_path).target_of(label(0, "label:strain")).unit == ""
    reference(tmp_path / "reference" / "none.parquet", {}, labels=json.dumps(declared))
    target = study_info(study, tmp_path).target_of(label(0, "label:strain"))
    assert (target.name, target.unit, target.orders) == ("label strain", "bohr^3", (0, 2))
    assert describe("test.error", target).axis == "error, bohr³"
    assert describe("test.error", target).noun == "the error of the label strain"


def test_blocks_are_added_by_the_change_within_a_target(tmp_path):
    """Dipoles vary by 1 % against each other and by a factor of e against energies: their width is met."""
    rows = []
    for block in range(11):
        for arm, size in ((label(0, "energy"), 1.0), (label(0, "dipole"), 2.0), (label(1, "dipole"), 1.5)):
            factor = 2.718 ** (block % 2) if "dipole" in arm else 1.0
            wobble = 1 + 0.002 * (block % 3) * (arm == label(1, "dipole"))
            rows.append(trial_rows()[0] | {
                "arm": arm, "block": block, "replicate": 0, "metric.test.relative_error": size * factor * wobble,
            })  # fmt: skip
    arms = (label(0, "energy"), label(0, "dipole"), label(1, "dipole"))
    targets = dict(zip(arms, (TargetLabel(QUANTITIES["energy"]), DIPOLE, DIPOLE), strict=True))
    own = dict(zip(arms, (arms[0], arms[1], arms[1]), strict=True))
    given = {"arms": arms, "baseline": arms[0], "targets": targets, "metric": RELATIVE, "replicates": 1}
    sequential = {"blocks": 3, "sequential": True, "precision": 5.0, "max_blocks": 20}
    tables = load(table(rows), [], [], info(**given, **sequential, baselines=own))
    comparisons = [row.comparison for row in analyse(tables).arms if row.comparison is not None]
    assert [found.stopped for found in allocate(tables, comparisons)] == [None, None, "precision"]
    page = words(report(tables))
    assert page.count("<td>baseline</td>") == 2
    assert not any("more blocks will be added" in told for told in findings(analyse(tables)))
    crossed = load(table(rows), [], [], info(**given, **sequential))
    assert [found.stopped for found in allocate(crossed, comparisons)] == [None, None, None]


def test_an_unfinished_study_of_targets_has_a_report(tmp_path):
    rows = [row | ({"state": "running"} if "dipole" in row["arm"] else {}) for row in crossed_rows()]
    tables = crossed_tables(tmp_path, rows)
    page = words(report(tables))
    assert "Preliminary: 72 of 96 trials are complete." in page
    assert "dipole" not in set(benefit(tables)["target"])
    assert load(table([]), [], [], tables.study).trials.is_empty()
    assert "nothing to compare yet" in report(load(table([]), [], [], tables.study))


def test_parameters_are_weighed_within_a_target(tables):
    """Networks of different targets may differ in size, for they are not compared."""
    sizes = dict(zip(TARGETS, (1000, 2000, 3000, 4000), strict=True))
    rows = [row | {"parameters": sizes[row["target"]]} for row in crossed_rows()]
    assert not any("not matched" in told for told in findings(analyse(load(table(rows), [], [], tables.study))))
    rows[0] = rows[0] | {"parameters": 1500}
    mixed = [row | ({"parameters": 1500} if row["arm"] == label(0, "energy") else {}) for row in rows]
    assert any(
        "(1,000 to 4,000 parameters)" in told for told in findings(analyse(load(table(mixed), [], [], tables.study)))
    )


def test_trials_of_a_target_alone_are_a_study(tables):
    parts = tables.by_group()
    assert [part.study.baseline for part in parts] == [label(0, quantity) for quantity in TARGETS]
    assert sum(part.trials.height for part in parts) == tables.trials.height
    assert all(part.trials.filter(~pl.col("arm").is_in(list(part.study.arms))).is_empty() for part in parts)
    (alone,) = parts[0].by_group()
    assert alone is parts[0]
