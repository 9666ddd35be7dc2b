"""The embedding of elements: what an atom is, in learned numbers."""

import torch
from torch import Tensor
from torch.nn import Module, Parameter


class Embedding(Module):
    """z_i W/√E: one row of a learned matrix for each of the E elements.

    Its mean square is that of the one-hot z, 1/E, as e3nn's linear maps would have it.

    :param elements: E.
    :param width: scalars made.
    """

    def __init__(self, elements: int, width: int) -> None:
        super().__init__()
        self.weight = Parameter(torch.randn(elements, width))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({' -> '.join(map(str, self.weight.shape))})"

    def forward(self, elements: Tensor) -> Tensor:
        """(atoms, elements), one-hot ↦ (atoms, width)."""
        return elements @ (self.weight * len(self.weight) ** -0.5)
