"""Forces as minus the gradient of an energy, so that energy is conserved; trained on forces and, if there, energies
and stresses."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.data.batch import PropertyBatch
from tesseral.models.networks.graph import EdgeBasis, Graph, at_positions
from tesseral.models.targets.loss import inverse_square
from tesseral.models.targets.pooling import atoms
from tesseral.models.targets.property import PropertyTarget
from tesseral.models.targets.stress import cartesian, stress_of
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
    stress: Tensor | None = None
    """(structures, 6), 0e+2e, hartree/bohr³; None where no structure is periodic. It is NaN for a structure that does
    not repeat along three axes, and an error is NaN too where the reference has none."""


class ForceTarget(Target[PropertyBatch, EnergyForces]):
    """E = Σ_i a(Z_i) + factor · Σ_i output_i and F = −∂E/∂r.

    The numbers a are the atomic references of an energy, fitted to the energies; 0 where the reference has none. With
    scale `spread` the factor makes the root mean square of the first forces' components `START` times that of the
    reference's. It is measured, since the change of a network's outputs within 1 Å before training differs by two
    orders of magnitude between kinds of layers. Harmonics and radial values are computed from the positions at each
    step, so that a gradient reaches the positions, and a second gradient goes through it. A periodic structure has a
    stress too, by `stress_of`.

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

    def calibrate(self, network: Module, batches: Iterable[PropertyBatch]) -> None:
        """Scale the factor so that this network's first forces have the size that the class states.

        If no position changes the network's energy, no factor can help, and it stays as it is.

        :param network: untrained, in evaluation mode.
        :param batches: structures of the training split, `SAMPLE` suffice.
        """
        if self.energy.scale != "spread":
            return
        with torch.no_grad():
            forces = torch.cat([self.predict(network, batch.graph).forces for batch in batches])
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
        """Energy, forces and stress; a gradient passes to the network's weights if gradients are on.

        :param network: in training or evaluation mode.
        :param graph: its harmonics and radial values are computed anew from its positions.
        :returns: float64.
        """
        return differentiated(lambda moved: self.read(network(moved), moved), graph, self.edges)

    def error(self, prediction: EnergyForces, batch: PropertyBatch) -> EnergyForces:
        """Prediction less reference; of the energies and stresses only where the reference has them.

        :param prediction: energy, forces and stress.
        :param batch: the structures that they are for.
        """
        energy = None
        if prediction.energy is not None and batch.energy is not None:
            energy = prediction.energy - batch.energy
        stress = None
        if prediction.stress is not None and batch.stress is not None:
            stress = prediction.stress - batch.stress
        return EnergyForces(energy, prediction.forces - batch.values, stress)

    def build_loss(
        self, settings: configuration.Loss, structures: Sequence[PropertyBatch]
    ) -> Loss[EnergyForces, PropertyBatch]:
        """As `Target.build_loss`.

        :param settings: of which the weights of forces, energy and stress count.
        :param structures: of the training split.
        :raises DataError: if only energies have a weight, and the reference has none.
        """
        if not settings.forces and structures[0].energy is None:
            raise DataError("loss.forces: expected a weight above 0, for the reference data have no energies, got 0")
        stresses = [structure.stress for structure in structures if structure.stress is not None]
        known = torch.cat(stresses) if stresses else self.spread.new_zeros(0, 6)
        known = known[known.isfinite().all(dim=1)]
        size = known.square().sum(dim=1).mean() if len(known) else self.spread.new_zeros(())
        return ForceLoss(self.spread, size, forces=settings.forces, energy=settings.energy, stress=settings.stress)

    def sums(self, error: EnergyForces, batch: PropertyBatch) -> dict[str, Tensor]:
        """Σ|ΔF|, ΣΔF², ΣF², Σ|ΔF| of components, Σ|ΔE|, Σ|ΔE|/N, Σ|Δσ|, Σ|Δσ| of components and their numbers.

        :param error: ΔE, hartree, ΔF, hartree/bohr, and Δσ, hartree/bohr³.
        :param batch: the structures that it is for.
        :returns: name → (), float64.
        """
        energy = error.forces.new_zeros(0) if error.energy is None else error.energy
        sizes = atoms(batch.graph, error.forces)[: energy.numel()]
        stress = error.forces.new_zeros(0, 6) if error.stress is None else error.stress
        stress = stress[stress.isfinite().all(dim=1)]
        tensors = cartesian(stress)
        six = torch.stack([tensors[:, a, b] for a in range(3) for b in range(a, 3)], dim=1)
        return {
            "length": error.forces.norm(dim=1).sum(),
            "error": error.forces.square().sum(),
            "spread": batch.values.square().sum(),
            "atoms": error.forces.new_tensor(len(error.forces)),
            "energy": energy.abs().sum(),
            "energies": error.forces.new_tensor(energy.numel()),
            "components": error.forces.abs().sum(),
            "energy_per_atom": (energy.abs().flatten() / sizes).sum(),
            "stress": stress.norm(dim=1).sum(),
            "stresses": error.forces.new_tensor(len(stress)),
            "stress_components": six.abs().sum(),
        }

    def values(self, sums: dict[str, Tensor]) -> list[Value]:
        """`error`, `relative_error`, `component_mae` and `component_rmse` of the forces, `energy_error` and
        `energy_error_per_atom` where there are energies, `stress_error` and `stress_component_mae` where there are
        stresses.

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
        if sums["stresses"] > 0:
            components = float(sums["stress_components"] / (6 * sums["stresses"]))
            values.append(Value("stress_error", None, float(sums["stress"] / sums["stresses"])))
            values.append(Value("stress_component_mae", None, components))
        return values


def differentiated(energy_of: Callable[[Graph], Tensor], graph: Graph, edges: EdgeBasis) -> EnergyForces:
    """An energy with its forces −∂E/∂r and, of periodic structures, its stress.

    A gradient passes to the weights behind the energy if gradients are on.

    :param energy_of: from a graph to the energies, (structures, 1), hartree.
    :param graph: its harmonics and radial values are computed anew from its positions.
    :param edges: the edge basis that the graph was built with.
    :returns: float64.
    """
    wanted, periodic = torch.is_grad_enabled(), graph.shift.shape[0] > 0
    # Forces are a gradient, also where gradients are off because nothing is trained.
    with torch.enable_grad():
        positions = graph.positions.detach().requires_grad_()
        strain = positions.new_zeros(graph.size, 3, 3).requires_grad_() if periodic else None
        moved = at_positions(graph, positions, edges, strain)
        energy = energy_of(moved)
        gradients: list[Tensor | None] = [None, None]
        if energy.requires_grad:
            # Structures share no edge, so the gradient of the summed energies holds each one's own. Only training
            # takes a second gradient, and needs the graph of the first.
            inputs = [positions] if strain is None else [positions, strain]
            gradients = list(torch.autograd.grad(energy.sum(), inputs, create_graph=wanted, allow_unused=True))
    # A network of the user's own may not look at the positions.
    by_positions, *by_strain = (
        torch.zeros_like(of) if gradient is None else gradient
        for of, gradient in zip([positions, strain], gradients, strict=False)
        if of is not None
    )
    return EnergyForces(
        energy if wanted else energy.detach(),
        -BOHR * by_positions.double(),
        stress_of(by_strain[0].double(), graph) if by_strain else None,
    )


class ForceLoss(Module):
    """The mean over structures of 1/N · [w_F · Σ|ΔF|²/(3 s_F²) + w_E · ΔE²/(s_F · 1 Å)²] + w_σ · |Δσ|²/s_σ², N the
    structure's atoms.

    s_F is the root mean square of a force's components over the training split. Energies count where the reference has
    them, in units of what such a force does over 1 Å. In units of their own spread, which is small where all structures
    are of one molecule, they kept 625 steps from learning any force.
    |σ|² is the sum over the nine components, and s_σ² its mean over the structures that have a stress.

    :param spread: s_F, (), hartree/bohr.
    :param stress_square: s_σ², (), (hartree/bohr³)²; 0 where no structure has a stress.
    :param forces: w_F.
    :param energy: w_E.
    :param stress: w_σ.
    """

    weight: Tensor
    """Weights of (ΔF)², (ΔE)² and (Δσ)², shape (3,)."""

    def __init__(self, spread: Tensor, stress_square: Tensor, *, forces: float, energy: float, stress: float) -> None:
        super().__init__()
        scales = [inverse_square(spread), inverse_square(spread / BOHR), inverse_square(stress_square.sqrt())]
        weight = torch.stack(scales)
        self.register_buffer("weight", weight * weight.new_tensor([forces, energy, stress]))

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
        if error.stress is not None:
            known = error.stress.where(error.stress.isfinite(), 0.0)
            loss = loss + self.weight[2] * known.square().sum()
        return loss / batch.size

    def denominator(self, batch: PropertyBatch) -> int:
        """Structures."""
        return batch.size
