"""The tables `[[structures]]` of a recipe: what each kind of them asks for."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Discriminator, WithJsonSchema

from tesseral.study.constants import SYMBOLS
from tesseral.study.parsing.section import Range, Section

MULTIMERS = {1: "monomer", 2: "dimer", 3: "trimer", 4: "tetramer", 5: "pentamer", 6: "hexamer"}
"""What a cluster of so many molecules is called; above, such as `9-mer`."""

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
Name = Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"})]
"""A name that can be part of a file's: `check_name` refuses others, in a sentence."""
Element = Annotated[str, WithJsonSchema({"type": "string", "enum": [*SYMBOLS]})]
"""A chemical symbol."""
Point = Annotated[tuple[float, ...], Range(min_length=3, max_length=3)]
"""x, y, z of an atom, Å."""


def check_name(name: str) -> None:
    """Refuse a name that could not be part of a file's.

    :raises ValueError: in a sentence that says what is allowed.
    """
    if not re.fullmatch(NAME, name):
        raise ValueError(f"expected a name of letters, digits, '-', '_' and '.', a letter or digit first, got {name!r}")


@dataclass(frozen=True, kw_only=True)
class WaterClusters(Section):
    """Random clusters of water molecules; see `tesseral.models.reference.geometries.water_clusters`."""

    kind: Literal["water_clusters"]
    """Which generator makes the structures."""
    molecules: Annotated[int, Range(ge=1, le=20)]
    """Molecules in each cluster: 1 is a monomer, 2 a dimer."""
    count: Annotated[int, Range(ge=1)]
    """Clusters."""
    seed: Annotated[int, Range(ge=0)] = 0
    """Of the random geometries; a larger count keeps the first ones."""

    @property
    def ids(self) -> str:
        """What the structures' ids begin with: `dimer` of `dimer-0007`."""
        return MULTIMERS.get(self.molecules, f"{self.molecules}-mer")


@dataclass(frozen=True, kw_only=True)
class Xyz(Section):
    """Frames of an extended XYZ file; `first`, `every` and `count` choose some of them."""

    kind: Literal["xyz"]
    """Structures of a file."""
    file: str
    """`.xyz` or `.xyz.gz`, relative to the recipe."""
    name: Name | None = None
    """What the structures' ids begin with, followed by the frame's number; null: the file's name."""
    charge: int | None = None
    """Total charge of each frame, e; null: what the frame states as `charge`, else 0."""
    spin: Annotated[int, Range(ge=0)] = 0
    """Unpaired electrons of each frame."""
    first: Annotated[int, Range(ge=0)] = 0
    """Number of the first frame taken, counted from 0."""
    every: Annotated[int, Range(ge=1)] = 1
    """From there, every so many frames are taken."""
    count: Annotated[int, Range(ge=1)] | None = None
    """Frames taken; null: all that are left."""
    ignore_cell: bool = False
    """Take a periodic frame as one molecule in empty space; else it is refused."""

    def __post_init__(self) -> None:
        if self.name is not None:
            check_name(self.name)

    @property
    def ids(self) -> str:
        """What the structures' ids begin with."""
        if self.name is not None:
            return self.name
        stem = re.sub(r"(\.(ext)?xyz)?(\.gz)?$", "", self.file.rpartition("/")[2], flags=re.IGNORECASE)
        return re.sub(r"[^A-Za-z0-9._-]", "-", stem).lstrip("._-") or "frame"


@dataclass(frozen=True, kw_only=True)
class _Molecule(Section):
    """A molecule that is given by name."""

    name: Name
    """Of the molecule; ids are made of it."""
    charge: int = 0
    """Total charge, e."""
    spin: Annotated[int, Range(ge=0)] = 0
    """Unpaired electrons."""
    elements: tuple[Element, ...] = ()
    """Chemical symbol of each atom."""
    positions: tuple[Point, ...] = ()
    """x, y, z of each atom, Å."""

    def __post_init__(self) -> None:
        check_name(self.name)
        for symbol in self.elements:
            if symbol not in SYMBOLS:
                raise ValueError(f"expected chemical symbols such as 'C' and 'O' in elements, got {symbol!r}")
        if len(self.elements) != len(self.positions):
            raise ValueError(
                f"expected a position for each element, got {len(self.elements)} elements and "
                f"{len(self.positions)} positions"
            )

    @property
    def ids(self) -> str:
        """What the structures' ids begin with."""
        return self.name

    @property
    def atomic_numbers(self) -> tuple[int, ...]:
        """Z of each atom."""
        return tuple(SYMBOLS.index(symbol) + 1 for symbol in self.elements)


@dataclass(frozen=True, kw_only=True)
class Inline(_Molecule):
    """One structure, given here."""

    kind: Literal["inline"]
    """Coordinates in the recipe."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.elements:
            raise ValueError("expected elements and positions of at least one atom, got none")


@dataclass(frozen=True, kw_only=True)
class Displacements(_Molecule):
    """A molecule at its minimum with its atoms displaced; see `tesseral.models.reference.geometries.displacements`."""

    kind: Literal["displacements"]
    """Which generator makes the structures."""
    file: str | None = None
    """Extended XYZ file, relative to the recipe, of which the first frame is the molecule; excludes `elements`."""
    mode: Literal["thermal", "normal_modes"] = "thermal"
    """`thermal`: all normal modes at once, by their quantum-mechanical distribution at the temperature;
    `normal_modes`: one mode after another, alone."""
    temperature: Annotated[float, Range(ge=0)] = 300.0
    """Kelvin; at 0 the zero-point motion is left."""
    amplitude: Annotated[float, Range(gt=0)] = 2.0
    """Of `normal_modes`: the largest displacement along a mode, in standard deviations at the temperature."""
    count: Annotated[int, Range(ge=1)]
    """Structures."""
    seed: Annotated[int, Range(ge=0)] = 0
    """Of the random displacements; a larger count keeps the first ones."""
    optimise: bool = True
    """Go from the given geometry to the nearest minimum first; false: it is the minimum."""
    method: str = "HF"
    """Of the minimum and its vibrations: cheap, for they only say where structures lie."""
    basis: str = "def2-SVP"
    """Orbital basis of that method."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.elements) == (self.file is not None):
            came = "both" if self.elements else "neither"
            raise ValueError(f"expected either elements and positions or a file, got {came}")


Table = Annotated[WaterClusters | Xyz | Inline | Displacements, Discriminator("kind")]
"""One table of structures; its `kind` says which."""
