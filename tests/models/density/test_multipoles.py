"""Multipoles from coefficients and from density matrices, against PySCF's integrals and each other."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from pyscf import gto, scf

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.density.multipoles import centre_of_charge, harmonic_tensors, local_moments, moments, translated
from tesseral.models.reference.calculation.auxiliary_shells import auxiliary_shells
from tesseral.models.reference.calculation.calculation import calculate
from tesseral.models.reference.calculation.density_fit import auxiliary_molecule, e3nn_rotation
from tesseral.models.reference.calculation.field_multipoles import field_moments
from tesseral.models.reference.structure import Structure
from tesseral.study.constants import BOHR
from tesseral.study.recipe.method import Method

# Formamide with a fluorine and a sulfur atom about it: no symmetry, and all of C, N, O, H, F, S.
NUMBERS = (6, 8, 7, 1, 1, 1, 9, 16)
POSITIONS = np.array(
    [
        [0.0, 0.4, 0.1],
        [1.2, 0.2, 0.0],
        [-0.9, -0.6, 0.1],
        [-0.4, 1.4, 0.2],
        [-1.9, -0.4, 0.0],
        [-0.6, -1.5, 0.3],
        [0.2, 0.5, 3.0],
        [1.0, -3.2, 0.4],
    ]
)
WATER = Structure("water", (8, 1, 1), np.array([[0.1, 0.0, 0.2], [0.86, 0.57, 0.1], [-0.62, 0.61, 0.32]]))
HYDROPEROXIDE = Structure("ion", (8, 8, 1), np.array([[0.0, 0.1, 0.0], [1.4, 0.0, 0.3], [1.7, 0.8, -0.2]]), charge=-1)
METHOD = Method(method="HF", basis="STO-3G")


def basis(decontracted: bool) -> AuxiliaryBasis:
    return AuxiliaryBasis("", {z: auxiliary_shells(z, "def2-universal-jfit", decontracted) for z in set(NUMBERS)})


def random_coefficients(auxiliary: AuxiliaryBasis) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    return [torch.randn(auxiliary.size(z), dtype=torch.float64, generator=random) for z in NUMBERS]


def racah(points: np.ndarray) -> dict[int, np.ndarray]:
    """C_lm(r) written out in e3nn's order, from the table of real solid harmonics; shape (2l+1, …)."""
    x, y, z = points
    return {
        0: np.array([1.0 + 0 * x]),
        1: np.array([x, y, z]),
        2: np.array(
            [
                np.sqrt(3) * x * z,
                np.sqrt(3) * x * y,
                y**2 - (x**2 + z**2) / 2,
                np.sqrt(3) * y * z,
                np.sqrt(3) / 2 * (z**2 - x**2),
            ]
        ),
        3: np.array(
            [
                np.sqrt(5 / 8) * x * (3 * z**2 - x**2),
                np.sqrt(15) * x * y * z,
                np.sqrt(3 / 8) * x * (4 * y**2 - x**2 - z**2),
                y * (2 * y**2 - 3 * x**2 - 3 * z**2) / 2,
                np.sqrt(3 / 8) * z * (4 * y**2 - x**2 - z**2),
                np.sqrt(15) / 2 * y * (z**2 - x**2),
                np.sqrt(5 / 8) * z * (z**2 - 3 * x**2),
            ]
        ),
    }


def pyscf_moments(auxiliary: gto.Mole, fitted: np.ndarray, centre: np.ndarray) -> dict[int, np.ndarray]:
    """∫ρ C_lm(r − C) by PySCF's Cartesian integrals of each function with the constant 1.

    :param fitted: coefficients in PySCF's order and axes.
    :param centre: bohr.
    """
    one = gto.M(atom="ghost-H 0 0 0", basis={"ghost-H": [[0, [1.0, 1.0]]]}, spin=None, verbose=0)
    one._env[one._bas[0, gto.PTR_EXP]] = 0.0  # exp(−0 r²) …
    one._env[one._bas[0, gto.PTR_COEFF]] = np.sqrt(4 * np.pi)  # … and Y_00 = 1/√(4π)
    both, functions = auxiliary + one, slice(0, auxiliary.nbas)
    shells = (functions.start, functions.stop, auxiliary.nbas, auxiliary.nbas + 1)
    with both.with_common_orig(centre):
        cartesian = {
            order: np.einsum(
                "xp,p->x", both.intor(name, comp=3**order, shls_slice=shells)[..., 0].reshape(3**order, -1), fitted
            )
            for order, name in enumerate(("int1e_ovlp", "int1e_r", "int1e_rr", "int1e_rrr"))
        }
    return {order: cubature(order) @ cartesian[order] for order in cartesian}


def cubature(order: int) -> np.ndarray:
    """T_lm with C_lm(r) = T_lm · r^l, from the polynomials of `racah` at random points; shape (2l+1, 3^l)."""
    points = np.random.default_rng(0).normal(size=(3, 40))
    powers = np.ones((1, 40))
    for _ in range(order):
        powers = np.einsum("ip,jp->ijp", powers, points).reshape(-1, 40)
    return np.linalg.lstsq(powers.T, racah(points)[order].T, rcond=None)[0].T


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_harmonic_tensors_are_the_table_of_solid_harmonics(order):
    tensors = harmonic_tensors(order).numpy()
    np.testing.assert_allclose(tensors.reshape(2 * order + 1, -1), cubature(order), atol=1e-12)
    if order > 1:  # traceless
        np.testing.assert_allclose(np.trace(tensors, axis1=1, axis2=2), 0, atol=1e-12)


@pytest.mark.parametrize("decontracted", [True, False])
def test_moments_of_any_coefficients_are_pyscfs_integrals(decontracted):
    mine = basis(decontracted)
    values = random_coefficients(mine)
    moments_of = moments(mine, NUMBERS, torch.tensor(POSITIONS), values)
    auxiliary = auxiliary_molecule(mine.shells, NUMBERS, POSITIONS)
    charges, places = np.array(NUMBERS, dtype=float), auxiliary.atom_coords()
    centre = charges @ places / charges.sum()
    electrons = pyscf_moments(auxiliary, e3nn_rotation(auxiliary).T @ torch.cat(values).numpy(), centre)
    nuclei = racah((places - centre).T)
    for order, moment in moments_of.items():
        expected = nuclei[order] @ charges - electrons[order]
        assert moment.shape == (2 * order + 1,)
        np.testing.assert_allclose(moment.numpy(), expected, rtol=1e-8, atol=1e-8)


def test_moments_are_differentiable():
    mine = AuxiliaryBasis("", {z: auxiliary_shells(z, "def2-universal-jfit", False) for z in (1, 8)})
    random = torch.Generator().manual_seed(0)
    values = [torch.randn(mine.size(z), dtype=torch.float64, generator=random) for z in WATER.atomic_numbers]

    def stacked(positions: torch.Tensor, *coefficients: torch.Tensor) -> torch.Tensor:
        return torch.cat(list(moments(mine, WATER.atomic_numbers, positions, coefficients).values()))

    inputs = [torch.tensor(WATER.positions), *values]
    assert torch.autograd.gradcheck(stacked, [x.requires_grad_() for x in inputs])


def test_a_given_charge_scales_the_electrons():
    mine = AuxiliaryBasis("", {z: auxiliary_shells(z, "def2-universal-jfit", False) for z in (1, 8)})
    values = [torch.full((mine.size(z),), 0.1, dtype=torch.float64) for z in WATER.atomic_numbers]
    free = moments(mine, WATER.atomic_numbers, torch.tensor(WATER.positions), values)
    held = moments(mine, WATER.atomic_numbers, torch.tensor(WATER.positions), values, charge=-1)
    assert float(held[0]) == pytest.approx(-1)
    factor = 11 / (10 - float(free[0]))
    scaled = moments(mine, WATER.atomic_numbers, torch.tensor(WATER.positions), [factor * v for v in values])
    torch.testing.assert_close(held[3], scaled[3])


def test_moments_moved_twice_are_moved_once():
    """The translation of solid harmonics is a group: by a, then by b, is by a + b; many charges at a time."""
    random = torch.Generator().manual_seed(1)
    charges = torch.randn(5, 2, 16, dtype=torch.float64, generator=random)
    a, b = (torch.randn(5, 2, 3, dtype=torch.float64, generator=random) for _ in range(2))
    torch.testing.assert_close(translated(translated(charges, a), b), translated(charges, a + b))
    torch.testing.assert_close(translated(charges, 0 * a), charges)


def test_local_moments_are_about_each_atom():
    """An s function has a charge and nothing else; a p function a dipole and nothing else, along itself."""
    mine = AuxiliaryBasis("", {1: auxiliary_shells(1, "def2-universal-jfit", False)})
    orders = [shell.l for shell in mine.shells[1]]
    assert orders == [0, 0, 0, 1, 2]
    values = torch.zeros(mine.size(1), dtype=torch.float64)
    values[0], values[4] = 2.0, 3.0  # the first s function, and p along y
    (local,) = local_moments(mine, [1], [values])
    assert float(local[0]) == pytest.approx(2 * mine.shells[1][0].charge)
    assert set(torch.nonzero(local).flatten().tolist()) == {0, 2}


@pytest.mark.parametrize("structure", [WATER, HYDROPEROXIDE], ids=["neutral", "charged"])
def test_no_translation_changes_a_multipole(structure):
    shift = np.array([3.0, -5.0, 11.0])
    far = Structure("far", structure.atomic_numbers, structure.positions + shift, charge=structure.charge)
    here, there = calculate(structure, METHOD), calculate(far, METHOD)
    np.testing.assert_allclose(np.array(there["centre"]) - shift, here["centre"], atol=1e-12)
    for key in ("dipole", "quadrupole", "octupole", "r2"):
        np.testing.assert_allclose(there[key], here[key], atol=2e-7, err_msg=key)
    mine = AuxiliaryBasis("", {z: auxiliary_shells(z, METHOD.auxiliary_basis, True) for z in (1, 8)})
    values = [torch.tensor(part, dtype=torch.float64) for part in here["coefficients"]]
    one, other = (moments(mine, s.atomic_numbers, torch.tensor(s.positions), values) for s in (structure, far))
    for order in range(4):
        torch.testing.assert_close(one[order], other[order], rtol=0, atol=1e-10)
    assert float(one[0]) == pytest.approx(structure.charge, abs=1e-9)


@pytest.mark.parametrize("structure", [WATER, HYDROPEROXIDE], ids=["neutral", "charged"])
def test_multipoles_of_the_fit_are_those_of_the_field_to_its_error(structure):
    """An error of ε percent of the density, where the density is, changes a moment of order l by ε % of ⟨r^l⟩ at most;
    the fit's errors are dipoles and more on each atom, so that they cancel further.
    """
    row = calculate(structure, METHOD)
    mine = AuxiliaryBasis("", {z: auxiliary_shells(z, METHOD.auxiliary_basis, True) for z in (1, 8)})
    values = [torch.tensor(part, dtype=torch.float64) for part in row["coefficients"]]
    fitted = moments(mine, structure.atomic_numbers, torch.tensor(structure.positions), values)
    electrons, part = row["electrons"], row["fit_error"] / 100
    assert np.linalg.norm(fitted[1].numpy() - np.array(row["dipole"])) == pytest.approx(row["dipole_error"], abs=1e-12)
    assert 0 < row["dipole_error"] < part * np.sqrt(electrons * row["r2"])
    assert np.linalg.norm(fitted[2].numpy() - np.array(row["quadrupole"])) < part * row["r2"]
    assert np.linalg.norm(fitted[3].numpy() - np.array(row["octupole"])) < part * row["r2"] ** 1.5


@pytest.mark.parametrize("structure", [WATER, HYDROPEROXIDE], ids=["neutral", "charged"])
def test_field_moments_are_pyscfs_own(structure):
    """Its dipole, and its quadrupole (Buckingham's, traceless: Θ = Σ q (3 r r − r² 1)/2), about the same origin."""
    mol = gto.M(
        atom=list(zip([gto.mole._symbol(z) for z in structure.atomic_numbers], structure.positions, strict=True)),
        basis="6-31G",
        charge=structure.charge,
        verbose=0,
    )
    field = scf.RHF(mol).run()
    centre, multipoles, extent = field_moments(mol, field.make_rdm1())
    numbers, places = list(structure.atomic_numbers), torch.tensor(structure.positions)
    np.testing.assert_allclose(centre, centre_of_charge(numbers, places), atol=1e-12)
    origin = centre / BOHR
    assert multipoles[0] == pytest.approx([structure.charge], abs=1e-9)
    np.testing.assert_allclose(multipoles[1], field.dip_moment(unit="AU", origin=origin, verbose=0), atol=1e-9)
    quadrupole = field.quad_moment(unit="AU", origin=origin, verbose=0)
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = quadrupole
    # Θ_yy is C_20 about y, and Θ_xz = (3/2) Σ q x z = (√3/2) C_2,xz.
    expected = [2 / np.sqrt(3) * xz, 2 / np.sqrt(3) * xy, yy, 2 / np.sqrt(3) * yz, (zz - xx) / np.sqrt(3)]
    np.testing.assert_allclose(multipoles[2], expected, atol=1e-9)
    with mol.with_common_orig(origin):
        assert extent == pytest.approx(np.vdot(mol.intor("int1e_r2"), field.make_rdm1()))


def test_a_training_needs_no_pyscf():
    """Multipoles of predicted coefficients are computed where PySCF is not installed."""
    script = "import sys; sys.modules['pyscf'] = None; import tesseral.models.density.multipoles"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
