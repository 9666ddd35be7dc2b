"""Cartesian tensors as irreps: closed forms, orthonormality, and rotation as the irreps say."""

import numpy as np
import pytest
import torch
from e3nn import o3
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import block_diag
from scipy.spatial.transform import Rotation

from tesseral.models.reference.conventions import basis_tensors, from_irreps, to_irreps
from tesseral.study.parsing.irreps import parse_irreps

IRREPS = {0: "0e", 1: "1o", 2: "0e+1e+2e", 3: "1o+3o"}
SEEDS = st.integers(0, 2**32 - 1)


def tensor(rank: int, seed: int) -> np.ndarray:
    """Random; of rank 3 totally symmetric."""
    drawn = np.random.default_rng(seed).normal(size=[3] * rank)
    if rank < 3:
        return drawn
    return sum(drawn.transpose(axes) for axes in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))) / 6


def turned(values: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Each axis of a tensor multiplied by an orthogonal matrix."""
    for axis in range(values.ndim):
        values = np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)
    return values


def wigner(text: str, rotation: np.ndarray, inverted: bool) -> np.ndarray:
    """D of irreps, each once, from Y(R r) = D Y(r): e3nn's own matrices are right to single precision alone."""
    points = torch.randn(30, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    blocks = []
    for _, order, parity in parse_irreps(text):
        before, after = (
            o3.spherical_harmonics(order, r, normalize=True).numpy()
            for r in (points, points @ torch.tensor(rotation.T))
        )
        blocks.append((parity if inverted else 1) * np.linalg.lstsq(before, after, rcond=None)[0].T)
    return block_diag(*blocks)


@settings(max_examples=25, deadline=None)
@given(rank=st.integers(0, 3), seed=SEEDS, inverted=st.booleans())
def test_components_turn_as_their_irreps_say(rank, seed, inverted):
    irreps = parse_irreps(IRREPS[rank])
    rotation = Rotation.random(random_state=seed).as_matrix()
    values = tensor(rank, seed)
    before, _ = to_irreps(values, irreps, rank)
    after, _ = to_irreps(turned(values, -rotation if inverted else rotation), irreps, rank)
    np.testing.assert_allclose(after, wigner(IRREPS[rank], rotation, inverted) @ before, atol=1e-13 * 27)


@pytest.mark.parametrize("rank", IRREPS)
def test_the_change_of_basis_is_orthonormal_and_reversible(rank):
    irreps = parse_irreps(IRREPS[rank])
    basis = np.concatenate(list(basis_tensors(rank).values())).reshape(-1, 3**rank)
    np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-14)
    values = np.stack([tensor(rank, seed) for seed in range(5)])
    components, left_out = to_irreps(values, irreps, rank)
    np.testing.assert_allclose((components**2).sum(axis=-1), (values**2).reshape(5, -1).sum(axis=1), rtol=1e-13)
    np.testing.assert_allclose(from_irreps(components, irreps, rank), values, atol=1e-14)
    assert (left_out < 1e-14).all()


def test_closed_forms():
    components, _ = to_irreps(np.diag([1.0, 2.0, 6.0]), parse_irreps("0e+2e"), 2)
    # e3nn's 2e: xz, xy, (2y² − x² − z²), yz, (z² − x²), each of unit norm.
    expected = [9 / np.sqrt(3), 0, 0, (2 * 2 - 1 - 6) / np.sqrt(6), 0, (6 - 1) / np.sqrt(2)]
    np.testing.assert_allclose(components, expected, atol=1e-14)
    off = np.zeros((3, 3))
    off[0, 2] = off[2, 0] = 1.0
    np.testing.assert_allclose(to_irreps(off, parse_irreps("2e"), 2)[0], [np.sqrt(2), 0, 0, 0, 0], atol=1e-14)
    spin = np.array([[0.0, 3.0, -2.0], [-3.0, 0.0, 1.0], [2.0, -1.0, 0.0]])  # ε_aij v_a with v = (1, 2, 3)
    np.testing.assert_allclose(to_irreps(spin, parse_irreps("1e"), 2)[0], np.sqrt(2) * np.array([1, 2, 3]), atol=1e-14)
    x = np.array([1.0, 0.0, 0.0])
    trace = to_irreps(np.einsum("i,j,k->ijk", x, x, x), parse_irreps("1o"), 3)[0]
    np.testing.assert_allclose(trace, [np.sqrt(3 / 5), 0, 0], atol=1e-14)


@pytest.mark.parametrize(("rank", "order"), [(1, 1), (2, 2), (3, 3)])
def test_powers_of_a_vector_are_its_harmonics(rank, order):
    """r…r contains Y_l(r) in e3nn's order and axes, by a positive factor."""
    vector = np.array([0.3, -0.7, 0.5])
    power = vector
    for _ in range(rank - 1):
        power = np.multiply.outer(power, vector)
    parity = "e" if order % 2 == 0 else "o"
    components = to_irreps(power, parse_irreps(f"{order}{parity}"), rank)[0]
    harmonics = o3.spherical_harmonics(order, torch.tensor(vector), normalize=True).numpy()
    np.testing.assert_allclose(
        components / np.linalg.norm(components), harmonics / np.linalg.norm(harmonics), atol=1e-12
    )


def test_what_is_left_out_is_measured():
    symmetric = tensor(2, 1) + tensor(2, 1).T
    spin = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    total = symmetric + 0.1 * spin
    _, left_out = to_irreps(total, parse_irreps("0e+2e"), 2)
    assert left_out == pytest.approx(0.1 * np.sqrt(2) / np.linalg.norm(total), rel=1e-12)
    _, left_out = to_irreps(np.eye(3), parse_irreps("2e"), 2)
    assert left_out == pytest.approx(1)
    _, left_out = to_irreps(np.zeros((2, 3, 3)), parse_irreps("0e+2e"), 2)
    assert left_out.tolist() == [0, 0]
    with pytest.raises(ValueError, match="expected a tensor of rank 0 to 3, got 4"):
        basis_tensors(4)
