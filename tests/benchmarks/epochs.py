"""What a trial spends beside its steps: start, batches, evaluations, traces, and the measures of its end.

    python -m tests.benchmarks.epochs --figures build/bench.json

A short training is timed part by part, and each part weighed as often as it comes in a whole trial of the study: time
of the processor, one thread, fused operator, clusters of two and three waters with random coefficients. Records are
left out. The first trial of a process, which compiles, is not counted: a worker trains many.
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
from typing import Any
from unittest.mock import patch

import torch

from tesseral.models.training import training
from tesseral.models.training.numerics import NUMERICS
from tesseral.models.training.training import train
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.network import Hidden
from tesseral.study.configuration.trial import Seeds, Traces, Trial
from tesseral.study.study import Study
from tests.benchmarks.figures import Figure, report
from tests.benchmarks.traces import clusters

STUDY = resources.files("tesseral.study.examples") / "quickstart.toml"
EPOCHS = 6
STEP = ("forward and backward", "optimizer")
PARTS = {
    "start": (training._Training, "__init__"),
    "evaluation": (training._Training, "_validate"),
    "rest of an epoch": (training._Training, "_train_epoch"),
    "forward and backward": (training._Training, "_add_gradients"),
    "optimizer": (training.Optimization, "step"),
    "batches": (training.DataSet, "batch"),
    "traces": (training.Tracer, "measure"),
    "ablations": (training._Training, "_ablate"),
    "test": (training._Training, "_measure_all"),
}
"""Name of a part → whose method it is. Time inside another part counts there alone."""


@dataclass(frozen=True)
class Case:
    """A trial, and the largest share of what is no step."""

    lmax: int
    most: float
    rackers: bool = False
    """Widths of Rackers & Rao instead of the quickstart's."""


CASES = {
    "quickstart, l_max 0": Case(0, 15),
    "quickstart, l_max 3": Case(3, 15),
    "Rackers' widths, l_max 3": Case(3, 5, rackers=True),
}


def configuration_of(case: Case) -> Configuration:
    """Of an arm of the quickstart, at natural widths."""
    given = Study.load(str(STUDY)).arms[case.lmax].configuration
    if case.rackers:
        given = replace(given, network=replace(given.network, hidden=Hidden(lmax=case.lmax), radial_width=128))
    data = Data(reference="", train=given.data.train, validation=given.data.validation, test=given.data.test)
    return replace(given, data=data)


class Memory:
    """Takes the rows and throws them away."""

    def curves(self, rows: list[dict[str, Any]]) -> None:
        """Take none."""

    def traces(self, rows: list[dict[str, Any]]) -> None:
        """Take none."""

    def boundary(self, step: int, steps: int, state: Callable[[], bytes], metrics: dict[str, float]) -> None:
        """Keep none."""


@contextmanager
def timed() -> Iterator[dict[str, list[float]]]:
    """Collect the seconds of each call of each part."""
    times: dict[str, list[float]] = defaultdict(list)
    inner: list[float] = []

    def run(name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        inner.append(0.0)
        began = time.process_time()
        try:
            return method(*args, **kwargs)
        finally:
            took = time.process_time() - began
            times[name].append(took - inner.pop())
            if inner:
                inner[-1] += took

    with ExitStack() as patches:
        for name, (owner, method) in PARTS.items():
            wrapped = partial(run, name, getattr(owner, method))
            patches.enter_context(
                patch.object(owner, method, lambda *args, _run=wrapped, **kwargs: _run(*args, **kwargs))
            )
        yield times


def profile(case: Case) -> dict[str, float]:
    """Seconds of each part in a whole trial."""
    whole = configuration_of(case)
    short = replace(whole, training=replace(whole.training, epochs=EPOCHS))
    reference, traces = clusters(whole.data.train + whole.data.validation + whole.data.test), Traces()
    seeds = Seeds(split=0, order=0, initialisation=0)
    trial = Trial(configuration=short.resolved(), data_hash=reference.content_hash, seeds=seeds, numerics=NUMERICS)
    train(trial, reference, Memory(), device="cpu")  # compiles, and opens the data
    with timed() as times:
        train(trial, reference, Memory(), device="cpu", traces=traces)
    epochs, steps = whole.training.epochs, short.resolved().steps_per_epoch
    often = {
        **dict.fromkeys(PARTS, 1),
        **dict.fromkeys((*STEP, "batches"), epochs * steps),
        "evaluation": epochs + 1,
        "rest of an epoch": epochs,
        "traces": sum(traces.due(epoch, epochs) for epoch in range(epochs + 1)),
    }
    return {name: often[name] * sum(taken) / len(taken) for name, taken in times.items()}


def figures(names: list[str]) -> Iterator[Figure]:
    """The profiles of the named cases."""
    for name in names:
        parts = profile(CASES[name])
        total = sum(parts.values())
        for part, seconds in sorted(parts.items(), key=lambda item: -item[1]):
            print(f"  {part}: {seconds:.2f} s, {100 * seconds / total:.1f} %")
        share = 100 * (1 - sum(parts[part] for part in STEP) / total)
        yield Figure(f"{name}: a trial's time beside its steps", share, "%", most=CASES[name].most)
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
