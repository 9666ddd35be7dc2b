"""A file of reference data in the making: each finished structure is sealed at once, and all become one file."""

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
from tesseral.study.configuration.trial import digest
from tesseral.study.errors import DataError, TesseralError
from tesseral.study.recipe.method import Method
from tesseral.study.recipe.recipe import Recipe
from tesseral.study.records.schemas import REFERENCE, with_metadata
from tesseral.study.records.store import Store

PROGRAMS = ("tesseral", "pyscf", "basis_set_exchange")
"""Packages whose versions decide a row: rows of two versions never become one file."""
ROW_GROUP = 16 * 2**20
"""Bytes of rows that are in memory at once, and become a row group of the file."""
REPEATED = ("method", "basis", "auxiliary_basis", "provenance")
"""Columns that say the same in most rows. The others are numbers, of which a dictionary would only cost memory."""
VIBRATIONS = "vibrations"
"""What the name of a molecule's vibrations among the sealed rows begins with."""
READERS = 8
"""Threads that read parts: from an object store one takes tens of milliseconds."""


def settings(method: Method) -> dict[str, Any]:
    """The settings of a method that change a number; those that do not are left out of its `repr`, too."""
    return {setting.name: getattr(method, setting.name) for setting in fields(method) if setting.repr}


def level(method: Method) -> str:
    """Key of all that decides a row beside its structure: the method, the programs' versions, and the columns.

    :raises PackageNotFoundError: if PySCF or the Basis Set Exchange is not installed.
    """
    return digest([settings(method), {package: version(package) for package in PROGRAMS}, REFERENCE.names])


def part(structure: Any, level: str) -> str:
    """Name of the file that holds a structure's row, whatever recipe asks for it and by whatever id.

    :param structure: a `tesseral.models.reference.structure.Structure`.
    :param level: from `level`.
    """
    return f"{digest([level, *_content(structure)])[:32]}.parquet"


def recall_vibrations(recipe: Recipe, parts: Store) -> None:
    """Take the vibrations that a recipe's displacements follow from among the sealed rows; seal those not there.

    :raises DataError: if a molecule cannot be displaced.
    """
    # Imported here, for a machine that trains need not have PySCF.
    from tesseral.models.reference.calculation.mean_field import check
    from tesseral.models.reference.calculation.vibrations import Vibrations, recall, vibrations
    from tesseral.models.reference.geometries.displacements import vibrating

    for table, molecule in displaced_molecules(recipe):
        method = vibrating(table)
        check(molecule, method)
        name = f"{VIBRATIONS}-{digest([level(method), *_content(molecule), table.optimise])[:32]}.json"
        data = parts.read(name)
        if data is None:
            parts.create(name, vibrations(molecule, method, table.optimise).to_json().encode())
            data = parts.read(name)  # another run may have been first, or have ended and removed it
        if data is not None:
            recall(molecule, method, table.optimise, Vibrations.from_json(data.decode()))


def _content(structure: Any) -> list[Any]:
    """What decides a structure's row, as JSON: all but its id."""
    return [list(structure.atomic_numbers), structure.positions.tolist(), structure.charge, structure.spin]


@dataclass(frozen=True)
class Computation:
    """Computes a structure and seals its row; callable in any process that reaches the storage."""

    method: Method
    basis: AuxiliaryBasis
    level: str
    """From `level`, of the process that will read the rows."""
    parts: str
    """Where rows are sealed."""

    def __call__(self, structure: Any) -> str | None:
        """None once the row is sealed; else in one sentence why there is none.

        What the calculation raises is kept beside the rows with its traceback, and concerns this structure alone.

        :param structure: a `tesseral.models.reference.structure.Structure`.
        :raises: what the storage raises.
        """
        # Imported here, for a machine that trains need not have PySCF.
        from tesseral.models.reference.calculation.calculation import calculate

        store = Store(self.parts)
        try:
            row = calculate(structure, self.method)
            data = encode_reference([row], self.basis, name=structure.id)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other structures go on
            store.replace(f"{structure.id}.txt", traceback.format_exc().encode())
            kind = "" if isinstance(error, TesseralError) else f"{type(error).__name__}: "
            return failure(structure, kind + (str(error).splitlines() or ["no more is known"])[0])
        store.create(part(structure, self.level), data)
        return None


def failure(structure: Any, reason: str) -> str:
    """What is said of a structure that could not be computed."""
    return f"{structure.id} could not be computed: {reason}"


def assemble(store: Store, path: str, parts: Store, rows: Iterable[tuple[str, str]], **metadata: str) -> bool:
    """Make one file of sealed rows, in their order; a row group's worth is in memory at once.

    :param rows: (id, name of its part) of each structure.
    :param metadata: text for the file's metadata, under `tesseral.<key>`.
    :return: False if there is a file of that name already.
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
    """The rows, together as many as `ROW_GROUP` allows; where one group ends depends on the rows alone."""
    group: list[pa.Table] = []
    waiting = iter(rows)
    with ThreadPoolExecutor(READERS) as pool:
        while some := list(islice(waiting, READERS)):
            for table in pool.map(partial(_read, parts), some):
                if group and sum(one.nbytes for one in group) + table.nbytes > ROW_GROUP:
                    yield pa.concat_tables(group).combine_chunks()
                    group = []
                group.append(table)
    if group:
        yield pa.concat_tables(group).combine_chunks()


def _read(parts: Store, row: tuple[str, str]) -> pa.Table:
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
    return table.set_column(place, table.schema.field(place), pa.array([structure]))  # another recipe's id, perhaps
