"""The parts of reference data in the making: each row is sealed as it is finished, and all become one file.

A part is named after everything that determines its row. Another recipe, or the same after a kill, can take it over.
"""

import io
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from importlib.metadata import version
from itertools import chain, islice
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tesseral.models.data.reference_file import encode_reference
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.reference.geometries.recipe_structures import displaced_molecules
from tesseral.models.reference.structure import Structure
from tesseral.study.configuration.trial import digest
from tesseral.study.errors import DataError, TesseralError
from tesseral.study.recipe.method import Method
from tesseral.study.recipe.recipe import Recipe
from tesseral.study.records.schemas import REFERENCE, with_metadata
from tesseral.study.records.store import Store

PROGRAMS = ("tesseral", "pyscf", "basis_set_exchange")
"""Packages whose versions determine a row; rows of different versions never become one file."""
ROW_GROUP = 16 * 2**20
"""Bytes of rows in memory at once, which become a row group of the file."""
REPEATED = ("method", "basis", "auxiliary_basis", "provenance")
"""Columns with few distinct values, stored by a Parquet dictionary; for numbers it would only cost memory."""
VIBRATIONS = "vibrations"
"""Prefix of the names of sealed vibrations."""
READERS = 8
"""Threads that read parts; from an object store each takes tens of milliseconds."""


def settings(method: Method) -> dict[str, Any]:
    """Settings of a method that change a number; the others are excluded from its `repr`, too."""
    return {setting.name: getattr(method, setting.name) for setting in fields(method) if setting.repr}


def level_key(method: Method) -> str:
    """Key of everything besides the structure that determines a row: method, versions of programs, columns.

    :raises PackageNotFoundError: if PySCF or the Basis Set Exchange is not installed.
    """
    return digest([settings(method), {package: version(package) for package in PROGRAMS}, REFERENCE.names])


def part_name(structure: Structure, level: str) -> str:
    """Name of the file with a structure's row, for any recipe that asks for it and under any id.

    :param level: from `level_key`.
    """
    return f"{digest([level, *_content(structure)])[:32]}.parquet"


def recall_vibrations(recipe: Recipe, parts: Store) -> None:
    """Recall sealed vibrations of the molecules that a recipe displaces; compute and seal the others.

    :raises DataError: if a molecule cannot be displaced.
    """
    # Imported here: a machine that only trains need not have PySCF.
    from tesseral.models.reference.calculation.mean_field import check
    from tesseral.models.reference.calculation.normal_modes import Vibrations, recall, vibrations
    from tesseral.models.reference.geometries.displacements import vibrating

    for table, molecule in displaced_molecules(recipe):
        method = vibrating(table)
        check(molecule, method)
        name = f"{VIBRATIONS}-{digest([level_key(method), *_content(molecule), table.optimise])[:32]}.json"
        data = parts.read(name)
        if data is None:
            parts.create(name, vibrations(molecule, method, table.optimise).to_json().encode())
            data = parts.read(name)  # another run may have been first, or have ended and removed it
        if data is not None:
            recall(molecule, method, table.optimise, Vibrations.from_json(data.decode()))


def _content(structure: Structure) -> list[Any]:
    """What determines a structure's row, as JSON: everything but its id."""
    return [list(structure.atomic_numbers), structure.positions.tolist(), structure.charge, structure.spin]


@dataclass(frozen=True)
class Computation:
    """A function that computes a structure and seals its row, callable in any process that reaches the storage."""

    method: Method
    basis: AuxiliaryBasis
    """Basis of the coefficients, with isolated atoms."""
    level: str
    """`level_key` in the process that will read the rows."""
    parts: str
    """Folder or URL in which rows are sealed."""

    def __call__(self, structure: Structure) -> str | None:
        """Compute a structure and seal its row.

        An exception in the calculation concerns this structure alone; its traceback is stored beside the rows.

        :returns: None, or a sentence on why there is no row.
        :raises: exceptions of the storage.
        """
        # Imported here: a machine that only trains need not have PySCF.
        from tesseral.models.reference.calculation.calculation import calculate

        store = Store(self.parts)
        try:
            row = calculate(structure, self.method)
            data = encode_reference([row], self.basis, name=structure.id)
        except Exception as error:  # noqa: BLE001 - any failure leaves the other structures
            store.replace(f"{structure.id}.txt", traceback.format_exc().encode())
            kind = "" if isinstance(error, TesseralError) else f"{type(error).__name__}: "
            return failure_sentence(structure, kind + (str(error).splitlines() or ["no more is known"])[0])
        store.create(part_name(structure, self.level), data)
        return None


def failure_sentence(structure: Structure, reason: str) -> str:
    """The sentence on a structure that could not be computed."""
    return f"{structure.id} could not be computed: {reason}"


def assemble(store: Store, path: str, parts: Store, rows: Iterable[tuple[str, str]], **metadata: str) -> bool:
    """Make one file of sealed rows, with one row group in memory at a time.

    :param rows: (id, name of the part) of each structure, in the order of the file.
    :param metadata: text of the file's metadata, under `tesseral.<key>`.
    :returns: False if a file of that name exists already.
    :raises DataError: if a part is missing or cannot be read.
    """

    def write(file: IO[bytes]) -> None:
        groups = _groups(parts, rows)
        first = next(groups)
        schema = first.schema.with_metadata(with_metadata(REFERENCE, **metadata).metadata)
        with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=list(REPEATED)) as writer:
            for group in chain([first], groups):
                writer.write_table(group)

    return store.create_from(path, write)


def _groups(parts: Store, rows: Iterable[tuple[str, str]]) -> Iterator[pa.Table]:
    """The rows in groups of `ROW_GROUP` bytes. Groups depend on the rows alone, so that the file's bytes do, too."""
    group: list[pa.Table] = []
    waiting = iter(rows)
    with ThreadPoolExecutor(READERS) as pool:
        while batch := list(islice(waiting, READERS)):
            for table in pool.map(partial(_read, parts), batch):
                if group and sum(member.nbytes for member in group) + table.nbytes > ROW_GROUP:
                    yield pa.concat_tables(group).combine_chunks()
                    group = []
                group.append(table)
    if group:
        yield pa.concat_tables(group).combine_chunks()


def _read(parts: Store, row: tuple[str, str]) -> pa.Table:
    """A sealed row under the id that this recipe gives it."""
    structure, name = row
    location = parts.location(name)
    data = parts.read(name)
    if data is None:
        raise DataError(
            f"{location}, the row of {structure}, was removed while the file was made; the same command computes it "
            "again"
        )
    try:
        table = pq.ParquetFile(io.BytesIO(data)).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(
            f"expected the row of {structure}, {location} cannot be read ({reason}); remove it, and the same command "
            "computes it again"
        ) from None
    place = table.schema.get_field_index("id")
    # The row may have been sealed by another recipe under another id.
    return table.set_column(place, table.schema.field(place), pa.array([structure]))
