from .facts import NetworkFacts, network_facts
from .probe import measure_size, probe_unreachable
from .reach import Dead, describe_dead, unreachable
from .size import Shape, Size

__all__ = [
    "Dead",
    "NetworkFacts",
    "Shape",
    "Size",
    "describe_dead",
    "measure_size",
    "network_facts",
    "probe_unreachable",
    "unreachable",
]
