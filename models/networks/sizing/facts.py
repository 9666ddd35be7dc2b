"""All facts of a configuration's network that are known before it is trained."""

from dataclasses import dataclass

from tesseral.models.networks.sizing.architecture import blueprint, hidden_irreps
from tesseral.models.networks.sizing.reach import Dead, dead_irreps, missing_outputs
from tesseral.models.networks.sizing.size import Shape, Size, count_size, size
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.quantities import quantity_of
from tesseral.study.parsing.irreps import MulIrrep


@dataclass(frozen=True)
class NetworkFacts:
    """What a network costs and reaches."""

    size: Size
    unreachable: tuple[MulIrrep, ...]
    """The target's irreps that the network predicts as exactly zero, whatever its weights."""
    dead: tuple[Dead, ...]
    """Hidden irreps that are never produced, or that no output depends on. Not known, and empty, for a user's own
    network."""


def network_facts(configuration: Configuration, shape: Shape, counted: Size | None = None) -> NetworkFacts:
    """Find all facts at once: from the blueprint, or for a user's own network by building and running it.

    :param configuration: of which network, target and batch size count.
    :param shape: elements, outputs and mean structure of the data.
    :param counted: the size, if it was counted before: measuring a user's own network takes seconds.
    :raises StudyFileError: if a fusion diagram or a symmetric power has too many paths, or a user's own network fails.
    """
    dead: tuple[Dead, ...] = ()
    if configuration.network.define is None:
        network, widths = blueprint(configuration, shape.layout, shape.elements)
        counted = counted or count_size(network, widths, configuration, shape)
        missing = missing_outputs(network, shape.layout)
        dead = tuple(dead_irreps(network, hidden_irreps(configuration)))
    else:
        from tesseral.models.networks.sizing.probe import probe_unreachable  # here: it imports torch

        counted = counted or network_size(configuration, shape)
        missing = probe_unreachable(configuration, shape.layout, shape.elements)
    unreachable = quantity_of(configuration.target.quantity).unreached(missing)
    return NetworkFacts(counted, unreachable, dead)


def network_size(configuration: Configuration, shape: Shape) -> Size:
    """Count the size alone: matching tries many widths.

    :param configuration: of which network, target and batch size count.
    :param shape: elements, outputs and mean structure of the data.
    :raises StudyFileError: if a fusion diagram or a symmetric power has too many paths, or a user's own network fails.
    """
    if configuration.network.define is None:
        return size(configuration, shape)
    from tesseral.models.networks.sizing.probe import measure_size  # here: it imports torch

    return measure_size(configuration, shape)
