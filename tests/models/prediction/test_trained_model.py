"""A model in use predicts what it predicted in training, of any molecule of its elements and charges."""

import numpy as np
import pytest
import torch

from tesseral.models.data.data_set import DataSet
from tesseral.models.reference.structure import Structure
from tesseral.models.targets.forces import EnergyForces
from tesseral.study.errors import DataError
from tests.support.periodic_structures import CELL, NUMBERS, PLACES
from tests.support.synthetic_properties import property_reference
from tests.support.trained_model import trained_model

QUANTITIES = ["forces", "forces_direct", "energy", "dipole", "dipole_magnitude", "polarizability", "gap", "label:shift"]


def structures() -> list[Structure]:
    """The first three structures of the data, far from where they were."""
    rows = property_reference(8).table.slice(0, 3).to_pylist()
    return [Structure(row["id"], tuple(row["atomic_numbers"]), np.array(row["positions"]) + 9.0) for row in rows]


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_batch_of_molecules_is_predicted_as_in_a_data_set(quantity):
    model = trained_model(quantity, dtype="float64")
    configuration, reference = model.trial.configuration, property_reference(8)
    data = DataSet(reference, configuration.network, torch.float64, torch.device("cpu"), configuration.target)
    for index, predicted in enumerate(model.predict(structures())):
        expected = model.model(data.structures[index].graph)
        if isinstance(expected, EnergyForces):
            assert list(predicted) == ["energy", "forces"]
            np.testing.assert_allclose(predicted["energy"], expected.energy[0].detach(), rtol=0, atol=1e-10)
            expected = expected.forces
        (values,) = [each for name, each in predicted.items() if name != "energy" or quantity == "energy"]
        rows = expected if model.quantity.per == "atom" else expected[0]
        np.testing.assert_allclose(values, rows.detach(), rtol=0, atol=1e-10)


def test_what_the_trial_never_saw_is_refused_by_the_name_of_the_molecule():
    model, water = trained_model("dipole"), structures()[0]
    with pytest.raises(DataError, match=r"^x: expected the elements that the trial was trained on, H, O, got C$"):
        model.predict([Structure("x", (6, 1, 1), water.positions)])
    with pytest.raises(DataError, match=r"^x: expected a molecule of a charge that the trial's data holds, 0, got one"):
        model.predict([Structure("x", (8, 1, 1), water.positions, charge=1)])
    assert "none: dipole" in repr(model)


def test_a_crystal_has_a_stress_beside_its_forces_and_the_molecule_beside_it_none():
    model = trained_model("forces", dtype="float64")
    crystal = Structure("crystal", NUMBERS, PLACES, cell=CELL)
    slab = Structure("slab", NUMBERS, PLACES, cell=CELL * np.array([[1.0], [1.0], [0.0]]))
    predicted = model.predict([structures()[0], crystal, slab])
    assert [list(each) for each in predicted] == [
        ["energy", "forces"],
        ["energy", "forces", "stress"],
        ["energy", "forces"],
    ]
    (alone,) = model.predict([crystal])
    for name, values in alone.items():
        np.testing.assert_allclose(predicted[1][name], values, rtol=0, atol=1e-10)
    with pytest.raises(
        DataError, match=r"^crystal: expected a molecule in empty space, .* for which the HOMO energy has"
    ):
        trained_model("homo").predict([crystal])


def test_the_charge_of_an_ion_counts():
    model, water = trained_model("dipole", charged=True, dtype="float64"), structures()[0]
    ion = Structure("ion", water.atomic_numbers, water.positions, charge=1)
    one, other = (each["dipole"] for each in model.predict([water, ion]))
    assert np.abs(one - other).max() > 1e-3
