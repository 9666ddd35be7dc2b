"""How far a user's own network is from the symmetries of molecules, found by running it on structures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
class Sample:
    """A structure of the data."""

    species: Tensor
    """(atoms,) int64, index of each atom's element."""
    positions: Tensor
    """(atoms, 3), Å, float64."""
    charge: float
    """Total charge, e."""
    cell: Tensor | None = None
    """(3, 3), Å, float64, lattice vectors as rows; None for a molecule."""

    def moved(self, matrix: Tensor, shift: Tensor) -> "Sample":
        """The structure turned, or inverted, and then moved.

        :param matrix: (3, 3), orthogonal.
        :param shift: (3,), Å.
        """
        matrix = matrix.to(self.positions)
        cell = None if self.cell is None else self.cell @ matrix.T
        return replace(self, positions=self.positions @ matrix.T + shift, cell=cell)

    def ordered(self, order: Tensor) -> "Sample":
        """The structure with its atoms in another order.

        :param order: (atoms,) int64.
        """
        return replace(self, species=self.species[order], positions=self.positions[order])

    def imaged(self) -> "Sample":
        """A periodic structure with its first atom at the place of its image."""
        if self.cell is None:
            return self
        step = self.cell.sum(dim=0)  # of an axis that does not repeat, the vector is zero
        return replace(self, positions=torch.cat([self.positions[:1] + step, self.positions[1:]]))


@dataclass(frozen=True)
class Asymmetry:
    """How far outputs are from what each symmetry demands, as shares of the largest output; 0 for an exact one."""

    rotation: float
    inversion: float
    translation: float
    permutation: float
    lattice_shift: float = 0.0
    """Of one atom of a periodic structure, to its own image."""

    @property
    def broken(self) -> bool:
        """Whether any is more than rounding."""
        return max(vars(self).values()) > TOLERANCE

    def __str__(self) -> str:
        broken = {name.replace("_", " "): share for name, share in vars(self).items() if share > TOLERANCE}
        return ", ".join(f"{100 * share:.2g} % under {name}" for name, share in broken.items())


def asymmetry(
    settings: Network, layout: tuple[MulIrrep, ...], elements: int, structures: Sequence[Sample]
) -> Asymmetry:
    """Run a user's untrained network on structures and on the same ones turned, inverted, moved and listed otherwise.

    A network that is random in evaluation mode differs from itself: what it differs by is no asymmetry.

    :param settings: the `network` section, whose `define` names the network.
    :param layout: irreps of the outputs of each atom.
    :param elements: number of elements.
    :param structures: that it is run on.
    :raises StudyFileError: if the network cannot be loaded, built or run.
    """
    build, irreps_out = load(settings.define or "", DEFINE), e3nn_irreps(layout)
    edges = EdgeBasis.from_settings(settings)

    def graph(of: Sample) -> Graph:
        cell = None if of.cell is None else of.cell.numpy()
        return build_graph(of.species, of.positions, elements, edges, charge=of.charge, cell=cell)

    worst = dict.fromkeys(("rotation", "inversion", "translation", "permutation", "lattice_shift"), 0.0)
    with raised_as_study_error(settings.define), initialising(0), torch.no_grad():
        network = UserNetwork(
            build, settings, elements=elements, irreps_out=irreps_out, num_neighbors=settings.num_neighbors or 4.0
        )
        stir(network)
        network.eval()
        rotation, inversion, same = o3.rand_matrix(), -torch.eye(3), torch.eye(3)
        shift, nowhere = torch.tensor([5.0, -7.0, 3.0]), torch.zeros(3)
        for sample in structures:
            order = torch.randperm(len(sample.species))
            still, again = (network(graph(sample)) for _ in range(2))
            turned, inverted = (sample.moved(matrix, nowhere) for matrix in (rotation, inversion))
            found = {
                "rotation": (network(graph(turned)), _turned(still, rotation, irreps_out)),
                "inversion": (network(graph(inverted)), _turned(still, inversion, irreps_out)),
                "translation": (network(graph(sample.moved(same, shift))), still),
                "permutation": (network(graph(sample.ordered(order))), still[order]),
                "lattice_shift": (network(graph(sample.imaged())), still),
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
