"""Parts of fusion diagrams: products of features along trees, and the sum over an atom's edges."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from tesseral.models.networks.paths.fusion_paths import paths
from tesseral.models.networks.paths.path import Path
from tesseral.models.networks.paths.selection_rules import IrrepSet, harmonics
from tesseral.models.networks.products.fusion_plan import leaf_irreps, plan
from tesseral.models.networks.sizing.atom_parts import of
from tesseral.models.networks.sizing.blueprint import Channels, Count, Features, Part, Place, Width, Widths, irreps_of
from tesseral.models.networks.sizing.convolution_parts import radial_count
from tesseral.study.parsing.fusion_tree import Tree


@dataclass(frozen=True)
class FusionProductPart(Part):
    """`tesseral.models.networks.products.fusion_product.FusionProduct`: paths of trees, its inputs being the leaves."""

    trees: tuple[Tree, ...]
    leaves: tuple[str, ...]
    """Names of the inputs."""
    roots: IrrepSet
    """Irreps wanted at the root."""
    channels: Width
    k_max: int | None = None

    def produces(self, *inputs: Features) -> Features:
        """As many copies of the channels of an irrep as there are paths to it."""
        numbers = Counter(path.irrep for path in self._paths(inputs))
        return frozenset(Channels(irrep, self.channels, number) for irrep, number in numbers.items())

    def depends_on(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """The irreps at the leaves of wanted paths."""
        ends = irreps_of(wanted)
        needed = leaf_irreps(path for path in self._paths(inputs) if path.irrep in ends)
        return tuple(
            of(features, needed.get(name, frozenset())) for name, features in zip(self.leaves, inputs, strict=True)
        )

    def count(self, place: Place, widths: Widths) -> Count:
        """No weights; products of features with coupling coefficients, and of features with features."""
        by_coefficients, by_features = _multiplications(self, place.inputs)
        each = place.for_constant * by_coefficients + place.for_feature * by_features
        return Count(atom=widths[self.channels] * each)

    def _paths(self, inputs: tuple[Features, ...]) -> Iterator[Path]:
        leaves = {name: irreps_of(features) for name, features in zip(self.leaves, inputs, strict=True)}
        return (path for tree in self.trees for path in paths(tree, leaves, self.roots, self.k_max))


@lru_cache(maxsize=1024)
def _multiplications(part: FusionProductPart, inputs: tuple[Features, ...]) -> tuple[int, int]:
    """`Plan.multiplications` of a part, kept: planning walks all paths."""
    return plan(part._paths(inputs)).multiplications


@dataclass(frozen=True)
class EdgeSumPart(Part):
    """`tesseral.models.networks.layers.fusion_block.EdgeSum`: an atom's harmonics, weighted by distance and summed."""

    lmax: int
    radial: tuple[int, ...]
    """Layer sizes of the radial network, without the last."""
    channels: Width

    def produces(self, *inputs: Features) -> Features:
        """The irreps of the harmonics."""
        return frozenset(Channels(irrep, self.channels) for irrep in harmonics(self.lmax))

    def depends_on(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """It has no input."""
        return ()

    def count(self, place: Place, widths: Widths) -> Count:
        """A radial network with an output for each channel of each l."""
        channels = widths[self.channels]
        return radial_count(self.radial, channels * len(place.produced), channels * len(place.live), place)
