"""Compositions of test structures whose atomic reference energies the training split leaves undetermined."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tesseral.cluster.planning.plan import StudyPlan
from tesseral.models.data.groups import group_structures
from tesseral.models.data.published_split import published_split
from tesseral.models.data.reference_file import Reference
from tesseral.models.data.split import split_structures
from tesseral.study.configuration.configuration import Data
from tesseral.study.configuration.quantities import quantity_of
from tesseral.study.configuration.trial import Seeds
from tesseral.study.constants import SYMBOLS
from tesseral.study.design.stages import confirm_seeds

TOLERANCE = 1e-6
"""Relative length of a composition outside the span of the training structures that is taken for rounding."""


def undetermined(plan: StudyPlan) -> Iterator[str]:
    """Name the data sets with test structures whose composition the training structures do not span.

    Extensive targets, such as the energy, are predicted relative to a number for each element, fitted by least squares
    on the training split. Training structures of water alone determine the sum for 2 H + O and leave that of OH open:
    its reference is then off by as much as an atom's energy.

    :param plan: its reference data may be missing; then nothing is known of them.
    :returns: one sentence for each data set.
    """
    file = plan.study.file
    checked: dict[tuple[str, Data], dict[str, set[str]]] = {}
    for arm in plan.study.arms:
        data = arm.configuration.data
        reference = plan.measure.reference(data)
        if reference is None:
            continue
        quantity = quantity_of(arm.configuration.target.quantity, reference.labels)
        if not quantity.has_atomic_references or (quantity.name, data) in checked:
            continue
        folds = file.replication.split == "folds"
        held = plan.held(data)
        seeds = [
            confirm_seeds(file.study.seed, block, 0, folds=folds, held=held) for block in range(file.replication.blocks)
        ]
        found = {"the test split": outside(reference, data, seeds)}
        for test, path in data.tests.items():
            if (tested := plan.measure.test_set(path)) is not None:
                compositions = tested.converged.table["atomic_numbers"].to_pylist()
                found[f"the test set {test}"] = outside(reference, data, seeds, compositions)
        checked[quantity.name, data] = found
    for (name, data), found in checked.items():
        for where, formulas in found.items():
            if formulas:
                shown = ", ".join(sorted(formulas)[:5]) + (" and others" if len(formulas) > 5 else "")
                yield (
                    f"the training split of {data.reference} does not determine the atomic references of {shown} in "
                    f"{where}, so their {name} is predicted with a large offset that dominates the error; add "
                    "structures of these compositions, or leave them out"
                )


def outside(
    reference: Reference, data: Data, seeds: Iterable[Seeds], tested: Sequence[list[int]] | None = None
) -> set[str]:
    """Formulas of test structures whose composition is no linear combination of those of the training structures.

    :param reference: the reference data.
    :param data: sizes of the splits.
    :param seeds: of the blocks.
    :param tested: atomic numbers of each test structure, if they are those of a test set of its own.
    """
    rows = reference.converged.table["atomic_numbers"].to_pylist()
    counts = np.array([_counts(row, reference) for row in rows])
    groups, published = group_structures(reference, data.groups), published_split(data, reference)
    formulas: set[str] = set()
    for seed in seeds:
        chosen = split_structures(data, groups, seed.split, seed.fold, published, seed.holdout)
        _, values, directions = np.linalg.svd(counts[list(chosen.train)], full_matrices=False)
        span = directions[values > TOLERANCE * values.max()]
        for row in [rows[index] for index in chosen.test] if tested is None else tested:
            if _missed(_counts(row, reference), span) > TOLERANCE:
                formulas.add(_formula(row))
    return formulas


def _counts(row: list[int], reference: Reference) -> NDArray[np.float64]:
    """Atoms of each element."""
    return np.array([row.count(number) for number in reference.elements], dtype=float)


def _missed(composition: NDArray[np.float64], span: NDArray[np.float64]) -> float:
    rest = composition - span.T @ (span @ composition)
    return float(np.linalg.norm(rest) / np.linalg.norm(composition))


def _formula(atomic_numbers: list[int]) -> str:
    counted = Counter(SYMBOLS[number - 1] for number in atomic_numbers)
    return "".join(f"{symbol}{number if number > 1 else ''}" for symbol, number in sorted(counted.items()))
