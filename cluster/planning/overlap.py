"""Structures of a test set of its own that are in the data that is trained on, too."""

from collections.abc import Iterator

from tesseral.cluster.planning.plan import StudyPlan
from tesseral.models.data.groups import GEOMETRY, same_geometry
from tesseral.models.data.published_split import published_split
from tesseral.models.data.reference_file import Reference, rows_of
from tesseral.study.configuration.configuration import Data


def overlaps(plan: StudyPlan) -> Iterator[str]:
    """Name the test sets with structures that a trial may be trained on: their errors are too low.

    :param plan: its reference data may be missing; then nothing is known of them.
    :returns: one sentence for each test set and data set.
    """
    for data in dict.fromkeys(arm.configuration.data for arm in plan.study.arms):
        for name, path in data.tests.items():
            reference, tested = plan.measure.reference(data), plan.measure.test_set(path)
            if reference is None or tested is None:
                continue
            copies = copied(tested, reference, data)
            if copies:
                yield (
                    f"data.tests.{name}: {len(copies):,} of its {len(tested.converged):,} structures have the geometry "
                    f"of a structure of {data.reference} ({copies[0]}), so a network may be tested on what it was "
                    "trained on; leave them out of one of the two"
                )


def copied(tested: Reference, reference: Reference, data: Data) -> list[str]:
    """Ids of the test structures whose geometry is that of a structure that may be trained on.

    :param tested: data of the test set.
    :param reference: data that splits are drawn from.
    :param data: which of them are; with a published split, those of its training part.
    """
    tests = list(rows_of(tested.converged.table, "id", *GEOMETRY))
    compositions = {tuple(row["atomic_numbers"]) for row in tests}
    table = reference.converged.table
    published = published_split(data, reference) or ["train"] * len(table)
    trained = [
        row
        for row, part in zip(rows_of(table, *GEOMETRY), published, strict=True)
        if part == "train" and tuple(row["atomic_numbers"]) in compositions
    ]
    numbers = same_geometry([*trained, *tests])
    known = {*numbers[: len(trained)]}
    return [row["id"] for row, number in zip(tests, numbers[len(trained) :], strict=True) if number in known]
