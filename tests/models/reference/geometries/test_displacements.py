"""Displaced molecules: the minimum and its modes against PySCF's own analysis, the distribution against its formula."""

from dataclasses import replace

import numpy as np
import pytest
from pyscf import gto, scf
from pyscf.data import nist
from pyscf.hessian import thermo

from tesseral.models.reference.calculation import normal_modes as module
from tesseral.models.reference.calculation.normal_modes import FORCE_TOLERANCE, vibrations
from tesseral.models.reference.geometries.displacements import SQUEEZED, STRETCHED, deviations, displaced
from tesseral.models.reference.geometries.recipe_structures import elements, structure_at, structures
from tesseral.models.reference.structure import Structure
from tesseral.study.errors import DataError
from tesseral.study.recipe.method import Method
from tesseral.study.recipe.recipe import Recipe, RecipeReference
from tesseral.study.recipe.structures import Displacements

CHEAP = {"method": "HF", "basis": "STO-3G"}
WATER = Displacements(
    kind="displacements",
    name="water",
    elements=("O", "H", "H"),
    positions=((0.0, 0.0, 0.0), (0.1, 0.75, 0.6), (0.0, -0.8, 0.55)),
    count=4,
    **CHEAP,
)
AMMONIA = replace(
    WATER,
    name="ammonia",
    elements=("N", "H", "H", "H"),
    positions=((0, 0, 0.35), (0.95, 0, 0), (-0.47, 0.82, 0), (-0.47, -0.82, 0)),
)


def molecule(table: Displacements) -> Structure:
    return Structure(table.name, table.atomic_numbers, np.array(table.positions), table.charge, table.spin)


def recipe(*tables: Displacements) -> Recipe:
    return Recipe(reference=RecipeReference(name="displaced"), structures=tables)


def minimum(table: Displacements) -> module.Vibrations:
    return vibrations(molecule(table), Method(**CHEAP), table.optimise)


def test_the_minimum_has_no_force_and_pyscfs_wavenumbers():
    found = minimum(WATER)
    field = scf.RHF(gto.M(atom=list(zip("OHH", found.positions, strict=True)), basis="STO-3G", verbose=0)).run(
        conv_tol=1e-12
    )
    assert np.abs(field.nuc_grad_method().kernel()).max() < FORCE_TOLERANCE
    expected = thermo.harmonic_analysis(field.mol, field.Hessian().kernel())["freq_wavenumber"]
    np.testing.assert_allclose(found.wavenumbers, expected, rtol=1e-4)
    np.testing.assert_allclose(found.modes @ found.modes.T, np.eye(3), atol=1e-12)


def test_no_mode_shifts_or_turns_the_molecule():
    found = minimum(AMMONIA)
    assert found.modes.shape == (6, 12)
    shifts = found.modes.reshape(6, 4, 3) / np.sqrt(found.masses)[:, None]
    weighted = found.masses[:, None] * shifts
    np.testing.assert_allclose(weighted.sum(axis=1), 0, atol=1e-10)
    np.testing.assert_allclose(np.cross(found.positions, weighted).sum(axis=1), 0, atol=1e-9)


def test_a_linear_molecule_has_one_mode_more():
    carbon_dioxide = replace(
        WATER, name="co2", elements=("O", "C", "O"), positions=((0, 0, -1.2), (0, 0, 0), (0, 0, 1.15))
    )
    assert len(minimum(carbon_dioxide).frequencies) == 4
    hydrogen = replace(WATER, name="h2", elements=("H", "H"), positions=((0.0, 0, 0), (0.3, 0.5, 0.5)))
    assert len(minimum(hydrogen).frequencies) == 1


def test_degenerate_modes_do_not_depend_on_an_eigenvectors_whim():
    """Any orthonormal mixture of the degenerate modes, with any signs, becomes the same modes."""
    found = minimum(AMMONIA)
    pairs = [k for k in range(5) if found.wavenumbers[k + 1] - found.wavenumbers[k] < module.DEGENERATE]
    assert len(pairs) == 2
    mixed = -found.modes
    for k in pairs:
        turn = np.array([[np.cos(0.7), np.sin(0.7)], [np.sin(0.7), -np.cos(0.7)]])
        mixed[k : k + 2] = turn @ mixed[k : k + 2]
    assert np.abs(mixed - found.modes).max() > 0.1
    np.testing.assert_allclose(module._canonical(found.frequencies, mixed), found.modes, atol=1e-12)


@pytest.mark.parametrize("mode", ["thermal", "normal_modes"])
def test_a_displacement_depends_on_its_number_alone(mode):
    few, many = (recipe(replace(AMMONIA, mode=mode, count=count)) for count in (3, 7))
    wanted = list(structures(many))
    assert [one.id for one in wanted[:2]] == ["ammonia-0000", "ammonia-0001"]
    assert elements(few) == [1, 7]
    for index in (2, 0, 1):
        assert (structure_at(few, index).positions == wanted[index].positions).all()
    other = recipe(replace(AMMONIA, mode=mode, seed=1))
    assert (structure_at(other, 0).positions != wanted[0].positions).any()
    assert len({one.positions.tobytes() for one in wanted}) == 7


@pytest.mark.parametrize("temperature", [0.0, 300.0, 2000.0])
def test_thermal_displacements_have_the_oscillators_spread(temperature):
    """σ² = coth(ħω/2kT) ħ/2ω of each mode, and no correlation between modes."""
    table = replace(WATER, temperature=temperature)
    found, count = minimum(table), 1500
    root = np.sqrt(found.masses)[:, None]
    samples = np.array([displaced(molecule(table), table, index) for index in range(count)])
    along = ((samples - found.positions) / nist.BOHR * root).reshape(count, -1) @ found.modes.T
    hot = 3.166811563e-6 * temperature  # kT, hartree
    expected = [1 / (2 * w) * (1 / np.tanh(w / (2 * hot)) if hot else 1) for w in found.frequencies]
    np.testing.assert_allclose(along.var(axis=0), expected, rtol=5 * np.sqrt(2 / count))
    assert np.abs(np.corrcoef(along.T) - np.eye(3)).max() < 5 / np.sqrt(count)


def test_the_hot_limit_is_the_classical_one():
    found = minimum(WATER)
    np.testing.assert_allclose(
        deviations(found, 1e6) ** 2 * found.frequencies**2, 3.166811563e-6 * 1e6, rtol=1e-3
    )  # σ²ω² = kT


def test_normal_modes_are_displaced_one_after_another():
    table = replace(WATER, mode="normal_modes", amplitude=1.5)
    found = minimum(table)
    root = np.sqrt(found.masses)[:, None]
    sigma = deviations(found, table.temperature)
    for index in range(12):
        shift = (displaced(molecule(table), table, index) - found.positions) / nist.BOHR
        along = (found.modes @ (shift * root).ravel()) / sigma
        assert np.abs(along).argmax() == index % 3
        assert 0.001 < np.abs(along).max() <= 1.5 + 1e-3  # positions are rounded
        assert np.sort(np.abs(along))[-2] < 1e-3


def test_atoms_never_come_too_close_and_bonds_hold():
    """At 20,000 K most draws are squeezed or stretched; those are drawn again."""
    table = replace(WATER, temperature=20_000.0)
    found = minimum(table)
    bonds = np.linalg.norm(found.positions[1:] - found.positions[0], axis=1)
    for index in range(60):
        positions = displaced(molecule(table), table, index)
        lengths = np.linalg.norm(positions[1:] - positions[0], axis=1)
        assert (lengths >= SQUEEZED * bonds).all()
        assert (lengths <= STRETCHED * bonds).all()


def test_where_all_are_too_close_or_broken_a_sentence_says_so():
    with pytest.raises(DataError, match=r"bond or atoms too close, 1000 in a row had one; lower the temperature"):
        displaced(molecule(AMMONIA), replace(AMMONIA, temperature=1e9), 0)


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
    monkeypatch.setattr(module, "_ITERATIONS", 1)
    far = replace(WATER, name="far", positions=((0, 0, 0), (0, 0.9, 0.9), (0, -0.9, 0.9)))
    with pytest.raises(DataError, match=r"after 1 steps a force of .* is left; give a better geometry"):
        structure_at(recipe(far), 0)


def test_vibrations_come_back_from_json_with_every_bit():
    found = minimum(AMMONIA)
    again = module.Vibrations.from_json(found.to_json())
    for key, value in vars(found).items():
        assert getattr(again, key).tobytes() == value.tobytes()
        assert getattr(again, key).shape == value.shape
