"""The blueprint of a configuration's network, part by part as `tesseral.models.networks.network` builds it."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache

from tesseral.models.networks.paths.fusion_paths import paths
from tesseral.models.networks.paths.selection_rules import SCALAR, IrrepSet, harmonics, product
from tesseral.models.networks.sizing.atom_parts import (
    ELEMENTS,
    EMBEDDED,
    EmbeddingPart,
    GatePart,
    LinearPart,
    OneHotPart,
    ResidualPart,
    SumPart,
    before_gate,
    hidden,
)
from tesseral.models.networks.sizing.blueprint import Blueprint, Channels, Draft, Features, Width, Widths, irreps_of
from tesseral.models.networks.sizing.contraction_part import SymmetricContractionPart
from tesseral.models.networks.sizing.convolution_parts import MessagesPart, SelfConnectionPart
from tesseral.models.networks.sizing.fusion_parts import EdgeSumPart, FusionProductPart
from tesseral.study import configuration
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.network import Hidden
from tesseral.study.errors import StudyFileError, TesseralError
from tesseral.study.parsing.fusion_tree import Tree, layer_irreps, parse_tree
from tesseral.study.parsing.irreps import MulIrrep, parse_irreps

CHANNELS: Width = ("channels", None)
"""The channels of every irrep in a product: as many as the rarest hidden irrep has."""
INSIDE: Width = ("fusion", None)
"""The channels of every irrep inside a fusion diagram."""


def hidden_irreps(configuration: Configuration) -> tuple[MulIrrep, ...]:
    """The hidden irreps that a configuration asks for, in canonical order.

    :param configuration: of any network.
    """
    return parse_irreps(configuration.network.hidden.resolve().irreps or "")


def blueprint(configuration: Configuration, layout: Iterable[MulIrrep], elements: int) -> tuple[Blueprint, Widths]:
    """Draw the blueprint of a configuration's network.

    :param configuration: of a network without `network.define`.
    :param layout: irreps of its outputs.
    :param elements: number of elements, the length of the one-hot.
    :returns: the blueprint, and the numbers of channels to count it with.
    :raises StudyFileError: if a fusion diagram or a symmetric power has too many paths.
    """
    settings, terms = configuration.network, hidden_irreps(configuration)
    numbers: dict[Width, int] = {("hidden", (term.l, term.p)): term.mul for term in terms}
    numbers[ELEMENTS] = elements
    numbers[CHANNELS] = min(term.mul for term in terms)
    numbers[INSIDE] = settings.fusion.channels or numbers[CHANNELS]
    if settings.embedded is not None:
        numbers[EMBEDDED] = settings.embedded
    for term in layout:
        name = ("output", (term.l, term.p))
        numbers[name] = numbers.get(name, 0) + term.mul
    entering = settings.embedded or elements
    # Multiplicities are taken out of the settings, so that the cached blueprint serves all widths.
    drawn = _blueprint(
        replace(settings, hidden=Hidden(irreps="1x0e"), num_neighbors=None),
        frozenset((term.l, term.p) for term in terms),
        frozenset((term.l, term.p) for term in layout),
        entering == numbers.get(("hidden", SCALAR)),
    )
    return drawn, Widths(numbers)


@lru_cache(maxsize=512)
def _blueprint(settings: configuration.Network, wanted: IrrepSet, layout: IrrepSet, same_scalars: bool) -> Blueprint:
    """The blueprint for hidden irreps `wanted` and output irreps `layout`.

    :param same_scalars: whether the first layer's input has as many scalars as the hidden features: a residual
        connection then adds them.
    """
    settings = settings.resolve()
    draft = Draft()
    features = draft.add(OneHotPart())
    if settings.embedded is not None:
        features = draft.add(EmbeddingPart(), features)
    layers: list[int] = []
    for _ in range(settings.layers):
        output = LAYERS[settings.interaction](draft, features, settings, wanted)
        # All layers have the same multiplicities; the input of the first one may differ.
        shared = draft.irreps(features) & draft.irreps(output) if layers or same_scalars else frozenset()
        features = draft.add(ResidualPart(shared), output, features) if settings.residual and shared else output
        layers.append(features)
    outputs = frozenset(Channels(irrep, ("output", irrep)) for irrep in layout)
    if settings.readout == "linear":
        last = draft.add(LinearPart(outputs), *layers)
    else:
        last = _convolution(draft, features, settings, outputs)
    return draft.finish(layers, last)


def _gated(draft: Draft, features: int, settings: configuration.Network, wanted: IrrepSet) -> int:
    """`tesseral.models.networks.layers.gated.GatedLayer`."""
    entering, reached = draft.irreps(features), _reached(draft, features, settings)
    kept = reached & wanted
    # Irreps that the diagram alone reaches need gating scalars; these enter the diagram's leaf `neighbours`, which may
    # then reach more.
    while True:
        out = frozenset(map(hidden, kept))
        fused = _fused(entering, reached & irreps_of(before_gate(out)), wanted, settings)
        if fused <= kept:
            break
        kept |= fused
    own = draft.add(SelfConnectionPart(before_gate(out)), features)
    gathered = _messages(draft, features, settings, before_gate(out))
    added = _fusion(draft, features, gathered, settings, before_gate(out))
    return draft.add(GatePart(out), draft.add(SumPart(), own, gathered, *added))


def _cormorant(draft: Draft, features: int, settings: configuration.Network, wanted: IrrepSet) -> int:
    """`tesseral.models.networks.layers.cormorant.CormorantLayer`."""
    own = draft.add(LinearPart(_channels(draft.irreps(features))), features)
    gathered = _gathered(draft, features, settings, wanted)
    trees = Tree("centre", "centre"), Tree("centre", "neighbours")
    products = draft.add(FusionProductPart(trees, ("centre", "neighbours"), wanted, CHANNELS), own, gathered)
    out = frozenset(map(hidden, wanted))
    carried, mixed = draft.add(LinearPart(out), features, gathered), draft.add(LinearPart(out), products)
    return draft.add(SumPart(), carried, mixed, *_fusion(draft, features, gathered, settings, out))


def _mace(draft: Draft, features: int, settings: configuration.Network, wanted: IrrepSet) -> int:
    """`tesseral.models.networks.layers.mace.MaceLayer`."""
    gathered = _gathered(draft, features, settings, wanted)
    try:
        powers = draft.add(SymmetricContractionPart(wanted, settings.correlation, CHANNELS), gathered)
    except TesseralError as error:
        advice = "a lower one, fewer hidden irreps or harmonics of smaller l have fewer"
        came = f"expected a correlation of fewer paths, got {settings.correlation}; {advice} ({error})"
        raise StudyFileError("network.correlation", came) from None
    out = frozenset(map(hidden, wanted))
    updated, carried = draft.add(LinearPart(out), powers), draft.add(SelfConnectionPart(out), features)
    return draft.add(SumPart(), updated, carried, *_fusion(draft, features, gathered, settings, out))


LAYERS: dict[str, Callable[[Draft, int, configuration.Network, IrrepSet], int]] = {
    "gated": _gated,
    "cormorant": _cormorant,
    "mace": _mace,
}
"""The layer of each `network.interaction`: it adds its parts to a draft and returns the number of the last one."""


def _convolution(draft: Draft, features: int, settings: configuration.Network, wanted: Features) -> int:
    """`tesseral.models.networks.layers.convolution.Convolution`."""
    own = draft.add(SelfConnectionPart(wanted), features)
    return draft.add(SumPart(), own, _messages(draft, features, settings, wanted))


def _messages(draft: Draft, features: int, settings: configuration.Network, wanted: Features) -> int:
    return draft.add(MessagesPart(wanted, settings.harmonics_lmax, _radial(settings)), features)


def _gathered(draft: Draft, features: int, settings: configuration.Network, wanted: IrrepSet) -> int:
    """Messages with the channels of a product, for a layer that multiplies them."""
    leaves, _ = layer_irreps(settings.interaction, wanted, settings.harmonics_lmax)
    return _messages(draft, features, settings, _channels(_reached(draft, features, settings) & leaves["neighbours"]))


def _radial(settings: configuration.Network) -> tuple[int, ...]:
    return (settings.radial_functions, *settings.radial_layers * [settings.radial_width])


def _fusion(
    draft: Draft, features: int, gathered: int, settings: configuration.Network, out: Features
) -> tuple[int, ...]:
    """`tesseral.models.networks.layers.layer_fusion.LayerFusion`; no part if the diagram reaches none of `out`."""
    if not _fused(draft.irreps(features), draft.irreps(gathered), irreps_of(out), settings):
        return ()
    tree = parse_tree(settings.fusion.diagram)
    leaves = tuple(sorted(set(tree.leaves)))
    sources = {"centre": features, "neighbours": gathered}
    if "edges" in leaves:
        sources["edges"] = draft.add(EdgeSumPart(settings.harmonics_lmax, _radial(settings), INSIDE))
    maps = []
    for name in leaves:
        inside = frozenset(Channels(irrep, INSIDE) for irrep in draft.irreps(sources[name]))
        maps.append(draft.add(LinearPart(inside), sources[name]))
    fused = draft.add(FusionProductPart((tree,), leaves, irreps_of(out), INSIDE, settings.fusion.bound), *maps)
    return (draft.add(LinearPart(out), fused),)


def _fused(features: IrrepSet, gathered: IrrepSet, out: IrrepSet, settings: configuration.Network) -> IrrepSet:
    """The irreps of `out` that the fusion diagram reaches; none without a diagram."""
    if settings.fusion.diagram == "none":
        return frozenset()
    leaves = {"centre": features, "neighbours": gathered, "edges": harmonics(settings.harmonics_lmax)}
    try:
        independent = paths(parse_tree(settings.fusion.diagram), leaves, out, settings.fusion.bound)
    except TesseralError as error:
        raise StudyFileError("network.fusion.diagram", str(error)) from None
    return frozenset(path.irrep for path in independent)


def _reached(draft: Draft, features: int, settings: configuration.Network) -> IrrepSet:
    """The irreps that messages can have."""
    return product(draft.irreps(features), harmonics(settings.harmonics_lmax))


def _channels(irreps: IrrepSet) -> Features:
    return frozenset(Channels(irrep, CHANNELS) for irrep in irreps)
