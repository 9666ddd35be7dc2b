"""The density as a target: from outputs to auxiliary coefficients, and from those to Rackers' y."""

from collections.abc import Sequence
from math import sqrt
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.data.batch import DensityBatch
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.networks.graph import Graph
from tesseral.models.targets.loss import CoulombLoss, EqualLoss, OverlapLoss, RawLoss, weighted
from tesseral.models.targets.target import Loss, Target, Value
from tesseral.study import configuration
from tesseral.study.configuration.quantities import Quantity


class DensityTarget(Target[DensityBatch, Tensor]):
    """c = isolated + shift + factor · output, with shift and factor by element and shell.

    Rackers & Rao's y (arXiv 2210.04766) is

        y = (c − isolated) · 2√2 / N,    N = Shell.norm.

    Psi4 (their data), PySCF and this project have the same c: all refer to functions of unit norm,
    χ = N r^l C_lm exp(−ar²) with Racah's harmonics C, so dividing by N is the only change of units. For a contracted
    shell N is the sum Σ_k d_k N_l(a_k). It may be negative; then so are 2√2/N and the factor, and y has the opposite
    sign of c.

    With scale `none` outputs are y: factor = N/(2√2), shift = 0. With `spread`, `fit` sets the factor to the spread of
    the shell over a training split and, for l = 0 alone, the shift to its mean: a mean of any other order would turn
    with the frame. Where an element lacks a shell, isolated, shift and factor are zero, and so is c.

    Every table has the shape (elements, columns of the basis's layout), elements by ascending atomic number.

    :param quantity: one that is expanded in the auxiliary basis.
    :param basis: the shells that are predicted.
    :param scale: as `target.scale`.
    """

    isolated: Tensor
    """Coefficients of the isolated atoms, electron · bohr^(−3/2). All tables of coefficients have this unit."""
    mean: Tensor
    """Coefficients of the mean density over the training split: ρ̄ of `relative_error`."""
    shift: Tensor
    factor: Tensor
    to_y: Tensor
    """2√2/N; zero where an element lacks the shell."""
    charge: Tensor
    """∫χ of each function, bohr^(3/2)."""
    order: Tensor
    """(columns,) int64, l of each column."""
    shell: Tensor
    """(columns,) int64, number of the shell that the column is a component of."""

    def __init__(self, quantity: Quantity, basis: AuxiliaryBasis, scale: Literal["spread", "none"]) -> None:
        super().__init__()
        self.quantity = quantity
        self.outputs = basis.layout
        self.scale = scale
        self._fixed: WeakKeyDictionary[DensityBatch, dict[str, Tensor]] = WeakKeyDictionary()
        widths = [2 * order + 1 for mul, order, _ in basis.layout for _ in range(mul)]
        shell = torch.repeat_interleave(torch.arange(len(widths)), torch.tensor(widths))
        tables = torch.zeros(3, len(basis.shells), len(shell), dtype=torch.float64)
        for row, number in enumerate(sorted(basis.shells)):
            values = [
                (own.isolated, 2 * sqrt(2) / own.norm, own.charge)
                for own in basis.shells[number]
                for _ in range(2 * own.l + 1)
            ]
            tables[:, row, basis.columns(number)] = torch.tensor(values, dtype=torch.float64).reshape(-1, 3).T
        isolated, to_y, charge = tables
        self.register_buffer("isolated", isolated)
        self.register_buffer("mean", isolated.clone())
        self.register_buffer("to_y", to_y)
        self.register_buffer("charge", charge)
        self.register_buffer("shift", torch.zeros_like(to_y))
        self.register_buffer("factor", torch.where(to_y != 0, 1 / to_y, 0.0))
        self.register_buffer("order", (torch.tensor(widths)[shell] - 1) // 2)
        self.register_buffer("shell", shell)

    def standardise(self, structures: Sequence[DensityBatch]) -> None:
        """`fit` on the atoms of these structures.

        :param structures: of the training split.
        """
        self.fit(*_atoms(structures))

    def build_loss(
        self, settings: configuration.Loss, structures: Sequence[DensityBatch]
    ) -> Loss[Tensor, DensityBatch]:
        """As `Target.build_loss`.

        :param settings: resolved, its name one of the density's losses.
        :param structures: of the training split.
        :raises ValueError: if the name is not a density's loss, such as an unresolved `auto`.
        """
        return weighted(self._whole_loss(settings.name, structures), self.order, settings.orders)

    def _whole_loss(self, name: str, structures: Sequence[DensityBatch]) -> Module:
        match name:
            case "raw":
                return RawLoss(self.to_y)
            case "equal":
                coefficients, species = _atoms(structures)
                # Coefficients are in the precision of the training, the tables still in float64.
                y = self.y(coefficients.to(self.to_y.dtype), species)
                return EqualLoss(y, species, len(structures), to_y=self.to_y, order=self.order)
            case "coulomb":
                return CoulombLoss()
            case "overlap":
                return OverlapLoss()
            case _:
                raise ValueError(f"expected a resolved loss of a density, got {name!r}")

    def fit(self, coefficients: Tensor, species: Tensor) -> None:
        """Set the mean from the atoms of a training split, and shift and factor if the scale is `spread`.

        factor² = mean over atoms and the 2l+1 components of (c − isolated − shift)². An element without atoms keeps
        the values of scale `none`.

        :param coefficients: (atoms, columns), electron · bohr^(−3/2).
        :param species: (atoms,) int64, index of each atom's element.
        """
        self._fixed.clear()
        scalar = self.order == 0
        widths = torch.bincount(self.shell).double()
        for element in species.unique().tolist():
            values = coefficients[species == element].double() - self.isolated[element]
            mean = torch.where(scalar, values.mean(dim=0), 0.0)
            self.mean[element] = self.isolated[element] + mean
            if self.scale == "none":
                continue
            squares = (values - mean).square().mean(dim=0)
            by_shell = squares.new_zeros(len(widths)).index_add(0, self.shell, squares) / widths
            self.shift[element] = mean
            self.factor[element] = by_shell.sqrt()[self.shell]

    def forward(self, outputs: Tensor, species: Tensor) -> Tensor:
        """The coefficients that outputs stand for.

        :param outputs: (atoms, columns), without unit.
        :param species: (atoms,) int64, index of each atom's element.
        :returns: (atoms, columns), electron · bohr^(−3/2).
        """
        constant = (self.isolated + self.shift).index_select(0, species)
        return torch.addcmul(constant, self.factor.index_select(0, species), outputs)

    def read(self, outputs: Tensor, graph: Graph) -> Tensor:
        """As `forward`, with the elements of a graph.

        :param outputs: (atoms, columns).
        :param graph: of the same atoms.
        :returns: (atoms, columns), electron · bohr^(−3/2).
        """
        return self(outputs, graph.species)

    def y(self, coefficients: Tensor, species: Tensor) -> Tensor:
        """Rackers' y of coefficients, without unit.

        :param coefficients: (atoms, columns), electron · bohr^(−3/2).
        :param species: (atoms,) int64, index of each atom's element.
        :returns: (atoms, columns).
        """
        return (coefficients - self.isolated[species]) * self.to_y[species]

    def sums(self, error: Tensor, batch: DensityBatch) -> dict[str, Tensor]:
        """Σ∫Δρ² and Σ∫(ρ − ρ̄)² of the whole and by l, Σ∫ρ², Σ(Δy)² and Σy² by l, Σ|Δ electrons|, and counts.

        :param error: Δc, (atoms, columns), electron · bohr^(−3/2).
        :param batch: the structures that it is for.
        :returns: name → (), or (largest l + 1,) for sums by l; float64.
        """
        species, fixed = batch.graph.species, self._fixed_sums(batch)
        charges = (error * self.charge[species]).double().sum(dim=1)
        electrons = charges.new_zeros(batch.size).index_add(0, batch.graph.structure, charges).abs().sum()
        whole, by_order = batch.total_norms(error, fixed["members"])
        return {
            "error": whole,
            "norm": fixed["norm"],
            "spread": fixed["spread"],
            "error_by_order": by_order,
            "spread_by_order": fixed["spread_by_order"],
            "wrong": self._squares_by_order(error * self.to_y[species]),
            "total": fixed["total"],
            "electrons": electrons,
            "structures": charges.new_tensor(batch.size),
            "elements": charges.new_tensor(error.numel()),
        }

    def _fixed_sums(self, batch: DensityBatch) -> dict[str, Tensor]:
        """What no prediction changes, computed once for each batch: sums, and `members`."""
        if batch not in self._fixed:
            members = batch.members(self.order)
            spread, by_order = batch.total_norms(batch.values - self.mean[batch.graph.species], members)
            self._fixed[batch] = {
                "members": members,
                "norm": batch.squared_norms(batch.values).double().sum(),
                "spread": spread,
                "spread_by_order": by_order,
                "total": self._squares_by_order(self.y(batch.values, batch.graph.species)),
            }
        return self._fixed[batch]

    def _squares_by_order(self, y: Tensor) -> Tensor:
        """Σy² of each order l, float64."""
        squares = y.double().square().sum(dim=0)
        return squares.new_zeros(int(self.order.max()) + 1).index_add(0, self.order, squares)

    def values(self, sums: dict[str, Tensor]) -> list[Value]:
        """`l2_error`, `block_error` by l, `mse`, `electrons`, `relative_error` of the whole and by l.

        Left out are a `block_error` whose Σy² is zero, since nothing of that order is there to be predicted;
        `electrons` where no s shell is predicted; and a `relative_error` without spread.

        :param sums: of a whole split.
        """
        # Rounding can leave a vanishing ∫Δρ² just below zero.
        values = [Value("l2_error", None, 100 * (max(float(sums["error"]), 0.0) / float(sums["norm"])) ** 0.5)]
        values += [
            Value("block_error", order, 100 * (wrong / total) ** 0.5)
            for order, (wrong, total) in enumerate(zip(sums["wrong"].tolist(), sums["total"].tolist(), strict=True))
            if total
        ]
        values.append(Value("mse", None, float(sums["wrong"].sum()) / float(sums["elements"])))
        if bool((self.order == 0).any()):
            values.append(Value("electrons", None, float(sums["electrons"] / sums["structures"])))
        errors = [float(sums["error"]), *sums["error_by_order"].tolist()]
        spreads = [float(sums["spread"]), *sums["spread_by_order"].tolist()]
        values += [
            Value("relative_error", order, 100 * (max(error, 0.0) / spread) ** 0.5)
            for order, error, spread in zip([None, *range(len(errors) - 1)], errors, spreads, strict=True)
            if spread > 0
        ]
        return values


def _atoms(structures: Sequence[DensityBatch]) -> tuple[Tensor, Tensor]:
    """Coefficients, (atoms, columns), and elements, (atoms,), of all atoms of these structures."""
    values = torch.cat([structure.values for structure in structures])
    return values, torch.cat([structure.graph.species for structure in structures])
