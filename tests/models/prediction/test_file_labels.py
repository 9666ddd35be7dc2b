"""Labels of a file are read in reference units: as a mapping says, or as ASE writes them."""

import io
import json
from dataclasses import asdict

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from tesseral.models.data.reference_file import encode_reference, read_reference
from tesseral.models.prediction.file_labels import ASE, ASE_LABELS, frame_values, recorded_mapping
from tesseral.models.reference.exchange.extended_xyz import read_frames
from tesseral.study.configuration.quantities import QUANTITIES
from tesseral.study.constants import BOHR
from tesseral.study.parsing.units import HARTREE, KCAL
from tesseral.study.recipe.mapping import LabelSource, MappedReference, Mapping, Source
from tests.support.synthetic_density import WATER
from tests.support.synthetic_properties import row


@pytest.fixture
def frame(tmp_path):
    atoms = Atoms("OHH", WATER, info={"U0": -10.0})
    atoms.calc = SinglePointCalculator(atoms, energy=-27.0, forces=np.ones((3, 3)), dipole=[1.0, 2.0, 2.0])
    write(tmp_path / "water.xyz", atoms, format="extxyz")
    return next(read_frames(tmp_path / "water.xyz"))


def test_labels_of_ase_are_converted(frame):
    found = frame_values(frame, ASE_LABELS, ("energy", "forces"), QUANTITIES["forces"], 0)
    np.testing.assert_allclose(found["energy"], [-27 / HARTREE])
    np.testing.assert_allclose(found["forces"], np.full((3, 3), BOHR / HARTREE))
    found = frame_values(frame, ASE_LABELS, ("dipole_magnitude",), QUANTITIES["dipole_magnitude"], 0)
    np.testing.assert_allclose(found["dipole_magnitude"], [3 / BOHR])
    assert frame_values(frame, ASE_LABELS, ("gap",), QUANTITIES["gap"], 0) == {}


def test_the_mapping_that_imported_the_data_is_remembered(frame):
    label = LabelSource(name="U0", column="energy", unit="kcal/mol")
    source = Source(file="x.xyz", unit="bohr", charge="q")
    mapping = Mapping(reference=MappedReference(name="x"), source=source, labels=(label,))
    rows, recorded = [row("a", [8, 1, 1], WATER)], json.dumps(asdict(mapping))
    rows = [{key: value for key, value in each.items() if not key.startswith("label.")} for each in rows]
    imported = read_reference(io.BytesIO(encode_reference(rows, None, mapping=recorded)))
    assert recorded_mapping(imported) == mapping
    found = frame_values(frame, recorded_mapping(imported).labels, ("energy",), QUANTITIES["energy"], 0)
    np.testing.assert_allclose(found["energy"], [-10 / KCAL])
    assert recorded_mapping(read_reference(io.BytesIO(encode_reference(rows, None)))) == ASE
