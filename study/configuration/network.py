"""The network of a trial: the table `[network]` of a study file, with its hidden irreps and its fusion diagram."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, Self

from tesseral.study.errors import StudyFileError, TesseralError
from tesseral.study.parsing.fusion_tree import parse_tree
from tesseral.study.parsing.irreps import MulIrrep, format_irreps, parse_irreps
from tesseral.study.parsing.section import Range, Section


@dataclass(frozen=True, kw_only=True)
class Hidden(Section):
    """Hidden irreps: either `irreps` as text, or a set of orders with multiplicities by l and a parity."""

    irreps: str | None = None
    """e3nn's notation, such as `16x0e+8x1o`; excludes the other keys."""
    lmax: Annotated[int, Range(ge=0, le=10)] | None = None
    """All orders from 0 to lmax."""
    orders: Annotated[tuple[Annotated[int, Range(ge=0, le=10)], ...], Range(min_length=1)] | None = None
    """Any set of orders, such as [0, 2]; excludes `lmax`."""
    mul: Annotated[tuple[Annotated[int, Range(ge=1, le=10_000)], ...], Range(min_length=1)] = (125, 40, 25, 15)
    """Multiplicity of order l = 0, 1, 2, … for each parity (default: Rackers & Rao); the last one repeats."""
    parity: Literal["both", "natural"] = "both"
    """`both` parities of each l, or the `natural` one, (−1)^l, alone."""

    def resolve(self, path: str = "network.hidden") -> Self:
        """The same irreps as canonical text, every other key at its default.

        :raises StudyFileError: if the irreps do not parse, are empty, or were given twice or not at all.
        """
        given = [name for name in ("irreps", "lmax", "orders") if getattr(self, name) is not None]
        if len(given) != 1:
            came = " and ".join(given) if given else "none of them"
            raise StudyFileError(path, f"expected exactly one of irreps, lmax and orders, got {came}")
        if self.irreps is not None:
            try:
                terms = parse_irreps(self.irreps)
            except TesseralError as error:
                raise StudyFileError(f"{path}.irreps", str(error)) from None
            text = format_irreps(terms)
            if not text or any(term.l > 10 or term.mul > 10_000 for term in terms):
                expected = "at least one channel, orders l of at most 10 and multiplicities of at most 10000"
                raise StudyFileError(f"{path}.irreps", f"expected {expected}, got {self.irreps!r}")
        else:
            orders = set(range(self.lmax + 1)) if self.lmax is not None else set(self.orders or ())
            text = format_irreps(
                MulIrrep(self.mul[min(order, len(self.mul) - 1)], order, p)
                for order in orders
                for p in ((1, -1) if self.parity == "both" else ((-1) ** order,))
            )
        return type(self)(irreps=text)


@dataclass(frozen=True, kw_only=True)
class Fusion(Section):
    """A fusion diagram that every layer's features pass through, beside what the interaction makes of them."""

    diagram: str = "none"
    """`none`, or a rooted tree of pairs such as `((neighbours neighbours) centre)`. Its leaves are `centre`, the
    features of the atom itself; `neighbours`, those that the layer gathers; `edges`, the sum over its edges of
    harmonics weighted by distance."""
    k_max: Annotated[int, Range(ge=0, le=20)] | Literal["none"] | None = None
    """Largest l on the tree's internal edges, of either parity; not limited if `none` or not given."""
    channels: Annotated[int, Range(ge=1, le=10_000)] | None = None
    """Channels of every irrep inside the diagram; if not given, the least multiplicity of the hidden irreps."""

    @property
    def bound(self) -> int | None:
        """`k_max` as a number; None where it limits nothing."""
        return None if self.k_max == "none" else self.k_max

    def resolve(self) -> Self:
        """With the tree in canonical text, its children in order, and a bound that limits nothing left out.

        :raises StudyFileError: if the text is no tree of those leaves.
        """
        diagram = self.diagram
        if diagram != "none":
            try:
                diagram = str(parse_tree(diagram).canonical)
            except TesseralError as error:
                raise StudyFileError("network.fusion.diagram", str(error)) from None
        return replace(self, diagram=diagram, k_max=self.bound)


@dataclass(frozen=True, kw_only=True)
class Network(Section):
    """The network: an embedding of the elements, layers that gather neighbours' features, and a readout."""

    interaction: Literal["gated", "cormorant", "mace"] = "gated"
    """How a layer makes features. `gated` after Rackers & Rao: a convolution and a gate. `cormorant` after Anderson et
    al. (arXiv 1906.04015): products of an atom's features with themselves and with what it gathers, channel by channel.
    `mace` after Batatia et al. (arXiv 2206.07697): the symmetric powers of what it gathers, up to `correlation`."""
    define: str | None = None
    """`module:function` that builds a network of the user's own; what it makes of the other keys is its affair."""
    hidden: Hidden = field(default_factory=Hidden)
    """Irreps of the features between layers. Products take as many channels of each as the rarest one has."""
    layers: Annotated[int, Range(ge=1, le=20)] = 3
    """Layers before the readout."""
    embedding: Annotated[int, Range(ge=1, le=10_000)] | Literal["none"] | None = None
    """Scalars that an element is embedded in; the one-hot of the element itself if `none` or not given."""
    residual: bool = False
    """Whether a layer's input is added to what it makes, for every irrep of which both have equally many."""
    correlation: Annotated[int, Range(ge=1, le=4)] = 3
    """Order ν of the symmetric powers; of `mace` alone."""
    saturation: bool = True
    """Whether what enters a product of features is bounded, irrep by irrep, by its own norm: in `cormorant`, `mace` and
    fusion diagrams. With false these are strict polynomials, as Cormorant's and MACE's products are, so `correlation`
    is a body order; but some starts of deep networks then diverge."""
    fusion: Fusion = field(default_factory=Fusion)
    """A fusion diagram inside every layer, after Li et al. (arXiv 2211.07482)."""
    readout: Literal["auto", "convolution", "linear"] = "auto"
    """`convolution`: one more convolution makes the outputs of the last layer's features, and reaches orders beyond the
    hidden ones. `linear`: linear maps of every layer's features, added up. `auto`: `convolution` for `gated`, else
    `linear`."""
    harmonics_lmax: Annotated[int, Range(ge=0, le=10)] = 3
    """Largest l of the edges' spherical harmonics."""
    radial_basis: Literal["gaussian", "bessel", "cosine"] = "gaussian"
    """Functions that expand a distance: Gaussians evenly spaced inside the cutoff; √(2/c) sin(kπr/c)/r; raised cosines,
    each of which overlaps its neighbours alone."""
    radial_envelope: Literal["sine", "polynomial"] = "sine"
    """What takes an edge smoothly to zero at the cutoff: sin² over its outer half, or the polynomial of arXiv
    2003.03123 with p = 6."""
    radial_functions: Annotated[int, Range(ge=1, le=10_000)] = 10
    """How many functions expand a distance."""
    radial_cutoff: Annotated[float, Range(gt=0)] = 3.5
    """Distance up to which atoms are neighbours, in Å."""
    radial_width: Annotated[int, Range(ge=1, le=10_000)] = 128
    """Neurons of a hidden layer of the radial network."""
    radial_layers: Annotated[int, Range(ge=0, le=20)] = 1
    """Hidden layers of the radial network."""
    num_neighbors: Annotated[float, Range(gt=0)] | None = None
    """Messages are divided by its square root; null: the mean number of neighbours in the training split."""

    @property
    def embedded(self) -> int | None:
        """`embedding` as a number; None for the one-hot."""
        return None if self.embedding == "none" else self.embedding

    def resolve(self) -> Self:
        """With hidden irreps and the diagram as canonical text, the readout by name, an embedding of `none` left
        out, and what has no effect at its default: see `without_effect`.

        :raises StudyFileError: if the hidden irreps or the diagram are not valid.
        """
        readout = self.readout
        if readout == "auto":
            readout = "convolution" if self.interaction == "gated" else "linear"
        found = replace(
            self,
            hidden=self.hidden.resolve(),
            embedding=self.embedded,
            fusion=self.fusion.resolve(),
            readout=readout,
        )
        dropped = without_effect(found)
        if "network.correlation" in dropped:
            found = replace(found, correlation=type(self).correlation)
        if "network.saturation" in dropped:
            found = replace(found, saturation=type(self).saturation)
        return replace(found, fusion=Fusion()) if "network.fusion.k_max" in dropped else found


def without_effect(network: Network) -> dict[str, str]:
    """Dotted paths of settings that change nothing of a network, and where they would, in words.

    None of a network of the user's own: what it makes of them is its affair.
    """
    found = {}
    if network.define is None and network.interaction != "mace":
        found["network.correlation"] = "outside mace"
    if network.define is None and network.fusion.diagram == "none":
        found |= dict.fromkeys(("network.fusion.k_max", "network.fusion.channels"), "without a diagram")
        if network.interaction == "gated":
            found["network.saturation"] = "in a gated network without a diagram"
    return found
