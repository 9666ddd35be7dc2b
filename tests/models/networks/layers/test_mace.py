"""The MACE-like layer: its formula, what it makes, symmetry, first features of order 1 at any depth, learning."""

import pytest
import torch
from e3nn import o3

from tesseral.models.networks.graph import EdgeBasis, Graph, build_graph, join
from tesseral.models.networks.layers.mace import MaceLayer, contraction_irreps
from tesseral.models.networks.layers.nonlinearity import Saturation
from tesseral.models.networks.network import Network, build_network
from tesseral.models.training.training import train
from tesseral.study import configuration
from tesseral.study.configuration.network import Fusion, Hidden
from tests.support.synthetic_density import BASIS, Memory, small_configuration, synthetic_reference, synthetic_trial

SPECIES = torch.tensor([1, 0, 0, 1, 0, 0])
HIDDEN = "6x0e+2x0o+3x1e+4x1o+2x2e+2x2o"


@pytest.fixture
def positions() -> torch.Tensor:
    """Six atoms without symmetry, Å."""
    return 1.2 * torch.randn(6, 3, generator=torch.Generator().manual_seed(5))


def settings(hidden: str = HIDDEN, **changes) -> configuration.Network:
    values = {"interaction": "mace", "harmonics_lmax": 2, "radial_functions": 6, "radial_width": 8} | changes
    return configuration.Network(hidden=Hidden(irreps=hidden), **values).resolve()


def layer(irreps_in: str = "2x0e", hidden: str = HIDDEN, **changes) -> MaceLayer:
    torch.manual_seed(0)
    return MaceLayer(
        o3.Irreps(irreps_in), o3.Irreps(hidden), settings(hidden, **changes), elements=2, num_neighbors=4.0
    ).requires_grad_(False)


def network(hidden: str = HIDDEN, seed: int = 0, **changes) -> Network:
    return build_network(settings(hidden, **changes), 2, BASIS.layout, num_neighbors=4.0, seed=seed)


def graph(positions: torch.Tensor, species: torch.Tensor = SPECIES, lmax: int = 2) -> Graph:
    return build_graph(species, positions, 2, EdgeBasis(cutoff=3.5, lmax=lmax, number=6))


def test_layer_is_its_formula(positions):
    """Part by part; 1e, which the input has not, takes the powers whole."""
    module, one = (
        layer("3x0e+2x1o+1x2o", "4x0e+2x1e+3x1o+2x2o", correlation=3, harmonics_lmax=1),
        graph(positions, lmax=1),
    )
    assert str(module.messages.irreps_out) == "2x0e+2x1e+2x1o+2x2o"
    assert str(module.irreps_out) == "4x0e+2x1e+3x1o+2x2o"
    x = torch.randn(6, 14, generator=torch.Generator().manual_seed(1))
    gathered = module.messages(x, one) * 2
    powers = module.update(module.contraction(Saturation(module.messages.irreps_out)(gathered), one.elements))
    own = module.self_connection(x, one.elements) * 2**0.5
    half = 0.5**0.5
    parts = [half, 1.0, half, half]
    factors = torch.cat([torch.full((term.dim,), part) for term, part in zip(module.irreps_out, parts, strict=True)])
    assert (own[:, 4:10] == 0).all()
    assert torch.allclose(module(x, one), factors * (powers + own), rtol=0, atol=1e-13)


@pytest.mark.parametrize("saturation", [True, False])
def test_powers_of_scalars_in_closed_form(positions, saturation):
    """For scalars: A, A² and A³ with weights for each element, and the self-connection, half the variance each."""
    asked = settings("2x0e", harmonics_lmax=0, correlation=3, saturation=saturation)
    module = MaceLayer(o3.Irreps("3x0e"), o3.Irreps("2x0e"), asked, elements=2, num_neighbors=4.0)
    one, x = graph(positions, lmax=0), torch.randn(6, 3)
    gathered = 2 * module.messages(x, one)
    entering = Saturation(o3.Irreps("2x0e"))(gathered) if saturation else gathered
    powers = module.contraction(entering, one.elements)
    # Each weight is found by what the layer makes of that power alone.
    ones = torch.ones(2, 2)
    steps = [module.contraction(scale * ones, torch.eye(2)) for scale in (1.0, 2.0, 3.0)]
    weights = torch.linalg.solve(
        torch.tensor([[scale**degree for degree in (1, 2, 3)] for scale in (1.0, 2.0, 3.0)]),
        torch.stack(steps).flatten(1),
    ).view(3, 2, 2)[:, SPECIES]
    expected = sum(weight * entering**degree for degree, weight in enumerate(weights, start=1))
    torch.testing.assert_close(powers, expected, rtol=0, atol=1e-12)
    own = module.self_connection(x, one.elements) * 2**0.5
    made = (powers @ module.update.weight.view(2, 2) / 2**0.5 + own) / 2**0.5
    torch.testing.assert_close(module(x, one), made, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("correlation", "irreps"), [(1, "6x0e+4x1o+2x2e"), (2, "6x0e+4x1o+2x2e+2x2o"), (3, "6x0e+3x1e+4x1o+2x2e+2x2o")]
)
def test_first_layer_makes_what_powers_hold(correlation, irreps):
    """One channel of 0e+1o+2e has no 1e before the third power, which contains 1o ⊗ 1o ⊗ 2e, and no 0o even there."""
    module = layer(correlation=correlation)
    assert str(module.messages.irreps_out) == "2x0e+2x1o+2x2e"
    assert str(module.irreps_out) == irreps
    assert repr(module).startswith(f"MaceLayer(\n  2x0e -> {irreps}\n")


def test_contracted_in_closed_form():
    """Symⁿ(1o) holds l = n, n−2, … of parity (−1)ⁿ."""
    vector, asked = frozenset({(1, -1)}), frozenset((order, p) for order in range(5) for p in (1, -1))
    assert contraction_irreps(vector, asked, 1) == vector
    assert contraction_irreps(vector, asked, 2) == vector | {(0, 1), (2, 1)}
    assert contraction_irreps(vector, asked, 4) == vector | {(0, 1), (2, 1), (3, -1), (4, 1)}


def test_harmonics_that_are_not_hidden_are_gathered():
    """1o is gathered for its square, though no layer keeps it; without powers it would be of no use."""
    module = layer(hidden="4x0e", correlation=2, harmonics_lmax=1)
    assert str(module.messages.irreps_out) == "4x0e+4x1o"
    assert str(module.irreps_out) == "4x0e"
    assert [len(paths) for paths in module.contraction.paths] == [3]


@pytest.mark.parametrize("hidden", ["4x1o", "4x0o+2x1e"])
def test_a_layer_that_reaches_nothing(hidden, positions):
    """Scalars and harmonics of l = 0 make no other irrep: no features, and outputs of exactly zero."""
    assert layer(hidden=hidden, harmonics_lmax=0).irreps_out.dim == 0
    net = network(hidden, layers=2, harmonics_lmax=0)
    assert (net(graph(positions, lmax=0)) == 0).all()


def test_a_diagram_adds_irreps_and_terms(positions):
    """`(neighbours neighbours)` makes 1e of two channels' vectors, which the powers of one channel do not."""
    fusion = Fusion(diagram="(edges neighbours)")
    module, one = layer(correlation=1, fusion=fusion), graph(positions)
    assert str(module.irreps_out) == "6x0e+3x1e+4x1o+2x2e+2x2o"
    out = module(one.elements, one)
    assert all(out[:, part].abs().max() > 1e-3 for part in module.irreps_out.slices())
    without = layer(correlation=1)
    assert str(without.irreps_out) == "6x0e+4x1o+2x2e"


@pytest.mark.parametrize("parity", [1, -1])
@pytest.mark.parametrize("changes", [{}, {"fusion": Fusion(diagram="((edges centre) neighbours)", k_max=1)}])
def test_network_is_equivariant(positions, parity, changes):
    net = network(layers=2, correlation=3, **changes)
    rotation = parity * o3.angles_to_matrix(*torch.tensor([0.3, 1.1, -2.0]))
    moved = net(graph(positions @ rotation.T + torch.tensor([1.0, -2.0, 0.5])))
    expected = net(graph(positions)) @ net.irreps_out.D_from_matrix(rotation).T
    assert expected.abs().max() > 1e-2
    assert torch.allclose(moved, expected, rtol=0, atol=1e-9)
    rounded = net.float()(Graph(*(p.float() if p.is_floating_point() else p for p in graph(positions)))).double()
    assert torch.allclose(rounded, net.double()(graph(positions)), rtol=0, atol=1e-4)


def test_atoms_in_another_order_and_structures_together(positions):
    net, order = network(layers=2), torch.tensor([4, 2, 0, 5, 1, 3])
    out = net(graph(positions))
    assert torch.allclose(net(graph(positions[order], SPECIES[order])), out[order], rtol=0, atol=1e-12)
    both = net(join([graph(positions), graph(1.1 * positions)]))
    assert torch.allclose(both, torch.cat([out, net(graph(1.1 * positions))]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("correlation", [1, 2, 3])
@pytest.mark.parametrize("layers", [1, 4])
def test_first_features_are_of_order_one(correlation, layers):
    """However deep, and however high the powers: eight starts, none beyond these bounds."""
    reference = synthetic_reference(6)
    structures = [
        graph(torch.tensor(row["positions"]), torch.tensor([int(z == 8) for z in row["atomic_numbers"]]))
        for row in reference.table.to_pylist()
    ]
    one, squares = join(structures), []
    for seed in range(8):
        net = network("16x0e+8x1o+8x2e", seed, layers=layers, correlation=correlation)
        with torch.no_grad():
            features = one.elements * 2**0.5
            for module in net.layers:
                features = module(features, one)
        squares.append(float(features.square().mean()))
    assert 0.1 < sorted(squares)[4] < 2
    assert max(squares) < 20


@pytest.mark.parametrize("correlation", [2, 3])
def test_learns_at_a_large_step_size_in_single_precision(correlation):
    torch.set_default_dtype(torch.float32)
    memory, reference = Memory(), synthetic_reference()
    hidden = {"hidden": "8x0e+4x1o+4x2e", "interaction": "mace", "correlation": correlation}
    train(synthetic_trial(reference, small_configuration(epochs=20, **hidden)), reference, memory, device="cpu")
    losses = [row["value"] for row in memory.curve_rows if (row["split"], row["metric"]) == ("train", "loss")]
    errors = [row["value"] for row in memory.curve_rows if (row["metric"], row["split"]) == ("mse", "validation")]
    assert len(losses) == 20
    assert max(losses) < 2 * losses[0]
    assert losses[-1] < 0.6 * losses[0]
    assert errors[-1] < 0.7 * errors[0]
