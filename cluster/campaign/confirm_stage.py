"""The confirm stage: each arm's best setting in every replicate of every block, with more blocks where needed."""

import heapq

from tesseral.cluster.planning.plan import StudyPlan
from tesseral.cluster.planning.planned_arm import PlannedArm
from tesseral.study.design.allocation import stopped
from tesseral.study.design.baselines import baselines

Place = tuple[int, int, int]
"""(block, replicate, index of the arm). Sorted so, pairs of arms are completed one after the other."""


class ConfirmStage:
    """Hands out the trials that are due, and adds blocks to pairs of arms that are not yet precise.

    With `allocate = "sequential"`, an arm and its group's baseline get another block once all their trials so far have
    ended, until the paired change is known to `precision` or `max_blocks` are reached. The rule and the measured
    coverage of its interval stand in `tesseral.study.design.allocation`. It looks only at the interval's width, never
    at its sign (Chow & Robbins, Ann. Math. Stat. 36, 457, 1965), so stopping favours no outcome.

    :param plan: the study; nothing is due before `choose`.
    """

    def __init__(self, plan: StudyPlan) -> None:
        self.plan = plan
        self.replication = plan.study.file.replication
        self._arms: dict[int, PlannedArm] = {}
        self._due: list[Place] = []
        self._blocks: dict[int, int] = {}
        self._errors: dict[Place, float | None] = {}
        self._indices = {arm.label: index for index, arm in enumerate(plan.arms)}
        self._baselines: dict[int, int] = {}
        """Index of an arm → index of the arm that it is compared with; arms without a comparison are missing."""
        arms = [arm.arm for arm in plan.arms]
        for label, other in baselines(arms, plan.baseline.arm, plan.study.within).items():
            if other is not None and other != label:
                self._baselines[self._indices[label]] = self._indices[other]

    def choose(self, arm: PlannedArm) -> None:
        """Confirm an arm with this network: its first blocks become due.

        :param arm: with the settings to confirm.
        """
        index = self._indices[arm.label]
        self._arms[index] = arm
        self._give(index, self.replication.blocks)

    def _give(self, index: int, blocks: int) -> int:
        """Give an arm at least so many blocks.

        :returns: the number of trials that this adds.
        """
        before = self._blocks.get(index, 0)
        new = [(b, r, index) for b in range(before, blocks) for r in range(self.replication.replicates)]
        for place in new:
            heapq.heappush(self._due, place)
        self._blocks[index] = max(before, blocks)
        return len(new)

    def next(self) -> tuple[PlannedArm, Place] | None:
        """The next trial that is due; None if there is none now."""
        if not self._due:
            return None
        place = heapq.heappop(self._due)
        return self._arms[place[2]], place

    def ended(self, place: Place, error: float | None) -> int:
        """Take the end of a trial.

        :param place: where the trial stands.
        :param error: its test error by the study's metric; None if it has none.
        :returns: the number of trials that this adds.
        """
        self._errors[place] = error
        if self.replication.allocate == "fixed":
            return 0
        touched = [pair for pair in self._baselines.items() if place[2] in pair]
        return sum(self._allocate(*pair) for pair in touched if self._arms.keys() >= set(pair))

    def _allocate(self, index: int, baseline: int) -> int:
        """Give an arm and its baseline another block if the rule asks for it; return the number of trials added."""
        rule, given = self.replication, self._blocks[index]
        places = [(block, replicate) for block in range(given) for replicate in range(rule.replicates)]
        if any((*place, arm) not in self._errors for place in places for arm in (index, baseline)):
            return 0
        pairs = [(place[0], self._errors[*place, index], self._errors[*place, baseline]) for place in places]
        if stopped(pairs, given, rule.blocks, rule.max_blocks or 0, rule.precision or 0.0):
            return 0
        return self._give(index, given + 1) + self._give(baseline, given + 1)
