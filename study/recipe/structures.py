"""The kinds of tables `[[structures]]` in a recipe."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Discriminator, WithJsonSchema

from tesseral.study.constants import SYMBOLS
from tesseral.study.parsing.section import Range, Section

MULTIMERS = {1: "monomer", 2: "dimer", 3: "trimer", 4: "tetramer", 5: "pentamer", 6: "hexamer"}
"""Number of molecules → name of the cluster. Larger ones are called by number, such as `9-mer`."""

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
Name = Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"})]
"""A name that can be part of a file name. `check_name` refuses others in a sentence; the pattern is for JSON Schema."""
Element = Annotated[str, WithJsonSchema({"type": "string", "enum": [*SYMBOLS]})]
"""A chemical symbol."""
Point = Annotated[tuple[float, ...], Range(min_length=3, max_length=3)]
"""Position x, y, z of an atom, Å."""


def check_name(name: str) -> None:
    """Check that a name can be part of a file name.

    :param name: of a file, a molecule or a set of structures.
    :raises ValueError: if it cannot, saying what is allowed.
    """
    if not re.fullmatch(NAME, name):
        raise ValueError(f"expected a name of letters, digits, '-', '_' and '.', a letter or digit first, got {name!r}")


@dataclass(frozen=True, kw_only=True)
class WaterClusters(Section):
    """Random clusters of water molecules."""

    kind: Literal["water_clusters"]
    """Random clusters of water molecules."""
    molecules: Annotated[int, Range(ge=1, le=20)]
    """Number of molecules in each cluster."""
    count: Annotated[int, Range(ge=1)]
    """Number of clusters."""
    seed: Annotated[int, Range(ge=0)] = 0
    """Seed of the random geometries. With a larger `count`, the first clusters stay the same."""

    @property
    def ids(self) -> str:
        """Beginning of the structures' ids: `dimer` in `dimer-0007`."""
        return MULTIMERS.get(self.molecules, f"{self.molecules}-mer")


@dataclass(frozen=True, kw_only=True)
class Xyz(Section):
    """Frames of an extended XYZ file. `first`, `every` and `count` choose some of them."""

    kind: Literal["xyz"]
    """Frames of an extended XYZ file."""
    file: str
    """Path of the `.xyz` or `.xyz.gz` file, relative to the recipe. Positions are in Å."""
    name: Name | None = None
    """Beginning of the structures' ids; the number of the frame follows. Default: the name of the file."""
    charge: int | None = None
    """Total charge of each frame, e. Default: the key `charge` of its comment line, else 0."""
    spin: Annotated[int, Range(ge=0)] = 0
    """Number of unpaired electrons in each frame."""
    first: Annotated[int, Range(ge=0)] = 0
    """Number of the first frame that is taken, counted from 0."""
    every: Annotated[int, Range(ge=1)] = 1
    """Distance between frames that are taken: 10 takes every tenth."""
    count: Annotated[int, Range(ge=1)] | None = None
    """Number of frames that are taken. Default: all."""
    ignore_cell: bool = False
    """Treat periodic frames as molecules in empty space. By default they are refused."""

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
    """A molecule with a name, and its atoms if they are given here."""

    name: Name
    """Name of the molecule. The structures' ids begin with it."""
    charge: int = 0
    """Total charge, e."""
    spin: Annotated[int, Range(ge=0)] = 0
    """Number of unpaired electrons."""
    elements: tuple[Element, ...] = ()
    """Chemical symbols of the atoms."""
    positions: tuple[Point, ...] = ()
    """Positions x, y, z of the atoms, Å."""

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
    """One structure, with its coordinates in the recipe."""

    kind: Literal["inline"]
    """One structure, with its coordinates in the recipe."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.elements:
            raise ValueError("expected elements and positions of at least one atom, got none")


@dataclass(frozen=True, kw_only=True)
class Displacements(_Molecule):
    """A molecule whose atoms are displaced from its energy minimum along its vibrations."""

    kind: Literal["displacements"]
    """A molecule whose atoms are displaced along its vibrations."""
    file: str | None = None
    """Extended XYZ file, relative to the recipe. Its first frame is the molecule. Give either this, or `elements` and
    `positions`."""
    mode: Literal["thermal", "normal_modes"] = "thermal"
    """`thermal`: all normal modes at once, drawn from their quantum-mechanical distribution at `temperature`.
    `normal_modes`: one mode at a time, one after the other."""
    temperature: Annotated[float, Range(ge=0)] = 300.0
    """Temperature, K. At 0 only the zero-point motion is left."""
    amplitude: Annotated[float, Range(gt=0)] = 2.0
    """With `normal_modes`: largest displacement along a mode, in standard deviations at `temperature`."""
    count: Annotated[int, Range(ge=1)]
    """Number of structures."""
    seed: Annotated[int, Range(ge=0)] = 0
    """Seed of the random displacements. With a larger `count`, the first structures stay the same."""
    optimise: bool = True
    """Optimise the given geometry to the nearest minimum first. With `false`, it is taken as the minimum."""
    method: str = "HF"
    """Method for the minimum and its vibrations. A cheap one is enough: it only decides where the structures lie."""
    basis: str = "def2-SVP"
    """Orbital basis for the minimum and its vibrations."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.elements) == (self.file is not None):
            came = "both" if self.elements else "neither"
            raise ValueError(f"expected either elements and positions or a file, got {came}")


Table = Annotated[WaterClusters | Xyz | Inline | Displacements, Discriminator("kind")]
"""One table of structures, told apart by its `kind`."""
