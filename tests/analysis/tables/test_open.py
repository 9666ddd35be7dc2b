"""A study is opened with its arms, targets, groups and baselines, and with what its reference data declare."""

import json

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tesseral.analysis.report import summary
from tesseral.analysis.report.findings import findings
from tesseral.analysis.statistics.comparisons.paired import compare_arms
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.load import load
from tesseral.analysis.tables.open import open_study, study_info
from tesseral.analysis.tables.study_info import ReferenceInfo
from tesseral.analysis.terms.metric_label import describe
from tesseral.study.errors import TesseralError
from tesseral.study.records.ledger import frozen
from tesseral.study.records.rate_scan import PATH, ArmScan, RateScan, arms_hash, write_scan
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.support.synthetic_study import CROSSED, TARGETS, TUNED, crossed_rows, label, table, tuned_study

RELATIVE = "test.relative_error"


def reference(path, columns, **metadata):
    made = pa.table({"method": ["PBE0"] * 3, "basis": ["def2-SVP"] * 3, "converged": [True, True, False]} | columns)
    pq.write_table(made.replace_schema_metadata({f"tesseral.{k}": v for k, v in metadata.items()}), path)


def test_arms_of_a_target_stand_together_and_share_a_baseline(crossed):
    study = crossed.study
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
    results = analyse(tables)
    summaries = {row.arm: row for row in results.arms}
    arms = [label(k, "quadrupole") for k in range(3)]
    alone = compare_arms(tables.trials, RELATIVE, arms, arms[2], tables.study.sampling)
    assert [summaries[one.arm].comparison.change for one in alone] == [one.change for one in alone]
    assert findings(results)[0].startswith(f"Arms are compared with {label(2, 'dipole')}, as requested; the study")
    assert summary.to_dict(results)["own_baseline"] == label(0, "energy")
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


def test_the_fit_is_read_from_the_reference_data(tmp_path):
    (tmp_path / "reference").mkdir()
    path, study = tmp_path / "reference" / "none.parquet", Study.parse(CROSSED, "t")
    fit = {"fit_error": [1.0, 2.0, 90.0], "electron_error": [-0.002, 0.004, 9.0], "self_repulsion_error": [None] * 3}
    reference(path, fit | {"auxiliary_basis": ["a"] * 3, "dipole_error": [0.1, 0.3, 9.0]})
    fitted = study_info(study, tmp_path).reference
    assert (fitted.structures, fitted.method, fitted.auxiliary_basis, fitted.fit_error) == (2, "PBE0", "a", 1.5)
    assert (fitted.electron_error, fitted.dipole_error) == (pytest.approx(0.003), pytest.approx(0.2))
    assert fitted.self_repulsion_error is None
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


def test_trials_of_a_target_alone_are_a_study(crossed):
    parts = crossed.by_group()
    assert [part.study.baseline for part in parts] == [label(0, quantity) for quantity in TARGETS]
    assert sum(part.trials.height for part in parts) == crossed.trials.height
    assert all(part.trials.filter(~pl.col("arm").is_in(list(part.study.arms))).is_empty() for part in parts)
    (alone,) = parts[0].by_group()
    assert alone is parts[0]


def test_arms_that_matching_joined_are_one(tmp_path):
    study = Study.parse(TUNED.replace('where = ["network.hidden.lmax < 2"]', ""), "t")
    assert [arm.label for arm in study.arms] == ["lmax=0", "lmax=1", "lmax=2"]
    joined = study_info(study, tmp_path, ["lmax=0 = lmax=2", "lmax=1"])
    assert joined.arms == ("lmax=0 = lmax=2", "lmax=1")
    assert joined.baseline == "lmax=0 = lmax=2"
    assert study_info(study, tmp_path, ["lmax=1"]).arms == ("lmax=0", "lmax=1", "lmax=2")


def test_a_data_file_that_cannot_be_read_or_is_another_is_said(tmp_path):
    path = tmp_path / "reference" / "none.parquet"
    path.parent.mkdir()
    study = Study.parse(CROSSED, "t")
    assert study_info(study, tmp_path).doubts == ()  # a report needs no data
    reference(path, {"fit_error": [1.0, 2.0, 9.0]}, content="0" * 64)
    for hashes in ([], ["0" * 64], ["1" * 64, "0" * 64]):
        info = study_info(study, tmp_path, hashes=hashes)
        assert (info.doubts, info.reference.fit_error) == ((), 1.5)
    info = study_info(study, tmp_path, hashes=["1" * 64])
    (said,) = info.doubts
    assert f"{path} now holds other data (content 000000000000) than the trials were trained on" in said
    assert info.reference == ReferenceInfo()
    path.write_bytes(path.read_bytes()[:-20])
    (said,) = study_info(study, tmp_path).doubts
    assert said.startswith("expected a whole Parquet file, ")
    assert said.endswith("its labels and fit floor are left out.")


def test_a_recorded_scan_is_read_and_a_damaged_one_is_left_out(tmp_path):
    tuned_study(Store(tmp_path))
    store = Store(tmp_path).child("tuned")
    assert open_study(tmp_path, "tuned").study.scan is None
    scan = RateScan(arms_hash(frozen(store)), "l2_error", 0.25, (ArmScan("a", 0.01, (0.01,), (1.5,)),))
    write_scan(store, scan)
    assert open_study(tmp_path, "tuned").study.scan == scan
    (tmp_path / "tuned" / PATH).write_text("{")
    with pytest.warns(UserWarning, match="learning_rates.json is damaged"):
        assert open_study(tmp_path, "tuned").study.scan is None
