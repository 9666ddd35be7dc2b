"""Import of the public water trimers of Rackers & Rao (arXiv 2210.04766).

The data, github.com/JoshRackers/equivariant_electron_density, is a pickle; `tensor_pickle.py` opens it without running
any code in it.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tesseral.models.density.auxiliary_basis import LARGEST_ORDER, MOST, AuxiliaryBasis, Shell
from tesseral.models.reference.calculation.density_fit import auxiliary_molecule, function_charges, packed_overlap
from tesseral.models.reference.conventions import change_of_basis
from tesseral.models.reference.exchange.tensor_pickle import load_tensors
from tesseral.study.constants import SYMBOLS
from tesseral.study.errors import DataError

CHARGE_TOLERANCE = 1e-3
"""Largest error of a frame's electrons: single precision gives 1e-6, a wrong convention whole electrons."""
SMALLEST_COSINE = 0.98
"""Smallest cosine of the angle between the steepest p shell of a water's oxygen and the H–O–H bisector. The right order
and axes give 0.987 or more, wrong ones nearly 0."""
_SINGLE = 1e-5  # relative tolerance of exponents and norms, which are stored in single precision
_BOND = 1.3  # Å; hydrogens within this distance belong to the oxygen
_KEYS = ("type", "pos", "coefficients", "exponents", "norms", "rs_max", "energy", "forces")

Array = NDArray[np.float64]


def import_trimers(path: str | Path, isolated: Mapping[str, str | Path]) -> tuple[list[dict[str, Any]], AuxiliaryBasis]:
    """Rows of `REFERENCE` and the auxiliary basis of a pickle in the format of the public trimers.

    The file holds a list of dicts with the keys

    - `type` (N): atomic numbers;
    - `pos` (N, 3): positions, Å;
    - `coefficients`, `exponents` and `norms` (N, columns), with the columns laid out by `rs_max` [(shells, l), …]; the
      columns of a shell are m = −l, …, l about the z axis;
    - `energy`: hartree;
    - `forces` (N, 3): despite its name the gradient of the energy, hartree/bohr; its sign is changed here.

    Norms carry the sign of the contraction, so c · sign(norm) belongs to the unit-norm function of positive sign. Two
    checks guard these conventions: the coefficients hold the molecule's electrons, and the p shells of oxygen point
    along the H–O–H bisector.

    :param path: of the file.
    :param isolated: chemical symbol → text file of the isolated atom's s shells: l, coefficient, exponent, norm.
    :raises DataError: if the pickle names anything but tensors, does not have this format, or fails one of the checks.
    """
    frames = load_tensors(path)
    if not isinstance(frames, list) or not frames:
        raise DataError(f"expected a pickled list of frames, {path} holds {type(frames).__name__}")
    for index, frame in enumerate(frames):
        _check_format(frame, f"frame {index} of {path}")
    elements = _element_shells(frames, str(path))
    symbols = {z: SYMBOLS[z - 1] for z in sorted(elements)}
    if set(symbols.values()) != set(isolated):
        raise DataError(
            f"expected an isolated atom for each of {', '.join(symbols.values())}, the elements of {path}, "
            f"got {', '.join(isolated) or 'none'}"
        )
    shells = {z: _with_isolated([shell for shell, _ in elements[z]], isolated[symbols[z]]) for z in symbols}
    columns = {z: [column for _, column in elements[z]] for z in elements}
    basis = AuxiliaryBasis("def2-universal-jfit, decontracted", shells)
    return [_row(frame, index, basis, columns, str(path)) for index, frame in enumerate(frames)], basis


def _check_format(frame: Any, where: str) -> None:
    """Reject a frame without the keys and shapes of the format, before numbers are read from it."""
    missing = [key for key in _KEYS if not isinstance(frame, dict) or key not in frame]
    if missing:
        raise DataError(f"expected {', '.join(_KEYS)} in each frame, {where} lacks {', '.join(missing)}")
    for key in _KEYS:
        if key != "rs_max" and not _numeric(frame[key]):
            raise DataError(f"expected a tensor of finite numbers as {key}, {where} has {type(frame[key]).__name__}")
    layout = frame["rs_max"]
    if not isinstance(layout, list | tuple) or not layout or not all(map(_is_shell, layout)):
        raise DataError(
            f"expected rs_max as a list of (shells, l), with at most {MOST} shells and l at most {LARGEST_ORDER}, "
            f"{where} has {str(layout)[:40]}"
        )
    if not frame["type"].ndim or not len(frame["type"]):
        raise DataError(f"expected the atomic numbers as type, {where} has none")
    for number in frame["type"].flatten().tolist():
        if number not in range(1, len(SYMBOLS) + 1):
            raise DataError(f"expected atomic numbers from 1 to {len(SYMBOLS)} as type, {where} has {number}")
    atoms = len(frame["type"])
    columns = sum(count * (2 * order + 1) for count, order in frame["rs_max"])
    expected = {"type": (atoms,), "pos": (atoms, 3), "forces": (atoms, 3), "energy": ()}
    expected |= dict.fromkeys(("coefficients", "exponents", "norms"), (atoms, columns))
    for key, shape in expected.items():
        if np.shape(frame[key]) != shape:
            came = tuple(np.shape(frame[key]))
            raise DataError(f"expected {key} of shape {shape}, got {came} in {where}")


def _numeric(value: Any) -> bool:
    """Whether it is a tensor of finite numbers."""
    return isinstance(value, Tensor) and not value.is_complex() and bool(torch.isfinite(value).all())


def _is_shell(pair: Any) -> bool:
    """Whether it is (number of shells, l), in limits."""
    if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(type(number) is int for number in pair):
        return False
    return 0 <= pair[0] <= MOST and 0 <= pair[1] <= LARGEST_ORDER


def _columns(frame: dict[str, Any]) -> list[tuple[int, slice]]:
    """Order l and columns of each shell, as `rs_max` lays them out."""
    orders = [order for count, order in frame["rs_max"] for _ in range(count)]
    ends = np.cumsum([0] + [2 * order + 1 for order in orders]).tolist()
    return [(order, slice(*ends_of)) for order, ends_of in zip(orders, pairwise(ends), strict=True)]


def _array(frame: dict[str, Any], key: str) -> Array:
    result: Array = frame[key].double().numpy()
    return result


def _element_shells(frames: list[dict[str, Any]], name: str) -> dict[int, list[tuple[Shell, slice]]]:
    """Each element's shells with their columns, sorted by l and from the steepest to the most diffuse.

    :raises DataError: if an element's exponents differ between atoms, or its norms are not those of its shells.
    """
    first: dict[int, Array] = {}
    elements: dict[int, list[tuple[Shell, slice]]] = {}
    for index, frame in enumerate(frames):
        exponents, norms = _array(frame, "exponents"), _array(frame, "norms")
        for atom, number in enumerate(int(z) for z in frame["type"]):
            if number not in elements:
                first[number] = exponents[atom]
                columns_of = [(l, c, exponents[atom, c.start]) for l, c in _columns(frame)]  # noqa: E741
                # Columns that an element does not use hold an exponent of 0.
                shells = [(Shell(l, (float(a),), (1.0,)), c) for l, c, a in columns_of if a > 0]  # noqa: E741
                elements[number] = sorted(shells, key=lambda item: (item[0].l, -item[0].exponents[0]))
            expected = np.zeros(len(norms[atom]))
            for shell, columns in elements[number]:
                expected[columns] = shell.norm
            if not np.allclose(exponents[atom], first[number], rtol=_SINGLE, atol=0) or not np.allclose(
                np.abs(norms[atom]), expected, rtol=_SINGLE, atol=0
            ):
                raise DataError(
                    f"expected every {SYMBOLS[number - 1]} to have the same shells, normalised as x^l exp(-a r^2), "
                    f"atom {atom} of frame {index} in {name} has others"
                )
    return elements


def _with_isolated(shells: Sequence[Shell], path: str | Path) -> tuple[Shell, ...]:
    """The shells with `isolated` set from a file's rows of l, coefficient, exponent and norm; other lines are
    headings."""
    number = r"([-+.\deE]+)"
    try:
        text = Path(path).read_text(encoding="utf-8")
        rows = [
            [float(value) for value in match.groups()]
            for match in re.finditer(rf"^\s*0\s+{number}\s+{number}\s+{number}\s*$", text, re.MULTILINE)
        ]
    except (OSError, ValueError) as error:
        raise DataError(f"expected the s shells of an isolated atom, {path} cannot be read: {error}") from None
    spherical = [shell for shell in shells if shell.l == 0]
    rows.sort(key=lambda row: -row[1])
    exponents = [row[1] for row in rows]
    if not np.shape(exponents) == (len(spherical),) or not np.allclose(
        exponents, [shell.exponents[0] for shell in spherical], rtol=_SINGLE, atol=0
    ):
        raise DataError(f"expected the {len(spherical)} s shells of the pickle, {path} has the exponents {exponents}")
    values = [coefficient * np.sign(norm) for coefficient, _, norm in rows]
    isolated = [replace(shell, isolated=float(value)) for shell, value in zip(spherical, values, strict=True)]
    return (*isolated, *(shell for shell in shells if shell.l > 0))


def _row(
    frame: dict[str, Any], index: int, basis: AuxiliaryBasis, columns: dict[int, list[slice]], name: str
) -> dict[str, Any]:
    """A frame as a row of `REFERENCE`, after the two checks of `import_trimers`."""
    numbers = [int(z) for z in frame["type"]]
    positions = _array(frame, "pos")
    signed = _array(frame, "coefficients") * np.sign(_array(frame, "norms"))
    coefficients = [
        np.concatenate(
            [change_of_basis(shell.l) @ part[c] for shell, c in zip(basis.shells[number], columns[number], strict=True)]
        )
        for number, part in zip(numbers, signed, strict=True)
    ]
    auxiliary = auxiliary_molecule(basis.shells, numbers, positions)
    electrons = float(function_charges(basis.shells, numbers) @ np.concatenate(coefficients))
    if abs(electrons - sum(numbers)) > CHARGE_TOLERANCE:
        raise DataError(
            f"expected {sum(numbers)} electrons in frame {index} of {name}, its density holds {electrons:.4f}"
        )
    for atom, bisector in _bisectors(numbers, positions):
        start = sum(shell.l == 0 for shell in basis.shells[8])  # the steepest p shell follows the s shells
        vector = coefficients[atom][start : start + 3]
        cosine = abs(float(vector @ bisector)) / float(np.linalg.norm(vector))
        if cosine < SMALLEST_COSINE:
            raise DataError(
                f"expected oxygen's p shell along the H-O-H bisector, in frame {index} of {name} the cosine is "
                f"{cosine:.3f}: the order of m or the axes are not those of the public trimers"
            )
    charges = np.array(numbers, dtype=float)
    return {
        "id": f"trimer-{index:04d}",
        "atomic_numbers": numbers,
        "positions": positions.tolist(),
        "charge": 0,
        "spin": 0,
        "auxiliary_basis": basis.name,
        "converged": True,
        "energy": float(frame["energy"]),
        "forces": (-_array(frame, "forces")).tolist(),
        "centre": (charges @ positions / charges.sum()).tolist(),
        "coefficients": [part.tolist() for part in coefficients],
        "overlap": packed_overlap(auxiliary),
        "electrons": electrons,
        "provenance": json.dumps({"source": "github.com/JoshRackers/equivariant_electron_density", "frame": index}),
    }


def _bisectors(numbers: Sequence[int], positions: Array) -> Iterator[tuple[int, Array]]:
    """Index of each oxygen with two hydrogens, and the unit vector along their bisector."""
    hydrogens = positions[np.array(numbers) == 1]
    for atom in np.flatnonzero(np.array(numbers) == 8):
        bonds = hydrogens - positions[atom]
        bonds = bonds[np.linalg.norm(bonds, axis=1) < _BOND]
        if len(bonds) == 2:
            bisector = (bonds / np.linalg.norm(bonds, axis=1, keepdims=True)).sum(axis=0)
            yield int(atom), bisector / np.linalg.norm(bisector)
