"""Densities handed back to PySCF: the same density, its energies, and the way back."""

import numpy as np
import pytest
import torch
from pyscf import gto, scf

from tesseral.models.density.density import density_on_points
from tesseral.models.reference.calculation.auxiliary_density import SNIPPET, to_pyscf
from tesseral.models.reference.calculation.basis_set import load_basis
from tesseral.models.reference.calculation.calculation import calculate, reference_basis
from tesseral.models.reference.structure import Structure
from tesseral.study.constants import BOHR
from tesseral.study.errors import DataError, StudyFileError
from tesseral.study.recipe.method import Method
from tests.support.saved_density import e3nn_coefficients, load_density
from tests.support.synthetic_density import BASIS, WATER, coefficients

NUMBERS = [8, 1, 1]


def test_pyscf_has_the_same_density_and_gives_it_back():
    values = [np.array(part) for part in coefficients(NUMBERS, WATER)]
    density = to_pyscf(BASIS, NUMBERS, WATER, values)
    points = np.random.default_rng(0).normal(size=(300, 3)) * 1.5
    expected = density_on_points(
        BASIS, NUMBERS, torch.from_numpy(WATER), [torch.from_numpy(part) for part in values], torch.from_numpy(points)
    )
    pyscfs = density.molecule.eval_gto("GTOval_sph", points / BOHR) @ density.coefficients
    np.testing.assert_allclose(pyscfs, expected.numpy(), atol=1e-12)
    for mine, theirs in zip(e3nn_coefficients(density), values, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=2e-15 * np.abs(theirs).max())


def test_text_given_as_the_name_of_a_basis_is_never_evaluated(tmp_path):
    """PySCF parses a basis that is text, and its parser evaluates numbers that are none."""
    text = f"H    S\n      open({str(tmp_path / 'ran')!r},'w')   1.0\n"
    (tmp_path / "evil.basis").write_text(text)
    for name in (text, str(tmp_path / "evil.basis")):
        with pytest.raises(StudyFileError, match=r"method\.basis: expected the name of a basis"):
            load_basis(name, "H", "method.basis")
    assert not (tmp_path / "ran").exists()


@pytest.fixture(scope="module")
def water() -> tuple[dict, object, Method]:
    """A calculation whose auxiliary basis is contracted, and the basis."""
    method = Method(method="HF", basis="STO-3G", auxiliary_basis="def2-universal-jfit", decontracted=False)
    structure = Structure("water", tuple(NUMBERS), WATER)
    return calculate(structure, method), reference_basis([structure], method), method


def test_electrons_and_coulomb_energy_are_those_of_the_calculation(water):
    row, basis, _ = water
    density = to_pyscf(basis, NUMBERS, WATER, [np.array(part) for part in row["coefficients"]])
    assert density.charges @ density.coefficients == pytest.approx(10, abs=1e-8)
    molecule = gto.M(atom=list(zip("OHH", WATER, strict=True)), basis="STO-3G", verbose=0)
    field = scf.RHF(molecule).run()
    matrix = field.make_rdm1()
    exact = np.einsum("ij,ji->", field.get_j(), matrix) / 2
    fitted = density.coefficients @ density.molecule.intor("int2c2e") @ density.coefficients / 2
    assert fitted == pytest.approx(exact, rel=2e-4)
    assert fitted != pytest.approx(exact, rel=1e-9)  # the fit has an error of its own


def test_a_saved_density_comes_back_exactly_and_the_snippet_reads_it(water, tmp_path):
    row, basis, _ = water
    path = tmp_path / "water.npz"
    density = to_pyscf(basis, NUMBERS, WATER, [np.array(part) for part in row["coefficients"]])
    density.save(path)
    back = load_density(path)
    np.testing.assert_array_equal(back.coefficients, density.coefficients)
    np.testing.assert_array_equal(back.molecule.intor("int1e_ovlp"), density.molecule.intor("int1e_ovlp"))
    for mine, theirs in zip(e3nn_coefficients(back), e3nn_coefficients(density), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    names: dict = {}
    exec(SNIPPET.format(path=str(path)), names)
    assert names["electrons"] == pytest.approx(10, abs=1e-8)
    integrals = density.molecule.intor("int2c2e")
    assert names["repulsion"] == pytest.approx(density.coefficients @ integrals @ density.coefficients / 2, rel=1e-12)
    at_nuclei = density_on_points(
        basis,
        NUMBERS,
        torch.from_numpy(WATER),
        [torch.tensor(part, dtype=torch.float64) for part in row["coefficients"]],
        torch.from_numpy(WATER),
    )
    np.testing.assert_allclose(names["density"], at_nuclei.numpy(), rtol=1e-9)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    density = to_pyscf(BASIS, NUMBERS, WATER, [np.array(part) for part in coefficients(NUMBERS, WATER)])
    with pytest.raises(DataError, match="cannot be written"):
        density.save(tmp_path / "absent" / "x.npz")
