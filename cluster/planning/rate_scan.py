"""A quick scan of the learning rate: each arm is trained briefly at the study's rate, and at a third and triple of it.

While the best rate of an arm is the lowest or highest, the next one beyond is tried, up to five. A short training has a
share of the study's epochs, and its schedule ends with it. It uses the split, order and initialisation of a search,
which the confirm stage does not use, and sees no test split.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import ceil, inf
from typing import TYPE_CHECKING, Any

from tesseral.cluster.planning.cost import as_a_trial
from tesseral.cluster.planning.plan import StudyPlan
from tesseral.cluster.planning.planned_arm import PlannedArm
from tesseral.models.data.references import open_data
from tesseral.study.configuration.metrics import common_metrics
from tesseral.study.configuration.trial import Traces, Trial
from tesseral.study.errors import StudyFileError
from tesseral.study.records.rate_scan import SETTING, ArmScan, RateScan, arms_hash

if TYPE_CHECKING:  # it imports torch
    from tesseral.models.data.reference_file import Reference

SHARE = 0.25
"""Epochs of a short training as a share of the study's, rounded up."""
STEP = 3.0
"""Ratio of successive rates: about half a decade, within which a best rate of Adam is usually flat."""
FIRST = 3
"""Number of rates that are tried in any case."""
MOST = 5
"""Largest number of rates of an arm."""


def scan_rates(
    plan: StudyPlan, share: float = SHARE, on_progress: Callable[[int, int], None] | None = None
) -> RateScan:
    """Scan the learning rate of every arm in this process, on a trial's device, threads and backend; record nothing.

    :param plan: prepared: its reference data must be there.
    :param share: epochs of a short training as a share of the study's, above 0, at most 1.
    :param on_progress: called with the number of trainings that are done, and of all that are known to be needed.
    :returns: errors of every arm by rate.
    :raises StudyFileError: if the search tunes the rate, or there is nothing to validate on.
    :raises TesseralError: if this machine lacks the device, or cannot build the backend.
    """
    metric, resources = _metric(plan), plan.study.file.resources
    arms, done = [], 0
    with as_a_trial(resources) as device:
        for waiting, arm in zip(reversed(range(len(plan.arms))), plan.arms, strict=True):
            reference = open_data(plan.storage, arm.configuration.data)
            own = arm.configuration.training.learning_rate
            errors: dict[float, float | None] = {}
            for rate in _rates(own, errors):
                errors[rate] = _error(_short(plan, arm, rate, share), reference, device, resources.backend, metric)
                done += 1
                if on_progress:
                    on_progress(done, done + max(FIRST - len(errors), 0) + FIRST * waiting)
            rates = tuple(sorted(errors))
            arms.append(ArmScan(arm.label, own, rates, tuple(errors[rate] for rate in rates)))
    return RateScan(arms_hash(plan.study), metric, share, tuple(arms))


def _rates(own: float, errors: dict[float, float | None]) -> Iterator[float]:
    """The rates to try: the study's, a third and three times of it, then outwards while the best is at an edge.

    :param own: the study's rate.
    :param errors: rate → error, filled by the caller between rates.
    """
    yield from (own, own / STEP, own * STEP)
    while len(errors) < MOST:
        known = {rate: inf if error is None else error for rate, error in errors.items()}
        best = min(known, key=lambda rate: (known[rate], rate))  # of equal ones the lowest: divergence asks for less
        if best == max(known):
            yield best * STEP
        elif best == min(known):
            yield best / STEP
        else:
            return


def _short(plan: StudyPlan, arm: PlannedArm, rate: float, share: float) -> Trial:
    """The short training of an arm at a rate: the trial of a search, with fewer epochs, also of the warm-up."""
    training = arm.configuration.training
    epochs, warm_up = (ceil(share * each) for each in (training.epochs, training.warmup_epochs))
    training = replace(training, learning_rate=rate, epochs=epochs, warmup_epochs=warm_up)
    return plan.plan_search(replace(arm, configuration=replace(arm.configuration, training=training))).trial


def _error(trial: Trial, reference: "Reference", device: str, backend: str, metric: str) -> float | None:
    from tesseral.models.training.recorder import DivergedError
    from tesseral.models.training.training import train

    try:
        # Traced at the start and end alone.
        traces = Traces(dense_epochs=0, growth=1e9, probe=1)
        result = train(trial, reference, _Unrecorded(), device=device, traces=traces, test=False, backend=backend)
    except DivergedError:
        return None
    return result.metrics[f"validation.{metric}"]


def _metric(plan: StudyPlan) -> str:
    """The study's metric, or what is measured on a validation split in its place."""
    if any(SETTING in parameter.touches for parameter in plan.space):
        raise StudyFileError(
            f"search.space.{SETTING}",
            "expected a study whose learning rate is set, for a scan of it; the search tunes it",
        )
    for arm in plan.arms:
        if arm.configuration.data.validation == 0:
            message = f"expected structures to validate on, for a scan of the learning rate, got 0 in arm {arm.label!r}"
            raise StudyFileError("data.validation", message)
    metrics = common_metrics([arm.configuration.target for arm in plan.arms])
    names = [metric.name for metric in metrics if not metric.test_only]
    own = (plan.study.file.study.metric or "").rpartition(".")[2]
    return own if own in names else names[0]


class _Unrecorded:
    """A `Recorder` that keeps nothing."""

    def curves(self, rows: list[dict[str, Any]]) -> None:
        """Forget them."""

    def traces(self, rows: list[dict[str, Any]]) -> None:
        """Forget them."""

    def boundary(self, step: int, steps: int, state: Callable[[], bytes], metrics: dict[str, float]) -> None:
        """Take no checkpoint."""
