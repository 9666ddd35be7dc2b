"""The hold-out of a study with a search: structures that no search sees, from which every test split is drawn.

It is drawn once a study, as large as the splits of the search allow, so that blocks can test different structures.
"""

from collections import Counter
from collections.abc import Sequence

from tesseral.models.data.groups import group_structures
from tesseral.models.data.reference_file import Reference
from tesseral.study.configuration.configuration import Data
from tesseral.study.errors import DataError


def holdout_size(asked: Sequence[Data], reference: Reference, folds: int = 0) -> int:
    """The least number of structures of the hold-out; it ends with a whole group.

    All converged structures but those that the largest training and validation splits of a search need.

    :param asked: the tables `[data]` of the arms that use the reference data; of one grouping.
    :param reference: all rows; the converged ones count.
    :param folds: largest number of disjoint test splits; 0 if they are random.
    :raises DataError: if it would be too small for a test split, or for the disjoint ones.
    """
    members = Counter(group_structures(reference, asked[0].groups))
    size, rest = members.total(), max(members.values(), default=1) - 1
    largest = max(asked, key=lambda data: data.train + data.validation)
    seen = largest.train + largest.validation + rest * (2 if largest.validation else 1)
    held, test = size - seen - rest, max(data.test for data in asked)
    needed = folds * (test + rest) if folds else test
    if held < needed:
        disjoint = f"{folds} disjoint test splits of {test}" if folds else f"a test split of {test}"
        raise DataError(
            f"search: expected at least {needed} structures of {largest.reference} beside the {largest.train} + "
            f"{largest.validation} that a search trains and validates on, for {disjoint} that it never sees, got "
            f"{max(held, 0)} of {size}" + (f", as whole groups by {largest.groups} are kept" if rest else "")
        )
    return held
