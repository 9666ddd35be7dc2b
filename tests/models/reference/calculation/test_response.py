"""Forces, polarizabilities and partial charges against finite differences, and against closed forms."""

import numpy as np
import pytest
from pyscf import lo, scf
from scipy import linalg

from tesseral.models.reference.calculation.calculation import calculate
from tesseral.models.reference.calculation.isolated_atom import isolated_density
from tesseral.models.reference.calculation.mean_field import converge, mean_field, molecule, total_density_matrix
from tesseral.models.reference.calculation.partial_charges import hirshfeld_charges, intrinsic_charges, partial_charges
from tesseral.models.reference.calculation.response import forces, static_polarizability
from tesseral.models.reference.conventions import from_irreps
from tesseral.models.reference.structure import Structure
from tesseral.study.constants import BOHR
from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.irreps import MulIrrep
from tesseral.study.recipe.method import Method

WATER = Structure("water", (8, 1, 1), np.array([[0.1, 0.0, 0.2], [0.86, 0.57, 0.1], [-0.62, 0.61, 0.32]]))
RADICAL = Structure("radical", (8, 8, 1), np.array([[0.0, 0.1, 0.0], [1.4, 0.0, 0.3], [1.7, 0.8, -0.2]]), spin=1)
FIELDS = {
    "RHF": (WATER, Method(method="HF", basis="6-31G")),
    "UHF": (RADICAL, Method(method="HF", basis="6-31G")),
    "UHF without unpaired electrons": (WATER, Method(method="HF", basis="6-31G", unrestricted=True)),
    "RKS": (WATER, Method(method="PBE0", basis="6-31G")),
    "RKS with density fitting": (WATER, Method(method="PBE0", basis="6-31G", density_fitting=True)),
    "UKS": (RADICAL, Method(method="PBE", basis="STO-3G")),
}


@pytest.fixture(scope="module", params=FIELDS)
def case(request):
    structure, method = FIELDS[request.param]
    field = converge(mean_field(molecule(structure, method), method))
    assert field.converged
    assert hasattr(field, "with_df") == (method.density_fitting is True)
    return structure, method, field


def test_restricted_or_not(case):
    structure, method, field = case
    assert isinstance(field, scf.uhf.UHF) == (structure.spin > 0 or method.unrestricted)


def test_the_polarizability_is_the_dipoles_change_in_a_field(case):
    """α_xy = (μ_x(F_y) − μ_x(−F_y)) / 2F_y, to the order F²."""
    _, method, field = case
    bare, positions, strength = field.get_hcore(), field.mol.intor("int1e_r"), 1e-3
    expected = np.zeros((3, 3))
    for axis in range(3):
        dipoles = []
        for sign in (1, -1):
            disturbed = mean_field(field.mol, method)
            core = bare + sign * strength * positions[axis]
            disturbed.get_hcore = lambda *_, core=core: core
            disturbed.kernel(field.make_rdm1())
            assert disturbed.converged
            dipoles.append(-np.einsum("xij,ji->x", positions, total_density_matrix(disturbed)))
        expected[:, axis] = (dipoles[0] - dipoles[1]) / (2 * strength)
    polarizability = static_polarizability(field)
    assert polarizability.shape == (6,)
    np.testing.assert_allclose(
        from_irreps(polarizability, (MulIrrep(1, 0, 1), MulIrrep(1, 2, 1)), 2), expected, atol=3e-4
    )


def test_forces_are_the_energys_slope(case):
    structure, method, field = case
    gradient, step = forces(field), 1e-3  # Å
    assert gradient.shape == structure.positions.shape
    np.testing.assert_allclose(gradient.sum(axis=0), 0, atol=1e-8)
    energies = []
    for sign in (1, -1):
        positions = structure.positions.copy()
        positions[1, 0] += sign * step
        moved = Structure("moved", structure.atomic_numbers, positions, spin=structure.spin)
        energies.append(mean_field(molecule(moved, method), method).kernel(field.make_rdm1()))
    slope = (energies[0] - energies[1]) / (2 * step) * BOHR
    assert gradient[1, 0] == pytest.approx(-slope, abs=1e-5)
    assert abs(gradient[1, 0]) > 1e-3


def test_the_polarizability_of_one_electron_is_the_sum_over_states():
    """For a hydrogen atom: α = 2 Σ_a |⟨a|z|0⟩|² / (ε_a − ε_0) over the eigenstates of its core Hamiltonian."""
    method = Method(method="HF", basis="def2-TZVP")
    field = converge(mean_field(molecule(Structure("h", (1,), np.zeros((1, 3)), spin=1), method), method))
    energies, orbitals = linalg.eigh(field.get_hcore(), field.get_ovlp())
    elements = orbitals[:, 0] @ field.mol.intor("int1e_r")[2] @ orbitals[:, 1:]
    expected = 2 * (elements**2 / (energies[1:] - energies[0])).sum()
    polarizability = static_polarizability(field)
    np.testing.assert_allclose(polarizability, [np.sqrt(3) * expected, 0, 0, 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize("scheme", ["iao", "hirshfeld"])
def test_partial_charges_are_of_the_right_size(case, scheme):
    """Oxygen negative, hydrogen positive, their sum the total charge; Hirshfeld's are the smaller ones."""
    structure, method, field = case
    charges = partial_charges(field, Method(**{**method.__dict__, "charge_scheme": scheme}))
    assert charges.shape == (len(structure.atomic_numbers),)
    assert charges.sum() == pytest.approx(0, abs=1e-9)
    assert charges[-1] > 0.05  # a hydrogen
    assert charges.min() < -0.05
    assert np.abs(hirshfeld_charges(field, method)).max() < np.abs(intrinsic_charges(field)).max()


def test_intrinsic_charges_are_the_populations_of_pyscfs_own_analysis():
    field = scf.RHF(molecule(WATER, FIELDS["RHF"][1])).run()
    orbitals = lo.vec_lowdin(lo.iao.iao(field.mol, field.mo_coeff[:, field.mo_occ > 0]), field.get_ovlp())
    inside = orbitals.T @ field.get_ovlp() @ field.make_rdm1() @ field.get_ovlp() @ orbitals
    small = lo.iao.reference_mol(field.mol)
    _, expected = scf.hf.mulliken_pop(small, inside, s=np.eye(small.nao), verbose=0)
    np.testing.assert_allclose(intrinsic_charges(field), expected, atol=1e-8)


def test_hirshfelds_atoms_have_no_charge_of_their_own():
    """Far from each other two neutral atoms keep their electrons; at any distance equal atoms share evenly."""
    method = Method(method="HF", basis="6-31G")
    apart = Structure("pair", (2, 10), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 9.0]]))
    field = converge(mean_field(molecule(apart, method), method))
    np.testing.assert_allclose(hirshfeld_charges(field, method), 0, atol=1e-4)
    nitrogen = Structure("n2", (7, 7), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.1]]))
    field = converge(mean_field(molecule(nitrogen, method), method))
    np.testing.assert_allclose(hirshfeld_charges(field, method), 0, atol=1e-9)
    atom, matrix = isolated_density(7, method)
    assert np.vdot(atom.intor("int1e_ovlp"), matrix) == pytest.approx(7)


@pytest.mark.parametrize(("functional", "differentiated"), [("wB97X-V", False), ("PBE", True)])
def test_the_grid_is_not_differentiated_for_nonlocal_correlation(functional, differentiated):
    """Its part alone costs pairs of points; without it forces are the slope to what the grid leaves."""
    step = 1e-3  # Å
    method = Method(method=functional, basis="STO-3G", grid_level=1)

    def hydrogen(z: float):
        moved = Structure("h2", (1, 1), np.array([[0.0, 0.0, 0.0], [0.1, 0.2, 0.8 + z]]))
        field = mean_field(molecule(moved, method), method)
        field.nlcgrids.atom_grid = (15, 26)  # else eight seconds
        return converge(field)

    field, gradients = hydrogen(0.0), []
    make = field.nuc_grad_method

    def watched():
        gradients.append(make())
        return gradients[-1]

    field.nuc_grad_method = watched
    forces_of = forces(field)
    assert [gradient.grid_response for gradient in gradients] == [differentiated]
    slope = (hydrogen(step).e_tot - hydrogen(-step).e_tot) / (2 * step / BOHR)
    assert forces_of[1, 2] == pytest.approx(-slope, abs=1e-5 if differentiated else 2e-3)


def test_what_is_not_asked_for_is_null():
    row = calculate(WATER, Method(method="HF", basis="STO-3G"))
    assert not {"forces", "polarizability", "charges"} & set(row)
    asked = calculate(WATER, Method(method="HF", basis="STO-3G", quantities=("forces",)))
    assert set(asked) - set(row) == {"forces"}
    assert "polarizability" not in asked["timings"]
    assert "forces" in asked["timings"]


def test_a_scheme_without_a_reference_for_an_element_is_refused():
    potassium = Structure("k", (19,), np.zeros((1, 3)), charge=1)
    method = Method(method="HF", quantities=("charges",))
    with pytest.raises(
        StudyFileError, match="expected a basis that has K, got 'minao', which has H to Ar, Ca"
    ) as error:
        calculate(potassium, method)
    assert error.value.path == "method.charge_scheme"
