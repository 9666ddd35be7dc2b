"""One prepared check of an accelerator, of at most ten minutes: agreement, times against e3nn, a trial with resume.

    python -m tests.benchmarks.gpu --figures build/bench.json
    python -m tests.benchmarks.gpu --device cpu --only rackers-30 --turns 1     # a rehearsal without one

- Every kind of network on the device against e3nn's own products in float64 on the CPU: outputs and gradients.
- The cases of `tests/benchmarks/steps.py` on the device, ours on the backend that `auto` chooses there, by turns.
- A trial that is resumed in its middle ends at the same last bit as one that is not.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import Module

from tesseral.models.networks.graph import EdgeBasis, Graph
from tesseral.models.networks.network import build_network
from tesseral.models.networks.products.backend import choose_backend
from tesseral.models.training.checkpoint import restore_model
from tesseral.models.training.device import deterministic, device_name, find_device
from tesseral.models.training.training import train
from tests.benchmarks.figures import Figure, report
from tests.benchmarks.steps import CASES, DENSITY, Case, batch, networks, settings_of, step
from tests.support.synthetic_density import EMPTY, Memory, small_configuration, synthetic_reference, synthetic_trial

KINDS = {
    "gated": Case(2, (8,), 1, 3, 0),
    "mace": Case(2, (4,), 1, 3, 0, interaction="mace"),
    "cormorant": Case(2, (4,), 1, 3, 0, interaction="cormorant"),
    "fusion": Case(1, (4,), 1, 3, 0, diagram="(neighbours (centre edges))"),
}
AGREEMENT = {torch.float32: 1e-5, torch.float64: 1e-10}
TIMED = ("lmax1-240", "lmax2-240", "lmax3-240", "lmax4-240", "rackers-30", "rackers-90", "rackers-240", "quickstart-24")
WARM_UP = 2


def numbers(network: Module, graph: Graph) -> list[Tensor]:
    """Outputs, and the gradients of their mean square, in float64 on the CPU."""
    outputs = network(graph)
    weights = [weight for weight in network.parameters() if weight.numel()]
    gradients = torch.autograd.grad(outputs.square().mean(), weights, allow_unused=True)
    return [part.detach().double().cpu() for part in (outputs, *gradients) if part is not None]


def disagreement(case: Case, dtype: torch.dtype, device: torch.device) -> float:
    """The largest difference of any number, relative to the largest number of its tensor."""
    settings = settings_of(case)
    graph = batch(case, settings)
    ours = build_network(settings, 2, DENSITY, num_neighbors=8.0, seed=0)
    expected = deepcopy(ours)
    choose_backend(expected, "reference", torch.device("cpu"))
    ours = ours.to(device, dtype)
    choose_backend(ours, "auto", device)
    pairs = zip(
        numbers(ours, graph.to(device, dtype)),
        numbers(expected, graph.to(torch.device("cpu"), torch.float64)),
        strict=True,
    )
    return max(float((mine - theirs).abs().max() / theirs.abs().max().clamp(min=1e-12)) for mine, theirs in pairs)


def speed(case: Case, device: torch.device, turns: int) -> tuple[float, float]:
    """Median seconds of a step of stock's network and of ours, by turns."""
    settings = settings_of(case)
    graph, basis = batch(case, settings).to(device, torch.float32), EdgeBasis.from_settings(settings)
    both = [network.to(device) for network in networks(case, settings)]
    choose_backend(both[1], "auto", device)
    steps = [step(network, graph, basis, forces=False) for network in both]
    times: list[list[float]] = [[], []]
    for turn in range(WARM_UP + turns):
        for each, run in zip(times, steps, strict=True):
            began = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn >= WARM_UP:
                each.append(time.perf_counter() - began)
    return statistics.median(times[0]), statistics.median(times[1])


def resumes(device: str) -> bool:
    """Whether a trial that is resumed after two of four epochs ends at the last bit of one that is not."""
    reference = synthetic_reference()
    trial, whole, rest = synthetic_trial(reference, small_configuration(epochs=4)), Memory(), Memory()
    train(trial, reference, whole, device=device)
    steps = sorted(whole.states)
    train(trial, reference, rest, device=device, checkpoint=whole.states[steps[1]])
    one, other = (restore_model(of.states[steps[-1]], trial, EMPTY).state_dict() for of in (whole, rest))
    return all(torch.equal(one[key], other[key]) for key in one)


def figures(device: str, names: list[str], turns: int) -> Iterator[Figure]:
    """All of them."""
    where = find_device(device)
    label = device_name(where)
    with deterministic(where):
        for kind, case in KINDS.items():
            for dtype, most in AGREEMENT.items():
                error = disagreement(case, dtype, where) / most
                yield Figure(f"{label}: {kind}, {dtype}: disagreement with e3nn over {most:g}", error, "×", most=1)
    for name in names:
        stock, ours = speed(CASES[name], where, turns)
        print(f"{name}: {1e3 * stock:.2f} ms over {1e3 * ours:.2f} ms")
        yield Figure(f"{label}: step {name}: e3nn's time over ours", stock / ours, "×")
    yield Figure(f"{label}: a resumed trial ends at the same last bit", float(resumes(device)), "", least=1)


def main() -> None:
    """Print the figures and merge them into a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--figures", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--only", nargs="*", default=list(TIMED), choices=list(CASES), metavar="CASE")
    parser.add_argument("--turns", type=int, default=9)
    given = parser.parse_args()
    report(figures(given.device, given.only, given.turns), given.figures)


if __name__ == "__main__":
    main()
