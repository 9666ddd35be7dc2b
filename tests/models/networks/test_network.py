"""The gated network: symmetry, independence of structures, irreps that state themselves."""

import pytest
import torch
from e3nn import o3

from tesseral.models.networks.graph import EdgeBasis, Graph, build_graph, join
from tesseral.models.networks.network import Network, build_network, count_parameters
from tesseral.models.targets.model import build_model
from tesseral.study import configuration
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.network import Hidden
from tests.support.synthetic_density import BASIS, EMPTY, density_parameters, small_configuration

SPECIES = torch.tensor([1, 0, 0, 1, 0, 0])
HIDDEN = {2: "4x0e+2x0o+3x1e+3x1o+2x2e+2x2o", 3: "4x0e+2x0o+3x1e+3x1o+2x2e+2x2o+2x3e+2x3o"}
"""By lmax."""


def network(hidden: str = HIDDEN[2], layers: int = 2, seed: int = 0, **changes) -> Network:
    settings = configuration.Network(
        hidden=Hidden(irreps=hidden), layers=layers, radial_functions=6, radial_width=8, **changes
    )
    return build_network(settings, 2, BASIS.layout, num_neighbors=4.0, seed=seed)


def graph(positions: torch.Tensor, species: torch.Tensor = SPECIES, dtype: torch.dtype = torch.float64) -> Graph:
    made = build_graph(species, positions.double(), 2, EdgeBasis(cutoff=3.5, lmax=3, number=6))
    return Graph(*(part.to(dtype) if part.is_floating_point() else part for part in made))


@pytest.fixture
def positions() -> torch.Tensor:
    """Six atoms without symmetry, Å."""
    generator = torch.Generator().manual_seed(5)
    return 1.2 * torch.randn(6, 3, dtype=torch.float64, generator=generator)


@pytest.fixture
def precise():
    """e3nn's rotation matrices are as precise as the default dtype, whatever their argument's."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(default)


def motion(parity: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A rotation, of determinant `parity`, and a shift, Å."""
    generator = torch.Generator().manual_seed(1)
    rotation = o3.angles_to_matrix(*(6 * torch.rand(3, dtype=torch.float64, generator=generator))) * parity
    return rotation, torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


@pytest.mark.usefixtures("precise")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
@pytest.mark.parametrize("parity", [1, -1])
@pytest.mark.parametrize("lmax", [2, 3])
def test_network_is_equivariant(positions, dtype, tolerance, parity, lmax):
    net = network(HIDDEN[lmax]).to(dtype)
    rotation, shift = motion(parity)
    moved = net(graph(positions @ rotation.T + shift, dtype=dtype)).double()
    turned = net(graph(positions, dtype=dtype)).double() @ net.irreps_out.D_from_matrix(rotation).T
    assert turned.abs().max() > 1e-2
    assert torch.allclose(moved, turned, rtol=0, atol=tolerance)


@pytest.mark.usefixtures("precise")
@pytest.mark.parametrize("scale", ["spread", "none"])
@pytest.mark.parametrize("parity", [1, -1])
def test_predicted_coefficients_turn_with_the_structure(positions, parity, scale):
    """The whole model, its target fitted: isolated atoms, means and spreads must not depend on the frame."""
    model = build_model(small_configuration(hidden=HIDDEN[3], scale=scale), EMPTY, num_neighbors=4.0, seed=0).double()
    species = torch.arange(40) % 2
    model.target.fit(torch.randn(40, 26, dtype=torch.float64, generator=torch.Generator().manual_seed(2)), species)
    rotation, shift = motion(parity)
    edges = EdgeBasis(cutoff=3.5, lmax=2, number=6)
    moved = model(build_graph(SPECIES, positions @ rotation.T + shift, 2, edges))
    still = model(build_graph(SPECIES, positions, 2, edges))
    turned = still @ o3.Irreps("2x0e+1x1o+1x2e+1x3o+1x4e").D_from_matrix(rotation).T
    oxygen = turned[SPECIES == 1].split([2, 3, 5, 7, 9], dim=1)
    assert all(part.abs().max() > 1e-3 for part in oxygen)
    assert torch.allclose(moved, turned, rtol=0, atol=1e-9)


def test_atoms_in_another_order(positions):
    net = network()
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    expected = net(graph(positions))[order]
    assert torch.allclose(net(graph(positions[order], SPECIES[order])), expected, rtol=0, atol=1e-12)


def test_structures_of_a_batch_do_not_see_each_other(positions):
    net = network()
    alone = [graph(positions), graph(positions[:3] + 0.1, SPECIES[:3]), graph(1.1 * positions)]
    together = net(join(alone))
    assert torch.allclose(together, torch.cat([net(one) for one in alone]), rtol=0, atol=1e-12)


def test_an_atom_without_neighbours_is_finite():
    output = network()(graph(torch.tensor([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]), SPECIES[:2]))
    assert output.isfinite().all()
    assert (output[:, 2:] == 0).all()  # only scalars are left of it


def test_weights_depend_on_the_seed_alone(positions):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = network(seed=11).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_default_dtype() == torch.float32
    torch.manual_seed(8)
    second, other = network(seed=11).state_dict(), network(seed=12).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["output.messages.before.weight"], other["output.messages.before.weight"])


def test_parameters_by_hand():
    """One layer of scalars: every weight can be counted."""
    net = network("3x0e", layers=1, harmonics_lmax=0)
    elements, hidden, scalars = 2, 3, 2  # the layout's 2x0e is all that l = 0 harmonics reach
    first = elements * elements * hidden + elements**2 + (6 * 8 + 8 * elements) + elements * hidden
    output = hidden * elements * scalars + hidden**2 + (6 * 8 + 8 * hidden) + hidden * scalars
    assert count_parameters(net) == first + output
    settings = configuration.Network(
        hidden=Hidden(irreps="3x0e"), layers=1, harmonics_lmax=0, radial_functions=6, radial_width=8
    )
    whole = Configuration(data=Data(reference="x.parquet", train=1, test=1), network=settings)
    assert density_parameters(whole) == first + output


def test_modules_state_their_irreps():
    net = network("4x0e+3x1o")
    assert repr(net.layers[1].gate) == "Gate(7x0e+3x1o -> 4x0e+3x1o)"
    assert "Convolution(2x0e -> 7x0e+3x1o, edges 1x0e+1x1o+1x2e+1x3o)" in repr(net)
    assert "4x0e+3x1o -> 4x0e+3x1o" in repr(net.layers[1])
    assert "2x0e -> 2x0e+1x1o+1x2e+1x3o+1x4e" in repr(net)
    # 37 = 4·4 + 7·3: four paths from 4x0e and seven from 3x1o lead to the output.
    assert repr(net.output.messages.radial) == "RadialNetwork(6 -> 8 -> 37)"
