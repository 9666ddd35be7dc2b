"""One execution of a trial, as its worker records it: begin, seal segments and rungs, keep checkpoints, finish.

The order of writes ensures that every step is recorded exactly once. A segment is sealed before the checkpoint that
follows it. A later attempt begins at a checkpoint and records at which step. The outcome is sealed last and names the
files that count. Only then are segments and checkpoints deleted.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tesseral.study.configuration.trial import State, canonical
from tesseral.study.errors import LeaseLostError, StoreError
from tesseral.study.records import lease
from tesseral.study.records.outcome import seal_outcome
from tesseral.study.records.rungs import read_pruning, seal_rung
from tesseral.study.records.segments import (
    CHECKPOINT,
    TABLES,
    Begin,
    attempt_numbers,
    counting,
    encode,
    folder,
    read_begins,
    rows_to_table,
)
from tesseral.study.records.store import STORE_ERRORS, Store

LOSSES = 3
"""Number of lost workers, without a new checkpoint in between, after which a trial is failed."""


def latest_checkpoint(store: Store, trial: str, begins: list[Begin]) -> tuple[int, str] | None:
    """Return step and path of the latest checkpoint that counts; None if there is none.

    A checkpoint counts if its attempt does, and if it lies below the start of every later attempt.

    :param store: the study's records.
    :param trial: the trial's id.
    :param begins: its attempts.
    """
    bounds = counting(begins)
    best: tuple[int, str] | None = None
    for path in store.paths(f"trials/{trial}/checkpoint"):
        match = CHECKPOINT.fullmatch(path.rpartition("/")[2])
        if match is None or int(match[1]) not in bounds:
            continue
        step, below = int(match[2]), bounds[int(match[1])]
        if (below is None or step < below) and (best is None or step > best[0]):
            best = step, path
    return best


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
    """Called after every epoch with the steps done and their total."""
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
    kept: str | None = None
    """Path of the latest checkpoint, of this attempt or of the one that it continues."""
    _rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in TABLES})
    _began: float = field(default_factory=time.monotonic)
    _sealed: float = field(default_factory=time.monotonic)
    _checkpointed: float = field(default_factory=time.monotonic)

    @classmethod
    def begin(
        cls, store: Store, trial: str, lease_number: int, where: dict[str, Any], **options: Any
    ) -> "Attempt | None":
        """Begin the next attempt of a trial from its latest checkpoint.

        A trial that lost `LOSSES` workers under this driver, without a new checkpoint in between, is failed here.

        :param store: the study's records.
        :param trial: the trial's id.
        :param lease_number: lease of the driver that launches the attempt.
        :param where: facts about the worker, for the attempt's record.
        :param options: further fields of the attempt.
        :return: None if there is nothing to do: the trial is finished or pruned, or the lease was superseded.
        """
        while store.read(f"trials/{trial}/outcome.json") is None and lease.newest(store) <= lease_number:
            begins = read_begins(store, trial)
            latest = latest_checkpoint(store, trial, begins)
            state = store.read(latest[1]) if latest else None
            if latest and state is None:
                continue  # deleted between listing and reading: the trial has just ended
            start = latest[0] + 1 if latest else 0
            parts = max((begin.parts for begin in begins), default=1)
            parts = options["parts"] = max(parts, options.get("parts", 1))
            if read_pruning(store, trial, lease_number) is not None:
                return None
            # Counted by worker: one that is alive begins again after its storage failed.
            lost = {
                begin.worker
                for begin in begins
                if (begin.lease, begin.start, begin.parts) == (lease_number, start, parts)
            }
            if len(lost) >= LOSSES:
                reason = f"its worker was lost {len(lost)} times without a checkpoint in between"
                facts = {"lease": lease_number, "steps": max(start - 1, 0), "reason": reason}
                seal_outcome(store, trial, f"{max(start - 1, 0)}-0", State.FAILED, begins, max(start - 1, 0), **facts)
                return None
            number = max(attempt_numbers(store, trial), default=0) + 1
            record = {
                "attempt": number,
                "lease": lease_number,
                "start": start,
                "parts": parts,
                "began": datetime.now(UTC).isoformat(),
                **where,
            }
            if store.create(f"trials/{trial}/attempts/{number}.json", canonical(record).encode()):
                kept = latest[1] if latest else None
                step = latest[0] if latest else 0
                return cls(store, trial, number, lease_number, start, state, step=step, kept=kept, **options)
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
        with self._writing():
            value = None if epoch is None else self._rung(epoch, step, metrics[self.objective])
        self.step = step
        self.on_progress(step, steps)
        if epoch is not None and value is not None:
            self.on_rung(epoch, value)
        with self._writing():
            self._boundary(step, steps, state)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except STORE_ERRORS as error:
            raise StoreError(f"the records of trial {self.trial[:10]} cannot be written: {error}") from error

    def _rung(self, epoch: int, step: int, value: float) -> float:
        self._seal(step)
        # An attempt that continues from a checkpoint does not know how long the way there took.
        seconds = None if self.checkpoint is not None else time.monotonic() - self._began
        facts = {"step": step, "attempt": self.number, "lease": self.lease, "seconds": seconds}
        return seal_rung(self.store, self.trial, epoch, value, **facts)

    def _boundary(self, step: int, steps: int, state: Callable[[], bytes]) -> None:
        now = time.monotonic()
        if step == steps or now - self._checkpointed >= self.checkpoint_every:
            self._seal(step)
            self._keep(step, state())
        elif now - self._sealed >= self.seal_every:
            self._seal(step)

    def _seal(self, step: int) -> None:
        for name, schema in TABLES.items():
            if self._rows[name]:
                # A training that fails leaves rows of an epoch that has not ended.
                last = max(step, *(row["step"] for row in self._rows[name]))
                path = f"{folder(name, self.trial)}/{self.number}-{last}.parquet"
                self.store.create(path, encode(rows_to_table(self._rows[name], self.trial, schema)))
                self._rows[name] = []
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
        path = f"trials/{self.trial}/checkpoint/{self.number}-{step}"
        self.store.create(path, state)
        if self.kept:
            self.store.delete([self.kept])
        self.kept = path
        self._checkpointed = time.monotonic()

    def finish(self, state: State, step: int, **facts: Any) -> bool:
        """Seal the outcome of the trial and delete its segments.

        :param state: final state.
        :param step: optimizer steps done.
        :param facts: further keys of the outcome.
        :return: whether this call sealed the outcome.
        :raises LeaseLostError: if this attempt no longer counts: its driver was superseded, or another attempt began.
        """
        self._seal(step)
        # Read once: if another attempt begins from here on, this outcome is complete all the same.
        begins = self._counting()
        facts |= {"attempt": self.number, "lease": self.lease, "steps": step, "checkpoint": self.kept}
        return seal_outcome(self.store, self.trial, str(self.number), state, begins, None, **facts)
