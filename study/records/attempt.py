"""One execution of a trial, as its worker records it: begin, seal segments and rungs, keep checkpoints, finish.

The order of writes is what makes every step stand once: a segment is sealed before the checkpoint that follows
it; a later attempt begins at a checkpoint and says at which step; the outcome is sealed last and names the
files that count; only then are segments and checkpoints deleted.
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
"""Times that a trial may lose its worker without a new checkpoint in between."""


def latest_checkpoint(store: Store, trial: str, begins: list[Begin]) -> tuple[int, str] | None:
    """Step and path of the furthest checkpoint that counts: of a counting attempt, below its bound."""
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
    """An execution in progress. It is the recorder that training writes to."""

    store: Store
    trial: str
    number: int
    lease: int
    start: int
    checkpoint: bytes | None
    """Training state to go on from; None at the beginning."""
    seal_every: float = 5.0
    """Seconds between sealed segments, so that a study can be watched."""
    checkpoint_every: float = 30.0
    """Seconds between checkpoints: the most work a kill can cost."""
    on_progress: Callable[[int, int], None] = lambda step, steps: None
    """Called with the steps done and their total after every epoch."""
    rungs: Mapping[int, int] = field(default_factory=dict)
    """Step → epoch at which the trial may be stopped early."""
    objective: str = ""
    """The metric that decides it, such as `validation.l2_error`."""
    on_rung: Callable[[int, float], None] = lambda epoch, value: None
    """Called with a rung's epoch and its sealed value. What it raises ends the execution."""
    parts: int = 1
    """Parts in which a batch is computed."""
    step: int = 0
    """Optimizer steps done, as far as epochs have ended."""
    kept: str | None = None
    """Path of the latest checkpoint, of this attempt or the one that it went on from."""
    _rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in TABLES})
    _began: float = field(default_factory=time.monotonic)
    _sealed: float = field(default_factory=time.monotonic)
    _checkpointed: float = field(default_factory=time.monotonic)

    @classmethod
    def begin(
        cls, store: Store, trial: str, lease_number: int, where: dict[str, Any], **options: Any
    ) -> "Attempt | None":
        """Begin the next attempt of a trial from its furthest checkpoint.

        None if there is nothing to do: the trial is finished, or told to stop, or the driver's lease was superseded.
        A trial that lost its worker three times without a new checkpoint, while one driver lived, is failed here.

        :param where: kept in the attempt's record.
        """
        while store.read(f"trials/{trial}/outcome.json") is None and lease.newest(store) <= lease_number:
            begins = read_begins(store, trial)
            found = latest_checkpoint(store, trial, begins)
            state = store.read(found[1]) if found else None
            if found and state is None:
                continue  # deleted between listing and reading: the trial has just ended
            start = found[0] + 1 if found else 0
            parts = max((begin.parts for begin in begins), default=1)
            parts = options["parts"] = max(parts, options.get("parts", 1))
            if read_pruning(store, trial, lease_number) is not None:
                return None
            # By worker, for one that lives on begins again where its storage failed it.
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
                kept = found[1] if found else None
                step = found[0] if found else 0
                return cls(store, trial, number, lease_number, start, state, step=step, kept=kept, **options)
        return None

    def curves(self, rows: list[dict[str, Any]]) -> None:
        """Take rows of learning curves (without `trial`)."""
        self._rows["curves"] += rows

    def traces(self, rows: list[dict[str, Any]]) -> None:
        """Take rows of feature traces (without `trial`)."""
        self._rows["traces"] += rows

    def boundary(self, step: int, steps: int, state: Callable[[], bytes], metrics: Mapping[str, float]) -> None:
        """After an epoch: seal what is due, then keep a checkpoint if one is due. All rows up to `step` were given.

        One is always due at the end: it holds what was trained, and the outcome names it. At a rung the rows and then
        the rung's value are sealed, then it is judged, and only then is a checkpoint kept: so a trial that goes on
        from beyond a rung was judged there, and one that was killed before meets the rung again.
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
        # An attempt that goes on from a checkpoint does not know how long it took to get there.
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
                # A training that fails leaves rows of the epoch that it was in.
                last = max(step, *(row["step"] for row in self._rows[name]))
                path = f"{folder(name, self.trial)}/{self.number}-{last}.parquet"
                self.store.create(path, encode(rows_to_table(self._rows[name], self.trial, schema)))
                self._rows[name] = []
        self._sealed = time.monotonic()

    def _counting(self) -> list[Begin]:
        """The trial's attempts, if this is the one that goes on.

        :raises LeaseLostError: if not: its worker was thought dead. It must delete nothing and end nothing.
        """
        if lease.newest(self.store) > self.lease:
            raise LeaseLostError(f"lease {self.lease} was superseded; attempt {self.number} does not count")
        begins = read_begins(self.store, self.trial)
        if counting(begins).get(self.number, 0) is not None:
            raise LeaseLostError(f"attempt {self.number} was followed by another; it stops here")
        return begins

    def _keep(self, step: int, state: bytes) -> None:
        self._counting()
        path = f"trials/{self.trial}/checkpoint/{self.number}-{step}"
        self.store.create(path, state)
        if self.kept:
            self.store.delete([self.kept])
        self.kept = path
        self._checkpointed = time.monotonic()

    def finish(self, state: State, step: int, **facts: Any) -> bool:
        """Seal the outcome: compact the tables, name them, then clear what led to them. True if it was ours.

        :raises LeaseLostError: if this attempt no longer counts, for its driver was superseded or another followed.
        """
        self._seal(step)
        # Read once: should another attempt begin from here on, this outcome is whole all the same.
        begins = self._counting()
        facts |= {"attempt": self.number, "lease": self.lease, "steps": step, "checkpoint": self.kept}
        return seal_outcome(self.store, self.trial, str(self.number), state, begins, None, **facts)
