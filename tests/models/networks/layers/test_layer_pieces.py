"""The pieces of which networks are put together: each is its formula, and what they start as is not out of scale."""

from dataclasses import replace

import pytest
import torch
from e3nn import o3
from torch import Tensor

from tesseral.models.networks.graph import EdgeBasis, Graph, build_graph, join
from tesseral.models.networks.layers.cormorant import CormorantLayer
from tesseral.models.networks.layers.gated import GatedLayer
from tesseral.models.networks.layers.layer import Residual
from tesseral.models.networks.layers.layer_fusion import PRODUCT_SHARE, LayerFusion, diagram_irreps
from tesseral.models.networks.layers.mace import MaceLayer
from tesseral.models.networks.layers.nonlinearity import Saturation
from tesseral.models.networks.network import LAYERS, LinearReadout, Network, build_network, count_parameters
from tesseral.models.networks.sizing.size import Shape, size
from tesseral.models.training.training import train
from tesseral.study import configuration
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.network import Fusion, Hidden
from tesseral.study.parsing.irreps import parse_irreps
from tests.support.synthetic_density import Memory, small_configuration, synthetic_reference, synthetic_trial

SPECIES = torch.tensor([1, 0, 0, 1, 0, 0])
POSITIONS = 1.2 * torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
OUTPUTS = "2x0e+1x0o+1x1e+2x1o+1x2e+1x3o+1x5o"


def asked(hidden: str, **changes) -> configuration.Network:
    return configuration.Network(
        hidden=Hidden(irreps=hidden), **({"layers": 2, "radial_functions": 6, "radial_width": 8} | changes)
    )


def built(settings: configuration.Network, seed: int = 0, elements: int = 2, outputs: str = OUTPUTS) -> Network:
    return build_network(settings, elements, parse_irreps(outputs), num_neighbors=4.0, seed=seed)


def graph(settings: configuration.Network, positions: Tensor = POSITIONS, species: Tensor = SPECIES) -> Graph:
    return build_graph(species, positions, 2, EdgeBasis.from_settings(settings))


@pytest.fixture(autouse=True)
def precise():
    """Modules built by themselves are in the default precision."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(default)


def test_an_embedding_takes_the_place_of_the_one_hot():
    settings = asked("3x0e+2x1o", embedding=5)
    net, one = built(settings), graph(asked("3x0e"))
    assert net.layers[0].irreps_in == o3.Irreps("5x0e")
    entering = net.embedding.weight[SPECIES] / 2**0.5
    features = net.layers[0](entering, one)
    torch.testing.assert_close(net.output(net.layers[1](features, one), one), net(one), rtol=0, atol=1e-14)
    assert built(asked("3x0e+2x1o")).embedding is None


def test_no_embedding_is_a_level_of_it():
    without, none = asked("3x0e+2x1o"), asked("3x0e+2x1o", embedding="none")
    assert none.resolve() == without.resolve()
    net, one = built(none), graph(none)
    assert net.embedding is None
    assert torch.equal(net(one), built(without)(one))
    data, shape = Data(reference="x.parquet", train=1, test=1), Shape(2, parse_irreps(OUTPUTS), 6.0, 20.0)
    sizes = [size(Configuration(data=data, network=settings), shape) for settings in (without, none)]
    assert sizes[0] == sizes[1]
    assert sizes[0].parameters == count_parameters(net)


def test_a_residual_layer_adds_its_input_where_both_have_as_many():
    settings = asked("5x0e+3x1o+2x2e", residual=True, embedding=5, layers=3)
    net, one = built(settings), graph(settings)
    features = net.embedding(one.elements)
    for number, layer in enumerate(net.layers):
        assert isinstance(layer, Residual)
        made = layer.layer(features, one)
        # The embedding has no vectors, nor has it as many scalars as the first layer's gates need.
        shared = slice(0, 5) if number == 0 else slice(0, made.shape[1])
        expected = made.clone()
        expected[:, shared] = (made[:, shared] + features[:, shared]) / 2**0.5
        features = layer(features, one)
        torch.testing.assert_close(features, expected, rtol=0, atol=1e-14)
    # Two elements make no 5x0e: without the embedding the first layer has nothing to add.
    assert not isinstance(built(replace(settings, embedding=None)).layers[0], Residual)


def test_the_linear_readout_is_a_sum_over_layers():
    """Σ_t L_t x_t, each weight divided by the root of the number of all features that it could have stood with."""
    readout = LinearReadout([o3.Irreps("3x0e+2x1o"), o3.Irreps("2x0e+1x1o+1x2e")], o3.Irreps("2x0e+1x1o+1x2e+1x3o"))
    first, second = torch.randn(4, 9), torch.randn(4, 10)
    weights = readout.linear.weight.split([6, 2, 4, 1, 1])
    scalars = first[:, :3] @ weights[0].view(3, 2) + second[:, :2] @ weights[2].view(2, 2)
    vectors = torch.einsum("aui,u->ai", first[:, 3:].view(4, 2, 3), weights[1]) + second[:, 2:5] * weights[3]
    expected = torch.cat([scalars / 5**0.5, vectors / 3**0.5, second[:, 5:] * weights[4], torch.zeros(4, 7)], dim=1)
    torch.testing.assert_close(readout([first, second]), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("interaction", list(LAYERS))
@pytest.mark.parametrize("readout", ["convolution", "linear"])
def test_what_no_layer_makes_is_zero(interaction, readout):
    """To the last bit, in float32: of hidden features that are in reach, and of some that nothing makes."""
    for hidden, reachable in (("2x0o", ()), ("3x0e+2x1o", ("0e", "1o"))):
        settings = asked(hidden, interaction=interaction, readout=readout, harmonics_lmax=1, layers=1)
        net, one = built(settings).float(), graph(settings)
        outputs = net(Graph(*(part.float() if part.is_floating_point() else part for part in one)))
        if readout == "convolution" and reachable:
            reachable = (*reachable, "1e", "2e")
        for (_, ir), part in zip(net.irreps_out, net.irreps_out.slices(), strict=True):
            assert bool((outputs[:, part] != 0).any()) == (str(ir) in reachable)


def test_saturation_is_its_formula():
    saturate, x = Saturation(o3.Irreps("10x0e+10x1o")), torch.randn(5, 40)
    x[0], x[1] = 0, x[1] * 1e6
    x[2, :10] *= x[2, :10].square().mean() ** -0.5
    expected = [part * (2 / (1 + part.square().mean(dim=1, keepdim=True))) ** 0.5 for part in x.split([10, 30], dim=1)]
    torch.testing.assert_close(saturate(x), torch.cat(expected, dim=1))
    torch.testing.assert_close(saturate(x)[2, :10], x[2, :10])
    assert saturate(x)[1, 10:].square().mean() == pytest.approx(2)
    small = Saturation(o3.Irreps("1x0e+1x1o"))
    assert torch.autograd.gradgradcheck(small, x[2:4, :4].clone().requires_grad_())


@pytest.mark.parametrize("interaction", ["cormorant", "mace"])
def test_no_irrep_of_a_product_feels_another(interaction):
    """Scalars of scalars that no path joins to a direction do not change with the angles of a molecule."""
    settings = asked("2x0e", interaction=interaction, harmonics_lmax=2, correlation=1, layers=1, readout="linear")
    net = built(settings)
    one = graph(settings)
    turned = one.harmonics.clone()
    turned[:, 1:] = torch.randn_like(turned[:, 1:])
    torch.testing.assert_close(net(one), net(one._replace(harmonics=turned)), rtol=0, atol=1e-14)


@pytest.mark.parametrize("saturation", [True, False])
def test_the_cormorant_layer_is_its_formula(saturation):
    """For scalars every product is a plain one: √(1−p) L(x ⊕ G) + √p M(U·U ⊕ U·G)."""
    settings = asked("2x0e", interaction="cormorant", harmonics_lmax=0, saturation=saturation).resolve()
    layer = CormorantLayer(o3.Irreps("3x0e"), o3.Irreps("2x0e"), settings, elements=2, num_neighbors=4.0)
    one, x = graph(settings), torch.randn(6, 3)
    gathered = 2 * layer.messages(x, one)
    saturate = Saturation(o3.Irreps("2x0e")) if saturation else torch.nn.Identity()
    own = saturate(x @ layer.own.weight.view(3, 2) / 3**0.5)
    linear = torch.cat([x, gathered], dim=1) @ layer.linear.weight.view(-1, 2) / 5**0.5
    squares = torch.stack([own * own, own * saturate(gathered)], dim=2).flatten(1)
    mixed = squares @ layer.mix.weight.view(4, 2) / 4**0.5
    expected = (1 - PRODUCT_SHARE) ** 0.5 * linear + PRODUCT_SHARE**0.5 * mixed
    torch.testing.assert_close(layer(x, one), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("saturation", [True, False])
def test_the_mace_layer_is_its_formula(saturation):
    """For scalars: A, A² and A³ with weights for each element, and the self-connection, half the variance each."""
    settings = asked("2x0e", interaction="mace", harmonics_lmax=0, correlation=3, saturation=saturation).resolve()
    layer = MaceLayer(o3.Irreps("3x0e"), o3.Irreps("2x0e"), settings, elements=2, num_neighbors=4.0)
    one, x = graph(settings), torch.randn(6, 3)
    gathered = 2 * layer.messages(x, one)
    entering = Saturation(o3.Irreps("2x0e"))(gathered) if saturation else gathered
    powers = layer.contraction(entering, one.elements)
    # Each weight is found by what the layer makes of that power alone.
    ones = torch.ones(2, 2)
    steps = [layer.contraction(scale * ones, torch.eye(2)) for scale in (1.0, 2.0, 3.0)]
    weights = torch.linalg.solve(
        torch.tensor([[scale**degree for degree in (1, 2, 3)] for scale in (1.0, 2.0, 3.0)]),
        torch.stack(steps).flatten(1),
    ).view(3, 2, 2)[:, SPECIES]
    expected = sum(weight * entering**degree for degree, weight in enumerate(weights, start=1))
    torch.testing.assert_close(powers, expected, rtol=0, atol=1e-12)
    own = layer.self_connection(x, one.elements) * 2**0.5
    made = (powers @ layer.update.weight.view(2, 2) / 2**0.5 + own) / 2**0.5
    torch.testing.assert_close(layer(x, one), made, rtol=0, atol=1e-13)


def in_powers(layer: torch.nn.Module, x: Tensor, one: Graph, degree: int) -> tuple[Tensor, float]:
    """The polynomial of that degree in a factor on the messages that a layer is at `degree` + 1 factors: coefficients,
    and how far it is from the layer at further factors, as a part of the largest feature."""

    def made(factors: list[float]) -> Tensor:
        return torch.stack([layer(x, one._replace(harmonics=factor * one.harmonics)).detach() for factor in factors])

    first, further = [0.25 * number for number in range(degree + 1)], [-1.0, 1.7, 2.5]
    powers = [torch.tensor([[factor**power for power in range(degree + 1)] for factor in s]) for s in (first, further)]
    coefficients = torch.linalg.solve(powers[0], made(first).flatten(1))
    found, expected = powers[1] @ coefficients, made(further).flatten(1)
    return coefficients, float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(
    ("interaction", "degree", "changes"),
    [
        ("mace", 1, {"correlation": 1}),
        ("mace", 2, {"correlation": 2}),
        ("mace", 3, {"correlation": 3}),
        ("mace", 4, {"correlation": 4}),
        ("mace", 3, {"correlation": 2, "fusion": Fusion(diagram="((neighbours neighbours) neighbours)", k_max=1)}),
        ("cormorant", 1, {}),
        ("cormorant", 4, {"fusion": Fusion(diagram="((neighbours edges) (neighbours edges))", k_max=1)}),
    ],
)
def test_without_saturation_a_layer_is_a_polynomial_in_what_it_gathers(interaction, degree, changes):
    """The degree is `correlation`, or the number of gathered leaves of a diagram; with saturation there is none."""
    layers = []
    for saturation in (False, True):
        torch.manual_seed(1)
        settings = asked(
            "2x0e+2x1o", interaction=interaction, harmonics_lmax=1, saturation=saturation, **changes
        ).resolve()
        layers.append(
            LAYERS[interaction](o3.Irreps("3x0e+2x1o"), o3.Irreps("2x0e+2x1o"), settings, elements=2, num_neighbors=4.0)
        )
    plain, saturated = layers
    saturated.load_state_dict(plain.state_dict())
    one, x = graph(settings), torch.randn(6, 9)
    coefficients, error = in_powers(plain, x, one, degree)
    assert error < 1e-11
    assert coefficients[degree].abs().max() > 1e-3  # it is of no lower degree
    assert in_powers(saturated, x, one, degree)[1] > 1e-3


def test_a_diagram_without_saturation_is_its_formula():
    """√(1−p) y + √p F(x, g, e) of the leaves as they are."""
    tree, hidden = "((neighbours edges) centre)", o3.Irreps("2x0e+2x1o")
    for saturation in (True, False):
        torch.manual_seed(2)
        settings = asked(str(hidden), fusion=Fusion(diagram=tree), harmonics_lmax=1, saturation=saturation).resolve()
        fusion = LayerFusion(hidden, hidden, hidden, {ir for _, ir in hidden}, settings, num_neighbors=4.0)
        one, (y, x, g) = graph(settings), 3 * torch.randn(3, 6, 8)
        added = fusion.block({"centre": x, "neighbours": g, "edges": fusion.edges(one)})
        expected = (1 - PRODUCT_SHARE) ** 0.5 * y + PRODUCT_SHARE**0.5 * added
        assert torch.allclose(fusion(y, x, g, one), expected, rtol=0, atol=1e-13) != saturation


@pytest.mark.parametrize("interaction", ["gated", "cormorant", "mace"])
@pytest.mark.parametrize("fusion", [Fusion(), Fusion(diagram="((neighbours edges) centre)", k_max=1)])
def test_saturation_changes_outputs_and_no_size(interaction, fusion):
    """But of a gated network without a diagram, which has no products: there it is left out."""
    settings = asked("4x0e+2x1o+2x2e", interaction=interaction, fusion=fusion, harmonics_lmax=2)
    without = replace(settings, saturation=False)
    idle = interaction == "gated" and fusion.diagram == "none"
    assert (without.resolve() == settings.resolve()) == idle
    assert without.resolve().saturation == idle
    one, nets = graph(settings), [built(each) for each in (settings, without)]
    weights = [dict(net.named_parameters()) for net in nets]
    assert list(weights[0]) == list(weights[1])
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())
    assert torch.equal(nets[0](one), nets[1](one)) == idle
    data, shape = Data(reference="x.parquet", train=1, test=1), Shape(2, parse_irreps(OUTPUTS), 6.0, 20.0)
    sizes = [size(Configuration(data=data, network=each), shape) for each in (settings, without)]
    assert sizes[0] == sizes[1]


def test_products_make_what_no_convolution_does():
    """1e is x·x of no single channel, but of vectors that differ: an atom's own and those that it gathers."""
    settings = asked("2x0e+2x1o+2x1e", interaction="cormorant", harmonics_lmax=1).resolve()
    layer = CormorantLayer(
        o3.Irreps("2x0e+2x1o"), o3.Irreps(settings.hidden.irreps), settings, elements=2, num_neighbors=4.0
    )
    assert layer.irreps_out == o3.Irreps("2x0e+2x1e+2x1o")
    made = layer(torch.randn(6, 8), graph(settings))
    assert (made[:, layer.irreps_out.slices()[1]].abs() > 1e-4).any(dim=1).all()


@pytest.mark.parametrize(
    ("diagram", "k_max", "expected"),
    [
        ("(neighbours neighbours)", None, "2x0e+2x1o+1x2e"),
        ("(centre centre)", None, "2x0e+2x1o"),
        ("((edges edges) edges)", 2, "2x0e+2x1o+1x2e+1x3o"),
        ("((edges edges) edges)", 0, "2x0e+2x1o"),
    ],
)
def test_a_diagram_in_the_gated_layer_reaches_further(diagram, k_max, expected):
    """With harmonics of l ≤ 1, whatever it makes enters the gate; what nothing makes is left out."""
    settings = asked(
        "2x0e+2x1o+1x2e+1x3o", harmonics_lmax=1, fusion=Fusion(diagram=diagram, k_max=k_max, channels=3)
    ).resolve()
    layer = GatedLayer(o3.Irreps("3x0e"), o3.Irreps(settings.hidden.irreps), settings, elements=2, num_neighbors=4.0)
    assert layer.irreps_out == o3.Irreps(expected)
    assert layer.fusion.irreps_out == layer.gate.irreps_in
    one, x = graph(settings), torch.randn(6, 3)
    made = layer(x, one)
    assert all((made[:, part].abs() > 1e-6).any() for part in layer.irreps_out.slices())
    convolved = layer.convolution(x, one)
    reached = [
        part for (_, ir), part in zip(layer.gate.irreps_in, layer.gate.irreps_in.slices(), strict=True) if ir.l < 2
    ]
    messages = 2 * layer.convolution.messages(x, one)
    leaf = torch.cat([messages[:, part] for part in reached], dim=1)
    leaves = {"centre": x, "neighbours": leaf}
    if layer.fusion.edges is not None:
        leaves["edges"] = layer.fusion.edges(one)
    added = layer.fusion.block({name: bound(leaves[name]) for name, bound in layer.fusion.saturations.items()})
    total = convolved + added
    both = (convolved.abs().amax(dim=0) > 0) & (added.abs().amax(dim=0) > 0)
    total[:, both] = (1 - PRODUCT_SHARE) ** 0.5 * convolved[:, both] + PRODUCT_SHARE**0.5 * added[:, both]
    torch.testing.assert_close(made, layer.gate(total), rtol=0, atol=1e-13)


def test_a_diagram_that_reaches_nothing_is_left_out():
    """No weights that no gradient reaches: three scalars and their edges make no 0o."""
    for interaction in LAYERS:
        settings = asked("2x0o", interaction=interaction, fusion=Fusion(diagram="((edges edges) centre)"), layers=1)
        assert count_parameters(built(settings)) == count_parameters(built(replace(settings, fusion=Fusion())))
    settings = asked("2x0o+2x0e", fusion=Fusion(diagram="(neighbours edges)")).resolve()
    scalars = o3.Irreps("2x0e")
    assert diagram_irreps(scalars, scalars, o3.Irreps("1x0o+3x0e+1x1e"), settings) == {o3.Irrep("0e")}


def structures(elements: int) -> list[Graph]:
    """Three of twelve atoms, a few neighbours each."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(3):
        grid = torch.cartesian_prod(*[torch.arange(3.0)] * 3)[torch.randperm(27, generator=generator)[:12]]
        positions = 2.2 * grid + 0.3 * torch.randn(12, 3, generator=generator)
        species = torch.randint(elements, (12,), generator=generator)
        made.append(build_graph(species, positions, elements, EdgeBasis(cutoff=3.5, lmax=2, number=6)))
    return made


@pytest.mark.parametrize("elements", [1, 5])
@pytest.mark.parametrize("fusion", [Fusion(), Fusion(diagram="((neighbours neighbours) centre)", k_max=1)])
def test_outputs_start_at_order_one_at_every_depth(fusion, elements):
    """Six starts of one and of four layers: no variance is much above one, and four layers keep that of one."""
    together = join(structures(elements))
    neighbors = len(together.source) / len(together.species)
    outputs = parse_irreps("4x0e+4x1o+4x2e")
    means = []
    for layers in (1, 4):
        settings = asked("8x0e+4x1o+4x2e", interaction="cormorant", layers=layers, harmonics_lmax=2, fusion=fusion)
        found = []
        for seed in range(6):
            net = build_network(settings, elements, outputs, num_neighbors=neighbors, seed=seed)
            with torch.no_grad():
                found.append(float(net(together).square().mean()))
        assert max(found) < 10
        means.append(float(torch.tensor(found).log().mean().exp()))
    assert min(means) > 0.02
    assert max(means) / min(means) < 10


@pytest.mark.parametrize(
    "network",
    [
        {"interaction": "cormorant", "layers": 4},
        {"interaction": "cormorant", "fusion": Fusion(diagram="(((neighbours edges) neighbours) centre)", k_max=1)},
        {"fusion": Fusion(diagram="((neighbours neighbours) centre)"), "residual": True, "embedding": 6},
    ],
)
def test_training_at_a_large_step_size_does_not_diverge(network):
    """In float32, at the default learning rate, on synthetic densities."""
    reference = synthetic_reference(18)
    settings = small_configuration(hidden="6x0e+4x1o+2x2e", epochs=8, **network)
    assert settings.training.learning_rate == 1e-2
    recorder = Memory()
    train(synthetic_trial(reference, settings), reference, recorder, device="cpu")
    losses = [row["value"] for row in recorder.curve_rows if row["metric"] == "loss"]
    assert losses[-1] < 0.5 * losses[0]


MILLER = {
    "radial_basis": "bessel",
    "radial_functions": 50,
    "radial_cutoff": 10.0,
    "radial_width": 128,
    "radial_layers": 2,
    "embedding": 128,
    "layers": 3,
    "readout": "linear",
    "harmonics_lmax": 1,
}


@pytest.mark.parametrize(
    ("hidden", "weights"),
    [
        # Of a layer: self-connection, A, radial network, B. The first layer's features are the embedding's.
        ("128x0e", 5 * 128 + 3 * (128 * 5 * 128 + 128**2 + (50 + 128 + 128) * 128 + 128**2) + 3 * 128),
        (
            "64x0e+21x1o",
            5 * 128
            # 128x0e → 85x0e+21x1o: scalars of 64 and the gates of 21 vectors, by two paths
            + 128 * 5 * 85 + 128**2 + (50 + 128 + 2 * 128) * 128 + 128 * (85 + 21)
            # 64x0e+21x1o → 85x0e+21x1o: two paths of each
            + 2 * ((64 * 85 + 21 * 21) * 5 + 64**2 + 21**2 + (50 + 128 + 2 * 85) * 128 + (64 + 21) * (85 + 21))
            + 3 * (64 + 21),
        ),
    ],
)  # fmt: skip
def test_millers_networks(hidden, weights):
    """128x0 and 64x0+21x1 of arXiv 2008.08461, for a scalar and a vector: parameters by hand, and what they give."""
    settings = asked(hidden, **MILLER)
    net = build_network(settings, 5, parse_irreps("1x0e+1x1o"), num_neighbors=8.0, seed=0)
    assert count_parameters(net) == weights
    whole = Configuration(data=Data(reference="x.parquet", train=1, test=1), network=settings)
    assert size(whole, Shape(5, parse_irreps("1x0e+1x1o"), 18.0, 200.0)).parameters == weights
    positions = 2.0 * torch.randn(9, 3, generator=torch.Generator().manual_seed(2))
    species = torch.arange(9) % 5
    outputs = net(build_graph(species, positions, 5, EdgeBasis.from_settings(settings)))
    rotation = -o3.rand_matrix()
    turned = net(build_graph(species, positions @ rotation.T + 3.0, 5, EdgeBasis.from_settings(settings)))
    expected = outputs @ o3.Irreps("1x0e+1x1o").D_from_matrix(rotation).T
    torch.testing.assert_close(turned, expected, rtol=0, atol=1e-9 * float(expected.detach().abs().max()))
    assert bool((outputs[:, 1:] == 0).all()) == (hidden == "128x0e")
    assert outputs.square().mean() < 100
