"""Forces as minus the gradient of an energy: a network that conserves it, trained on forces and, if there, energies."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.data.data_set import Batch
from tesseral.models.networks.graph import EdgeBasis, Graph, at_positions
from tesseral.models.targets.property import PropertyTarget
from tesseral.models.targets.target import Target, Value
from tesseral.study import configuration
from tesseral.study.configuration.quantities import QUANTITIES
from tesseral.study.constants import BOHR
from tesseral.study.errors import DataError

START = 0.3
"""First forces over the reference's. Networks of all kinds of layers, trained for a short time on frames of one
drug-like molecule or of ten small ones, end within 4 % of their least error at 0.3, 5 % at 0.1, 17 % at 0.03, 29 % at 1
and 52 % at 3."""
SAMPLE = 32
"""Structures of the training split that first forces are taken of."""


class EnergyForces(NamedTuple):
    """A prediction, or its error; float64."""

    energy: Tensor
    """(structures, 1), hartree. Of an error (structures, 0) where the reference has no energies."""
    forces: Tensor
    """(atoms, 3), hartree/bohr."""


class ForceTarget(Target):
    """E = Σ_i a(Z_i) + factor · Σ_i output_i and F = −∂E/∂r.

    The numbers a are fitted to the energies, as those of an energy (0 where the reference has none). With scale
    `spread` the factor is what makes the root mean square of the first forces' components `START` times that of the
    reference's: what a network's outputs change by within 1 Å before training differs by two orders of magnitude
    between kinds of layers. Harmonics and radial values are computed again from the positions, so that the gradient
    reaches them, and a second one goes through it.

    :param settings: of the network, whose edges it has: what counts is in `EdgeBasis`.
    """

    spread: Tensor
    """(), root mean square of a force's components over the training split, hartree/bohr."""

    def __init__(self, settings: configuration.Network, elements: int, scale: Literal["spread", "none"]) -> None:
        super().__init__()
        self.edges = EdgeBasis.from_settings(settings)
        self.energy = PropertyTarget(QUANTITIES["energy"], elements, scale)
        self.outputs = self.energy.outputs
        self.register_buffer("spread", torch.ones((), dtype=torch.float64))

    def standardise(self, structures: Sequence[Batch]) -> None:
        """Atomic references, the forces' spread and the factor of outputs that change by one within 1 Å.

        :raises DataError: if all forces are zero.
        """
        if structures[0].energy.shape[1]:
            self.energy.fit(torch.cat([one.energy for one in structures]), [one.graph for one in structures])
        self.spread.copy_(torch.cat([one.values for one in structures]).square().mean().sqrt())
        if not self.spread:
            raise DataError("target.quantity: expected forces in the training split, all of them are zero")
        if self.energy.scale == "spread":
            self.energy.factor.copy_((self.spread / BOHR).expand(1))

    def calibrate(self, network: Module, structures: Sequence[Batch]) -> None:
        """The factor with which this network's first forces have their size: see the class.

        It stays as it is of a network whose energy no position changes, which no factor can mend.
        """
        if self.energy.scale != "spread":
            return
        with torch.no_grad():
            forces = torch.cat([self.predict(network, one.graph).forces for one in structures[:SAMPLE]])
        first = forces.square().mean().sqrt()
        if 0 < first < torch.inf:
            self.energy.factor.mul_(START * self.spread / first)

    def read(self, outputs: Tensor, graph: Graph) -> Tensor:
        """The energy, (structures, 1), hartree."""
        return self.energy.read(outputs, graph)

    def predict(self, network: Module, graph: Graph) -> EnergyForces:
        """Energy and forces; a gradient passes to the network's weights unless gradients are off."""
        wanted = torch.is_grad_enabled()
        with torch.enable_grad():
            positions = graph.positions.detach().requires_grad_()
            moved = at_positions(graph, positions, self.edges)
            energy = self.read(network(moved), moved)
            gradient = None
            if energy.requires_grad:
                (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=wanted, allow_unused=True)
        if gradient is None:  # a network of the user's own may not look at the positions
            gradient = torch.zeros_like(positions)
        return EnergyForces(energy if wanted else energy.detach(), -BOHR * gradient.double())

    def error(self, prediction: EnergyForces, batch: Batch) -> EnergyForces:
        """Prediction less reference; of the energies only where the reference has them."""
        energy = prediction.energy - batch.energy if batch.energy.shape[1] else batch.energy
        return EnergyForces(energy, prediction.forces - batch.values)

    def sums(self, error: EnergyForces, batch: Batch) -> dict[str, Tensor]:
        """Σ|ΔF|, ΣΔF², ΣF², Σ|ΔE| and their numbers."""
        return {
            "length": error.forces.norm(dim=1).sum(),
            "error": error.forces.square().sum(),
            "spread": batch.values.square().sum(),
            "atoms": error.forces.new_tensor(len(error.forces)),
            "energy": error.energy.abs().sum(),
            "energies": error.forces.new_tensor(error.energy.numel()),
        }

    def values(self, sums: dict[str, Tensor]) -> list[Value]:
        """error and relative_error of the forces, energy_error where there are energies."""
        found = [Value("error", None, float(sums["length"] / sums["atoms"]))]
        if sums["spread"] > 0:
            found.append(Value("relative_error", None, 100 * float(sums["error"] / sums["spread"]) ** 0.5))
        if sums["energies"] > 0:
            found.append(Value("energy_error", None, float(sums["energy"] / sums["energies"])))
        return found
