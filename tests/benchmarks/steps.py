"""A training step against e3nn's own network, as ratios of medians of alternating steps in one process, on one thread.

    python -m tests.benchmarks.steps --figures build/bench.json
    python -m tests.benchmarks.steps --only rackers-240 --turns 5

The yardstick is `gate_points_2101` of e3nn as `study/examples/gate_points.py` wraps it: geometry, which e3nn's own
forward would compute anew in every step, is given to it. Both networks have the same irreps, take the same batch of
random water clusters, and make a whole step: zero gradients, forward, backward, Adam. `README.md` beside this file
holds the table of what was measured, with what limits each figure.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn import Module

from tesseral.models.networks.graph import EdgeBasis, Graph, at_positions, build_graph, join
from tesseral.models.networks.irreps import e3nn_irreps
from tesseral.models.networks.network import build_network
from tesseral.models.networks.products.backend import choose_backend
from tesseral.models.networks.seeding import initialising
from tesseral.models.reference.geometries.water_clusters import water_cluster
from tesseral.study import configuration
from tesseral.study.configuration.network import Fusion, Hidden
from tesseral.study.examples.gate_points import GatePoints
from tesseral.study.parsing.irreps import parse_irreps
from tests.benchmarks.direct import direct
from tests.benchmarks.figures import Figure, report

DENSITY = parse_irreps("12x0e+5x1o+4x2e+2x3o+1x4e")
"""Outputs of the size of def2-universal-jfit on oxygen and hydrogen."""
ENERGY = parse_irreps("1x0e")
RACKERS = (125, 40, 25, 15)
WARM_UP = 2


class Case(NamedTuple):
    """A network and a batch, and what is to be reached."""

    lmax: int
    mul: tuple[int, ...]
    clusters: int
    molecules: int
    least: float
    """Stock's time over ours."""
    width: int = 128
    backend: str = "fused"
    forces: bool = False
    interaction: str = "gated"
    diagram: str = "none"
    knots: int | None = None
    """Of a table of our radial network."""


CASES = {
    "lmax1-240": Case(1, (32,), 8, 10, 4.5),
    "lmax2-240": Case(2, (32,), 8, 10, 8),
    "lmax3-240": Case(3, (32,), 8, 10, 12),
    "lmax4-240": Case(4, (16,), 8, 10, 12),
    "rackers-30": Case(3, RACKERS, 1, 10, 8),
    "rackers-90": Case(3, RACKERS, 3, 10, 9),
    "rackers-240": Case(3, RACKERS, 8, 10, 9.5),
    "tabulated rackers-240": Case(3, RACKERS, 8, 10, 13, knots=128),
    "quickstart-24": Case(3, (24, 12, 8, 4), 4, 2, 8, width=32),
    "portable lmax2-240": Case(2, (32,), 8, 10, 3, backend="portable"),
    "portable rackers-240": Case(3, RACKERS, 8, 10, 3, backend="portable"),
    "forces lmax2-90": Case(2, (32,), 3, 10, 4, forces=True),
    "forces rackers-90": Case(3, RACKERS, 3, 10, 4, forces=True),
    "mace-90": Case(2, (32,), 3, 10, 3, interaction="mace"),
    "cormorant-90": Case(2, (32,), 3, 10, 3, interaction="cormorant"),
    "fusion-90": Case(2, (32,), 3, 10, 3, diagram="((neighbours neighbours) centre)"),
}
"""By name: l_max or widths, and atoms."""


def settings_of(case: Case) -> configuration.Network:
    """The `network` section of a case."""
    return configuration.Network(
        interaction=case.interaction,
        hidden=Hidden(lmax=case.lmax, mul=case.mul, parity="both" if case.interaction == "gated" else "natural"),
        fusion=Fusion(diagram=case.diagram),
        radial_width=case.width,
        radial_knots=case.knots,
    ).resolve()


def batch(case: Case, settings: configuration.Network) -> Graph:
    """Random clusters of water in float32."""
    basis, species = EdgeBasis.from_settings(settings), torch.tensor([1, 0, 0] * case.molecules)
    clusters = [torch.tensor(water_cluster(case.molecules, index, seed=0)) for index in range(case.clusters)]
    whole = join([build_graph(species, positions, 2, basis) for positions in clusters])
    return Graph(*(part.float() if part.is_floating_point() else part for part in whole))


def networks(case: Case, settings: configuration.Network) -> tuple[Module, Module]:
    """Stock's network and ours, in float32; of layers that multiply features, the same network in e3nn and ours."""
    outputs = ENERGY if case.forces else DENSITY
    ours = build_network(settings, 2, outputs, num_neighbors=8.0, seed=0)
    if case.interaction == "gated" and case.diagram == "none":
        with initialising(0):
            stock: Module = GatePoints(settings, elements=2, irreps_out=e3nn_irreps(outputs), num_neighbors=8.0).float()
        ours = ours.float()
    else:
        with initialising(0):
            stock = direct(ours).float()
        ours = ours.float()
    choose_backend(ours, case.backend, torch.device("cpu"))
    return stock, ours


@torch.no_grad()
def table_error(case: Case, tabulated: Module, graph: Graph, exact_graph: Graph) -> float:
    """The largest difference that a table makes to the outputs, as a share of their root mean square."""
    settings = settings_of(case._replace(knots=None))
    exact = build_network(settings, 2, DENSITY, num_neighbors=8.0, seed=0).float()
    exact.load_state_dict(tabulated.state_dict())
    expected = exact(exact_graph)
    return float((tabulated(graph) - expected).abs().max() / expected.square().mean().sqrt())


@torch.no_grad()
def check_equal(case: Case, both: tuple[Module, Module], graph: Graph) -> None:
    """Check that a direct build gives our outputs. Stock's own network has other weights."""
    if case.interaction == "gated" and case.diagram == "none":
        return
    theirs, ours = (each(graph) for each in both)
    error = float((theirs - ours).abs().max() / theirs.abs().max())
    if not error < 1e-4:
        raise RuntimeError(f"expected equal outputs of both networks, got a relative difference of {error:.1e}")


def step(network: Module, graph: Graph, basis: EdgeBasis, *, forces: bool) -> Callable[[], None]:
    """A training step on a batch; with forces, of a loss of energy and forces."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)

    def loss() -> torch.Tensor:
        if not forces:
            outputs: torch.Tensor = network(graph)
            return outputs.square().mean()
        positions = graph.positions.detach().requires_grad_()
        energy = network(at_positions(graph, positions, basis)).sum()
        (gradient,) = torch.autograd.grad(energy, positions, create_graph=True)
        return gradient.square().mean()

    def run() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return run


def alternating(steps: tuple[Callable[[], None], ...], turns: int) -> list[float]:
    """The median time of each, s, when they run by turns."""
    times: list[list[float]] = [[] for _ in steps]
    for turn in range(WARM_UP + turns):
        for each, run in zip(times, steps, strict=True):
            began = time.process_time()  # of this thread alone: what else the machine does counts little
            run()
            if turn >= WARM_UP:
                each.append(time.process_time() - began)
    return [statistics.median(each) for each in times]


def figures(names: list[str], turns: int) -> Iterator[Figure]:
    """The ratios of the named cases."""
    for name in names:
        case = CASES[name]
        settings = settings_of(case)
        graph, basis = batch(case, settings), EdgeBasis.from_settings(settings)
        both = networks(case, settings)
        check_equal(case, both, graph)
        exact = graph if case.knots is None else batch(case, settings_of(case._replace(knots=None)))
        steps = tuple(step(each, of, basis, forces=case.forces) for each, of in zip(both, (exact, graph), strict=True))
        stock, ours = alternating(steps, turns)
        print(f"{len(graph.species)} atoms, {len(graph.source)} edges: {1e3 * stock:.1f} ms over {1e3 * ours:.1f} ms")
        yield Figure(f"step {name}: e3nn's time over ours", stock / ours, "×", least=case.least)
        if case.knots is not None:
            yield Figure(
                f"step {name}: largest error of an output", table_error(case, both[1], graph, exact), "", most=1e-3
            )


def main() -> None:
    """Print the ratios and merge them into a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--turns", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(1)
    report(figures(given.only, given.turns), given.figures)


if __name__ == "__main__":
    main()
