"""What making reference data costs beside the calculations alone, and whether its memory stays flat.

    python -m tests.benchmarks.reference --structures 1000 --figures build/bench.json

Random water dimers, PBE0/def2-SVP with the default quantities, on Ray with all cores. Before, a sample of the same
dimers is computed one after another on one core with nothing beside it. The time of all of them on one core alone is
the sum of their times on Ray, scaled by what the sample took alone over what it took on Ray.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# One core: before NumPy is imported.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


from tesseral.cluster.data.recipe_run import run_recipe
from tesseral.cluster.nodes.ray_session import as_completed, cores
from tesseral.models.data.reference_file import read_reference
from tesseral.models.reference.calculation.calculation import calculate
from tesseral.models.reference.geometries.recipe_structures import structure_at
from tesseral.study.recipe.recipe import Recipe, RecipeReference
from tesseral.study.recipe.structures import WaterClusters
from tests.benchmarks.figures import Figure, report


def resident(pid: str) -> float:
    """Memory of a process, MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def workers() -> float:
    """Memory of the largest process that computes, MB."""
    peaks = [0.0]
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and (path / "cmdline").read_bytes().startswith((b"ray::_apply", b"ray::IDLE")):
                peaks.append(resident(path.name))
        except OSError:  # it has just ended
            continue
    return max(peaks)


def alone(recipe: Recipe, sample: list[int]) -> dict[str, float]:
    """Seconds of some structures, one after another in this process; the first is computed twice."""
    structures = [structure_at(recipe, index) for index in sample]
    calculate(structures[0], recipe.method)
    return {structure.id: calculate(structure, recipe.method)["seconds"] for structure in structures}


def measured(recipe: Recipe, sample: int, storage: str, tell: Callable[[str], None]) -> list[Figure]:
    """The figures."""
    count = recipe.structures[0].count
    sample = min(sample, count)
    single = alone(recipe, [index * count // sample for index in range(sample)])
    tell(f"{sample} alone: {sum(single.values()) / sample:.3f} s each")
    memory: dict[int, tuple[float, float]] = {}

    def progress(done: int, total: int) -> None:
        if done * 10 // total > len(memory):
            memory[done] = (resident("self"), workers())
            driver, worker = memory[done]
            took = time.monotonic() - began
            tell(f"{done} of {total} after {took:.0f} s, driver {driver:.0f} MB, worker {worker:.0f} MB")

    began = time.monotonic()
    location, _ = run_recipe(recipe, storage, as_completed, progress, tell)
    wall, after = time.monotonic() - began, resident("self")
    table = read_reference(location).table
    together = dict(zip(table["id"].to_pylist(), table["seconds"].to_pylist(), strict=True))
    total = sum(together.values())
    scale = sum(single.values()) / sum(together[name] for name in single)
    ideal = total * scale / cores()
    first, *_, last = memory.values()
    what = f"{count} water dimers, PBE0/def2-SVP, {cores()} cores"
    figures = [
        Figure("time over (times alone on one core / cores)", wall / ideal, "ratio", 1.15),
        Figure("time", wall, "s"),
        Figure("a structure alone on one core", total * scale / count, "s"),
        Figure("a structure beside the others, over alone", 1 / scale, "ratio"),
        Figure("time over (times beside one another / cores)", wall / (total / cores()), "ratio"),
        Figure("driver's memory at the end over that at 10 %", last[0] / first[0], "ratio", 1.1),
        Figure("driver's memory once the file is made", after, "MB"),
        Figure("a worker's memory at the end over that at 10 %", last[1] / first[1], "ratio", 1.2),
        Figure("a worker's memory at the end", last[1], "MB"),
    ]
    return [figure._replace(what=f"{what}: {figure.what}") for figure in figures]


def main() -> None:
    """Measure, print and merge into the file of figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--structures", type=int, default=1000)
    parser.add_argument("--sample", type=int, default=30)
    parser.add_argument("--figures", type=Path, default=Path("build/bench.json"))
    options = parser.parse_args()
    dimers = WaterClusters(kind="water_clusters", molecules=2, count=options.structures, seed=1)
    recipe = Recipe(reference=RecipeReference(name="dimers"), structures=(dimers,))
    with tempfile.TemporaryDirectory(prefix="reference-") as storage:
        figures = measured(recipe, options.sample, storage, lambda line: print(line, flush=True))
    report(figures, options.figures)


if __name__ == "__main__":
    main()
