"""Import of an extended XYZ file: frames as rows of reference data, labels as columns, as a mapping states."""

import glob
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tesseral.models.data.reference_file import reference_table
from tesseral.models.reference.exchange.extended_xyz import Frame, read_frames
from tesseral.models.reference.exchange.label_values import LEFT_OUT, Array, format_terms, label_values
from tesseral.models.reference.exchange.stated_source import in_angstrom, stated_charge
from tesseral.study.configuration.configuration import SPLITS
from tesseral.study.configuration.quantities import MOLECULAR, Label
from tesseral.study.errors import DataError
from tesseral.study.recipe.mapping import LabelSource, Mapping
from tesseral.study.wording import count

_VALIDATION = ("val", "valid")
"""Other names of the validation split in files."""


@dataclass
class Imported:
    """Rows and columns that a mapping makes of a file."""

    table: pa.Table
    """Of schema `tesseral.study.records.schemas.REFERENCE`, plus a column `label.<name>` for each other label."""
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
    source, files = mapping.source, find_files(mapping.source.file, folder)
    path = ", ".join(map(str, files[:3])) + (f" and {len(files) - 3} others" if len(files) > 3 else "")
    labels = {label.column: Label(label.kept, label.unit, label.of) for label in mapping.labels if not label.standard}
    dropped: dict[str, list[float]] = {label.column: [] for label in mapping.labels}
    lacking: Counter[str] = Counter()
    isotopes = 0

    def selected() -> Iterator[Frame]:
        nonlocal isotopes
        for frame in islice(read_frames(files, source.ignore_cell), source.first, None, source.every):
            lacks = [label.name for label in mapping.labels if not frame.has(label.name, label.of)]
            if lacks and source.only_complete:
                lacking[lacks[0]] += 1
                continue
            isotopes += frame.isotopes
            yield frame

    table = reference_table((_row(frame, mapping, dropped) for frame in islice(selected(), source.count)), labels)
    incomplete = [f"{count(n, 'frame')} without {name}" for name, n in lacking.items()]
    wanted = source.count or 1
    if len(table) < wanted:
        but = f", and {' and '.join(incomplete)}" if incomplete else ""
        raise DataError(
            f"expected {count(wanted, 'frame')} of {path} from number {source.first} on by steps of {source.every}, it "
            f"has {len(table)}{but}"
        )
    periodic = len(table) - table["cell"].null_count
    notes = [f"periodic: {periodic:,} of {count(len(table), 'structure')}"] if periodic else []
    notes += [f"left out {' and '.join(incomplete)}"] if incomplete else []
    notes += [f"{count(isotopes, 'atom')} written as D or T became hydrogen"] if isotopes else []
    return Imported(table, labels, [*notes, *_dropped(mapping, dropped)])


def _row(frame: Frame, mapping: Mapping, dropped: dict[str, list[float]]) -> dict[str, Any]:
    """Columns of a frame.

    :param dropped: column → share of the norm that was left out of each structure; that of this one is added.
    """
    frame = in_angstrom(frame, mapping.source)
    row = _facts(frame, mapping)
    _check_meaning(mapping, frame)
    for label in mapping.labels:
        values, left_out = label_values(frame, label, row["charge"], frame.where)
        dropped[label.column].append(left_out)
        row[label.target] = _plain(values, label)
    columns = dropped.keys()
    if {"homo", "lumo"} <= columns and "gap" not in columns:
        row["gap"] = row["lumo"] - row["homo"]
    return row


def _facts(frame: Frame, mapping: Mapping) -> dict[str, Any]:
    """Columns of a frame other than its labels."""
    source = mapping.source
    name = f"{mapping.reference.name}-{frame.index:06d}"
    if source.id is not None:
        name = frame.text(source.id) or ""
        if not name:
            keys = ", ".join(frame.names("structure")) or "no key"
            raise DataError(f"expected the structure's name under {source.id}, {frame.where} has {keys}")
    charges = np.array(frame.atomic_numbers, dtype=float)
    stated = stated_charge(frame, source, "source.charge states it, or names its key")
    charge = stated or 0
    spin = frame.whole(source.spin) if isinstance(source.spin, str) else source.spin
    electrons = sum(frame.atomic_numbers) - charge
    _ask(mapping, frame, stated, spin, electrons)
    if electrons < 0 or abs(charge) > sum(frame.atomic_numbers):
        raise DataError(f"expected a charge that the nuclei allow, {frame.where} has {charge}")
    if spin is not None and (spin < 0 or spin > electrons or (electrons - spin) % 2):
        raise DataError(
            f"expected a number of unpaired electrons that {electrons} electrons allow, {frame.where} has {spin}; "
            "state source.charge if it is an ion"
        )
    return {
        "id": name,
        "atomic_numbers": list(frame.atomic_numbers),
        "positions": frame.positions.tolist(),
        "charge": charge,
        "spin": spin,
        "method": mapping.reference.method,
        "basis": mapping.reference.basis,
        "converged": True,
        "centre": (charges @ frame.positions / charges.sum()).tolist(),
        "cell": None if frame.cell is None else frame.cell.tolist(),
        "split": None if source.split is None else _split(frame, source.split),
        "provenance": json.dumps({"source": frame.source, "frame": frame.index}),
    }


def _check_meaning(mapping: Mapping, frame: Frame) -> None:
    """Refuse labels that a periodic structure, or one that is not, cannot have.

    :raises DataError: naming the label.
    """
    for label in mapping.labels:
        if frame.cell is not None and label.column in MOLECULAR:
            raise DataError(
                f"expected no {label.column} of periodic structures, which has no meaning there, the label "
                f"{label.name} is one of {frame.where}; a mapping without it imports the other labels, and "
                "source.ignore_cell = true takes the frames as molecules in empty space"
            )
        if label.column == "stress" and (frame.cell is None or not frame.cell.any(axis=1).all()):
            repeats = 0 if frame.cell is None else int(frame.cell.any(axis=1).sum())
            raise DataError(
                f"expected frames that repeat along three axes for the label {label.name}, a stress, {frame.where} "
                f"repeats along {repeats}; a column of another name holds it as it is"
            )


def _ask(mapping: Mapping, frame: Frame, charge: int | None, spin: int | None, electrons: int) -> None:
    """Ask for charge and spin where a multipole would be wrong by the one that is not stated.

    :raises DataError: if a structure with an odd number of electrons has no stated charge or spin.
    """
    multipole = next((label.column for label in mapping.labels if label.multipole is not None), None)
    if multipole is None or electrons % 2 == 0:
        return
    if charge is None:
        raise DataError(
            f"expected source.charge, a number or the key that holds it, beside the {multipole} of {frame.where}, "
            f"which would have {electrons} electrons, an odd number, if it were neutral; a neutral radical has charge "
            "0 and source.spin = 1"
        )
    if spin is None:
        raise DataError(
            f"expected source.spin, a number or the key that holds it, beside the {multipole} of {frame.where}, which "
            f"has {electrons} electrons, an odd number"
        )


def find_files(named: str | Sequence[str], folder: Path) -> list[Path]:
    """The files, folders and archives that `source.file` names, each once: in the order of its entries, those of a
    pattern in the order of their names.

    :param named: one path or pattern, or several.
    :param folder: that relative ones start from.
    :raises DataError: if a pattern matches nothing.
    """
    found: dict[Path, None] = {}
    for name in [named] if isinstance(named, str) else named:
        path = folder / name
        matching = [path]
        if not path.exists() and glob.has_magic(name):
            matching = sorted(map(Path, glob.glob(str(path), recursive=True)))
            if not matching:
                raise DataError(f"source.file: expected files that match {name} in {folder}, found none")
        found |= dict.fromkeys(matching)
    return list(found)


def _split(frame: Frame, key: str) -> str | None:
    """The published split of a frame; None if it states none."""
    stated = frame.text(key)
    if stated is None or stated in SPLITS:
        return stated
    if stated in _VALIDATION:
        return "validation"
    raise DataError(f"expected {', '.join(SPLITS)} under {key}, {frame.where} has {stated[:40]!r}")


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
