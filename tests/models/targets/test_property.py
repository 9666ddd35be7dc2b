"""Every tensor that a reference calculation stores turns, inverts and stays with the molecule as its irreps say.

Each molecule is computed twice by Hartree-Fock, the second time rotated, inverted and translated.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from e3nn import o3

from tesseral.models.reference.calculation.auxiliary_shells import method_shells
from tesseral.models.reference.calculation.calculation import calculate
from tesseral.models.reference.conventions import from_irreps
from tesseral.models.reference.structure import Structure
from tesseral.study.parsing.irreps import MulIrrep
from tesseral.study.recipe.method import Method

METHOD = Method(method="HF", basis="def2-SVP", quantities=("forces", "polarizability", "charges"))
WATER = Structure("water", (8, 1, 1), np.array([[0.1, 0.0, 0.2], [0.86, 0.57, 0.1], [-0.62, 0.61, 0.32]]))
_BENT = np.array([[0.0, 0.1, 0.0], [1.4, 0.0, 0.3], [1.7, 0.8, -0.2]])
STRUCTURES = [
    WATER,
    Structure("hydroperoxide ion", (8, 8, 1), _BENT, charge=-1),
    Structure("hydroperoxyl radical", (8, 8, 1), _BENT, spin=1),
]
TENSORS = {"dipole": "1o", "quadrupole": "2e", "octupole": "3o", "polarizability": "0e+2e"}
PER_ATOM = {"forces": "1o", "charges": "0e"}
SCALARS = ("energy", "homo", "lumo", "gap", "r2", "electrons", "fit_error", "dipole_error", "self_repulsion_error")
TOLERANCE = {"fit_error": 2e-2}  # its grid does not turn with the molecule


@pytest.fixture(autouse=True, scope="module")
def double_precision() -> Iterator[None]:
    """e3nn's D matrices have the accuracy of the default dtype, whatever the dtype of their angles."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def motion() -> torch.Tensor:
    """A rotation followed by an inversion, shape (3, 3)."""
    return -o3.angles_to_matrix(*torch.tensor([0.3, 1.1, -0.7]))


@pytest.fixture(scope="module", params=STRUCTURES, ids=[structure.id for structure in STRUCTURES])
def pair(request, motion) -> tuple[dict, dict]:
    """The molecule's row, and that of the moved molecule."""
    here = request.param
    positions = here.positions @ motion.numpy().T + np.array([1.0, -2.0, 0.5])
    there = Structure("moved", here.atomic_numbers, positions, here.charge, here.spin)
    return calculate(here, METHOD), calculate(there, METHOD)


def turned(values: list, irreps: str, motion: torch.Tensor) -> np.ndarray:
    """Along the last axis."""
    return np.array(values) @ o3.Irreps(irreps).D_from_matrix(motion).numpy().T


@pytest.mark.parametrize("key", [*TENSORS, "forces"])
def test_tensors_turn_as_their_irreps_say(key, pair, motion):
    here, there = pair
    irreps = (TENSORS | PER_ATOM)[key]
    np.testing.assert_allclose(turned(here[key], irreps, motion), there[key], atol=1e-6)
    assert np.abs(np.array(here[key]) - there[key]).max() > 1e-3  # it is one that a turn shows in
    if irreps in ("1o", "3o"):  # an inversion that is forgotten shows too
        assert np.abs(turned(here[key], irreps, -motion) - there[key]).max() > 1e-3


def test_scalars_stay(pair):
    here, there = pair
    for key in SCALARS:
        assert there[key] == pytest.approx(here[key], abs=TOLERANCE.get(key, 2e-7)), key
    np.testing.assert_allclose(there["charges"], here["charges"], atol=1e-6)


def test_coefficients_turn_by_their_order(pair, motion):
    here, there = pair
    errors: dict[int, float] = {}
    for number, mine, theirs in zip(here["atomic_numbers"], here["coefficients"], there["coefficients"], strict=True):
        start = 0
        for order in (shell.l for shell in method_shells(number, METHOD)):
            part, parity = slice(start, start + 2 * order + 1), "o" if order % 2 else "e"
            difference = turned(mine[part], f"{order}{parity}", motion) - theirs[part]
            errors[order] = max(errors.get(order, 0.0), float(np.abs(difference).max()))
            start = part.stop
    assert set(errors) == {0, 1, 2, 3, 4}
    assert max(errors.values()) < 1e-6, errors


def test_physics_of_the_tensors(pair):
    """Forces of an isolated molecule add up to zero and have no torque; a polarizability is positive."""
    row = pair[0]
    forces, positions = np.array(row["forces"]), np.array(row["positions"])
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-7)
    np.testing.assert_allclose(np.cross(positions, forces).sum(axis=0), 0, atol=1e-6)
    assert np.abs(forces).max() > 1e-2
    matrix = from_irreps(np.array(row["polarizability"]), (MulIrrep(1, 0, 1), MulIrrep(1, 2, 1)), 2)
    assert np.linalg.eigvalsh(matrix).min() > 1
    assert row["polarizability"][0] == pytest.approx(np.trace(matrix) / np.sqrt(3))
    assert sum(row["charges"]) == pytest.approx(row["charge"], abs=1e-9)
    assert row["gap"] == pytest.approx(row["lumo"] - row["homo"])
