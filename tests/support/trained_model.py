"""A model of closed functions of the geometry, as a complete trial has one."""

import torch

from tesseral.models.data.data_set import DataSet
from tesseral.models.prediction.trained_model import TrainedModel
from tesseral.models.targets.model import DTYPES, build_model
from tesseral.models.training.numerics import NUMERICS
from tesseral.study.configuration.trial import Seeds, Trial
from tests.support.synthetic_properties import property_configuration, property_reference


def trained_model(quantity: str, *, dtype: str = "float32", charged: bool = False) -> TrainedModel:
    """A standardised model with its first weights: what it predicts is of the right size, and no more."""
    reference = property_reference(8, charged=charged)
    configuration = property_configuration(quantity, dtype=dtype)
    model = build_model(configuration, reference, num_neighbors=4.0, seed=1)
    device = torch.device("cpu")
    data = DataSet(reference, configuration.network, torch.float64, device, configuration.target)
    model.target.standardise(data.structures)
    model.to(DTYPES[dtype])
    trial = Trial(
        configuration=configuration,
        data_hash=reference.content_hash,
        seeds=Seeds(split=0, order=0, initialisation=1),
        numerics=NUMERICS,
    )
    return TrainedModel(model, trial, reference, "none")
