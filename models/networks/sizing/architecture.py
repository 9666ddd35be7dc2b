"""The blueprint of the network that a configuration asks for, part by part as `tesseral.models.networks.network` builds
it."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache

from tesseral.models.networks.paths.fusion_paths import paths
from tesseral.models.networks.paths.selection_rules import SCALAR, Orders, harmonics, product
from tesseral.models.networks.sizing.blueprint import Blueprint, Channels, Draft, Features, Width, Widths, orders
from tesseral.models.networks.sizing.contraction_part import SymmetricContraction
from tesseral.models.networks.sizing.convolution_parts import Messages, SelfConnection
from tesseral.models.networks.sizing.fusion_parts import EdgeSum, FusionProduct
from tesseral.models.networks.sizing.parts import (
    ELEMENTS,
    EMBEDDED,
    Embedding,
    Gate,
    Linear,
    OneHot,
    Residual,
    Sum,
    before_gate,
    hidden,
)
from tesseral.study import configuration
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.network import Hidden
from tesseral.study.errors import StudyFileError, TesseralError
from tesseral.study.parsing.fusion_tree import Tree, parse_tree
from tesseral.study.parsing.irreps import MulIrrep, parse_irreps

CHANNELS: Width = ("channels", None)
"""As many as there are of the rarest hidden irrep."""
INSIDE: Width = ("fusion", None)
"""Inside a fusion diagram."""


def hidden_irreps(configuration: Configuration) -> tuple[MulIrrep, ...]:
    """The hidden irreps that a configuration asks for, in canonical order."""
    return parse_irreps(configuration.network.hidden.resolve().irreps or "")


def blueprint(configuration: Configuration, layout: Iterable[MulIrrep], elements: int) -> tuple[Blueprint, Widths]:
    """The blueprint of a configuration's network, and its numbers of channels.

    :param layout: its outputs.
    :param elements: length of the one-hot.
    :raises StudyFileError: if a diagram or a symmetric power has too many paths.
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
    found = _blueprint(
        replace(settings, hidden=Hidden(irreps="1x0e"), num_neighbors=None),
        frozenset((term.l, term.p) for term in terms),
        frozenset((term.l, term.p) for term in layout),
        entering == numbers.get(("hidden", SCALAR)),
    )
    return found, Widths(numbers)


@lru_cache(maxsize=512)
def _blueprint(settings: configuration.Network, asked: Orders, layout: Orders, alike: bool) -> Blueprint:
    """Of hidden irreps `asked`; `alike`: whether as many scalars enter the first layer as are asked of it."""
    settings = settings.resolve()
    draft = Draft()
    features = draft.add(OneHot())
    if settings.embedded is not None:
        features = draft.add(Embedding(), features)
    layers: list[int] = []
    for _ in range(settings.layers):
        made = LAYERS[settings.interaction](draft, features, settings, asked)
        # Every layer makes as many of an irrep as any other; what enters the first one may be fewer or more.
        shared = draft.orders(features) & draft.orders(made) if layers or alike else frozenset()
        features = draft.add(Residual(shared), made, features) if settings.residual and shared else made
        layers.append(features)
    outputs = frozenset(Channels(irrep, ("output", irrep)) for irrep in layout)
    if settings.readout == "linear":
        output = draft.add(Linear(outputs), *layers)
    else:
        output = _convolution(draft, features, settings, outputs)
    return draft.finish(layers, output)


def _gated(draft: Draft, features: int, settings: configuration.Network, asked: Orders) -> int:
    """Of `tesseral.models.networks.layers.gated`."""
    entering, reached = draft.orders(features), _reached(draft, features, settings)
    made = reached & asked
    while True:
        out = frozenset(map(hidden, made))
        fused = _fused(entering, reached & orders(before_gate(out)), asked, settings)
        if fused <= made:
            break
        made |= fused  # what the diagram alone reaches has gates, and these may be a leaf that reaches more
    own = draft.add(SelfConnection(before_gate(out)), features)
    gathered = _messages(draft, features, settings, before_gate(out))
    added = _fusion(draft, features, gathered, settings, before_gate(out))
    return draft.add(Gate(out), draft.add(Sum(), own, gathered, *added))


def _cormorant(draft: Draft, features: int, settings: configuration.Network, asked: Orders) -> int:
    """Of `tesseral.models.networks.layers.cormorant`."""
    own = draft.add(Linear(_channels(draft.orders(features))), features)
    gathered = _messages(draft, features, settings, _channels(_reached(draft, features, settings) & asked))
    trees = Tree("centre", "centre"), Tree("centre", "neighbours")
    products = draft.add(FusionProduct(trees, ("centre", "neighbours"), asked, CHANNELS), own, gathered)
    out = frozenset(map(hidden, asked))
    carried, mixed = draft.add(Linear(out), features, gathered), draft.add(Linear(out), products)
    return draft.add(Sum(), carried, mixed, *_fusion(draft, features, gathered, settings, out))


def _mace(draft: Draft, features: int, settings: configuration.Network, asked: Orders) -> int:
    """Of `tesseral.models.networks.layers.mace`."""
    kept = asked | harmonics(settings.harmonics_lmax)
    gathered = _messages(draft, features, settings, _channels(_reached(draft, features, settings) & kept))
    try:
        powers = draft.add(SymmetricContraction(asked, settings.correlation, CHANNELS), gathered)
    except TesseralError as error:
        advice = "a lower one, fewer hidden irreps or harmonics of smaller l have fewer"
        came = f"expected a correlation of fewer paths, got {settings.correlation}; {advice} ({error})"
        raise StudyFileError("network.correlation", came) from None
    out = frozenset(map(hidden, asked))
    updated, carried = draft.add(Linear(out), powers), draft.add(SelfConnection(out), features)
    return draft.add(Sum(), updated, carried, *_fusion(draft, features, gathered, settings, out))


LAYERS: dict[str, Callable[[Draft, int, configuration.Network, Orders], int]] = {
    "gated": _gated,
    "cormorant": _cormorant,
    "mace": _mace,
}
"""By `network.interaction`."""


def _convolution(draft: Draft, features: int, settings: configuration.Network, asked: Features) -> int:
    """Of `tesseral.models.networks.layers.convolution`."""
    own = draft.add(SelfConnection(asked), features)
    return draft.add(Sum(), own, _messages(draft, features, settings, asked))


def _messages(draft: Draft, features: int, settings: configuration.Network, asked: Features) -> int:
    return draft.add(Messages(asked, settings.harmonics_lmax, _radial(settings)), features)


def _radial(settings: configuration.Network) -> tuple[int, ...]:
    return (settings.radial_functions, *settings.radial_layers * [settings.radial_width])


def _fusion(
    draft: Draft, features: int, gathered: int, settings: configuration.Network, out: Features
) -> tuple[int, ...]:
    """Of `tesseral.models.networks.layers.layer_fusion`; nothing if it makes none of `out`."""
    if not _fused(draft.orders(features), draft.orders(gathered), orders(out), settings):
        return ()
    tree = parse_tree(settings.fusion.diagram)
    leaves = tuple(sorted(set(tree.leaves)))
    sources = {"centre": features, "neighbours": gathered}
    if "edges" in leaves:
        sources["edges"] = draft.add(EdgeSum(settings.harmonics_lmax, _radial(settings), INSIDE))
    maps = []
    for name in leaves:
        inside = frozenset(Channels(irrep, INSIDE) for irrep in draft.orders(sources[name]))
        maps.append(draft.add(Linear(inside), sources[name]))
    fused = draft.add(FusionProduct((tree,), leaves, orders(out), INSIDE, settings.fusion.bound), *maps)
    return (draft.add(Linear(out), fused),)


def _fused(features: Orders, gathered: Orders, out: Orders, settings: configuration.Network) -> Orders:
    """What the diagram makes of `out`; nothing if there is none."""
    if settings.fusion.diagram == "none":
        return frozenset()
    leaves = {"centre": features, "neighbours": gathered, "edges": harmonics(settings.harmonics_lmax)}
    try:
        found = paths(parse_tree(settings.fusion.diagram), leaves, out, settings.fusion.bound)
    except TesseralError as error:
        raise StudyFileError("network.fusion.diagram", str(error)) from None
    return frozenset(path.irrep for path in found)


def _reached(draft: Draft, features: int, settings: configuration.Network) -> Orders:
    """What messages can make of features."""
    return product(draft.orders(features), harmonics(settings.harmonics_lmax))


def _channels(irreps: Orders) -> Features:
    """As many of each as there are of the rarest hidden irrep."""
    return frozenset(Channels(irrep, CHANNELS) for irrep in irreps)
