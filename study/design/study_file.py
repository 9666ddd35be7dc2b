"""The study file: its tables and keys, with types, bounds and defaults."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from tesseral.study.configuration.configuration import Data
from tesseral.study.configuration.network import Network
from tesseral.study.configuration.target import Loss, Target
from tesseral.study.configuration.training import Training
from tesseral.study.configuration.trial import Traces
from tesseral.study.parsing.section import Range, Section

CONFIGURATION = ("data", "network", "target", "loss", "training")
"""Tables of the study file that configure a trial. Factors, arms and searches set keys in them."""


@dataclass(frozen=True, kw_only=True)
class Header(Section):
    """`[study]`: name, seed and how arms are compared."""

    name: Annotated[str, Range(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the study, and of its folder in the storage: letters, digits, `.`, `_` and `-`, a letter or digit
    first."""
    seed: Annotated[int, Range(ge=0, le=2**53)] = 0
    """Seed of the study. Every split, data order and initialisation follows from it."""
    description: str = ""
    """The question of the study, in a sentence that the report prints."""
    metric: str | None = None
    """Error by which arms are compared, on the test split. The targets of all arms must have it, in the same unit.
    Default: `epsilon` if all arms predict the density, else `relative_error`."""
    baseline: str | None = None
    """Label of the arm that the others are compared with, such as `lmax=0`. Default: the first arm."""
    within: tuple[str, ...] = ()
    """Factors within whose levels arms are compared, such as `training.epochs`: each combination of their levels is a
    group with its own baseline. Targets and the factors of `match.within` always separate groups."""
    aggregate: Literal["mean", "iqm"] = "mean"
    """What is taken over blocks: their `mean` (geometric, as errors are), or the interquartile mean `iqm`, which leaves
    out a quarter of them at either end, so that a start that fails changes neither value nor interval."""
    margin: Annotated[float, Range(gt=0, le=100)] = 2.0
    """Change of the error that is of no consequence, δ, percent. An arm is called no worse than another if a rise of
    its error by δ or more is excluded."""
    allow_unreachable: bool = False
    """Accept arms whose network cannot produce all irreps of the target. Those outputs are predicted as zero and
    flagged in the report. By default such a study is refused."""
    allow_asymmetric: bool = False
    """Accept networks of your own whose outputs do not turn, invert, move and permute with the structure. `tesseral
    plan` checks that on structures of the data. By default such a study is refused."""


@dataclass(frozen=True, kw_only=True)
class Design(Section):
    """`[design]`: which combinations of the factors' levels become arms."""

    kind: Literal["factorial", "one-factor-out", "one-factor-in", "fractional"] = "factorial"
    """Kind of design. `factorial`: every combination of levels. `one-factor-out`: a baseline with the first level of
    every factor, then each other level of one factor at a time. `one-factor-in`: the same from the last levels.
    `fractional`: a regular two-level fraction of the factorial, of the size given by `runs` or `resolution`."""
    runs: Annotated[int, Range(ge=2, le=4096)] | None = None
    """Number of arms of a fractional design, a power of two. The fraction of least aberration is taken."""
    resolution: Annotated[int, Range(ge=3, le=10)] | None = None
    """Lowest resolution of a fractional design, instead of `runs`. The smallest fraction that has it is taken."""
    where: tuple[str, ...] = ()
    """Conditions on the settings of an arm, such as `network.layers < 3 or network.hidden.lmax < 3`. Arms that break
    one are left out."""


@dataclass(frozen=True, kw_only=True)
class Match(Section):
    """`[match]`: how arms are made equal in size, by scaling the multiplicities of their hidden irreps."""

    by: Literal["none", "parameters", "components", "flops"] = "none"
    """The size that is made equal; it may be a factor. `parameters`: trainable parameters that a gradient can reach.
    `components`: components of the hidden features of an atom, in the widest layer. `flops`: floating-point operations
    of a training step, per structure. `none`: arms keep their own widths."""
    to: str | Annotated[int, Range(ge=1)] | None = None
    """The size to reach: the label of an arm, or a number. Default: the largest arm."""
    within: tuple[str, ...] = ()
    """Factors within whose levels arms are matched, such as `network.layers`. Arms that differ in them may differ in
    size."""


@dataclass(frozen=True, kw_only=True)
class Asha(Section):
    """`[search.asha]`: early stopping by asynchronous successive halving (ASHA, arXiv 1810.05934), within each arm."""

    min_epochs: Annotated[int, Range(ge=1)] = 1
    """Epochs up to the first rung. Each later rung comes after `reduction` times as many epochs."""
    reduction: Annotated[int, Range(ge=2, le=100)] = 3
    """Reduction factor η: at a rung, the best one in η trials of the arm continues."""


@dataclass(frozen=True, kw_only=True)
class Search(Section):
    """`[search]`: hyperparameters that are tuned in each arm, with the same budget, before arms are compared."""

    trials: Annotated[int, Range(ge=1, le=100_000)]
    """Number of distinct proposals in each arm, over all of its searches."""
    repeats: Annotated[int, Range(ge=1, le=10_000)] | None = None
    """Number of independent searches in each arm, among which `trials` are shared out equally. Each has its own split,
    data order, initialisation and seeds. Block b is confirmed with the setting that search b mod `repeats` chose. At
    most `trials`, and at most `replication.blocks`. Default: as many as there are blocks, if each then has at least
    six proposals; otherwise fewer; three if each then has at least four proposals, and otherwise one."""
    sampler: Literal["tpe", "random", "qmc", "gp", "cmaes", "nsgaii"] = "tpe"
    """Sampler of Optuna that proposes settings. `qmc`: quasi-Monte Carlo. `gp`: Gaussian process."""
    objectives: Annotated[tuple[str, ...], Range(min_length=1)] | None = None
    """What is minimised: errors on the validation split, then also `seconds`, `parameters` or `flops`. Early stopping
    and the choice of the best setting use the first. Default: the study's metric, or `l2_error` in place of `epsilon`,
    which is measured on the test split only."""
    space: dict[str, Any] = field(default_factory=dict)
    """Search space: the dotted path of a setting, and either a list of choices or a table of `low` and `high`, such as
    `training.learning_rate = { low = 1e-4, high = 1e-2, log = true }`."""
    define: str | None = None
    """Your own function, as `module:function`, that proposes settings (define-by-run). It is called with the Optuna
    trial and a dict of the arm's settings by dotted path. Give either this or `space`."""
    asha: Asha | None = None
    """Early stopping. Without this table, every proposal is trained to the end."""


@dataclass(frozen=True, kw_only=True)
class Replication(Section):
    """`[replication]`: how often each arm is trained: once in every replicate of every block.

    All arms share the blocks and replicates, so they are compared in pairs.
    """

    blocks: Annotated[int, Range(ge=1, le=10_000)] = 1
    """Number of blocks. Each block has its own split and order of the data. With `allocate = "sequential"`, every arm
    gets at least this many."""
    replicates: Annotated[int, Range(ge=1, le=10_000)] = 3
    """Number of replicates in each block. Each replicate has its own initialisation."""
    split: Literal["random", "folds"] = "random"
    """How each block splits the data. `random`: anew, so test splits of two blocks may share structures. `folds`: test
    splits are disjoint folds of the data, as in cross-validation, and training and validation splits are drawn from the
    rest. That takes blocks × `data.test` structures at least."""
    allocate: Literal["fixed", "sequential"] = "fixed"
    """`fixed`: every arm gets the same number of blocks. `sequential`: an arm and its baseline get further blocks until
    their difference is known to `precision`."""
    precision: Annotated[float, Range(gt=0)] | None = None
    """With `sequential`: half-width of the 95 % interval of the change from the baseline, in %, at which an arm gets
    five more blocks and then no more. It is the interval for these data; for new data it does not vanish with blocks.
    It is first looked at after six blocks."""
    max_blocks: Annotated[int, Range(ge=2, le=10_000)] | None = None
    """With `sequential`: largest number of blocks of an arm."""


@dataclass(frozen=True, kw_only=True)
class Resources(Section):
    """`[resources]`: what each trial may use. These may change between starts and are in no trial's id."""

    cpus: Annotated[int, Range(ge=1, le=4096)] = 1
    """CPU cores, and so threads, of each trial."""
    gpus: Annotated[float, Range(ge=0, le=4096)] | Literal["auto"] = 0.0
    """GPUs of each trial. A fraction, such as 0.25, shares one GPU among several trials, each of which then has no more
    than that fraction of its memory. `auto`: as many trials share a GPU as its memory holds, after training steps of
    the largest arms that are measured first; the CPU where there is no GPU."""
    memory: Annotated[float, Range(ge=0, le=1_000_000)] | Literal["auto"] = 0.0
    """Memory that is reserved for each trial, GB: no more trials run on a node than its memory holds. `auto`: what
    training steps of the largest arms take, which are measured first. 0 reserves none. Used with Ray."""
    custom: dict[str, Annotated[float, Range(gt=0, le=1_000_000)]] = field(default_factory=dict)
    """Custom resources of Ray that each trial takes, such as `{ a100 = 1 }`: it runs where nodes offer them."""
    max_concurrent: Annotated[int, Range(ge=1, le=1_000_000)] | None = None
    """Largest number of trials that run at the same time. Default: as many as there is room for."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of training. `auto`: a GPU if there is one; on Ray, if `gpus` gives the trial one."""
    backend: Literal["auto", "reference", "portable", "fused"] = "auto"
    """How products of features with harmonics are computed; all ways agree up to rounding. `fused`: by an operator that
    the machine's C++ compiler builds when it is first needed, on CPUs. `portable`: by PyTorch. `reference`: by e3nn.
    `auto`: `fused` on a CPU where there is a compiler, else `portable`."""
    checkpoint_every: Annotated[float, Range(ge=0)] = 30.0
    """Seconds between checkpoints. A killed trial loses at most this much work."""
    seal_every: Annotated[float, Range(ge=0)] = 5.0
    """Seconds between writes of learning curves and traces, so that a running study can be watched."""


@dataclass(frozen=True, kw_only=True)
class Units(Section):
    """`[units]`: units of errors in reports and tables. Records keep those of reference data.

    The default of each is the unit that the data were imported in, forces of eV/Å in meV/Å and stresses of eV/Å³ in
    meV/Å³; for computed data it is that of reference data. `--units` of a command chooses others.
    """

    energy: Literal["hartree", "eV", "meV", "kcal/mol", "kJ/mol"] | None = None
    """Of energies and orbital energies."""
    forces: Literal["hartree/bohr", "eV/angstrom", "meV/angstrom", "kcal/mol/angstrom"] | None = None
    """Of forces."""
    stress: Literal["hartree/bohr^3", "eV/angstrom^3", "meV/angstrom^3", "GPa", "kbar"] | None = None
    """Of stresses."""
    dipole: Literal["e bohr", "debye", "e angstrom"] | None = None
    """Of dipoles."""


@dataclass(frozen=True, kw_only=True)
class StudyFile(Section):
    """A study file: what is compared, on which data, and how often."""

    preset: str | None = None
    """The preset that is in force; the option `--preset` sets it. The study is then called after it, such as
    `hierarchy-small`."""
    presets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Named versions of the study. Each holds tables like those of the study, and sets their keys. Only `factors` and
    `arms` are replaced as a whole."""
    study: Header
    """Name, seed and how arms are compared."""
    data: Data
    """The reference data and its splits."""
    factors: dict[str, Any] = field(default_factory=dict)
    """Factors: the dotted path of a setting, and a list of its levels, such as `network.hidden.lmax = [0, 1, 2]`.
    `design` says which combinations of levels become arms."""
    arms: tuple[dict[str, Any], ...] = ()
    """Arms, written out one by one instead of `factors`. Each sets the settings in which it differs, by dotted path."""
    design: Design = field(default_factory=Design)
    """Which combinations of levels become arms."""
    match: Match = field(default_factory=Match)
    """How arms are made equal in size."""
    search: Search | None = None
    """Hyperparameters that are tuned in each arm. Without this table there is no search."""
    replication: Replication = field(default_factory=Replication)
    """How often each arm is trained."""
    network: Network = field(default_factory=Network)
    """The network, in all arms that do not set it otherwise."""
    target: Target = field(default_factory=Target)
    """What the network predicts."""
    loss: Loss = field(default_factory=Loss)
    """What training minimises."""
    training: Training = field(default_factory=Training)
    """How the network is trained."""
    traces: Traces = field(default_factory=Traces)
    """When the hidden features are measured."""
    resources: Resources = field(default_factory=Resources)
    """What each trial may use."""
    units: Units = field(default_factory=Units)
    """Units of errors in reports and tables."""
