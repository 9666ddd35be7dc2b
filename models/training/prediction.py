"""Prediction: the density of any structure by a trained model."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tesseral.models.data.reference_file import Reference
from tesseral.models.data.target_columns import chosen_basis
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.networks.graph import EdgeBasis, molecule_graph
from tesseral.models.targets.model import Model
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.errors import StudyFileError


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
    edges = EdgeBasis.from_settings(configuration.network)
    places = torch.from_numpy(positions)
    graph = molecule_graph(atomic_numbers, places, reference.elements, edges, charge=charge)
    graph = graph.to(torch.device("cpu"), next(model.parameters()).dtype)
    with torch.no_grad():
        rows = model(graph).double()
    return basis, [row[basis.columns(number)] for number, row in zip(atomic_numbers, rows, strict=True)]
