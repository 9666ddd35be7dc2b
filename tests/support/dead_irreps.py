"""The dead hidden irreps of a configuration, as `network_facts` finds them, without the shape that a size needs."""

from collections.abc import Iterable

from tesseral.models.networks.sizing.architecture import blueprint, hidden_irreps
from tesseral.models.networks.sizing.reach import Dead, dead_irreps
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.parsing.irreps import MulIrrep


def dead(configuration: Configuration, layout: Iterable[MulIrrep]) -> list[Dead]:
    network, _ = blueprint(configuration, layout, elements=1)
    return dead_irreps(network, hidden_irreps(configuration))
