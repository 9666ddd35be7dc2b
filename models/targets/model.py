"""What a trial trains: a network and the target that its outputs stand for."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.data.batch import Batch
from tesseral.models.data.reference_file import Reference
from tesseral.models.data.target_columns import chosen_basis
from tesseral.models.networks.graph import Graph
from tesseral.models.networks.network import build_network
from tesseral.models.targets.density import DensityTarget
from tesseral.models.targets.forces import ForceTarget
from tesseral.models.targets.property import DipoleTarget, PropertyTarget
from tesseral.models.targets.target import Loss, Target
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.quantities import find_quantity

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Model(Module):
    """From a graph to what its target is: the coefficients of a density, an energy, a dipole."""

    def __init__(self, network: Module, target: Target[Any, Any]) -> None:
        super().__init__()
        self.network = network
        self.target = target

    def forward(self, graph: Graph) -> Any:
        """The target's prediction, see `Target`; of the density (atoms, columns of the basis's layout).

        :param graph: built with the network's edge basis.
        """
        return self.target.predict(self.network, graph)


def build_target(configuration: Configuration, reference: Reference) -> Target[Any, Any]:
    """The target of a configuration, before it is standardised, in float64 on the CPU.

    This is the one place where code is chosen by the kind of target; all else reads `Quantity`.

    :param configuration: of which target and network count.
    :param reference: its elements, auxiliary basis and labels count.
    :raises DataError: if the target is expanded in the auxiliary basis, and there is none.
    :raises StudyFileError: if there is no such label, or no such order in the basis.
    """
    target = configuration.target
    quantity, elements = find_quantity(target.quantity, reference.labels), len(reference.elements)
    if (basis := chosen_basis(reference, target)) is not None:
        return DensityTarget(quantity, basis, target.scale)
    match quantity.pooling:
        case "gradient":
            return ForceTarget(quantity, configuration.network, elements, target.scale)
        case "charges":
            return DipoleTarget(quantity, elements, target.scale)
        case _:
            return PropertyTarget(quantity, elements, target.scale)


def build_model(configuration: Configuration, reference: Reference, *, num_neighbors: float, seed: int) -> Model:
    """An untrained model in float64 on the CPU; round it once its target is standardised.

    :param configuration: of which target and network count.
    :param reference: as for `build_target`.
    :param num_neighbors: used if the configuration leaves it open.
    :param seed: all that the initial weights depend on.
    :raises DataError: as `build_target`.
    :raises StudyFileError: as `build_target` and `build_network`.
    """
    settings, target = configuration.network, build_target(configuration, reference)
    neighbors = settings.num_neighbors or num_neighbors
    elements = len(reference.elements)
    network = build_network(settings, elements, target.outputs, num_neighbors=neighbors, seed=seed)
    return Model(network, target)


def parted(indices: Sequence[int], parts: int) -> list[Sequence[int]]:
    """At most `parts` runs of the indices, in their order: none empty, their sizes equal or one apart.

    :param indices: of a batch.
    :param parts: 1 or more.
    """
    count = min(parts, len(indices))
    return [indices[i:j] for i, j in pairwise(len(indices) * k // count for k in range(count + 1))]


def partial_losses(model: Model, loss: Loss[Any, Any], batches: Sequence[Batch]) -> Iterator[Tensor]:
    """For each batch its part, (), of the loss of all batches together, computed when it is asked for.

    So the gradients of one can be taken, and its memory freed, before the next is computed.

    :param model: network and target.
    :param loss: of the target.
    :param batches: the parts of one batch.
    """
    whole = sum(loss.denominator(batch) for batch in batches)
    for batch in batches:
        mean = loss(model.target.error(model(batch.graph), batch), batch)
        yield mean if len(batches) == 1 else mean * (loss.denominator(batch) / whole)
