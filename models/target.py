"""The density as a network's target: from its outputs to auxiliary coefficients, and from those to Rackers' y."""

from math import sqrt
from typing import Literal

import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.auxiliary import AuxiliaryBasis


class DensityTarget(Module):
    """c = isolated + shift + factor · output, with shift and factor by element and shell.

    Rackers & Rao's y (arXiv 2210.04766) is

        y = (c − isolated) · 2√2 / N,    N = Shell.norm.

    c is the same number in their data (Psi4), in PySCF's and here: all three refer to functions of unit norm,
    χ = N r^l C_lm exp(−ar²) with Racah's harmonics C, so dividing by N is the only change of units. For a contracted
    shell N is the sum Σ_k d_k N_l(a_k), which may be negative: then so are 2√2/N and the factor, and y has the other
    sign than c.

    With scale `none`, outputs are y: factor = N/(2√2), shift = 0. With `shell`, `fit` sets factor to the spread of
    the shell over a training split and shift to its mean (l = 0 alone: the mean of any other would turn with the
    frame). Where an element lacks a shell, isolated, shift and factor are zero, and so is c.

    Every table has the shape (elements, columns of the basis's layout), elements by ascending atomic number.
    """

    isolated: Tensor
    """Coefficients of the isolated atoms, electron · bohr^(−3/2)."""
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

    def __init__(self, basis: AuxiliaryBasis, scale: Literal["shell", "none"]) -> None:
        super().__init__()
        self.scale = scale
        widths = [2 * order + 1 for mul, order, _ in basis.layout for _ in range(mul)]
        shell = torch.repeat_interleave(torch.arange(len(widths)), torch.tensor(widths))
        tables = torch.zeros(3, len(basis.shells), len(shell), dtype=torch.float64)
        for row, number in enumerate(sorted(basis.shells)):
            values = [
                (one.isolated, 2 * sqrt(2) / one.norm, one.charge)
                for one in basis.shells[number]
                for _ in range(2 * one.l + 1)
            ]
            tables[:, row, basis.columns(number)] = torch.tensor(values, dtype=torch.float64).T
        isolated, to_y, charge = tables
        self.register_buffer("isolated", isolated)
        self.register_buffer("to_y", to_y)
        self.register_buffer("charge", charge)
        self.register_buffer("shift", torch.zeros_like(to_y))
        self.register_buffer("factor", torch.where(to_y != 0, 1 / to_y, 0.0))
        self.register_buffer("order", (torch.tensor(widths)[shell] - 1) // 2)
        self.register_buffer("shell", shell)

    def fit(self, coefficients: Tensor, species: Tensor) -> None:
        """Set shift and factor from the atoms of a training split, if the scale is `shell`.

        factor² = mean over atoms and the 2l+1 components of (c − isolated − shift)². An element without atoms keeps
        what `none` has.

        :param coefficients: (atoms, columns).
        :param species: (atoms,) int64.
        """
        if self.scale == "none":
            return
        scalar = self.order == 0
        widths = torch.bincount(self.shell).double()
        for element in species.unique().tolist():
            values = coefficients[species == element].double() - self.isolated[element]
            mean = torch.where(scalar, values.mean(dim=0), 0.0)
            squares = (values - mean).square().mean(dim=0)
            by_shell = squares.new_zeros(len(widths)).index_add(0, self.shell, squares) / widths
            self.shift[element] = mean
            self.factor[element] = by_shell.sqrt()[self.shell]

    def forward(self, outputs: Tensor, species: Tensor) -> Tensor:
        """Coefficients of the density, electron · bohr^(−3/2), (atoms, columns), from outputs of that shape."""
        constant = (self.isolated + self.shift).index_select(0, species)
        return torch.addcmul(constant, self.factor.index_select(0, species), outputs)

    def y(self, coefficients: Tensor, species: Tensor) -> Tensor:
        """Rackers' y of coefficients, (atoms, columns)."""
        return (coefficients - self.isolated[species]) * self.to_y[species]
