"""Import of the public water trimers of Rackers & Rao (github.com/JoshRackers/equivariant_electron_density).

A pickle can run code when it is opened. This one is read by an unpickler that admits three names, none of which
runs anything of the file's; whatever else a file names is refused.
"""

import io
import json
import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyscf.data.elements import ELEMENTS

from tesseral.models.auxiliary import AuxiliaryBasis, Shell
from tesseral.models.axes import to_e3nn
from tesseral.models.density_fit import auxiliary_molecule, e3nn_rotation, function_integrals, packed_overlap
from tesseral.study.errors import DataError

CHARGE_TOLERANCE = 1e-3
"""Largest error of a frame's electrons: single precision leaves 1e-6, a wrong convention whole electrons."""
SMALLEST_COSINE = 0.98
"""Of the angle between the steepest p shell of a water's oxygen and the H–O–H bisector; a wrong order or wrong axes
leave nearly 0, the right ones 0.987 or more."""
_SINGLE = 1e-5  # relative tolerance for exponents and norms in single precision
_BOND = 1.3  # Å; hydrogens within are the oxygen's own
_KEYS = ("type", "pos", "coefficients", "exponents", "norms", "rs_max", "energy", "forces")

Array = NDArray[np.float64]


def import_trimers(
    path: str | Path, isolated: Mapping[int, str | Path]
) -> tuple[list[dict[str, Any]], AuxiliaryBasis]:
    """Rows of `REFERENCE` and the auxiliary basis of a pickle in the format of the public trimers.

    The file holds a list of dicts: `type` (N) atomic numbers, `pos` (N, 3) Å, `coefficients`, `exponents` and `norms`
    (N, columns), `rs_max` [(shells, l), …] which lays out the columns, `energy` hartree, and `forces` (N, 3), in fact
    the energy's gradient, hartree/bohr. Columns of a shell are m = −l, …, l about the z axis. Norms carry the sign of
    the basis's contraction, so c·sign(n) belongs to the unit-norm function of positive sign.

    :param isolated: by atomic number, the text file of the isolated atom's s shells: l, coefficient, exponent, norm.
    :raises DataError: if the file names anything but tensors, does not have this format, or fails one of two checks:
        its coefficients hold the molecule's electrons, and the p shells of oxygen point along the bisector.
    """
    frames = load_frames(path)
    for index, frame in enumerate(frames):
        missing = [key for key in _KEYS if not isinstance(frame, dict) or key not in frame]
        if missing:
            raise DataError(f"expected frames with {', '.join(_KEYS)}, frame {index} of {path} lacks {', '.join(missing)}")
    shells = _shells(frames, str(path))
    if set(shells) != set(isolated):
        raise DataError(
            f"expected an isolated atom for each element of {path}, {sorted(shells)}, got {sorted(isolated)}"
        )
    basis = AuxiliaryBasis(
        "def2-universal-jfit, decontracted",
        {number: _with_isolated(shells[number], isolated[number]) for number in sorted(shells)},
    )
    return [_row(frame, index, basis, str(path)) for index, frame in enumerate(frames)], basis


def load_frames(path: str | Path) -> list[Any]:
    """The pickled list, nothing run.

    :raises DataError: if it is missing or torn, is no list, or names anything but tensors, lists, dicts and numbers.
    """
    try:
        with Path(path).open("rb") as file:
            frames = _TensorsOnly(file, str(path)).load()
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"expected a pickle of water trimers at {path}, cannot read it: {error.strerror}") from None
    except Exception as error:  # noqa: BLE001 - a torn or foreign pickle can raise anything
        raise DataError(f"expected a pickle of water trimers, {path} cannot be read: {error}") from None
    if not isinstance(frames, list) or not frames:
        raise DataError(f"expected a pickled list of frames, {path} holds {type(frames).__name__}")
    return frames


class _TensorsOnly(pickle.Unpickler):
    """Admits the names that a pickled tensor needs, each replaced by a function that only makes a tensor."""

    def __init__(self, file: Any, name: str) -> None:
        super().__init__(file)
        self.name = name

    def find_class(self, module: str, name: str) -> Any:
        admitted = {
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch.storage._load_from_bytes": self._storage,
            "collections.OrderedDict": OrderedDict,
        }
        if f"{module}.{name}" not in admitted:
            raise DataError(self._refusal(f"{module}.{name}"))
        return admitted[f"{module}.{name}"]

    def _refusal(self, name: str) -> str:
        return f"expected a pickle of tensors, lists, dicts and numbers alone, {self.name} names {name}: refused, not run"

    def _storage(self, content: bytes) -> torch.Tensor:
        """A flat tensor. torch's own function would unpickle `content` freely."""
        try:
            storage = torch.load(io.BytesIO(content), weights_only=True)
        except pickle.UnpicklingError as error:
            named = re.search(r"GLOBAL (\S+)", str(error))
            raise DataError(self._refusal(named[1] if named else "what torch does not take for weights")) from None
        return torch.tensor([], dtype=storage.dtype).set_(storage)

    @staticmethod
    def _tensor(flat: torch.Tensor, offset: int, size: Any, stride: Any, *_: Any) -> torch.Tensor:
        return torch.as_strided(flat, size, stride, offset).clone()  # bounds are checked


def _double(frame: dict[str, Any], key: str) -> Array:
    array: Array = torch.as_tensor(frame[key]).double().numpy()
    return array


def _blocks(frame: dict[str, Any], key: str, order: int) -> Array:
    """Columns of order l, shape (atoms, shells, 2l+1)."""
    ends = np.cumsum([0] + [count * (2 * l + 1) for count, l in frame["rs_max"]])  # noqa: E741
    values = _double(frame, key)
    for (start, stop), (count, l) in zip(pairwise(ends), frame["rs_max"], strict=True):  # noqa: E741
        if l == order:
            return values[:, start:stop].reshape(len(values), count, 2 * l + 1)
    raise KeyError(order)
