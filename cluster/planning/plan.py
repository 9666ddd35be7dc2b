"""A study made ready: its arms matched in size, measured and checked, its trials named. Nothing is written."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tesseral.cluster.data.references import open_reference
from tesseral.cluster.planning.arm_plan import ArmPlan as ArmPlan
from tesseral.cluster.planning.arm_plan import Sized as Sized
from tesseral.cluster.planning.arm_plan import plan_arm, refuse_untrainable, resize
from tesseral.cluster.planning.measure import Measure
from tesseral.models.data.split import check_sizes
from tesseral.models.data.target_columns import check_values
from tesseral.models.training.numerics import NUMERICS
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.trial import Seeds
from tesseral.study.design.parameter import Parameter
from tesseral.study.design.search_space import read_space
from tesseral.study.design.stages import (
    Planned,
    Stage,
    confirm_seeds,
    make_trial,
    objectives,
    refused_seeds,
    rung_epochs,
    search_seeds,
)
from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.user_function import source_hash
from tesseral.study.records.store import Store
from tesseral.study.study import Study


@dataclass(frozen=True)
class StudyPlan:
    """A study made ready."""

    study: Study
    storage: str
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
        return {_source(arm.network.configuration) for arm in self.arms}

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
        """The arm's configuration with `settings`: see `resize`."""
        return resize(arm, settings, self.measure)

    def searching(self, arm: ArmPlan, sized: Sized) -> Planned:
        """A trial of the arm's search; of a refused network, or one that another arm may come to, of the arm alone."""
        study_seed, search = self.study.file.study.seed, self.study.file.search
        alone = arm.arm.match != "none" or (search is not None and search.define is not None)
        seeds = search_seeds(study_seed, arm.arm.key if alone else "")
        if sized.refusal is not None:
            seeds = refused_seeds(study_seed, arm.arm.key)
        return self._planned(arm, sized, "search", seeds, 0, 0)

    def confirming(self, arm: ArmPlan, sized: Sized, block: int, replicate: int) -> Planned:
        """A trial of the confirm stage."""
        seeds = confirm_seeds(self.study.file.study.seed, block, replicate)
        return self._planned(arm, sized, "confirm", seeds, block, replicate)

    def _planned(self, arm: ArmPlan, sized: Sized, stage: Stage, seeds: Seeds, block: int, replicate: int) -> Planned:
        trial = make_trial(sized.configuration, seeds, self.data_hashes, NUMERICS, _source(sized.configuration))
        return Planned(trial, arm.arm, stage, block, replicate)


def plan(study: Study | str | Path, storage: str | Path = "runs") -> StudyPlan:
    """Match, measure and check the arms of a study. Nothing is trained or written.

    The reference data may be missing if `data.recipe` names its recipe.

    :param study: a study, or the path of its file.
    :param storage: folder or URL where reference data lies and records are written.
    :raises StudyFileError: if an arm has nothing to train, or cannot reach all of its target and the study does not
        allow it, or cannot be matched, or the search is not valid.
    :raises DataError: if neither data nor recipe is there, or there is too little data.
    """
    study = _loaded(study)
    if str(study.folder) not in sys.path:
        sys.path.insert(0, str(study.folder))  # where the user's own modules are
    url = Store(str(storage)).url  # absolute, for workers have folders of their own
    measure = Measure(url, study.folder)
    wanted = objectives(study.file, study.arms)
    space: tuple[Parameter, ...] = ()
    if study.file.search is not None:
        matched = any(arm.match != "none" for arm in study.arms)
        space = read_space(study.file.search, {path for arm in study.arms for path in arm.factors}, matched, study.arms)
    for one in study.arms:
        if (found_data := measure.data(one.configuration.data.reference)) is not None:
            check_sizes(one.configuration.data, found_data)
    for one in study.arms:  # before they are matched, for that would fail on them in other words
        refuse_untrainable(one, measure)
    arms = []
    for found in study.matched(measure.count):
        arm = plan_arm(found, measure)
        if arm.network.unreachable and not study.file.study.allow_unreachable:
            raise StudyFileError(
                "study.allow_unreachable",
                f"arm {arm.label!r} cannot reach {', '.join(arm.network.unreachable)} of its target; leave the arm "
                "out, widen its hidden irreps or harmonics, or set allow_unreachable = true: those outputs count as "
                "predicted zero",
            )
        arms.append(arm)
    return StudyPlan(study, url, tuple(arms), measure, wanted, space)


def prepare(study: Study | str | Path, storage: str | Path = "runs") -> StudyPlan:
    """Plan a study and check it against its reference data, so that it can be run.

    :param study: a study, or the path of its file.
    :param storage: folder or URL where reference data lies and records are written.
    :raises DataError: if reference data is missing, torn or too small.
    """
    study = _loaded(study)
    for arm in study.arms:  # first, for data that is missing is the plainer message
        reference = open_reference(Store(str(storage)).url, arm.configuration.data.reference)
        check_sizes(arm.configuration.data, reference)
        check_values(arm.configuration.target, reference)
    ready = plan(study, storage)
    for arm in study.arms:
        reference = open_reference(ready.storage, arm.configuration.data.reference)
        ready.data_hashes[arm.configuration.data.reference] = reference.content_hash
    trained: dict[str, Data] = {}
    for one in ready.arms:
        data = one.network.configuration.data
        if trained.setdefault(ready.confirming(one, one.network, 0, 0).trial.id, data) != data:
            raise StudyFileError("factors", "two arms train the same trials: their data differ in name alone")
    return ready


def _loaded(study: Study | str | Path) -> Study:
    return study if isinstance(study, Study) else Study.load(study)


def _source(configuration: Configuration) -> str | None:
    """Hash of the source of a user's own network; None for the networks of tesseral."""
    define = configuration.network.define
    return None if define is None else source_hash(define, "network.define")
