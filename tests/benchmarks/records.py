"""What reading a study costs: `tesseral report` of many trials, and `tesseral status` beside many segments.

    python -m tests.benchmarks.records --trials 1000 --segments 5000 --figures build/bench.json

The study has ten arms. Every complete trial has curves of 60 epochs and traces of 17; numbers are made up. Of a tenth
as many further trials some segments are sealed and nothing has ended.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tesseral.study.configuration.trial import State
from tesseral.study.design.stages import PlannedTrial, confirm_seeds, make_trial
from tesseral.study.records.attempt import Attempt
from tesseral.study.records.ledger import freeze, write_plan
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.benchmarks.figures import Figure, report
from tests.support.synthetic_study import curve_rows, trace_rows, trial_rows

NAME, ARMS, TURNS = "many", 10, 3
TEXT = """
[study]
name = "many"
allow_unreachable = true

[factors]
network.hidden.lmax = [0, 1, 2, 3, 4]
network.layers = [2, 3]

[replication]
blocks = {blocks}
replicates = 1

[data]
reference = "reference/none.parquet"
train = 36
validation = 8
test = 12
"""


def make(storage: Path, trials: int, segments: int) -> None:
    """Write the records of a study, as workers do."""
    running = max(trials // 10 // ARMS, 1)
    study = Study.parse(TEXT.format(blocks=trials // ARMS + running), "many.toml")
    store = Store(storage).child(NAME)
    freeze(store, study)
    rows = trial_rows(blocks=trials // ARMS + running, replicates=1)
    each = segments // (running * ARMS)
    for number, arm in enumerate(study.arms):
        for block in range(trials // ARMS + running):
            row = rows[(min(number // 2, 3)) * (trials // ARMS + running) + block]
            seeds, hashes = confirm_seeds(study.file.study.seed, block, 0), {"reference/none.parquet": "d" * 64}
            planned = PlannedTrial(make_trial(arm.configuration, seeds, hashes, 9), arm, "confirm", block, 0)
            write_plan(store, planned, NAME, max_steps=600, parameters=100_000, target="density")
            sealed = {"seal_every": 0.0 if block < running else 1e9, "checkpoint_every": 1e9}
            attempt = Attempt.begin(store, planned.trial.id, 0, {}, **sealed)
            curves = [_without(made) for made in curve_rows(row, block)]
            if block < running:
                for epoch in range(each):
                    attempt.curves([curve for curve in curves if curve["epoch"] == 1 + epoch])
                    attempt.boundary(10 * (1 + epoch), 600, bytes, {})
                continue
            attempt.curves(curves)
            attempt.traces([_without(made) for made in trace_rows(row, 3)])
            attempt.boundary(600, 600, lambda: b"trained", {})
            metrics = {key.removeprefix("metric."): value for key, value in row.items() if key.startswith("metric.")}
            attempt.finish(State.COMPLETE, 600, metrics=metrics, seconds=row["seconds"], device="cpu")


def _without(row: dict) -> dict:
    return {key: value for key, value in row.items() if key != "trial"}


def timed(storage: Path, command: str) -> tuple[float, float]:
    """Seconds of a command, and the largest memory of any command so far, GB."""
    began = time.monotonic()
    whole = [sys.executable, "-m", "tesseral.cluster.commands.cli", command, NAME, "--storage", str(storage)]
    subprocess.run(whole, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9


def measured(storage: Path, trials: int, segments: int) -> list[Figure]:
    """Everything measured."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "tesseral.cluster.commands.cli", "--version"], check=False)
    alone = time.monotonic() - began
    status = [timed(storage, "status") for _ in range(TURNS)]
    told = [timed(storage, "report") for _ in range(TURNS)]
    return [
        Figure(f"status beside {segments} segments", statistics.median(each[0] for each in status), "s", 2.0),
        Figure(f"report of {trials} trials", statistics.median(each[0] for each in told), "s", 20.0),
        Figure(f"memory of the report of {trials} trials", told[0][1], "GB"),
        Figure("a command that reads nothing", alone, "s"),
    ]


def main() -> None:
    """Measure, print and merge into the file of figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--segments", type=int, default=5000)
    parser.add_argument("--figures", type=Path, default=Path("build/bench.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="records-") as folder:
        make(Path(folder), options.trials, options.segments)
        report(measured(Path(folder), options.trials, options.segments), options.figures)


if __name__ == "__main__":
    main()
