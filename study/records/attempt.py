"""One execution of a trial, as its worker records it: begin, seal segments and rungs, keep checkpoints, finish.

The order of writes ensures that every step is recorded exactly once. A segment is sealed before the checkpoint that
follows it. A later attempt begins at a checkpoint and records at which step. The outcome is sealed last and names the
files that count. Only then are segments and checkpoints deleted.
"""

import time
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tesseral.study.configuration.trial import Cause, State
from tesseral.study.errors import LeaseLostError
from tesseral.study.records import lease
from tesseral.study.records.document import OutcomeRecord, damaged, read_document, seal
from tesseral.study.records.outcome import seal_outcome
from tesseral.study.records.rungs import check_rungs, read_pruning, seal_rung
from tesseral.study.records.segments import (
    CHECKPOINT,
    TABLES,
    Begin,
    Segment,
    altered,
    attempt_numbers,
    counting,
    encode,
    folder,
    intact,
    named,
    read_begins,
    rows_to_table,
    tile,
)
from tesseral.study.records.store import Store

LOSSES = 3
"""Number of lost workers, without a new checkpoint in between, after which a trial is failed."""


KEPT = 2
"""Number of checkpoints kept of a running trial: if the latest is damaged, the one before stands in."""


def checkpoints(store: Store, trial: str, begins: list[Begin]) -> list[tuple[int, str]]:
    """Return step and path of the checkpoints that count, in order of step.

    A checkpoint counts if its attempt does, and if it lies below the start of every later attempt.

    :param store: the study's records.
    :param trial: the trial's id.
    :param begins: its attempts.
    """
    bounds = counting(begins)
    counted = []
    for path in store.paths(f"trials/{trial}/checkpoint"):
        match = CHECKPOINT.fullmatch(path.rpartition("/")[2])
        if match is None or int(match[1]) not in bounds:
            continue
        step, below = int(match[2]), bounds[int(match[1])]
        if below is None or step < below:
            counted.append((step, path))
    return sorted(counted)


def furthest(store: Store, trial: str) -> int:
    """Return the furthest step of a trial's checkpoints; 0 if it has none. Those of lost attempts are among them.

    :param store: the study's records.
    :param trial: the trial's id.
    """
    names = (CHECKPOINT.fullmatch(path.rpartition("/")[2]) for path in store.paths(f"trials/{trial}/checkpoint"))
    return max((int(match[2]) for match in names if match), default=0)


def _resume(store: Store, trial: str, begins: list[Begin], without: Collection[str]) -> tuple[int, str, bytes] | None:
    """Step, path and content of the latest checkpoint from which the trial can go on; None to begin anew.

    A checkpoint is passed over, with a warning, if it is damaged or if rows up to its step are missing. Training from
    the one before gives the same rows again.
    """
    counted = [item for item in checkpoints(store, trial, begins) if item[1] not in without]
    if not counted:
        return None
    tables = {name: intact(store, store.paths(folder(name, trial)), trial, name) for name in TABLES}
    for step, path in reversed(counted):
        content = store.read(path)
        if content is None:
            continue  # deleted between listing and reading: the trial has just ended, or went on elsewhere
        if altered(path, content):
            warnings.warn(str(damaged(store, path, "its hash does not match", "an earlier one is used")), stacklevel=3)
            continue
        tiled = {name: tile(paths, trial, begins, step) for name, paths in tables.items()}
        # Of an earlier version nothing is known to be missing, but every trial has curves.
        lacking = {name: first for name, (_, first) in tiled.items()} if tiled["curves"][0] else {"curves": 0}
        if lacked := [f"{name} from step {first}" for name, first in lacking.items() if first <= step]:
            warnings.warn(
                f"{store.location(path)} is passed over: rows before it are missing ({', '.join(lacked)}); they are "
                "trained again",
                stacklevel=3,
            )
            continue
        return step, path, content
    return None


@dataclass
class Attempt:
    """An execution in progress: the recorder to which training writes."""

    store: Store
    trial: str
    number: int
    lease: int
    start: int
    checkpoint: bytes | None
    """Training state to continue from; None at the beginning."""
    seal_every: float = 5.0
    """Seconds between segments, so that a running study can be watched."""
    checkpoint_every: float = 30.0
    """Seconds between checkpoints. A kill costs at most this much work."""
    on_progress: Callable[[int, int], None] = lambda step, steps: None
    """Called after every epoch with the steps done and their total. An interrupt from it keeps a checkpoint first."""
    rungs: Mapping[int, int] = field(default_factory=dict)
    """Step → epoch of each rung, where the trial may be pruned."""
    objective: str = ""
    """Metric by which it is pruned, such as `validation.l2_error`."""
    on_rung: Callable[[int, float], None] = lambda epoch, value: None
    """Called with the epoch of a rung and its sealed value. An exception from it ends the execution."""
    parts: int = 1
    """Number of parts in which a batch is computed."""
    step: int = 0
    """Optimizer steps done at the end of the last epoch."""
    kept: list[str] = field(default_factory=list)
    """Paths of the latest checkpoints, of this attempt or of those that it continues; the last one is the newest."""
    _rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in TABLES})
    _covered: dict[str, int] = field(default_factory=dict)
    """Table → last step that its segments cover."""
    _began: float = field(default_factory=time.monotonic)
    _sealed: float = field(default_factory=time.monotonic)
    _checkpointed: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._covered = dict.fromkeys(TABLES, self.start - 1)

    @classmethod
    def begin(
        cls,
        store: Store,
        trial: str,
        lease_number: int,
        where: dict[str, Any],
        without: Collection[str] = (),
        **options: Any,
    ) -> "Attempt | None":
        """Begin the next attempt of a trial from its latest checkpoint.

        A trial that lost `LOSSES` workers under this driver, without a new checkpoint in between, is failed here.

        :param store: the study's records.
        :param trial: the trial's id.
        :param lease_number: lease of the driver that launches the attempt.
        :param where: facts about the worker, for the attempt's record.
        :param without: checkpoints that turned out to be unusable.
        :param options: further fields of the attempt.
        :returns: None if there is nothing to do: the trial is finished or pruned, or the lease was superseded.
        :raises RecordError: if a record of the trial is damaged or missing, so that it cannot go on.
        """
        ended = f"trials/{trial}/outcome.json"
        while read_document(store, ended, OutcomeRecord) is None and lease.newest(store) <= lease_number:
            begins = read_begins(store, trial)
            latest = _resume(store, trial, begins, without)
            step = latest[0] if latest else 0
            start = step + 1 if latest else 0
            parts = max((begin.parts for begin in begins if not begin.failed), default=1)
            parts = options["parts"] = max(parts, options.get("parts", 1))
            if read_pruning(store, trial, lease_number) is not None:
                return None
            check_rungs(store, trial, [epoch for at, epoch in options.get("rungs", {}).items() if at <= step])
            # Counted by worker: one that is alive begins again after its storage failed.
            lost = {
                begin.worker
                for begin in begins
                if (begin.lease, begin.start, begin.parts) == (lease_number, start, parts) and not begin.failed
            }
            if len(lost) >= LOSSES and not without:
                reason = f"its worker was lost {len(lost)} times without a checkpoint in between"
                facts = {"lease": lease_number, "steps": step, "reason": reason, "cause": Cause.MACHINE}
                seal_outcome(store, trial, begins[-1].number, State.FAILED, begins, step, **facts)
                return None
            number = _next_number(store, trial)
            record = {
                "trial": trial,
                "attempt": number,
                "lease": lease_number,
                "start": start,
                "parts": parts,
                "version": 2,  # of the layout of segments: since the second one they tile the steps
                "began": datetime.now(UTC).isoformat(),
                **where,
            }
            if store.create(f"trials/{trial}/attempts/{number}.json", seal(record)):
                kept = [path for at, path in checkpoints(store, trial, begins) if at <= step and path not in without]
                content = latest[2] if latest else None
                return cls(store, trial, number, lease_number, start, content, step=step, kept=kept, **options)
        return None

    def curves(self, rows: list[dict[str, Any]]) -> None:
        """Take rows of learning curves, without the column `trial`.

        :param rows: with the other columns of the table `curves`.
        """
        self._rows["curves"] += rows

    def traces(self, rows: list[dict[str, Any]]) -> None:
        """Take rows of feature traces, without the column `trial`.

        :param rows: with the other columns of the table `traces`.
        """
        self._rows["traces"] += rows

    def boundary(self, step: int, steps: int, state: Callable[[], bytes], metrics: Mapping[str, float]) -> None:
        """End an epoch: seal rows and keep a checkpoint, if they are due.

        A checkpoint is always due at the end of the training: it holds the trained network, and the outcome names it.
        At a rung, the rows and then the value are sealed, then the trial is judged, and only then is a checkpoint kept.
        So a trial that continues beyond a rung was judged there, and one that was killed before reaches it again.

        :param step: optimizer steps done. All rows up to it were given.
        :param steps: optimizer steps of the whole training.
        :param state: returns the training state, as bytes.
        :param metrics: name → value at this step.
        """
        epoch = self.rungs.get(step)
        value = None if epoch is None else self._rung(epoch, step, metrics[self.objective])
        self.step = step
        if epoch is not None and value is not None:
            self.on_rung(epoch, value)
        try:
            self.on_progress(step, steps)
        except KeyboardInterrupt:
            self._seal(step, whole=True)
            self._keep(step, state())
            raise
        self._boundary(step, steps, state)

    def _rung(self, epoch: int, step: int, value: float) -> float:
        self._seal(step, whole=True)
        # An attempt that continues from a checkpoint does not know how long the way there took.
        seconds = None if self.checkpoint is not None else time.monotonic() - self._began
        facts = {"step": step, "attempt": self.number, "lease": self.lease, "seconds": seconds}
        return seal_rung(self.store, self.trial, epoch, value, **facts)

    def _boundary(self, step: int, steps: int, state: Callable[[], bytes]) -> None:
        now = time.monotonic()
        if step == steps or now - self._checkpointed >= self.checkpoint_every:
            self._seal(step, whole=True)
            self._keep(step, state())
        elif now - self._sealed >= self.seal_every:
            self._seal(step)

    def _seal(self, step: int, *, whole: bool = False) -> None:
        """Seal the rows so far.

        :param whole: whether both tables must cover every step up to this one, if need be by a segment without rows.
        """
        # A training that fails leaves rows of an epoch that has not ended.
        last = max([step, *(row["step"] for rows in self._rows.values() for row in rows)])
        for name, schema in TABLES.items():
            first = self._covered[name] + 1
            if self._rows[name] or (whole and first <= last):
                data = encode(rows_to_table(self._rows[name], self.trial, schema))
                path = f"{folder(name, self.trial)}/{named(f'{self.number}-{first}-{last}', data, '.parquet')}"
                if not self.store.create(path, data):
                    raise damaged(self.store, path, "its content does not match the hash in its name")
                self._rows[name], self._covered[name] = [], last
        self._sealed = time.monotonic()

    def _counting(self) -> list[Begin]:
        """Return the attempts of the trial.

        :raises LeaseLostError: if this one no longer counts, because its worker was thought dead. It must then delete
            nothing and seal nothing.
        """
        if lease.newest(self.store) > self.lease:
            raise LeaseLostError(f"lease {self.lease} was superseded; attempt {self.number} does not count")
        begins = read_begins(self.store, self.trial)
        if counting(begins).get(self.number, 0) is not None:
            raise LeaseLostError(f"attempt {self.number} was followed by another; it stops here")
        return begins

    def _keep(self, step: int, state: bytes) -> None:
        # The new checkpoint before the end of the old one: after a kill in between there are two, never none.
        self._counting()
        path = f"trials/{self.trial}/checkpoint/{named(f'{self.number}-{step}', state)}"
        if not self.store.create(path, state):
            raise damaged(self.store, path, "its content does not match the hash in its name")
        self.kept.append(path)
        self.store.delete(self.kept[:-KEPT])
        self.kept = self.kept[-KEPT:]
        self._checkpointed = time.monotonic()

    def finish(self, state: State, step: int, **facts: Any) -> bool:
        """Seal the outcome of the trial and delete its segments.

        :param state: final state.
        :param step: optimizer steps done.
        :param facts: further keys of the outcome.
        :returns: whether this call sealed the outcome.
        :raises LeaseLostError: if this attempt no longer counts: its driver was superseded, or another attempt began.
        :raises MissingRowsError: if segments that were sealed are gone.
        """
        self._seal(step, whole=True)
        # Read once: if another attempt begins from here on, this outcome is complete all the same.
        begins = self._counting()
        facts |= {"attempt": self.number, "lease": self.lease, "steps": step}
        facts["checkpoint"] = self.kept[-1] if self.kept else None
        return seal_outcome(self.store, self.trial, self.number, state, begins, max(self._covered.values()), **facts)


def _next_number(store: Store, trial: str) -> int:
    """A number that no file of the trial has, so that nothing new is mixed with what an earlier attempt left."""
    paths = [path.removeprefix(f"trials/{trial}/") for path in store.paths(f"trials/{trial}")]
    numbers = set(attempt_numbers(path for path in paths if path.startswith("attempts/")))
    names = (path.removeprefix("checkpoint/") for path in paths if path.startswith("checkpoint/"))
    numbers |= {int(match[1]) for name in names if (match := CHECKPOINT.fullmatch(name))}
    written = (path for table in TABLES for path in store.paths(folder(table, trial)))
    numbers |= {segment.attempt for path in written if (segment := Segment.named(path))}
    return max(numbers, default=0) + 1
