"""What data as large as QM9 cost a worker: its own memory, the time to open them, and what a batch takes of a step.

    python -m tests.benchmarks.data --structures 20000 --figures build/bench.json

Molecules of 18 atoms from a generator, 500 of them again and again, with dipoles that are made up. One process makes
the files, another one opens them and begins a trial; its memory counts beyond what it had before.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from tesseral.models.data.data_set import DataSet, open_data_set
from tesseral.models.data.mapped_reference import map_reference, write_mapped
from tesseral.models.data.reference_file import Reference
from tesseral.models.training.numerics import NUMERICS
from tesseral.models.training.training import _Training
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.network import Hidden, Network
from tesseral.study.configuration.target import Target
from tesseral.study.configuration.training import Training
from tesseral.study.configuration.trial import Seeds, Traces, Trial
from tesseral.study.records.schemas import REFERENCE, to_table
from tests.benchmarks.figures import Figure, report

DIFFERENT, ATOMS, BATCH = 500, 18, 32
CPU = torch.device("cpu")


def reference(structures: int) -> Reference:
    """So many molecules: atoms 1.2 Å or more apart, as dense as in a real one."""
    draw, rows = np.random.default_rng(0), []
    grid = 1.45 * np.stack(np.meshgrid(*[np.arange(4)] * 3), axis=-1).reshape(-1, 3)
    for index in range(DIFFERENT):
        places = grid[draw.permutation(len(grid))[:ATOMS]] + draw.uniform(-0.1, 0.1, size=(ATOMS, 3))
        row = {"id": str(index), "atomic_numbers": draw.choice([1, 6, 7, 8], size=ATOMS).tolist()}
        row |= {"positions": places.tolist(), "charge": 0, "spin": 0, "converged": True}
        rows.append(row | {"dipole": draw.normal(size=3).tolist()})
    return Reference(pa.concat_tables([to_table(rows, REFERENCE)] * (structures // DIFFERENT)), None)


def asked(structures: int) -> Configuration:
    """A small network, whose steps are short."""
    held = structures // 14
    return Configuration(
        data=Data(reference="", train=structures - 2 * held, validation=held, test=held),
        network=Network(hidden=Hidden(irreps="24x0e+12x1o+8x2e"), layers=3, harmonics_lmax=3),
        target=Target(quantity="dipole"),
        training=Training(batch_size=BATCH),
    ).resolved()


def own_memory() -> float:
    """Of this process alone, without mapped files, GB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024 / 1e9


def worker(path: Path, content: str) -> dict[str, float]:
    """Open the data, and begin a trial on them."""
    before = own_memory()
    began = time.process_time()
    mapped = map_reference(path, content)
    configuration = asked(len(mapped))
    data = open_data_set(mapped, configuration, torch.float32, CPU)
    opened = time.process_time() - began
    seeds = Seeds(split=0, order=0, initialisation=0)
    trial = Trial(configuration=configuration, data_hash=content, seeds=seeds, numerics=NUMERICS)

    def start() -> _Training:
        """All that a trial does before its first step."""
        return _Training(trial, mapped, Unrecorded(), CPU, Traces(), None, None, {}, 1, "auto")

    started = start()  # what a process does once
    began = time.process_time()
    started = start()
    seconds = time.process_time() - began
    return {
        "opened": opened,
        "memory": own_memory() - before,
        "started": seconds,
        "share": share(data, started.model),
    }


class Unrecorded:
    """Takes the rows and throws them away."""

    def curves(self, rows: list[dict[str, Any]]) -> None:
        """Take none."""

    def traces(self, rows: list[dict[str, Any]]) -> None:
        """Take none."""

    def boundary(self, step: int, steps: int, state: Callable[[], bytes], metrics: dict[str, float]) -> None:
        """Keep none."""


def share(data: DataSet, model: torch.nn.Module, steps: int = 12) -> float:
    """What cutting out and joining a batch takes of its forward and backward pass."""
    draw, times = random.Random(0), np.zeros(2)
    for step in range(steps):
        began = time.process_time()
        batch = data.batch([draw.randrange(len(data)) for _ in range(BATCH)])
        made = time.process_time()
        model(batch.graph).square().sum().backward()
        times += [made - began, time.process_time() - made] if step > 1 else 0
    return float(times[0] / times[1])


def measured(structures: int, folder: Path) -> list[Figure]:
    """Everything measured."""
    made = reference(structures)
    path = folder / "reference.arrow"
    write_mapped(made, path)
    began = time.process_time()
    open_data_set(map_reference(path, made.content_hash), asked(structures), torch.float32, CPU)
    each = (time.process_time() - began) / structures
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / structures
    command = [sys.executable, "-m", "tests.benchmarks.data", "--only", str(path), "--content", made.content_hash]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    what = f"{structures:,} molecules"
    return [
        Figure(f"memory of a worker of its own with {what}", found["memory"], "GB", 1.0),
        Figure(f"opening {what} that were made", found["opened"], "s", 5.0),
        Figure(f"starting a trial on {what} in a worker that had one before", found["started"], "s", 0.3),
        Figure(f"a batch of {BATCH} of {what}, over its passes", 100 * found["share"], "%", 15.0),
        Figure(f"making {what}, each", 1000 * each, "ms"),
        Figure(f"files of {what}, each", size / 1000, "kB"),
    ]


def main() -> None:
    """Measure, print and merge into the file of figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--structures", type=int, default=20_000)
    parser.add_argument("--figures", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--only", type=Path)
    parser.add_argument("--content", default="")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only:
        print(json.dumps(worker(options.only, options.content)))
        return
    with tempfile.TemporaryDirectory(prefix="data-") as folder:
        report(measured(options.structures, Path(folder)), options.figures)


if __name__ == "__main__":
    main()
