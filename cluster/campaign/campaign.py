"""What a study does next: trials that a kill interrupted, then each arm's searches, then the confirm stage."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any

from tesseral.cluster.campaign.confirm_stage import ConfirmStage, Place
from tesseral.cluster.campaign.display import Display
from tesseral.cluster.campaign.mirror import Mirror
from tesseral.cluster.campaign.search_stage import SearchStage
from tesseral.cluster.execution.executor import Tally
from tesseral.cluster.execution.probe import Sample
from tesseral.cluster.execution.worker import Job
from tesseral.cluster.nodes.provenance import provenance
from tesseral.cluster.planning.cost import SHIPPED, read_rate
from tesseral.cluster.planning.plan import StudyPlan
from tesseral.cluster.planning.planned_arm import PlannedArm
from tesseral.study.configuration.metrics import measured
from tesseral.study.configuration.trial import Cause, State
from tesseral.study.design.search_budget import share_out
from tesseral.study.design.stages import PlannedTrial
from tesseral.study.errors import RecordError
from tesseral.study.records.attempt import furthest
from tesseral.study.records.counted import of_arms
from tesseral.study.records.lease import Lease
from tesseral.study.records.ledger import Entry, Ledger, write_arm, write_plan
from tesseral.study.records.outcome import seal_outcome, sweep
from tesseral.study.records.reuse import ReusableTrials
from tesseral.study.records.rungs import prune, seal_pruning
from tesseral.study.records.store import Store
from tesseral.study.wording import count

OnEnd = Callable[[Entry], None]
"""Called with a trial's records once it has its outcome."""
DueTrial = tuple[PlannedTrial, PlannedArm, dict[str, Any], OnEnd]
"""A trial, its arm with the trial's settings, further facts for its record, and the callback at its end."""


class Campaign:
    """The work of an executor: it suggests jobs, judges rungs and takes the ends of trials.

    It implements `tesseral.cluster.execution.executor.Work`. All of its state is derived from the records, and every
    decision that a restart could not repeat is sealed before it is acted on. Before each write it checks that its
    lease was not superseded: this fences off a driver that was paused while another took over. Before the record of a
    trial, which any driver would write alike, a check of a moment ago will do.

    :param plan: the study, prepared.
    :param store: the study's records.
    :param lease: held by this driver.
    :param ledger: of the same records.
    :param entries: what it holds since the lease was taken.
    :param display: shows the progress.
    :param mirror: shows searches in an Optuna storage; None for no mirror.
    """

    def __init__(
        self,
        plan: StudyPlan,
        store: Store,
        lease: Lease,
        ledger: Ledger,
        entries: Iterable[Entry],
        display: Display,
        mirror: Mirror | None = None,
    ) -> None:
        self.plan, self.display = plan, display
        self._store, self._lease, self._ledger = store, lease, ledger
        file = plan.study.file
        self.resources = file.resources
        largest = (lambda arm: arm.size.flops, lambda arm: arm.size.components * arm.configuration.training.batch_size)
        arms = dict.fromkeys(max(plan.arms, key=size).configuration for size in largest)
        self.sample = Sample(plan.storage, str(plan.study.folder), tuple(arms))
        self._reusable = ReusableTrials(Store(plan.storage), plan.study.name)
        self._provenance = provenance()
        self.reused: Counter[str] = Counter()
        """Study → number of trials that were copied from it."""
        self.given_up: list[str] = []
        """Why trials were given up without an outcome, each reason once."""
        self._traces = file.traces.to_dict()
        self._durations: list[tuple[str, float]] = []
        self._entries = self._recover(entries)
        self._running: dict[str, tuple[int, list[OnEnd]]] = {}
        self._ends: dict[str, Entry | None] = {}
        """Records of trials whose jobs have ended, that are read already."""
        self._waiting = 0
        self._judges: dict[str, SearchStage] = {}
        self._placed = {
            (tree["arm"], tree["block"], tree["replicate"]): entry.id
            for entry in self._entries.values()
            for tree in entry.plans
            if tree["stage"] == "confirm"
        }
        recorded: dict[str, int] = {}
        for label, block, _ in self._placed:
            recorded[label] = max(recorded.get(label, 0), block + 1)
        self._rate = read_rate(plan.storage, file.resources) or SHIPPED
        self._confirm = ConfirmStage(plan, recorded, self._expected)
        self.trials = plan.search_trials + self._confirm.given
        """Trials of the whole study, as far as is known."""
        self._searches = [
            SearchStage(plan, replace(file.search, trials=trials), arm, repeat, store, self._entries, mirror)
            for repeat, trials in enumerate(share_out(file.search.trials, plan.study.repeats) if file.search else ())
            for arm in plan.arms
            if file.search
        ]
        self._unchosen = list(self._searches)
        if not self._searches:
            for arm in plan.arms:
                self._confirm.choose(arm)
        self._steps = {arm.label: arm.steps for arm in plan.arms}
        self._show_start()
        self._ahead = self._find_job()  # so that `done` is known before the first `suggest`

    def _recover(self, recorded: Iterable[Entry]) -> dict[str, Entry]:
        """Complete what a killed driver had begun.

        Outcomes are sealed last: a trial can have files that its outcome replaced, which are swept away, or a decision
        to stop it without the outcome that follows, which is sealed here.
        """
        entries = {entry.id: entry for entry in recorded}
        sweep(self._store, {entry.id: entry.outcome for entry in entries.values() if entry.outcome is not None})
        for entry in [entry for entry in entries.values() if entry.outcome is None]:
            if prune(self._store, entry.id, self._lease.number, adopt=True):
                entries[entry.id] = self._ledger.read(entry.id) or entry
        return entries

    def _show_start(self) -> None:
        """Tell the display how much is left. A trial that several arms share runs once and is shown once."""
        entries = of_arms(self._entries.values(), self._steps)
        steps = sum(self._steps.values()) * (self.trials // len(self.plan.arms))
        for entry in entries:
            times = len(entry.others) + (entry.outcome is not None)
            steps -= self._steps[entry.plan["arm"]] * times
        shared = sum(len(entry.others) for entry in entries)
        finished = sum(entry.outcome is not None for entry in entries)
        self.display.started(self.trials - shared, finished, max(steps, 0))

    @property
    def done(self) -> bool:
        """Whether no job is left and no running job can lead to another."""
        if not self._running and self._ahead is None:
            self._ahead = self._find_job()
        return not self._running

    def suggest(self, waiting: int = 0) -> Job | None:
        """The next job, with its trial recorded; None if there is none now.

        While searches go on, no more jobs wait than there are searches, nor than run: a proposal that waits was made
        before the trials had ended that it could have learnt from.

        :param waiting: number of jobs that were handed out and wait for room.
        :raises LeaseLostError: if another driver has taken over.
        """
        self._waiting = waiting
        searches = sum(stage.proposing for stage in self._searches)
        if searches and waiting >= max(1, min(searches, len(self._running) - waiting)):
            return None
        job, self._ahead = self._ahead or self._find_job(), None
        return job

    def _find_job(self) -> Job | None:
        while (due := self._next()) is not None:
            planned, arm, facts, on_end = due
            trial, steps = planned.trial.id, planned.trial.configuration.max_steps
            self._place(planned)
            entry = self._entries.get(trial)
            if entry is None or (entry.outcome is None and trial not in self._running):
                self._lease.check(fresh=False)
                entry = self._record(planned, arm, facts)
                # A searched batch size changes the steps; a trial that was copied takes none, and no time.
                taken = steps if entry.outcome is None else 0
                self.display.added(0, taken - self._steps[planned.arm.label])
                if entry.outcome is not None:
                    self.display.ended(trial, 0)
            entry = self._entries[trial] = self._join(entry, planned, arm)
            if entry.outcome is not None:
                on_end(entry)
            elif trial in self._running:
                self._running[trial][1].append(on_end)
            else:
                self._running[trial] = (steps, [on_end])
                return self._job(trial, steps)
        return None

    def _place(self, planned: PlannedTrial) -> None:
        """Note which trial stands at a place of the confirm stage, which must never change."""
        place, trial = (planned.arm.label, planned.block, planned.replicate), planned.trial.id
        if planned.stage == "confirm" and self._placed.setdefault(place, trial) != trial:
            raise RecordError(
                f"arm {place[0]!r} was confirmed with another network before, trial {self._placed[place][:10]}; "
                "restore what was changed, or give the study another name"
            )

    def _join(self, entry: Entry, planned: PlannedTrial, arm: PlannedArm) -> Entry:
        """Record that the trial is this arm's too, if another arm chose the same network first."""
        if planned.arm.label in [tree["arm"] for tree in entry.plans]:
            return entry
        if planned.stage == "search":  # each arm stops its trials by its own rungs, so arms share none
            raise RecordError(f"expected a trial to be searched in one arm, got {entry.id[:10]} in two")
        self._check()
        write_arm(self._store, planned, hidden_natural=arm.natural, residual=arm.residual)
        steps = planned.trial.configuration.max_steps
        if of_arms([entry], self._steps):
            self.display.added(-1, -steps)
        elif entry.outcome is not None:  # of an arm that was dropped, so it was not counted before
            self.display.added(0, -steps)
            self.display.ended(entry.id, 0)
        return self._read(entry.id)

    def _next(self) -> DueTrial | None:
        """The next trial, finished or not."""
        while True:
            for stage in [stage for stage in self._unchosen if stage.finished]:
                self._unchosen.remove(stage)
                self._choose(stage)
            going = [stage for stage in self._searches if stage.proposing]
            if not going:
                break
            # All searches advance alike: a sampler learns from ended trials. Of equals, the one of longest trials.
            stage = min(going, key=lambda stage: (stage.given, -self._seconds(stage.arm)))
            if (proposed := stage.next(self._lease.number)) is not None:
                return self._searching(stage, *proposed)
        if (due := self._confirm.next(len(self._running) - self._waiting + 1)) is None:
            return None
        arm, place = due
        return self.plan.plan_confirm(arm, *place[:2]), arm, {}, lambda entry: self._confirmed(place, arm.label, entry)

    def _expected(self, arm: PlannedArm, block: int, replicate: int) -> float:
        """What a trial of the confirm stage will take, s; 0 if it has ended."""
        entry = self._entries.get(self._placed.get((arm.label, block, replicate), ""))
        if entry is not None and entry.outcome is not None:
            return 0.0
        return self._seconds(arm)

    def _seconds(self, arm: PlannedArm) -> float:
        """What a trial that is trained to the end is expected to take, s."""
        return self._rate.trial(arm.size.flops, arm.steps, arm.overheads)

    def _searching(self, stage: SearchStage, trial: str, arm: PlannedArm) -> DueTrial:
        planned = self.plan.plan_search(arm, stage.repeat)
        if planned.trial.id != trial:
            raise RecordError(f"expected the proposal of trial {trial[:10]} to lead to it, got {planned.trial.id[:10]}")
        self._judges[trial] = stage
        return planned, arm, stage.facts(trial), stage.tell

    def _choose(self, stage: SearchStage) -> None:
        best, label = stage.best(), stage.arm.label
        self._grow(best.trials - stage.search.trials, label)
        if best.trials < stage.search.trials:
            self.display.said(f"the {stage.name} ended after {count(best.trials, 'trial')}: {best.reason}")
        if best.trial is not None:
            self._confirm.choose(self.plan.with_settings(stage.arm, best.settings), stage.repeat)
            return
        self._grow(self._confirm.leave_out(stage.arm, stage.repeat), label)
        repeats = self.plan.study.repeats
        where = f" in block {stage.repeat} and every {repeats} blocks after it" if repeats > 1 else ""
        which = f" {stage.repeat}" if repeats > 1 else ""
        self.display.said(f"arm {label!r} is not confirmed{where}: no trial of its search{which} was completed")

    def _confirmed(self, place: Place, label: str, entry: Entry) -> None:
        metrics = (entry.outcome or {}).get("metrics", {}) if entry.state == State.COMPLETE else {}
        error = metrics.get(measured(self.plan.study.file.study.metric or ""))
        self._grow(self._confirm.ended(place, error), label)

    def _grow(self, trials: int, label: str) -> None:
        self.trials += trials
        if trials:
            self.display.added(trials, trials * self._steps[label])

    def _record(self, planned: PlannedTrial, arm: PlannedArm, facts: dict[str, Any]) -> Entry:
        """Write the trial's record; its outcome too, if another study has trained it or its network is refused."""
        trial = planned.trial.id
        written = write_plan(
            self._store,
            planned,
            self.plan.study.name,
            max_steps=planned.trial.configuration.max_steps,
            target=planned.trial.configuration.target.quantity,
            **asdict(arm.size),
            hidden_natural=arm.natural,
            match=planned.arm.match,
            residual=arm.residual,
            unreachable="+".join(arm.unreachable),
            dead=arm.dead,
            dead_irreps=[{"layer": layer, "l": term.l, "p": term.p} for layer, term, _ in arm.facts.dead],
            traces=self._traces,
            provenance=self._provenance,
            **facts,
        )
        if why := self._refusal(arm):
            facts = {"lease": self._lease.number, "reason": why, "cause": Cause.REFUSED}
            seal_outcome(self._store, trial, 0, State.FAILED, [], 0, steps=0, **facts)
        elif name := self._reusable.copy(self._store, trial, self._traces):
            self.reused[name] += 1
        elif written is not None:
            return written
        return self._read(trial)

    def _read(self, trial: str) -> Entry:
        if (entry := self._ledger.read(trial)) is not None:
            return entry
        location = self._store.location(f"trials/{trial}/trial.json")
        raise RecordError(f"{location} is damaged; remove it and run again")

    def _refusal(self, arm: PlannedArm) -> str | None:
        """Why a proposed network is not trained; None if it is. Part of the record: its words stay as they are."""
        if arm.refusal is None and arm.unreachable and not self.plan.study.file.study.allow_unreachable:
            return f"these settings cannot reach {', '.join(arm.unreachable)} of the target"
        return arm.refusal

    def _job(self, trial: str, steps: int) -> Job:
        asked, name, folder = self.resources, self.plan.study.name, str(self.plan.study.folder)
        return Job(
            self.plan.storage,
            name,
            trial,
            self._lease.number,
            steps,
            folder,
            cpus=asked.cpus,
            gpus=1.0 if isinstance(asked.gpus, str) else asked.gpus,
            device=asked.device,
            backend=asked.backend,
            checkpoint_every=asked.checkpoint_every,
            seal_every=asked.seal_every,
        )

    def progress(self, trial: str, step: int) -> None:
        """`step` optimizer steps of this trial are done.

        :param trial: the trial's id.
        :param step: optimizer steps done.
        :raises LeaseLostError: if another driver has taken over.
        """
        if self._lease.lost.is_set():
            self._check()
        self.display.progress(trial, step)

    def judge(self, trial: str, epoch: int, value: float) -> bool:
        """Whether the trial is to be stopped at this rung. A decision to stop is sealed before this returns.

        :param trial: the trial's id.
        :param epoch: the epoch of the rung.
        :param value: its sealed value there.
        :raises LeaseLostError: if another driver has taken over.
        """
        self._check()
        stage = self._judges.get(trial)
        if stage is None or (reason := stage.judge(trial, epoch, value)) is None:
            return False
        step = epoch * (self._running[trial][0] // stage.arm.configuration.training.epochs)
        seal_pruning(self._store, trial, self._lease.number, epoch, step, reason)
        return True

    def read(self, trial: str) -> None:
        """Read the records of a trial whose job has ended, so that `ended` need not wait for the storage.

        :param trial: the trial's id.
        :raises LeaseLostError: if another driver has taken over.
        """
        self._check()
        self._ends[trial] = self._ledger.read(trial)

    def ended(self, trial: str) -> None:
        """Take the end of a trial's job, which ended or was stopped as `judge` decided. Its records say how.

        :param trial: the trial's id.
        :raises LeaseLostError: if another driver has taken over.
        """
        if trial not in self._ends:
            self.read(trial)
        steps, callbacks = self._running.pop(trial)
        entry = self._ends.pop(trial)
        if entry is not None and entry.outcome is None:
            self._check()  # the records may have been read a while ago
            if prune(self._store, trial, self._lease.number):
                entry = self._ledger.read(trial)
        if entry is None or entry.outcome is None:
            self._give_up("its worker left it to another")
            return
        self._judges.pop(trial, None)
        done = min(steps, entry.outcome.get("steps", steps))  # fewer where it was stopped early, or failed
        self.display.added(0, done - steps)
        self.display.ended(trial, done)
        self._entries[trial] = entry
        self._durations.append((entry.plan["arm"], float(entry.outcome.get("seconds") or 0.0)))
        for on_end in callbacks:
            on_end(entry)

    def lost(self, trial: str, reason: str) -> None:
        """Take that a trial's job was given up without an outcome. The next start continues it.

        :param trial: the trial's id.
        :param reason: why, in words.
        :raises LeaseLostError: if another driver has taken over.
        """
        self._check()
        self._running.pop(trial, None)
        self._give_up(reason)

    def kept(self, trial: str) -> int:
        """Step of the trial's last checkpoint; 0 if it has none.

        :param trial: the trial's id.
        """
        return furthest(self._store, trial)

    def say(self, sentence: str) -> None:
        """Tell whoever watches.

        :param sentence: about the machines, such as a node that is lost.
        """
        self.display.said(sentence)

    def tally(self) -> Tally:
        """What is known now of the study's trials; a trial that several arms share counts in each."""
        own = of_arms(list(self._entries.values()), self._steps)
        ended = Counter(entry.state for entry in own if entry.outcome is not None for _ in entry.plans)
        return Tally(self.plan.study.name, self.trials, ended, tuple(self._durations))

    def _give_up(self, reason: str) -> None:
        if reason not in self.given_up:
            self.given_up.append(reason)

    def _check(self) -> None:
        """Stop here if another driver has taken over, or the storage has failed for too long."""
        self._lease.check()
