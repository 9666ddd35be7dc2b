"""The spaces that mace-torch's own symmetric contraction spans: golden values for the tests, no code shared.

It needs an environment of its own, for mace-torch pins another release of e3nn:

    python -m venv mace && mace/bin/pip install torch==2.13.0 mace-torch
    TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 mace/bin/python tests/support/golden_mace_contraction.py

writes `mace_contraction.json` beside it. For fixed random inputs of one channel, and each root irrep and order n, it
holds an orthonormal basis of the span of mace's outputs over all weights of that order: mace's paths are not
independent, and scaled otherwise than ours, so spaces are what can be compared.
"""

import json
import sys
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
import torch
from e3nn import o3
from mace.modules.symmetric_contraction import SymmetricContraction

PRODUCTS = {
    "1x0e+1x1o+1x2e": ("0e", "1o", "2e", "1e"),
    "1x0e+1x1o+1x2e+1x3o": ("0e", "1o", "2e"),
    "1x0e+1x0o+1x1o+1x1e": ("0o", "1e"),
}
"""Inputs, and the roots that are contracted from them."""
POINTS = {0: 36, 1: 16, 2: 11}
"""Random inputs by the root's l: their outputs number twice the largest rank or more."""
CORRELATION = 3


def columns(irreps_in: str, root: str, correlation: int, points: torch.Tensor) -> dict[int, np.ndarray]:
    """By order n up to `correlation`: the contraction's outputs for each unit vector of its weights of that order."""
    module = SymmetricContraction(o3.Irreps(irreps_in), o3.Irreps(f"1x{root}"), correlation, num_elements=1)
    (contraction,) = module.contractions
    # mace keeps the weights of the highest order apart, and the others from the second highest down.
    weights = {correlation - index - 1: weight for index, weight in enumerate(contraction.weights)}
    weights[correlation] = contraction.weights_max
    cases = {}
    with torch.no_grad():
        for order in range(1, correlation + 1):
            outputs = []
            for path in range(weights[order].shape[1]):
                for weight in weights.values():
                    weight.zero_()
                weights[order][0, path] = 1
                outputs.append(module(points[:, None], torch.ones(len(points), 1)).flatten())
            cases[order] = torch.stack(outputs, dim=1).numpy()
    return cases


def span(vectors: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the columns, whose sizes are of order 1; what rounding makes of zero does not count."""
    left, values, _ = np.linalg.svd(vectors, full_matrices=False)
    rank = int((values > 1e-6).sum())
    if rank == len(vectors) or (values[rank:] > 1e-11).any():
        sys.exit(f"expected a clear rank below the {len(vectors)} outputs, got singular values {values}")
    return left[:, :rank]


def main() -> None:
    torch.set_default_dtype(torch.float64)
    cases = []
    for number, (irreps_in, roots) in enumerate(PRODUCTS.items()):
        generator = np.random.default_rng(number)
        for root in roots:
            points = generator.normal(size=(POINTS[o3.Irrep(root).l], o3.Irreps(irreps_in).dim))
            every = {nu: columns(irreps_in, root, nu, torch.from_numpy(points)) for nu in range(1, CORRELATION + 1)}
            bases = {order: span(every[order][order]) for order in every}
            for nu, order in product(every, every):
                if order <= nu and span(np.hstack([every[nu][order], bases[order]])).shape != bases[order].shape:
                    sys.exit(f"{irreps_in} to {root}: order {order} depends on the correlation, {nu}")
            cases.append(
                {
                    "irreps_in": irreps_in,
                    "root": root,
                    "points": points.tolist(),
                    "bases": {str(order): basis.T.tolist() for order, basis in bases.items()},
                }
            )
            sys.stdout.write(f"{irreps_in} -> {root}: ranks {[basis.shape[1] for basis in bases.values()]}\n")
    versions = {name: version(name) for name in ("mace-torch", "e3nn", "torch", "numpy")}
    path = Path(__file__).with_name("mace_contraction.json")
    path.write_text(json.dumps({"versions": versions, "cases": cases}) + "\n", encoding="utf-8")
    sys.stdout.write(f"{path.name}: {path.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
