"""Blueprints of all networks against networks that were built: reach, dead irreps, and sizes to the last parameter."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from e3nn import o3
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tesseral.models.networks.network import Network
from tesseral.models.networks.sizing.architecture import _blueprint, blueprint
from tesseral.models.networks.sizing.blueprint import irreps_of
from tesseral.models.networks.sizing.reach import unreachable
from tesseral.models.networks.sizing.size import Shape, size
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.network import Fusion
from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.fusion_tree import LEAVES, Tree, layer_irreps, parse_tree
from tesseral.study.parsing.irreps import MulIrrep, format_irreps, parse_irreps
from tests.models.networks.sizing.test_size import WATER, build, geometry, irreps, measured, shape_of
from tests.support.dead_irreps import dead
from tests.support.synthetic_density import small_configuration

SHAPE = Shape(2, WATER, atoms=6.0, edges=20.0)
NO_FUSION = st.just(Fusion())
FEW = settings(max_examples=6, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
"""Examples take a second each: shrinking would take minutes."""


@pytest.fixture(autouse=True)
def _precise() -> Iterator[None]:
    """Networks are built in float64, as `build_network` builds them."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(default)


def trees(most: int) -> st.SearchStrategy[Tree]:
    leaves = st.sampled_from(LEAVES)
    return st.recursive(leaves, lambda inner: st.builds(Tree, inner, inner), max_leaves=most).filter(
        lambda tree: isinstance(tree, Tree) and len(tree.leaves) <= most
    )


FUSION = st.builds(
    Fusion,
    diagram=trees(3).map(str),
    k_max=st.sampled_from([None, 0, 1, 2]),
    channels=st.sampled_from([None, 1, 3]),
)


def check(configuration: Configuration, layout: tuple[MulIrrep, ...], elements: int, seed: int) -> None:
    expected = measured(configuration, elements, layout, seed)
    # The geometry of the operations counted is that of the last draw.
    graph = geometry(configuration, elements, seed + 2)
    assert size(configuration, shape_of(graph, elements, layout)) == expected
    check_reach(configuration, build(configuration, elements, layout, seed), layout, elements, seed)


def check_reach(
    configuration: Configuration, network: Network, layout: tuple[MulIrrep, ...], elements: int, seed: int
) -> None:
    """Outputs and hidden irreps are exactly zero, or have no gradient, if and only if it was predicted."""
    features: list[torch.Tensor] = []
    for layer in network.layers:
        layer.register_forward_hook(lambda *call: features.append(call[-1]))
    output = network(geometry(configuration, elements, seed))
    zero = tuple(
        term for term, part in zip(layout, network.irreps_out.slices(), strict=True) if (output[:, part] == 0).all()
    )
    assert unreachable(configuration, layout) == zero
    gradients: tuple[torch.Tensor | None, ...] = (None,) * len(features)
    if output.requires_grad:
        gradients = torch.autograd.grad((torch.randn_like(output) * output).sum(), features, allow_unused=True)
    expected = []
    for number, (layer, values, gradient) in enumerate(zip(network.layers, features, gradients, strict=True), start=1):
        parts = dict(zip((ir for _, ir in layer.irreps_out), layer.irreps_out.slices(), strict=True))
        for term in parse_irreps(configuration.network.hidden.irreps):
            part = parts.get(o3.Irrep(term.l, term.p))
            if part is None or (values[:, part] == 0).all():
                expected.append((number, term, "never produced"))
            elif gradient is None or (gradient[:, part] == 0).all():
                expected.append((number, term, "never read"))
    assert dead(configuration, layout) == expected


def networks(fusion: st.SearchStrategy[Fusion]) -> dict[str, st.SearchStrategy]:
    return {
        "hidden": irreps(4, 2, 3),
        "layout": irreps(3, 3, 3),
        "layers": st.integers(1, 3),
        "harmonics": st.integers(0, 2),
        "radial": st.integers(0, 1),
        "elements": st.integers(1, 3),
        "embedding": st.sampled_from([None, "none", 1, 2, 3]),
        "residual": st.booleans(),
        "readout": st.sampled_from(["convolution", "linear"]),
        "correlation": st.integers(1, 3),
        "fusion": fusion,
        "saturation": st.booleans(),
        "seed": st.integers(0, 2**31),
    }


def any_network(interaction, hidden, layout, elements, seed, *, harmonics, radial, **changes):
    configuration = small_configuration(
        hidden=format_irreps(hidden),
        interaction=interaction,
        harmonics_lmax=harmonics,
        radial_layers=radial,
        radial_width=5,
        batch_size=1,
        **changes,
    )
    check(configuration, layout, elements, seed)


@pytest.mark.parametrize("interaction", ["gated", "cormorant", "mace"])
def test_any_network(interaction):
    @FEW
    @given(**networks(NO_FUSION))
    def run(hidden, layout, elements, seed, **changes):
        any_network(interaction, hidden, layout, elements, seed, **changes)

    run()


@pytest.mark.parametrize("interaction", ["gated", "cormorant", "mace"])
def test_any_network_with_a_fusion_diagram(interaction):
    @FEW
    @given(**networks(FUSION))
    def run(hidden, layout, elements, seed, **changes):
        any_network(interaction, hidden, layout, elements, seed, **changes)

    run()


@pytest.mark.parametrize(
    ("interaction", "hidden", "changes"),
    [
        ("cormorant", "24x0e+12x1o+8x2e", {"layers": 2}),
        ("cormorant", "16x0e+16x0o+16x1e+16x1o", {"layers": 3, "residual": True, "embedding": 16}),
        ("mace", "32x0e+16x1o", {"layers": 2, "correlation": 3, "harmonics_lmax": 3}),
        ("mace", "16x0e+16x1o+16x2e", {"layers": 2, "correlation": 4, "harmonics_lmax": 2}),
        ("gated", "16x0e+8x1o+8x2e", {"fusion": Fusion(diagram="((neighbours neighbours) centre)")}),
        ("gated", "16x0e+8x1o+8x2e", {"fusion": Fusion(diagram="((edges edges) (edges neighbours))", k_max=1)}),
    ],
)
def test_usual_widths(interaction, hidden, changes):
    configuration = small_configuration(hidden=hidden, interaction=interaction, batch_size=1, **changes)
    check(configuration, WATER, 2, 0)


def scalars(interaction: str, **changes: object) -> Configuration:
    """One layer of three scalars without directions, six radial functions and eight neurons."""
    return small_configuration(
        hidden="3x0e", interaction=interaction, layers=1, harmonics_lmax=0, radial_width=8, batch_size=1, **changes
    )


def test_mace_by_hand():
    """Two elements: in the first layer the self-connection is live where the element is its own."""
    elements, hidden, scalar = 2, 3, 12
    messages = elements**2 + (6 * 8 + 8 * elements) + elements * hidden
    powers = 4 * hidden * elements  # one path of each degree
    update = hidden * hidden
    counted = size(scalars("mace", correlation=4), SHAPE)
    assert counted.parameters == messages + powers + update + elements * elements * hidden + hidden * scalar
    assert counted.parameters_live == counted.parameters - elements * hidden
    assert counted.components == hidden


def test_cormorant_by_hand():
    elements, hidden, scalar = 2, 3, 12
    gathered = elements**2 + (6 * 8 + 8 * elements) + elements * hidden
    own, carried, mixed = elements * hidden, (elements + hidden) * hidden, 2 * hidden * hidden
    counted = size(scalars("cormorant"), SHAPE)
    assert counted.parameters == gathered + own + carried + mixed + hidden * scalar
    assert counted.parameters_live == counted.parameters


def test_fusion_by_hand():
    """One path: a map of each leaf to five channels, and one back; the edges have a radial network of their own."""
    channels, elements, hidden = 5, 2, 3
    without = size(scalars("gated"), SHAPE).parameters
    equal = scalars("gated", fusion=Fusion(diagram="((centre centre) centre)", channels=channels))
    assert size(equal, SHAPE).parameters - without == elements * channels + channels * hidden
    distinct = scalars("gated", fusion=Fusion(diagram="(centre edges)", channels=channels))
    edges = (6 * 8 + 8 * channels) + channels**2
    assert size(distinct, SHAPE).parameters - without == elements * channels + edges + channels * hidden


def test_what_does_not_depend_on_multiplicities_is_found_once():
    """A match counts a hundred sizes of an arm."""
    fusion = Fusion(diagram="((neighbours neighbours) centre)", k_max=1)
    for interaction in ("gated", "cormorant", "mace"):
        sizes = set()
        before = _blueprint.cache_info()
        for mul in range(10, 30):
            hidden = f"{mul}x0e+{mul}x1o+{mul // 2}x2e"
            configuration = small_configuration(hidden=hidden, interaction=interaction, layers=7, fusion=fusion)
            sizes.add(size(configuration, SHAPE).parameters_live)
        after = _blueprint.cache_info()
        assert len(sizes) == 20
        assert (after.misses - before.misses, after.hits - before.hits) == (1, 19)


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("network.correlation", {"interaction": "mace", "correlation": 4}),
        ("network.fusion.diagram", {"fusion": Fusion(diagram="((neighbours edges) (neighbours edges))")}),
    ],
)
def test_what_is_too_large_to_build_is_refused(path, changes):
    hidden = "+".join(f"4x{order}{parity}" for order in range(5) for parity in "eo")
    configuration = small_configuration(hidden=hidden, harmonics_lmax=4, **changes)
    with pytest.raises(StudyFileError, match=f"^{path}: expected .* got"):
        size(configuration, SHAPE)


def test_any_network_is_counted_without_torch():
    program = """
import sys
from tesseral.models.networks.sizing.facts import network_facts
from tesseral.models.networks.sizing.size import Shape
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.network import Fusion, Hidden, Network
from tesseral.study.parsing.irreps import parse_irreps

fusion = Fusion(diagram="((neighbours edges) centre)")
for interaction in ("gated", "cormorant", "mace"):
    network = Network(interaction=interaction, hidden=Hidden(lmax=1), fusion=fusion, layers=1)
    configuration = Configuration(data=Data(reference="a", train=1, test=1), network=network)
    assert network_facts(configuration, Shape(2, parse_irreps("1x0e"), atoms=6.0, edges=20.0)).size.parameters
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("interaction", ["gated", "cormorant", "mace"])
@pytest.mark.parametrize("hidden", ["4x0e+4x1o+4x2e", "4x1o+4x2e", "4x0e+4x0o+4x1e+4x1o"])
def test_leaves_of_a_diagram_are_those_that_its_text_and_drawing_assume(interaction, hidden):
    """`layer_irreps` says what enters a diagram in a layer whose input has all hidden irreps."""
    diagram = "((centre neighbours) edges)"
    configuration = small_configuration(
        hidden=hidden, layers=4, interaction=interaction, harmonics_lmax=2, fusion=Fusion(diagram=diagram)
    )
    leaves, roots = layer_irreps(interaction, [(term.l, term.p) for term in parse_irreps(hidden)], 2)
    network, _ = blueprint(configuration, parse_irreps("1x0e+1x1o"), 2)
    tree = parse_tree(diagram)
    places = [place for place, _ in network.places if getattr(place.part, "trees", None) == (tree,)]
    assert places
    last = places[-1]
    assert [irreps_of(features) for features in last.inputs] == [leaves[name] for name in last.part.leaves]
    assert irreps_of(last.produced) <= roots
