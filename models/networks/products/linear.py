"""The equivariant linear map, in e3nn's layout: e3nn's own module, or one operation."""

import torch
from e3nn import o3
from torch import Tensor

from tesseral.models.networks.products.fused.linear import LinearPath, LinearPlan, linear


class Linear(o3.Linear):
    """`o3.Linear`, its weights and its normalisation; with `backend` `fused`, one operation computes it.

    :param irreps_in: irreps that enter.
    :param irreps_out: irreps of the result; one that nothing enters is zero.
    """

    def __init__(self, irreps_in: o3.Irreps, irreps_out: o3.Irreps) -> None:
        super().__init__(irreps_in, irreps_out)
        self.backend = "portable"
        paths: list[LinearPath] = []
        for ins in self.instructions:
            rows, columns = ins.path_shape
            first = sum(path.rows * path.columns for path in paths)
            if rows and columns:
                paths.append(LinearPath(ins.i_in, ins.i_out, rows, columns, first, float(ins.path_weight)))
        terms, outs = ([(ir.dim, mul) for mul, ir in irreps] for irreps in (self.irreps_in, self.irreps_out))
        self.program = LinearPlan(terms, outs, paths, elements=1).text()

    def forward(self, features: Tensor) -> Tensor:
        """Mix the channels of each irrep.

        :param features: (atoms, irreps_in.dim).
        :returns: (atoms, irreps_out.dim).
        """
        if self.backend == "fused" and not torch.compiler.is_compiling():
            return linear(self.program, features, self.weight)
        mixed: Tensor = super().forward(features)
        return mixed
