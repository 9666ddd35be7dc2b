"""The study file: its tables and keys, with types, bounds and defaults."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from tesseral.study.configuration import Data, Loss, Network, Range, Section, Target, Training
from tesseral.study.trial import Traces

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
    metric: str = "epsilon"
    """Error by which arms are compared, on the test split."""
    baseline: str | None = None
    """Label of the arm that the others are compared with; the first one if not given."""
    allow_unreachable: bool = False
    """Admit arms that cannot reach all of their target; those outputs count as predicted zero, and are flagged."""


@dataclass(frozen=True, kw_only=True)
class Replication(Section):
    """`[replication]`: pairs. Each arm is trained once in every replicate of every block."""

    blocks: Annotated[int, Range(ge=1, le=10_000)] = 1
    """Splits and orders of the data."""
    replicates: Annotated[int, Range(ge=1, le=10_000)] = 3
    """Initialisations in each block."""


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

    study: Header
    data: Data
    factors: dict[str, Any] = field(default_factory=dict)
    """Dotted path → levels; every combination is an arm."""
    arms: tuple[dict[str, Any], ...] = ()
    """Arms written out, each a table of dotted paths; instead of `factors`."""
    replication: Replication = field(default_factory=Replication)
    network: Network = field(default_factory=Network)
    target: Target = field(default_factory=Target)
    loss: Loss = field(default_factory=Loss)
    training: Training = field(default_factory=Training)
    traces: Traces = field(default_factory=Traces)
    resources: Resources = field(default_factory=Resources)
