"""A mapping: which labels of an extended XYZ file fill which columns of reference data, and in which units they are."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import WithJsonSchema

from tesseral.study.configuration.quantities import COLUMNS
from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.irreps import MulIrrep, format_irreps, parse_irreps
from tesseral.study.parsing.section import Range, Section
from tesseral.study.parsing.units import size_of
from tesseral.study.parsing.validation import parse_toml, read_toml, validate
from tesseral.study.recipe.recipe import ReferenceName
from tesseral.study.records.schemas import REFERENCE

MULTIPOLES = {column: label.multipole for column, label in COLUMNS.items() if label.multipole is not None}
"""Columns whose values refer to a point, the centre of nuclear charge, and their order l."""
VOIGT = "xx yy zz yz xz xy"
"""Voigt's order of the components of a symmetric tensor."""
ORDER = r"^(e3nn|m|voigt|(xx|yy|zz|xy|xz|yz)( (xx|yy|zz|xy|xz|yz)){5})$"
"""Pattern of `LabelSource.order`."""
NEARLY = 0.85
"""Similarity (`difflib`) from which a new name is taken for a misspelt standard one; 1 for equal names."""
OWN = r"[\w-]+"
"""Pattern of the name of a label that fills no standard column."""
CARTESIAN: dict[int, tuple[str, ...]] = {0: ("0e",), 1: ("1o",), 2: ("0e", "1e", "2e"), 3: ("1o", "3o")}
"""Rank of a Cartesian tensor → the irreps in it; of rank 3, only those of a totally symmetric tensor."""


@dataclass(frozen=True, kw_only=True)
class MappedReference(ReferenceName):
    """The file that is made, and the method by which its labels were computed."""

    method: str | None = None
    """Method by which the labels were computed, such as `RI-MP2`. Only recorded."""
    basis: str | None = None
    """Orbital basis by which the labels were computed, such as `def2-TZVP`. Only recorded."""


@dataclass(frozen=True, kw_only=True)
class Source(Section):
    """The file that is read, and which of its frames are taken."""

    file: str | Annotated[tuple[str, ...], Range(min_length=1)]
    """Path of the extended XYZ file, plain or compressed by gzip, bzip2 or xz, relative to the mapping; or of a folder
    or an archive (`.zip`, `.tar`, `.tar.gz`, …) of files `.xyz` or `.extxyz`. Several are a list of paths or a pattern,
    such as `"md_*.xyz"` or `"runs/**/*.xyz"`; the files of a pattern are read in the order of their names, each file
    once. QM9's original files are read too, their labels as `mu`, `alpha`, `homo`, `lumo`, `gap`, `r2`, `U0`, …"""
    unit: Literal["angstrom", "bohr"] = "angstrom"
    """Unit of the positions."""
    id: str | None = None
    """Key of the comment line that holds the id of each structure. Default: ids from the name of the reference and the
    number of the frame."""
    charge: int | str | None = None
    """Total charge, e, or the key of the comment line that holds it. Default: the key `charge`, `total_charge`,
    `tot_charge` or `net_charge` if there is one, else 0. With a multipole, it must be stated of a structure that would
    have an odd number of electrons if it were neutral."""
    spin: int | str | None = None
    """Number of unpaired electrons, or the key of the comment line that holds it. With a multipole, it must be stated
    of a structure with an odd number of electrons. Default: unknown."""
    split: str | None = None
    """Key of the comment line that holds a published split: `train`, `validation` (or `val`, `valid`) or `test`. A
    study follows it with `data.split = "column"`. Default: none is known."""
    first: Annotated[int, Range(ge=0)] = 0
    """Number of the first frame that is taken, counted from 0."""
    every: Annotated[int, Range(ge=1)] = 1
    """Distance between frames that are taken: 10 takes every tenth."""
    count: Annotated[int, Range(ge=1)] | None = None
    """Number of frames that are taken. Default: all."""
    only_complete: bool = False
    """Take only frames that have every label. By default a frame without one is refused."""
    ignore_cell: bool = False
    """Treat periodic frames as molecules in empty space. By default the cell of a frame is read from `Lattice` and
    `pbc`; a periodic structure has no multipole, polarizability, orbital energy or ⟨r²⟩."""


@dataclass(frozen=True, kw_only=True)
class LabelSource(Section):
    """One label of the file, and the column that it fills."""

    name: str
    """Name of the label in the file: a key of the comment line, or a column of the atoms."""
    column: Annotated[str, WithJsonSchema({"anyOf": [{"enum": [*COLUMNS]}, {"type": "string", "pattern": f"^{OWN}$"}]})]
    """Column that the label fills: a standard column of reference data, such as `dipole`, or a new name of letters,
    digits, `_` and `-`. The quantity of a study's target is then the former's name, or `label:<name>`. A new name
    without digits that is nearly a standard one is refused."""
    unit: str
    """Unit of the label in the file, such as `eV`, or `au`. Values of a standard column are converted to its unit; a
    new column keeps this one."""
    irreps: str | None = None
    """Irreps that are kept, such as `0e+2e`. Default: those of the standard column, or `0e`."""
    form: Literal["cartesian", "spherical"] = "cartesian"
    """`cartesian`: the 1, 3, 9 or 27 components of a tensor, by rows; an orthonormal change of basis turns them into
    irreps. `spherical`: the components of the irreps themselves."""
    order: Annotated[str, Range(pattern=ORDER)] = "e3nn"
    """Order of the components. Of spherical ones: `e3nn`, e3nn's order and axes, or `m`: m = −l, …, l about the z axis.
    Of a symmetric Cartesian tensor that the file holds as six numbers: their order, such as `xx yy zz xy xz yz`, or
    `voigt` for `xx yy zz yz xz xy`."""
    per: Literal["structure", "atom"] | None = None
    """Whether there is one label per structure or per atom. Default: as in the standard column, or `structure`."""
    scale: float = 1.0
    """Factor on the numbers of the file. For example, −1 turns a gradient into forces."""
    origin: Literal["nuclear_charge", "coordinates", "mass"] | None = None
    """Point that a multipole refers to: the centre of nuclear charge, the origin of the coordinates, or the centre of
    mass. It is required for the dipoles of charged molecules, which are moved to the centre of nuclear charge.
    Quadrupoles and octupoles must refer to the centre of nuclear charge, and state it."""
    convention: Literal["moment", "buckingham", "tension", "compression", "virial"] | None = None
    """Convention of a stress σ = ∂E/∂ε / V. `tension`, the default and ASE's: it is positive under tension.
    `compression`, VASP's: −σ, positive under pressure. `virial`: −V σ, an energy.

    Convention of a Cartesian quadrupole or octupole, which must state it. `moment`: Σ q r_a r_b, whose trace is left
    out. `buckingham`: traceless, ½ Σ q (3 r_a r_b − r² δ_ab) for the quadrupole. Spherical multipoles are always in
    Racah's normalisation, Σ q C_lm r^l."""
    symmetrize: bool = False
    """Leave out components outside `irreps`, and report their size. By default a label is refused if they exceed 1e-6
    of its norm."""

    @property
    def standard(self) -> bool:
        """Whether the label fills a standard column."""
        return self.column in COLUMNS

    @property
    def target(self) -> str:
        """Name of the column in the Parquet file."""
        return self.column if self.standard else f"label.{self.column}"

    @property
    def kept(self) -> tuple[MulIrrep, ...]:
        """Irreps of the column, in the order of its numbers."""
        if self.irreps:
            return parse_irreps(self.irreps)
        return COLUMNS[self.column].irreps if self.standard else parse_irreps("0e")

    @property
    def of(self) -> Literal["structure", "atom"]:
        """`per`, or its default."""
        return self.per or (COLUMNS[self.column].per if self.standard else "structure")

    @property
    def size(self) -> float:
        """The file's unit in the column's unit."""
        if self.convention == "virial":
            return size_of(self.unit, COLUMNS["energy"].unit)
        return size_of(self.unit, COLUMNS[self.column].unit) if self.standard else 1.0

    @property
    def multipole(self) -> int | None:
        """Order l of the multipole that the standard column holds; None for any other column."""
        return MULTIPOLES.get(self.column)

    @property
    def components(self) -> str:
        """The six components of a symmetric tensor, in the order of the file."""
        return VOIGT if self.order == "voigt" else self.order

    @property
    def ranks(self) -> tuple[int, ...]:
        """Ranks of the Cartesian tensors that contain these irreps."""
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
        meant = difflib.get_close_matches(self.column.lower(), COLUMNS, n=1, cutoff=NEARLY)
        if not self.standard and meant and not re.search(r"\d", self.column):
            raise ValueError(
                f"expected one of {', '.join(COLUMNS)}, or a name that is not nearly one of them, got column = "
                f"{self.column!r}; did you mean {meant[0]!r}?"
            )
        if self.standard:
            irreps, per = format_irreps(COLUMNS[self.column].irreps), COLUMNS[self.column].per
            given = "+".join(map(str, self.kept))
            if given != irreps or self.of != per:
                raise ValueError(
                    f"expected irreps {irreps} for each {per}, as in the column {self.column}, got {given} for each "
                    f"{self.of}; another column name may hold them"
                )
        _ = self.size  # raises for an unknown unit
        if self.form == "cartesian" and not self.ranks:
            raise ValueError(
                "expected irreps of a Cartesian tensor, each once: some of 0e, of 1o, of 0e+1e+2e, or of 1o+3o, got "
                f"{self.irreps!r}; form = 'spherical' takes any"
            )
        if self.order not in ("e3nn", "m"):
            if self.form != "cartesian" or 2 not in self.ranks:
                raise ValueError(
                    f"expected order = {self.order!r} for a Cartesian tensor of rank 2, got {self.form} irreps "
                    f"{format_irreps(self.kept)}"
                )
            if len({*self.components.split()}) != 6:
                raise ValueError(f"expected each of xx, yy, zz, xy, xz and yz once in order, got {self.order!r}")
        self._check_origin()

    def _check_origin(self) -> None:
        if self.column == "stress":
            if self.origin or self.convention in ("moment", "buckingham"):
                raise ValueError(
                    "expected convention = 'tension', 'compression' or 'virial' and no origin for a stress, got "
                    f"{self.convention or self.origin!r}"
                )
        elif self.convention in ("tension", "compression", "virial"):
            raise ValueError(f"expected convention = {self.convention!r} for the stress only, got it for {self.column}")
        elif self.multipole is None:
            if self.origin or self.convention:
                raise ValueError(
                    f"expected origin and convention for {', '.join(MULTIPOLES)} only, got one for {self.column}"
                )
        elif self.multipole == 1:  # moving it takes the charge alone, and all conventions of a vector agree
            if self.convention:
                higher = " and ".join(column for column, order in MULTIPOLES.items() if order > 1)
                raise ValueError(f"expected convention for {higher} only, got one for {self.column}")
        elif self.origin != "nuclear_charge":
            raise ValueError(
                f"expected origin = 'nuclear_charge', which a {self.column} must refer to, got "
                f"{self.origin or 'no origin'}; moving it would need the lower multipoles"
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

    :param file: path of the mapping. Its own paths stay relative to the mapping's folder.
    :raises StudyFileError: for the first mistake, with its dotted path. Two labels that fill one column are a mistake.
    """
    tree = parse_toml(read_toml(file), "labels", str(file))
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
