"""What traces and ablations cost beside the training that they watch, on one thread.

    python tests/bench_traces.py --figures build/bench.json

Networks of Rackers & Rao's kind learn the density of water dimers and trimers in a basis of the size of
def2-universal-jfit (O 12s5p4d2f1g, H 5s2p1d), with random coefficients: what is learnt changes no time. A training
step, a trace with its rows as a file, and the ablations after training are timed by turns. Medians are weighed as often
as each comes in a trial of the study `hierarchy` on the average: 100 epochs of 78 steps of 4 structures (13 to 200, by
the size of the training set), at the default schedule. Evaluations, which training makes too, are left out of it.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from figures import Figure, report

from tesseral.models.ablation import STRUCTURES, TOGETHER, ablate
from tesseral.models.auxiliary import AuxiliaryBasis, Shell
from tesseral.models.data_set import open_data_set
from tesseral.models.loss import build_loss
from tesseral.models.metrics import evaluation_batches
from tesseral.models.model import build_model
from tesseral.models.reference_file import Reference
from tesseral.models.tracing import Tracer
from tesseral.study.configuration import Configuration, Data, Hidden, Loss, Network, Training
from tesseral.study.records import REFERENCE, TRACES, to_table
from tesseral.study.segments import encode, rows_to_table
from tesseral.study.trial import Traces

EPOCHS, STEPS, BATCH = 100, 78, 4
SMALL = (80, 9, (24, 12, 8, 4))
"""Epochs, steps and widths of the study's small preset, where nothing is claimed: it has as many traces and fewer
steps."""
TURNS = 5
STEPS_PER_TURN = 5
WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
WIDTHS = {"Rackers & Rao's widths": (125, 40, 25, 15), "a quarter of them": (32, 10, 6, 4)}
LMAX = (0, 2, 4)


def shells(counts: tuple[int, ...]) -> tuple[Shell, ...]:
    """So many of l = 0, 1, …"""
    return tuple(Shell(l, (0.5 + 0.3 * n,), (1.0,)) for l, count in enumerate(counts) for n in range(count))  # noqa: E741


BASIS = AuxiliaryBasis("like jfit", {8: shells((12, 5, 4, 2, 1)), 1: shells((5, 2, 1))})


def clusters(number: int) -> Reference:
    """Dimers and trimers by turns."""
    draw = np.random.default_rng(0)
    rows = []
    for index in range(number):
        molecules = 2 + index % 2
        turns = [np.linalg.qr(draw.normal(size=(3, 3)))[0] for _ in range(molecules)]
        positions = np.concatenate([WATER @ turn.T + [2.8 * k, 1.0 * (k % 2), 0] for k, turn in enumerate(turns)])
        numbers = [8, 1, 1] * molecules
        sizes = [sum(2 * shell.l + 1 for shell in BASIS.shells[z]) for z in numbers]
        row = {"id": str(index), "atomic_numbers": numbers, "positions": positions.tolist(), "charge": 0, "spin": 0}
        row |= {"converged": True, "coefficients": [draw.normal(size=size).tolist() for size in sizes]}
        rows.append(row | {"overlap": np.eye(sum(sizes))[np.tril_indices(sum(sizes))].tolist()})
    return Reference(to_table(rows, REFERENCE), BASIS)


def seconds(call: Callable[[], object]) -> float:
    """Of the processor."""
    began = time.process_time()
    call()
    return time.process_time() - began


def cost(
    reference: Reference, lmax: int, mul: tuple[int, ...], epochs: int = EPOCHS, steps: int = STEPS
) -> tuple[float, float, float]:
    """Traces and ablations over the time of training, and seconds of a step."""
    configuration = Configuration(
        data=Data(reference="", train=len(reference.table) - STRUCTURES, validation=STRUCTURES, test=1),
        network=Network(hidden=Hidden(lmax=lmax, mul=mul), harmonics_lmax=4),
        loss=Loss(name="raw"),
        training=Training(epochs=epochs, batch_size=BATCH),
    ).resolved()
    cpu, traces = torch.device("cpu"), Traces()
    data = open_data_set(reference, configuration, torch.float32, cpu)
    model = build_model(configuration, reference, num_neighbors=data.neighbors(range(len(data))), seed=0)
    model.target.standardise(data.structures)
    loss = build_loss(configuration.loss, model.target, data.structures).float()
    model = model.float()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    train = range(STRUCTURES, len(data))
    probe = [data.batch(train[start : start + BATCH]) for start in range(0, traces.probe, BATCH)]
    tracer = Tracer(model, loss, probe, strict=True)
    validation = evaluation_batches(data, range(STRUCTURES), TOGETHER)

    def step(number: int) -> None:
        batch = data.batch([train[(number * BATCH + k) % len(train)] for k in range(BATCH)])
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
    training = epochs * steps * medians["step"]
    traced = sum(traces.due(epoch, epochs) for epoch in range(epochs + 1)) * medians["trace"]
    return traced / training, medians["ablation"] / training, medians["step"]


def main() -> None:
    """Measure, print and merge into the file of figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--figures", type=Path, default=Path("build/bench.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    reference, figures = clusters(STRUCTURES + 40), []
    for name, mul in WIDTHS.items():
        for lmax in LMAX:
            traced, ablated, step = cost(reference, lmax, mul)
            which = f"l_max {lmax}, {name}"
            figures.append(Figure(f"traces of {which}, over training", 100 * traced, "%", 1.0))
            figures.append(Figure(f"ablations of {which}, over training", 100 * ablated, "%", 5.0))
            figures.append(Figure(f"a step of {which}", 1000 * step, "ms"))
    epochs, steps, mul = SMALL
    traced, ablated, _ = cost(reference, 2, mul, epochs, steps)
    figures.append(Figure("traces of the small preset, l_max 2, over training", 100 * traced, "%"))
    figures.append(Figure("ablations of the small preset, l_max 2, over training", 100 * ablated, "%"))
    report(figures, options.figures)


if __name__ == "__main__":
    main()
