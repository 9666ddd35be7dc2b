"""An arm made ready: the network that it trains, with its own settings or with those that a search proposes."""

from dataclasses import dataclass
from typing import Any

from tesseral.cluster.planning.measure import Measure
from tesseral.models.networks.sizing.reach import Dead, describe_dead
from tesseral.models.networks.sizing.size import Size
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.design.factorial import Arm
from tesseral.study.design.match import Matched, fit
from tesseral.study.design.search_space import apply
from tesseral.study.errors import StudyFileError, TesseralError


@dataclass(frozen=True)
class Sized:
    """A configuration as it is trained, and what is known of it before."""

    configuration: Configuration
    """Resolved, its widths matched."""
    natural: str
    """Hidden irreps before they were matched."""
    size: Size
    residual: float
    """Size over target, less 1; 0 where nothing is matched."""
    unreachable: tuple[str, ...]
    dead: tuple[Dead, ...]
    """Hidden irreps that nothing feeds or nothing reads."""
    refusal: str | None = None
    """Why it cannot be given its arm's size: its widths are the natural ones, and it is not to be trained."""

    @property
    def hidden(self) -> str:
        """Hidden irreps as they are trained."""
        return str(self.configuration.network.hidden.irreps)

    @property
    def told_dead(self) -> str:
        """`dead` in words; empty if there are none."""
        return describe_dead(self.dead, self.configuration.network.layers)


@dataclass(frozen=True)
class ArmPlan:
    """An arm, and what is known of it before anything is spent."""

    arm: Arm
    network: Sized
    target: float | None
    """The size that it is matched to."""

    @property
    def label(self) -> str:
        """The arm's."""
        return self.arm.label

    @property
    def steps(self) -> int:
        """Optimizer steps of one trial."""
        return self.network.configuration.max_steps


def plan_arm(found: Matched, measure: Measure) -> ArmPlan:
    """An arm with its own settings."""
    return ArmPlan(found.arm, _sized(measure, found.configuration, found.natural, found.residual), found.target)


def resize(arm: ArmPlan, settings: dict[str, Any], measure: Measure) -> Sized:
    """The arm's configuration with `settings`, matched to the arm's target whatever they change.

    Where no widths have that size, it is the natural one, with a `refusal`.
    """
    if not settings:
        return arm.network
    natural = apply(arm.arm.configuration, settings)
    configuration, residual, refusal = natural, 0.0, None
    if arm.target is not None:
        try:
            configuration, _ = fit(natural, arm.target, arm.arm.match, measure.count)
        except TesseralError as error:
            refusal = f"these settings cannot be given the size of their arm in {arm.arm.match}: {error}"
        residual = measure.count(configuration, arm.arm.match) / arm.target - 1
    return _sized(measure, configuration, str(natural.network.hidden.irreps), residual, refusal)


def _sized(
    measure: Measure, configuration: Configuration, natural: str, residual: float, refusal: str | None = None
) -> Sized:
    size, unreachable = measure.size(configuration), measure.unreachable(configuration)
    return Sized(configuration, natural, size, residual, unreachable, measure.dead(configuration), refusal)


def refuse_untrainable(arm: Arm, measure: Measure) -> None:
    """Whether a gradient reaches any parameter of the arm; what is dead is so at all widths.

    :raises StudyFileError: if not.
    """
    if measure.size(arm.configuration).parameters_live:
        return
    network = arm.configuration.network
    if network.define is not None:
        why = f"expected a network with weights that a gradient can reach, got {network.define!r}"
        raise StudyFileError("network.define", f"arm {arm.label!r} has nothing to train: {why}")
    hidden = network.hidden.irreps
    why = f"expected features that scalars and harmonics can make and an output depends on, got {hidden}"
    raise StudyFileError("network.hidden", f"arm {arm.label!r} has nothing to train: {why}")
