"""What training costs in seconds: a shipped rate, rates fitted to the trials of a storage, and steps measured now.

A trial of n steps of f operations each takes

    T = setup + n · (p · overhead + f · per_flop),

where the overhead of a step holds its share of the evaluations and records too, and p says how many small operations
the step has beside those of a gated network on energies (see `overheads`). Coefficients
z = (setup, overhead, per_flop) ≥ 0 minimise

    Σ_trials (1 − x·z)² + λ Σ_k (z_k / (c·d_k) − 1)²,   x = (1, n·p, n·f) / T,

with d the shipped coefficients and c the one factor that fits them best. So relative errors count, a trial that was
disturbed counts little, and what few trials cannot tell apart keeps the shipped proportions: one trial scales them.
Sums of x xᵀ and x over trials are all that a fit needs; a rate's file keeps them for each study.
"""

import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NotRequired

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from tesseral.cluster.planning.overheads import overheads
from tesseral.cluster.planning.plan import StudyPlan
from tesseral.models.data.references import open_data
from tesseral.study.configuration.quantities import QUANTITIES
from tesseral.study.configuration.trial import State
from tesseral.study.design.study_file import Resources
from tesseral.study.errors import RecordError
from tesseral.study.records.document import Json, Natural, read_document, seal
from tesseral.study.records.ledger import Entry, Ledger
from tesseral.study.records.store import Store
from tesseral.study.wording import count

if TYPE_CHECKING:  # it imports torch, which takes seconds
    from tesseral.models.training.timed_step import Step

FOLDER = "rates"
"""Folder of a storage with a file for each device. Rates are derived from the records of its studies."""
MODEL = 2
"""Version of what x holds. Rates of another are left out, as if no trial were recorded."""
PRIOR = 0.1
"""λ: the weight of the shipped proportions, in trials."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Rate:
    """Seconds on one kind of device."""

    device: str
    """`cpu`, or the accelerator's name."""
    setup: float
    """Seconds of a trial besides its steps: reading the data, building the network, the test split."""
    overhead: float
    """Seconds of a step of a gated network on energies of any size, with its share of evaluations and records."""
    per_flop: float
    """Seconds of one floating-point operation."""
    trials: int = 0
    """Number of trials that it is fitted to; 0 for the shipped rate."""

    def step(self, flops: float, overheads: float = 1.0) -> float:
        """Seconds of a training step of so many operations.

        :param flops: floating-point operations of the step.
        :param overheads: from `tesseral.cluster.planning.overheads.overheads`.
        """
        return overheads * self.overhead + flops * self.per_flop

    def trial(self, flops: float, steps: float, overheads: float = 1.0) -> float:
        """Seconds of a trial of so many steps.

        :param flops: floating-point operations of a step.
        :param steps: optimizer steps of the trial.
        :param overheads: as for `step`.
        """
        return self.setup + steps * self.step(flops, overheads)

    @property
    def source(self) -> str:
        """Where the rate comes from, in words."""
        if not self.trials:
            return "the speed of one core of a 2020s server CPU, until trials are recorded in this storage"
        return f"{count(self.trials, 'trial')} recorded in this storage, on {self.device}"


SHIPPED = Rate("cpu", setup=0.43, overhead=2.3e-3, per_flop=4.2e-11)
"""The rate of one thread on one core of a 2020s server CPU.

Fitted by least squares of relative errors to whole trials of gated networks on a quiet core. For the arms of the small
presets `hierarchy`, `skipped_orders` and `angular` it foretells 0.78 to 1.23 of the seconds that their trials took, two
at a time; for `fusion`, with which the factors of `overheads` were chosen, 0.95 to 1.40."""


def read_rate(storage: str, resources: Resources) -> Rate | None:
    """The rate of the device that trials of a study will use. Among several accelerators it is that of most trials.

    :param storage: folder or URL that holds the rates.
    :param resources: of a trial.
    :returns: None for an accelerator without recorded trials, because no rate of one is shipped.
    """
    store = Store(storage)
    if resources.device == "cpu" or (not resources.gpus and resources.device == "auto"):
        document = _read(store, _path(SHIPPED.device))
        return _rate(document) if document else SHIPPED
    names = [path for path in store.paths(FOLDER) if path.endswith(".json") and path != _path(SHIPPED.device)]
    rates = [_rate(document) for path in names if (document := _read(store, path)) is not None]
    return max(rates, key=lambda rate: rate.trials, default=None)


def record_rate(storage: str, study: str, entries: Iterable[Entry] | None = None) -> list[Rate]:
    """Fit the rates of the devices that a study's finished trials ran on, together with other studies' trials there.

    Called at the end of a run; called again, it counts no trial twice.

    :param storage: folder or URL that holds the study's records.
    :param study: its name.
    :param entries: of the study, if they were read already.
    """
    store = Store(storage)
    rates = []
    entries = Ledger(store.child(study)).entries() if entries is None else entries
    for device, rows in _timings(entries).items():
        document = _read(store, _path(device))
        sums = {"trials": len(rows), "xx": (rows.T @ rows).tolist(), "x": rows.sum(0).tolist()}
        studies: dict[str, Any] = (document["studies"] if document else {}) | {study: sums}
        rate = _fit(device, studies.values())
        store.replace(_path(device), seal({**vars(rate), "model": MODEL, "studies": studies}))
        rates.append(rate)
    return rates


def measure_steps(plan: StudyPlan, on_progress: Callable[[int, int], None] | None = None) -> list["Step"]:
    """Time a training step of every arm in this process, on the device and as many threads as a trial has.

    :param plan: prepared: its reference data must be there.
    :param on_progress: called with the number of arms that are done, and of all arms.
    :returns: in the order of the arms.
    :raises TesseralError: if this machine lacks the device.
    """
    from tesseral.models.training.timed_step import measure_step

    steps = []
    with as_a_trial(plan.study.file.resources) as device:
        for arm in plan.arms:
            reference = open_data(plan.storage, arm.configuration.data)
            steps.append(measure_step(arm.configuration, reference, device, plan.study.file.resources.backend))
            if on_progress:
                on_progress(len(steps), len(plan.arms))
    return steps


@contextmanager
def as_a_trial(resources: Resources) -> Iterator[str]:
    """Compute on as many threads as a trial has.

    :param resources: of a trial.
    :returns: the device of a trial: `auto`, `cpu` or `cuda`.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(resources.cpus)
    try:
        yield "cpu" if resources.device == "auto" and not resources.gpus else resources.device
    finally:
        torch.set_num_threads(threads)


def _timings(entries: Iterable[Entry]) -> dict[str, Vector]:
    """Device → x of each trial that was trained here to its end, shape (trials, 3)."""
    rows: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for entry in entries:
        outcome = entry.outcome or {}
        seconds, steps, flops = outcome.get("seconds"), outcome.get("steps"), entry.plan.get("flops")
        if entry.state is State.COMPLETE and "reused" not in outcome and seconds and steps and flops:
            target = QUANTITIES.get(entry.plan.get("target", ""))  # None for a label, which is no gradient
            network = entry.plan["trial"]["configuration"]["network"]
            beside = overheads(
                network["interaction"], network["fusion"]["diagram"], target is not None and target.differentiated
            )
            rows[outcome["device"]].append((1 / seconds, steps * beside / seconds, steps * flops / seconds))
    return {device: np.array(terms) for device, terms in rows.items()}


def _fit(device: str, studies: Iterable[dict[str, Any]]) -> Rate:
    """Fit a rate to the trials of all studies."""
    from scipy.optimize import nnls  # takes half a second to import, and a plan does not need it

    # In units of the shipped coefficients all numbers are of order 1.
    unit = np.array([SHIPPED.setup, SHIPPED.overhead, SHIPPED.per_flop])
    sums = list(studies)
    xx = sum(np.array(study["xx"]) for study in sums) * np.outer(unit, unit)
    x = sum(np.array(study["x"]) for study in sums) * unit
    factor = x.sum() / xx.sum()
    # The sum to minimise is ‖A z − b‖² with AᵀA = xx + λ/c² and Aᵀb = x + λ/c, up to a constant.
    upper = np.linalg.cholesky(xx + PRIOR / factor**2 * np.eye(3)).T
    scaled, _ = nnls(upper, np.linalg.solve(upper.T, x + PRIOR / factor))
    setup, overhead, per_flop = (scaled * unit).tolist()
    return Rate(device, setup, overhead, per_flop, sum(study["trials"] for study in sums))


class RateRecord(TypedDict):
    """`rates/<device>.json`: a rate, and what it was fitted to."""

    device: str
    setup: float
    overhead: float
    per_flop: float
    trials: Natural
    studies: Json
    model: NotRequired[Natural]


def _read(store: Store, path: str) -> Json | None:
    """The record of a rate. It is derived from the trials' records, so a damaged one is left out, with a warning."""
    try:
        document = read_document(store, path, RateRecord)
    except RecordError as error:
        warnings.warn(str(error), stacklevel=2)
        return None
    return document if document is not None and document.get("model") == MODEL else None


def _rate(document: Json) -> Rate:
    return Rate(**{name: document[name] for name in Rate.__dataclass_fields__})


def _path(device: str) -> str:
    return f"{FOLDER}/{re.sub('[^a-z0-9]+', '-', device.lower()).strip('-')}.json"
