"""The settings of a network: embedding, readout, saturation, depth and published sizes, for layers of every kind."""

from dataclasses import replace

import pytest
import torch
from e3nn import o3

from tesseral.models.networks.graph import EdgeBasis, Graph, build_graph, join
from tesseral.models.networks.network import LAYERS, LinearReadout, build_network, count_parameters
from tesseral.models.networks.sizing.size import Shape, size
from tesseral.models.training.training import train
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.network import Fusion
from tesseral.study.parsing.irreps import parse_irreps
from tests.support.small_networks import OUTPUTS, SPECIES, asked, built, graph
from tests.support.synthetic_density import Memory, small_configuration, synthetic_reference, synthetic_trial


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
        squares = []
        for seed in range(6):
            net = build_network(settings, elements, outputs, num_neighbors=neighbors, seed=seed)
            with torch.no_grad():
                squares.append(float(net(together).square().mean()))
        assert max(squares) < 10
        means.append(float(torch.tensor(squares).log().mean().exp()))
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
