"""The parts of reference data in the making: each row is sealed as it is finished, and all become one file.

A part is named after everything that determines its row. Another recipe, or the same after a kill, can take it over.
"""

import hashlib
import io
import json
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from importlib.metadata import version
from itertools import islice
from typing import IO, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from tesseral.models.data.reference_file import encode_reference, hash_content, read_reference
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.reference.geometries.recipe_structures import displaced_molecules
from tesseral.models.reference.structure import Structure
from tesseral.study.configuration.trial import digest
from tesseral.study.errors import DataError, RecordError, TesseralError
from tesseral.study.recipe.method import Method
from tesseral.study.recipe.recipe import Recipe
from tesseral.study.records.document import Json, read_document, seal
from tesseral.study.records.schemas import REFERENCE, with_metadata
from tesseral.study.records.store import Store

T = TypeVar("T")

PROGRAMS = ("tesseral", "pyscf", "basis_set_exchange")
"""Packages whose versions determine a row; rows of different versions never become one file."""
ROW_GROUP = 16 * 2**20
"""Bytes of rows in memory at once, which become a row group of the file."""
REPEATED = ("method", "basis", "auxiliary_basis", "provenance")
"""Columns with few distinct values, stored by a Parquet dictionary; for numbers it would only cost memory."""
VIBRATIONS = "vibrations"
"""Prefix of the names of sealed vibrations."""
WORST_FIT = 10.0
"""Largest ε of the fitted density against the SCF density, %. Fits have about 1 %; a basis made for a core potential
misses the core."""
READERS = 8
"""Threads that read parts; from an object store each takes tens of milliseconds."""


def settings(method: Method) -> dict[str, Any]:
    """Settings of a method that change a number; the others are excluded from its `repr`, too.

    :param method: the method of a recipe.
    """
    return {setting.name: getattr(method, setting.name) for setting in fields(method) if setting.repr}


def level_key(method: Method) -> str:
    """Key of everything besides the structure that determines a row: method, versions of programs, columns.

    :param method: the method of a recipe.
    :raises PackageNotFoundError: if PySCF or the Basis Set Exchange is not installed.
    """
    computed = [column for column in REFERENCE.names if column != "split"]  # which is published, and came later
    return digest([settings(method), {package: version(package) for package in PROGRAMS}, computed])


def part_key(structure: Structure, level: str) -> str:
    """Key of a structure's row, for any recipe that asks for it and under any id. The part's name begins with it.

    :param structure: the structure; its id does not count.
    :param level: from `level_key`.
    """
    return digest([level, *_content(structure)])[:32]


def part_name(key: str, data: bytes) -> str:
    """Name of the file with a row, which the hash of its bytes ends: so a part proves itself when it is read.

    :param key: from `part_key`.
    :param data: the file's bytes.
    """
    return f"{key}-{hashlib.sha256(data).hexdigest()[:32]}.parquet"


def sealed_parts(parts: Store) -> dict[str, str]:
    """Key → name of each sealed row. Of two rows of one structure, which two runs at once can seal, the first counts.

    :param parts: where rows are sealed.
    """
    names = [path for path in parts.paths() if path.endswith(".parquet")]
    return {name.removesuffix(".parquet").partition("-")[0]: name for name in reversed(names)}


def sealed_json(parts: Store, name: str, compute: Callable[[], str], read: Callable[[str], T]) -> T:
    """What a sealed JSON object states; it is computed and sealed if it is not there, or damaged.

    :param name: of the file.
    :param compute: returns the object as JSON.
    :param read: reads that JSON.
    """
    try:
        tree = read_document(parts, name, Json)
        if tree is not None:
            return read(json.dumps(tree))
    except (RecordError, ValueError):
        warnings.warn(f"{parts.location(name)} is damaged and is computed again", stacklevel=2)
        parts.delete([name])
    text = compute()
    parts.create(name, seal(json.loads(text)))
    tree = read_document(parts, name, Json)  # another run may have been first, or have ended and removed it
    return read(text if tree is None else json.dumps(tree))


def damaged(name: str, data: bytes) -> bool:
    """Whether a sealed row is not what was sealed. Parts of earlier versions have no hash in their name.

    :param name: of the part.
    :param data: its bytes.
    """
    key, _, stated = name.removesuffix(".parquet").partition("-")
    if stated:
        return part_name(key, data) != name
    try:
        read_reference(io.BytesIO(data), name)
    except DataError:
        return True
    return False


def drop_damaged(parts: Store, rows: Iterable[tuple[str, str]]) -> list[int]:
    """Delete the damaged ones among sealed rows, and name each in a warning.

    :param rows: (id, name of the part) of each structure.
    :returns: numbers of the rows that were deleted, or were not there.
    """

    def gone(row: tuple[str, str]) -> bool:
        data = parts.read(row[1])
        if data is not None and damaged(row[1], data):
            warnings.warn(f"{_damaged(parts, *row)} and is computed again", stacklevel=2)
            parts.delete([row[1]])
            return True
        return data is None

    return [index for index, row in enumerate(rows) if gone(row)]


def _damaged(parts: Store, structure: str, name: str) -> str:
    return f"{parts.location(name)}, the row of {structure}, is damaged"


def recall_vibrations(recipe: Recipe, parts: Store) -> None:
    """Recall sealed vibrations of the molecules that a recipe displaces; compute and seal the others.

    :param recipe: the recipe.
    :param parts: where vibrations are sealed, beside the rows.
    :raises DataError: if a molecule cannot be displaced.
    """
    # Imported here: a machine that only trains need not have PySCF.
    from tesseral.models.reference.calculation.mean_field import check
    from tesseral.models.reference.calculation.normal_modes import Vibrations, recall
    from tesseral.models.reference.geometries.displacements import vibrating

    for table, molecule in displaced_molecules(recipe):
        method = vibrating(table)
        check(molecule, method)
        name = f"{VIBRATIONS}-{digest([level_key(method), *_content(molecule), table.optimise])[:32]}.json"
        asked = (molecule, method, table.optimise)
        recall(*asked, sealed_json(parts, name, partial(_vibrations, *asked), Vibrations.from_json))


def _vibrations(structure: Structure, method: Method, optimise: bool) -> str:
    from tesseral.models.reference.calculation.normal_modes import vibrations

    return vibrations(structure, method, optimise).to_json()


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

        :param structure: the structure.
        :returns: None, or a sentence on why there is no row.
        :raises: exceptions of the storage.
        """
        # Imported here: a machine that only trains need not have PySCF.
        from tesseral.models.reference.calculation.calculation import calculate

        store = Store(self.parts)
        try:
            row = calculate(structure, self.method)
            _check_fit(row)
            data = encode_reference([row], self.basis, name=structure.id)
        except Exception as error:  # noqa: BLE001 - any failure leaves the other structures
            store.replace(f"{structure.id}.txt", traceback.format_exc().encode())
            kind = "" if isinstance(error, TesseralError) else f"{type(error).__name__}: "
            return failure_sentence(structure, kind + (str(error).splitlines() or ["no more is known"])[0])
        store.create(part_name(part_key(structure, self.level), data), data)
        return None


def _check_fit(row: dict[str, Any]) -> None:
    """Refuse a row whose fitted density is another one than that of the calculation."""
    if (row.get("fit_error") or 0.0) > WORST_FIT:
        raise DataError(
            f"method.auxiliary_basis: expected a basis that fits the density, {row['auxiliary_basis']} misses it by "
            f"ε = {row['fit_error']:.2g} %, more than {WORST_FIT:g} %; bases for all electrons of heavy elements are "
            "x2c-JFIT, even-tempered and autoaux"
        )


def failure_sentence(structure: Structure, reason: str) -> str:
    """The sentence on a structure that could not be computed.

    :param structure: the structure.
    :param reason: why, in words.
    """
    return f"{structure.id} could not be computed: {reason}"


def assemble(
    store: Store, path: str, parts: Store, rows: Iterable[tuple[str, str]], basis: AuxiliaryBasis, **metadata: str
) -> bool:
    """Make one file of sealed rows, with one row group in memory at a time.

    :param store: where the file is made.
    :param path: of the file in it.
    :param parts: where the rows are sealed.
    :param rows: (id, name of the part) of each structure, in the order of the file.
    :param basis: of the coefficients.
    :param metadata: text of the file's metadata, under `tesseral.<key>`.
    :returns: False if another file of that name exists already.
    :raises DataError: if a part is missing or damaged.
    """
    # The content hash takes column after column, and the metadata hold it: the rows wait on disk meanwhile.
    with tempfile.NamedTemporaryFile(prefix="tesseral-") as spool:
        with pa.ipc.new_file(spool, REFERENCE.remove_metadata()) as waiting:
            for group in _groups(parts, rows):
                waiting.write_table(group)
        spool.flush()
        with pa.memory_map(spool.name) as mapped:
            table = pa.ipc.open_file(mapped).read_all()
            metadata |= {"auxiliary": basis.to_json(), "content": hash_content(table, basis, {})}
            schema = with_metadata(REFERENCE, **metadata)

            def write(file: IO[bytes]) -> None:
                options = {"compression": "zstd", "use_dictionary": list(REPEATED), "write_page_checksum": True}
                with pq.ParquetWriter(file, schema, **options) as writer:
                    for batch in table.to_batches():
                        writer.write_table(pa.Table.from_batches([batch]).cast(schema))

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
    data = parts.read(name)
    if data is None:
        raise DataError(
            f"{parts.location(name)}, the row of {structure}, was removed while the file was made; the same command "
            "computes it again"
        )
    if damaged(name, data):
        raise DataError(_damaged(parts, structure, name) + "; the same command computes it again")
    table = pq.ParquetFile(io.BytesIO(data)).read(use_threads=False)
    if "split" not in table.column_names:  # which came later
        table = table.append_column("split", pa.nulls(len(table), pa.string()))
    table = table.select(REFERENCE.names).cast(REFERENCE).replace_schema_metadata(None)
    place = table.schema.get_field_index("id")
    # The row may have been sealed by another recipe under another id.
    return table.set_column(place, table.schema.field(place), pa.array([structure]))
