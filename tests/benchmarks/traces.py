"""What traces and ablations cost beside the training that they watch, on one thread.

    python -m tests.benchmarks.traces --figures build/bench.json

Networks, loss, batches, epochs and the schedule of traces are those of the shipped study `hierarchy` and of its small
preset, read from its file. They learn the density of water dimers and trimers in a basis of the size of
def2-universal-jfit (O 12s5p4d2f1g, H 5s2p1d), with random coefficients: what is learnt changes no time. A training
step, a trace with its rows as a file, and the ablations after training are timed by turns. Medians are weighed as often
as each comes in a trial of the study on the average over its sizes of the training set. Evaluations, which training
makes too, are left out of it. Nothing is claimed of the preset: it has nearly as many traces and far fewer steps.

The bound of 1 % is of that average: an arm with `data.train = 50` has as many traces and a sixth of the steps, and in
it alone they cost about 3.8 % of training (3.7 to 4.0).
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
import torch

from tesseral.models.data.data_set import open_data_set
from tesseral.models.data.reference_file import Reference
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis, Shell
from tesseral.models.targets.metrics import evaluation_batches
from tesseral.models.targets.model import build_model
from tesseral.models.traces.ablation import TOGETHER, ablate
from tesseral.models.traces.tracer import Tracer
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.network import Hidden
from tesseral.study.configuration.trial import Traces
from tesseral.study.parsing.irreps import parse_irreps
from tesseral.study.records.schemas import ABLATION_STRUCTURES, REFERENCE, TRACES, to_table
from tesseral.study.records.segments import encode, rows_to_table
from tesseral.study.study import Study
from tests.benchmarks.figures import Figure, report

STUDY = resources.files("tesseral.study.examples") / "hierarchy.toml"
TURNS = 5
STEPS_PER_TURN = 5
WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
LMAX = (0, 2, 4)
SMALL_LMAX = 2


@dataclass(frozen=True)
class Case:
    """What a trial of the study with one l_max is on the average over its sizes of the training set."""

    configuration: Configuration
    """Of one of them, at natural widths."""
    traces: Traces
    steps: float
    """Of an epoch."""
    measured: int
    """Structures of the validation split that ablations are measured on."""


def case(preset: str | None, lmax: int) -> Case:
    """Of the whole study, or of a preset of it."""
    study = Study.load(str(STUDY), preset)
    configurations = [arm.configuration for arm in study.arms if arm.factors["network.hidden.lmax"] == lmax]
    steps = statistics.mean(math.ceil(one.data.train / one.training.batch_size) for one in configurations)
    return Case(
        configurations[0], study.file.traces, steps, min(ABLATION_STRUCTURES, configurations[0].data.validation)
    )


def quarter(given: Case) -> Case:
    """The same with a quarter of the channels."""
    configuration = given.configuration
    terms = parse_irreps(str(configuration.network.hidden.irreps))
    irreps = "+".join(str(term._replace(mul=math.ceil(term.mul / 4))) for term in terms)
    network = replace(configuration.network, hidden=Hidden(irreps=irreps))
    return replace(given, configuration=replace(configuration, network=network).resolved())


def shells(counts: tuple[int, ...]) -> tuple[Shell, ...]:
    """So many of l = 0, 1, …"""
    return tuple(Shell(l, (0.5 + 0.3 * n,), (1.0,)) for l, count in enumerate(counts) for n in range(count))  # noqa: E741


BASIS = AuxiliaryBasis("like jfit", {8: shells((12, 5, 4, 2, 1)), 1: shells((5, 2, 1))})


def clusters(number: int, sizes: Sequence[int] = (2, 3)) -> Reference:
    """Clusters of so many waters, by turns."""
    draw = np.random.default_rng(0)
    rows = []
    for index in range(number):
        molecules = sizes[index % len(sizes)]
        turns = [np.linalg.qr(draw.normal(size=(3, 3)))[0] for _ in range(molecules)]
        positions = np.concatenate([WATER @ turn.T + [2.8 * k, 1.0 * (k % 2), 0] for k, turn in enumerate(turns)])
        numbers = [8, 1, 1] * molecules
        functions = [sum(2 * shell.l + 1 for shell in BASIS.shells[z]) for z in numbers]
        row = {"id": str(index), "atomic_numbers": numbers, "positions": positions.tolist(), "charge": 0, "spin": 0}
        row |= {"converged": True, "coefficients": [draw.normal(size=size).tolist() for size in functions]}
        rows.append(row | {"overlap": np.eye(sum(functions))[np.tril_indices(sum(functions))].tolist()})
    return Reference(to_table(rows, REFERENCE), BASIS)


def seconds(call: Callable[[], object]) -> float:
    """Of the processor."""
    began = time.process_time()
    call()
    return time.process_time() - began


def cost(reference: Reference, given: Case) -> tuple[float, float, float]:
    """Traces and ablations over the time of training, and seconds of a step."""
    held, batch_size = given.measured, given.configuration.training.batch_size
    data_of = Data(reference="", train=len(reference.table) - held, validation=held, test=1)
    configuration = replace(given.configuration, data=data_of)
    epochs, traces = configuration.training.epochs, given.traces
    cpu = torch.device("cpu")
    data = open_data_set(reference, configuration, torch.float32, cpu)
    model = build_model(configuration, reference, num_neighbors=data.neighbors(range(len(data))), seed=0)
    model.target.standardise(data.structures)
    loss = model.target.build_loss(configuration.loss, data.structures).float()
    model = model.float()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    train = range(held, len(data))
    starts = range(0, traces.probe, batch_size)
    probe = [data.batch(train[start : min(start + batch_size, traces.probe)]) for start in starts]
    tracer = Tracer(model, loss, probe, strict=True)
    validation = evaluation_batches(data, range(held), TOGETHER)

    def step(number: int) -> None:
        batch = data.batch([train[(number * batch_size + k) % len(train)] for k in range(batch_size)])
        optimizer.zero_grad()
        loss(model.target.error(model(batch.graph), batch), batch).backward()
        optimizer.step()

    times: dict[str, list[float]] = {"step": [], "trace": [], "ablation": []}
    for turn in range(TURNS + 1):
        model.train()
        each = seconds(lambda: [step(number) for number in range(STEPS_PER_TURN)]) / STEPS_PER_TURN
        model.eval()
        traced = seconds(
            lambda: encode(rows_to_table([row._asdict() for row in tracer.measure(tracer.weights())], "", TRACES))
        )
        ablated = seconds(lambda: ablate(model, validation, seed=0)) if turn < 3 else None
        if turn:  # the first warms up
            for name, value in (("step", each), ("trace", traced), ("ablation", ablated)):
                times[name] += [] if value is None else [value]
    medians = {name: statistics.median(values) for name, values in times.items()}
    training = epochs * given.steps * medians["step"]
    traced = sum(traces.due(epoch, epochs) for epoch in range(epochs + 1)) * medians["trace"]
    return traced / training, medians["ablation"] / training, medians["step"]


def main() -> None:
    """Measure, print and merge into the file of figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--figures", type=Path, default=Path("build/bench.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    reference, figures = clusters(ABLATION_STRUCTURES + 40), []
    for lmax in LMAX:
        whole = case(None, lmax)
        for name, given in (("the study's widths", whole), ("a quarter of them", quarter(whole))):
            traced, ablated, step = cost(reference, given)
            which = f"l_max {lmax}, {name}"
            figures.append(Figure(f"traces of {which}, over training", 100 * traced, "%", 1.0))
            figures.append(Figure(f"ablations of {which}, over training", 100 * ablated, "%", 5.0))
            figures.append(Figure(f"a step of {which}", 1000 * step, "ms"))
    traced, ablated, _ = cost(reference, case("small", SMALL_LMAX))
    figures.append(Figure(f"traces of the small preset, l_max {SMALL_LMAX}, over training", 100 * traced, "%"))
    figures.append(Figure(f"ablations of the small preset, l_max {SMALL_LMAX}, over training", 100 * ablated, "%"))
    report(figures, options.figures)


if __name__ == "__main__":
    main()
