"""The structures that a recipe asks for, each by its number: none depends on those before it."""

import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tesseral.models.reference.geometries.water_clusters import WATER, water_cluster
from tesseral.models.reference.structure import Structure
from tesseral.study.configuration.trial import digest
from tesseral.study.errors import DataError
from tesseral.study.recipe.recipe import Recipe
from tesseral.study.recipe.structures import Displacements, Inline, Table, WaterClusters, Xyz


def structures(recipe: Recipe) -> Iterator[Structure]:
    """Every structure that a recipe asks for, in the order of its tables, one in memory at a time.

    :raises DataError: as `structure_at`.
    """
    return (_structure(table, index) for table, index in _numbers(recipe))


def structure_at(recipe: Recipe, index: int) -> Structure:
    """Structure number `index`, from 0, of `structures(recipe)`; it depends on its table and its number alone.

    :raises IndexError: if the recipe asks for no structure of that number.
    :raises DataError: if a file that the recipe names cannot be read, or a molecule cannot be displaced.
    """
    return _structure(*_place(recipe, index))


def outline_at(recipe: Recipe, index: int) -> Structure:
    """As `structure_at`, but a displaced molecule as the recipe gives it: its minimum takes minutes to find, and its
    atoms are as near to each other but for tenths of an Å.

    :raises IndexError: as `structure_at`.
    :raises DataError: if a file that the recipe names cannot be read.
    """
    table, number = _place(recipe, index)
    if isinstance(table, Displacements):
        return replace(_molecule(table), id=_id(table, number))
    return _structure(table, number)


def ids(recipe: Recipe) -> Iterator[str]:
    """The ids of `structures(recipe)`, none of which is generated.

    :raises DataError: if a file that the recipe names cannot be read.
    """
    return (_id(table, index) for table, index in _numbers(recipe))


def count_structures(recipe: Recipe) -> int:
    """How many `structures(recipe)` are, none of which is generated.

    :raises DataError: if a file that the recipe names cannot be read.
    """
    return sum(_count(table) - len(without) for table, without in _tables(recipe))


def elements(recipe: Recipe) -> list[int]:
    """Atomic numbers in `structures(recipe)`, each once and ascending; no structure is generated.

    :raises DataError: if a file that the recipe names cannot be read.
    """
    return sorted({number for table, without in _tables(recipe) for number in _elements(table, without)})


def displaced_molecules(recipe: Recipe) -> Iterator[tuple[Displacements, Structure]]:
    """The tables of displacements, each with the molecule that it displaces.

    :raises DataError: if a file that the recipe names cannot be read.
    """
    return ((table, _molecule(table)) for table in recipe.structures if isinstance(table, Displacements))


def content(recipe: Recipe) -> list[Any]:
    """What decides every structure of a recipe, as JSON: its tables, with what their files hold for the files.

    :raises DataError: if a file that the recipe names cannot be read.
    """
    tables: list[Any] = []
    for table in recipe.structures:
        if isinstance(table, Xyz):
            tables.append([table.kind, [digest(_as_json(frame)) for frame in _frames(table)]])
        elif isinstance(table, Displacements):
            tables.append(asdict(table) | {"file": None, "molecule": _as_json(_molecule(table))})
        else:
            tables.append(asdict(table))
    without = sorted(set(recipe.reference.without))
    return [*tables, {"without": without}] if without else tables


def _as_json(structure: Structure) -> list[Any]:
    positions = structure.positions.tolist()
    return [structure.id, structure.atomic_numbers, positions, structure.charge, structure.spin]


def _place(recipe: Recipe, index: int) -> tuple[Table, int]:
    """The table of structure number `index`, and its number there."""
    left = index
    for table, without in _tables(recipe):
        count = _count(table) - len(without)
        if 0 <= left < count:
            for number in without:
                left += number <= left
            return table, left
        left -= count
    raise IndexError(f"expected one of {count_structures(recipe)} structures, counted from 0, got {index}")


def _structure(table: Table, index: int) -> Structure:
    if isinstance(table, WaterClusters):  # physical by construction
        positions = water_cluster(table.molecules, index, table.seed)
        return Structure(_id(table, index), WATER * table.molecules, positions)
    if isinstance(table, Displacements):
        # Imported here, for the minimum and its vibrations come from PySCF.
        from tesseral.models.reference.geometries.displacements import displaced

        molecule = _molecule(table)
        return replace(molecule, id=_id(table, index), positions=displaced(molecule, table, index))
    return _frames(table)[index] if isinstance(table, Xyz) else _inline(table)


def _id(table: Table, index: int) -> str:
    if isinstance(table, Inline):
        return table.name
    return _frames(table)[index].id if isinstance(table, Xyz) else f"{table.ids}-{index:04d}"


def _count(table: Table) -> int:
    if isinstance(table, Inline):
        return 1
    return len(_frames(table)) if isinstance(table, Xyz) else table.count


def _elements(table: Table, without: list[int]) -> set[int]:
    if isinstance(table, Xyz):
        kept = (frame for index, frame in enumerate(_frames(table)) if index not in without)
        return {number for frame in kept for number in frame.atomic_numbers}
    if len(without) == _count(table):
        return set()
    return set(WATER) if isinstance(table, WaterClusters) else set(_molecule(table).atomic_numbers)


def _numbers(recipe: Recipe) -> Iterator[tuple[Table, int]]:
    """Each structure of a recipe as its table and its number there."""
    for table, without in _tables(recipe):
        yield from ((table, index) for index in range(_count(table)) if index not in without)


def _tables(recipe: Recipe) -> list[tuple[Table, list[int]]]:
    """The tables, each with the numbers in it that `reference.without` names, ascending."""
    without: list[set[int]] = [set() for _ in recipe.structures]
    for name in recipe.reference.without:
        found = [(numbers, _number(table, name)) for numbers, table in zip(without, recipe.structures, strict=True)]
        places = [(numbers, number) for numbers, number in found if number is not None]
        for numbers, number in places:
            numbers.add(number)
        if not places:
            raise DataError(f"expected ids of structures in reference.without, got {name!r}, which no table makes")
    if any(without) and sum(map(_count, recipe.structures)) == sum(map(len, without)):
        raise DataError("expected a structure that reference.without leaves in the recipe, it names all of them")
    return [(table, sorted(numbers)) for table, numbers in zip(recipe.structures, without, strict=True)]


def _number(table: Table, name: str) -> int | None:
    """The inverse of `_id`; None if the table makes no structure of that id."""
    if isinstance(table, Inline):
        return 0 if name == table.name else None
    digits = name.rpartition("-")[2]
    if not re.fullmatch("[0-9]{4,18}", digits):
        return None
    number = int(digits)
    if isinstance(table, Xyz):
        number = (number - table.first) // table.every
    return number if 0 <= number < _count(table) and _id(table, number) == name else None


def _molecule(table: Inline | Displacements) -> Structure:
    """The molecule that a table names, given in the recipe or in a file."""
    if isinstance(table, Displacements) and table.file is not None:
        only = Xyz(kind="xyz", file=table.file, name=table.name, charge=table.charge, spin=table.spin, count=1)
        return _frames(only)[0]
    return _inline(table)


def _inline(table: Inline | Displacements) -> Structure:
    positions = np.array(table.positions, dtype=np.float64).reshape(-1, 3)
    return Structure(table.name, table.atomic_numbers, positions, table.charge, table.spin)


def _frames(table: Xyz) -> tuple[Structure, ...]:
    """The chosen frames of a file, read once in a process for as long as the file stays what it is."""
    try:
        status = Path(table.file).stat()
    except OSError as error:
        raise DataError(f"expected an extended XYZ file at {table.file}, cannot read it: {error.strerror}") from None
    return _read_frames(table, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _read_frames(table: Xyz, modified: int, size: int) -> tuple[Structure, ...]:
    # Imported here, for only who reads such a file needs ASE.
    from tesseral.models.reference.exchange.extended_xyz import read_frames

    chosen: list[Structure] = []
    for frame in read_frames(table.file, table.ignore_cell):
        if len(chosen) == table.count:
            break
        if frame.index >= table.first and (frame.index - table.first) % table.every == 0:
            charge = table.charge
            if charge is None:
                charge = frame.charge(table.file, "set the table's charge")
            name = f"{table.ids}-{frame.index:04d}"
            chosen.append(Structure(name, frame.atomic_numbers, frame.positions, charge, table.spin))
    wanted = table.count or 1
    if len(chosen) < wanted:
        raise DataError(
            f"expected at least {wanted} frames from number {table.first} on by steps of {table.every}, "
            f"{table.file} holds {len(chosen)}"
        )
    return tuple(chosen)
