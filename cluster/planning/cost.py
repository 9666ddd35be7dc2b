"""What training costs in seconds: a shipped rate, rates fitted to the trials of a storage, and steps measured now.

A trial of n steps of f operations each takes

    T = setup + n · (p · overhead + f · per_flop),

where the overhead of a step holds its share of the evaluations and records too, and p says how many small operations
the step has beside those of a gated network on energies (see `overheads`). Coefficients
z = (setup, overhead, per_flop) ≥ 0 minimise

    Σ_trials (1 − x·z)² + λ Σ_k (z_k / (c·d_k) − 1)²,   x = (1, n·p, n·f) / T,

with d the shipped coefficients and c the one factor that fits them best. So relative errors count, a trial that was
disturbed counts little, and what few trials cannot tell apart keeps the shipped proportions: one trial scales them.
Sums of x xᵀ and x over trials are all that a fit needs. Each study keeps them in a file of its own for each kind of
device, because studies that end together would overwrite a file that they share; a rate is fitted when it is read.
"""

import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, NotRequired

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
from tesseral.study.records.document import Json, Natural, Positive, read_document, seal
from tesseral.study.records.ledger import Entry, Ledger
from tesseral.study.records.store import Store
from tesseral.study.wording import count

if TYPE_CHECKING:  # it imports torch, which takes seconds
    from tesseral.models.training.timed_step import Step

FOLDER = "rates"
"""Folder of a storage with a folder for each kind of device, in it a file for each study, derived from its records."""
MODEL = 2
"""Version of what x holds. Rates of another are left out, as if no trial were recorded."""
PRIOR = 0.1
"""λ: the weight of the shipped proportions, in trials."""

Vector = NDArray[np.float64]


class Kind(NamedTuple):
    """What trials run on, as far as their speed depends on it."""

    device: str
    """`cpu`, or the accelerator's name."""
    threads: int
    """Threads of a trial on a CPU; 1 on an accelerator."""


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
    threads: int = 1
    """Threads of each of them on a CPU; 1 on an accelerator."""
    planned: int | None = None
    """Threads of the trials that it is read for, where none is recorded with so many; else None."""

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
            source = "the speed of one core of a 2020s server CPU, until trials are recorded in this storage"
        else:
            source = f"{count(self.trials, 'trial')} recorded in this storage, on {self.device}"
        if self.threads != 1:
            source += f" with {self.threads} threads"
        if self.planned is not None:
            source += f"; {self.planned} threads, with which no trial is recorded, should take less"
        return source


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
    rates = recorded_rates(storage)
    if resources.device == "cpu" or (not resources.gpus and resources.device == "auto"):
        by_threads = {1: SHIPPED} | {rate.threads: rate for rate in rates if rate.device == SHIPPED.device}
        return by_threads.get(resources.cpus) or replace(by_threads[1], planned=resources.cpus)
    accelerators = (rate for rate in rates if rate.device != SHIPPED.device)
    return max(accelerators, key=lambda rate: rate.trials, default=None)


def recorded_rates(storage: str) -> list[Rate]:
    """The rate of each kind of device, fitted to the trials of all studies that recorded one.

    :param storage: folder or URL that holds the rates.
    """
    store = Store(storage)
    paths = [path for path in store.paths(FOLDER) if path.endswith(".json")]
    documents = store.each(lambda path: _read(store, path), paths)
    sums: dict[Kind, dict[str, Json]] = defaultdict(dict)
    # Files that studies shared come first: what a study recorded in one of its own counts instead.
    for document in sorted(filter(None, documents), key=lambda document: "study" in document):
        own = {document["study"]: document} if "study" in document else document["studies"]
        sums[Kind(document["device"], document.get("threads", 1))].update(own)
    return [_fit(kind, list(studies.values())) for kind, studies in sorted(sums.items())]


def record_rate(storage: str, study: str, entries: Iterable[Entry] | None = None) -> None:
    """Record what a study's finished trials took, for each kind of device that they ran on.

    Called at the end of a run; called again, it counts no trial twice.

    :param storage: folder or URL that holds the study's records.
    :param study: its name.
    :param entries: of the study, if they were read already.
    """
    store = Store(storage)
    entries = Ledger(store.child(study)).entries() if entries is None else entries
    for kind, rows in _timings(entries).items():
        sums = {"trials": len(rows), "xx": (rows.T @ rows).tolist(), "x": rows.sum(0).tolist()}
        store.replace(_path(kind, study), seal(kind._asdict() | {"study": study, "model": MODEL} | sums))


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


def _timings(entries: Iterable[Entry]) -> dict[Kind, Vector]:
    """Kind of device → x of each trial that was trained here to its end, shape (trials, 3)."""
    rows: dict[Kind, list[tuple[float, float, float]]] = defaultdict(list)
    for entry in entries:
        outcome = entry.outcome or {}
        seconds, steps, flops = outcome.get("seconds"), outcome.get("steps"), entry.plan.get("flops")
        kind = _kind(entry) if entry.state is State.COMPLETE and "reused" not in outcome else None
        if kind and seconds and steps and flops:
            target = QUANTITIES.get(entry.plan.get("target", ""))  # None for a label, which is no gradient
            network = entry.plan["trial"]["configuration"]["network"]
            beside = overheads(
                network["interaction"], network["fusion"]["diagram"], target is not None and target.differentiated
            )
            rows[kind].append((1 / seconds, steps * beside / seconds, steps * flops / seconds))
    return {kind: np.array(terms) for kind, terms in rows.items()}


def _kind(entry: Entry) -> Kind | None:
    """The kind of device that a finished trial ran on; None of a CPU if its attempts had not one number of threads."""
    device = (entry.outcome or {})["device"]
    if device != SHIPPED.device:
        return Kind(device, 1)
    threads = {begin.get("cpus", 0) for begin in entry.begins}
    number = threads.pop() if len(threads) == 1 else 0
    return Kind(device, number) if number else None


def _fit(kind: Kind, studies: Sequence[Mapping[str, Any]]) -> Rate:
    """Fit a rate to the trials of all studies."""
    from scipy.optimize import nnls  # takes half a second to import, and the plan of a first study does not need it

    # In units of the shipped coefficients all numbers are of order 1.
    unit = np.array([SHIPPED.setup, SHIPPED.overhead, SHIPPED.per_flop])
    xx = sum(np.array(study["xx"]) for study in studies) * np.outer(unit, unit)
    x = sum(np.array(study["x"]) for study in studies) * unit
    factor = x.sum() / xx.sum()
    # The sum to minimise is ‖A z − b‖² with AᵀA = xx + λ/c² and Aᵀb = x + λ/c, up to a constant.
    upper = np.linalg.cholesky(xx + PRIOR / factor**2 * np.eye(3)).T
    scaled, _ = nnls(upper, np.linalg.solve(upper.T, x + PRIOR / factor))
    setup, overhead, per_flop = (scaled * unit).tolist()
    trials = sum(study["trials"] for study in studies)
    return Rate(kind.device, setup, overhead, per_flop, trials, kind.threads)


class StudyRecord(TypedDict):
    """`rates/<device>/<study>.json`: sums over the trials of a study on one kind of device."""

    device: str
    threads: Positive
    study: str
    model: Natural
    trials: Positive
    xx: list[list[float]]
    x: list[float]


class SharedRecord(TypedDict):
    """`rates/<device>.json`: the same of several studies, as earlier versions wrote it, whatever the threads."""

    device: str
    studies: Json
    model: NotRequired[Natural]


def _read(store: Store, path: str) -> Json | None:
    """The record of a rate. It is derived from the trials' records, so a damaged one is left out, with a warning."""
    kind = StudyRecord if path.count("/") > 1 else SharedRecord
    try:
        document = read_document(store, path, kind)
    except RecordError as error:
        warnings.warn(str(error), stacklevel=2)
        return None
    if document is None or document.get("model") != MODEL:
        return None
    return None if kind is SharedRecord and document["device"] == SHIPPED.device else document


def _path(kind: Kind, study: str) -> str:
    device = kind.device if kind.threads == 1 else f"{kind.device} {kind.threads} threads"
    return f"{FOLDER}/{re.sub('[^a-z0-9]+', '-', device.lower()).strip('-')}/{study}.json"
