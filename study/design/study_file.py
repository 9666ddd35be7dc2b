"""The study file: its tables and keys, with types, bounds and defaults."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from tesseral.study.configuration.configuration import Data, Training
from tesseral.study.configuration.network import Network
from tesseral.study.configuration.target import Loss, Target
from tesseral.study.configuration.trial import Traces
from tesseral.study.parsing.section import Range, Section

CONFIGURATION = ("data", "network", "target", "loss", "training")
"""Tables of the study file that configure a trial, and that factors may set."""


@dataclass(frozen=True, kw_only=True)
class Header(Section):
    """`[study]`: what it is called and how it is judged."""

    name: Annotated[str, Range(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Folder of the records inside the storage: letters, digits, `.`, `_` and `-`."""
    seed: Annotated[int, Range(ge=0, le=2**53)] = 0
    """Every split, order and initialisation follows from it."""
    description: str = ""
    """What it asks, in a sentence for the report."""
    metric: str | None = None
    """Error by which arms are compared, on the test split: one that all their targets have, in one unit (see
    `tesseral.study.configuration.metrics`). `epsilon` if not given and all arms predict the density, else
    `relative_error`."""
    baseline: str | None = None
    """Label of the arm that the others are compared with; the first one if not given."""
    within: tuple[str, ...] = ()
    """Factors at each combination of whose levels arms are compared apart, such as `training.epochs`: each combination
    has a baseline of its own, and so does each target. Those of `match.within` are among them."""
    allow_unreachable: bool = False
    """Admit arms that cannot reach all of their target; those outputs count as predicted zero, and are flagged."""


@dataclass(frozen=True, kw_only=True)
class Design(Section):
    """`[design]`: which combinations of the factors' levels become arms."""

    kind: Literal["factorial", "one-factor-out", "one-factor-in", "fractional"] = "factorial"
    """`factorial`: every combination. `one-factor-out`: the first level of every factor, and from there each other
    level of one factor at a time. `one-factor-in`: the same from the last levels. `fractional`: a two-level one."""
    runs: Annotated[int, Range(ge=2, le=4096)] | None = None
    """Arms of a fractional design, a power of two; the one of best resolution is taken."""
    resolution: Annotated[int, Range(ge=3, le=10)] | None = None
    """Least resolution of a fractional design; the smallest one that has it is taken. Instead of `runs`."""
    where: tuple[str, ...] = ()
    """Conditions that every arm must meet, such as `network.layers < 3 or network.hidden.lmax < 3`."""


@dataclass(frozen=True, kw_only=True)
class Match(Section):
    """`[match]`: how arms are made equal in size, by scaling the multiplicities of their hidden irreps. `match.by`
    may be a factor."""

    by: Literal["none", "parameters", "components", "flops"] = "none"
    """`parameters` that a gradient can reach, `components` of the hidden features (not between a network of the user's
    own and others), `flops`: floating-point operations of a training step, per structure, so that a batch size makes an
    arm no narrower, but for what a step does once, such as joining the weights of a symmetric contraction."""
    to: str | Annotated[int, Range(ge=1)] | None = None
    """Label of the arm that the others are made equal to, or a number; the largest arm if not given."""
    within: tuple[str, ...] = ()
    """Factors at each combination of whose levels arms are matched apart, such as `network.layers`."""


@dataclass(frozen=True, kw_only=True)
class Asha(Section):
    """`[search.asha]`: asynchronous successive halving (arXiv 1810.05934) inside each arm."""

    min_epochs: Annotated[int, Range(ge=1)] = 1
    """Epochs of the first rung; the next ones are at `reduction` times as many each."""
    reduction: Annotated[int, Range(ge=2, le=100)] = 3
    """Of the trials of its arm that reached a rung, one in this many goes on."""


@dataclass(frozen=True, kw_only=True)
class Search(Section):
    """`[search]`: hyperparameters, tuned in each arm with the same budget, before the arms are compared."""

    trials: Annotated[int, Range(ge=1, le=100_000)]
    """Distinct proposals in each arm."""
    sampler: Literal["tpe", "random", "qmc", "gp", "cmaes", "nsgaii"] = "tpe"
    """Which of Optuna's samplers proposes."""
    objectives: Annotated[tuple[str, ...], Range(min_length=1)] | None = None
    """What is minimised: errors on the validation split, `seconds`, `parameters` or `flops`. Early stopping and the
    choice of the best setting use the first. The study's metric if not given, or `l2_error` for `epsilon`, which is a
    metric of the test split alone."""
    space: dict[str, Any] = field(default_factory=dict)
    """Dotted path → choices, or `{ low, high, log, step, choices, when }`."""
    define: str | None = None
    """`module:function` that proposes (define-by-run), called with Optuna's trial and the arm; instead of `space`."""
    asha: Asha | None = None
    """Early stopping; none if not given."""


@dataclass(frozen=True, kw_only=True)
class Replication(Section):
    """`[replication]`: pairs. Each arm is trained once in every replicate of every block."""

    blocks: Annotated[int, Range(ge=1, le=10_000)] = 1
    """Splits and orders of the data; with `allocate = "sequential"`, those that every arm is given at least."""
    replicates: Annotated[int, Range(ge=1, le=10_000)] = 3
    """Initialisations in each block."""
    allocate: Literal["fixed", "sequential"] = "fixed"
    """`sequential` adds whole blocks to an arm and the baseline until the paired difference is known to `precision`."""
    precision: Annotated[float, Range(gt=0)] | None = None
    """Half-width of the 95 % interval of the paired change, in %, from which on an arm is given five more blocks and
    no further ones. It is first looked at with six blocks."""
    max_blocks: Annotated[int, Range(ge=2, le=10_000)] | None = None
    """The budget of a sequential allocation: blocks that an arm is given at most."""


@dataclass(frozen=True, kw_only=True)
class Resources(Section):
    """`[resources]`: what each trial is given. In no trial's id, and free to change between starts."""

    cpus: Annotated[int, Range(ge=1)] = 1
    """CPU cores, and so threads, of a trial."""
    gpus: Annotated[float, Range(ge=0)] = 0.0
    """GPUs of a trial; a fraction shares one among several trials."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU where there is one; on Ray, where the trial was given one by `gpus`."""
    checkpoint_every: Annotated[float, Range(ge=0)] = 30.0
    """Seconds between checkpoints: the most work that a kill can cost a trial."""
    seal_every: Annotated[float, Range(ge=0)] = 5.0
    """Seconds between sealed segments of curves and traces, for those who watch."""


@dataclass(frozen=True, kw_only=True)
class StudyFile(Section):
    """A study file, table by table."""

    preset: str | None = None
    """Which of `presets` is asked for, and named after the study: `hierarchy-small`. `--preset` writes it."""
    presets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Versions of the study: tables that set keys in its own, but `factors` and `arms`, which they replace whole."""
    study: Header
    data: Data
    factors: dict[str, Any] = field(default_factory=dict)
    """Dotted path → levels; every combination is an arm."""
    arms: tuple[dict[str, Any], ...] = ()
    """Arms written out, each a table of dotted paths; instead of `factors`."""
    design: Design = field(default_factory=Design)
    match: Match = field(default_factory=Match)
    search: Search | None = None
    replication: Replication = field(default_factory=Replication)
    network: Network = field(default_factory=Network)
    target: Target = field(default_factory=Target)
    loss: Loss = field(default_factory=Loss)
    training: Training = field(default_factory=Training)
    traces: Traces = field(default_factory=Traces)
    resources: Resources = field(default_factory=Resources)
