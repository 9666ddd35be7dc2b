"""A study made ready: its arms matched in size, measured and checked, its trials named. Nothing is written."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tesseral.cluster.measure import Measure
from tesseral.cluster.references import open_reference
from tesseral.models.size import Size
from tesseral.study.configuration import Configuration
from tesseral.study.design import Arm
from tesseral.study.errors import StudyFileError, TesseralError
from tesseral.study.match import fit, match_arms
from tesseral.study.parameter import Parameter
from tesseral.study.search_space import apply, read_space
from tesseral.study.stages import (
    Planned,
    confirm_seeds,
    make_trial,
    objectives,
    rung_epochs,
    search_seeds,
)
from tesseral.study.store import Store
from tesseral.study.study import Study


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

    @property
    def hidden(self) -> str:
        """Hidden irreps as they are trained."""
        return str(self.configuration.network.hidden.irreps)


@dataclass(frozen=True)
class ArmPlan:
    """An arm, and what is known of it before anything is spent."""

    arm: Arm
    network: Sized
    target: float | None
    """The size that it is matched to."""
    dead: str
    """Hidden irreps that nothing feeds or nothing reads, in words."""

    @property
    def label(self) -> str:
        """The arm's."""
        return self.arm.label

    @property
    def steps(self) -> int:
        """Optimizer steps of one trial."""
        return self.network.configuration.max_steps


@dataclass(frozen=True)
class StudyPlan:
    """A study made ready."""

    study: Study
    storage: str
    folder: Path
    """Of the study file: where recipes and the user's own modules are."""
    arms: tuple[ArmPlan, ...]
    measure: Measure
    objectives: tuple[str, ...]
    space: tuple[Parameter, ...]
    data_hashes: dict[str, str] = field(default_factory=dict)
    """`data.reference` as written → content; empty where the data is not there yet."""

    @property
    def baseline(self) -> ArmPlan:
        """The arm that the others are compared with."""
        labels = self.study.baseline.labels
        return next(arm for arm in self.arms if labels[0] in arm.arm.labels)

    @property
    def sources(self) -> set[str | None]:
        """Hashes of the source of the user's networks among the arms; None stands for the networks of tesseral."""
        from tesseral.models.user_network import source_hash  # imports torch

        defines = {arm.network.configuration.network.define for arm in self.arms}
        return {source_hash(define) if define else None for define in defines}

    @property
    def search_trials(self) -> int:
        """The budget of the search, over all arms."""
        return len(self.arms) * self.study.file.search.trials if self.study.file.search else 0

    @property
    def confirm_trials(self) -> int:
        """Of the confirm stage; with sequential allocation, the least."""
        replication = self.study.file.replication
        return len(self.arms) * replication.blocks * replication.replicates

    def rungs(self, arm: ArmPlan) -> tuple[int, ...]:
        """Epochs at which a trial of the arm's search may be stopped."""
        search = self.study.file.search
        return rung_epochs(search.asha if search else None, arm.network.configuration.training.epochs)

    def sized(self, arm: ArmPlan, settings: dict[str, Any]) -> Sized:
        """The arm's configuration with `settings`, matched to the arm's target whatever they change."""
        if not settings:
            return arm.network
        natural = apply(arm.arm.configuration, settings)
        configuration, residual = natural, 0.0
        if arm.target is not None:
            try:
                configuration, _ = fit(natural, arm.target, arm.arm.match, self.measure.count)
            except TesseralError as error:
                raise StudyFileError("match", f"arm {arm.label!r} with {settings}: {error}") from None
            residual = self.measure.count(configuration, arm.arm.match) / arm.target - 1
        return _sized(self.measure, configuration, str(natural.network.hidden.irreps), residual)

    def searching(self, arm: ArmPlan, sized: Sized) -> Planned:
        """A trial of the arm's search."""
        seeds = search_seeds(self.study.file.study.seed)
        return self._planned(arm, sized, "search", seeds, 0, 0)

    def confirming(self, arm: ArmPlan, sized: Sized, block: int, replicate: int) -> Planned:
        """A trial of the confirm stage."""
        seeds = confirm_seeds(self.study.file.study.seed, block, replicate)
        return self._planned(arm, sized, "confirm", seeds, block, replicate)

    def _planned(self, arm: ArmPlan, sized: Sized, stage: Any, seeds: Any, block: int, replicate: int) -> Planned:
        # Imported here, for they import torch, which takes seconds: a plan without data does without.
        from tesseral.models.training import NUMERICS
        from tesseral.models.user_network import source_hash

        define = sized.configuration.network.define
        source = source_hash(define) if define else None
        trial = make_trial(sized.configuration, seeds, self.data_hashes, NUMERICS, source)
        return Planned(trial, arm.arm, stage, block, replicate)

    def confirm(self) -> Iterator[tuple[ArmPlan, Planned]]:
        """The confirm stage of a study without search: pairs are completed one after the other."""
        replication = self.study.file.replication
        for block in range(replication.blocks):
            for replicate in range(replication.replicates):
                for arm in self.arms:
                    yield arm, self.confirming(arm, arm.network, block, replicate)


def plan_study(study: Study, storage: str, folder: str | Path = ".") -> StudyPlan:
    """Match, measure and check the arms of a study. Its data may be missing if its recipe is there.

    :raises StudyFileError: if an arm cannot reach all of its target and the study does not allow it, or cannot be
        matched, or the search is not valid.
    :raises DataError: if neither data nor recipe is there.
    """
    folder = Path(folder).absolute()
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))  # where the user's own modules are
    storage = Store(storage).url  # absolute, for workers have folders of their own
    measure = Measure(storage, folder)
    wanted = objectives(study.file)
    space: tuple[Parameter, ...] = ()
    if study.file.search is not None:
        matched = any(arm.match != "none" for arm in study.arms)
        space = read_space(study.file.search, {path for arm in study.arms for path in arm.factors}, matched, study.arms)
    arms = []
    for found in match_arms(study, measure.count):
        network = _sized(measure, found.configuration, found.natural, found.residual)
        if network.unreachable and not study.file.study.allow_unreachable:
            raise StudyFileError(
                "study.allow_unreachable",
                f"arm {found.arm.label!r} cannot reach {', '.join(network.unreachable)} of its target; leave the arm "
                "out, widen its hidden irreps or harmonics, or set allow_unreachable = true: those outputs count as "
                "predicted zero",
            )
        arms.append(ArmPlan(found.arm, network, found.target, measure.dead(found.configuration)))
    return StudyPlan(study, storage, folder, tuple(arms), measure, wanted, space)


def prepare(study: Study, storage: str, folder: str | Path = ".") -> StudyPlan:
    """`plan_study`, and check it against its data.

    :raises DataError: if reference data is missing, torn or too small.
    """
    from tesseral.models.data_set import check_sizes  # imports torch

    for arm in study.arms:  # first, for data that is missing is the plainer message
        check_sizes(arm.configuration.data, open_reference(Store(storage).url, arm.configuration.data.reference))
    plan = plan_study(study, storage, folder)
    for arm in study.arms:
        reference = open_reference(plan.storage, arm.configuration.data.reference)
        plan.data_hashes[arm.configuration.data.reference] = reference.content_hash
    trials = [planned.trial.id for arm in plan.arms for planned in [plan.confirming(arm, arm.network, 0, 0)]]
    if len(set(trials)) < len(trials):
        raise StudyFileError("factors", "two arms train the same trials: their data differ in name alone")
    return plan


def _sized(measure: Measure, configuration: Configuration, natural: str, residual: float) -> Sized:
    return Sized(configuration, natural, measure.size(configuration), residual, measure.unreachable(configuration))
