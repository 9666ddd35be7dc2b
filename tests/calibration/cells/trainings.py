"""Cells of the calibration: arms that differ in nothing, really trained on water, without a search and with three."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tesseral
from tesseral.study.configuration.trial import State
from tests.benchmarks.figures import Figure
from tests.calibration.first_screen import EARNS, SLIGHT, WORSE
from tests.support.command_line import tesseral as command
from tests.support.water_study import EXAMPLES

DIFFERENT = (EARNS, "better; not shown to be dearer", SLIGHT, WORSE)
"""Verdicts on a step that claim a difference in error."""

STUDY = """
[study]
name = "{name}"
metric = "epsilon"
allow_unreachable = true

[factors]
network.radial_cutoff = {cutoffs}

[replication]
blocks = {blocks}
replicates = 1

[data]
reference = "reference/{reference}.parquet"
train = {train}
validation = {validation}
test = {test}

[network]
hidden = {{ lmax = 1, mul = [4, 2] }}
layers = 2
radial_width = 8
harmonics_lmax = 2

[training]
epochs = {epochs}
batch_size = 4
learning_rate = 1e-2
"""
"""Arms of one network, which differ in nothing that matters: a cutoff 0.0001 Å longer."""

SEARCH = """
[search]
trials = {proposals}

[search.space]
training.learning_rate = {{ low = 1e-3, high = 3e-2, log = true }}
{other}
"""
"""Independent searches by the default of `search.repeats`: of 10 proposals one, so that no verdict is given."""
BATCH_SIZE = "training.batch_size = [2, 4, 8]"
WIDTH = "network.hidden = [{ lmax = 1, mul = [2, 1] }, { lmax = 1, mul = [4, 2] }, { lmax = 1, mul = [8, 4] }]"
STUDIES = {
    "20 proposals of learning rate and batch size": SEARCH.format(proposals=20, other=BATCH_SIZE),
    "10 proposals of learning rate and batch size": SEARCH.format(proposals=10, other=BATCH_SIZE),
    "10 proposals of learning rate and width": SEARCH.format(proposals=10, other=WIDTH),
    "without a search": "",
}
"""What is tuned → tables of the study file."""
WHOLE = {
    "cutoffs": [3.5, 3.5001, 3.5002, 3.5003],
    "reference": "water",
    "blocks": 6,
    "train": 24,
    "validation": 8,
    "test": 12,
    "epochs": 15,
}
"""As the quickstart, but for an eighth of its epochs, and a hold-out as large as two test splits: were it one, searches
would leave no verdict for new data."""
STORAGE = Path("build/calibrate")
"""Of the reference data and the records."""


def make_reference() -> None:
    """Make the reference data of the studies once, before several processes read it: about a minute with PySCF."""
    tesseral.make_reference(EXAMPLES / f"{WHOLE['reference']}.toml", STORAGE, "inline")


def of_equal_arms(_studies: int, words: str) -> Iterator[Figure]:
    """What is claimed of four arms that differ in nothing: to hold, nothing.

    On other machines sums are rounded otherwise, and these are four other studies. What is told for new data claims
    something in well below 5 % of such studies, and what is told for these data alone in up to 5 %. The records stay in
    `STORAGE`, so a run that was killed goes on.

    :param words: of `STUDIES`.
    """
    yield from trained(STORAGE, words, WHOLE)


def trained(storage: Path, words: str, size: Mapping[str, Any]) -> Iterator[Figure]:
    """Train a study, and count what its report claims.

    :param storage: holds the reference data and is given the records.
    :param words: of `STUDIES`.
    :param size: of the data and of the training.
    """
    path = storage / f"{words.replace(' ', '_')}.toml"
    path.write_text(STUDY.format(name=path.stem, **size) + STUDIES[words])
    ended = tesseral.run(path, storage, "inline")
    told = json.loads(command("report", path.stem, "--storage", storage, "--json").stdout)
    where = f"{len(size['cutoffs'])} equal arms, really trained, {words}"
    yield Figure(f"trials without a result: {where}", ended.states.total() - ended.states[State.COMPLETE], "", 0)
    yield Figure(f"claims: {where}", len(list(claimed(told))), "", 0)
    yield Figure(f"steps told for these data alone: {where}", _alone(told), "", 0)


def claimed(told: Mapping[str, Any]) -> Iterator[str]:
    """Everything that a report claims of differences between arms, for new data.

    :param told: what `tesseral report --json` prints.
    """
    for step in told["steps"]:
        if step["verdict"] in DIFFERENT:
            yield f"{step['upper']} against {step['lower']}: {step['verdict']}"
    for arm in told["arms"]:
        comparison = arm["comparison"]
        if comparison and comparison["p_holm"] is not None and comparison["p_holm"] < 0.05:
            yield f"{comparison['arm']} against {comparison['baseline']}"
    for best in told["best"]:
        if best["alike"] is not None and len(best["alike"]) < len(best["arms"]) - 1:
            yield f"{best['arms'][0]} is told from some"
    for trend in told["trends"]:
        yield from (f"{trend['hidden']}: {claim['kind']}" for claim in trend["claims"] if claim["p_holm"] < 0.05)


def _alone(told: Mapping[str, Any]) -> int:
    """Number of steps on which the report gives a verdict for these data alone."""
    return sum(step["verdict_here"] in DIFFERENT for step in told["steps"])
