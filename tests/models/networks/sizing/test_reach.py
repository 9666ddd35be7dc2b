"""Unreachable outputs and dead irreps, against built networks: exactly those features and outputs are exactly zero,
and exactly those without a gradient are dead."""

import pytest
import torch
from e3nn import o3
from hypothesis import given, settings
from hypothesis import strategies as st

from tesseral.models.networks.graph import EdgeBasis, build_graph
from tesseral.models.networks.network import build_network
from tesseral.models.networks.paths.selection_rules import symmetric_power
from tesseral.models.networks.sizing.reach import describe_dead, unreachable
from tesseral.study.parsing.irreps import MulIrrep, format_irreps, parse_irreps
from tests.support.dead_irreps import dead
from tests.support.self_product import self_product
from tests.support.synthetic_density import BASIS, small_configuration

IRREPS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1, -1])), min_size=1, max_size=4, unique=True).map(
    lambda drawn: format_irreps(MulIrrep(2, order, p) for order, p in drawn)
)


def canonical(irreps: o3.Irreps) -> str:
    return format_irreps(parse_irreps(str(irreps)))


@pytest.mark.parametrize(
    ("hidden", "harmonics", "missing"),
    [
        ("4x0e", 3, "1x4e"),
        ("4x0e", 0, "1x1o+1x2e+1x3o+1x4e"),
        ("4x0e+2x1o", 3, ""),
        ("4x0e+2x1o", 0, "1x1o+1x2e+1x3o+1x4e"),
        ("4x1e", 3, "2x0e+1x1o+1x2e+1x3o+1x4e"),  # the first layer makes (−1)^l alone
        ("4x2e", 1, "2x0e+1x1o+1x2e+1x3o+1x4e"),
        ("2x1o", 2, "1x4e"),
        ("2x0e+2x2e", 2, ""),
    ],
)
def test_known_arms(hidden, harmonics, missing):
    configuration = small_configuration(hidden=hidden, harmonics_lmax=harmonics)
    assert format_irreps(unreachable(configuration, BASIS.layout)) == missing


def test_depth_reaches_further():
    pseudoscalar = parse_irreps("1x0o")
    # 1e appears in the second layer, 0o = 1e ⊗ 1o in the third: the output's convolution, after two.
    for layers, missing in [(1, pseudoscalar), (2, ()), (3, ())]:
        configuration = small_configuration(hidden="2x0e+2x0o+2x1e+2x1o", layers=layers, harmonics_lmax=1)
        assert unreachable(configuration, pseudoscalar) == missing


@settings(max_examples=40, deadline=None)
@given(hidden=IRREPS, layers=st.integers(1, 3), harmonics=st.integers(0, 3), seed=st.integers(0, 2**31))
def test_built_networks_agree(hidden, layers, harmonics, seed):
    configuration = small_configuration(hidden=hidden, layers=layers, harmonics_lmax=harmonics)
    network = build_network(configuration.network, 2, BASIS.layout, num_neighbors=4.0, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    positions = 1.2 * torch.randn(7, 3, dtype=torch.float64, generator=generator)
    species = torch.tensor([1, 0, 0, 1, 0, 1, 0])
    features: list[torch.Tensor] = []
    for layer in network.layers:
        layer.register_forward_hook(lambda *call: features.append(call[-1]))
    output = network(build_graph(species, positions, 2, EdgeBasis(cutoff=6.0, lmax=harmonics, number=6)))

    missing = unreachable(configuration, BASIS.layout)
    for term, part in zip(BASIS.layout, network.irreps_out.slices(), strict=True):
        values = output[:, part]
        assert (values == 0).all() if term in missing else (values.abs().amax(dim=1) > 0).all()

    weights = torch.randn(output.shape, dtype=torch.float64, generator=generator)
    gradients = [torch.zeros_like(part) for part in features]
    if output.requires_grad:
        gradients = torch.autograd.grad((weights * output).sum(), features)
    expected = []
    for number, (layer, values, gradient) in enumerate(zip(network.layers, features, gradients, strict=True), start=1):
        parts = dict(zip((ir for _, ir in layer.irreps_out), layer.irreps_out.slices(), strict=True))
        for term in parse_irreps(hidden):
            part = parts.get(o3.Irrep(term.l, term.p))
            if part is None or (values[:, part] == 0).all():
                expected.append((number, term, "never produced"))
            elif (gradient[:, part] == 0).all():
                expected.append((number, term, "never read"))
    assert dead(configuration, BASIS.layout) == expected


@pytest.mark.parametrize(
    ("hidden", "changes", "text"),
    [
        ("4x0e+2x1o+2x2e", {"layers": 3}, ""),
        ("4x0e+2x0o+2x1o", {"layers": 3}, "0o in every layer is never produced"),
        ("4x0e+2x0o+2x1o", {"layers": 1}, "0o in layer 1 is never produced"),
        (
            "4x0e+2x0o+2x1e+2x1o",
            {"layers": 3},
            "0o in every layer is dead: never produced in some layers, never read in the others; "
            "1e in layer 1 is never produced",
        ),
        (
            "4x0e+2x0o+2x1e+2x1o+2x2e+2x2o",
            {"layers": 4},
            "0o in layers 1 and 2 is never produced; 0o in layer 4 is never read; 1e+2o in layer 1 are never produced",
        ),
        ("4x0e+2x3o", {"layers": 2, "harmonics_lmax": 2}, "3o in every layer is never produced"),
        ("4x1e", {"layers": 2}, "1e in every layer is never produced"),
    ],
)
def test_a_phrase_on_the_dead(hidden, changes, text):
    configuration = small_configuration(hidden=hidden, **changes)
    assert describe_dead(dead(configuration, BASIS.layout), configuration.network.layers) == text


def test_dead_for_want_of_outputs():
    """Vectors reach no hexadecapole with harmonics of l ≤ 2; scalars are read for the gates of vectors, if anything."""
    configuration = small_configuration(hidden="4x0e+2x1o", layers=1, harmonics_lmax=2)
    layout = parse_irreps("1x3o")
    assert dead(configuration, layout) == [(1, MulIrrep(4, 0, 1), "never read")]
    assert unreachable(configuration, parse_irreps("1x4e")) == parse_irreps("1x4e")
    assert [row.reason for row in dead(configuration, parse_irreps("1x4e"))] == 2 * ["never read"]
    deeper = small_configuration(hidden="4x0e+2x1o", layers=2, harmonics_lmax=2)
    assert dead(deeper, layout) == [(2, MulIrrep(4, 0, 1), "never read")]


@pytest.mark.parametrize("formula", ["ij=ji", "ijk=jik=jki"])
@pytest.mark.parametrize("irrep", ["0e", "0o", "1e", "1o", "2e", "2o", "3e", "3o"])
def test_symmetric_powers_are_e3nns(formula, irrep):
    n = formula.index("=")
    term = o3.Irrep(irrep)
    power = symmetric_power(term.l, term.p, n)
    expected = o3.ReducedTensorProducts(formula, i=irrep).irreps_out
    assert format_irreps(power) == canonical(expected)


def test_symmetric_powers_in_closed_form():
    assert format_irreps(symmetric_power(1, -1, 2)) == "1x0e+1x2e"  # a vector times itself is no axial vector
    assert format_irreps(symmetric_power(2, 1, 0)) == "1x0e"
    assert format_irreps(symmetric_power(2, 1, 1)) == "1x2e"
    for n in range(7):  # homogeneous polynomials: Symⁿ(1o) = n ⊕ n−2 ⊕ …
        assert {term.l for term in symmetric_power(1, -1, n)} == set(range(n % 2, n + 1, 2))
    # Σ mul·(2l+1) is the binomial (2l+n choose n).
    assert sum(mul * (2 * order + 1) for mul, order, _ in symmetric_power(4, 1, 5)) == 1287


@pytest.mark.parametrize(
    "features", ["1x1o", "2x1o", "3x2e", "1x0e+1x1o", "2x0e+1x0o+1x1o+2x2e", "1x1e+1x1o", "1x2o+1x3o"]
)
def test_self_products_are_e3nns(features):
    expected = o3.ReducedTensorProducts("ij=ji", i=features).irreps_out
    assert format_irreps(self_product(parse_irreps(features))) == canonical(expected)


def test_two_channels_make_what_one_cannot():
    assert MulIrrep(1, 1, 1) in self_product(parse_irreps("2x1o"))
    assert self_product(parse_irreps("1x1o+1x1o")) == self_product(parse_irreps("2x1o"))
    assert format_irreps(self_product(parse_irreps("1x1o"))) == "1x0e+1x2e"
