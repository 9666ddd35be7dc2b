"""Frames are predicted in batches, whatever their size, in the order of the file."""

import numpy as np
from ase import Atoms
from ase.io import write

from tesseral.models.prediction.predicted_frames import predict_frames
from tesseral.models.reference.exchange.extended_xyz import read_frames
from tests.support.synthetic_properties import property_reference
from tests.support.trained_model import trained_model


def test_batches_change_nothing(tmp_path):
    rows = property_reference(5).table.to_pylist()
    write(tmp_path / "a.xyz", [Atoms(row["atomic_numbers"], row["positions"]) for row in rows], format="extxyz")
    model = trained_model("forces", dtype="float64")
    one, other = (list(predict_frames([model, model], read_frames(tmp_path / "a.xyz"), batch=size)) for size in (2, 9))
    assert [frame.frame.index for frame in one] == [0, 1, 2, 3, 4]
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine.mean("forces"), theirs.members[1]["forces"], atol=1e-13)
