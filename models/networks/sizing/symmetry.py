"""How far a user's own network is from the symmetries of molecules, found by running it on structures."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from e3nn import o3
from torch import Tensor

from tesseral.models.networks.graph import EdgeBasis, Graph, build_graph
from tesseral.models.networks.irreps import e3nn_irreps
from tesseral.models.networks.seeding import initialising
from tesseral.models.networks.sizing.probe import stir
from tesseral.models.networks.user_network import DEFINE, UserNetwork, raised_as_study_error
from tesseral.study.configuration.network import Network
from tesseral.study.parsing.irreps import MulIrrep
from tesseral.study.parsing.user_function import load

TOLERANCE = 1e-3
"""Largest deviation that rounding in single precision may leave, as a share of the largest output."""


@dataclass(frozen=True)
class Asymmetry:
    """How far outputs are from what each symmetry demands, as shares of the largest output; 0 for an exact one."""

    rotation: float
    inversion: float
    translation: float
    permutation: float

    @property
    def broken(self) -> bool:
        """Whether any is more than rounding."""
        return max(vars(self).values()) > TOLERANCE

    def __str__(self) -> str:
        return ", ".join(f"{100 * share:.2g} % under {name}" for name, share in vars(self).items() if share > TOLERANCE)


def asymmetry(
    settings: Network, layout: tuple[MulIrrep, ...], elements: int, structures: Sequence[tuple[Tensor, Tensor, float]]
) -> Asymmetry:
    """Run a user's untrained network on structures and on the same ones turned, inverted, moved and listed otherwise.

    A network that is random in evaluation mode differs from itself: what it differs by is no asymmetry.

    :param settings: the `network` section, whose `define` names the network.
    :param layout: irreps of the outputs of each atom.
    :param elements: number of elements.
    :param structures: element of each atom, (atoms,) int64; positions, (atoms, 3), Å, float64; total charge, e.
    :raises StudyFileError: if the network cannot be loaded, built or run.
    """
    build, irreps_out = load(settings.define or "", DEFINE), e3nn_irreps(layout)
    edges = EdgeBasis.from_settings(settings)

    def graph(species: Tensor, positions: Tensor, charge: float) -> Graph:
        return build_graph(species, positions, elements, edges, charge=charge)

    worst = dict.fromkeys(("rotation", "inversion", "translation", "permutation"), 0.0)
    with raised_as_study_error(settings.define), initialising(0), torch.no_grad():
        network = UserNetwork(
            build, settings, elements=elements, irreps_out=irreps_out, num_neighbors=settings.num_neighbors or 4.0
        )
        stir(network)
        network.eval()
        rotation, inversion = o3.rand_matrix(), -torch.eye(3)
        shift = torch.tensor([5.0, -7.0, 3.0])
        for species, positions, charge in structures:
            order = torch.randperm(len(species))
            still, again = (network(graph(species, positions, charge)) for _ in range(2))
            found = {
                "rotation": (
                    network(graph(species, positions @ rotation.T, charge)),
                    _turned(still, rotation, irreps_out),
                ),
                "inversion": (network(graph(species, -positions, charge)), _turned(still, inversion, irreps_out)),
                "translation": (network(graph(species, positions + shift, charge)), still),
                "permutation": (network(graph(species[order], positions[order], charge)), still[order]),
            }
            largest = float(still.abs().max()) or 1.0
            noise = float((again - still).abs().max())
            for name, (came, expected) in found.items():
                share = max(float((came - expected).abs().max()) - 2 * noise, 0.0) / largest
                worst[name] = max(worst[name], share)
    return Asymmetry(**worst)


def _turned(outputs: Tensor, matrix: Tensor, irreps: o3.Irreps) -> Tensor:
    """Outputs, (atoms, dim), as the irreps of a rotation or inversion turn them."""
    return outputs @ irreps.D_from_matrix(matrix).to(outputs).T
