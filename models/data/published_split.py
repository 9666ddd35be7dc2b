"""A published split: which structures its authors trained on, validated with and tested on."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from tesseral.models.data.reference_file import Reference
from tesseral.study.configuration.configuration import SPLITS, Data
from tesseral.study.configuration.trial import digest
from tesseral.study.errors import DataError

COLUMN = "column"
"""`data.split` where the reference data themselves say it."""
_HEADER = ["id", "split"]


def with_split(reference: Reference, text: str, name: str) -> Reference:
    """Reference data whose column `split` is what a CSV file says; structures that it does not name are in no split.

    :param reference: all rows.
    :param text: of the file: the columns id and split, one line a structure.
    :param name: what error messages call the file.
    :raises DataError: if the file is no such table, or names a structure twice, one that is not there, or a split
        other than train, validation and test.
    """
    rows = list(csv.reader(io.StringIO(text)))
    if not rows or [cell.strip() for cell in rows[0]] != _HEADER:
        came = ",".join(rows[0])[:80] if rows else "nothing"
        raise DataError(f"data.split: expected the columns id,split in the first line of {name}, got {came}")
    said: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        cells = [cell.strip() for cell in row]
        if len(cells) != len(_HEADER) or cells[1] not in SPLITS or cells[0] in said:
            problem = "again" if len(cells) == len(_HEADER) and cells[1] in SPLITS else "there"
            raise DataError(
                f"data.split: expected an id, each once, and one of {', '.join(SPLITS)} in line {number} of {name}, "
                f"got {','.join(row)[:80]!r} {problem}"
            )
        said[cells[0]] = cells[1]
    ids = reference.table["id"].to_pylist()
    if strange := said.keys() - {*ids}:
        raise DataError(
            f"data.split: expected ids of the reference data, such as {ids[0]!r}, got {min(strange)!r} in {name}"
        )
    place = reference.table.schema.get_field_index("split")
    column = pa.array([said.get(each) for each in ids], pa.string())
    table = reference.table.set_column(place, reference.table.schema.field(place), column)
    divided = replace(reference, table=table)
    divided.__dict__["content_hash"] = reference.content_hash  # that of the file: `hash_split` tells the rest
    return divided


def published_split(data: Data, reference: Reference) -> Sequence[str | None] | None:
    """The published split of each converged structure, None for one in no split; None if none is asked for.

    :param data: which split counts.
    :param reference: all rows; its column `split` counts.
    """
    return None if data.split is None else reference.converged.table["split"].to_pylist()


def hash_split(reference: Reference) -> str:
    """A hash of the published split of the converged structures, in their order.

    :param reference: all rows.
    """
    return digest(reference.converged.table["split"].to_pylist())


def parts(published: Sequence[str | None]) -> dict[str, list[int]]:
    """Split → positions of its structures among the converged ones.

    :param published: as `published_split` returns it.
    """
    return {split: [index for index, each in enumerate(published) if each == split] for split in SPLITS}


def check_published(data: Data, published: Sequence[str | None]) -> None:
    """Check that the splits fit into the parts of a published split.

    :param data: sizes of the splits.
    :param published: as `published_split` returns it.
    :raises DataError: if they do not, or nothing is published.
    """
    sizes = {split: len(part) for split, part in parts(published).items()}
    if not any(sizes.values()):
        expected = "a column that says so" if data.split == COLUMN else "a file that says so"
        raise DataError(f"data.split: expected train, validation or test of structures, from {expected}, got none")
    asked = {split: getattr(data, split) for split in SPLITS}
    if not sizes["validation"]:
        asked = {"train": data.train + data.validation, "test": data.test}
    for split, wanted in asked.items():
        if wanted > sizes[split]:
            with_validation = " with the validation split, which is not published" if len(asked) < len(SPLITS) else ""
            beside = with_validation if split == "train" else ""
            raise DataError(
                f"data.{split}: expected at most the {sizes[split]} converged structures that are published for "
                f"{split}{beside}, got {wanted}"
            )
