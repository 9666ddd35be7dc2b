"""A study on a thousand GPUs, simulated from what one trial costs: where the driver and the storage saturate.

    python -m tests.benchmarks.simulate --trials 10000 --gpus 1000 --figures build/simulate.json

Counted here: the requests of a trial and of a checkpoint. Recorded: the seconds of the quickstart's trials, and the
time of the driver for a trial and a progress report. The simulation serves the work of the driver in order, one piece
at a time, and adds the requests of all workers. `infra/scale.md` explains the figures.
"""

import argparse
import heapq
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.figures import Figure, report

RECORDED = [
    [23.8, 23.7, 22.8, 22.6, 23.3, 22.5],
    [40.0, 40.1, 38.3, 41.6, 41.9, 40.6],
    [56.1, 53.6, 56.1, 56.2, 57.5, 58.4],
    [73.6, 72.9, 74.1, 73.8, 71.0, 73.2],
]
"""Seconds of the quickstart's trials by hidden l_max, each on one of two cores: the shortest that anyone runs."""
PAGE = 1000
"""Keys that an object store lists in one request."""
WRITES, READS = 3500.0, 5500.0
"""Requests a second that S3 serves below one prefix before it divides it."""
LATENCY = 0.02
"""Seconds of a request to an object store in the same region, assumed; a local disk takes a thousandth of it."""
SEAL_EVERY, CHECKPOINT_EVERY, SNAPSHOT_EVERY = 5.0, 30.0, 5.0
"""Seconds; the defaults of a study."""
SNAPSHOT_SHARE = 0.05
"""Largest share of the driver's time that snapshots take."""
KINDS = {"create": "PUT", "replace": "PUT", "read": "GET", "digest": "GET", "paths": "LIST", "folders": "LIST"}
"""Operation of the storage → request of an object store. Deletions are counted apart: S3 does not charge for them."""


START, TOLD = 0.022, 0.001
"""CPU seconds of the driver for a trial with a reused actor, and for a progress report, of Ray Tune 2.60 without
loggers, as recorded on one core. `make bench` measures what records add."""
KEY = 20e-6
"""CPU seconds of a snapshot for each key that is listed, assumed."""


@dataclass(frozen=True)
class Costs:
    """What a trial costs."""

    start: float
    """CPU seconds of the driver for a trial: suggested, recorded, handed out, taken."""
    told: float
    """CPU seconds of the driver for a progress report."""
    worker: float
    """CPU seconds of a worker for a trial that trains nothing."""
    trial: dict[str, float]
    """Requests of a trial with one checkpoint, by its worker."""
    waited: dict[str, float]
    """Requests of a trial by the driver, which waits for each."""
    aside: dict[str, float]
    """Requests of a trial by the driver that are made beside its other work, once the trial has ended."""
    seal: dict[str, float]
    """Requests of a further checkpoint, by the worker."""
    page: float
    """CPU seconds of a snapshot for each key."""


WORKER, ASIDE = "worker's ", "beside other work: "
_who = ""
"""Who makes the requests now: `WORKER`, `ASIDE`, or the driver."""


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the requests of all stores on a disk as those of an object store; a worker's by names of their own."""
    from tesseral.cluster.campaign.campaign import Campaign
    from tesseral.study.records.folder import Folder

    requests: Counter[str] = Counter()
    before = {name: getattr(Folder, name) for name in (*KINDS, "delete")}

    def counting(name: str) -> Any:
        def call(self: Folder, *arguments: Any) -> Any:
            answer, pages = before[name](self, *arguments), 1
            if name == "paths":
                answer = list(answer)
                pages += len(answer) // PAGE
            requests[_who + KINDS.get(name, "DELETE")] += pages
            return answer

        return call

    read = Campaign.read

    def aside(self: Campaign, trial: str) -> None:
        global _who
        _who = ASIDE
        read(self, trial)
        _who = ""

    setattr(Campaign, "read", aside)  # noqa: B010 - mypy takes an assignment for a mistake
    for name in before:
        setattr(Folder, name, counting(name))
    try:
        yield requests
    finally:
        setattr(Campaign, "read", read)  # noqa: B010
        for name, function in before.items():
            setattr(Folder, name, function)


def sealing(seals: int) -> Any:
    """A worker whose trial seals its rows and keeps a checkpoint so many times, and trains nothing."""

    def run(job: Any, on_progress: Any, on_rung: Any) -> None:
        from tesseral.study.configuration.trial import State
        from tesseral.study.records.attempt import Attempt
        from tesseral.study.records.store import Store

        global _who
        _who = WORKER
        store = Store(job.storage).child(job.study)
        options = {"seal_every": 0.0, "checkpoint_every": 0.0, "on_progress": on_progress}
        attempt = Attempt.begin(store, job.trial, job.lease, {"pid": os.getpid()}, **options)
        for seal in range(1, seals + 1):
            step = job.steps * seal // seals
            attempt.curves([{"step": step, "epoch": seal, "split": "train", "metric": "loss", "l": None, "value": 1.0}])
            attempt.boundary(step, job.steps, lambda: b"nothing", {})
        attempt.finish(State.COMPLETE, job.steps, metrics={"test.l2_error": 1.0}, seconds=0.0, device="cpu")
        _who = ""

    return run


def study(storage: Path, trials: int, seals: int) -> Counter[str]:
    """Run a study of trials that train nothing in this process, and count its requests.

    Its seed is its own, so that no trial is copied from another study.
    """
    from tesseral.cluster.campaign.display import Silent
    from tesseral.cluster.campaign.driver import run_study
    from tesseral.cluster.execution.executor import InlineExecutor
    from tesseral.cluster.planning.plan import prepare
    from tesseral.study.study import Study
    from tests.support.water_study import water_study

    path = storage / f"s{trials}x{seals}.toml"
    levels = [round(1e-4 * (1 + arm), 6) for arm in range(trials // 5)]
    text = water_study(path.stem, f"training.learning_rate = {levels}", seed=10 * trials + seals, blocks=5, epochs=8)
    path.write_text(text.replace("mul = [4, 2]", "lmax = 0, mul = [4]"))
    plan = prepare(Study.load(path), str(storage))
    with counted() as requests:
        run_study(plan, InlineExecutor(sealing(seals)), Silent())
    return requests


def measured(storage: Path) -> Costs:
    """The costs: requests counted here as differences of studies, the driver's time as recorded."""
    few, many, more = (study(storage, *size) for size in ((10, 1), (30, 1), (10, 4)))

    def of(who: str, larger: Counter[str], times: int) -> dict[str, float]:
        return {kind: (larger[who + kind] - few[who + kind]) / times for kind in ("PUT", "GET", "LIST", "DELETE")}

    return Costs(
        START, TOLD, 0.0, of(WORKER, many, 20), of("", many, 20), of(ASIDE, many, 20), of(WORKER, more, 30), KEY
    )


@dataclass(frozen=True)
class Simulated:
    """What a simulation gives."""

    seconds: float
    ideal: float
    """Seconds without a driver: the longest trial, or all trials shared out evenly."""
    driver: float
    """Largest share of the driver's core in use, averaged over a minute; 1 is saturated."""
    waiting: float
    """Largest share of the time in which the driver waits for the storage, averaged over a minute."""
    requests: dict[str, float]
    """Kind of request → requests a second, averaged over the minute in which they were most."""
    listed: float
    """Seconds between two snapshots at the end, when most keys are listed."""


def simulate(costs: Costs, durations: Sequence[float], gpus: int, latency: float = 0.0) -> Simulated:
    """Serve the driver's work in order, one piece at a time.

    While trials report, the driver serves the other work more slowly. If reports alone fill its core, it serves that at
    a hundredth of its speed: reports then pile up.

    :param costs: measured.
    :param durations: seconds of each trial, in the order in which they are handed out.
    :param gpus: workers.
    :param latency: seconds of a request to the storage, for which the driver waits.
    :returns: how the study went.
    """
    from tesseral.cluster.execution.ray_trial import pause

    free, ends, now = gpus, [], 0.0
    order = iter(durations)
    busy: Counter[int] = Counter()
    waiting: Counter[int] = Counter()
    asked: dict[str, Counter[int]] = {kind: Counter() for kind in ("PUT", "GET", "LIST", "DELETE")}
    running, left, last = 0, len(durations), 0.0
    waits = latency * sum(costs.waited.values())

    def serve(at: float, work: float, waits: float = 0.0) -> float:
        share = min(running * costs.told / pause(running), 0.99)
        took = work / (1 - share)
        busy[int(at // 60)] += work
        waiting[int(at // 60)] += waits
        return at + took + waits

    def pass_time(until: float) -> None:
        """Requests and reports of the trials that run until then."""
        nonlocal last
        while last < until:
            minute = int(last // 60)
            step = min(until, 60.0 * (minute + 1)) - last
            busy[minute] += step * running * costs.told / pause(running)
            for kind, times in asked.items():
                rate = costs.seal.get(kind, 0.0) / CHECKPOINT_EVERY
                rate += (1 / SEAL_EVERY - 1 / CHECKPOINT_EVERY) if kind == "PUT" else 0.0
                times[minute] += step * running * rate
            last += step

    while left:
        while free and (duration := next(order, None)) is not None:
            now = serve(now, costs.start / 2, waits)
            pass_time(now)
            running, free = running + 1, free - 1
            heapq.heappush(ends, now + costs.worker + duration)
        now = max(now, heapq.heappop(ends))
        pass_time(now)
        running -= 1
        now = serve(now, costs.start / 2)
        for kind, times in asked.items():
            times[int(now // 60)] += sum(each.get(kind, 0.0) for each in (costs.trial, costs.waited, costs.aside))
        free, left = free + 1, left - 1
    keys = 5.0 * len(durations)
    span = 60.0 if now > 60.0 else max(now, 1e-9)
    return Simulated(
        now,
        max(max(durations), sum(durations) / gpus),
        max(busy.values()) / span,
        max(waiting.values()) / span,
        {kind: max(times.values(), default=0.0) / span for kind, times in asked.items()},
        max(SNAPSHOT_EVERY, costs.page * keys / SNAPSHOT_SHARE),
    )


def drawn(trials: int, longer: float, seed: int = 0) -> np.ndarray:
    """Seconds of trials, drawn from the recorded ones, longest first as a study hands them out."""
    pool = np.concatenate([np.asarray(arm) for arm in RECORDED])
    return np.sort(np.random.default_rng(seed).choice(pool, trials))[::-1] * longer


def figures(costs: Costs, trials: int, gpus: int, bench: Path) -> list[Figure]:
    """The requests, the simulated studies, and no-op trials as the benchmark of scale ran them over simulated ones."""
    rows = [
        Figure(f"{kind} requests of {what}", number, "")
        for what, counts in (
            ("a trial by its worker", costs.trial),
            ("a trial by the driver", costs.waited),
            ("a trial by the driver, beside its other work", costs.aside),
            ("a further checkpoint", costs.seal),
        )
        for kind, number in counts.items()
    ]
    for longer in (1.0, 60.0):
        for number in (gpus // 10, gpus, 4 * gpus):
            found = simulate(costs, list(drawn(trials, longer)), number, LATENCY)
            name = f"{trials} trials of {longer:g} × recorded seconds on {number} GPUs"
            rows += [
                Figure(f"{name}: time over the ideal", found.seconds / found.ideal, "ratio"),
                Figure(f"{name}: driver's core in use", found.driver, "share"),
                Figure(f"{name}: driver waits for the storage", found.waiting, "share"),
                Figure(f"{name}: PUT", found.requests["PUT"], "1/s"),
                Figure(f"{name}: GET and LIST", found.requests["GET"] + found.requests["LIST"], "1/s"),
                Figure(f"{name}: between snapshots", found.listed, "s"),
            ]
    if bench.exists():
        known = {row["what"]: row["value"] for row in json.loads(bench.read_text())}
        if milliseconds := known.get("a no-op trial with records"):
            alone = simulate(costs, [0.0] * trials, os.cpu_count() or 1).seconds
            rows.append(Figure("no-op trials here over simulated", milliseconds * trials / 1000 / alone, "ratio"))
    return rows


def main() -> None:
    """Count, simulate, print and merge into the file of figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--gpus", type=int, default=1000)
    parser.add_argument("--bench", type=Path, default=Path("build/bench.json"), help="figures of make bench")
    parser.add_argument("--figures", type=Path, default=Path("build/simulate.json"))
    options = parser.parse_args()
    from tests.support.water_study import make_water

    with tempfile.TemporaryDirectory(prefix="simulate-") as name:
        make_water(Path(name))
        costs = measured(Path(name))
    report(figures(costs, options.trials, options.gpus, options.bench), options.figures)


if __name__ == "__main__":
    main()
