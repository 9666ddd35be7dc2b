"""The two stages of a study and their trials: search within each arm, then confirm every arm in pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.metrics import common_metrics
from tesseral.study.configuration.trial import HoldOut, Seeds, Trial, seed
from tesseral.study.design.arm import Arm
from tesseral.study.design.study_file import Asha, StudyFile
from tesseral.study.errors import StudyFileError

COSTS = ("seconds", "parameters", "flops")
"""Objectives that a search may minimise besides errors of the validation split."""
Stage = Literal["search", "confirm"]


@dataclass(frozen=True)
class PlannedTrial:
    """A trial and its place in the study."""

    trial: Trial
    arm: Arm
    stage: Stage
    block: int
    """In the search stage the number of the search among the arm's independent ones: it has its own split and order."""
    replicate: int


@dataclass(frozen=True)
class Proposal:
    """What Optuna proposed in a search: a create-only record, `<search folder>/<number>.json`, before its trial's.

    Enough to make the same `optuna.trial.FrozenTrial` again.
    """

    arm: str
    """`Arm.key`."""
    number: int
    """Optuna's, from 0 in each search; proposals of an earlier trial have numbers too."""
    trial: str
    """Id of the trial that it asks for."""
    settings: dict[str, Any]
    """Dotted path → value, to be set in the arm's configuration."""
    params: dict[str, Any]
    """Optuna's name → value."""
    distributions: dict[str, str]
    """Optuna's name → distribution, as its JSON."""
    system_attrs: dict[str, Any]
    """System attributes of the Optuna trial at its proposal."""
    study_attrs: dict[str, Any]
    """System attributes of the Optuna study that changed with this proposal."""


@dataclass(frozen=True)
class Best:
    """How a search ended: a create-only record, `<search folder>/best.json`."""

    trial: str | None
    """The trial of the lowest error; None if none was completed."""
    settings: dict[str, Any]
    """Its hyperparameters."""
    value: float | None
    """Its validation error."""
    trials: int
    """Distinct proposals."""
    reason: str
    """Why nothing more was proposed."""


def confirm_seeds(
    study_seed: int, block: int, replicate: int, *, folds: bool = False, held: int | None = None
) -> Seeds:
    """Seeds of a place in the confirm stage. Arms share them, so that they are compared in pairs.

    :param study_seed: `study.seed`.
    :param block: number of the block, counted from 0.
    :param replicate: number of the replicate in the block, counted from 0.
    :param folds: whether test splits are disjoint folds of one order of the data, as `replication.split` says.
    :param held: structures of the hold-out that tests are drawn from; None without one.
    """
    return Seeds(
        split=seed(study_seed, "confirm", "split", *([] if folds else [block])),
        order=seed(study_seed, "confirm", "order", block),
        initialisation=seed(study_seed, "confirm", "initialisation", block, replicate),
        fold=block if folds else None,
        holdout=_holdout(study_seed, held, seen=True),
    )


def _holdout(study_seed: int, held: int | None, *, seen: bool) -> HoldOut | None:
    return None if held is None else HoldOut(seed=seed(study_seed, "holdout"), size=held, seen=seen)


def search_folder(arm: str, repeat: int) -> str:
    """Folder of a search's records, in the study's: `search/<arm key>`, and `search/<arm key>-<repeat>` from 1 on.

    :param arm: `Arm.key`.
    :param repeat: number of the search among the arm's independent ones, counted from 0.
    """
    return f"search/{arm}-{repeat}" if repeat else f"search/{arm}"


def search_seeds(study_seed: int, arm: str = "", repeat: int = 0, held: int | None = None) -> Seeds:
    """Seeds of all trials of a search: one split and one data order for all arms, which confirm never uses.

    :param study_seed: `study.seed`.
    :param arm: `Arm.key` if two arms may propose the same network. Each arm then has an initialisation of its own, so
        that no trial belongs to two searches, which might stop it at different epochs. Otherwise empty.
    :param repeat: number of the search among the arm's independent ones, counted from 0.
    :param held: structures of the hold-out, which the search never sees; None without one.
    """
    own = repeat_parts(repeat)
    return Seeds(
        split=seed(study_seed, "search", "split", *own),
        order=seed(study_seed, "search", "order", *own),
        initialisation=seed(study_seed, "search", "initialisation", *([arm] if arm else []), *own),
        holdout=_holdout(study_seed, held, seen=False),
    )


def refused_seeds(study_seed: int, arm: str, repeat: int = 0) -> Seeds:
    """Seeds of a proposal that is recorded and never trained: the search's own, so that no other search has the trial.

    :param study_seed: `study.seed`.
    :param arm: `Arm.key`.
    :param repeat: number of the search among the arm's independent ones, counted from 0.
    """
    own = repeat_parts(repeat)
    return Seeds(
        split=seed(study_seed, "refused", arm, "split", *own),
        order=seed(study_seed, "refused", arm, "order", *own),
        initialisation=seed(study_seed, "refused", arm, "initialisation", *own),
    )


def repeat_parts(repeat: int) -> tuple[str | int, ...]:
    """What a seed of an arm's search holds in addition, so that independent searches share none; nothing for the first.

    :param repeat: number of the search among the arm's independent ones, counted from 0.
    """
    return ("repeat", repeat) if repeat else ()


def make_trial(
    configuration: Configuration, seeds: Seeds, data_hashes: dict[str, str], numerics: int, source: str | None = None
) -> Trial:
    """The trial that trains `configuration`.

    :param configuration: of the arm.
    :param seeds: of the trial.
    :param data_hashes: `data.reference` and each of `data.tests`, as written → content hash; `split_name` of a
        published split → its hash.
    :param numerics: version of the numbers that training gives.
    :param source: hash of the source of a user's own network.
    """
    data = configuration.data
    return Trial(
        configuration=configuration,
        data_hash=data_hashes[data.reference],
        seeds=seeds,
        numerics=numerics,
        source=source,
        tests={name: data_hashes[path] for name, path in data.tests.items()},
        split=None if data.split is None else data_hashes[split_name(data)],
    )


def split_name(data: Data) -> str:
    """What `data_hashes` call a published split, as it is of these reference data.

    :param data: with a published split.
    """
    return f"{data.split} of {data.reference}"


def objectives(file: StudyFile, arms: Sequence[Arm]) -> tuple[str, ...]:
    """The objectives that a search minimises: `validation.<metric>` of a trial's metrics, or one of `COSTS`.

    :param file: the study file.
    :param arms: its arms.
    :raises StudyFileError: if one is neither, or an arm has nothing to validate on.
    """
    names = objective_names(file, arms)
    for arm in arms if names else ():
        if arm.configuration.data.validation == 0:
            message = f"expected structures to validate on, for the search, got 0 in arm {arm.label!r}"
            raise StudyFileError("data.validation", message)
    return tuple(name if name in COSTS else f"validation.{name}" for name in names)


def objective_names(file: StudyFile, arms: Sequence[Arm]) -> tuple[str, ...]:
    """The metrics and `COSTS` that a search minimises, as a study file names them; empty without a search.

    :param file: the study file.
    :param arms: its arms.
    :raises StudyFileError: if one is neither a metric of all arms nor a cost, or is written twice.
    """
    if file.search is None:
        return ()
    valid = [
        metric.name for metric in common_metrics([arm.configuration.target for arm in arms]) if not metric.test_only
    ]
    own = (file.study.metric or "").rpartition(".")[2]  # without the test set that it may name
    default = own if own in valid else valid[0]
    names = file.search.objectives or (default,)
    for index, name in enumerate(names):
        if name not in valid + list(COSTS) or (index == 0 and name in COSTS):
            expected = ", ".join(valid if index == 0 else [*valid, *COSTS])
            raise StudyFileError(f"search.objectives[{index}]", f"expected one of {expected}, got {name!r}")
        if name in names[:index]:
            raise StudyFileError(f"search.objectives[{index}]", f"objective {name!r} is written twice")
    return tuple(names)


def rung_epochs(asha: Asha | None, epochs: int) -> tuple[int, ...]:
    """The epochs at which a trial of the search may be stopped: r, rη, rη², … below `epochs`.

    r is `search.asha.min_epochs` and η is `search.asha.reduction` (Li et al., MLSys 2020, arXiv:1810.05934).

    :param asha: the table `[search.asha]`; None without pruning.
    :param epochs: of a whole training.
    """
    rungs: list[int] = []
    rung = asha.min_epochs if asha else epochs
    while asha and rung < epochs:
        rungs.append(rung)
        rung *= asha.reduction
    return tuple(rungs)
