"""`tesseral plan --probe`: a training step of each arm, run in this process on the device that its trials will have."""

from collections.abc import Callable

import torch

from tesseral.cluster.data.references import open_reference
from tesseral.cluster.planning.plan import StudyPlan
from tesseral.models.training.timed_step import Step as Step
from tesseral.models.training.timed_step import measure_step


def measure_arms(plan: StudyPlan, on_progress: Callable[[int, int], None] | None = None) -> list[Step]:
    """A step of every arm, in their order, on as many threads as a trial has.

    :raises TesseralError: if this machine lacks the device.
    """
    resources = plan.study.file.resources
    device = "cpu" if resources.device == "auto" and not resources.gpus else resources.device
    before = torch.get_num_threads()
    torch.set_num_threads(resources.cpus)
    steps = []
    try:
        for arm in plan.arms:
            configuration = arm.configuration
            reference = open_reference(plan.storage, configuration.data.reference)
            steps.append(measure_step(configuration, reference, device))
            if on_progress:
                on_progress(len(steps), len(plan.arms))
    finally:
        torch.set_num_threads(before)
    return steps
