"""A trained model as a program of `torch.export`: weights and operations, which run without tesseral and e3nn."""

import io
import json
import warnings
from copy import deepcopy
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.nn import Module

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.networks.graph import Graph
from tesseral.models.networks.products.backend import choose_backend
from tesseral.models.prediction.trained_model import TrainedModel
from tesseral.models.reference.structure import Structure
from tesseral.study.configuration.quantities import QUANTITIES
from tesseral.study.constants import SYMBOLS
from tesseral.study.errors import DataError, StudyFileError

INPUTS = {
    "species": "(atoms,) int64, place of the atom's element in `elements`",
    "positions": "(atoms, 3), angstrom, relative to the centre of nuclear charge of the structure",
    "source": "(edges,) int64, atom that an edge comes from; both directions of each pair closer than `cutoff`",
    "destination": "(edges,) int64, atom that it leads to",
    "shift": "(edges, 3), angstrom, from the source to the image of it that is the neighbour; zeros in a molecule",
    "structure": "(atoms,) int64, number of the atom's structure",
    "charge": "(structures,), total charge, e",
}
"""Inputs of a program, in order; floats are in the precision of the weights."""
DENSITY = (
    "an atom's coefficients are those at its element's `columns`, 2l+1 of each of its `shells` in turn; a shell is "
    "Σ coefficients · N r^l exp(−exponents r²) Y_lm, primitives and shell of unit norm, exponents in bohr^-2; Y_lm are "
    "e3nn's real harmonics, m = −l..l about the polar axis y, so that l = 1 is x, y, z"
)
"""What the coefficients of a density mean, without this package."""
METADATA = "tesseral.json"
"""Extra file in a program that describes it."""


class Program(Module):
    """What is exported: from atoms and edges to the prediction, in the units of reference data.

    A model of forces gives its energy: minus its gradient by the positions, times 0.529177 Å/bohr, are the forces.

    :param model: that is exported.
    """

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        whole = deepcopy(model.model)
        choose_backend(whole, "portable", model.device)  # a program has the operations of PyTorch alone
        self.network, self.target = whole.network, whole.target
        self.edges, self.elements = model.edges, len(model.elements)

    def forward(
        self,
        species: Tensor,
        positions: Tensor,
        source: Tensor,
        destination: Tensor,
        shift: Tensor,
        structure: Tensor,
        charge: Tensor,
    ) -> Tensor:
        """The prediction of structures; inputs as `INPUTS`, positions relative to the centre of nuclear charge."""
        vectors = positions.index_select(0, source) - positions.index_select(0, destination) + shift
        harmonics, radial = self.edges.evaluate(vectors)
        elements = torch.nn.functional.one_hot(species, self.elements).to(positions.dtype)
        none = source[:0]
        graph = Graph(
            species=species,
            elements=elements,
            source=source,
            destination=destination,
            reverse=none,
            half=none,
            harmonics=harmonics,
            radial=radial,
            positions=positions,
            structure=structure,
            charge=charge,
            shift=shift,
            cell=positions.new_zeros(1, 3, 3).expand(charge.shape[0], 3, 3),
        )
        return self.target.read(self.network(graph), graph)


def sample(model: TrainedModel) -> Graph:
    """Three molecules of two or three atoms each, by whose graph operations are traced.

    :param model: whose elements, charges and cutoff they have.
    """
    apart = 0.3 * model.edges.cutoff
    numbers = tuple(islice(cycle(model.elements), 3))
    places = apart * np.array([[0.0, 0.1, 0.2], [1.0, 0.0, 0.1], [0.2, 0.9, 0.0]])
    sizes = (3, 2, 3)
    return model.graph([Structure("sample", numbers[:n], places[:n], model.charges[0]) for n in sizes])


def export_program(model: TrainedModel, graph: Graph) -> ExportedProgram:
    """Export a model for any number of atoms, edges and structures.

    :param model: on the CPU.
    :param graph: of `sample`.
    :raises StudyFileError: if `torch.export` cannot trace the network.
    """
    atoms, edges, structures = Dim("atoms", min=2), Dim("edges", min=2), Dim("structures", min=1)
    shapes = ({0: atoms}, {0: atoms}, {0: edges}, {0: edges}, {0: edges}, {0: atoms}, {0: structures})
    graph = graph._replace(shift=graph.positions.new_zeros(len(graph.source), 3))  # a molecule's is empty
    inputs = tuple(getattr(graph, name) for name in INPUTS)
    try:
        return torch.export.export(Program(model).eval(), inputs, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # torch.export raises whatever a module's Python does
        reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no reason is given'])[0]}"
        raise StudyFileError(
            "network", f"expected a network that torch.export can trace, got one that it cannot: {reason}"
        ) from error


def describe(model: TrainedModel) -> dict[str, Any]:
    """What a program's metadata say: trial, inputs, elements, cutoff, and what is predicted in which unit.

    :param model: that is exported.
    """
    quantity = QUANTITIES["energy"] if model.quantity.differentiated else model.quantity
    basis = model.basis
    return {
        "study": model.study,
        "trial": model.trial.id,
        "inputs": INPUTS,
        "elements": [SYMBOLS[number - 1] for number in model.elements],
        "charges": model.charges,
        "cutoff": model.edges.cutoff,
        "predicts": quantity.name,
        "irreps": "+".join(map(str, basis.layout if basis is not None else quantity.irreps or ())),
        "per": quantity.per,
        "unit": quantity.unit,
        "dtype": str(model.dtype).removeprefix("torch."),
    } | ({} if basis is None else _described(basis))


def _described(basis: AuxiliaryBasis) -> dict[str, Any]:
    """What turns the coefficients of a density into the density: the shells of each element and their columns."""
    parts = ("l", "exponents", "coefficients")
    return {
        "basis": basis.name,
        "density": DENSITY,
        "columns": {SYMBOLS[number - 1]: basis.columns(number) for number in basis.shells},
        "shells": {
            SYMBOLS[number - 1]: [{part: getattr(shell, part) for part in parts} for shell in shells]
            for number, shells in basis.shells.items()
        },
    }


def save_program(program: ExportedProgram, model: TrainedModel, path: Path) -> None:
    """Write a program with its description; `torch.export.load` reads it.

    :param program: of the model.
    :param model: that was exported.
    :param path: of the new file, `.pt2`; one that exists is replaced.
    :raises DataError: if it has another ending, or cannot be written.
    """
    if path.suffix != ".pt2":
        raise DataError(f"expected a file that ends in .pt2, got {path}")
    content = io.BytesIO()
    with warnings.catch_warnings():
        # Of tensors that are parts of a larger one, whole in the file all the same.
        warnings.filterwarnings("ignore", message="No complete tensor found in the group")
        torch.export.save(program, content, extra_files={METADATA: json.dumps(describe(model), indent=1)})
    try:
        path.write_bytes(content.getvalue())
    except OSError as error:
        raise DataError(f"expected to write {path}, it cannot be written: {error.strerror}") from None
