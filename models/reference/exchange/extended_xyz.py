"""Extended XYZ files, read frame by frame: atoms, and labels as text, which become numbers when they are asked for.

A label that nobody asks for can so make no file unreadable, and names keep their characters. Plain XYZ and the original
files of QM9 are read too; a folder or an archive of files is read as one file.
"""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tesseral.models.networks.neighbors import periodic_neighbors, whole_cell
from tesseral.models.reference.exchange.packed_files import open_files, readable
from tesseral.study.constants import SYMBOLS
from tesseral.study.errors import DataError

Array = NDArray[np.float64]

ENDINGS = (".xyz", ".extxyz")
"""Names of the files in a folder or an archive end so."""
SAME_PLACE = 0.01
"""Atoms nearer to each other than this, Å, are a mistake in the file."""
MOST_ATOMS = 100_000
"""Most atoms of a frame."""
MOST_NUMBERS = 10_000_000
"""Most atoms times columns of a frame."""
MOST_BLANK = 1_000
"""Most blank lines between frames."""
LONGEST_LINE = 1_000_000
"""Most characters of a line."""
FARTHEST = 1e6
"""Largest coordinate, in the file's unit."""
LARGEST = 1e30
"""Largest number of a label; single precision ends at 3e38."""
CHARGES = ("charge", "total_charge", "tot_charge", "net_charge")
"""Keys of a comment line under which programs write the total charge."""
QM9 = ("tag", "index", *"ABC", "mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "U0", "U", "H", "G", "Cv")
"""Names of the numbers in the second line of QM9's original files, by its `readme.txt`."""

_SYMBOLS = {symbol: number for number, symbol in enumerate(SYMBOLS, start=1)}
_ISOTOPES = ("D", "T")
_LABELLED = re.compile(r"([A-Z][a-z]?)\d+")  # C1, H12: a symbol and the number of the atom
_ABSENT = ("", "none", "null", "n/a", "na", "nan")
_DIGITS = 18  # most digits in a number of atoms
_EXPONENT = re.compile(r"[dD]|\*\^")  # Fortran's and Mathematica's exponents
_QUOTED = r'"((?:[^"\\]|\\.?)*)(?:"|$)'  # up to the end of the line if it is not closed
_ITEM = re.compile(
    rf"\s*(?:{_QUOTED}|([^\s=\"]+))"
    rf"(?:\s*=\s*(?:{_QUOTED}|'([^']*)'|\{{([^{{}}]*)\}}|(\[(?:[^\[\]]|\[[^\[\]]*\])*\])|(\S*)))?"
)


@dataclass(frozen=True)
class Frame:
    """One structure of a file, with all labels of its comment line and its columns as text."""

    index: int
    """Position in the file, from 0."""
    where: str
    """Its name in error messages."""
    atomic_numbers: tuple[int, ...]
    """Z of each atom."""
    positions: Array
    """In the file's unit, Å by the format's definition, shape (atoms, 3)."""
    info: dict[str, tuple[str | None, ...]]
    """Key of the comment line → each of its values; None where the key stands alone."""
    columns: dict[str, slice]
    """Name of each column of the atoms → its place in `rows`."""
    rows: list[list[str]] = field(repr=False)
    """Text of each atom's line."""
    isotopes: int = 0
    """Number of atoms that are written as D or T; they are hydrogen."""
    source: str = ""
    """Name of the file, folder or archive that it is from."""
    cell: Array | None = None
    """Lattice vectors as rows, in the unit of the positions, of zeros where the structure does not repeat, shape
    (3, 3); None for a molecule."""

    def names(self, per: Literal["structure", "atom"]) -> tuple[str, ...]:
        """Names of the labels that each structure, or each atom, has.

        :param per: whose labels.
        """
        if per == "structure":
            return tuple(key for key in self.info if key not in ("Properties", "Lattice", "pbc"))
        return tuple(key for key in self.columns if key not in ("species", "Z", "pos"))

    def has(self, name: str, per: Literal["structure", "atom"]) -> bool:
        """Whether there is a value of a label. A key that stands alone, `N/A`, `None` and `nan` are none.

        :param name: of the label.
        :param per: whose label it is.
        """
        if per == "atom":
            return name in self.columns
        return any(text is not None and text.strip().lower() not in _ABSENT for text in self.info.get(name, ()))

    def text(self, key: str) -> str | None:
        """The value of a key of the comment line, verbatim; None if it has none.

        :param key: of the comment line.
        :raises DataError: if the key stands there twice.
        """
        values = self.info.get(key, (None,))
        if len(values) > 1:
            shown = " and ".join("no value" if value is None else repr(value[:40]) for value in values[:2])
            raise DataError(f"expected {key} once in the comment line, {self.where} has {len(values)} of it: {shown}")
        return values[0]

    def numbers(self, name: str, per: Literal["structure", "atom"]) -> Array:
        """The numbers of a label, in the file's order, shape (1, numbers) or (atoms, numbers).

        :param name: of the label.
        :param per: whose label it is.
        :raises DataError: if there is no such label, or it is no number, or not finite.
        """
        if not self.has(name, per):
            raise DataError(f"expected a label {name!r} for each {per}, {self.where} has none: {self._hint(name, per)}")
        if per == "atom":
            place = self.columns[name]
            rows = [row[place] for row in self.rows]
        else:
            rows = [re.sub(r"[\[\]{},]", " ", (self.text(name) or "").removeprefix("_JSON")).split()]
        try:
            values = np.array([floats(row) for row in rows])
        except ValueError as error:
            raise DataError(f"expected numbers in {name}, {self.where} has {str(error)[:60]}") from None
        if not np.isfinite(values).all():
            raise DataError(f"expected finite numbers in {name}, {self.where} has infinite ones or NaN")
        if np.abs(values).max(initial=0) > LARGEST:
            raise DataError(
                f"expected numbers of at most {LARGEST:.0e} in {name}, {self.where} has {np.abs(values).max():.3g}"
            )
        return values

    def charge(self, remedy: str) -> int | None:
        """Total charge under one of the keys `CHARGES` of the comment line, e; None without one.

        :param remedy: end of the error message, which says what to do.
        :raises DataError: if it is not a whole number, or two keys contradict each other.
        """
        found = {key: self.whole(key, remedy) for key in CHARGES if key in self.info}
        if len({*found.values()}) > 1:
            stated = " and ".join(f"{key} = {value}" for key, value in found.items())
            raise DataError(f"expected one total charge, {self.where} has {stated}; {remedy}")
        return next(iter(found.values()), None)

    def whole(self, key: str, remedy: str = "") -> int:
        """The whole number under a key of the comment line, of at most six digits.

        :param key: of the comment line.
        :param remedy: end of the error message, which says what to do.
        :raises DataError: if it is something else.
        """
        text = self.text(key)
        try:
            (value,) = floats([text or ""])
        except ValueError:
            value = float("nan")
        if not abs(value) < 1e6 or not value.is_integer():
            shown = "none" if text is None else text[:40]
            raise DataError(
                f"expected a whole number under {key}, {self.where} has {shown}" + (f"; {remedy}" if remedy else "")
            )
        return int(value)

    def _hint(self, name: str, per: str) -> str:
        other: Literal["structure", "atom"] = "atom" if per == "structure" else "structure"
        if self.has(name, other):
            return f"it has one for each {other}"
        if per == "structure" and name in self.info:
            text = self.info[name][0]
            shown = f"the key {name} stands alone" if text is None else f"the value is {text[:40]!r}"
            return f"{shown}; only_complete = true of [source] leaves such frames out"
        names = ", ".join(self.names("structure" if per == "structure" else "atom")) or "none"
        return f"it has {names}; only_complete = true of [source] leaves such frames out"


def floats(texts: list[str]) -> list[float]:
    """Numbers from text, also with the exponents of Fortran (`1D-3`) and Mathematica (`1*^-3`).

    :param texts: one number each.
    :raises ValueError: with the first text that is no number.
    """
    try:
        if not any("_" in text for text in texts):  # which Python would take for a separator of digits
            return [float(text) for text in texts]
    except ValueError:
        pass
    return [_float(text) for text in texts]


def _float(text: str) -> float:
    try:
        if "_" not in text:
            return float(_EXPONENT.sub("e", text))
    except ValueError:
        pass
    raise ValueError(repr(text))


def read_frames(paths: str | Path | Sequence[Path], ignore_cell: bool = False) -> Iterator[Frame]:
    """Frames of extended XYZ, one in memory at a time.

    :param paths: one or several, read one after another. Each is a file, plain or compressed by gzip, bzip2 or xz; or a
        folder or an archive (`.zip`, `.tar`, `.tar.gz`, …) of files `.xyz` or `.extxyz`. The files of a folder are read
        in the order of their names, those of an archive in its own order.
    :param ignore_cell: take a periodic frame as one molecule in empty space.
    :raises DataError: if the file is missing, is not extended XYZ or holds no frame; if a frame has a cell
        that its lattice vectors do not span, coordinates that are not finite, an unknown element, two atoms at one
        place, or fewer atoms than it states.
        The message names the frame.
    """
    count = 0
    for path in [Path(paths)] if isinstance(paths, str | Path) else paths:
        first = count
        for name, file in open_files(path, ENDINGS):
            with readable(name):
                text, before = io.TextIOWrapper(file, encoding="utf-8-sig"), count
                while (frame := _frame(text, count, f"frame {count - before} of {name}", ignore_cell)) is not None:
                    count += 1
                    yield replace(frame, source=path.name)
        if count == first:
            raise DataError(f"expected extended XYZ, {path} holds no frame")


def _line(file: io.TextIOWrapper, where: str) -> str:
    line = file.readline(LONGEST_LINE + 1)
    if len(line) > LONGEST_LINE:
        raise DataError(f"expected lines of at most {LONGEST_LINE:,} characters, {where} has a longer one")
    return line


def _frame(file: io.TextIOWrapper, index: int, where: str, ignore_cell: bool) -> Frame | None:
    """The next frame: the number of atoms, the comment line, and a line for each atom."""
    for _ in range(MOST_BLANK):
        head = _line(file, where)
        if not head or head.strip():
            break
    else:
        raise DataError(f"expected a number of atoms, {where} begins with {MOST_BLANK:,} blank lines")
    if not head:
        return None
    said = head.strip()
    if not (said.isascii() and said.isdecimal()) or len(said) > _DIGITS or int(said) < 1:
        raise DataError(f"expected a number of atoms, {where} begins with {said[:40]!r}; is it extended XYZ?")
    if int(said) > MOST_ATOMS:
        raise DataError(f"expected at most {MOST_ATOMS:,} atoms, {where} states {int(said):,}")
    comment = _line(file, where)
    fields = comment.split()
    if len(fields) >= len(QM9) and fields[0] == "gdb":  # then the vibrations, SMILES and InChI
        info: dict[str, tuple[str | None, ...]] = {key: (text,) for key, text in zip(QM9, fields, strict=False)}
        columns = {"species": slice(0, 1), "pos": slice(1, 4), "charges": slice(4, 5)}
    else:
        info = _items(comment)
        columns = _columns(info, where)
    rows = _rows(file, int(said), max(place.stop for place in columns.values()), "Properties" in info, where)
    if "gdb" in fields[:1]:
        for _ in range(3):
            _line(file, where)
    return _checked(Frame(index, where, (), np.zeros((0, 3)), info, columns, rows), ignore_cell)


def _rows(file: io.TextIOWrapper, atoms: int, width: int, stated: bool, where: str) -> list[list[str]]:
    """The columns of each atom. Plain XYZ, which states none, may have more of them than are read."""
    if atoms * width > MOST_NUMBERS:
        raise DataError(f"expected at most {MOST_NUMBERS:,} columns of atoms, {where} states {atoms:,} × {width:,}")
    rows = []
    for number in range(atoms):
        row = _line(file, where).split()
        if len(row) < 2:  # the end of the file, a blank line, or the next frame's number of atoms
            raise DataError(f"expected extended XYZ, {where} ends before its {atoms} atoms do: it has {number}")
        if len(row) < width or (stated and len(row) > width):
            raise DataError(
                f"expected extended XYZ, {where} cannot be read: atom {number} has {len(row)} columns of {width}"
            )
        rows.append(row[:width])
    return rows


def _items(comment: str) -> dict[str, tuple[str | None, ...]]:
    """Key → values of a comment line: `key=value`, `key="value"`, `key={value}`, `key=[value]`, or a key alone."""
    items: dict[str, list[str | None]] = {}
    for match in _ITEM.finditer(comment.strip()):
        quoted, plain, *values = match.groups()
        key = plain if quoted is None else quoted
        text = next((value for value in values if value is not None), None)
        items.setdefault(key, []).append(text if text is None else text.replace('\\"', '"'))
    return {key: tuple(values) for key, values in items.items()}


def _columns(info: dict[str, tuple[str | None, ...]], where: str) -> dict[str, slice]:
    """Name → place of each column, from `Properties` of the comment line. Plain XYZ has symbols and positions."""
    said = info.get("Properties", ("species:S:1:pos:R:3",))
    if len(said) > 1:
        raise DataError(f"expected Properties once in the comment line, {where} has {len(said)} of it")
    stated = said[0] or ""
    parts = stated.split(":")
    columns: dict[str, slice] = {}
    start = 0
    for name, kind, width in zip(parts[::3], parts[1::3], parts[2::3], strict=False):
        if kind not in ("S", "R", "I", "L") or not re.fullmatch(r"\d{1,6}", width) or int(width) < 1:
            break
        columns[name] = slice(start, start + int(width))
        start += int(width)
    if len(columns) * 3 != len(parts) or not {"species", "Z"} & columns.keys() or columns.get("pos") is None:
        raise DataError(
            f"expected extended XYZ, {where} cannot be read: expected Properties such as species:S:1:pos:R:3, each "
            f"column once, got {stated[:80]!r}"
        )
    if columns["pos"].stop - columns["pos"].start != 3:
        raise DataError(f"expected extended XYZ, {where} cannot be read: pos has another number of columns than 3")
    for name in {"species", "Z"} & columns.keys():
        if columns[name].stop - columns[name].start != 1:
            raise DataError(f"expected extended XYZ, {where} cannot be read: {name} has more columns than one")
    if "charge" in columns:
        columns.setdefault("charges", columns["charge"])  # the name that ASE gives it
    return columns


def _checked(frame: Frame, ignore_cell: bool) -> Frame:
    """The frame with its atoms and its cell, if they are those of a structure."""
    where, columns = frame.where, frame.columns
    try:
        positions = np.array([floats(row[columns["pos"]]) for row in frame.rows])
    except ValueError as error:
        raise DataError(f"expected extended XYZ, {where} cannot be read: the coordinate {str(error)[:40]}") from None
    for atom in np.flatnonzero(~np.isfinite(positions).all(axis=1)):
        raise DataError(f"expected finite coordinates, atom {atom} in {where} has {positions[atom].tolist()}")
    for atom in np.flatnonzero((np.abs(positions) > FARTHEST).any(axis=1)):
        raise DataError(
            f"expected coordinates of at most {FARTHEST:.0e}, atom {atom} in {where} has {positions[atom].tolist()}"
        )
    _check_places(positions, where)
    cell = None if ignore_cell else _cell(frame)
    if cell is not None:
        _check_images(positions, cell, where)
    element = columns["species"] if "species" in columns else columns["Z"]
    words = [row[element][0] for row in frame.rows]
    numbers = tuple(_element(word, atom, where) for atom, word in enumerate(words))
    if {"species", "Z"} <= columns.keys():
        others = [row[columns["Z"]][0] for row in frame.rows]
        for number, (one, other) in enumerate(zip(words, others, strict=True)):
            if _element(other, number, where) != numbers[number]:
                raise DataError(
                    f"expected one element for each atom, atom {number} in {where} has species {one[:20]!r} and Z "
                    f"{other[:20]!r}"
                )
    isotopes = sum(word in _ISOTOPES for word in words)
    return Frame(frame.index, where, numbers, positions, frame.info, columns, frame.rows, isotopes, cell=cell)


def _check_places(positions: Array, where: str) -> None:
    _, first, counts = np.unique(positions, axis=0, return_index=True, return_counts=True)
    pairs = [np.flatnonzero((positions == positions[index]).all(axis=1))[:2] for index in first[counts > 1][:1]]
    if not pairs and len(positions) > 1:
        distances, nearest = cKDTree(positions).query(positions, k=2)
        pairs = [np.sort(nearest[atom]) for atom in np.flatnonzero(distances[:, 1] < SAME_PLACE)[:1]]
    for one, other in pairs:
        raise DataError(f"expected each atom at a place of its own, {where} has atoms {one} and {other} at one")


def _element(word: str, atom: int, where: str) -> int:
    """Atomic number of a symbol, of one with the atom's number as C1, of D and T, or of a number."""
    labelled = _LABELLED.fullmatch(word)
    symbol = labelled[1] if labelled else word
    if word.isascii() and word.isdecimal() and len(word) < 4 and 1 <= int(word) <= len(SYMBOLS):
        return int(word)
    if symbol in _ISOTOPES:
        return 1
    if symbol not in _SYMBOLS:
        raise DataError(f"expected a chemical element for each atom, atom {atom} in {where} has {word[:20]!r}")
    return _SYMBOLS[symbol]


def _cell(frame: Frame) -> Array | None:
    """The lattice vectors of a frame, of zeros along the axes that `pbc` calls F. A lattice of zeros is no cell."""
    lattice, stated = frame.text("Lattice"), frame.text("pbc")
    axes = re.sub(r"[\[\],]", " ", stated or "").split()
    repeats = [axis.lower() not in ("f", "false", "0") for axis in axes] or [lattice is not None] * 3
    if not any(repeats):
        return None
    try:
        numbers = floats(re.sub(r"[\[\],]", " ", lattice or "").split())
    except ValueError as error:
        raise DataError(f"expected numbers in Lattice, {frame.where} has {str(error)[:40]}") from None
    if numbers and not any(numbers):
        return None
    if len(numbers) != 9 or len(repeats) != 3:
        what, came = ("Lattice", len(numbers)) if len(numbers) != 9 else ("pbc", len(repeats))
        needed = "9 numbers in Lattice" if what == "Lattice" else "3 values of pbc"
        raise DataError(
            f"expected {needed} of a periodic frame, {frame.where} has {came}; "
            'if its cell means nothing, write pbc="F F F" there or set ignore_cell'
        )
    cell = np.array(numbers).reshape(3, 3) * np.array(repeats)[:, None]
    try:
        whole_cell(cell)
    except DataError as error:
        raise DataError(f"{error}, in {frame.where}") from None
    return cell


def _check_images(positions: Array, cell: Array, where: str) -> None:
    """Refuse an atom at the place of another's image, such as a second copy of one on the face of the cell."""
    try:
        apart = not len(periodic_neighbors(positions, cell, SAME_PLACE).source)
    except DataError:
        apart = False
    if not apart:
        raise DataError(
            f"expected each atom at a place of its own, {where} has two at one, across the boundary of its cell"
        )
