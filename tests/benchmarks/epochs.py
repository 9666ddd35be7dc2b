"""What an epoch spends beside its steps: batches, evaluations, traces and records.

    python -m tests.benchmarks.epochs --figures build/bench.json

Trials of the shipped studies `quickstart` and `hierarchy`, at natural widths, on synthetic clusters of as many waters,
with records on a disk. Some epochs are timed part by part, and each part is weighed as often as it comes in a whole
trial: time of the processor, one thread, fused operator. What comes once a trial (start, test, ablations) is printed as
a share of the trial. The first trial of a process, which compiles, is not counted: a worker trains many.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch

from tesseral.models.data import data_set
from tesseral.models.training import training
from tesseral.models.training.numerics import NUMERICS
from tesseral.models.training.training import train
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.trial import Seeds, Traces, Trial
from tesseral.study.records.attempt import Attempt
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.benchmarks.figures import Figure, report
from tests.benchmarks.traces import clusters

STEP = ("forward and backward", "optimizer")
ONCE = ("start", "test", "ablations")
"""What comes once a trial."""
EPOCH = "rest of an epoch"
PARTS = {
    "start": (training._Training, "__init__"),
    "evaluation": (training._Training, "_validate"),
    EPOCH: (training._Training, "_train_epoch"),
    "forward and backward": (training._Training, "_add_gradients"),
    "optimizer": (training.Optimization, "step"),
    "batches": (data_set.DataSet, "batches"),
    "traces": (training.Tracer, "measure"),
    "ablations": (training._Training, "_ablate"),
    "test": (training._Training, "_measure_all"),
    "curves": (Attempt, "curves"),
    "rows of traces": (Attempt, "traces"),
    "records": (Attempt, "boundary"),
}
"""Name of a part → whose method it is. Time inside another part counts there alone."""


@dataclass(frozen=True)
class Case:
    """A trial of a shipped study."""

    study: str
    lmax: int
    waters: tuple[int, ...]
    """Molecules of its clusters, by turns."""
    epochs: int
    """That are timed."""
    most: float
    """Largest share of an epoch that may be no step, %."""


CASES = {
    "quickstart, l_max 0": Case("quickstart", 0, (2, 2, 2, 2, 2, 2, 1), 120, 15),
    "quickstart, l_max 3": Case("quickstart", 3, (2, 2, 2, 2, 2, 2, 1), 120, 15),
    "hierarchy (Rackers' widths), l_max 3": Case("hierarchy", 3, (3,), 5, 5),
}


def configuration_of(case: Case) -> Configuration:
    """Of an arm of its study, with the largest training set, at natural widths."""
    study = Study.load(str(resources.files("tesseral.study.examples") / f"{case.study}.toml"))
    arms = [arm for arm in study.arms if arm.factors["network.hidden.lmax"] == case.lmax]
    given = max(arms, key=lambda arm: arm.configuration.data.train).configuration
    data = Data(reference="", train=given.data.train, validation=given.data.validation, test=given.data.test)
    return replace(given, data=data)


@contextmanager
def timed() -> Iterator[dict[str, list[float]]]:
    """Collect the seconds of each call of each part."""
    times: dict[str, list[float]] = defaultdict(list)
    inner: list[tuple[str, float]] = []

    def run(name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        inner.append((name, 0.0))
        began = time.process_time()
        try:
            return method(*args, **kwargs)
        finally:
            took = time.process_time() - began
            times[name].append(took - inner.pop()[1])
            if inner:
                inner[-1] = (inner[-1][0], inner[-1][1] + took)

    def each(name: str, method: Callable[..., Any], *args: Any) -> Iterator[Any]:
        given = method(*args)
        if not inner or inner[-1][0] != EPOCH:  # made once, and part of that
            yield from given
            return
        while (one := run(name, next, given, None)) is not None:
            yield one

    with ExitStack() as patches:
        for name, (owner, method) in PARTS.items():
            wrapped = partial(each if name == "batches" else run, name, getattr(owner, method))
            patches.enter_context(
                patch.object(owner, method, lambda *args, _run=wrapped, **kwargs: _run(*args, **kwargs))
            )
        yield times


def profile(case: Case) -> dict[str, float]:
    """Seconds of each part in a whole trial."""
    whole = configuration_of(case)
    short = replace(whole, training=replace(whole.training, epochs=case.epochs))
    data = whole.data
    reference, traces = clusters(data.train + data.validation + data.test, case.waters), Traces()
    seeds = Seeds(split=0, order=0, initialisation=0)
    trial = Trial(configuration=short.resolved(), data_hash=reference.content_hash, seeds=seeds, numerics=NUMERICS)
    with TemporaryDirectory() as folder:
        compiling, counted = (Attempt.begin(Store(folder), name, 0, {}) for name in ("compiling", "counted"))
        assert compiling is not None
        assert counted is not None
        train(trial, reference, compiling, device="cpu", test=False)  # compiles, and opens the data
        with timed() as times:
            train(trial, reference, counted, device="cpu", traces=traces)
    epochs = whole.training.epochs
    often = dict.fromkeys(PARTS, epochs / case.epochs) | dict.fromkeys(ONCE, 1)
    due, seen = (sum(traces.due(epoch, last) for epoch in range(last + 1)) for last in (epochs, case.epochs))
    often |= dict.fromkeys(("traces", "rows of traces"), due / seen)
    often["evaluation"] = (epochs + 1) / (case.epochs + 1)
    return {name: often[name] * sum(taken) for name, taken in times.items()}


def figures(names: list[str]) -> Iterator[Figure]:
    """The profiles of the named cases."""
    for name in names:
        parts = profile(CASES[name])
        total = sum(parts.values())
        for part, seconds in sorted(parts.items(), key=lambda item: -item[1]):
            print(f"  {part}: {seconds:.2f} s, {100 * seconds / total:.1f} %")
        once, steps = (sum(parts[part] for part in some) for some in (ONCE, STEP))
        share = 100 * (1 - steps / (total - once))
        yield Figure(f"{name}: an epoch's time beside its steps", share, "%", most=CASES[name].most)
        yield Figure(f"{name}: a trial's start, test and ablations", 100 * once / total, "%")
        yield Figure(f"{name}: a trial", total, "s")


def main() -> None:
    """Print the profiles and merge their shares into a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES), metavar="CASE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    report(figures(given.only), given.figures)


if __name__ == "__main__":
    main()
