"""A timed training step: runs and times one step of a configuration, to check the estimate of a plan."""

import statistics
import time
from dataclasses import dataclass

import torch

from tesseral.models.data.data_set import open_data_set
from tesseral.models.data.groups import group_structures
from tesseral.models.data.published_split import published_split
from tesseral.models.data.reference_file import Reference
from tesseral.models.data.split import check_splits, split_structures
from tesseral.models.networks.products.backend import choose_backend
from tesseral.models.networks.seeding import seeded
from tesseral.models.targets.model import DTYPES, build_model
from tesseral.models.training.device import deterministic, device_name, find_device, peak_memory
from tesseral.models.training.optimization import Optimization
from tesseral.models.training.trial_check import check_weights
from tesseral.study.configuration.configuration import Configuration

WARM_UP = 2
"""Untimed first steps, which allocate and compile."""
TIMED = 7
"""Timed steps, whose median is taken."""


@dataclass(frozen=True)
class Step:
    """A measured training step."""

    seconds: float
    """Median of `TIMED` steps, s, without evaluations and records."""
    device: str
    """`cpu` or the accelerator's name."""
    peak_memory: int | None
    """Peak allocated memory on an accelerator, bytes; None on the CPU, where it is not that of one network."""


def measure_step(
    configuration: Configuration, reference: Reference, device: str = "auto", backend: str = "auto"
) -> Step:
    """Time training steps as `tesseral.models.training.training.train` makes them, on one full batch.

    It is joined anew for each step. Nothing is recorded, and torch's generators are restored.

    :param configuration: of one trial.
    :param reference: the data it is trained on.
    :param device: `auto` (an accelerator if there is one), `cpu`, `cuda` or `cuda:N`.
    :param backend: as in `tesseral.models.training.training.train`.
    :raises DataError: if the reference data is too small.
    :raises StudyFileError: if the network has nothing to train, or one of the user's own cannot be loaded.
    :raises TesseralError: if there is no such device.
    """
    where = find_device(device)
    settings = configuration.training
    dtype = DTYPES[settings.dtype]
    check_splits(configuration.data, reference)
    configuration = configuration.resolved()
    data = open_data_set(reference, configuration, dtype, where)
    groups, published = (
        group_structures(reference, configuration.data.groups),
        published_split(configuration.data, reference),
    )
    train = split_structures(configuration.data, groups, 0, published=published).train
    structures = data.select(train)
    with deterministic(where), seeded(0, where):
        model = build_model(configuration, reference, num_neighbors=data.neighbors(train), seed=0).to(where)
        check_weights(model, configuration.network)
        model.target.standardise(structures)
        loss = model.target.build_loss(configuration.loss, structures).to(dtype)
        model = model.to(dtype).train()
        choose_backend(model, backend, where)
        optimization = Optimization(model, configuration.training, configuration.steps_per_epoch)

        def step() -> float:
            began = time.perf_counter()
            batch = data.batch(train[: settings.batch_size])
            optimization.zero_grad()
            loss(model.target.error(model(batch.graph), batch), batch).backward()
            optimization.step(0)
            if where.type == "cuda":
                torch.cuda.synchronize(where)
            return time.perf_counter() - began

        seconds = [step() for _ in range(WARM_UP + TIMED)][WARM_UP:]
        memory = peak_memory(where) if where.type == "cuda" else None
    return Step(statistics.median(seconds), device_name(where), memory)
