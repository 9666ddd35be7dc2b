"""How many trials share a GPU or a node's memory: from the study file, or from what a probed training step used."""

from dataclasses import dataclass
from math import ceil, floor

from tesseral.cluster.nodes.needs import GB, Needs
from tesseral.study.design.study_file import Resources
from tesseral.study.errors import StudyFileError

MARGIN = 1.3
"""What a whole training takes at most, over its probed step: evaluations, traces and fragments take more than a step.
What takes more still runs out of memory, and is trained again alone."""
GRAIN = 10_000
"""Parts of a GPU that Ray tells apart."""
RESERVED = ("CPU", "GPU", "memory", "object_store_memory")
"""Names that no custom resource may have."""


@dataclass(frozen=True)
class Usage:
    """What a process used that trained for a few steps. Bytes."""

    resident: int
    """Largest resident memory."""
    gpu: int = 0
    """Largest memory that torch allocated on the GPU; 0 without one."""
    context: int = 0
    """Memory of the GPU that the process took beside torch's allocator: CUDA itself and its libraries."""
    gpu_size: int = 0
    """Memory of the GPU; 0 without one."""


def pack(resources: Resources, usage: Usage | None = None) -> Needs:
    """What each trial reserves.

    With `gpus = "auto"`, a trial that uses the share s of a GPU's memory, `MARGIN` included, reserves 1/⌊1/s⌋ of it: so
    ⌊1/s⌋ trials share it and none of its memory is left over.

    :param resources: of the study file.
    :param usage: of the probe; not needed where nothing is `auto`.
    :raises StudyFileError: if the study file asks for what no machine can give.
    """
    if names := sorted(set(resources.custom) & set(RESERVED)):
        raise StudyFileError(f"resources.custom.{names[0]}", f"expected another name than {', '.join(RESERVED)}")
    gpus, memory = resources.gpus, resources.memory
    if not isinstance(gpus, str) and gpus > 1 and gpus != int(gpus):
        raise StudyFileError("resources.gpus", f"expected a fraction below 1, or a whole number, got {gpus:g}")
    if "auto" in (gpus, memory) and usage is None:
        raise ValueError("expected what a probe used, for resources that are 'auto'")
    if isinstance(gpus, str):
        gpus = _share(usage) if usage is not None else 0.0
    if isinstance(memory, str):
        memory = ceil(MARGIN * usage.resident / GB * 10) / 10 if usage is not None else 0.0
    return Needs(resources.cpus, gpus, int(memory * GB), resources.custom)


def _share(usage: Usage) -> float:
    """The part of a GPU that a trial reserves; 0 where there is no GPU."""
    if not usage.gpu_size:
        return 0.0
    used = (MARGIN * usage.gpu + usage.context) / usage.gpu_size
    trials = max(1, floor(1 / used))
    return floor(GRAIN / trials) / GRAIN
