"""The layout inside convolutions: a block for each irrep, its channels last, so that a matrix product mixes them.

e3nn's layout has one row for each atom, in which channels stand outside and components inside: (channels, 2l+1) for
each irrep. Features have it at the borders of every layer. Inside, each irrep has a tensor of its own, its block,
(atoms, 2l+1, channels).
"""

from collections.abc import Sequence

from torch import Tensor, cat


def to_blocks(features: Tensor, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """A block for each irrep.

    :param features: (atoms, Σ channels · (2l+1)), in e3nn's layout.
    :param shapes: channels and 2l+1 of each irrep.
    :returns: for each irrep, (atoms, 2l+1, channels).
    """
    parts = features.split([mul * dim for mul, dim in shapes], dim=1)
    return [
        part.reshape(-1, mul, dim).transpose(1, 2).contiguous() for part, (mul, dim) in zip(parts, shapes, strict=True)
    ]


def from_blocks(blocks: Sequence[Tensor]) -> Tensor:
    """Features in e3nn's layout.

    :param blocks: for each irrep, (atoms, 2l+1, channels); at least one.
    :returns: (atoms, Σ channels · (2l+1)).
    """
    return cat([block.transpose(1, 2).flatten(1) for block in blocks], dim=1)
