"""The shape of a data set: all that a network's size and cost depend on besides its configuration."""

from dataclasses import dataclass

from tesseral.study.parsing.irreps import MulIrrep


@dataclass(frozen=True)
class Shape:
    """What a network's size and cost depend on besides its configuration."""

    elements: int
    """Length of the one-hot."""
    layout: tuple[MulIrrep, ...]
    """Outputs for each atom: of the density `AuxiliaryBasis.layout`, else `Quantity.outputs`."""
    atoms: float
    """Mean atoms of a structure."""
    edges: float
    """Mean directed edges of a structure: pairs of atoms nearer than the cutoff, each counted both ways."""
