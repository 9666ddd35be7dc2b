"""The confirm stage: each arm's chosen settings in every replicate of every block, with more blocks where needed."""

import heapq
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from tesseral.cluster.planning.plan import StudyPlan
from tesseral.cluster.planning.planned_arm import PlannedArm
from tesseral.study.design.allocation import stopped
from tesseral.study.design.baselines import baselines

Place = tuple[int, int, int]
"""(block, replicate, index of the arm). Sorted so, pairs of arms are completed one after the other."""

Search = tuple[int, int]
"""(index of the arm, number of the search among the arm's independent ones)."""

Seconds = Callable[[PlannedArm, int, int], float]
"""What a trial is expected to take: called with its arm, block and replicate."""

TAIL = 2.0
"""Longest trials go first from the moment when what is due would keep the workers busy for no longer than this many
times the longest trial that is due. Until then pairs of arms are completed one after the other."""


def _alike(arm: PlannedArm, block: int, replicate: int) -> float:
    """The cost of a trial where none is known."""
    return 1.0


class ConfirmStage:
    """Hands out the trials that are due, and adds blocks to pairs of arms that are not yet precise.

    Block b of an arm has the setting that search b mod R of the arm chose, where R is the number of its independent
    searches.

    With `allocate = "sequential"`, an arm and its group's baseline get another block once all their trials so far have
    ended, until the paired change is known to `precision` or `max_blocks` are reached. The rule and the measured
    coverage of its interval stand in `tesseral.study.design.allocation`. It looks only at the interval's width, never
    at its sign (Chow & Robbins, Ann. Math. Stat. 36, 457, 1965), so stopping favours no outcome.

    Trials are handed out block by block, and near the end longest first (LPT: Graham, SIAM J. Appl. Math. 17, 416,
    1969), so that the study does not end with one worker at work. No record depends on the order.

    :param plan: the study; nothing is due before `choose`.
    :param recorded: label of an arm → number of blocks that its records reach. They stay given: after failed trials
        were retried, the rule alone might ask for fewer.
    :param seconds: what a trial is expected to take, in any unit; 0 where it has ended. All alike if not given.
    """

    def __init__(
        self, plan: StudyPlan, recorded: Mapping[str, int] = MappingProxyType({}), seconds: Seconds = _alike
    ) -> None:
        self.plan, self._seconds = plan, seconds
        self.replication = plan.study.file.replication
        self._repeats = max(plan.study.repeats, 1)
        self._arms: dict[Search, PlannedArm] = {}
        """The arm with the settings that a search chose."""
        self._without: set[Search] = set()
        """Searches that found nothing."""
        self._due: dict[Place, float] = {}
        """Place → seconds of the trials that are due."""
        self._in_order: list[Place] = []
        """Heap of the places that are due, with others that no longer are."""
        self._by_length: list[tuple[float, Place]] = []
        """The same, longest first: negative seconds and place."""
        self._left = 0.0
        """Seconds of all trials that are due."""
        self._blocks = {
            index: max(self.replication.blocks, recorded.get(arm.label, 0)) for index, arm in enumerate(plan.arms)
        }
        """Index of an arm → number of blocks that it was given, those without a chosen setting included."""
        self._errors: dict[Place, float | None] = {}
        self._indices = {arm.label: index for index, arm in enumerate(plan.arms)}
        self._baselines: dict[int, int] = {}
        """Index of an arm → index of the arm that it is compared with; arms without a comparison are missing."""
        arms = [arm.arm for arm in plan.arms]
        for label, other in baselines(arms, plan.baseline.arm, plan.study.within).items():
            if other is not None and other != label:
                self._baselines[self._indices[label]] = self._indices[other]

    @property
    def given(self) -> int:
        """Number of trials in the blocks that all arms were given."""
        return sum(self._blocks.values()) * self.replication.replicates

    def choose(self, arm: PlannedArm, repeat: int = 0) -> None:
        """Confirm this setting of an arm: those of its blocks that belong to the search become due.

        :param arm: with the settings to confirm.
        :param repeat: number of the search that chose them, counted from 0.
        """
        index = self._indices[arm.label]
        self._arms[index, repeat] = arm
        self._give(index, range(repeat, self._blocks[index], self._repeats))

    def leave_out(self, arm: PlannedArm, repeat: int = 0) -> int:
        """Leave out the blocks of an arm that belong to a search which found nothing.

        :param arm: the arm.
        :param repeat: number of the search, counted from 0.
        :returns: the number of trials that this adds; negative, unless more blocks follow at once.
        """
        index = self._indices[arm.label]
        self._without.add((index, repeat))
        missing = len(range(repeat, self._blocks[index], self._repeats)) * self.replication.replicates
        return self._allocate_pairs(index) - missing

    def _give(self, index: int, blocks: Iterable[int]) -> int:
        """Make trials of an arm due in these blocks, except in those without a chosen setting.

        :returns: their number.
        """
        chosen = [block for block in blocks if (index, block % self._repeats) in self._arms]
        new = [(block, replicate, index) for block in chosen for replicate in range(self.replication.replicates)]
        for place in new:
            self._due[place] = seconds = self._seconds(self._arms[self._search_of(place)], *place[:2])
            self._left += seconds
            heapq.heappush(self._in_order, place)
            heapq.heappush(self._by_length, (-seconds, place))
        return len(new)

    def next(self, workers: int = 1) -> tuple[PlannedArm, Place] | None:
        """The next trial that is due; None if there is none now.

        :param workers: number of trials that run at the same time, this one included.
        """
        if not self._due:
            return None
        while self._in_order[0] not in self._due:
            heapq.heappop(self._in_order)
        while self._by_length[0][1] not in self._due:
            heapq.heappop(self._by_length)
        longest, place = -self._by_length[0][0], self._by_length[0][1]
        if self._left > TAIL * workers * longest:
            place = self._in_order[0]
        self._left -= self._due.pop(place)
        return self._arms[self._search_of(place)], place

    def ended(self, place: Place, error: float | None) -> int:
        """Take the end of a trial.

        :param place: where the trial stands.
        :param error: its test error by the study's metric; None if it has none.
        :returns: the number of trials that this adds.
        """
        self._errors[place] = error
        return self._allocate_pairs(place[2])

    def _allocate_pairs(self, index: int) -> int:
        """Give the pairs of an arm another block where the rule asks for it; return the number of trials added."""
        if self.replication.allocate == "fixed":
            return 0
        touched = [pair for pair in self._baselines.items() if index in pair]
        return sum(self._allocate(*pair) for pair in touched)

    def _allocate(self, index: int, baseline: int) -> int:
        """Give an arm and its baseline another block if the rule asks for it; return the number of trials added."""
        rule, added = self.replication, 0
        if not {index, baseline} <= {arm for arm, _ in self._arms}:
            return 0  # nothing of one of them is confirmed, so they are never compared
        while not added:  # a block without a chosen setting adds no trial, so the rule is asked again
            given = self._blocks[index]
            places = [(block, replicate) for block in range(given) for replicate in range(rule.replicates)]
            if not all(self._has_ended((*place, arm)) for place in places for arm in (index, baseline)):
                break
            errors = [[self._errors.get((*place, arm)) for place in places] for arm in (index, baseline)]
            pairs = [(place[0], *pair) for place, *pair in zip(places, *errors, strict=True)]
            if stopped(pairs, given, rule.blocks, rule.max_blocks or 0, rule.precision or 0.0):
                break
            for arm in (index, baseline):
                added += self._give(arm, range(self._blocks[arm], given + 1))
                self._blocks[arm] = max(self._blocks[arm], given + 1)
        return added

    def _has_ended(self, place: Place) -> bool:
        """Whether nothing more comes of a place: its trial has ended, or its search found nothing."""
        return place in self._errors or self._search_of(place) in self._without

    def _search_of(self, place: Place) -> Search:
        """The search whose setting stands at a place."""
        block, _, index = place
        return index, block % self._repeats
