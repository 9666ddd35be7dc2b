"""The settings of a study that a report needs: arms, targets, baselines, design and reference data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from tesseral.analysis.terms.estimate import Aggregate
from tesseral.analysis.terms.sampling import Sampling
from tesseral.analysis.terms.shown_units import ShownUnits
from tesseral.analysis.terms.targets import Group, TargetLabel
from tesseral.study.design.arm import Excluded
from tesseral.study.design.baselines import FACTORS
from tesseral.study.design.labels import short_names
from tesseral.study.design.search_space import tunes
from tesseral.study.design.study_file import Match, Search
from tesseral.study.records.growth import Dropped, Grown
from tesseral.study.records.rate_scan import SETTING, RateScan


@dataclass(frozen=True, kw_only=True)
class ReferenceInfo:
    """The method behind the reference data, and the errors of the density fit against the SCF density."""

    method: str = ""
    basis: str = ""
    auxiliary_basis: str = ""
    structures: int | None = None
    fit_error: float | None = None
    """Mean over structures of ε of the fitted density against the SCF density, percent: the fit floor."""
    electron_error: float | None = None
    """Mean over structures of |∫ρ_fit − N|, N the number of electrons, e."""
    dipole_error: float | None = None
    """Mean over structures of |μ_fit − μ_SCF|, e bohr."""
    self_repulsion_error: float | None = None
    """Mean over structures of 100·|J_fit − J|/J, percent."""


@dataclass(frozen=True, kw_only=True)
class StudyInfo:
    """What a study asked, as far as a report needs it."""

    name: str
    arms: tuple[str, ...]
    """Labels as in the column `arm`, merged ones joined by ' = '; grouped by target, otherwise as in the study file."""
    baseline: str
    """The arm that the others of its group are compared with."""
    own_baseline: str = ""
    """The study's own baseline, if a reader chose another one; empty if it is `baseline`."""
    targets: Mapping[str, TargetLabel] = field(default_factory=dict)
    """Arm → what it predicts; the density for arms that are not listed."""
    baselines: Mapping[str, str | None] = field(default_factory=dict)
    """Arm → the arm of its group that it is compared with: itself for a baseline, None if there is none, and `baseline`
    for arms that are not listed. See `study.design.baselines`."""
    within: tuple[str, ...] = ()
    """Factors whose levels divide the arms into groups; arms are compared within a group only."""
    levels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Arm → dotted path → level as text."""
    metric: str = "test.epsilon"
    """The primary error: a trials column without its leading `metric.`."""
    tests: tuple[str, ...] = ()
    """Names of the test sets of their own that any arm has."""
    published: bool = False
    """Whether any arm is tested on a published test split."""
    factors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Dotted path → its levels as text."""
    description: str = ""
    blocks: int
    """Planned blocks; with a sequential allocation, the smallest number that every arm is given."""
    replicates: int
    folds: bool = False
    """Whether test splits of blocks are disjoint folds of the data."""
    sequential: bool = False
    """Whether arms are given more blocks until their change is known to `precision`."""
    precision: float | None = None
    """Half-width of the 95 % interval of the paired change below which an arm is given no more blocks, percent."""
    max_blocks: int | None = None
    """Largest number of blocks of an arm in a sequential allocation."""
    design: str = "factorial"
    """`design.kind` of the study file, or 'arms written out'."""
    design_notes: tuple[str, ...] = ()
    """Baseline of the design, or its resolution and aliases, one line each."""
    excluded: tuple[Excluded, ...] = ()
    """Arms that a condition excludes."""
    match: Match = field(default_factory=Match)
    """How arms were made equal in size."""
    overlaps: Mapping[str, float] = field(default_factory=dict)
    """Arm → test structures over training structures, which widens intervals for new data; see
    `terms.sampling`."""
    held: tuple[int, ...] = ()
    """Sizes of its hold-outs: structures that no search saw, from which test splits are drawn."""
    holds_out: bool = True
    """Whether its searches, if there are any, had a hold-out kept from them."""
    aggregate: Aggregate = "mean"
    """What is taken over units: their mean or their interquartile mean."""
    margin: float = 2.0
    """Change of the error that is of no consequence, δ, percent; see `statistics.comparisons.steps`."""
    search: Search | None = None
    searches: int = 0
    """Number R of independent searches in each arm; 0 without a search. Block b has the setting of search b mod R."""
    objectives: tuple[str, ...] = ()
    """Objectives of the search, such as `validation.l2_error`; the first one decides."""
    scan: RateScan | None = None
    """The recorded scan of the learning rate; None if there is none of these settings."""
    seed: int | None = None
    """The study's seed, from which every trial's seeds follow."""
    reference: ReferenceInfo = field(default_factory=ReferenceInfo)
    grouped_by: tuple[str, ...] = ()
    """Values of `data.groups` among the arms: what structures have in common that one split holds together."""
    grown: tuple[Grown, ...] = ()
    """How it grew after its start, in order."""
    dropped: tuple[Dropped, ...] = ()
    """Arms that were dropped; `arms` are the others."""
    densities: int = 0
    """Validation structures on which metrics that need a grid are measured during training; `traces.densities`."""
    units: ShownUnits = field(default_factory=ShownUnits)
    """Units in which errors are to be shown; tables as they are opened have those of reference data."""
    doubts: tuple[str, ...] = ()
    """Sentences on reference data that cannot be read, or are not what the trials were trained on."""
    study_file: str = ""
    """Text of the frozen study file."""

    @property
    def most_blocks(self) -> int:
        """Largest number of blocks of an arm."""
        return max(self.blocks, self.max_blocks or 0) if self.sequential else self.blocks

    @property
    def sampling(self) -> Sampling:
        """How its trials were sampled, which decides the units of intervals and what they hold for."""
        return self.sampling_of(self.metric)

    def sampling_of(self, metric: str) -> Sampling:
        """How its trials were sampled for another error than the study's: one on a test set has other structures.

        :param metric: such as `test.epsilon`.
        """
        fixed = self.published or metric.partition(".")[0] in self.tests or inf in self.overlaps.values()
        return Sampling(self.most_blocks, self.searches, self.overlaps, self.aggregate, fixed)

    @property
    def shares_rate(self) -> bool:
        """Whether arms differ in their network and are trained at one learning rate, which nothing tunes."""
        tuned = self.search is not None and tunes(self.search, SETTING)
        networks = any(path.startswith("network.") for path in self.factors)
        return networks and not tuned and SETTING not in self.factors

    def target_of(self, arm: str) -> TargetLabel:
        """What an arm predicts."""
        return self.targets.get(arm, TargetLabel())

    def baseline_of(self, arm: str) -> str | None:
        """The arm that an arm is compared with; itself for a baseline."""
        return self.baselines.get(arm, self.baseline)

    @property
    def chosen_baseline(self) -> bool:
        """Whether a reader chose another baseline than the study's own."""
        return bool(self.own_baseline) and self.own_baseline != self.baseline

    @property
    def groups(self) -> dict[Group, tuple[str, ...]]:
        """Group → its arms, which are compared with one another."""
        names = short_names(self.factors)
        groups: dict[Group, tuple[str, ...]] = {}
        for arm in self.arms:
            levels = self.levels.get(arm, {})
            shared = tuple(
                (names[path], levels[path]) for path in self.within if path in levels and path not in FACTORS
            )
            group = Group(self.target_of(arm), shared)
            groups[group] = (*groups.get(group, ()), arm)
        return groups

    @property
    def target(self) -> TargetLabel | None:
        """The common target of all arms; None if they predict different things."""
        targets = {self.target_of(arm) for arm in self.arms}
        return targets.pop() if len(targets) == 1 else None

    @property
    def predicts_densities(self) -> bool:
        """Whether any arm predicts a density, whose fit has errors of its own."""
        return any(self.target_of(arm).quantity.in_basis for arm in self.arms)
