"""Forces as minus the gradient of an energy, so that energy is conserved; trained on forces and, if there, energies."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.data.batch import PropertyBatch
from tesseral.models.networks.graph import EdgeBasis, Graph, at_positions
from tesseral.models.targets.loss import inverse_square
from tesseral.models.targets.pooling import atoms
from tesseral.models.targets.property import PropertyTarget
from tesseral.models.targets.target import Loss, Target, Value
from tesseral.study import configuration
from tesseral.study.configuration.quantities import QUANTITIES, Quantity
from tesseral.study.constants import BOHR
from tesseral.study.errors import DataError

START = 0.3
"""Size of the forces before training over the size of the reference's. Networks of every kind of layer were trained for
a short time on frames of one drug-like molecule or of ten small ones: they end within 4 % of their least error at 0.3,
5 % at 0.1, 17 % at 0.03, 29 % at 1 and 52 % at 3."""
SAMPLE = 32
"""Structures of the training split on which the forces before training are measured."""


class EnergyForces(NamedTuple):
    """A prediction, or its error; float64."""

    energy: Tensor | None
    """(structures, 1), hartree. An error has None where the reference has no energies."""
    forces: Tensor
    """(atoms, 3), hartree/bohr."""


class ForceTarget(Target[PropertyBatch, EnergyForces]):
    """E = Σ_i a(Z_i) + factor · Σ_i output_i and F = −∂E/∂r.

    The numbers a are the atomic references of an energy, fitted to the energies; 0 where the reference has none. With
    scale `spread` the factor makes the root mean square of the first forces' components `START` times that of the
    reference's. It is measured, since the change of a network's outputs within 1 Å before training differs by two
    orders of magnitude between kinds of layers. Harmonics and radial values are computed from the positions at each
    step, so that a gradient reaches the positions, and a second gradient goes through it.

    :param quantity: one whose pooling is a gradient.
    :param settings: the `network` section, of which `EdgeBasis` reads the cutoff, harmonics and radial functions.
    :param elements: number of elements.
    :param scale: as `target.scale`.
    """

    spread: Tensor
    """(), root mean square of a force's components over the training split, hartree/bohr."""

    def __init__(
        self, quantity: Quantity, settings: configuration.Network, elements: int, scale: Literal["spread", "none"]
    ) -> None:
        super().__init__()
        self.quantity = quantity
        self.edges = EdgeBasis.from_settings(settings)
        self.energy = PropertyTarget(QUANTITIES["energy"], elements, scale)
        self.outputs = self.energy.outputs
        self.register_buffer("spread", torch.ones((), dtype=torch.float64))

    def standardise(self, structures: Sequence[PropertyBatch]) -> None:
        """Fit atomic references and the forces' spread; take outputs to change by one within 1 Å until `calibrate`.

        :param structures: of the training split.
        :raises DataError: if all forces are zero.
        """
        energies = [structure.energy for structure in structures if structure.energy is not None]
        if energies:
            self.energy.fit(torch.cat(energies), [structure.graph for structure in structures])
        self.spread.copy_(torch.cat([structure.values for structure in structures]).square().mean().sqrt())
        if not self.spread:
            raise DataError("target.quantity: expected forces in the training split, all of them are zero")
        if self.energy.scale == "spread":
            self.energy.factor.copy_((self.spread / BOHR).expand(1))

    def calibrate(self, network: Module, structures: Sequence[PropertyBatch]) -> None:
        """Scale the factor so that this network's first forces have the size that the class states.

        If no position changes the network's energy, no factor can help, and it stays as it is.

        :param network: untrained, in evaluation mode.
        :param structures: of the training split; the first `SAMPLE` are measured.
        """
        if self.energy.scale != "spread":
            return
        with torch.no_grad():
            forces = torch.cat([self.predict(network, structure.graph).forces for structure in structures[:SAMPLE]])
        first = forces.square().mean().sqrt()
        if 0 < first < torch.inf:
            self.energy.factor.mul_(START * self.spread / first)

    def read(self, outputs: Tensor, graph: Graph) -> Tensor:
        """The energy alone.

        :param outputs: (atoms, 1).
        :param graph: of the same atoms.
        :returns: (structures, 1), hartree, float64.
        """
        return self.energy.read(outputs, graph)

    def predict(self, network: Module, graph: Graph) -> EnergyForces:
        """Energy and forces; a gradient passes to the network's weights if gradients are on.

        :param network: in training or evaluation mode.
        :param graph: its harmonics and radial values are computed anew from its positions.
        :returns: energy and forces, float64.
        """
        wanted = torch.is_grad_enabled()
        # Forces are a gradient, also where gradients are off because nothing is trained.
        with torch.enable_grad():
            positions = graph.positions.detach().requires_grad_()
            moved = at_positions(graph, positions, self.edges)
            energy = self.read(network(moved), moved)
            gradient = None
            if energy.requires_grad:
                # Structures share no edge, so the gradient of the summed energies holds each one's own. Only training
                # takes a second gradient, and needs the graph of the first.
                (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=wanted, allow_unused=True)
        if gradient is None:  # a network of the user's own may not look at the positions
            gradient = torch.zeros_like(positions)
        return EnergyForces(energy if wanted else energy.detach(), -BOHR * gradient.double())

    def error(self, prediction: EnergyForces, batch: PropertyBatch) -> EnergyForces:
        """Prediction less reference; of the energies only where the reference has them.

        :param prediction: energy and forces.
        :param batch: the structures that they are for.
        """
        energy = None
        if prediction.energy is not None and batch.energy is not None:
            energy = prediction.energy - batch.energy
        return EnergyForces(energy, prediction.forces - batch.values)

    def build_loss(
        self, settings: configuration.Loss, structures: Sequence[PropertyBatch]
    ) -> Loss[EnergyForces, PropertyBatch]:
        """As `Target.build_loss`.

        :param settings: of which the weights of forces and energy count.
        :param structures: of the training split.
        :raises DataError: if only energies have a weight, and the reference has none.
        """
        if not settings.forces and structures[0].energy is None:
            raise DataError("loss.forces: expected a weight above 0, for the reference data have no energies, got 0")
        return ForceLoss(self.spread, forces=settings.forces, energy=settings.energy)

    def sums(self, error: EnergyForces, batch: PropertyBatch) -> dict[str, Tensor]:
        """Σ|ΔF|, ΣΔF², ΣF², Σ|ΔF| of components, Σ|ΔE|, Σ|ΔE|/N and their numbers.

        :param error: ΔE, hartree, and ΔF, hartree/bohr.
        :param batch: the structures that it is for.
        :returns: name → (), float64.
        """
        energy = error.forces.new_zeros(0) if error.energy is None else error.energy
        sizes = atoms(batch.graph, error.forces)[: energy.numel()]
        return {
            "length": error.forces.norm(dim=1).sum(),
            "error": error.forces.square().sum(),
            "spread": batch.values.square().sum(),
            "atoms": error.forces.new_tensor(len(error.forces)),
            "energy": energy.abs().sum(),
            "energies": error.forces.new_tensor(energy.numel()),
            "components": error.forces.abs().sum(),
            "energy_per_atom": (energy.abs().flatten() / sizes).sum(),
        }

    def values(self, sums: dict[str, Tensor]) -> list[Value]:
        """`error`, `relative_error`, `component_mae` and `component_rmse` of the forces, `energy_error` and
        `energy_error_per_atom` where there are energies.

        :param sums: of a whole split.
        """
        values = [Value("error", None, float(sums["length"] / sums["atoms"]))]
        if sums["spread"] > 0:
            values.append(Value("relative_error", None, 100 * float(sums["error"] / sums["spread"]) ** 0.5))
        numbers = 3 * sums["atoms"]
        values.append(Value("component_mae", None, float(sums["components"] / numbers)))
        values.append(Value("component_rmse", None, float(sums["error"] / numbers) ** 0.5))
        if sums["energies"] > 0:
            values.append(Value("energy_error", None, float(sums["energy"] / sums["energies"])))
            values.append(Value("energy_error_per_atom", None, float(sums["energy_per_atom"] / sums["energies"])))
        return values


class ForceLoss(Module):
    """The mean over structures of 1/N · [w_F · Σ|ΔF|²/(3 s_F²) + w_E · ΔE²/(s_F · 1 Å)²], N the structure's atoms.

    s_F is the root mean square of a force's components over the training split. Energies count where the reference has
    them, in units of what such a force does over 1 Å. In units of their own spread, which is small where all structures
    are of one molecule, they kept 625 steps from learning any force.

    :param spread: s_F, (), hartree/bohr.
    :param forces: w_F.
    :param energy: w_E.
    """

    weight: Tensor
    """Weights of (ΔF)² and (ΔE)², shape (2,)."""

    def __init__(self, spread: Tensor, *, forces: float, energy: float) -> None:
        super().__init__()
        weight = torch.stack([inverse_square(spread), inverse_square(spread / BOHR)])
        self.register_buffer("weight", weight * weight.new_tensor([forces, energy]))

    def forward(self, error: EnergyForces, batch: PropertyBatch) -> Tensor:
        """The loss of a batch.

        :param error: ΔE, hartree, and ΔF, hartree/bohr.
        :param batch: the structures that it is for.
        :returns: ().
        """
        graph = batch.graph
        atoms = error.forces.new_zeros(batch.size).index_add(
            0, graph.structure, error.forces.new_ones(len(error.forces))
        )
        squares = error.forces.square().mean(dim=1) / atoms.index_select(0, graph.structure)
        loss = self.weight[0] * squares.sum()
        if error.energy is not None:
            loss = loss + self.weight[1] * (error.energy[:, 0].square() / atoms).sum()
        return loss / batch.size

    def denominator(self, batch: PropertyBatch) -> int:
        """Structures."""
        return batch.size
