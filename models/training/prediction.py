"""Prediction: the density of any structure by a trained model."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tesseral.models.data.reference_file import Reference
from tesseral.models.data.target_columns import chosen_basis
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.networks.graph import EdgeBasis, Graph, build_graph
from tesseral.models.targets.model import Model
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.constants import SYMBOLS
from tesseral.study.errors import DataError, StudyFileError


def predict_density(
    model: Model,
    configuration: Configuration,
    reference: Reference,
    atomic_numbers: Sequence[int],
    positions: NDArray[np.float64],
    charge: int = 0,
) -> tuple[AuxiliaryBasis, list[Tensor]]:
    """Predict the density of a structure, as coefficients of an auxiliary basis.

    :param model: trained model, see `tesseral.models.training.checkpoint.restore_model`.
    :param configuration: configuration of the model's trial.
    :param reference: the trial's data.
    :param atomic_numbers: of each atom.
    :param positions: Å, shape (atoms, 3).
    :param charge: total charge, e.
    :returns: the auxiliary basis, restricted to the orders that the model predicts, and for each atom its coefficients,
        shape (basis.size(Z),), float64, e3nn's order, electron · bohr^(−3/2).
    :raises StudyFileError: if the model predicts another quantity than the density.
    :raises DataError: if the structure has an element that the model was not trained on, or two atoms at one place.
    """
    basis = chosen_basis(reference, configuration.target)
    if basis is None:
        raise StudyFileError(
            "target.quantity", f"expected a trial that predicts the density, got one of {configuration.target.quantity}"
        )
    graph = _graph(configuration, reference.elements, atomic_numbers, positions, charge)
    dtype = next(model.parameters()).dtype
    graph = Graph(*(part.to(dtype) if part.is_floating_point() else part for part in graph))
    with torch.no_grad():
        rows = model(graph).double()
    return basis, [row[basis.columns(number)] for number, row in zip(atomic_numbers, rows, strict=True)]


def _graph(
    configuration: Configuration,
    elements: Sequence[int],
    atomic_numbers: Sequence[int],
    positions: NDArray[np.float64],
    charge: int,
) -> Graph:
    """The graph of a structure as a data set builds it, with positions relative to the centre of nuclear charge."""
    unknown = sorted(set(atomic_numbers) - set(elements))
    if unknown:
        known, came = (", ".join(SYMBOLS[number - 1] for number in numbers) for numbers in (elements, unknown))
        raise DataError(f"expected the elements that the trial was trained on, {known}, got {came}")
    places, weights = torch.from_numpy(positions), torch.tensor(atomic_numbers, dtype=torch.float64)
    graph = build_graph(
        torch.tensor([elements.index(number) for number in atomic_numbers]),
        places,
        len(elements),
        EdgeBasis.from_settings(configuration.network),
        charge=charge,
    )
    return graph._replace(positions=places - weights @ places / weights.sum())
