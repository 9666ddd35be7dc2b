"""A file of reference data in the making: each finished structure is sealed at once, and all become one file."""

import io
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tesseral.models.auxiliary import AuxiliaryBasis
from tesseral.models.reference_file import encode_reference
from tesseral.study.errors import DataError, TesseralError
from tesseral.study.method import Method
from tesseral.study.store import Store

ROW_GROUP = 16 * 2**20
"""Bytes of rows that are in memory at once, and become a row group of the file."""
REPEATED = ("method", "basis", "auxiliary_basis", "provenance")
"""Columns that say the same in most rows. The others are numbers, of which a dictionary would only cost memory."""
READERS = 8
"""Threads that read parts: from an object store one takes tens of milliseconds."""


@dataclass(frozen=True)
class Computation:
    """Computes a structure and seals its row; callable in any process that reaches the storage."""

    method: Method
    basis: AuxiliaryBasis
    recipe: str
    """Key of the recipe, for the metadata."""
    parts: str
    """Where rows are sealed."""

    def __call__(self, structure: Any) -> str | None:
        """None once the row is sealed; else in one sentence why there is none.

        What the calculation raises is kept beside the rows with its traceback, and concerns this structure alone.

        :param structure: a `tesseral.reference.structures.Structure`.
        :raises: what the storage raises.
        """
        # Imported here, for a machine that trains need not have PySCF.
        from tesseral.reference.calculation import calculate

        store = Store(self.parts)
        try:
            row = calculate(structure, self.method)
            data = encode_reference([row], self.basis, name=structure.id, recipe=self.recipe)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other structures go on
            store.replace(f"{structure.id}.txt", traceback.format_exc().encode())
            kind = "" if isinstance(error, TesseralError) else f"{type(error).__name__}: "
            return failure(structure, kind + (str(error).splitlines() or ["no more is known"])[0])
        store.create(part(structure.id), data)
        return None


def failure(structure: Any, reason: str) -> str:
    """What is said of a structure that could not be computed."""
    return f"{structure.id} could not be computed: {reason}"


def part(structure: str) -> str:
    """Name of the file that holds the row of the structure of this id."""
    return f"{structure}.parquet"


def assemble(store: Store, path: str, parts: Store, ids: Iterable[str]) -> bool:
    """Make one file of the rows of these structures, in their order; a row group's worth is in memory at once.

    :return: False if there is a file of that name already.
    :raises DataError: if a part is missing or cannot be read.
    """

    def write(file: IO[bytes]) -> None:
        groups = _groups(parts, ids)
        first = next(groups)
        with pq.ParquetWriter(file, first.schema, compression="zstd", use_dictionary=list(REPEATED)) as writer:
            for group in chain([first], groups):
                writer.write_table(group)

    return store.create_from(path, write)


def _groups(parts: Store, ids: Iterable[str]) -> Iterator[pa.Table]:
    """The rows, together as many as `ROW_GROUP` allows; where one group ends depends on the rows alone."""
    group: list[pa.Table] = []
    waiting = iter(ids)
    with ThreadPoolExecutor(READERS) as pool:
        while names := list(islice(waiting, READERS)):
            for table in pool.map(partial(_read, parts), names):
                if group and sum(one.nbytes for one in group) + table.nbytes > ROW_GROUP:
                    yield pa.concat_tables(group).combine_chunks()
                    group = []
                group.append(table)
    if group:
        yield pa.concat_tables(group).combine_chunks()


def _read(parts: Store, structure: str) -> pa.Table:
    location = parts.location(part(structure))
    data = parts.read(part(structure))
    if data is None:
        raise DataError(f"{location} was removed while the file was made; the same command computes it again")
    try:
        return pq.ParquetFile(io.BytesIO(data)).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(
            f"expected the row of a finished structure, {location} cannot be read ({reason}); remove it, and the same "
            "command computes it again"
        ) from None
