"""What a network cannot reach, against networks that were built: exactly those outputs are exactly zero."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_density import BASIS, small_configuration

from tesseral.models.graph import build_graph
from tesseral.models.network import build_network
from tesseral.models.reach import reached, unreachable
from tesseral.study.irreps import MulIrrep, format_irreps

IRREPS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1, -1])), min_size=1, max_size=4, unique=True).map(
    lambda found: format_irreps(MulIrrep(2, order, p) for order, p in found)
)


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
    assert format_irreps(unreachable(configuration, BASIS)) == missing


def test_depth_reaches_further():
    assert (0, -1) not in reached([(0, 1), (1, -1), (1, 1), (0, -1)], layers=1, harmonics_lmax=1)
    # 1e appears in the second layer, 0o = 1e ⊗ 1o in the third.
    assert (0, -1) in reached([(0, 1), (1, -1), (1, 1), (0, -1)], layers=2, harmonics_lmax=1)
    assert reached([], layers=1, harmonics_lmax=3) == frozenset()


@settings(max_examples=40, deadline=None)
@given(hidden=IRREPS, layers=st.integers(1, 3), harmonics=st.integers(0, 3), seed=st.integers(0, 2**31))
def test_built_networks_agree(hidden, layers, harmonics, seed):
    configuration = small_configuration(hidden=hidden, layers=layers, harmonics_lmax=harmonics)
    network = build_network(configuration.network, BASIS, num_neighbors=4.0, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    positions = 1.2 * torch.randn(7, 3, dtype=torch.float64, generator=generator)
    species = torch.tensor([1, 0, 0, 1, 0, 1, 0])
    output = network(build_graph(species, positions, 2, cutoff=6.0, lmax=harmonics, number=6))
    missing = unreachable(configuration, BASIS)
    for term, part in zip(BASIS.layout, network.irreps_out.slices(), strict=True):
        values = output[:, part]
        assert (values == 0).all() if term in missing else (values.abs().amax(dim=1) > 0).all()
