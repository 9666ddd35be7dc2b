"""A test set of its own: what a network trained on other data can be tested on."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from tesseral.models.data.data_set import DataSet
from tesseral.models.data.reference_file import Reference
from tesseral.models.data.test_set import check_test_set
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.study.configuration.target import Target
from tesseral.study.errors import DataError
from tests.support.synthetic_density import BASIS, small_configuration, synthetic_reference
from tests.support.synthetic_properties import property_reference, property_table, row

WATERS = property_reference(6)
PAIR = np.array([[0.0, 0.0, 0.0], [0.97, 0.0, 0.0]])
ENERGY = Target(quantity="energy")


def test_other_sizes_and_compositions_of_the_same_elements_can_be_tested():
    hydroxyl = property_table([row("oh", [8, 1], PAIR)])
    check_test_set("radical", hydroxyl, WATERS, ENERGY)
    check_test_set("water", synthetic_reference(2), synthetic_reference(), Target())


def test_an_element_without_an_input_is_refused():
    hydroxyl = property_table([row("oh", [8, 1], PAIR)])
    hydrogen = property_table([row("h2", [1, 1], PAIR)])
    with pytest.raises(DataError, match=r"data\.tests\.oh: expected the elements of the data .* H, got O too"):
        check_test_set("oh", hydroxyl, hydrogen, ENERGY)


def test_a_charge_that_is_not_trained_on_is_refused():
    """A network has no input for the charge: ions would be predicted as what they are not."""
    place = WATERS.table.schema.get_field_index("charge")
    field = WATERS.table.schema.field(place)
    charged = pa.array([0, 1] + [-1] * (len(WATERS) - 2), field.type)
    ions = replace(WATERS, table=WATERS.table.set_column(place, field, charged))
    with pytest.raises(DataError, match=r"data\.tests\.ions: expected total charges of the data .*, 0, got -1, 1 too"):
        check_test_set("ions", ions, WATERS, ENERGY)
    check_test_set("ions", WATERS, ions, ENERGY)


def test_a_target_that_is_missing_or_another_one_is_refused():
    place = WATERS.table.schema.get_field_index("energy")
    empty = pa.nulls(len(WATERS), pa.float64())
    lacking = replace(WATERS, table=WATERS.table.set_column(place, WATERS.table.schema.field(place), empty))
    with pytest.raises(DataError, match=r"data\.tests\.md: target\.quantity: expected energy of every converged"):
        check_test_set("md", lacking, WATERS, ENERGY)
    strain = Target(quantity="label:strain")
    check_test_set("md", WATERS, WATERS, strain)
    other = replace(WATERS, labels=WATERS.labels | {"strain": replace(WATERS.labels["strain"], unit="au")})
    with pytest.raises(DataError, match=r"data\.tests\.md: expected label:strain as in the data that is trained on"):
        check_test_set("md", other, WATERS, strain)
    with pytest.raises(DataError, match=r"data\.tests\.md: "):
        check_test_set("md", replace(WATERS, labels={}), WATERS, strain)


def test_another_auxiliary_basis_is_refused():
    shells = BASIS.shells | {1: BASIS.shells[1][:1]}
    other = Reference(synthetic_reference(2).table, AuxiliaryBasis("other", shells))
    with pytest.raises(DataError, match=r"data\.tests\.md: expected the auxiliary basis of the data"):
        check_test_set("md", other, synthetic_reference(), Target())


def test_a_data_set_has_the_inputs_of_the_data_that_are_trained_on():
    hydrogen = property_table([row("h2", [1, 1], PAIR)])
    dtype, device = torch.float64, torch.device("cpu")
    settings = small_configuration().network
    alone = DataSet(hydrogen, settings, dtype, device, ENERGY)
    tested = DataSet(hydrogen, settings, dtype, device, ENERGY, trained=WATERS)
    assert (alone.elements, tested.elements) == ((1,), (1, 8))
    assert tested.structures[0].graph.elements.tolist() == [[1.0, 0.0], [1.0, 0.0]]
