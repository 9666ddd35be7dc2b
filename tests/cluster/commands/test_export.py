"""`tesseral export --weights`: a trained network as a program that PyTorch runs alone."""

import json

import pytest
import torch
from typer.testing import CliRunner

from tesseral.cluster.commands.app import app
from tesseral.models import load
from tesseral.models.prediction.exported import INPUTS, sample
from tesseral.study.errors import DataError
from tesseral.study.records.ledger import Ledger
from tesseral.study.records.store import Store
from tests.support.trained_study import train_study


def export(*words: object):
    return CliRunner().invoke(app, ["export", *map(str, words)])


def test_a_program_predicts_as_its_trial(tmp_path):
    train_study(tmp_path, "dipole")
    trial = Ledger(Store(tmp_path).child("trained")).entries()[0].id
    done = export("trained", trial[:9], "--weights", tmp_path / "m.pt2", "--storage", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["trial"], told["predicts"], told["unit"]) == (trial, "dipole", "e bohr")
    model = load(tmp_path, "trained", trial)
    graph = sample(model)
    program = torch.export.load(tmp_path / "m.pt2").module()
    whole = graph._replace(shift=graph.positions.new_zeros(len(graph.source), 3))  # of molecules
    given = [getattr(whole, name) for name in INPUTS]
    torch.testing.assert_close(program(*given), model(graph).detach(), rtol=1e-6, atol=1e-6)


def test_what_has_no_weights_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="expected a study and a trial with --weights"):
        raise export("data.parquet", "--weights", tmp_path / "m.pt2").exception
    with pytest.raises(DataError, match="expected --weights alone"):
        raise export("trained", "3f", "--weights", "m.pt2", "--cube", "c.cube").exception
