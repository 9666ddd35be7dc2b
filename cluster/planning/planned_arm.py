"""Planned arms: matched arms with the facts of their networks."""

from dataclasses import dataclass, field

from tesseral.cluster.planning.measure import Measure
from tesseral.cluster.planning.overheads import overheads
from tesseral.models.networks.sizing.facts import NetworkFacts
from tesseral.models.networks.sizing.reach import describe_dead
from tesseral.models.networks.sizing.size import Size
from tesseral.study.configuration.quantities import quantity_of
from tesseral.study.design.arm import Arm
from tesseral.study.design.match import MatchedArm
from tesseral.study.errors import StudyFileError


@dataclass(frozen=True)
class PlannedArm(MatchedArm):
    """An arm with its own settings or with those that its search proposes, and what is known before it is trained."""

    facts: NetworkFacts = field(kw_only=True)

    @property
    def size(self) -> Size:
        """Parameters, live ones, components and operations of a training step."""
        return self.facts.size

    @property
    def overheads(self) -> float:
        """Overhead of a training step, in those of a gated network on energies."""
        network, target = self.configuration.network, quantity_of(self.configuration.target.quantity)
        return overheads(network.interaction, network.fusion.diagram, target.differentiated)

    @property
    def unreachable(self) -> tuple[str, ...]:
        """The target's irreps that the network predicts as exactly zero, such as `1x4e`."""
        return tuple(map(str, self.facts.unreachable))

    @property
    def dead(self) -> str:
        """Dead hidden irreps in one phrase, as records store it; empty without any."""
        return describe_dead(self.facts.dead, self.configuration.network.layers)

    @property
    def dead_by_layer(self) -> str:
        """The same phrase, with the layers of each reason."""
        return describe_dead(self.facts.dead, self.configuration.network.layers, joined=False)


def plan_arm(matched: MatchedArm, measure: Measure) -> PlannedArm:
    """Add the facts of its network to a matched arm.

    :param matched: the arm at its matched widths.
    :param measure: sizes its network.
    """
    return PlannedArm(**vars(matched), facts=measure.facts(matched.configuration))


def refuse_untrainable(arm: Arm, measure: Measure) -> None:
    """Check that a gradient reaches some parameter of the arm's network. Matching does not change whether one does.

    :param arm: at its natural widths.
    :param measure: sizes its network.
    :raises StudyFileError: if not.
    """
    if measure.size(arm.configuration).parameters_live:
        return
    network = arm.configuration.network
    if network.define is not None:
        expected = f"expected a network with weights that a gradient can reach, got {network.define!r}"
        raise StudyFileError("network.define", f"arm {arm.label!r} has nothing to train: {expected}")
    hidden = network.hidden.irreps
    expected = f"expected features that scalars and harmonics can make and an output depends on, got {hidden}"
    raise StudyFileError("network.hidden", f"arm {arm.label!r} has nothing to train: {expected}")
