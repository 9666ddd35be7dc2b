"""Scale: what the records and the search cost beside bare Ray Tune, on trials that train nothing.

    python -m tests.benchmarks.scale --trials 10000 --figures build/bench.json

A study of 100 arms is run with a worker that begins an attempt, ends an epoch and seals an outcome. Smaller ones run in
turns with as many no-op trials through bare Tune, with reused actors and no records, since a machine's speed changes
with what others do on it; and 200 through `OptunaSearch` with default settings. Each runs in a process of its own.
Times are printed as ratios, for machines differ.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.figures import Figure, report

ARMS = 100
TURNS = 5
SHARE = 20
"""A turn has this part of the trials."""


def no_op(job, on_progress, on_rung) -> None:
    """A worker's records without any training."""
    from tesseral.study.configuration.trial import State
    from tesseral.study.records.attempt import Attempt
    from tesseral.study.records.store import Store

    store = Store(job.storage).child(job.study)
    attempt = Attempt.begin(store, job.trial, job.lease, {"pid": os.getpid()}, on_progress=on_progress)
    if attempt is not None:
        row = {"step": job.steps, "epoch": 1, "split": "train", "metric": "loss", "l": None, "value": 1.0}
        attempt.curves([row])
        attempt.boundary(job.steps, job.steps, lambda: b"nothing", {})
        attempt.finish(State.COMPLETE, job.steps, metrics={"test.l2_error": 1.0}, seconds=0.0, device="cpu")


def ours(storage: Path, trials: int) -> dict:
    """The study of no-op trials; then a restart of it, which has nothing to do."""
    from tesseral.cluster.campaign.display import Silent
    from tesseral.cluster.campaign.driver import run_study
    from tesseral.cluster.execution.ray_tune import RayExecutor
    from tesseral.cluster.planning.plan import prepare
    from tesseral.study.configuration.trial import State
    from tesseral.study.study import Study
    from tests.support.water_study import water_study

    path = storage / "scale.toml"
    if not path.exists():
        levels = [round(1e-4 * (1 + arm), 6) for arm in range(ARMS)]
        factors = f"training.learning_rate = {levels}"
        hidden = "{ lmax = 1, mul = [4, 2] }"
        path.write_text(water_study("scale", factors, blocks=trials // ARMS, hidden=hidden, epochs=1))
    stamps: list[float] = []

    class Stamps(Silent):
        def ended(self, trial, steps):
            stamps.append(time.monotonic())

    began = time.monotonic()
    ended = run_study(prepare(Study.load(path), str(storage)), RayExecutor(no_op), Stamps())
    assert ended.states == {State.COMPLETE: trials}, ended
    return {"seconds": time.monotonic() - began, "stamps": stamps, "memory": memory()}


def bare(trials: int) -> dict:
    """The same number of no-op trials through Tune alone, actors reused, loggers off."""
    from tesseral.cluster.nodes.ray_session import session, tune

    stamps: list[float] = []

    class Count(tune.search.Searcher):
        left = trials

        def suggest(self, trial_id):
            self.left -= 1
            return {"number": self.left} if self.left >= 0 else self.FINISHED

        def on_trial_complete(self, *_, **__):
            stamps.append(time.monotonic())

        def save(self, checkpoint_path): ...
        def restore(self, checkpoint_path): ...

    began = time.monotonic()
    with session(), tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            tune.with_resources(lambda config: tune.report({"step": 1}), {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=Count(metric="step", mode="max"),
                num_samples=-1,
                max_concurrent_trials=os.cpu_count(),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(name="bare", storage_path=folder, verbose=0),
        ).fit()
    return {"seconds": time.monotonic() - began, "stamps": stamps, "memory": memory()}


def optuna_search(trials: int) -> dict:
    """What a user would write first: `OptunaSearch`, everything at its default."""
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "0"
    from tesseral.cluster.nodes.ray_session import session, tune  # first, for it sets up Ray

    from ray.tune.search.optuna import OptunaSearch  # isort: skip

    began = time.monotonic()
    with session(), tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            tune.with_resources(lambda config: tune.report({"loss": config["x"]}), {"cpu": 1}),
            param_space={"x": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(search_alg=OptunaSearch(metric="loss", mode="min"), num_samples=trials),
            run_config=tune.RunConfig(name="optuna", storage_path=folder, verbose=0),
        ).fit()
    return {"seconds": time.monotonic() - began, "memory": memory()}


def memory() -> float:
    """Largest resident memory of this process, GB. `getrusage` would count that of the process that began it, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e9


def apart(what: str, storage: Path, trials: int) -> dict:
    """One of the above in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.scale",
        "--only",
        what,
        "--storage",
        str(storage),
        "--trials",
        str(trials),
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def in_turn(trials: int) -> tuple[float, float]:
    """Seconds between the ends of trials, through bare Tune and with records, one after the other.

    The first tenth is left out: workers start meanwhile.
    """
    from tests.support.water_study import make_water

    seconds = []
    for what in ("bare", "ours"):
        with tempfile.TemporaryDirectory(prefix="turn-") as folder:
            make_water(Path(folder))
            stamps = apart(what, Path(folder), trials)["stamps"][trials // 10 :]
            seconds.append((stamps[-1] - stamps[0]) / (len(stamps) - 1))
    return seconds[0], seconds[1]


def measured(trials: int, storage: Path) -> list[Figure]:
    """Everything measured."""
    turns = [in_turn(max(trials // SHARE, ARMS)) for _ in range(TURNS)]
    study = apart("ours", storage, trials)
    again = apart("ours", storage, trials)
    search = apart("optuna", storage, 200)
    stamps = study["stamps"]
    block = max(trials // 10, 2)
    flat = (stamps[-1] - stamps[-block]) / (stamps[block - 1] - stamps[0])
    beside, with_records = (1000 * statistics.median(each) for each in zip(*turns, strict=True))
    ratio = statistics.median(ours / bare for bare, ours in turns)
    return [
        Figure(f"no-op trials over bare Tune, median of {TURNS} turns", ratio, "ratio", 1.5),
        Figure(f"last tenth of {trials} over the first", flat, "ratio", 1.3),
        Figure("restart of that study", again["seconds"], "s", 5.0),
        Figure("memory of its driver", study["memory"], "GB", 0.8),
        Figure("a no-op trial with records", with_records, "ms"),
        Figure("a no-op trial through bare Tune", beside, "ms"),
        Figure("a no-op trial through OptunaSearch, defaults, of 200", search["seconds"] * 5, "ms"),
    ]


def main() -> None:
    """Measure, print and merge into the file of figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--figures", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--storage", type=Path)
    parser.add_argument("--only", choices=["ours", "bare", "optuna"])
    options = parser.parse_args()
    if options.only:
        runs = {
            "ours": lambda: ours(options.storage, options.trials),
            "bare": lambda: bare(options.trials),
            "optuna": lambda: optuna_search(options.trials),
        }
        print(json.dumps(runs[options.only]()))
        return
    from tests.support.water_study import make_water

    storage = Path(tempfile.mkdtemp(prefix="scale-"))
    make_water(storage)
    report(measured(options.trials, storage), options.figures)


if __name__ == "__main__":
    main()
