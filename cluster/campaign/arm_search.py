"""A search inside one arm. Optuna proposes; its state is rebuilt from the records at every start."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import atan, isfinite, pi
from typing import Any

import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.trial import TrialState, create_trial

from tesseral.cluster.campaign.samplers import make_sampler
from tesseral.cluster.campaign.suggest import make_suggest
from tesseral.study.configuration.trial import State, canonical, seed
from tesseral.study.design.arm import Arm
from tesseral.study.design.parameter import Parameter, cardinality
from tesseral.study.design.stages import Proposal, repeat_parts
from tesseral.study.design.study_file import Search
from tesseral.study.errors import RecordError, TesseralError

MAX_REPEATED = 50
"""Consecutive proposals of earlier trials that end a search."""


@dataclass(frozen=True)
class Finding:
    """What is known about a trial of the search."""

    state: State
    values: tuple[float, ...] | None = None
    """One value for each objective, at the end of a complete trial."""
    rungs: dict[int, float] = field(default_factory=dict)
    """Epoch → first objective. A pruned trial was stopped at its last rung."""


class ArmSearch:
    """The Optuna study of one search, in memory. Every objective is minimised.

    Optuna's trials have the numbers of the proposals, and these states:

    - RUNNING: not finished yet.
    - COMPLETE: complete, with finite values.
    - FAIL: failed, or complete with a value that is not finite. Samplers ignore both.
    - PRUNED: stopped early, with its rungs as intermediate values. TPE raises on intermediate values if there are
      several objectives. There the trial violates a constraint instead: by the epochs that it lacked, and among equals
      by its last rung. TPE then ranks it as it does with one objective: below every complete trial, and above trials
      that were stopped earlier.
    """

    def __init__(
        self,
        arm: Arm,
        search: Search,
        space: Sequence[Parameter],
        study_seed: int,
        proposals: Sequence[Proposal],
        findings: Mapping[str, Finding],
        repeat: int = 0,
        common: bool = False,
    ) -> None:
        """Rebuild the study from the search's records.

        A number that is missing among `proposals` (a torn record) becomes a FAIL without parameters, so that later
        proposals keep their numbers.

        :param search: with this search's own budget as `trials`.
        :param space: from `read_space`; not used with `search.define`.
        :param study_seed: `study.seed`; the sampler's seed is derived from it, the arm, `repeat` and the proposal's
            number.
        :param proposals: the search's recorded proposals, in any order.
        :param findings: trial id → finding; trials of other searches are ignored.
        :param repeat: number of the search among the arm's independent ones, counted from 0.
        :param common: leave the arm out of the sampler's seed. What a sampler proposes before it knows results is then
            equal in all arms of one space, and what such a proposal costs an arm cancels in the pair.
        :raises RecordError: if two proposals have the same number.
        :raises StudyFileError: if `search.define` cannot be imported.
        """
        self._arm = arm
        self._search = search
        self._seeds = (study_seed, "search", "common" if common else arm.key, *repeat_parts(repeat))
        self._suggest = make_suggest(arm, search, space)
        self._objectives = len(search.objectives or ("metric",))
        self._cardinality = cardinality(space)
        proposed = {proposal.trial for proposal in proposals}
        self._findings = {identity: findings[identity] for identity in proposed & findings.keys()}
        self._numbers: dict[str, list[int]] = defaultdict(list)
        self._identities: dict[int, str] = {}
        self._points: set[str] = set()
        self._repeated = 0
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._storage = optuna.storages.InMemoryStorage()
        self.study = optuna.create_study(
            storage=self._storage, study_name=arm.label, directions=["minimize"] * self._objectives
        )
        """Its Optuna study; others, such as `Mirror`, only read it."""
        self._id = self._storage.get_study_id_from_name(arm.label)
        by_number = {proposal.number: proposal for proposal in proposals}
        if len(by_number) < len(proposals):
            raise RecordError(f"arm {arm.label!r} has {len(proposals)} proposals with {len(by_number)} numbers")
        for number in range(max(by_number, default=-1) + 1):
            self._add(by_number.get(number))

    @property
    def distinct(self) -> int:
        """Number of distinct trials proposed so far. The budget `search.trials` counts these."""
        return len(self._numbers)

    @property
    def ended(self) -> str | None:
        """Why the search is over; None while it goes on."""
        # Part of the records (`best.json`): the words stay as they are.
        if self.distinct >= self._search.trials:
            return f"its {self._search.trials} trials are proposed"
        if self._cardinality is not None and len(self._points) >= self._cardinality:
            return f"all {self._cardinality} points of its search space are proposed"
        if self._repeated >= MAX_REPEATED:
            return f"{MAX_REPEATED} proposals running repeated earlier ones"
        return None

    def propose(self, identify: Callable[[dict[str, Any]], str]) -> Proposal:
        """Make the next proposal, to be recorded before its trial starts. It depends on the records alone.

        A proposal can repeat an earlier trial. It then takes over at once what is known about that trial, and
        `distinct` stays as it was.

        :param identify: takes settings (dotted path → value) and returns the id of the trial that has them.
        :raises TesseralError: if `search.define` or `identify` rejects the settings; the number then becomes a FAIL.
        """
        number = len(self._trials())
        own, common = seed(*self._seeds, number), seed(*self._seeds)
        self.study.sampler = make_sampler(self._search.sampler, own, common, self._search.trials)
        before = self.study_attrs
        trial = self.study.ask()
        try:
            settings = self._suggest(trial)
            identity = identify(settings)
        except TesseralError:
            self.study.tell(number, state=TrialState.FAIL)
            raise
        frozen = self._trials()[number]
        known = self._known(identity)
        proposal = Proposal(
            arm=self._arm.key,
            number=number,
            trial=identity,
            settings=settings,
            params=dict(frozen.params),
            distributions={
                name: distribution_to_json(distribution) for name, distribution in frozen.distributions.items()
            },
            system_attrs=dict(frozen.system_attrs),
            study_attrs={key: value for key, value in self.study_attrs.items() if before.get(key) != value},
        )
        self._count(proposal)
        for epoch, value in known.rungs.items():
            self._set_rung(number, epoch, value)
        self._finish(number, known)
        return proposal

    def report(self, number: int, epoch: int, value: float) -> None:
        """Take the first objective of this proposal's trial at a rung. Optuna sees only finite values.

        :param number: number of the proposal.
        :param epoch: the epoch of the rung.
        :param value: the first objective there.
        """
        identity = self._identities[number]
        known = self._known(identity)
        self._findings[identity] = replace(known, rungs={**known.rungs, epoch: value})
        for same in self._numbers[identity]:
            self._set_rung(same, epoch, value)

    def tell(self, number: int, finding: Finding) -> None:
        """Take the end of this proposal's trial, for every proposal of it. Repeating the call changes nothing.

        :param number: number of the proposal.
        :param finding: how its trial ended.
        :raises ValueError: if the trial has not ended, or the number of values is not that of the objectives.
        """
        if not finding.state.finished:
            raise ValueError(f"expected a finding that is complete, pruned or failed, got {finding.state}")
        identity = self._identities[number]
        finding = replace(finding, rungs={**self._known(identity).rungs, **finding.rungs})
        self._findings[identity] = finding
        for same in self._numbers[identity]:
            for epoch, value in finding.rungs.items():
                self._set_rung(same, epoch, value)
            self._finish(same, finding)

    @property
    def study_attrs(self) -> dict[str, Any]:
        """System attributes of the Optuna study: what QMC and NSGA-II remember."""
        return self._storage.get_study_system_attrs(self._id)

    def _trials(self) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _known(self, identity: str) -> Finding:
        return self._findings.get(identity, Finding(State.PLANNED))

    def _count(self, proposal: Proposal) -> None:
        self._points.add(canonical(proposal.params))
        self._repeated = self._repeated + 1 if proposal.trial in self._numbers else 0
        self._numbers[proposal.trial].append(proposal.number)
        self._identities[proposal.number] = proposal.trial

    def _add(self, proposal: Proposal | None) -> None:
        """Add the trial of a recorded proposal to Optuna's study; None stands for a lost record."""
        if proposal is None:
            self.study.add_trial(create_trial(state=TrialState.FAIL))
            return
        self._count(proposal)
        for key, value in proposal.study_attrs.items():
            self._storage.set_study_system_attr(self._id, key, value)
        known = self._known(proposal.trial)
        rungs = {epoch: value for epoch, value in known.rungs.items() if isfinite(value)}
        running = create_trial(
            state=TrialState.RUNNING,
            params=proposal.params,
            distributions={name: json_to_distribution(text) for name, text in proposal.distributions.items()},
            system_attrs=proposal.system_attrs,
            intermediate_values=rungs if self._objectives == 1 else {},
        )
        self.study.add_trial(running)
        self._finish(proposal.number, known)

    def _set_rung(self, number: int, epoch: int, value: float) -> None:
        trial = self._trials()[number]
        if self._objectives == 1 and trial.state == TrialState.RUNNING and isfinite(value):
            self._storage.set_trial_intermediate_value(self._trial_id(number), epoch, value)

    def _finish(self, number: int, finding: Finding) -> None:
        if not finding.state.finished or self._trials()[number].state.is_finished():
            return
        if finding.state is State.COMPLETE:
            values = finding.values or ()
            if len(values) != self._objectives:
                raise ValueError(f"expected {self._objectives} values of a complete trial, got {len(values)}")
            if all(isfinite(value) for value in values):
                self.study.tell(number, values)
                return
        if finding.state is State.PRUNED:
            if self._objectives > 1:
                optuna.Trial(self.study, self._trial_id(number)).set_constraint("stopped", self._shortfall(finding))
            self.study.tell(number, state=TrialState.PRUNED)
        else:
            self.study.tell(number, state=TrialState.FAIL)

    def _shortfall(self, finding: Finding) -> float:
        """Epochs that a pruned trial lacked, plus its last rung mapped into (0, 1)."""
        epoch, value = max(finding.rungs.items(), default=(0, 0.0))
        return self._arm.configuration.training.epochs - epoch + 0.5 + atan(value) / pi

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
