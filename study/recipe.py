"""A recipe: which structures are computed, and how, to make a file of reference data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tesseral.study.configuration import Range, Section
from tesseral.study.errors import StudyFileError
from tesseral.study.validation import read_toml, validate


@dataclass(frozen=True, kw_only=True)
class ReferenceName(Section):
    """The file that is made."""

    name: str
    """Its name without `.parquet`: letters, digits, '-', '_' and '.', a letter or digit first."""

    def __post_init__(self) -> None:
        allowed = set("-_.")
        if not self.name[:1].isalnum() or not all(c.isascii() and (c.isalnum() or c in allowed) for c in self.name):
            raise ValueError(
                f"expected a name of letters, digits, '-', '_' and '.', a letter or digit first, got {self.name!r}"
            )


@dataclass(frozen=True, kw_only=True)
class WaterClusters(Section):
    """Random clusters of water molecules; see `tesseral.models.structures.water_clusters`."""

    kind: Literal["water_clusters"]
    """Which generator makes the structures."""
    molecules: Annotated[int, Range(ge=1, le=20)]
    """Molecules in each cluster: 1 is a monomer, 2 a dimer."""
    count: Annotated[int, Range(ge=1)]
    """Clusters."""
    seed: Annotated[int, Range(ge=0)] = 0
    """Of the random geometries; a larger count keeps the first ones."""


@dataclass(frozen=True, kw_only=True)
class Method(Section):
    """How a structure is computed and how its density is fitted."""

    method: str = "PBE0"
    """`HF`, or any exchange-correlation functional that PySCF knows by name."""
    basis: str = "def2-SVP"
    """Orbital basis, by PySCF's name."""
    grid_level: Annotated[int, Range(ge=0, le=9)] = 2
    """PySCF's grid for exchange and correlation, 0 (coarse) to 9; unused by HF."""
    auxiliary_basis: str = "def2-universal-jfit"
    """Basis of the density fit, by PySCF's name."""
    decontracted: bool = True
    """Each primitive of the auxiliary basis becomes a shell of its own."""
    metric: Literal["coulomb", "overlap"] = "coulomb"
    """What the fit minimises: the Coulomb energy of the error's density, or ∫(error)²."""


@dataclass(frozen=True, kw_only=True)
class Recipe(Section):
    """A file of reference data, from structures to coefficients."""

    reference: ReferenceName
    structures: Annotated[tuple[WaterClusters, ...], Range(min_length=1)]
    method: Method = field(default_factory=Method)


def read_recipe(file: str | Path) -> Recipe:
    """Read and check a recipe.

    :raises StudyFileError: with the dotted path of the first mistake; two tables of equally large clusters count
        as one, for their structures would have the same names.
    """
    recipe = validate(Recipe, read_toml(file), str(file))
    sizes = [table.molecules for table in recipe.structures]
    for index, size in enumerate(sizes):
        if size in sizes[:index]:
            raise StudyFileError(
                f"structures.{index}.molecules",
                f"expected a number of molecules that no other table has, got {size} again; "
                f"raise the count of structures.{sizes.index(size)} instead",
                str(file),
            )
    return recipe
