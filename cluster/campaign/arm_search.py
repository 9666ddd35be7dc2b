"""The search inside one arm: Optuna proposes, and is rebuilt from records at any start as if it had never stopped."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import atan, isfinite, pi
from typing import Any

import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.trial import TrialState, create_trial

from tesseral.cluster.campaign.samplers import make_sampler
from tesseral.cluster.campaign.suggest import make_ask
from tesseral.study.configuration.trial import State, canonical, seed
from tesseral.study.design.arm import Arm
from tesseral.study.design.parameter import Parameter, cardinality
from tesseral.study.design.stages import Proposal
from tesseral.study.design.study_file import Search
from tesseral.study.errors import RecordError, TesseralError

MAX_REPEATS = 50
"""Repeats running that end an arm's search."""


@dataclass(frozen=True)
class Finding:
    """What is known of a trial."""

    state: State
    values: tuple[float, ...] | None = None
    """Of each objective, at the end of a complete trial."""
    rungs: dict[int, float] = field(default_factory=dict)
    """Epoch → first objective. A pruned trial was stopped at the last one."""


class ArmSearch:
    """Optuna's study of one arm, in memory: every objective is minimised.

    Trials of Optuna have the numbers of proposals. Trials that are not finished are RUNNING. One that failed is FAIL,
    and so is a complete one with a value that is not finite: samplers leave both out. One that was stopped early is
    PRUNED, with its rungs as intermediate values. With several objectives it has none, for TPE would raise on them;
    instead it violates a constraint, by the epochs that it was short of, and among equals by its last rung: TPE
    then ranks it below every complete trial, and above those stopped earlier, as it does with one objective.
    """

    def __init__(
        self,
        arm: Arm,
        search: Search,
        space: Sequence[Parameter],
        study_seed: int,
        proposals: Sequence[Proposal],
        findings: Mapping[str, Finding],
    ) -> None:
        """Rebuild the study from the arm's records.

        A number that is missing among `proposals` (a torn record) becomes a FAIL without parameters.

        :param space: from `read_space`; not used with `search.define`.
        :param findings: by trial id; trials of other arms do not matter.
        :raises RecordError: if two proposals have one number.
        :raises StudyFileError: if `search.define` cannot be imported.
        """
        self._arm = arm
        self._search = search
        self._seed = study_seed
        self._ask = make_ask(arm, search, space)
        self._objectives = len(search.objectives or ("metric",))
        self._cardinality = cardinality(space)
        asked = {proposal.trial for proposal in proposals}
        self._findings = {identity: findings[identity] for identity in asked & findings.keys()}
        self._numbers: dict[str, list[int]] = defaultdict(list)
        self._identities: dict[int, str] = {}
        self._points: set[str] = set()
        self._repeats = 0
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._storage = optuna.storages.InMemoryStorage()
        self.study = optuna.create_study(
            storage=self._storage, study_name=arm.label, directions=["minimize"] * self._objectives
        )
        """To be read, by a mirror for instance."""
        self._id = self._storage.get_study_id_from_name(arm.label)
        by_number = {proposal.number: proposal for proposal in proposals}
        if len(by_number) < len(proposals):
            raise RecordError(f"arm {arm.label!r} has {len(proposals)} proposals with {len(by_number)} numbers")
        for number in range(max(by_number, default=-1) + 1):
            self._add(by_number.get(number))

    @property
    def distinct(self) -> int:
        """Distinct trials that were proposed: what the budget `search.trials` counts."""
        return len(self._numbers)

    @property
    def ended(self) -> str | None:
        """Why nothing more is to be proposed; None while there is more."""
        if self.distinct >= self._search.trials:
            return f"its {self._search.trials} trials are proposed"
        if self._cardinality is not None and len(self._points) >= self._cardinality:
            return f"all {self._cardinality} points of its search space are proposed"
        if self._repeats >= MAX_REPEATS:
            return f"{MAX_REPEATS} proposals running repeated earlier ones"
        return None

    def propose(self, identify: Callable[[dict[str, Any]], str]) -> Proposal:
        """The next proposal, to be recorded before its trial starts. It depends on the records alone.

        A repeat of an earlier trial is told at once what is known of that; it is a new one if `distinct` grew.

        :param identify: from settings (dotted path → value) to the id of the trial that has them.
        :raises TesseralError: if `search.define` or `identify` refuses; the number is then a FAIL.
        """
        number = len(self._trials())
        parts = (self._seed, "search", self._arm.key)
        self.study.sampler = make_sampler(self._search.sampler, seed(*parts, number), seed(*parts), self._search.trials)
        before = self.study_attrs
        trial = self.study.ask()
        try:
            settings = self._ask(trial)
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
            distributions={name: distribution_to_json(of) for name, of in frozen.distributions.items()},
            system_attrs=dict(frozen.system_attrs),
            study_attrs={key: value for key, value in self.study_attrs.items() if before.get(key) != value},
        )
        self._count(proposal)
        for epoch, value in known.rungs.items():
            self._set_rung(number, epoch, value)
        self._finish(number, known)
        return proposal

    def report(self, number: int, epoch: int, value: float) -> None:
        """The first objective of this proposal's trial at a rung; left out if it is not finite."""
        identity = self._identities[number]
        known = self._known(identity)
        self._findings[identity] = replace(known, rungs={**known.rungs, epoch: value})
        for same in self._numbers[identity]:
            self._set_rung(same, epoch, value)

    def tell(self, number: int, finding: Finding) -> None:
        """The end of this proposal's trial, for every proposal that asked for it. Telling the same again does nothing.

        :raises ValueError: if the finding's state is none that ends a trial, or it has another number of values.
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
        """System attributes of the Optuna study."""
        return self._storage.get_study_system_attrs(self._id)

    def _trials(self) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _known(self, identity: str) -> Finding:
        return self._findings.get(identity, Finding(State.PLANNED))

    def _count(self, proposal: Proposal) -> None:
        self._points.add(canonical(proposal.params))
        self._repeats = self._repeats + 1 if proposal.trial in self._numbers else 0
        self._numbers[proposal.trial].append(proposal.number)
        self._identities[proposal.number] = proposal.trial

    def _add(self, proposal: Proposal | None) -> None:
        """One more trial of Optuna, from its record."""
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
        """Epochs that a pruned trial was short of, and its last rung as a number from 0 to 1."""
        epoch, value = max(finding.rungs.items(), default=(0, 0.0))
        return self._arm.configuration.training.epochs - epoch + 0.5 + atan(value) / pi

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
