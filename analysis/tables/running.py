"""The trials that run now, as their sealed segments tell it: how far each is, its loss, and where it runs."""

import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow.compute as pc

from tesseral.study.configuration.trial import State
from tesseral.study.errors import RecordError
from tesseral.study.records.ledger import Entry
from tesseral.study.records.schemas import CURVES
from tesseral.study.records.segments import begin_of, folder, read_segment, tile
from tesseral.study.records.store import Store


@dataclass(frozen=True)
class RunningTrial:
    """A trial that was begun and has no outcome, as of its last sealed segment."""

    trial: str
    arm: str
    stage: str
    attempt: int
    """How many times it was begun."""
    began: datetime
    """When the present attempt was."""
    start: int
    """Optimizer steps that were done then."""
    step: int
    """Optimizer steps done."""
    steps: int
    """Optimizer steps of the whole trial."""
    epoch: int
    epochs: int
    loss: float | None
    """Mean training loss of the last epoch; None before the first."""
    host: str
    """The machine's name, which several nodes may share."""
    address: str
    """Network address of its node; empty without a cluster."""
    node: str
    """Ray's id of its node; empty without a cluster."""
    device: str

    @property
    def done(self) -> float:
        """Share of its steps that is done, 0 to 1."""
        return self.step / self.steps if self.steps else 0.0

    @property
    def place(self) -> str:
        """Where it runs, such as `vm 10.0.0.2 (f00d12)`: the name, the address and the beginning of the node's id."""
        return " ".join(word for word in (self.host, self.address, self.node and f"({self.node[:6]})") if word)


def running_trials(store: Store, entries: Iterable[Entry]) -> list[RunningTrial]:
    """The trials that run, each with its last rows. One that ends meanwhile is left out.

    :param store: the study's records.
    :param entries: from its ledger.
    """
    return [_running(store, entry) for entry in entries if entry.state is State.RUNNING]


def _running(store: Store, entry: Entry) -> RunningTrial:
    begin, configuration = entry.begins[-1], entry.trial.configuration
    step, epoch, loss = _last(store, entry)
    start = max(begin["start"] - 1, 0)
    began = datetime.fromisoformat(begin["began"])
    return RunningTrial(
        trial=entry.id,
        arm=entry.plan["arm"],
        stage=entry.plan["stage"],
        attempt=begin["attempt"],
        began=began if began.tzinfo else began.replace(tzinfo=UTC),
        start=start,
        step=max(step, start),
        steps=entry.plan.get("max_steps") or configuration.max_steps,
        epoch=max(epoch, start // configuration.steps_per_epoch),
        epochs=configuration.training.epochs,
        loss=loss,
        host=begin.get("host", ""),
        address=begin.get("address", ""),
        node=begin.get("node", ""),
        device=begin.get("device", ""),
    )


def _last(store: Store, entry: Entry) -> tuple[int, int, float | None]:
    """Step, epoch and loss of a trial's last row that counts; zeros before the first. A segment may hold no rows."""
    begins = [begin_of(tree, entry.failed) for tree in entry.begins]
    sources, _ = tile(store.paths(folder("curves", entry.id)), entry.id, begins)
    with suppress(RecordError), warnings.catch_warnings():
        for source in reversed(sources):
            table = read_segment(store, source.path, entry.id, CURVES)
            if table is None:
                break  # compacted meanwhile: the trial has ended
            if source.below is not None:
                table = table.filter(pc.less(table["step"], source.below))
            if len(table):
                last = table.sort_by("step").slice(len(table) - 1).to_pylist()[0]
                losses = table.filter(pc.and_(pc.equal(table["split"], "train"), pc.equal(table["metric"], "loss")))
                loss = losses.sort_by("step")["value"][-1].as_py() if len(losses) else None
                return last["step"], last["epoch"], loss
    return 0, 0, None
