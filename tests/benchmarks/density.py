"""Speed of densities on points beside PySCF's own evaluation of the same points, on one thread.

    python -m tests.benchmarks.density --figures build/bench.json

PySCF evaluates the orbital density (`eval_gto` and `eval_rho`, def2-SVP) and the auxiliary functions themselves
(`eval_gto` times their coefficients), each with and without its own screening, and the faster counts. ε needs two
densities by every l, PySCF's are one in all. Times are those of the processor, and printed as ratios too, for
machines differ.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from e3nn import o3
from pyscf import dft, gto, lib
from pyscf.data.elements import ELEMENTS

from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.density.density import density_on_points, epsilon_by_order
from tesseral.models.density.quadrature import Quadrature, along_curve, atom_grid
from tesseral.models.density.uniform_grid import COARSE, cube_grid
from tesseral.models.reference.calculation.auxiliary_shells import auxiliary_shells
from tesseral.models.reference.calculation.density_fit import auxiliary_molecule
from tesseral.study.constants import BOHR
from tests.benchmarks.figures import Figure, report

WATER = torch.tensor([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]], dtype=torch.float64)
BLOCK = 4096
"""Points that PySCF is given at a time."""
CLUSTERS = (("a water", 1, (2.5, 4.0)), ("3 waters", 3, (2.5, 2.5)), ("10 waters", 10, (1.5, 1.0)))


def cluster(molecules: int) -> tuple[tuple[int, ...], torch.Tensor]:
    """Waters 3 Å apart on a cubic lattice, turned at random."""
    generator = torch.Generator().manual_seed(0)
    side = int(np.ceil(molecules ** (1 / 3)))
    parts = []
    for place in range(molecules):
        turn = o3.angles_to_matrix(*(6 * torch.rand(3, dtype=torch.float64, generator=generator)))
        corner = torch.tensor([place % side, place // side % side, place // side**2], dtype=torch.float64)
        parts.append(WATER @ turn.T + 3 * corner)
    return (8, 1, 1) * molecules, torch.cat(parts)


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """The least processor time of some calls, after one that warms up."""
    call()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return min(times)


def by_pyscf(molecule: gto.Mole, points: np.ndarray, density: Callable[[np.ndarray], np.ndarray]) -> float:
    """Seconds of PySCF's functions on points, bohr, and of what a density makes of each block of them."""
    blocks = [points[start : start + BLOCK] for start in range(0, len(points), BLOCK)]

    def plain() -> None:
        for block in blocks:
            density(molecule.eval_gto("GTOval_sph", block))

    def screened() -> None:
        for block in blocks:
            mask = dft.gen_grid.make_mask(molecule, block)
            density(molecule.eval_gto("GTOval_sph", block, non0tab=mask))

    return min(seconds(plain), seconds(screened))


def of_cluster(name: str, molecules: int, limits: tuple[float, float]) -> list[Figure]:
    """What is measured of one cluster.

    :param limits: of the density's time over that of PySCF's auxiliary functions, and of ε's over `eval_rho`'s.
    """
    basis = AuxiliaryBasis("jfit", {z: auxiliary_shells(z, "def2-universal-jfit", True) for z in (1, 8)})
    numbers, positions = cluster(molecules)
    generator = torch.Generator().manual_seed(1)
    # Positive s functions and small errors.
    reference = [
        torch.cat([torch.full((2 * s.l + 1,), float(s.l == 0), dtype=torch.float64) for s in basis.shells[z]])
        for z in numbers
    ]
    other = [c + 1e-2 * torch.randn(c.shape, generator=generator, dtype=torch.float64) for c in reference]
    grid = atom_grid(positions)
    bohr = grid.points[along_curve(grid.points)].numpy() / BOHR

    auxiliary = auxiliary_molecule(basis.shells, numbers, positions.numpy())
    vector = torch.cat(other).numpy()
    functions = by_pyscf(auxiliary, bohr, lambda values: values @ vector)
    atoms = [(ELEMENTS[z], r) for z, r in zip(numbers, positions.tolist(), strict=True)]
    molecule = gto.M(atom=atoms, basis="def2-svp", verbose=0)
    matrix = np.eye(molecule.nao)
    rho = by_pyscf(molecule, bohr, lambda values: dft.numint.eval_rho(molecule, values, matrix))

    def epsilon(over: Quadrature) -> float:
        return epsilon_by_order(basis, numbers, positions, other, reference, over)[None]

    density = seconds(lambda: density_on_points(basis, numbers, positions, other, grid.points))
    becke = seconds(lambda: epsilon(grid))
    whole, coarse = cube_grid(positions), cube_grid(positions, levels=COARSE)
    published, fast = seconds(lambda: epsilon(whole), 1), seconds(lambda: epsilon(coarse))
    return [
        Figure(f"density of {name} over PySCF's auxiliary functions", density / functions, "ratio", limits[0]),
        Figure(f"ε of {name} over PySCF's eval_rho", becke / rho, "ratio", limits[1]),
        Figure(
            f"coarse ε of {name} against the published grid", 100 * abs(epsilon(coarse) / epsilon(whole) - 1), "%", 1.0
        ),
        Figure(f"time of the coarse ε of {name} over the published grid's", fast / published, "ratio", 0.3),
        Figure(f"points of the Becke grid of {name}", len(grid.points), "points"),
        Figure(f"density of {name}", 1000 * density, "ms"),
        Figure(f"ε of {name}", 1000 * becke, "ms"),
        Figure(f"PySCF's eval_rho of {name}", 1000 * rho, "ms"),
        Figure(f"PySCF's auxiliary functions of {name}", 1000 * functions, "ms"),
        Figure(f"ε of {name} on the published grid", 1000 * published, "ms"),
        Figure(f"ε of {name} on the coarse grid", 1000 * fast, "ms"),
        Figure(f"Becke grid of {name}", 1000 * seconds(lambda: atom_grid(positions)), "ms"),
    ]


def main() -> None:
    """Measure, print and merge into the file of figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--figures", type=Path, default=Path("build/bench.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    lib.num_threads(1)
    report(
        (figure for name, molecules, limits in CLUSTERS for figure in of_cluster(name, molecules, limits)),
        options.figures,
    )


if __name__ == "__main__":
    main()
