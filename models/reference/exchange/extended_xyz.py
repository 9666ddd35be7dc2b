"""Extended XYZ files, read frame by frame by ASE (https://ase-lib.org): atoms, and all labels in the file."""

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import ase.io
import numpy as np
from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tesseral.study.errors import DataError

SAME_PLACE = 0.01
"""Atoms nearer to each other than this, Å, are a mistake in the file."""
_NO_LABELS = ("numbers", "positions")  # columns of ASE's atoms that are not labels
_MATRICES = ("stress", "virial")  # ASE turns these into matrices, and keeps only the symmetric part of stress
_DIGITS = 18  # most digits in a number of atoms


@dataclass(frozen=True)
class Frame:
    """One structure of a file, with all values of its comment line and its columns."""

    index: int
    """Position in the file, from 0."""
    atomic_numbers: tuple[int, ...]
    """Z of each atom."""
    positions: NDArray[np.float64]
    """Å, shape (atoms, 3)."""
    info: dict[str, Any]
    """Key → value of the comment line. Numbers are arrays, of shape () for a single one; other values are as ASE reads
    them."""
    arrays: dict[str, NDArray[Any]]
    """Name → values of each further column, shape (atoms,) or (atoms, width)."""

    def charge(self, file: str, remedy: str) -> int:
        """Total charge under the key `charge` of the comment line, e; 0 without that key.

        :param file: name of the file in an error message.
        :param remedy: end of that message, which says what to do.
        :raises DataError: if the charge is not a whole number.
        """
        stated = np.asarray(self.info.get("charge", 0))
        if stated.shape != () or stated.dtype.kind not in "iuf" or not float(stated).is_integer():
            raise DataError(
                f"expected a whole number as the charge of frame {self.index} of {file}, got {self.info['charge']}; "
                f"{remedy}"
            )
        return int(stated)


def read_frames(path: str | Path, ignore_cell: bool = False) -> Iterator[Frame]:
    """Frames of a file `.xyz` or `.xyz.gz`, one in memory at a time; plain XYZ is read too.

    ASE moves labels with names that it knows (`energy`, `forces`, `dipole`, `charges`, …) to a calculator; here they
    are in `info` and `arrays` like all others. Nine numbers are a vector in the file's order, including `stress` and
    `virial`, which ASE would transpose and make symmetric.

    :param path: of the file.
    :param ignore_cell: take a periodic frame as one molecule in empty space; False: it is rejected.
    :raises DataError: if the file is missing, is not extended XYZ or holds no frame; if a frame is periodic, has
        coordinates that are not finite, an unknown element, two atoms at one place, or fewer atoms than it states.
        The message names the frame.
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
    """Text of each frame: the number of atoms, the comment line, and a line for each atom."""
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
    # Text is checked before ASE sees it: its own errors name neither the file nor the frame.
    if not said.isdecimal() or len(said) > _DIGITS or int(said) < 1:
        raise DataError(f"expected a number of atoms, {where} begins with {said[:40]!r}; is it extended XYZ?")
    lines = [head, file.readline()]
    for read in range(int(said)):
        line = file.readline()
        if len(line.split()) < 2:  # the end of the file, a blank line, or the next frame's number of atoms
            raise DataError(f"expected extended XYZ, {where} ends before its {said} atoms do: it has {read}")
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
    arrays = {key: value for key, value in atoms.arrays.items() if key not in _NO_LABELS}
    arrays |= {key: np.asarray(value) for key, value in results.items() if key in columns}
    info = atoms.info | {key: value for key, value in results.items() if key not in columns}
    return Frame(index, tuple(numbers), positions, {key: _number(value) for key, value in info.items()}, arrays)


def _columns(comment: str) -> set[str]:
    """Names of the columns in ASE's terms, from `Properties` of the comment line."""
    match = re.search(r"Properties\s*=\s*[\"']?([^\"'\s]+)", comment)
    names = set(match[1].split(":")[::3]) if match else set()
    return names | ({"charges"} if "charge" in names else set())


def _number(value: Any) -> Any:
    """A number as an array of shape (); other values unchanged."""
    number = isinstance(value, int | float | np.number | np.ndarray) and not isinstance(value, bool)
    return np.asarray(value) if number else value


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
