"""The parts of fusion diagrams: products of features along trees, and the sum over an atom's edges."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from tesseral.models.networks.paths.fusion_paths import Path, paths
from tesseral.models.networks.paths.selection_rules import Orders, harmonics
from tesseral.models.networks.products.fusion_plan import plan, read
from tesseral.models.networks.sizing.blueprint import Channels, Count, Features, Part, Place, Width, Widths, orders
from tesseral.models.networks.sizing.convolution_parts import radial_count
from tesseral.models.networks.sizing.parts import of
from tesseral.study.parsing.fusion_tree import Tree


@dataclass(frozen=True)
class FusionProduct(Part):
    """Of `tesseral.models.networks.layers.fusion_block`: the paths of trees whose leaves are its inputs, channel by
    channel."""

    trees: tuple[Tree, ...]
    leaves: tuple[str, ...]
    """Names of the inputs."""
    roots: Orders
    """What is asked for."""
    channels: Width
    k_max: int | None = None

    def makes(self, *inputs: Features) -> Features:
        """Of each irrep as many times the channels as there are paths."""
        numbers = Counter(path.irrep for path in self._paths(inputs))
        return frozenset(Channels(irrep, self.channels, number) for irrep, number in numbers.items())

    def reads(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """The irreps that a wanted path begins with."""
        ends = orders(wanted)
        found = read(path for path in self._paths(inputs) if path.irrep in ends)
        return tuple(
            of(features, found.get(name, frozenset())) for name, features in zip(self.leaves, inputs, strict=True)
        )

    def count(self, place: Place, widths: Widths) -> Count:
        """Products of matrices alone: of features with couplings, and of features with features."""
        constant, feature = _operations(self, place.inputs)
        each = place.for_constant * constant + place.for_feature * feature
        return Count(atom=widths[self.channels] * each)

    def _paths(self, inputs: tuple[Features, ...]) -> Iterator[Path]:
        leaves = {name: orders(features) for name, features in zip(self.leaves, inputs, strict=True)}
        return (path for tree in self.trees for path in paths(tree, leaves, self.roots, self.k_max))


@lru_cache(maxsize=1024)
def _operations(part: FusionProduct, inputs: tuple[Features, ...]) -> tuple[int, int]:
    """Pairs of factors for one channel of one atom: with a coupling, and with a feature; see `fusion_plan`."""
    found = plan(part._paths(inputs))
    constant = feature = 0
    for spread in found.spreads:
        nodes = len(found.stacks[spread.right[0]])
        for block in spread.blocks:
            columns = block.left.dim * nodes * block.width
            constant += columns * spread.width
            feature += columns * len(found.stacks[block.left])
    return constant, feature


@dataclass(frozen=True)
class EdgeSum(Part):
    """Of `tesseral.models.networks.layers.fusion_block`: the sum of harmonics over an atom's edges, weighted by
    distance."""

    lmax: int
    radial: tuple[int, ...]
    """Sizes of the radial network but the last."""
    channels: Width

    def makes(self, *inputs: Features) -> Features:
        """The harmonics."""
        return frozenset(Channels(irrep, self.channels) for irrep in harmonics(self.lmax))

    def reads(self, wanted: Features, *inputs: Features) -> tuple[Features, ...]:
        """Nothing enters."""
        return ()

    def count(self, place: Place, widths: Widths) -> Count:
        """A radial network that makes a weight for each channel of each l."""
        channels = widths[self.channels]
        return radial_count(self.radial, channels * len(place.made), channels * len(place.live), place)
