"""The equivariant linear map with separate weights for each element: a self-connection."""

import torch
from e3nn import o3
from torch import Tensor

from tesseral.models.networks.products.fused.linear import LinearPath, LinearPlan, linear
from tesseral.models.networks.products.layout import from_blocks, to_blocks
from tesseral.models.networks.seeding import initialising


class ElementLinear(o3.FullyConnectedTensorProduct):
    """`o3.FullyConnectedTensorProduct` with the one-hot of the elements, its weights and its normalisation.

    e3nn makes a matrix of weights for each atom. Here each irrep takes one matrix product: of the features beside zeros
    in the places of all other elements. With `backend` `reference` e3nn's own module computes it, with `fused` one
    operation.

    :param irreps_in: features of each atom.
    :param elements: number of elements.
    :param irreps_out: irreps of the result; one that does not enter is zero.
    """

    def __init__(self, irreps_in: o3.Irreps, elements: int, irreps_out: o3.Irreps) -> None:
        # Optimising the einsums of e3nn's program is most of the time to build; without a program, none can be copied.
        super().__init__(irreps_in, o3.Irreps([(elements, "0e")]), irreps_out, _optimize_einsums=False)
        self.backend = "portable"
        self._stock: list[o3.FullyConnectedTensorProduct] = []  # a list hides it from the state dict
        # Plain numbers for `forward`: torch.compile cannot trace irreps.
        self._entering = [(mul, ir.dim) for mul, ir in self.irreps_in1]
        self._made = [(ir.dim, mul) for mul, ir in self.irreps_out]
        # C of a product with a scalar is δ/√(2l+1), which the normalisation of e3nn's paths undoes.
        self.elements, self.paths = elements, list[LinearPath]()
        for ins in self.instructions:
            rows, _, columns = ins.path_shape
            first = sum(path.rows * elements * path.columns for path in self.paths)
            scale = float(ins.path_weight * self._made[ins.i_out][0] ** -0.5)
            self.paths.append(LinearPath(ins.i_in1, ins.i_out, rows, columns, first, scale))
        terms = [(dim, mul) for mul, dim in self._entering]
        self.program = LinearPlan(terms, self._made, self.paths, elements).text()

    def forward(self, features: Tensor, elements: Tensor) -> Tensor:
        """Mix the channels of each irrep, by the element of each atom.

        :param features: (atoms, irreps_in.dim).
        :param elements: (atoms, elements), one-hot.
        :returns: (atoms, irreps_out.dim).
        """
        if self.backend == "reference":
            return self._reference(features, elements)
        if not self._made:
            return features.new_zeros(features.shape[0], 0)
        if self.backend == "fused" and not torch.compiler.is_compiling():
            return linear(self.program, features, self.weight, elements.argmax(dim=1))
        blocks = to_blocks(features, self._entering)
        outputs: list[Tensor | None] = [None] * len(self._made)
        kinds, sizes = self.elements, [path.rows * self.elements * path.columns for path in self.paths]
        for path, weight in zip(self.paths, self.weight.split(sizes), strict=True):
            spread = (blocks[path.entering][:, :, None] * elements[:, None, :, None]).flatten(2)
            matrix = weight.reshape(path.rows, kinds, path.columns).transpose(0, 1).reshape(-1, path.columns)
            part, before = spread @ (matrix * path.scale), outputs[path.made]
            outputs[path.made] = part if before is None else before + part
        return from_blocks(
            [
                features.new_zeros(features.shape[0], *shape) if output is None else output
                for output, shape in zip(outputs, self._made, strict=True)
            ]
        )

    def _reference(self, features: Tensor, elements: Tensor) -> Tensor:
        if not self._stock:
            with initialising(0):  # in float64: coefficients are as precise as the dtype they are made in
                irreps = self.irreps_in1, self.irreps_in2, self.irreps_out
                stock = o3.FullyConnectedTensorProduct(*irreps, internal_weights=False, shared_weights=True)
            self._stock.append(stock.to(features.device, features.dtype))
        mixed: Tensor = self._stock[0](features, elements, self.weight)
        return mixed
