"""A prediction for a structure of the data is what the model gave of it in training, whatever its edges are made of."""

import numpy as np
import pytest
import torch

from tesseral.models.data.data_set import DataSet
from tesseral.models.targets.model import build_model
from tesseral.models.training.prediction import predict_density
from tesseral.study.errors import DataError
from tests.support.synthetic_density import small_configuration, synthetic_reference

REFERENCE = synthetic_reference(4)


@pytest.mark.parametrize(
    "network", [{}, {"radial_basis": "bessel", "radial_envelope": "polynomial"}, {"radial_basis": "cosine"}]
)
def test_a_prediction_is_the_models(network):
    configuration = small_configuration(hidden="3x0e+2x1o", **network)
    data = DataSet(REFERENCE, configuration.network, torch.float64, torch.device("cpu"))
    model = build_model(configuration, REFERENCE, num_neighbors=3.0, seed=0).double()
    model.target.standardise(data.structures)
    row = REFERENCE.table.slice(1, 1).to_pylist()[0]
    positions = np.array(row["positions"]) + 5.0
    basis, predicted = predict_density(model, configuration, REFERENCE, row["atomic_numbers"], positions)
    expected = model(data.structures[1].graph).detach()
    assert len(predicted) == len(expected) == 6
    for number, coefficients, values in zip(row["atomic_numbers"], predicted, expected, strict=True):
        torch.testing.assert_close(coefficients, values[basis.columns(number)], rtol=0, atol=1e-10)
    with pytest.raises(DataError, match="expected the elements that the trial was trained on, H, O, got "):
        predict_density(model, configuration, REFERENCE, [6, 1, 1], positions[:3])
