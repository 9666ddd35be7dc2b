"""What a training step takes of memory beside e3nn's own, and how its time grows with the atoms.

    python -m tests.benchmarks.growth --figures build/bench.json

The networks and batches are those of `steps.py`. Memory is the peak of resident memory in a step (Linux) over what is
resident before it, once the step has run twice; each network runs in a process of its own. Growth is the exponent of
the least-squares line through the logarithms of atoms and times.
"""

import argparse
import ctypes
import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from tesseral.models.networks.graph import EdgeBasis
from tests.benchmarks.figures import Figure, report
from tests.benchmarks.steps import CASES, Case, alternating, batch, networks, settings_of, step

CLUSTERS = (3, 6, 12, 24)
"""Numbers of clusters of ten waters, and so of atoms: 90 to 720."""
TURNS = 5


def peak(case: Case, which: str) -> float:
    """Peak memory of a step of `stock` or `ours`, MB."""
    settings = settings_of(case)
    graph, both = batch(case, settings), networks(case, settings)
    run = step(both[which == "ours"], graph, EdgeBasis.from_settings(settings), forces=case.forces)
    for _ in range(2):
        run()
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _resident("VmRSS")
    run()
    return _resident("VmHWM") - before


def _resident(name: str) -> float:
    """A line of the kernel's account of this process, MB."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in status if line.startswith(f"{name}:")) / 1024


def memory(name: str) -> Figure:
    """Our peak over stock's."""
    command = [sys.executable, "-m", "tests.benchmarks.growth", "--case", name, "--peak"]
    stock, ours = (float(subprocess.check_output([*command, which], text=True)) for which in ("stock", "ours"))
    print(f"{name}: peaks of {stock:.0f} MB and {ours:.0f} MB")
    return Figure(f"peak memory of step {name} over e3nn's", ours / stock, "ratio", most=0.6)


def exponent(name: str) -> Figure:
    """Of the time of our step over the number of atoms."""
    sizes, steps = [], []
    for clusters in CLUSTERS:
        case = CASES[name]._replace(clusters=clusters)
        settings = settings_of(case)
        graph, (_, ours) = batch(case, settings), networks(case, settings)
        sizes.append(len(graph.species))
        steps.append(step(ours, graph, EdgeBasis.from_settings(settings), forces=False))
    times = alternating(tuple(steps), TURNS)
    print(f"{name}: " + ", ".join(f"{n} atoms {1e3 * t:.1f} ms" for n, t in zip(sizes, times, strict=True)))
    slope = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
    return Figure(f"exponent of the time of step {name} over atoms", slope, "", most=1.05)


def figures() -> Iterator[Figure]:
    """Everything measured."""
    for name in ("lmax2-240", "rackers-240"):
        yield memory(name)
        yield exponent(name)


def main() -> None:
    """Print the figures and merge them into a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--case", choices=list(CASES))
    parser.add_argument("--peak", choices=["stock", "ours"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.peak:
        print(peak(CASES[given.case], given.peak))
    else:
        report(figures(), given.figures)


if __name__ == "__main__":
    main()
