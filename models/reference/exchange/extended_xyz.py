"""Extended XYZ files, read frame by frame through ASE (https://ase-lib.org): atoms, and the labels that came along."""

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import ase.data
import ase.io
import numpy as np
from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tesseral.study.errors import DataError

SAME_PLACE = 0.01
"""Two atoms closer than this, Å, are at one place: a slip in the file."""
_ITS_OWN = ("numbers", "positions")  # columns of ASE's atoms that are no labels
_MATRICES = ("stress", "virial")  # what ASE makes a matrix of, of stress the symmetric part alone
_DIGITS = 18  # of a number of atoms, at most


@dataclass(frozen=True)
class Frame:
    """One structure of a file, with everything that its comment line and its columns say about it."""

    index: int
    """Position in the file, from 0."""
    atomic_numbers: tuple[int, ...]
    """Z of each atom."""
    positions: NDArray[np.float64]
    """Å, shape (atoms, 3)."""
    info: dict[str, Any]
    """Key → value of the comment line: numbers as a numpy array, shape () for one alone, else as it is."""
    arrays: dict[str, NDArray[Any]]
    """Name → values of each further column, shape (atoms,) or (atoms, width)."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbol of each atom."""
        return tuple(ase.data.chemical_symbols[number] for number in self.atomic_numbers)

    def charge(self, file: str, remedy: str) -> int:
        """The total charge that its key `charge` states, e; 0 without one.

        :param file: what an error message calls the file.
        :param remedy: how the message ends: what helps.
        :raises DataError: if it is no whole number.
        """
        stated = np.asarray(self.info.get("charge", 0))
        if stated.shape != () or stated.dtype.kind not in "iuf" or not float(stated).is_integer():
            raise DataError(
                f"expected a whole number as the charge of frame {self.index} of {file}, got {self.info['charge']}; "
                f"{remedy}"
            )
        return int(stated)


def read_frames(path: str | Path, ignore_cell: bool = False) -> Iterator[Frame]:
    """The frames of a file `.xyz` or `.xyz.gz`, one in memory at a time; plain XYZ is read too.

    ASE hands labels of the names that it knows (`energy`, `forces`, `dipole`, `charges`, …) to a calculator: here
    they stand among `info` and `arrays` like all others. Nine numbers are a vector in the file's order, those
    of `stress` and `virial` too, which ASE itself symmetrizes and transposes.

    :param ignore_cell: take a periodic frame as one molecule in empty space; else it is refused.
    :raises DataError: if the file is missing or no extended XYZ, holds no frame, or a frame is periodic, has
        coordinates that are not finite, an unknown element, two atoms at one place, or fewer atoms than it says.
        The frame is named.
    """
    count = 0
    for index, block in enumerate(_blocks(Path(path))):
        where = f"frame {index} of {path}"
        try:
            atoms = _read_atoms(block)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
            raise DataError(f"expected extended XYZ, {where} cannot be read: {_reason(error)}") from None
        count += 1
        yield _frame(atoms, block.split("\n", 2)[1], index, where, ignore_cell)
    if not count:
        raise DataError(f"expected extended XYZ, {path} holds no frame")


def _blocks(path: Path) -> Iterator[str]:
    """The text of each frame: the number of atoms, the comment line, and a line for each atom."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            index = 0
            while (block := _block(file, f"frame {index} of {path}")) is not None:
                yield block
                index += 1
    except DataError:
        raise
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"expected an extended XYZ file, {path} cannot be read: {reason}") from None
    except UnicodeDecodeError:
        raise DataError(f"expected an extended XYZ file, {path} cannot be read: it is no text") from None


def _block(file: TextIO, where: str) -> str | None:
    head = file.readline()
    while head and not head.strip():  # blank lines after a frame
        head = file.readline()
    if not head:
        return None
    said = head.strip()
    if not said.isdecimal() or len(said) > _DIGITS or int(said) < 1:
        raise DataError(f"expected extended XYZ, {where} begins with {said[:40]!r}: no number of atoms")
    lines = [head, file.readline()]
    for found in range(int(said)):
        line = file.readline()
        if len(line.split()) < 2:  # the end of the file, a blank line, or the next frame's number of atoms
            raise DataError(f"expected extended XYZ, {where} ends before its {said} atoms do: it has {found}")
        lines.append(line)
    return "".join(lines)


def _read_atoms(block: str) -> Atoms:
    matrices = {}

    def parse(comment: str) -> dict[str, Any]:
        values: dict[str, Any] = key_val_str_to_dict(comment)
        for key in values.keys() & {*_MATRICES}:
            matrices[key] = values.pop(key).ravel(order="F")  # as it stands in the file
        return values

    atoms = next(ase.io.iread(io.StringIO(block), format="extxyz", properties_parser=parse))
    atoms.info |= matrices
    return atoms


def _frame(atoms: Atoms, comment: str, index: int, where: str, ignore_cell: bool) -> Frame:
    numbers, positions = atoms.numbers.tolist(), atoms.positions.astype(np.float64)
    if not np.isfinite(positions).all():
        atom = int(np.flatnonzero(~np.isfinite(positions).all(axis=1))[0])
        raise DataError(f"expected finite coordinates, atom {atom} in {where} has {positions[atom].tolist()}")
    if 0 in numbers:
        raise DataError(f"expected a chemical element for each atom, atom {numbers.index(0)} in {where} has none")
    if atoms.pbc.any() and not ignore_cell:
        raise DataError(
            f"expected molecules in empty space, {where} is periodic; "
            'if its cell means nothing, write pbc="F F F" there or set ignore_cell'
        )
    together = sorted(cKDTree(positions).query_pairs(SAME_PLACE))
    if together:
        first, second = together[0]
        raise DataError(f"expected each atom at a place of its own, {where} has atoms {first} and {second} at one")
    results = dict(atoms.calc.results) if atoms.calc is not None else {}
    columns = _columns(comment)
    arrays = {key: value for key, value in atoms.arrays.items() if key not in _ITS_OWN}
    arrays |= {key: np.asarray(value) for key, value in results.items() if key in columns}
    info = atoms.info | {key: value for key, value in results.items() if key not in columns}
    return Frame(index, tuple(numbers), positions, {key: _number(value) for key, value in info.items()}, arrays)


def _columns(comment: str) -> set[str]:
    """Names of the columns, as ASE calls them."""
    found = re.search(r"Properties\s*=\s*[\"']?([^\"'\s]+)", comment)
    names = set(found[1].split(":")[::3]) if found else set()
    return names | ({"charges"} if "charge" in names else set())


def _number(value: Any) -> Any:
    """Numbers as an array, shape () for one; anything else as it is."""
    number = isinstance(value, int | float | np.number | np.ndarray) and not isinstance(value, bool)
    return np.asarray(value) if number else value


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
