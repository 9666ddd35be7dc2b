"""What layers of every kind do: a residual adds the input, and without saturation they are polynomials."""

from dataclasses import replace

import pytest
import torch
from e3nn import o3
from torch import Tensor

from tesseral.models.networks.graph import Graph
from tesseral.models.networks.layers.layer import Residual
from tesseral.models.networks.network import LAYERS
from tesseral.study.configuration.network import Fusion
from tests.support.small_networks import asked, built, graph


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


@pytest.mark.parametrize("interaction", ["cormorant", "mace"])
def test_no_irrep_of_a_product_feels_another(interaction):
    """Scalars of scalars that no path joins to a direction do not change with the angles of a molecule."""
    settings = asked("2x0e", interaction=interaction, harmonics_lmax=2, correlation=1, layers=1, readout="linear")
    net = built(settings)
    one = graph(settings)
    turned = one.harmonics.clone()
    turned[:, 1:] = torch.randn_like(turned[:, 1:])
    torch.testing.assert_close(net(one), net(one._replace(harmonics=turned)), rtol=0, atol=1e-14)


def in_powers(layer: torch.nn.Module, x: Tensor, one: Graph, degree: int) -> tuple[Tensor, float]:
    """The polynomial of that degree in a factor on the messages that a layer is at `degree` + 1 factors: coefficients,
    and how far it is from the layer at further factors, as a part of the largest feature."""

    def made(factors: list[float]) -> Tensor:
        return torch.stack([layer(x, one._replace(harmonics=factor * one.harmonics)).detach() for factor in factors])

    first, further = [0.25 * number for number in range(degree + 1)], [-1.0, 1.7, 2.5]
    powers = [torch.tensor([[factor**power for power in range(degree + 1)] for factor in s]) for s in (first, further)]
    coefficients = torch.linalg.solve(powers[0], made(first).flatten(1))
    predicted, expected = powers[1] @ coefficients, made(further).flatten(1)
    return coefficients, float((predicted - expected).abs().max() / expected.abs().max())


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
