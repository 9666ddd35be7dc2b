"""Tables of radial networks: their error and its order, derivatives, and the operator against PyTorch."""

from dataclasses import replace

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from tesseral.models.networks.graph import EdgeBasis, at_positions, radial_functions
from tesseral.models.networks.layers.messages import RadialNetwork
from tesseral.models.networks.layers.radial_table import BEFORE, OUTSIDE, interpolated, knots, places
from tesseral.models.networks.products.backend import choose_backend
from tesseral.models.networks.products.fused.convolution import _Convolve
from tesseral.models.networks.seeding import initialising
from tesseral.study import configuration
from tesseral.study.errors import StudyFileError
from tests.support.small_networks import POSITIONS, asked, built, graph

CPU = torch.device("cpu")
DISTANCES = torch.linspace(1e-3, 3.5 - 1e-9, 997, dtype=torch.float64)
OUTPUTS = "2x0e+1x1o+1x2e"


@torch.no_grad()
def error(number: int, basis: str = "gaussian") -> float:
    """The largest error of a radial network's weights, as a share of their root mean square."""
    settings = configuration.Network(radial_basis=basis)
    with initialising(0):
        exact = RadialNetwork([10, 128, 40])
        tabulated = RadialNetwork([10, 128, 40], replace(settings, radial_knots=number))
    tabulated.load_state_dict(exact.state_dict())
    expected = exact(radial_functions(DISTANCES, 3.5, 10, basis))
    made = tabulated(DISTANCES[:, None])
    return float((made - expected).abs().max() / expected.square().mean().sqrt())


def test_the_error_falls_with_the_fourth_power_of_the_knots():
    """Of 128 knots it is below 1e-4 of the weights' size; of functions that are steep near 0 or have kinks, 1e-2."""
    errors = [error(number) for number in (128, 256, 512)]
    assert errors[0] < 1e-4
    assert errors[0] / errors[1] > 12
    assert errors[1] / errors[2] > 12
    assert error(128, "bessel") < 1e-2
    assert error(128, "cosine") < 1e-2


def test_cubic_polynomials_are_reproduced():
    number, cutoff = 20, 3.5
    at = (torch.arange(number, dtype=torch.float64) - BEFORE) * (cutoff / (number - OUTSIDE))

    def polynomial(r: torch.Tensor) -> torch.Tensor:
        return torch.stack([1 - r + 2 * r**2 - 0.5 * r**3, r**3], dim=1)

    made = interpolated(polynomial(at), places(DISTANCES, cutoff, number))
    torch.testing.assert_close(made, polynomial(DISTANCES), rtol=1e-12, atol=1e-12)
    assert float(places(DISTANCES, cutoff, number).weights.sum(dim=1).sub(1).abs().max()) < 1e-12


def test_derivatives_of_both_orders():
    settings = configuration.Network(radial_functions=4, radial_knots=24)
    with initialising(0):
        network = RadialNetwork([4, 6, 3], settings)
    distances = torch.tensor([0.7, 1.1, 2.9], dtype=torch.float64).requires_grad_()
    for check in (gradcheck, gradgradcheck):
        assert check(lambda r: network(r[:, None]), (distances,))


@pytest.mark.parametrize("interaction", ["gated", "mace"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_operation_interpolates_too(interaction, dtype, monkeypatch):
    """Outputs and gradients of every weight are those of PyTorch's operations."""
    settings = asked("3x0e+3x1o", interaction=interaction, correlation=2, harmonics_lmax=2, radial_knots=32)
    network, given = built(settings, outputs=OUTPUTS).to(dtype), graph(settings).to(CPU, dtype)
    assert given.radial.shape == (len(given.source), 1)
    calls, run, results = [], _Convolve.apply, []
    monkeypatch.setattr(_Convolve, "apply", lambda *given: calls.append(given[0]) or run(*given))
    for backend in ("portable", "fused"):
        choose_backend(network, backend, CPU)
        outputs = network(given)
        weights = [weight for weight in network.parameters() if weight.numel()]
        gradients = torch.autograd.grad(outputs.square().sum(), weights, allow_unused=True)
        results.append([outputs.detach(), *(part for part in gradients if part is not None and part.abs().max() > 0)])
    assert calls
    for ours, theirs in zip(results[1], results[0], strict=True):
        tolerance = 2e-5 if dtype == torch.float32 else 1e-10
        assert float((ours - theirs).abs().max()) <= tolerance * float(theirs.abs().max())


@pytest.mark.parametrize("backend", ["portable", "fused"])
def test_forces_are_the_slope_of_the_energy(backend):
    settings = asked("3x0e+3x1o", harmonics_lmax=2, radial_knots=48)
    network, given, basis = built(settings, outputs="1x0e"), graph(settings), EdgeBasis.from_settings(settings)
    choose_backend(network, backend, CPU)

    def energy(positions: torch.Tensor) -> torch.Tensor:
        return network(at_positions(given, positions, basis)).sum()

    positions = POSITIONS.clone().requires_grad_()
    (slope,) = torch.autograd.grad(energy(positions), positions)
    along = torch.randn(POSITIONS.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    step = 1e-5
    numerical = (energy(POSITIONS + step * along) - energy(POSITIONS - step * along)) / (2 * step)
    assert float((slope * along).sum().detach()) == pytest.approx(float(numerical.detach()), rel=1e-7)


def test_a_network_of_ones_own_has_none():
    with pytest.raises(StudyFileError, match=r"network.radial_knots: expected none with network.define"):
        configuration.Network(define="mine:network", radial_knots=64).resolve()


def test_without_the_setting_there_is_no_table():
    assert knots(configuration.Network()) is None
    assert not [name for name, _ in built(asked("2x0e+1x1o")).named_buffers() if name.endswith("radial.knots")]
