"""What a study asked, as far as a reader of its findings needs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tesseral.analysis.terms.targets import Group, TargetLabel
from tesseral.study.design.arm import Excluded
from tesseral.study.design.baselines import FACTORS
from tesseral.study.design.labels import short_names
from tesseral.study.design.study_file import Match, Search


@dataclass(frozen=True, kw_only=True)
class ReferenceInfo:
    """Where the reference data come from, and how far the density fit is from the field's density."""

    method: str = ""
    basis: str = ""
    auxiliary_basis: str = ""
    structures: int | None = None
    fit_error: float | None = None
    """Mean over structures of the density fit's own error against the SCF density, percent: the floor of ε."""
    electron_error: float | None = None
    """Mean over structures of |∫fit − electrons|, e."""
    dipole_error: float | None = None
    """Mean over structures of the length of the fit's dipole less the field's, e bohr."""
    self_repulsion_error: float | None = None
    """Mean over structures of 100·|J_fit − J|/J, percent."""


@dataclass(frozen=True, kw_only=True)
class StudyInfo:
    """What was asked, as far as a reader of the findings needs it."""

    name: str
    arms: tuple[str, ...]
    """Labels as in the column `arm`, merged ones joined by ' = '; target by target, else as in the study file."""
    baseline: str
    """The arm that the others of its group are compared with."""
    own_baseline: str = ""
    """The study's own, where a reader may have chosen another; empty: `baseline`."""
    targets: Mapping[str, TargetLabel] = field(default_factory=dict)
    """Arm → what it predicts; the density where it is not named."""
    baselines: Mapping[str, str | None] = field(default_factory=dict)
    """Arm → the arm of its group that it is compared with, itself for a baseline, None where there is none;
    `baseline` where it is not named. See `targets.baselines`."""
    within: tuple[str, ...] = ()
    """Factors at each combination of whose levels arms are compared apart."""
    levels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Arm → dotted path → level as text."""
    metric: str = "test.epsilon"
    """The primary error: a trials column without its leading `metric.`."""
    factors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Dotted path → its levels as text."""
    description: str = ""
    blocks: int
    """Planned ones; with a sequential allocation, those that every arm is given at least."""
    replicates: int
    sequential: bool = False
    """Whether arms are given further blocks until their change is known to `precision`."""
    precision: float | None = None
    """Half-width of the 95 % interval of the paired change at which an arm is given no more blocks, percent."""
    max_blocks: int | None = None
    """Blocks that an arm is given at most by a sequential allocation."""
    design: str = "factorial"
    """`design.kind` of the study file, or 'arms written out'."""
    design_notes: tuple[str, ...] = ()
    """The design's baseline, or its resolution and aliases, a line each."""
    excluded: tuple[Excluded, ...] = ()
    """Arms that a condition left out."""
    match: Match = field(default_factory=Match)
    """How arms were made equal in size."""
    search: Search | None = None
    objectives: tuple[str, ...] = ()
    """What the search minimises, such as `validation.l2_error`; the first one decides."""
    seed: int | None = None
    """The study's seed, from which every trial's seeds follow."""
    reference: ReferenceInfo = field(default_factory=ReferenceInfo)
    study_file: str = ""
    """Text of the frozen study file."""

    @property
    def most_blocks(self) -> int:
        """Blocks that an arm may be given: they decide what the unit of an interval is; see `statistics`."""
        return max(self.blocks, self.max_blocks or 0) if self.sequential else self.blocks

    def target_of(self, arm: str) -> TargetLabel:
        """What an arm predicts."""
        return self.targets.get(arm, TargetLabel())

    def baseline_of(self, arm: str) -> str | None:
        """The arm that an arm is compared with; itself for a baseline."""
        return self.baselines.get(arm, self.baseline)

    @property
    def chosen_baseline(self) -> bool:
        """Whether a reader compares with another arm than the study does."""
        return bool(self.own_baseline) and self.own_baseline != self.baseline

    @property
    def groups(self) -> dict[Group, tuple[str, ...]]:
        """Arms that are compared with one another, by what they share."""
        names = short_names(self.factors)
        found: dict[Group, tuple[str, ...]] = {}
        for arm in self.arms:
            levels = self.levels.get(arm, {})
            shared = tuple(
                (names[path], levels[path]) for path in self.within if path in levels and path not in FACTORS
            )
            group = Group(self.target_of(arm), shared)
            found[group] = (*found.get(group, ()), arm)
        return found

    @property
    def target(self) -> TargetLabel | None:
        """What all arms predict; None where they predict different things."""
        found = {self.target_of(arm) for arm in self.arms}
        return found.pop() if len(found) == 1 else None

    def predicts(self, quantity: str) -> bool:
        """Whether an arm predicts it."""
        return any(self.target_of(arm).quantity == quantity for arm in self.arms)
