"""Import of an extended XYZ file: frames as rows of reference data, labels as columns, as a mapping states."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tesseral.models.reference.exchange.extended_xyz import Frame, read_frames
from tesseral.models.reference.exchange.label_values import LEFT_OUT, Array, format_terms, label_values
from tesseral.study.configuration.quantities import Label
from tesseral.study.errors import DataError
from tesseral.study.recipe.mapping import LabelSource, Mapping


@dataclass
class Imported:
    """Rows and columns that a mapping makes of a file."""

    rows: list[dict[str, Any]]
    """Rows of schema `tesseral.study.records.schemas.REFERENCE`, plus a column `label.<name>` for each other label."""
    labels: dict[str, Label]
    """Name → irreps, unit and owner of each of those further columns."""
    notes: list[str] = field(default_factory=list)
    """Changes that were made to the labels, a sentence each."""


def import_frames(mapping: Mapping, folder: Path) -> Imported:
    """The frames that a mapping selects, as rows of reference data without density coefficients.

    Multipoles are moved to the centre of nuclear charge. If homo and lumo are mapped and gap is not, it is their
    difference.

    :param mapping: frames, labels and their columns.
    :param folder: folder that a relative `source.file` starts from.
    :raises DataError: as `read_frames`; if a frame lacks a label, or has one with another shape, one that is not
        finite, or one with more than `LEFT_OUT` of its norm outside its irreps; if the dipole of a charged molecule has
        no origin.
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
    """Columns of a frame other than its labels."""
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
    """Values in the column's type: a number for a scalar of a standard column, a list otherwise."""
    scalar = label.standard and values.shape[-1] == 1
    return (values[..., 0] if scalar else values).tolist()


def _dropped(mapping: Mapping, shares: dict[str, list[float]]) -> Iterator[str]:
    """A sentence for each label of which irreps outside those of its column were left out.

    :param shares: column → share of the norm that was left out of each structure.
    """
    for label in mapping.labels:
        large = [share for share in shares[label.column] if share > LEFT_OUT]
        if large:
            yield (
                f"{label.name}: left out what is not {format_terms(label.kept)} in {len(large)} of "
                f"{len(shares[label.column])} structures, at most {max(large):.2g} of its norm"
            )
