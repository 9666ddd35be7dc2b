"""Displaced molecules: the distribution of their displacements against its formula."""

from dataclasses import replace

import numpy as np
import pytest
from pyscf.data import nist

from tesseral.models.reference.geometries.displacements import SQUEEZED, STRETCHED, deviations, displaced
from tesseral.models.reference.geometries.recipe_structures import elements, structure_at, structures
from tesseral.study.errors import DataError
from tests.support.displaced_molecules import AMMONIA, WATER, minimum, molecule, recipe


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
    about, count = minimum(table), 1500
    root = np.sqrt(about.masses)[:, None]
    samples = np.array([displaced(molecule(table), table, index) for index in range(count)])
    along = ((samples - about.positions) / nist.BOHR * root).reshape(count, -1) @ about.modes.T
    hot = 3.166811563e-6 * temperature  # kT, hartree
    expected = [1 / (2 * w) * (1 / np.tanh(w / (2 * hot)) if hot else 1) for w in about.frequencies]
    np.testing.assert_allclose(along.var(axis=0), expected, rtol=5 * np.sqrt(2 / count))
    assert np.abs(np.corrcoef(along.T) - np.eye(3)).max() < 5 / np.sqrt(count)


def test_the_hot_limit_is_the_classical_one():
    about = minimum(WATER)
    np.testing.assert_allclose(
        deviations(about, 1e6) ** 2 * about.frequencies**2, 3.166811563e-6 * 1e6, rtol=1e-3
    )  # σ²ω² = kT


def test_normal_modes_are_displaced_one_after_another():
    table = replace(WATER, mode="normal_modes", amplitude=1.5)
    about = minimum(table)
    root = np.sqrt(about.masses)[:, None]
    sigma = deviations(about, table.temperature)
    for index in range(12):
        shift = (displaced(molecule(table), table, index) - about.positions) / nist.BOHR
        along = (about.modes @ (shift * root).ravel()) / sigma
        assert np.abs(along).argmax() == index % 3
        assert 0.001 < np.abs(along).max() <= 1.5 + 1e-3  # positions are rounded
        assert np.sort(np.abs(along))[-2] < 1e-3


def test_atoms_never_come_too_close_and_bonds_hold():
    """At 20,000 K most draws are squeezed or stretched; those are drawn again."""
    table = replace(WATER, temperature=20_000.0)
    about = minimum(table)
    bonds = np.linalg.norm(about.positions[1:] - about.positions[0], axis=1)
    for index in range(60):
        positions = displaced(molecule(table), table, index)
        lengths = np.linalg.norm(positions[1:] - positions[0], axis=1)
        assert (lengths >= SQUEEZED * bonds).all()
        assert (lengths <= STRETCHED * bonds).all()


def test_where_all_are_too_close_or_broken_a_sentence_says_so():
    with pytest.raises(DataError, match=r"bond or atoms too close, 1000 in a row had one; lower the temperature"):
        displaced(molecule(AMMONIA), replace(AMMONIA, temperature=1e9), 0)
