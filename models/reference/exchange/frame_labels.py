"""Labels of extended XYZ frames as columns of reference data, by a mapping."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tesseral.models.data.label import Label
from tesseral.models.reference.exchange.extended_xyz import Frame, read_frames
from tesseral.models.reference.exchange.label_values import LEFT_OUT, Array, format_terms, label_values
from tesseral.study.errors import DataError
from tesseral.study.recipe.mapping import LabelSource, Mapping


@dataclass
class Imported:
    """What a mapping made of a file."""

    rows: list[dict[str, Any]]
    """Of schema `tesseral.study.records.schemas.REFERENCE`, with a column `label.<name>` for each label of its own."""
    labels: dict[str, Label]
    """What those columns hold, by name."""
    notes: list[str] = field(default_factory=list)
    """What was done to the labels, a sentence each."""


def import_frames(mapping: Mapping, folder: Path) -> Imported:
    """The frames that a mapping takes, as rows of reference data without coefficients.

    Multipoles come out about the centre of nuclear charge. Where homo and lumo are mapped and gap is not, it is their
    difference.

    :param folder: where a relative `source.file` starts.
    :raises DataError: as `read_frames`; if a frame lacks a label, or holds one of another shape, one that is not
        finite, or one of which more than 1e-6 lies outside its irreps; if the dipole of a charged molecule comes
        without an origin.
    """
    source, path = mapping.source, folder / mapping.source.file
    own = [label for label in mapping.labels if not label.standard]
    imported = Imported([], {label.column: Label(label.kept, label.unit, label.of) for label in own})
    dropped: dict[str, list[float]] = {label.column: [] for label in mapping.labels}
    frames = islice(read_frames(path, source.ignore_cell), source.first, None, source.every)
    for frame in islice(frames, source.count):
        row = _row(frame, mapping, f"frame {frame.index} of {path}")
        for label in mapping.labels:
            values, left_out = label_values(frame, label, row["charge"], f"frame {frame.index} of {path}")
            dropped[label.column].append(left_out)
            row[label.target] = _plain(values, label)
        columns = {label.column for label in mapping.labels}
        if {"homo", "lumo"} <= columns and "gap" not in columns:
            row["gap"] = row["lumo"] - row["homo"]
        imported.rows.append(row)
    if not imported.rows:
        raise DataError(f"expected a frame of {path} from source.first on, it has none")
    imported.notes += list(_dropped(mapping, dropped))
    return imported


def _row(frame: Frame, mapping: Mapping, where: str) -> dict[str, Any]:
    """What a frame says besides its labels."""
    source = mapping.source
    name = f"{mapping.reference.name}-{frame.index:06d}"
    if source.id is not None:
        if source.id not in frame.info:
            raise DataError(f"expected the structure's name under {source.id}, {where} has {', '.join(frame.info)}")
        name = str(frame.info[source.id])
    charges = np.array(frame.atomic_numbers, dtype=float)
    default = "charge" if "charge" in frame.info else 0
    return {
        "id": name,
        "atomic_numbers": list(frame.atomic_numbers),
        "positions": frame.positions.tolist(),
        "charge": _integer(frame, default if source.charge is None else source.charge, where),
        "spin": None if source.spin is None else _integer(frame, source.spin, where),
        "method": mapping.reference.method,
        "basis": mapping.reference.basis,
        "converged": True,
        "centre": (charges @ frame.positions / charges.sum()).tolist(),
        "provenance": json.dumps({"source": Path(source.file).name, "frame": frame.index}),
    }


def _integer(frame: Frame, key: int | str, where: str) -> int:
    if isinstance(key, int):
        return key
    value = frame.info.get(key)
    if isinstance(value, np.ndarray) and value.shape == () and value.dtype.kind in "iuf" and float(value).is_integer():
        return int(value)
    raise DataError(f"expected a whole number under {key}, {where} has {'none' if value is None else value}")


def _plain(values: Array, label: LabelSource) -> Any:
    """As the column's type asks: a number for a scalar of a standard column, else a list."""
    scalar = label.standard and values.shape[-1] == 1
    return (values[..., 0] if scalar else values).tolist()


def _dropped(mapping: Mapping, shares: dict[str, list[float]]) -> Iterator[str]:
    for label in mapping.labels:
        found = [share for share in shares[label.column] if share > LEFT_OUT]
        if found:
            yield (
                f"{label.name}: left out what is not {format_terms(label.kept)} in {len(found)} of "
                f"{len(shares[label.column])} structures, at most {max(found):.2g} of its norm"
            )
