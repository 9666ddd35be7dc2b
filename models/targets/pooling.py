"""Poolings: from numbers on the atoms to numbers of a structure."""

from collections.abc import Callable

import torch
from torch import Tensor

from tesseral.models.networks.graph import Graph
from tesseral.study.constants import BOHR


def own(values: Tensor, graph: Graph) -> Tensor:
    """x_i of each atom as it is.

    :param values: (atoms, dim).
    :param graph: of the same atoms.
    :returns: (atoms, dim).
    """
    return values


def total(values: Tensor, graph: Graph) -> Tensor:
    """Σ_i x_i over the atoms of each structure.

    :param values: (atoms, dim).
    :param graph: of the same atoms.
    :returns: (structures, dim).
    """
    return values.new_zeros(graph.size, values.shape[1]).index_add(0, graph.structure, values)


def mean(values: Tensor, graph: Graph) -> Tensor:
    """Σ_i x_i / N over the atoms of each structure.

    :param values: (atoms, dim).
    :param graph: of the same atoms.
    :returns: (structures, dim).
    """
    return total(values, graph) / atoms(graph, values)[:, None]


def atoms(graph: Graph, like: Tensor) -> Tensor:
    """N, the number of atoms of each structure.

    :param graph: of one structure or several.
    :param like: a tensor of the precision and device wanted.
    :returns: (structures,).
    """
    return like.new_zeros(graph.size).index_add(0, graph.structure, like.new_ones(graph.structure.shape[0]))


POOLINGS: dict[str, Callable[[Tensor, Graph], Tensor]] = {"sum": total, "mean": mean, "atom": own}
"""Poolings that take one output of each atom, by `Quantity.pooling`."""


def dipole(charges: Tensor, dipoles: Tensor, graph: Graph) -> Tensor:
    """μ = Σ_i q_i (r_i − C) + d_i about the centre of nuclear charge C.

    q_i is the charge given plus (Q − Σ_j q_j) / N, so that charges add up to the total charge Q: then a shift of C
    changes μ as it changes that of the molecule.

    :param charges: (atoms, 1), e.
    :param dipoles: (atoms, 3), e·bohr.
    :param graph: its positions are relative to C.
    :returns: (structures, 3), e·bohr.
    """
    missing = (graph.charge.to(charges)[:, None] - total(charges, graph)) / atoms(graph, charges)[:, None]
    balanced = charges + missing.index_select(0, graph.structure)
    return total(balanced * graph.positions.to(charges) / BOHR + dipoles, graph)


def components(irreps: tuple[tuple[int, int, int], ...]) -> tuple[Tensor, Tensor, Tensor]:
    """For every component of irreps: l, the number of its copy, and whether it is invariant.

    :param irreps: terms (mul, l, p).
    :returns: three tensors of shape (dim,): int64, int64, bool.
    """
    copies = [(order, order == 0 and parity == 1) for mul, order, parity in irreps for _ in range(mul)]
    widths = torch.tensor([2 * order + 1 for order, _ in copies])
    copy = torch.repeat_interleave(torch.arange(len(copies)), widths)
    return torch.tensor([order for order, _ in copies])[copy], copy, torch.tensor([even for _, even in copies])[copy]
