"""A trial is loaded from its records, with the numbers that it was judged by."""

import numpy as np
import pytest
import torch

from tesseral.models import load
from tesseral.models.data.groups import group_structures
from tesseral.models.data.references import open_reference
from tesseral.models.data.split import split_structures
from tesseral.models.reference.structure import Structure
from tesseral.study.errors import RecordError, TesseralError
from tesseral.study.records.ledger import Ledger
from tesseral.study.records.store import Store
from tests.support.trained_study import train_study


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("load")
    train_study(folder, "forces")
    return folder


def test_the_test_error_of_a_loaded_model_is_the_recorded_one(storage):
    entry = Ledger(Store(storage).child("trained")).entries()[0]
    model = load(storage, "trained", entry.id[:9])
    assert model.trial.id == entry.id
    reference = open_reference(str(storage), "reference/synthetic.parquet")
    data, seeds = model.trial.configuration.data, model.trial.seeds
    split = split_structures(
        data, group_structures(reference, data.groups), seeds.split, seeds.fold, holdout=seeds.holdout
    )
    rows = [reference.table.slice(index, 1).to_pylist()[0] for index in split.test]
    molecules = [Structure(row["id"], tuple(row["atomic_numbers"]), np.array(row["positions"])) for row in rows]
    lengths = [
        np.linalg.norm(predicted["forces"] - np.array(row["forces"]), axis=1)
        for predicted, row in zip(model.predict(molecules), rows, strict=True)
    ]
    assert np.concatenate(lengths).mean() == pytest.approx(model.metrics["test.error"], rel=1e-5)
    assert model.metrics["test.error"] == entry.outcome["metrics"]["test.error"]


def test_a_model_moves_and_saves_as_any_module(storage, tmp_path):
    entry = Ledger(Store(storage).child("trained")).entries()[0]
    model = load(str(storage), "trained", entry.id).double()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other = load(storage, "trained", entry.id).double()
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert not model.training


def test_what_cannot_be_loaded_is_one_sentence(storage):
    with pytest.raises(RecordError, match="got 'zz', which begins 0 ids"):
        load(storage, "trained", "zz")
    with pytest.raises(TesseralError, match="expected auto or one of cpu"):
        load(storage, "trained", Ledger(Store(storage).child("trained")).entries()[0].id, device="tpu")
