"""A recipe: which structures are computed, and how, to make a file of reference data."""

import re
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from tesseral.study.errors import StudyFileError, numbered
from tesseral.study.parsing.section import Range, Section
from tesseral.study.parsing.validation import parse_toml, read_toml, validate
from tesseral.study.recipe.method import QM9_BASIS, Method, plain
from tesseral.study.recipe.structures import Displacements, Inline, Name, Table, WaterClusters, Xyz, check_name


@dataclass(frozen=True, kw_only=True)
class ReferenceName(Section):
    """The file that is made."""

    name: Name
    """Name of the file without `.parquet`: letters, digits, `-`, `_` and `.`, a letter or digit first."""

    def __post_init__(self) -> None:
        check_name(self.name)


@dataclass(frozen=True, kw_only=True)
class RecipeReference(ReferenceName):
    """The file that is made, and structures that are left out of it."""

    without: tuple[str, ...] = ()
    """Ids of structures that are left out, such as `dimer-0007`, because they cannot be computed."""


@dataclass(frozen=True, kw_only=True)
class Recipe(Section):
    """A recipe: the structures of a file of reference data, and how each is computed."""

    reference: RecipeReference
    """The file that is made."""
    structures: Annotated[tuple[Table, ...], Range(min_length=1)]
    """Tables of structures; the `kind` of each says where its structures come from."""
    method: Method = field(default_factory=Method)
    """How every structure is computed and its density fitted."""


def read_recipe(file: str | Path) -> Recipe:
    """Read and check a recipe. Its paths become absolute; the files that they name are not opened.

    :param file: path of the recipe.
    :raises StudyFileError: for the first mistake, with its dotted path. Two tables whose structures would share ids
        are a mistake.
    """
    recipe = validate(Recipe, parse_toml(read_toml(file), "structures", str(file)), str(file))
    for index in range(len(recipe.structures)):
        _refuse_equal_ids(recipe.structures, index, str(file))
    if plain(recipe.method.basis) == plain(QM9_BASIS.removesuffix("-QM9")):
        warnings.warn(
            f"{file}: method.basis: {recipe.method.basis} is not that of QM9, because PySCF has other d exponents: a "
            f"water molecule has a dipole of 1.98 D instead of 1.85 D (B3LYP). {QM9_BASIS!r} has QM9's exponents",
            stacklevel=2,
        )
    folder = Path(file).absolute().parent
    return replace(recipe, structures=tuple(_absolute(table, folder) for table in recipe.structures))


def _refuse_equal_ids(tables: tuple[Table, ...], index: int, file: str) -> None:
    table = tables[index]
    for other, before in enumerate(tables[:index]):
        if not _share_ids(table, before):
            continue
        path = f"structures.{index}"
        if isinstance(table, WaterClusters) and isinstance(before, WaterClusters):
            raise StudyFileError(
                f"{path}.molecules",
                f"expected a number of molecules that no other table has, got {table.molecules} again; "
                f"raise the count of {numbered(f'structures.{other}')} instead",
                file,
            )
        raise StudyFileError(
            f"{path}.name" if not isinstance(table, WaterClusters) else path,
            f"expected ids that no other table makes, {table.ids!r} makes those of {numbered(f'structures.{other}')}, "
            "too; give one of them another name",
            file,
        )


def _share_ids(one: Table, other: Table) -> bool:
    """Whether two tables may make the same id: a table of many makes `name-0007`, an inline structure `name`."""
    if isinstance(one, Inline) == isinstance(other, Inline):
        return one.ids == other.ids
    inline, many = (one, other) if isinstance(one, Inline) else (other, one)
    return re.fullmatch(rf"{re.escape(many.ids)}-\d{{4,}}", inline.ids) is not None


def _absolute(table: Table, folder: Path) -> Table:
    if isinstance(table, Xyz | Displacements) and table.file is not None:
        return replace(table, file=str(folder / table.file))
    return table
