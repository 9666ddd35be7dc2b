"""A search in one arm: record proposals, judge rungs, take results, choose the best setting."""

from dataclasses import asdict, fields
from typing import Any

from tesseral.cluster.campaign.arm_search import ArmSearch, Finding
from tesseral.cluster.campaign.asha import Halving
from tesseral.cluster.campaign.mirror import Mirror
from tesseral.cluster.planning.plan import StudyPlan
from tesseral.cluster.planning.planned_arm import PlannedArm
from tesseral.study.configuration.trial import State
from tesseral.study.design.search_space import refusal
from tesseral.study.design.stages import Best, Proposal, search_folder
from tesseral.study.design.study_file import Search
from tesseral.study.errors import RecordError, StudyFileError
from tesseral.study.records.attempt import furthest
from tesseral.study.records.document import damaged, read_document, seal
from tesseral.study.records.ledger import Entry
from tesseral.study.records.retry import failed_step
from tesseral.study.records.rungs import check_rungs, read_rungs
from tesseral.study.records.store import Store

RESTORE = "restore it, or give the study another name"
"""What to do about a proposal that is lost: another in its place would exceed the search's budget."""


class SearchStage:
    """One of an arm's independent searches, rebuilt from its records.

    Each proposal is recorded before its trial starts, so a restart makes no decision twice.

    :param plan: the study.
    :param search: its search, with this one's share of the budget as `trials`.
    :param arm: the arm that is searched.
    :param repeat: number of the search among the arm's independent ones, counted from 0.
    :param store: the study's records.
    :param entries: trial id → its records, over the whole study.
    :param mirror: shows the search in an Optuna storage; None for no mirror.
    """

    def __init__(
        self,
        plan: StudyPlan,
        search: Search,
        arm: PlannedArm,
        repeat: int,
        store: Store,
        entries: dict[str, Entry],
        mirror: Mirror | None,
    ) -> None:
        self.plan, self.search, self.arm, self.repeat = plan, search, arm, repeat
        self._store, self._mirror = store, mirror
        self._folder = search_folder(arm.arm.key, repeat)
        self._halving = Halving(plan.rungs(arm), search.asha.reduction if search.asha else 1)
        self._findings: dict[str, Finding] = {}
        self._given: set[str] = set()
        proposals = self._read()
        self._check_complete(proposals, entries)
        for trial in {proposal.trial for proposal in proposals} & entries.keys():
            self._findings[trial] = self._finding(entries[trial])
        self._rebuild(proposals)

    def _read(self) -> list[Proposal]:
        names = [field.name for field in fields(Proposal)]
        own = {"study": self.plan.study.name, "arm": self.arm.arm.key, "repeat": self.repeat}
        proposals = []
        for path in self._store.paths(self._folder):
            number = path.rpartition("/")[2].removesuffix(".json")
            if not number.isdecimal():
                continue
            record = read_document(self._store, path, Proposal, RESTORE, number=int(number), **own)
            if record is not None:
                proposals.append(Proposal(**{name: record[name] for name in names}))
        return proposals

    def _check_complete(self, proposals: list[Proposal], entries: dict[str, Entry]) -> None:
        """Check that no proposal is missing: the sampler would propose another, beyond the budget.

        :raises RecordError: if one is.
        """
        numbers = {proposal.number for proposal in proposals}
        arm = self.arm.arm.label
        own = [e.plan for e in entries.values() if (e.plan["arm"], e.plan.get("block")) == (arm, self.repeat)]
        known = [plan["proposal"] for plan in own if "proposal" in plan]
        for number in range(max([-1, *numbers, *known]) + 1):
            if number not in numbers:
                raise RecordError(
                    f"{self._store.location(f'{self._folder}/{number}.json')} is missing, although the {self.name} "
                    f"went on after it; {RESTORE}"
                )

    def _rebuild(self, proposals: list[Proposal]) -> None:
        study, findings = self.plan.study, self._findings
        # One search an arm, as in studies of a time without repeats, keeps the proposals that it had then.
        several, seed = study.repeats > 1, study.file.study.seed
        self._optuna = ArmSearch(
            self.arm.arm, self.search, self.plan.space, seed, proposals, findings, self.repeat, several
        )
        self._first: dict[str, Proposal] = {}
        # Several proposals can lead to one trial; the first of them stands for it.
        for proposal in proposals:
            self._first.setdefault(proposal.trial, proposal)
        ended = {trial for trial, finding in self._findings.items() if finding.state.finished}
        self._waiting = [trial for trial in self._first if trial not in ended | self._given]
        self._update_mirror()

    def _finding(self, entry: Entry) -> Finding:
        """What a trial's records say about it, in the terms of the search."""
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
        """Epoch → sealed value. Values that a worker sealed after its trial was stopped are left out."""
        steps = entry.trial.configuration.steps_per_epoch
        end = entry.outcome["steps"] if entry.outcome and entry.state == State.PRUNED else entry.plan["max_steps"]
        rungs = {epoch: v for epoch, v in read_rungs(self._store, entry.id).items() if epoch * steps <= end}
        begun = max((begin["start"] for begin in entry.begins), default=0)
        reached = max(begun - 1, entry.outcome.get("steps", 0) if entry.outcome else 0)
        check_rungs(self._store, entry.id, [epoch for epoch in entry.plan.get("rungs", ()) if epoch * steps <= reached])
        # A worker goes on from a rung, and keeps a checkpoint there, after the rung was judged. The checkpoint says so
        # even if the record of its attempt is lost.
        beyond = begun - 1 if entry.outcome else max(begun - 1, furthest(self._store, entry.id))
        if entry.failed:
            beyond = max(beyond, failed_step(self._store, entry.id))
        for epoch, value in rungs.items():
            self._halving.add(entry.id, epoch, value)
            if epoch < max(rungs) or epoch * steps <= beyond:
                self._halving.passed(entry.id, epoch)
        return rungs

    @property
    def name(self) -> str:
        """What sentences call it: `search of arm 'lmax=1'`; one of several, `search 2 of arm 'lmax=1'`."""
        which = f" {self.repeat}" if self.plan.study.repeats > 1 else ""
        return f"search{which} of arm {self.arm.label!r}"

    @property
    def given(self) -> int:
        """Number of distinct trials that were handed out or have ended."""
        return len(self._first) - len(self._waiting)

    @property
    def proposing(self) -> bool:
        """Whether there is, or may be, a trial to hand out."""
        return bool(self._waiting) or self._optuna.ended is None

    @property
    def finished(self) -> bool:
        """Whether the search is over and every proposal has its outcome."""
        return not self.proposing and all(self._known(trial) for trial in self._first)

    def _known(self, trial: str) -> bool:
        return trial in self._findings and self._findings[trial].state.finished

    def facts(self, trial: str) -> dict[str, Any]:
        """Facts that the records of this search's trials hold in addition.

        :param trial: id of a proposed trial.
        """
        return {
            "proposal": self._first[trial].number,
            "settings": self.settings(trial),
            "rungs": list(self.plan.rungs(self.arm)),
            "objective": self.plan.objectives[0],
        }

    def settings(self, trial: str) -> dict[str, Any]:
        """The proposed settings: dotted path → value.

        :param trial: id of a proposed trial.
        """
        return self._first[trial].settings

    def next(self, lease: int) -> tuple[str, PlannedArm] | None:
        """The next trial to run: first proposals without an outcome, then new ones.

        A new proposal is recorded before this returns. Repeats of an earlier trial are recorded and answered from the
        findings; they do not count towards the budget.

        :param lease: the driver's lease number, for the record.
        :returns: the trial's id and the arm with its settings; None if the search is over.
        :raises RecordError: if a proposal's record is damaged.
        """
        while not self._waiting and self._optuna.ended is None:
            proposal = self._optuna.propose(self._identify)
            path = f"{self._folder}/{proposal.number}.json"
            record = asdict(proposal) | {"study": self.plan.study.name, "repeat": self.repeat, "lease": lease}
            if not self._store.create(path, seal(record)):
                # A superseded driver woke up and wrote this number first. Its proposal is as good, so rebuild from the
                # records with it.
                self._rebuild(recorded := self._read())
                if proposal.number not in [other.number for other in recorded]:
                    raise damaged(self._store, path, f"it is not the proposal of number {proposal.number}")
            elif proposal.trial not in self._first:
                self._first[proposal.trial] = proposal
                self._waiting.append(proposal.trial)
            self._update_mirror()
        if not self._waiting:
            return None
        trial = self._waiting.pop(0)
        self._given.add(trial)
        return trial, self.plan.with_settings(self.arm, self.settings(trial))

    def _identify(self, settings: dict[str, Any]) -> str:
        for path in settings:
            if why := refusal(path, (), self.arm.arm.match != "none"):
                raise StudyFileError(f"search.define: {path}", why)
        return self.plan.plan_search(self.plan.with_settings(self.arm, settings), self.repeat).trial.id

    def judge(self, trial: str, epoch: int, value: float) -> str | None:
        """Why the trial is to stop at this rung, or None if it continues. Its value is sealed already.

        :param trial: the trial's id.
        :param epoch: the epoch of the rung.
        :param value: its value there.
        """
        self._optuna.report(self._first[trial].number, epoch, value)
        self._update_mirror()
        return self._halving.judge(trial, epoch, value)

    def tell(self, entry: Entry) -> None:
        """Take the outcome of a trial.

        :param entry: the trial's records, with its outcome.
        """
        self._findings[entry.id] = self._finding(entry)
        self._optuna.tell(self._first[entry.id].number, self._findings[entry.id])
        self._update_mirror()

    def _update_mirror(self) -> None:
        if self._mirror:
            label = f"{self.arm.label}/{self.repeat}" if self.plan.study.repeats > 1 else self.arm.label
            self._mirror.update(label, self._optuna.study)

    def best(self) -> Best:
        """The setting with the lowest final error, which is then confirmed. It is sealed when first chosen."""
        path = f"{self._folder}/best.json"
        names = [field.name for field in fields(Best)]
        sealed = read_document(self._store, path, Best)
        if sealed is None:
            self._store.create(path, seal(asdict(self._choose())))
            sealed = read_document(self._store, path, Best)
        if sealed is None:
            raise damaged(self._store, path, "it was removed as it was read")
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
