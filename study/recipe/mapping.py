"""A mapping: which labels of an extended XYZ file become which columns of reference data, and in which units."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import WithJsonSchema

from tesseral.study.configuration.quantities import QUANTITIES
from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.irreps import MulIrrep, format_irreps, parse_irreps
from tesseral.study.parsing.section import Range, Section
from tesseral.study.parsing.units import size_of
from tesseral.study.parsing.validation import read_toml, validate
from tesseral.study.recipe.recipe import ReferenceName
from tesseral.study.records.schemas import REFERENCE

COLUMNS: dict[str, tuple[str, Literal["structure", "atom"], str]] = {
    quantity.column: (format_irreps(quantity.irreps), quantity.per, quantity.unit)
    for quantity in QUANTITIES.values()
    if quantity.name == quantity.column and quantity.irreps is not None
} | {"charges": ("1x0e", "atom", "e")}
"""Columns of reference data that a label can fill → irreps, one for each structure or atom, unit."""
MULTIPOLES = ("dipole", "quadrupole", "octupole")
"""Columns whose values depend on a point, the centre of nuclear charge."""
OWN = r"[\w-]+"
"""Name of a label that fills no column of reference data."""
CARTESIAN: dict[int, tuple[str, ...]] = {0: ("0e",), 1: ("1o",), 2: ("0e", "1e", "2e"), 3: ("1o", "3o")}
"""Rank of a Cartesian tensor → the irreps that it holds; of rank 3 the totally symmetric ones."""


@dataclass(frozen=True, kw_only=True)
class MappedReference(ReferenceName):
    """The file that is made, and what its labels were computed with."""

    method: str | None = None
    """Such as `RI-MP2`; for the record."""
    basis: str | None = None
    """Orbital basis, such as `def2-TZVP`; for the record."""


@dataclass(frozen=True, kw_only=True)
class Source(Section):
    """The file that is read, and which of its frames."""

    file: str
    """Extended XYZ, `.xyz` or `.xyz.gz`, relative to the mapping. Positions are in Å."""
    id: str | None = None
    """Key of the comment line that names each structure; default the reference's name and the frame's number."""
    charge: int | str | None = None
    """Total charge, e, or the key of the comment line that holds it. Default: the key `charge` where there is one,
    else 0."""
    spin: int | str | None = None
    """Unpaired electrons, or the key of the comment line that holds them; default not known."""
    first: Annotated[int, Range(ge=0)] = 0
    """Number of the first frame that is taken, from 0."""
    every: Annotated[int, Range(ge=1)] = 1
    """Take each frame of this many."""
    count: Annotated[int, Range(ge=1)] | None = None
    """Take no more frames than this; default all."""
    ignore_cell: bool = False
    """Take periodic frames as molecules in empty space; else they are refused."""


@dataclass(frozen=True, kw_only=True)
class LabelSource(Section):
    """One label of the file, and the column that it fills."""

    name: str
    """As in the file: a key of the comment line, or the name of a column of the atoms."""
    column: Annotated[str, WithJsonSchema({"anyOf": [{"enum": [*COLUMNS]}, {"type": "string", "pattern": f"^{OWN}$"}]})]
    """A column of reference data, such as `dipole`, else a name of the label's own: letters, digits, '_' and '-'. A
    study trains on the first by its name and on the second as `label:<name>`."""
    unit: str
    """Of the file. It is converted to the column's; a label of its own keeps it."""
    irreps: str | None = None
    """What is kept, such as `0e+2e`. Default: those of the column; `0e` for a label of its own."""
    form: Literal["cartesian", "spherical"] = "cartesian"
    """`cartesian`: 1, 3, 9 or 27 numbers, a tensor by rows, which an orthonormal change of basis turns into irreps
    (see `tesseral.models.reference.conventions`). `spherical`: the numbers of the irreps themselves."""
    order: Literal["e3nn", "m"] = "e3nn"
    """Of spherical numbers: e3nn's order and axes, or m = −l, …, l about the z axis."""
    per: Literal["structure", "atom"] | None = None
    """One for each structure, or one for each atom. Default: as the column is; `structure` for a label of its own."""
    scale: float = 1.0
    """Factor on the file's numbers: −1 makes forces of a gradient."""
    origin: Literal["nuclear_charge", "coordinates", "mass"] | None = None
    """Point that a multipole is about: the centre of nuclear charge, the origin of the coordinates, or the centre of
    mass. The dipole of a charged molecule is moved to the centre of nuclear charge, so this must be said; that of a
    neutral one is the same about every point. Quadrupoles and octupoles must come about the centre of nuclear charge,
    and say so."""
    convention: Literal["moment", "buckingham"] | None = None
    """Of Cartesian quadrupoles and octupoles, which must say it: `moment`: Σ q r_a r_b, whose trace is left out;
    `buckingham`: traceless, ½ Σ q (3 r_a r_b − r² δ_ab) and the like. Spherical ones must be Racah's, Σ q C_lm r^l."""
    symmetrize: bool = False
    """Leave out what is not in `irreps`, and say how much; else more than 1e-6 of a label's norm is refused."""

    @property
    def standard(self) -> bool:
        """Whether it fills a column that reference data always have."""
        return self.column in COLUMNS

    @property
    def target(self) -> str:
        """Name of the column in the file."""
        return self.column if self.standard else f"label.{self.column}"

    @property
    def kept(self) -> tuple[MulIrrep, ...]:
        """Irreps, in the order of the numbers."""
        return parse_irreps(self.irreps or (COLUMNS[self.column][0] if self.standard else "0e"))

    @property
    def of(self) -> Literal["structure", "atom"]:
        """`per`, its default filled in."""
        return self.per or (COLUMNS[self.column][1] if self.standard else "structure")

    @property
    def size(self) -> float:
        """How many of the column's unit one of the file's is."""
        return size_of(self.unit, COLUMNS[self.column][2]) if self.standard else 1.0

    @property
    def ranks(self) -> tuple[int, ...]:
        """Ranks of the Cartesian tensors that hold these irreps."""
        names = [str(term).removeprefix("1x") for term in self.kept]
        if self.standard:  # a polarizability is a matrix, and an energy no part of one
            return (max(term.l for term in self.kept),)
        return tuple(rank for rank, held in CARTESIAN.items() if {*names} <= {*held} and len({*names}) == len(names))

    def __post_init__(self) -> None:
        if not self.standard and (self.column in REFERENCE.names or not re.fullmatch(OWN, self.column)):
            raise ValueError(
                f"expected one of {', '.join(COLUMNS)}, or a name of letters, digits, '_' and '-' that is no other "
                f"column of reference data, got column = {self.column!r}"
            )
        if self.standard:
            irreps, per, _ = COLUMNS[self.column]
            found = "+".join(map(str, self.kept))
            if found != irreps or self.of != per:
                raise ValueError(
                    f"expected irreps {irreps} for each {per}, for so is the column {self.column}, got {found} for "
                    f"each {self.of}; a label of another name may hold them"
                )
        _ = self.size  # an unknown unit
        if self.form == "cartesian" and not self.ranks:
            raise ValueError(
                "expected irreps of a Cartesian tensor, each once: some of 0e, of 1o, of 0e+1e+2e, or of 1o+3o, got "
                f"{self.irreps!r}; form = 'spherical' takes any"
            )
        self._check_origin()

    def _check_origin(self) -> None:
        if self.column not in MULTIPOLES:
            if self.origin or self.convention:
                raise ValueError(
                    f"expected origin and convention for {', '.join(MULTIPOLES)} alone, {self.column} has one"
                )
        elif self.column == "dipole":
            if self.convention:
                raise ValueError("expected convention for quadrupole and octupole alone, dipole has one")
        elif self.origin != "nuclear_charge":
            raise ValueError(
                f"expected origin = 'nuclear_charge', which a {self.column} must be about, got "
                f"{self.origin or 'no origin'}; to move it would take the lower multipoles"
            )
        elif (self.form == "cartesian") != (self.convention is not None):
            raise ValueError(
                f"expected convention = 'moment' or 'buckingham' for a Cartesian {self.column}, and none for a "
                f"spherical one, got {self.convention or 'none'}"
            )


@dataclass(frozen=True, kw_only=True)
class Mapping(Section):
    """A mapping: an extended XYZ file, and the columns of reference data that its labels fill."""

    reference: MappedReference
    """The file that is made."""
    source: Source
    """The file that is read."""
    labels: Annotated[tuple[LabelSource, ...], Range(min_length=1)]
    """Labels that are read, each into a column of its own."""


def read_mapping(file: str | Path) -> Mapping:
    """Read and check a mapping.

    :raises StudyFileError: with the dotted path of the first mistake; no two labels may fill one column.
    """
    tree = read_toml(file)
    mapping = validate(Mapping, tree, str(file))
    filled = [label.column for label in mapping.labels]
    for index, column in enumerate(filled):
        if column in filled[:index]:
            raise StudyFileError(
                f"labels.{index}.column",
                f"expected a column that no other label fills, got {column!r} again",
                str(file),
            )
    return mapping
