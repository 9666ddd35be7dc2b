"""Slices of searches: which settings are hyperparameters, their values, and what was chosen."""

from dataclasses import replace

import polars as pl
import pytest

from tesseral.analysis.report.summary import to_dict
from tesseral.analysis.statistics.searches.slices import slices
from tesseral.analysis.tables.load import StudyTables, load
from tesseral.analysis.tables.search import SearchRecords
from tests.support.synthetic_study import info, table, trial_row

ARMS = ("lmax=0", "lmax=1")


def searched(settings: list[dict], best: int, **changes) -> StudyTables:
    """Two arms with one search each; the second has the settings of the first, but one batch size."""
    rows, made = [], []
    for index, arm in enumerate(ARMS):
        for number, each in enumerate(settings):
            trial = f"{index}{number}".rjust(64, "e")
            row = trial_row(index, 0, 0, stage="search", trial=trial, proposal=number)
            rows.append(row | {f"setting.{path}": value for path, value in each.items()} | changes)
            rows[-1]["metric.validation.l2_error"] = 1.0 + number + 10 * index
            if index:
                rows[-1]["setting.training.batch_size"] = 4
            made.append((arm, 0, number, trial))
    proposals = pl.DataFrame(made, schema=SearchRecords().proposals.schema, orient="row")
    chosen = {(arm, 0): {"trial": f"{index}{best}".rjust(64, "e")} for index, arm in enumerate(ARMS)}
    study = info(arms=ARMS, searches=1, objectives=("validation.l2_error",))
    return load(table(rows), [], [], study, SearchRecords(proposals, chosen))


SETTINGS = [
    {"training.batch_size": size, "network.interaction": kind, "network.widths": widths, "network.gate": gate}
    for size, kind, widths, gate in ((2, "gated", [1, 2], True), (4, "mace", [3], False), (8, "gated", [1, 2], None))
]


def test_hyperparameters_are_the_settings_that_differ_within_an_arm():
    found = slices(searched(SETTINGS, 1))
    by = {name[0]: part for name, part in found.partition_by("path", as_dict=True).items()}
    assert list(by) == ["network.gate", "network.interaction", "network.widths", "training.batch_size"]
    batch = by["training.batch_size"]
    assert batch.select("arm", "number", "value", "label", "error", "chosen").rows() == [
        ("lmax=0", 0, 2.0, "2", 1.0, False),
        ("lmax=0", 1, 4.0, "4", 2.0, True),
        ("lmax=0", 2, 8.0, "8", 3.0, False),
    ]
    assert by["network.widths"].filter(arm="lmax=1")["label"].to_list() == ["[1, 2]", "[3]", "[1, 2]"]
    assert by["network.interaction"]["value"].null_count() == 6
    assert by["network.interaction"]["arm"].to_list() == ["lmax=0"] * 3 + ["lmax=1"] * 3
    assert by["network.gate"]["label"].to_list() == ["true", "false"] * 2  # the third proposal has none


def test_widths_that_follow_from_a_match_are_no_hyperparameter():
    widths = [each | {"network.hidden.irreps": f"{4 * k}x0e"} for k, each in enumerate(SETTINGS, start=1)]
    assert "network.hidden.irreps" in set(slices(searched(widths, 1))["path"])
    matched = slices(searched(widths, 1, match="parameters"))
    assert matched.equals(slices(searched(SETTINGS, 1)))


def test_only_complete_proposals_count():
    tables = searched(SETTINGS, 1)
    state = pl.when(pl.col("proposal") == 2).then(pl.lit("pruned")).otherwise("state").alias("state")
    cut = slices(replace(tables, trials=tables.trials.with_columns(state)))
    assert cut.filter(path="training.batch_size")["value"].to_list() == [2.0, 4.0]
    assert slices(searched(SETTINGS, 1, state="failed")).is_empty()


def test_the_searches_of_a_study_have_them(tuned, tuned_results, results):
    found = slices(tuned)
    assert set(found["path"]) == {"training.learning_rate"}
    first = found.filter(arm="lmax=0")
    assert first["error"].to_list() == [0.9, 0.7, 0.8, 0.75]
    assert first["value"].to_list() == pytest.approx([1e-3, 3e-3, 4e-3, 7e-3])
    assert found.filter("chosen").select("arm", "number").rows() == [("lmax=0", 2), ("lmax=1", 4)]
    assert to_dict(tuned_results)["search"]["slices"] == found.to_dicts()
    assert slices(results.tables).is_empty()
