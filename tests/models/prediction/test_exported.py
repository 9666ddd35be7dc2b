"""An exported program gives what its model gives, of molecules that it was not traced with; forces by its gradient."""

import json

import pytest
import torch

from tesseral.models.prediction.exported import INPUTS, METADATA, export_program, sample, save_program
from tesseral.models.reference.structure import Structure
from tesseral.study.constants import BOHR
from tesseral.study.errors import DataError, StudyFileError
from tests.models.prediction.test_trained_model import structures
from tests.support.periodic_structures import CELL, NUMBERS, PLACES
from tests.support.trained_model import trained_model


def inputs(graph) -> dict[str, torch.Tensor]:
    """Of molecules, whose edges have no shift."""
    given = {name: getattr(graph, name) for name in INPUTS}
    return given | {"shift": given["shift"] if len(graph.shift) else graph.positions.new_zeros(len(graph.source), 3)}


def test_a_program_gives_energy_and_forces(tmp_path):
    model = trained_model("forces", dtype="float64")
    save_program(export_program(model, sample(model)), model, tmp_path / "model.pt2")
    found = {METADATA: ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=found).module()
    told = json.loads(found[METADATA])
    assert (told["elements"], told["predicts"], told["unit"]) == (["H", "O"], "energy", "hartree")
    assert list(told["inputs"]) == list(INPUTS)
    crystal = Structure("crystal", NUMBERS, PLACES, cell=CELL)
    for chosen in (structures()[:1], structures(), [crystal, *structures()]):
        graph = model.graph(chosen)
        expected = model(graph)
        given = inputs(graph)
        given["positions"] = given["positions"].clone().requires_grad_()
        energy = program(*given.values())
        (gradient,) = torch.autograd.grad(energy.sum(), given["positions"])
        torch.testing.assert_close(energy, expected.energy, rtol=0, atol=1e-10)
        torch.testing.assert_close(-BOHR * gradient, expected.forces, rtol=0, atol=1e-10)


def test_a_dipole_is_exported_with_the_charge():
    model = trained_model("dipole", dtype="float64", charged=True)
    program = export_program(model, sample(model)).module()
    graph = model.graph(structures())
    graph = graph._replace(charge=graph.charge + 1)
    torch.testing.assert_close(program(*inputs(graph).values()), model(graph), rtol=0, atol=1e-10)


class Wayward(torch.nn.Module):
    """A network whose operations depend on its numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, graph):
        return graph.elements[:, :1] * (self.weight if float(graph.positions.sum()) > 0 else -self.weight)


def test_what_cannot_be_exported_is_one_sentence(tmp_path):
    model = trained_model("energy", dtype="float64")
    with pytest.raises(DataError, match=r"expected a file that ends in \.pt2"):
        save_program(None, model, tmp_path / "model.onnx")
    model.model.network = Wayward()
    with pytest.raises(StudyFileError, match=r"a network that torch\.export can trace, got one") as caught:
        export_program(model, sample(model))
    assert "\n" not in str(caught.value)
