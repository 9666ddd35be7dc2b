"""A probe: a few training steps of the largest arms, in a process of its own, to see what memory a trial takes."""

from dataclasses import dataclass

from tesseral.cluster.nodes.packing import Usage
from tesseral.models.data.references import open_data
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.parsing.user_function import make_importable


@dataclass(frozen=True)
class Sample:
    """The trials of a study that are expected to take most memory."""

    storage: str
    folder: str
    """Folder of the study file, where the user's own modules are."""
    configurations: tuple[Configuration, ...]


def measure_usage(sample: Sample, gpu: bool) -> Usage:
    """Train each configuration of a sample for a few steps in this process, which must be new.

    :param sample: what is trained.
    :param gpu: whether it is trained on the GPU that this process was given.
    :returns: what it took; the whole GPU where a step takes more than there is.
    :raises DataError: if its reference data is missing.
    """
    import torch

    from tesseral.models.training.device import find_device, out_of_memory, peak_memory
    from tesseral.models.training.timed_step import measure_step

    make_importable(sample.folder)
    device = find_device("cuda" if gpu else "cpu")
    most, context, size, full = 0, 0, 0, False
    for configuration in sample.configurations:
        reference = open_data(sample.storage, configuration.data)
        try:
            most = max(most, measure_step(configuration, reference, str(device)).peak_memory or 0)
        except Exception as error:
            if not out_of_memory(error):
                raise
            full = True
    if gpu:
        free, size = torch.cuda.mem_get_info(device)
        most = size if full else most
        context = max(0, size - free - torch.cuda.memory_reserved(device))
    return Usage(peak_memory(torch.device("cpu")), most, context, size)
