"""Plan a study: match its arms in size, size and check their networks, and name their trials. Nothing is written."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tesseral.cluster.planning.measure import Measure
from tesseral.cluster.planning.planned_arm import PlannedArm, plan_arm, refuse_untrainable
from tesseral.models.data.holdout import check_holdout, holdout_size
from tesseral.models.data.published_split import hash_split
from tesseral.models.data.reference_file import Reference
from tesseral.models.data.split import check_folds, check_size, check_splits
from tesseral.models.data.target_columns import check_values, has_spread
from tesseral.models.data.test_set import check_test_set
from tesseral.models.training.numerics import NUMERICS
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.trial import Seeds
from tesseral.study.design.arm import Arm
from tesseral.study.design.match import with_settings
from tesseral.study.design.parameter import Parameter
from tesseral.study.design.search_space import read_space
from tesseral.study.design.stages import (
    PlannedTrial,
    Stage,
    confirm_seeds,
    make_trial,
    objectives,
    refused_seeds,
    rung_epochs,
    search_seeds,
    split_name,
)
from tesseral.study.design.study_file import Search
from tesseral.study.errors import DataError, StudyFileError
from tesseral.study.parsing.user_function import make_importable, source_hash
from tesseral.study.records.growth import dropped_arms, holdout_name, read_holdouts
from tesseral.study.records.ledger import frozen
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tesseral.study.wording import count


@dataclass(frozen=True)
class StudyPlan:
    """A study with its arms planned."""

    study: Study
    storage: str
    """Absolute folder or URL of reference data and records."""
    arms: tuple[PlannedArm, ...]
    measure: Measure
    objectives: tuple[str, ...]
    """What the search minimises; empty without a search."""
    space: tuple[Parameter, ...]
    """What the search varies; empty without a search, or where `search.define` proposes."""
    data_hashes: dict[str, str] = field(default_factory=dict)
    """`data.reference` and each of `data.tests`, as written → content hash; a published split → its hash. Filled by
    `prepare`; see `make_trial`."""
    holdouts: dict[tuple[str, str | None], int] = field(default_factory=dict)
    """`data.reference` and `data.groups` → structures that no search sees; empty without a search, and in a study that
    was started when there were no hold-outs."""

    def __repr__(self) -> str:
        trials = count(self.search_trials + self.confirm_trials, "trial")
        return f"StudyPlan({self.study.name!r}: {count(len(self.arms), 'arm')}, {trials}, in {self.storage})"

    @property
    def baseline(self) -> PlannedArm:
        """The arm that the others are compared with."""
        label = self.study.baseline.labels[0]
        return next(arm for arm in self.arms if label in arm.arm.labels)

    @property
    def sources(self) -> set[str | None]:
        """Source hashes of the users' own networks among the arms; None stands for the networks of tesseral."""
        return {_source(arm.configuration) for arm in self.arms}

    @property
    def search_trials(self) -> int:
        """Number of trials of the search, over all arms."""
        return len(self.arms) * self.study.file.search.trials if self.study.file.search else 0

    @property
    def confirm_trials(self) -> int:
        """Number of trials of the confirm stage; with sequential allocation, the least."""
        replication = self.study.file.replication
        return len(self.arms) * replication.blocks * replication.replicates

    @property
    def holdout_names(self) -> dict[str, int]:
        """`holdout_name` → structures of each hold-out, as they are recorded."""
        return {holdout_name(self.data_hashes[name], groups): held for (name, groups), held in self.holdouts.items()}

    def held(self, data: Data) -> int | None:
        """Structures that no search sees; None if none are kept from it.

        :param data: the table `[data]` of an arm.
        """
        return None if data.split is not None else self.holdouts.get((data.reference, data.groups))

    def rungs(self, arm: PlannedArm) -> tuple[int, ...]:
        """Epochs at which a trial of the arm's search may be stopped.

        :param arm: one of the plan's arms.
        :returns: ascending; empty without ASHA.
        """
        search = self.study.file.search
        return rung_epochs(search.asha if search else None, arm.configuration.training.epochs)

    def with_settings(self, arm: PlannedArm, settings: dict[str, Any]) -> PlannedArm:
        """The arm with proposed `settings` (dotted path → value), matched anew to its target size.

        :param arm: one of the plan's arms.
        :param settings: dotted path → value; without any, the arm is returned as it is.
        :raises TesseralError: if a setting cannot be applied.
        """
        return plan_arm(with_settings(arm, settings, self.measure.count), self.measure) if settings else arm

    def plan_search(self, arm: PlannedArm, repeat: int = 0) -> PlannedTrial:
        """The trial of an arm's search that trains the arm with its present settings.

        Its initialisation is that of all arms in this repeat, so that arms differ in their settings alone. Where
        matching or `search.define` can lead two arms to one network, each arm has its own, because a trial that
        belonged to two searches might be stopped at different epochs. So has a network that is refused: its trial is
        recorded and never trained.

        :param arm: with the settings of the trial.
        :param repeat: number of the search among the arm's independent ones, counted from 0.
        """
        study_seed, search = self.study.file.study.seed, self.study.file.search
        alone = arm.arm.match != "none" or (search is not None and search.define is not None)
        if arm.refusal is not None:
            seeds = refused_seeds(study_seed, arm.arm.key, repeat)
        else:
            seeds = search_seeds(study_seed, arm.arm.key if alone else "", repeat, self.held(arm.configuration.data))
        return self._plan_trial(arm, "search", seeds, repeat, 0)

    def plan_confirm(self, arm: PlannedArm, block: int, replicate: int) -> PlannedTrial:
        """The trial of the confirm stage that trains the arm with its present settings.

        :param arm: with the settings of the trial.
        :param block: number of the block, counted from 0.
        :param replicate: number of the replicate in the block, counted from 0.
        """
        folds = self.study.file.replication.split == "folds"
        held = self.held(arm.configuration.data)
        seeds = confirm_seeds(self.study.file.study.seed, block, replicate, folds=folds, held=held)
        return self._plan_trial(arm, "confirm", seeds, block, replicate)

    def _plan_trial(self, arm: PlannedArm, stage: Stage, seeds: Seeds, block: int, replicate: int) -> PlannedTrial:
        trial = make_trial(arm.configuration, seeds, self.data_hashes, NUMERICS, _source(arm.configuration))
        return PlannedTrial(trial, arm.arm, stage, block, replicate)


def plan(study: Study | str | Path, storage: str | Path = "runs") -> StudyPlan:
    """Match, size and check the arms of a study. Nothing is trained or written.

    The reference data may be missing if `data.recipe` names its recipe. The study's folder is put first on `sys.path`,
    so that modules of your own are found.

    :param study: a study, or the path of its file.
    :param storage: folder or URL where reference data lies and records are written.
    :raises StudyFileError: if an arm has nothing to train, or cannot reach all of its target and the study does not
        allow it, or cannot be matched; or the search is not valid.
    :raises DataError: if neither data nor recipe is there, or there is too little data, or the recipe makes too little.
    :raises StoreError: if the storage fails.
    """
    study, measure = _open(study, storage)
    holdouts: dict[tuple[str, str | None], int] = {}
    for configurations in _by_reference(study).values():
        reference = measure.reference(configurations[0].data)
        if reference is not None:
            _check_data(configurations, reference, measure, _folds(study))
            _check_tests(configurations, reference, measure)
            holdouts |= _holdouts(study, configurations, reference, measure)
            continue
        for data in dict.fromkeys(each.data for each in configurations):
            made = measure.to_be_made(data)
            if made is not None:
                what = f"the structures that {data.recipe} makes"
                check_size(data, made, what)
                check_folds(data, made, what, _folds(study))
    return _plan(study, measure, {}, holdouts)


def prepare(study: Study | str | Path, storage: str | Path = "runs") -> StudyPlan:
    """Plan a study and check it against its reference data, so that it can be run.

    The study's folder is put first on `sys.path`, so that modules of your own are found.

    :param study: a study, or the path of its file.
    :param storage: folder or URL where reference data lies and records are written.
    :raises StudyFileError: as `plan`; or if two arms train the same trials.
    :raises DataError: if reference data is missing, torn or too small, or lacks values of a target.
    :raises StoreError: if the storage fails.
    """
    study, measure = _open(study, storage)
    hashes: dict[str, str] = {}
    holdouts: dict[tuple[str, str | None], int] = {}
    # Each data set is read once, however many there are: all checks of one come before the next.
    for configurations in _by_reference(study).values():
        reference = measure.required(configurations[0].data)
        _check_data(configurations, reference, measure, _folds(study))
        holdouts |= _holdouts(study, configurations, reference, measure)
        hashes |= _check_tests(configurations, reference, measure, required=True)
        for data in dict.fromkeys(each.data for each in configurations):
            hashes[data.reference] = reference.content_hash
            if data.split is not None:
                hashes[split_name(data)] = hash_split(measure.required(data))
    prepared = _plan(study, measure, hashes, holdouts)
    trained: dict[str, Data] = {}
    for arm in prepared.arms:
        identity = prepared.plan_confirm(arm, 0, 0).trial.id
        if trained.setdefault(identity, arm.configuration.data) != arm.configuration.data:
            raise StudyFileError("factors", "two arms train the same trials: their data differ in name alone")
    return prepared


def _folds(study: Study) -> int:
    """Largest number of disjoint test splits; 0 if they are random."""
    replication = study.file.replication
    return max(replication.blocks, replication.max_blocks or 0) if replication.split == "folds" else 0


def _check_data(configurations: Sequence[Configuration], reference: Reference, measure: Measure, folds: int) -> None:
    """Check that the data of some arms can be trained on.

    :param configurations: of arms that use these data.
    :param folds: largest number of disjoint test splits; 0 if they are random.
    :raises DataError: if there is too little data, or it lacks values of a target.
    :raises StudyFileError: if no atom has a neighbour within the cutoff of an arm.
    """
    for data in dict.fromkeys(each.data for each in configurations):
        check_splits(data, reference, folds)
    for target in dict.fromkeys(each.target for each in configurations):
        check_values(target, reference)
        if not has_spread(target, reference):
            warnings.warn(
                f"target.quantity: every structure of the reference data has the same {target.quantity}: there is "
                "nothing to learn",
                stacklevel=2,
            )
    for configuration in configurations:
        if not measure.shape(configuration).edges:
            raise StudyFileError(
                "network.radial_cutoff",
                "expected a distance within which atoms of the reference data have neighbours, got "
                f"{configuration.network.radial_cutoff}, within which none has",
            )


def _check_tests(
    configurations: Sequence[Configuration], reference: Reference, measure: Measure, *, required: bool = False
) -> dict[str, str]:
    """Check that the networks of some arms can be tested on their test sets.

    :param configurations: of arms that are trained on these data.
    :param reference: the data that they are trained on.
    :param required: whether the test sets must be there.
    :returns: each of `data.tests` that is there, as written → content hash.
    :raises DataError: if one is missing, or has other elements, another target or another basis.
    """
    hashes: dict[str, str] = {}
    for data, target in dict.fromkeys((each.data, each.target) for each in configurations):
        for name, path in data.tests.items():
            tested = measure.test_set(path)
            if tested is not None:
                check_test_set(name, tested, reference, target)
                hashes[path] = tested.content_hash
            elif required:
                raise DataError(
                    f"data.tests.{name}: expected reference data at {path} in the storage, found none there"
                )
    return hashes


def _open(study: Study | str | Path, storage: str | Path) -> tuple[Study, Measure]:
    """The study, as it goes on if it was started, and what sizes its networks.

    The user's own modules become importable.
    """
    if not isinstance(study, Study):
        study = Study.load(study)
    make_importable(study.folder)
    store = Store(str(storage))
    records = store.child(study.name)
    if study.file.search is not None:
        study = study.continuing(frozen(records))
    study = study.without(dropped_arms(records))
    # Absolute, because workers have working folders of their own.
    return study, Measure(store.url, study.folder)


def _by_reference(study: Study) -> dict[tuple[str, str | None], list[Configuration]]:
    """Each data set with its published split → configurations of the arms that use it."""
    grouped: dict[tuple[str, str | None], list[Configuration]] = {}
    for arm in study.arms:
        data = arm.configuration.data
        grouped.setdefault((data.reference, data.split), []).append(arm.configuration)
    return grouped


def _holdouts(
    study: Study, configurations: Sequence[Configuration], reference: Reference, measure: Measure
) -> dict[tuple[str, str | None], int]:
    """`StudyPlan.holdouts` of arms that use these data; empty without a search.

    Those of a study that was started stay, whatever arms it has now.

    :raises DataError: if the data are too few for splits of a search and test splits that it never sees.
    """
    if study.file.search is None or not study.holds_out:
        return {}
    known = read_holdouts(Store(measure.storage).child(study.name))
    asked: dict[tuple[str, str | None], list[Data]] = {}
    for data in dict.fromkeys(each.data for each in configurations):
        if data.split is None:
            largest = max([data.train, *_searched_sizes(study)])
            asked.setdefault((data.reference, data.groups), []).append(replace(data, train=largest))
    sizes = {}
    for key, own in asked.items():
        name = holdout_name(reference.content_hash, own[0].groups)
        sizes[key] = known[name] if name in known else holdout_size(own, reference)
        check_holdout(own, reference, sizes[key], _folds(study))
    return sizes


def _searched_sizes(study: Study) -> list[int]:
    """Sizes of the training split that the search may propose; `search.define` tells none."""
    matched = any(arm.match != "none" for arm in study.arms)
    factors = {path for arm in study.arms for path in arm.factors}
    if study.file.search is None or study.file.search.define is not None:
        return []
    space = read_space(study.file.search, factors, matched, study.arms)
    return [int(end) for parameter in space if parameter.path == "data.train" for end in parameter.ends]


def _plan(
    study: Study, measure: Measure, data_hashes: dict[str, str], holdouts: dict[tuple[str, str | None], int]
) -> StudyPlan:
    minimised = objectives(study.file, study.arms)
    space: tuple[Parameter, ...] = ()
    if study.file.search is not None:
        _check_rungs(study.file.search, study.arms)
        matched = any(arm.match != "none" for arm in study.arms)
        factors = {path for arm in study.arms for path in arm.factors}
        space = read_space(study.file.search, factors, matched, study.arms)
    for arm in study.arms:  # before matching, which would refuse such an arm with a less helpful sentence
        refuse_untrainable(arm, measure)
    _refuse_asymmetric(study, measure)
    planned = tuple(plan_arm(matched, measure) for matched in study.matched(measure.count))
    if not study.file.study.allow_unreachable:
        _refuse_unreachable(planned)
    return StudyPlan(study, measure.storage, planned, measure, minimised, space, data_hashes, holdouts)


def _check_rungs(search: Search, arms: Iterable[Arm]) -> None:
    for arm in arms:
        epochs = arm.configuration.training.epochs
        if search.asha is not None and search.asha.min_epochs > epochs:
            raise StudyFileError(
                "search.asha.min_epochs",
                f"expected at most the {epochs} epochs of a training in arm {arm.label!r}, got "
                f"{search.asha.min_epochs}: no trial would be stopped early",
            )


def _refuse_asymmetric(study: Study, measure: Measure) -> None:
    """Check the symmetries of users' own networks on the data's own structures.

    :raises StudyFileError: if one is broken, unless the study allows it; then a warning says so.
    """
    for configuration in dict.fromkeys(arm.configuration for arm in study.arms):
        found = measure.asymmetry(configuration)
        if found is None or not found.broken:
            continue
        define = configuration.network.define
        told = (
            f"outputs of {define!r}, untrained, on structures of {configuration.data.reference} are off by {found}, in "
            "shares of the largest"
        )
        if not study.file.study.allow_asymmetric:
            raise StudyFileError(
                "network.define",
                f"expected outputs that turn, invert, move and permute with the structure; {told}; "
                "study.allow_asymmetric = true trains it all the same",
            )
        warnings.warn(f"network.define: {told}: it is not equivariant", stacklevel=2)


def _refuse_unreachable(arms: Iterable[PlannedArm]) -> None:
    for arm in arms:
        if arm.unreachable:
            raise StudyFileError(
                "study.allow_unreachable",
                f"arm {arm.label!r} cannot reach {', '.join(arm.unreachable)} of its target; leave the arm out, widen "
                "its hidden irreps or harmonics, or set allow_unreachable = true: those outputs then count as "
                "predicted zero",
            )


def _source(configuration: Configuration) -> str | None:
    """Hash of the source of a user's own network; None for the networks of tesseral."""
    define = configuration.network.define
    return None if define is None else source_hash(define, "network.define")
