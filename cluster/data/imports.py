"""Import of reference data: the public water trimers, and labels of extended XYZ files by a mapping."""

import io
import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tesseral.models.data.reference_file import encode_reference, encode_table, read_reference, rows_of
from tesseral.study.errors import DataError, TesseralError
from tesseral.study.parsing.units import size_of
from tesseral.study.parsing.validation import validate
from tesseral.study.recipe.mapping import LabelSource, Mapping, read_mapping
from tesseral.study.recipe.recipe import ReferenceName
from tesseral.study.records.store import Store


@dataclass(frozen=True)
class Import:
    """Reference data that an import made."""

    location: str
    """Absolute path or URL of the file."""
    structures: int
    elements: tuple[int, ...]
    """Atomic numbers."""
    columns: tuple[str, ...]
    """Columns with values that a study can train on."""
    notes: tuple[str, ...] = ()
    """Changes made to the labels and results of checks, a sentence each."""
    doubts: tuple[str, ...] = ()
    """What may be wrong with the labels, a sentence each."""


def import_pickle(pickle: Path, isolated: dict[str, Path], name: str, storage: str) -> Import:
    """Import the public water trimers of Rackers & Rao.

    :param storage: local folder or URL of an object store.
    :param pickle: the file of the trimers.
    :param isolated: chemical symbol → text file of the isolated atom's coefficients.
    :param name: name of the reference data to make.
    :raises DataError: as `tesseral.models.reference.exchange.trimer_pickle.import_trimers`; if reference data of that
        name exists.
    """
    from tesseral.models.reference.exchange.trimer_pickle import import_trimers

    name = validate(ReferenceName, {"name": name}).name
    rows, basis = import_trimers(pickle, isolated)
    return _stored(encode_reference(rows, basis, name=name), name, storage)


def import_mapping(file: Path, storage: str) -> Import:
    """Import the labels of an extended XYZ file, and warn if they seem to be wrong.

    :param storage: local folder or URL of an object store.
    :param file: the mapping (TOML); a relative `source.file` starts from its folder.
    :raises StudyFileError: if the mapping is invalid.
    :raises DataError: as `tesseral.models.reference.exchange.frame_labels.import_frames`; if reference data of that
        name exists.
    """
    mapping = read_mapping(file)

    from tesseral.models.reference.exchange.frame_labels import import_frames

    imported = import_frames(mapping, file.parent)
    name = mapping.reference.name
    recorded = json.dumps(asdict(mapping), ensure_ascii=False)
    content = encode_table(imported.table, None, name, imported.labels, mapping=recorded)
    checks, doubts = _check_frames(mapping, imported.table)
    for doubt in doubts:
        warnings.warn(doubt, stacklevel=2)
    return _stored(content, name, storage, (*imported.notes, *checks), doubts)


def _check_frames(mapping: Mapping, table: pa.Table) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Results and doubts of the frame check (`check_frame`) for each label that is a dipole of the structure; doubts
    about the structures too."""
    from tesseral.models.reference.exchange.frame_check import check_frame
    from tesseral.models.reference.exchange.structure_check import doubts as structure_doubts

    checks, doubts = [], list(structure_doubts(table, charge_stated=mapping.source.charge is not None))
    for label in mapping.labels:
        unit = _dipole_unit(label)
        if unit is not None:
            numbers, charges, dipoles = (table[name].to_pylist() for name in ("atomic_numbers", "charge", label.target))
            positions = [np.array(row["positions"]) for row in rows_of(table, "positions")]
            check = check_frame(numbers, positions, charges, unit * np.array(dipoles))
            if check is None:
                checks.append(f"{label.name}: too few neutral structures to check its axes")
                continue
            checks.append(f"{label.name}: {check}")
            if check.doubt:
                doubts.append(f"{label.name}: {check.doubt}")
    return tuple(checks), tuple(doubts)


def _dipole_unit(label: LabelSource) -> float | None:
    """Size of a column's unit in e bohr; None if the column does not hold dipoles.

    Charges explain no other vectors, such as a sum of forces.
    """
    if label.of != "structure" or [str(term) for term in label.kept] != ["1x1o"]:
        return None
    if label.standard:
        return 1.0 if label.multipole == 1 else None
    if label.unit.strip().lower() == "au":  # the atomic unit of any quantity
        return None
    try:
        return size_of(label.unit, "e bohr")
    except TesseralError:
        return None


def _stored(
    content: bytes, name: str, storage: str, notes: tuple[str, ...] = (), doubts: tuple[str, ...] = ()
) -> Import:
    store = Store(storage).child("reference")
    location = store.location(f"{name}.parquet")
    if not store.create(f"{name}.parquet", content):
        raise DataError(f"{location} exists already; give the import another name, or remove the file")
    imported = read_reference(io.BytesIO(content), location)
    return Import(location, len(imported), imported.elements, imported.filled, notes, doubts)
