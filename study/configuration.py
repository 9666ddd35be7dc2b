"""The configuration of one trial: every setting that changes what is trained, with its default.

Plain dataclasses, so that `models/` can train where only torch, e3nn and pyarrow are installed; `[target]` and `[loss]`
stand in `tesseral.study.target`. A study file sets any of these by its dotted path (`training.epochs`), and any of them
may be a factor. `resolved()` fills in what is derived, and is what a trial's id is made of.
"""

from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, Self, get_type_hints

from tesseral.study.diagram import parse_tree
from tesseral.study.errors import StudyFileError, TesseralError
from tesseral.study.irreps import MulIrrep, format_irreps, parse_irreps
from tesseral.study.section import Range as Range
from tesseral.study.section import Section as Section
from tesseral.study.target import Loss as Loss
from tesseral.study.target import Target as Target


@dataclass(frozen=True, kw_only=True)
class Data(Section):
    """What is trained on. A block's seed permutes the structures; test comes first, then validation, then
    training, so training sets of different sizes are nested and share their test set."""

    reference: str
    """Parquet file of reference data; relative paths start at the storage. Not in the id: its content is."""
    recipe: str | None = None
    """Recipe that makes the reference data, relative to the study file: `plan` reads sizes from it where the data is
    not there yet. Not in the id."""
    train: Annotated[int, Range(ge=1, le=10**9)]
    """Structures trained on."""
    validation: Annotated[int, Range(ge=0, le=10**9)] = 0
    """Structures of the validation split."""
    test: Annotated[int, Range(ge=1, le=10**9)]
    """Structures of the test split."""


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
    k_max: Annotated[int, Range(ge=0, le=20)] | None = None
    """Largest l on the tree's internal edges, of either parity; not limited if not given."""
    channels: Annotated[int, Range(ge=1, le=10_000)] | None = None
    """Channels of every irrep inside the diagram; if not given, the least multiplicity of the hidden irreps."""

    def resolve(self) -> Self:
        """With the tree in canonical text, its children in order, and without what has no meaning where there is none.

        :raises StudyFileError: if the text is no tree of those leaves.
        """
        if self.diagram == "none":
            return type(self)()
        try:
            return replace(self, diagram=str(parse_tree(self.diagram).canonical))
        except TesseralError as error:
            raise StudyFileError("network.fusion.diagram", str(error)) from None


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
    embedding: Annotated[int, Range(ge=1, le=10_000)] | None = None
    """Scalars that an element is embedded in; the one-hot of the element itself if not given."""
    residual: bool = False
    """Whether a layer's input is added to what it makes, for every irrep of which both have equally many."""
    correlation: Annotated[int, Range(ge=1, le=4)] = 3
    """Order ν of the symmetric powers; of `mace` alone."""
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

    def resolve(self) -> Self:
        """With hidden irreps and the diagram as canonical text, the readout by name, and what has no meaning for this
        interaction at its default.

        :raises StudyFileError: if the hidden irreps or the diagram are not valid.
        """
        readout = self.readout
        if readout == "auto":
            readout = "convolution" if self.interaction == "gated" else "linear"
        return replace(
            self,
            hidden=self.hidden.resolve(),
            fusion=self.fusion.resolve(),
            readout=readout,
            correlation=self.correlation if self.interaction == "mace" else type(self).correlation,
        )


@dataclass(frozen=True, kw_only=True)
class Training(Section):
    """How it is trained."""

    epochs: Annotated[int, Range(ge=1, le=10**6)] = 60
    """Passes over the training split."""
    batch_size: Annotated[int, Range(ge=1, le=10**6)] = 4
    """Structures in a step; the last step of an epoch takes what is left."""
    learning_rate: Annotated[float, Range(gt=0)] = 1e-2
    """Adam's step size at the start."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """`cosine` decays the step size to zero over all steps."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of weights and features."""


@dataclass(frozen=True, kw_only=True)
class Configuration(Section):
    """Everything that decides what a trial trains, but its data's content and its seeds."""

    data: Data
    network: Network = field(default_factory=Network)
    target: Target = field(default_factory=Target)
    loss: Loss = field(default_factory=Loss)
    training: Training = field(default_factory=Training)

    def resolved(self) -> Self:
        """With hidden irreps as canonical text and the loss by name: two ways of asking for one training become equal.

        :raises StudyFileError: if the hidden irreps are not valid, or the loss or the orders do not fit the target.
        """
        return replace(
            self,
            network=self.network.resolve(),
            target=self.target.resolve(),
            loss=self.loss.resolve(self.target.quantity),
        )

    @property
    def steps_per_epoch(self) -> int:
        """⌈train / batch_size⌉."""
        return -(-self.data.train // self.training.batch_size)

    @property
    def max_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.training.epochs * self.steps_per_epoch

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, as JSON and TOML hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> Self:
        """The inverse of `to_dict`; for records, which were validated when written."""
        built: Self = _build(cls, tree)
        return built


def _build(cls: Any, tree: dict[str, Any]) -> Any:
    hints = _hints(cls)
    values = {}
    for item in fields(cls):
        if item.name in tree:
            value = tree[item.name]
            if is_dataclass(hints[item.name]):
                value = _build(hints[item.name], value)
            values[item.name] = tuple(value) if isinstance(value, list) else value
    return cls(**values)


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls)


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted paths to leaves: {'a': {'b': 1}} becomes {'a.b': 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
