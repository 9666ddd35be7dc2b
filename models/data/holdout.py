"""The hold-out of a study with a search: structures that no search sees, from which every test split is drawn.

It is drawn once a study, as large as the splits of the search allow, so that blocks can test different structures.
"""

from collections import Counter
from collections.abc import Sequence

from tesseral.models.data.groups import group_structures
from tesseral.models.data.reference_file import Reference
from tesseral.study.configuration.configuration import Data
from tesseral.study.errors import DataError


def holdout_size(asked: Sequence[Data], reference: Reference) -> int:
    """The least number of structures of the hold-out; it ends with a whole group.

    All converged structures but those that the largest training and validation splits of a search need.

    :param asked: the tables `[data]` of the arms that use the reference data; of one grouping.
    :param reference: all rows; the converged ones count.
    """
    size, rest = _members(reference, asked[0])
    return size - max(_seen(data, rest) for data in asked)


def check_holdout(asked: Sequence[Data], reference: Reference, held: int, folds: int = 0) -> None:
    """Check that a search finds its splits outside of the hold-out, and every block its test split inside.

    :param asked: the tables `[data]` of the arms that use the reference data; of one grouping.
    :param reference: all rows; the converged ones count.
    :param held: structures of the hold-out, as `holdout_size` returns them.
    :param folds: largest number of disjoint test splits; 0 if they are random.
    :raises DataError: if it does not.
    """
    size, rest = _members(reference, asked[0])
    kept = f", as whole groups by {asked[0].groups} are kept" if rest else ""
    for data in asked:
        needed = folds * (data.test + rest) if folds else data.test
        if held < needed:
            disjoint = f"{folds} disjoint test splits of {data.test}" if folds else f"a test split of {data.test}"
            raise DataError(
                f"search: expected at least {needed} structures of {data.reference} beside those that a search trains "
                f"and validates on, for {disjoint} that it never sees, got {max(held, 0)} of {size}{kept}"
            )
        if _seen(data, rest) > size - held:
            raise DataError(
                f"data.train: expected train + validation of at most the {size - held} structures of {data.reference} "
                f"that are not kept from the searches of this study, got {data.train} + {data.validation}{kept}; a "
                "study of another name draws a smaller hold-out"
            )


def _members(reference: Reference, data: Data) -> tuple[int, int]:
    """Number of structures, and how many a split that ends inside the largest group leaves out."""
    members = Counter(group_structures(reference, data.groups))
    return members.total(), max(members.values(), default=1) - 1


def _seen(data: Data, rest: int) -> int:
    """Structures that the splits of a search need, with what they leave out inside groups."""
    return data.train + data.validation + rest * (3 if data.validation else 2)
