"""The table `[network]` of a study file: hidden irreps, layers, radial functions and a fusion diagram."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Self

from tesseral.study.errors import StudyFileError, TesseralError
from tesseral.study.parsing.fusion_tree import parse_tree
from tesseral.study.parsing.irreps import MulIrrep, format_irreps, parse_irreps
from tesseral.study.parsing.section import Later, Range, Section


@dataclass(frozen=True, kw_only=True)
class Hidden(Section):
    """Hidden irreps: as text (`irreps`), or as orders l (`lmax` or `orders`) with multiplicities and a parity."""

    irreps: str | None = None
    """Irreps in e3nn's notation, such as `16x0e+8x1o`. Excludes the other keys of this table."""
    lmax: Annotated[int, Range(ge=0, le=10)] | None = None
    """All orders l from 0 to this one. Give exactly one of `irreps`, `lmax` and `orders`."""
    orders: Annotated[tuple[Annotated[int, Range(ge=0, le=10)], ...], Range(min_length=1)] | None = None
    """Any set of orders l, such as [0, 2]."""
    mul: Annotated[tuple[Annotated[int, Range(ge=1, le=10_000)], ...], Range(min_length=1)] = (125, 40, 25, 15)
    """Multiplicities of l = 0, 1, 2, …, for each parity; the last one also holds for all higher l. The defaults are
    those of Rackers & Rao (arXiv 2210.04766)."""
    parity: Literal["both", "natural"] = "both"
    """`both`: even and odd irreps of each l. `natural`: only the parity (−1)^l, which spherical harmonics have."""

    @property
    def given(self) -> list[str]:
        """Names of the keys that say which irreps; one, unless it is a mistake."""
        return [name for name in ("irreps", "lmax", "orders") if getattr(self, name) is not None]

    def resolve(self, path: str = "network.hidden") -> Self:
        """Return the same irreps as canonical text, with every other key at its default.

        :param path: of this table in the study file, for errors.
        :raises StudyFileError: if the irreps do not parse, are empty, or are given twice or not at all.
        """
        given = self.given
        if len(given) != 1:
            came = " and ".join(given) if given else "none of them; for example lmax = 2"
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
    """A fusion diagram in every layer: a tree of Clebsch-Gordan products of features (Li et al., arXiv 2211.07482).

    Its output is added to the output of the interaction.
    """

    diagram: str = "none"
    """`none`, or a rooted tree of pairs such as `((neighbours neighbours) centre)`. Its leaves are `centre`, the atom's
    own features; `neighbours`, the features that the layer gathers from its neighbours; and `edges`, the sum over the
    atom's edges of spherical harmonics weighted by distance."""
    k_max: Annotated[int, Range(ge=0, le=20)] | Literal["none"] | None = None
    """Largest order l on the internal edges of the tree. Unlimited if `none` or not given."""
    channels: Annotated[int, Range(ge=1, le=10_000)] | None = None
    """Channels of every irrep inside the diagram. Default: the smallest multiplicity of the hidden irreps."""

    @property
    def bound(self) -> int | None:
        """`k_max` as a number; None if it is unlimited."""
        return None if self.k_max == "none" else self.k_max

    def resolve(self) -> Self:
        """Return the same diagram with its tree as canonical text and without a `k_max` that limits nothing.

        :raises StudyFileError: if the text is not a tree of the three leaves.
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
    """The network: an embedding of the chemical elements, layers that pass messages, and a readout."""

    interaction: Literal["gated", "cormorant", "mace"] = "gated"
    """Kind of layer. `gated`: a convolution and a gated nonlinearity, after Rackers & Rao (arXiv 2210.04766).
    `cormorant`: channel-wise products of an atom's features with themselves and with its messages, after Anderson et
    al. (arXiv 1906.04015). `mace`: symmetric products of the messages, up to the order `correlation`, after Batatia et
    al. (arXiv 2206.07697)."""
    define: str | None = None
    """Your own network, as `module:function`, in the folder of the study file or on PYTHONPATH. It receives this table
    and uses the keys that it needs; it needs no `hidden`."""
    options: Annotated[dict[str, Any], Later] = field(default_factory=dict, hash=False)
    """Settings of your own network's own, such as `options.width = 32`: numbers, text, booleans or lists of them. Each
    may be a factor, as `network.options.width`, or be searched. Networks of tesseral have none."""
    hidden: Hidden = field(default_factory=Hidden)
    """Irreps of the features between layers. Channel-wise products use as many channels of each irrep as the one with
    the fewest has."""
    layers: Annotated[int, Range(ge=1, le=20)] = 3
    """Number of layers before the readout."""
    embedding: Annotated[int, Range(ge=1, le=10_000)] | Literal["none"] | None = None
    """Number of scalars that a chemical element is embedded in. If `none` or not given, the one-hot of the element is
    used."""
    residual: bool = False
    """Add a layer's input to its output, for every irrep that has the same multiplicity in both."""
    correlation: Annotated[int, Range(ge=1, le=4)] = 3
    """Correlation order ν of the symmetric products. Only `mace` uses it."""
    saturation: bool = True
    """Bound the features by their norm, irrep by irrep, before they enter a product (in `cormorant`, `mace` and fusion
    diagrams). With `false`, products are strict polynomials, as in the published Cormorant and MACE, and `correlation`
    sets the body order; some initialisations of deep networks then diverge."""
    fusion: Fusion = field(default_factory=Fusion)
    """A fusion diagram inside every layer."""
    readout: Literal["auto", "convolution", "linear"] = "auto"
    """How outputs follow from the features. `convolution`: one more convolution of the last layer's features, which
    also reaches orders above the hidden ones. `linear`: the sum of a linear map of every layer's features. `auto`:
    `convolution` for `gated` networks, else `linear`."""
    harmonics_lmax: Annotated[int, Range(ge=0, le=10)] = 3
    """Largest order l of the spherical harmonics of the edges."""
    radial_basis: Literal["gaussian", "bessel", "cosine"] = "gaussian"
    """Basis in which a distance r is expanded, with the cutoff c. `gaussian`: Gaussians evenly spaced inside the
    cutoff. `bessel`: √(2/c) sin(kπr/c)/r. `cosine`: raised cosines, each overlapping only its two neighbours."""
    radial_envelope: Literal["sine", "polynomial"] = "sine"
    """Envelope that takes an edge smoothly to zero at the cutoff. `sine`: sin² over the outer half of the range.
    `polynomial`: that of DimeNet (arXiv 2003.03123) with p = 6."""
    radial_functions: Annotated[int, Range(ge=1, le=10_000)] = 10
    """Number of radial basis functions."""
    radial_cutoff: Annotated[float, Range(gt=0)] = 3.5
    """Distance up to which atoms are neighbours, Å."""
    radial_width: Annotated[int, Range(ge=1, le=10_000)] = 128
    """Neurons in each hidden layer of the radial network, which turns a distance into the weights of a convolution."""
    radial_layers: Annotated[int, Range(ge=0, le=20)] = 1
    """Number of hidden layers of the radial network."""
    radial_knots: Annotated[int | None, Range(ge=16, le=10_000), Later] = None
    """Knots between 0 and the cutoff at which the radial network is computed, in place of every edge; edges interpolate
    by cubic splines, whose error falls with the fourth power of the number (of `cosine` functions, the second). With
    128, weights of an untrained network differed by less than 1e-4 of their root mean square with `gaussian` functions,
    by less than 1e-2 with others. Default: no knots. Sizes count the radial network of every edge in either case. Not
    for a network of your own."""
    num_neighbors: Annotated[float, Range(gt=0)] | None = None
    """Normalisation of messages: their sum is divided by the square root of this number. Default: the mean number of
    neighbours in the training split."""

    @property
    def embedded(self) -> int | None:
        """`embedding` as a number; None for the one-hot of the element."""
        return None if self.embedding == "none" else self.embedding

    def resolve(self) -> Self:
        """Return the same network in canonical form, so that two ways of asking for it are equal.

        Hidden irreps and diagram become canonical text, the readout is named, an embedding of `none` is left out, and
        settings without effect get their defaults (see `without_effect`).

        :raises StudyFileError: if the hidden irreps or the diagram are invalid, or a network of tesseral has options.
        """
        if self.options and self.define is None:
            raise StudyFileError(
                "network.options", f"expected none without network.define, got {', '.join(map(repr, self.options))}"
            )
        if self.radial_knots is not None and self.define is not None:
            raise StudyFileError(
                "network.radial_knots", "expected none with network.define, which sees φ of every edge"
            )
        readout = self.readout
        if readout == "auto":
            readout = "convolution" if self.interaction == "gated" else "linear"
        canonical = replace(
            self,
            hidden=self.hidden.resolve() if self.define is None or self.hidden.given else self.hidden,
            embedding=self.embedded,
            fusion=self.fusion.resolve(),
            readout=readout,
        )
        idle = without_effect(canonical)
        if "network.correlation" in idle:
            canonical = replace(canonical, correlation=type(self).correlation)
        if "network.saturation" in idle:
            canonical = replace(canonical, saturation=type(self).saturation)
        return replace(canonical, fusion=Fusion()) if "network.fusion.k_max" in idle else canonical


def without_effect(network: Network) -> dict[str, str]:
    """Settings that do not change this network, by dotted path, with the condition under which they do nothing.

    Empty for a user's own network, which may use any setting.

    :param network: as written or in canonical form.
    """
    idle = {}
    if network.define is None and network.interaction != "mace":
        idle["network.correlation"] = "outside mace"
    if network.define is None and network.fusion.diagram == "none":
        idle |= dict.fromkeys(("network.fusion.k_max", "network.fusion.channels"), "without a diagram")
        if network.interaction == "gated":
            idle["network.saturation"] = "in a gated network without a diagram"
    return idle
