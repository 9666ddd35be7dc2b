"""The minimum of a molecule's energy and the modes about it, against PySCF's own analysis."""

from dataclasses import replace

import numpy as np
import pytest
from pyscf import gto, scf
from pyscf.hessian import thermo

from tesseral.models.reference.calculation import normal_modes
from tesseral.models.reference.calculation.normal_modes import FORCE_TOLERANCE, Vibrations
from tesseral.models.reference.geometries.recipe_structures import structure_at
from tesseral.study.constants import HARTREE_WAVENUMBER
from tesseral.study.errors import DataError
from tests.support.displaced_molecules import AMMONIA, WATER, minimum, recipe


def test_the_minimum_has_no_force_and_pyscfs_wavenumbers():
    about = minimum(WATER)
    field = scf.RHF(gto.M(atom=list(zip("OHH", about.positions, strict=True)), basis="STO-3G", verbose=0)).run(
        conv_tol=1e-12
    )
    assert np.abs(field.nuc_grad_method().kernel()).max() < FORCE_TOLERANCE
    expected = thermo.harmonic_analysis(field.mol, field.Hessian().kernel())["freq_wavenumber"]
    np.testing.assert_allclose(HARTREE_WAVENUMBER * about.frequencies, expected, rtol=1e-4)
    np.testing.assert_allclose(about.modes @ about.modes.T, np.eye(3), atol=1e-12)


def test_no_mode_shifts_or_turns_the_molecule():
    about = minimum(AMMONIA)
    assert about.modes.shape == (6, 12)
    shifts = about.modes.reshape(6, 4, 3) / np.sqrt(about.masses)[:, None]
    weighted = about.masses[:, None] * shifts
    np.testing.assert_allclose(weighted.sum(axis=1), 0, atol=1e-10)
    np.testing.assert_allclose(np.cross(about.positions, weighted).sum(axis=1), 0, atol=1e-9)


def test_a_linear_molecule_has_one_mode_more():
    carbon_dioxide = replace(
        WATER, name="co2", elements=("O", "C", "O"), positions=((0, 0, -1.2), (0, 0, 0), (0, 0, 1.15))
    )
    assert len(minimum(carbon_dioxide).frequencies) == 4
    hydrogen = replace(WATER, name="h2", elements=("H", "H"), positions=((0.0, 0, 0), (0.3, 0.5, 0.5)))
    assert len(minimum(hydrogen).frequencies) == 1


def test_degenerate_modes_do_not_depend_on_an_eigenvectors_whim():
    """Any orthonormal mixture of the degenerate modes, with any signs, becomes the same modes."""
    about = minimum(AMMONIA)
    gaps = HARTREE_WAVENUMBER * np.diff(about.frequencies)
    pairs = np.flatnonzero(gaps < normal_modes.DEGENERATE)
    assert len(pairs) == 2
    mixed = -about.modes
    for k in pairs:
        turn = np.array([[np.cos(0.7), np.sin(0.7)], [np.sin(0.7), -np.cos(0.7)]])
        mixed[k : k + 2] = turn @ mixed[k : k + 2]
    assert np.abs(mixed - about.modes).max() > 0.1
    np.testing.assert_allclose(normal_modes._canonical(about.frequencies, mixed), about.modes, atol=1e-12)


FLAT = replace(AMMONIA, positions=((0, 0, 0), (1.0, 0, 0), (-0.5, 0.87, 0), (-0.5, -0.87, 0)))


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (FLAT, r"ammonia has an imaginary mode of \d+i 1/cm: start from a geometry that is less symmetric"),
        (replace(FLAT, optimise=False), "1/cm: start from its minimum, or set optimise = true"),
        (replace(WATER, elements=("He",), positions=((0, 0, 0),)), "expected a molecule of at least two atoms"),
        (replace(WATER, spin=1), "water has 1"),
        (replace(WATER, positions=((0, 0, 0), (0, 0, 0), (0, 1, 0))), "atoms 0 and 1 of water"),
    ],
)
def test_what_has_no_vibrations_is_refused(table, sentence):
    with pytest.raises(DataError, match=sentence):
        structure_at(recipe(table), 0)


def test_a_molecule_without_a_minimum_is_refused(monkeypatch):
    monkeypatch.setattr(normal_modes, "_ITERATIONS", 1)
    far = replace(WATER, name="far", positions=((0, 0, 0), (0, 0.9, 0.9), (0, -0.9, 0.9)))
    with pytest.raises(DataError, match=r"after 1 steps a force of .* is left; give a better geometry"):
        structure_at(recipe(far), 0)


def test_vibrations_come_back_from_json_with_every_bit():
    about = minimum(AMMONIA)
    again = Vibrations.from_json(about.to_json())
    for key, value in vars(about).items():
        assert getattr(again, key).tobytes() == value.tobytes()
        assert getattr(again, key).shape == value.shape
