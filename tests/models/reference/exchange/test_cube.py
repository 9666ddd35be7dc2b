"""Cube files, read back by two other programs."""

import numpy as np
import pytest
import torch
from ase.io.cube import read_cube_data
from pyscf import gto
from pyscf.tools import cubegen

from tesseral.models.density.density import density_on_points
from tesseral.models.reference.exchange.cube import box_around, write_cube
from tesseral.study.constants import BOHR
from tesseral.study.errors import DataError
from tests.support.synthetic_density import BASIS, WATER, coefficients

NUMBERS = [8, 1, 1]
PLACES = WATER + np.array([1.3, -0.4, 12.0])
VALUES = [torch.tensor(part, dtype=torch.float64) for part in coefficients(NUMBERS, PLACES)]
ELECTRONS = sum(
    shell.charge * float(value)
    for number, values in zip(NUMBERS, VALUES, strict=True)
    for shell, value in zip((s for s in BASIS.shells[number] for _ in range(2 * s.l + 1)), values, strict=True)
)


def test_a_cube_is_what_two_other_programs_read(tmp_path):
    path = tmp_path / "water.cube"
    done = write_cube(path, BASIS, NUMBERS, PLACES, VALUES, spacing=0.25, margin=4.0, title="water, émigré")
    values, atoms = read_cube_data(str(path))
    assert values.shape == done.points
    assert atoms.numbers.tolist() == NUMBERS
    np.testing.assert_allclose(atoms.positions, PLACES, atol=1e-6)
    again = cubegen.Cube(gto.M(atom="He", verbose=0))
    np.testing.assert_array_equal(again.read(str(path)), values)
    step = again.box[0, 0] / again.nx
    np.testing.assert_allclose(again.box, np.diag(step * np.array(done.points)), atol=1e-9)
    assert step * BOHR == pytest.approx(0.25, abs=1e-6)
    picks = np.random.default_rng(0).integers(0, done.points, size=(200, 3))
    points = torch.from_numpy((again.boxorig + step * picks) * BOHR)
    expected = density_on_points(BASIS, NUMBERS, torch.from_numpy(PLACES), VALUES, points).numpy()
    np.testing.assert_allclose(values[tuple(picks.T)], expected, rtol=1e-5, atol=1e-12)
    assert done.electrons == pytest.approx(values.sum() * step**3, rel=1e-5)
    # Gaussians as flat as these converge fast on a uniform grid.
    assert done.electrons == pytest.approx(ELECTRONS, rel=1e-3)


def test_the_box_encloses_the_atoms_by_the_margin():
    box = box_around(PLACES, spacing=0.3, margin=2.0)
    low, high = box.origin * BOHR, (box.origin + box.step * (np.array(box.counts) - 1)) * BOHR
    for edge, nearest in ((low - PLACES.min(axis=0), -2.0), (high - PLACES.max(axis=0), 2.0)):
        assert (np.abs(edge) >= abs(nearest) - 1e-5).all()
        assert (np.abs(edge) < abs(nearest) + 0.15 + 1e-5).all()
    alone = box_around(np.zeros((1, 3)), spacing=1.0, margin=0.0)
    assert alone.counts == (1, 1, 1)


@pytest.mark.parametrize(
    ("spacing", "margin", "sentence"),
    [
        (0.0, 3.0, "expected a spacing above 0 Å and a margin of 0 Å or more, got 0.0 and 3.0"),
        (0.1, -1.0, "got 0.1 and -1.0"),
        (0.1, float("nan"), "got 0.1 and nan"),
        (0.001, 3.0, r"at most 1e\+08 points, a spacing of 0.001 Å .* makes 3\.\de\+11"),
    ],
)
def test_grids_that_cannot_be_meant_are_refused(spacing, margin, sentence):
    with pytest.raises(DataError, match=sentence):
        box_around(PLACES, spacing, margin)


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="cannot be written: No such file or directory"):
        write_cube(tmp_path / "absent" / "x.cube", BASIS, NUMBERS, PLACES, VALUES)
