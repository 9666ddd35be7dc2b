"""Errors of a file against their definitions by NumPy, over structures of different sizes."""

import numpy as np
import pytest

from tesseral.models.prediction.label_errors import ErrorSums


def test_errors_are_means_over_all_rows():
    generator = np.random.default_rng(0)
    parts = [generator.normal(size=(atoms, 3)) for atoms in (2, 5, 3)]
    sums = ErrorSums()
    for part in parts:
        sums.add(part)
    every, errors = np.concatenate(parts), sums.errors()
    assert errors.frames == 3
    assert errors.components_mae == pytest.approx(np.abs(every).mean())
    assert errors.components_rmse == pytest.approx(np.sqrt(np.square(every).mean()))
    assert errors.norm_mae == pytest.approx(np.linalg.norm(every, axis=1).mean())


def test_a_quantity_of_the_structure_is_one_row():
    sums = ErrorSums()
    sums.add(np.array([3.0, 4.0, 0.0]))
    sums.add(np.array([0.0, 0.0, 0.0]))
    assert sums.errors().norm_mae == 2.5
    assert sums.errors().components_mae == pytest.approx(7 / 6)
