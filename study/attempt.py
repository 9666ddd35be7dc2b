"""One execution of a trial, as its worker records it: begin, seal segments, keep checkpoints, finish.

The order of writes is what makes every step stand once: a segment is sealed before the checkpoint that follows
it; a later attempt begins at a checkpoint and says at which step; the outcome is sealed last and names the
files that count; only then are segments and checkpoints deleted.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tesseral.study import lease
from tesseral.study.document import read_document
from tesseral.study.errors import LeaseLostError, RecordError, StoreError
from tesseral.study.segments import (
    TABLES,
    Begin,
    counting,
    encode,
    folder,
    is_segment,
    read_counting,
    rows_to_table,
    segment_sources,
)
from tesseral.study.store import STORE_ERRORS, Store
from tesseral.study.trial import State, canonical

_ATTEMPT = re.compile(r"(\d+)\.json")
_CHECKPOINT = re.compile(r"(\d+)-(\d+)")


def read_begins(store: Store, trial: str) -> list[Begin]:
    """The attempts of a trial, by number."""
    begins = []
    for path in _attempts(store, trial).values():
        if tree := read_document(store, path, "attempt", "lease", "start"):
            begins.append(Begin(tree["attempt"], tree["lease"], tree["start"]))
    return sorted(begins, key=lambda b: b.number)


def _attempts(store: Store, trial: str) -> dict[int, str]:
    """Attempt number → path, by name: a number is taken even if its record cannot be read."""
    found = {path: _ATTEMPT.fullmatch(_name(path)) for path in store.paths(f"trials/{trial}/attempts")}
    return {int(match[1]): path for path, match in found.items() if match}


def latest_checkpoint(store: Store, trial: str, begins: list[Begin]) -> tuple[int, str] | None:
    """Step and path of the furthest checkpoint that counts: of a counting attempt, below its bound."""
    bounds = counting(begins)
    best: tuple[int, str] | None = None
    for path in store.paths(f"trials/{trial}/checkpoint"):
        match = _CHECKPOINT.fullmatch(_name(path))
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
    step: int = 0
    """Optimizer steps done, as far as epochs have ended."""
    kept: str | None = None
    """Path of the latest checkpoint, of this attempt or the one that it went on from."""
    _rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in TABLES})
    _sealed: float = field(default_factory=time.monotonic)
    _checkpointed: float = field(default_factory=time.monotonic)

    @classmethod
    def begin(
        cls, store: Store, trial: str, lease_number: int, where: dict[str, Any], **options: Any
    ) -> "Attempt | None":
        """Begin the next attempt of a trial from its furthest checkpoint.

        None if there is nothing to do: the trial is finished, or the driver's lease was superseded.
        """
        while store.read(f"trials/{trial}/outcome.json") is None and lease.newest(store) <= lease_number:
            begins = read_begins(store, trial)
            found = latest_checkpoint(store, trial, begins)
            state = store.read(found[1]) if found else None
            if found and state is None:
                continue  # deleted between listing and reading: the trial has just ended
            start = found[0] + 1 if found else 0
            number = max(_attempts(store, trial), default=0) + 1
            record = {
                "attempt": number,
                "lease": lease_number,
                "start": start,
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

    def boundary(self, step: int, steps: int, state: Callable[[], bytes]) -> None:
        """After an epoch: seal what is due, then keep a checkpoint if one is due. All rows up to `step` were given.

        One is always due at the end: it holds what was trained, and the outcome names it.
        """
        try:
            self._boundary(step, steps, state)
        except STORE_ERRORS as error:
            raise StoreError(f"the records of trial {self.trial[:10]} cannot be written: {error}") from error
        self.step = step
        self.on_progress(step, steps)

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
                path = f"{folder(name, self.trial)}/{self.number}-{step}.parquet"
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
        files: dict[str, int] = {}
        for name, schema in TABLES.items():
            sources = segment_sources(self.store.paths(folder(name, self.trial)), self.trial, begins)
            try:
                table = read_counting(self.store, sources, schema)
            except FileNotFoundError:
                return False  # another attempt has sealed the outcome and cleared the segments
            except RecordError as error:
                # What a disk has lost cannot be made up for: the trial is told failed, and the study goes on.
                state, facts = State.FAILED, facts | {"reason": str(error)}
                continue
            path = f"{folder(name, self.trial)}/{self.number}-all.parquet"
            self.store.create(path, encode(table))
            files[path] = table.num_rows
        outcome = {
            "state": state,
            "attempt": self.number,
            "lease": self.lease,
            "attempts": len(begins),
            "steps": step,
            "files": files,
            "checkpoint": self.kept if state == State.COMPLETE else None,
            "ended": datetime.now(UTC).isoformat(),
            **facts,
        }
        ours = self.store.create(f"trials/{self.trial}/outcome.json", canonical(outcome).encode())
        clear(self.store, self.trial)
        return ours


def clear(store: Store, trial: str) -> None:
    """Delete the segments and checkpoints of a finished trial that its outcome does not name."""
    outcome = read_document(store, f"trials/{trial}/outcome.json", "files", "checkpoint")
    if outcome is None:
        return
    kept = {*outcome["files"], outcome["checkpoint"]}
    found = [path for name in TABLES for path in store.paths(folder(name, trial)) if is_segment(path)]
    found += [path for path in store.paths(f"trials/{trial}/checkpoint") if _CHECKPOINT.fullmatch(_name(path))]
    store.delete([path for path in found if path not in kept])


def _name(path: str) -> str:
    return path.rpartition("/")[2]
