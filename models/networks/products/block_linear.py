"""The equivariant linear map of features in blocks: one matrix product for each pair of equal irreps."""

from collections.abc import Sequence

from e3nn import o3
from torch import Tensor

from tesseral.models.networks.products.fused.linear import LinearPath, LinearPlan, linear


class BlockLinear(o3.Linear):
    """`o3.Linear`, its weights and its normalisation, for features whose channels stand last.

    e3nn's own forward rearranges features for every matrix product. Blocks enter it as they are.

    :param irreps_in: irreps that enter, one block each.
    :param irreps_out: irreps of the result; one that nothing enters is zero.
    """

    def __init__(self, irreps_in: o3.Irreps, irreps_out: o3.Irreps) -> None:
        super().__init__(irreps_in, irreps_out, _optimize_einsums=False)  # of a program that is never run
        # Plain numbers for `forward`: torch.compile cannot trace irreps.
        used = [ins for ins in self.instructions if 0 not in ins.path_shape]
        self.paths: list[LinearPath] = []
        for ins in used:
            rows, columns = ins.path_shape
            first = sum(path.rows * path.columns for path in self.paths)
            self.paths.append(LinearPath(ins.i_in, ins.i_out, rows, columns, first, float(ins.path_weight)))
        self._sizes = [path.rows * path.columns for path in self.paths]
        self._shapes = [(ir.dim, mul) for mul, ir in self.irreps_out]
        self.program = LinearPlan([(ir.dim, mul) for mul, ir in self.irreps_in], self._shapes, self.paths, 1).text()

    def whole(self, features: Tensor) -> Tensor:
        """As `forward`, by one operation and in e3nn's layout; on CPUs.

        :param features: (atoms, irreps_in.dim).
        :returns: (atoms, irreps_out.dim).
        """
        return linear(self.program, features, self.weight)

    def forward(self, blocks: Sequence[Tensor]) -> list[Tensor]:
        """Mix the channels of each irrep.

        :param blocks: for each irrep that enters, (atoms, 2l+1, channels).
        :returns: for each irrep of the result, (atoms, 2l+1, channels).
        """
        outputs: list[Tensor | None] = [None] * len(self._shapes)
        weights = self.weight.split(self._sizes)
        for path, weight in zip(self.paths, weights, strict=True):
            part = blocks[path.entering] @ (weight.reshape(path.rows, path.columns) * path.scale)
            before = outputs[path.made]
            outputs[path.made] = part if before is None else before + part
        return [
            blocks[0].new_zeros(blocks[0].shape[0], *shape) if output is None else output
            for output, shape in zip(outputs, self._shapes, strict=True)
        ]
