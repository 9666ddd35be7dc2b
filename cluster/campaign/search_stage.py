"""The search of one arm: proposals recorded before they are trained, results told, the best setting chosen."""

from dataclasses import asdict, fields
from typing import Any

from tesseral.cluster.campaign.arm_search import ArmSearch, Finding
from tesseral.cluster.campaign.asha import Halving
from tesseral.cluster.campaign.mirror import Mirror
from tesseral.cluster.planning.plan import ArmPlan, Sized, StudyPlan
from tesseral.study.configuration.trial import State, canonical
from tesseral.study.design.search_space import refusal
from tesseral.study.design.stages import Best, Proposal
from tesseral.study.design.study_file import Search
from tesseral.study.errors import RecordError, StudyFileError
from tesseral.study.records.ledger import Entry
from tesseral.study.records.rungs import read_rungs
from tesseral.study.records.store import Store, read_document


class SearchStage:
    """One arm's search, rebuilt from its records.

    :param entries: trial id → what the records say of it, of the whole study.
    """

    def __init__(
        self,
        plan: StudyPlan,
        search: Search,
        arm: ArmPlan,
        store: Store,
        entries: dict[str, Entry],
        mirror: Mirror | None,
    ) -> None:
        self.plan, self.search, self.arm = plan, search, arm
        self._store, self._mirror = store, mirror
        self._folder = f"search/{arm.arm.key}"
        self._halving = Halving(plan.rungs(arm), search.asha.reduction if search.asha else 1)
        self._findings: dict[str, Finding] = {}
        self._given: set[str] = set()
        proposals = self._read()
        for trial in {proposal.trial for proposal in proposals} & entries.keys():
            self._findings[trial] = self._finding(entries[trial])
        self._rebuild(proposals)

    def _read(self) -> list[Proposal]:
        names = [field.name for field in fields(Proposal)]
        paths = [p for p in self._store.paths(self._folder) if p.rpartition("/")[2].removesuffix(".json").isdecimal()]
        records = [record for path in paths if (record := read_document(self._store, path, *names)) is not None]
        return [Proposal(**{name: record[name] for name in names}) for record in records]

    def _rebuild(self, proposals: list[Proposal]) -> None:
        seed = self.plan.study.file.study.seed
        self._optuna = ArmSearch(self.arm.arm, self.search, self.plan.space, seed, proposals, self._findings)
        self._first: dict[str, Proposal] = {}
        for proposal in proposals:
            self._first.setdefault(proposal.trial, proposal)
        ended = {trial for trial, finding in self._findings.items() if finding.state.finished}
        self._left = [trial for trial in self._first if trial not in ended | self._given]
        self._show()

    def _finding(self, entry: Entry) -> Finding:
        """What an entry tells Optuna."""
        rungs = self._rungs(entry) if self._halving.values else {}
        if entry.outcome is None:
            return Finding(State.PLANNED, None, rungs)
        facts = {name: entry.plan.get(name) for name in ("parameters", "flops")}
        facts |= {"seconds": entry.outcome.get("seconds")} | entry.outcome.get("metrics", {})
        values = [facts.get(name) for name in self.plan.objectives]
        if entry.state == State.COMPLETE and None not in values:
            return Finding(State.COMPLETE, tuple(float(value) for value in values if value is not None), rungs)
        return Finding(State.PRUNED if entry.state == State.PRUNED else State.FAILED, None, rungs)

    def _rungs(self, entry: Entry) -> dict[int, float]:
        """Its sealed values; of a trial that was stopped, not those that its worker sealed before it heard of it."""
        steps = entry.trial.configuration.steps_per_epoch
        end = entry.outcome["steps"] if entry.outcome and entry.state == State.PRUNED else entry.plan["max_steps"]
        rungs = {epoch: v for epoch, v in read_rungs(self._store, entry.id).items() if epoch * steps <= end}
        begun = max((begin["start"] for begin in entry.begins), default=0)
        for epoch, value in rungs.items():
            self._halving.add(entry.id, epoch, value)
            if epoch < max(rungs) or epoch * steps < begun:  # a checkpoint there is kept once the rung was judged
                self._halving.passed(entry.id, epoch)
        return rungs

    @property
    def given(self) -> int:
        """Distinct trials that were handed out or are finished."""
        return len(self._first) - len(self._left)

    @property
    def proposing(self) -> bool:
        """Whether there is a trial to hand out."""
        return bool(self._left) or self._optuna.ended is None

    @property
    def finished(self) -> bool:
        """Whether nothing more is proposed, and every proposal has its outcome."""
        return not self.proposing and all(self._known(trial) for trial in self._first)

    def _known(self, trial: str) -> bool:
        return trial in self._findings and self._findings[trial].state.finished

    def facts(self, trial: str) -> dict[str, Any]:
        """What the record of a trial of this search holds besides."""
        return {
            "proposal": self._first[trial].number,
            "settings": self.settings(trial),
            "rungs": list(self.plan.rungs(self.arm)),
            "objective": self.plan.objectives[0],
        }

    def settings(self, trial: str) -> dict[str, Any]:
        """What was proposed: dotted path → value."""
        return self._first[trial].settings

    def next(self, lease: int) -> tuple[str, Sized] | None:
        """A trial's id and network: first those without an outcome, then new proposals; None if there are no more.

        The proposal is recorded when this returns. Repeats are answered from the findings, and not counted.
        """
        while not self._left and self._optuna.ended is None:
            proposal = self._optuna.propose(self._identify)
            path = f"{self._folder}/{proposal.number}.json"
            if not self._store.create(path, canonical(asdict(proposal) | {"lease": lease}).encode()):
                # A driver that was paused past its lease woke and wrote this number; what it asked is as good.
                self._rebuild(recorded := self._read())
                if proposal.number not in [other.number for other in recorded]:
                    raise RecordError(f"{self._store.location(path)} is damaged; remove it and run again")
            elif proposal.trial not in self._first:
                self._first[proposal.trial] = proposal
                self._left.append(proposal.trial)
            self._show()
        if not self._left:
            return None
        trial = self._left.pop(0)
        self._given.add(trial)
        return trial, self.plan.sized(self.arm, self.settings(trial))

    def _identify(self, settings: dict[str, Any]) -> str:
        for path in settings:
            if why := refusal(path, (), self.arm.arm.match != "none"):
                raise StudyFileError(f"search.define: {path}", why)
        return self.plan.searching(self.arm, self.plan.sized(self.arm, settings)).trial.id

    def judge(self, trial: str, epoch: int, value: float) -> str | None:
        """Why the trial is to stop at this rung; None if it goes on. The value was sealed before."""
        self._optuna.report(self._first[trial].number, epoch, value)
        self._show()
        return self._halving.judge(trial, epoch, value)

    def tell(self, entry: Entry) -> None:
        """A trial has its outcome."""
        self._findings[entry.id] = self._finding(entry)
        self._optuna.tell(self._first[entry.id].number, self._findings[entry.id])
        self._show()

    def _show(self) -> None:
        if self._mirror:
            self._mirror.update(self.arm.label, self._optuna.study)

    def best(self) -> Best:
        """The setting of the lowest error at the end, sealed once: what the arm is confirmed with."""
        path = f"{self._folder}/best.json"
        names = [field.name for field in fields(Best)]
        if (sealed := read_document(self._store, path, *names)) is None:
            self._store.create(path, canonical(asdict(self._choose())).encode())
            if (sealed := read_document(self._store, path, *names)) is None:
                raise RecordError(f"{self._store.location(path)} is damaged; remove it and run again")
        return Best(**{name: sealed[name] for name in names})

    def _choose(self) -> Best:
        complete = [
            (finding.values[0], self._first[trial].number, trial)
            for trial, finding in self._findings.items()
            if finding.state == State.COMPLETE and finding.values
        ]
        reason = self._optuna.ended or ""
        if not complete:
            return Best(None, {}, None, len(self._first), reason)
        value, _, trial = min(complete)
        return Best(trial, self.settings(trial), value, len(self._first), reason)
