"""`tesseral predict`: what was trained, applied to the molecules of a file."""

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from tesseral.cluster.commands.display import console, counted, table
from tesseral.cluster.commands.export import MISSES, Margin, misses_electrons
from tesseral.cluster.commands.options import AsJson, Preset, Storage, StudyName, records_name
from tesseral.cluster.commands.streams import printed
from tesseral.study.configuration.quantities import COLUMNS
from tesseral.study.errors import DataError
from tesseral.study.wording import amount, count

if TYPE_CHECKING:  # they import torch
    from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
    from tesseral.models.prediction.label_errors import ErrorSums
    from tesseral.models.prediction.predicted_frames import PredictedFrame
    from tesseral.models.prediction.trained_model import TrainedModel
    from tesseral.study.recipe.mapping import Mapping

Unit = Literal["angstrom", "bohr"]
Words = Annotated[
    list[str],
    typer.Argument(
        metavar="[TRIAL|ARM] STRUCTURES.xyz",
        help="Id of a complete trial or its start, or an arm's label, not needed where the study has one arm; then an "
        "extended XYZ file.",
        show_default=False,
    ),
]


def predict(
    study: StudyName,
    words: Words,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Extended XYZ file to write.", show_default=False)
    ] = None,
    cube: Annotated[
        Path | None,
        typer.Option(help="Folder to write a cube file of each density to; it is made.", show_default=False),
    ] = None,
    spacing: Annotated[float, typer.Option(min=0.001, help="Distance of a cube's points, in angstrom.")] = 0.1,
    margin: Margin = 3.0,
    charge: Annotated[
        int | None,
        typer.Option(
            help="Charge of every molecule, e. By default what the mapping states, or each frame's `charge`, else 0.",
            show_default=False,
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            help="Mapping (TOML) that states the labels of the file, the unit of its positions and its charges. By "
            "default it is read as the trial's data were, or as ASE writes files where these were not imported.",
            show_default=False,
        ),
    ] = None,
    unit: Annotated[
        Unit | None,
        typer.Option(
            help="Unit of the file's positions. By default what --mapping states, or angstrom; it is asked for where "
            "the trial's data were imported in bohr.",
            show_default=False,
        ),
    ] = None,
    ignore_cell: Annotated[
        bool, typer.Option("--ignore-cell", help="Treat periodic frames as molecules in empty space.")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, help="Structures that are computed at once.")] = 16,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    preset: Preset = None,
    storage: Storage = "runs",
    as_json: AsJson = False,
) -> None:
    """Predict the molecules of a file with what a study trained, and compare with the file's labels.

    Of an arm, all complete trials predict: their mean is written, and their standard deviation under `<key>_spread`.
    Energies, forces and dipoles have ASE's keys and its units eV, eV/Å and e Å, a dipole about the centre of nuclear
    charge. All else has the names, units and order of components of reference data; a polarizability is a 3×3 matrix.

    Example: `tesseral predict acac lmax=2 structures.xyz -o predicted.xyz`

    Example, of densities: `tesseral predict quickstart 3f2a91 molecules.xyz --cube densities`
    """
    if len(words) > 2:
        raise DataError(f"expected a trial or an arm and one file of structures, got {' '.join(words)}")
    which, path = (words[0] if len(words) == 2 else None), Path(words[-1])
    if output is not None and output.exists() and path.exists() and output.samefile(path):
        raise DataError(f"expected another file to write than the one that is read, {path}")
    name = records_name(study, preset)

    from tesseral.models.prediction.ase_units import ase_unit
    from tesseral.models.prediction.file_labels import frame_values
    from tesseral.models.prediction.label_errors import ErrorSums
    from tesseral.models.prediction.predicted_frames import predict_frames
    from tesseral.models.reference.exchange.extended_xyz import read_frames

    models = _models(study, name, which, storage, device)
    first = models[0]
    if first.basis is None and cube is not None:
        raise DataError(f"expected a trial that predicts the density with --cube, got one of {first.quantity.phrase}")
    if first.basis is not None and (cube is None or output is not None):
        raise DataError("expected --cube, and no --output, for trials that predict the density")
    form = _form(mapping, unit, first, storage)
    source, ignore_cell = form.source, ignore_cell or form.source.ignore_cell
    total = sum(1 for _ in read_frames(path, ignore_cell))
    sums: dict[tuple[str, str], ErrorSums] = defaultdict(ErrorSums)
    cubes: list[dict[str, Any]] = []
    with nullcontext() if as_json else counted("structures") as progress, _replaced(output) as file:
        frames = predict_frames(models, read_frames(path, ignore_cell), source, charge=charge, batch=batch)
        for number, predicted in enumerate(frames):
            if first.basis is not None and cube is not None:
                cube_file = cube / f"{path.name.split('.')[0]}-{number:06d}.cube"
                of = f"frame {number} of {path.name}"
                cubes.append(_write_cube(cube_file, of, predicted, models, first.basis, spacing, margin))
            else:
                names = tuple(predicted.members[0])
                known = frame_values(predicted.frame, form.labels, names, first.quantity, predicted.structure.charge)
                for column, values in known.items():
                    _, size = ase_unit(column, first.quantity)
                    atoms = len(predicted.structure.atomic_numbers)
                    _add(sums, column, "mean", size * (predicted.mean(column) - values), atoms)
                    for member in predicted.members if len(models) > 1 else ():
                        _add(sums, column, "each", size * (member[column] - values), atoms)
            if file is not None:
                from tesseral.models.prediction.written_frames import write_frame

                write_frame(file, predicted, first.quantity)
            if progress is not None:
                progress(number + 1, total)
    _show(sums, cubes, models, total, output or cube, which, as_json)
    printed()


def _models(study: str, name: str, which: str | None, storage: str, device: str) -> "list[TrainedModel]":
    """The models of the trials that are named, on a device."""
    from tesseral.models.prediction.load import load_entry
    from tesseral.study.records.trained import find_trials

    folder = str(Path(study).resolve().parent) if study.endswith(".toml") else ""
    entries = find_trials(storage, name, which)
    return [load_entry(storage, name, entry, device=device, folder=folder) for entry in entries]


def _form(mapping: Path | None, unit: Unit | None, model: "TrainedModel", storage: str) -> "Mapping":
    """In which form the file is: where it has which label, and in which unit its positions are."""
    from tesseral.models.data.references import open_reference
    from tesseral.models.prediction.file_labels import recorded_mapping
    from tesseral.study.recipe.mapping import read_mapping

    if mapping is not None:
        form = read_mapping(mapping)
    else:
        form = recorded_mapping(open_reference(storage, model.trial.configuration.data.reference))
        if form.source.unit == "bohr" and unit is None:  # a file that another program wrote is in angstrom
            raise DataError("expected --unit of the file, angstrom or bohr: the trial's data were imported in bohr")
    return replace(form, source=replace(form.source, unit=unit or form.source.unit))


def _add(sums: "dict[tuple[str, str], ErrorSums]", column: str, of: str, difference: Any, atoms: int) -> None:
    if column == "stress":  # of its six components in space, as metrics are
        import numpy as np

        from tesseral.models.reference.conventions import from_irreps

        matrix = from_irreps(difference, COLUMNS[column].irreps, 2)
        sums[column, of].add(matrix[np.triu_indices(3)], float(np.linalg.norm(matrix)))
        return
    sums[column, of].add(difference)
    if column == "energy":
        sums["energy per atom", of].add(difference / atoms)


@contextmanager
def _replaced(output: Path | None) -> Iterator[IO[str] | None]:
    """A file that takes its place once it is whole."""
    if output is None:
        yield None
        return
    part = output.with_name(f".{output.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            yield file
        part.replace(output)
    except OSError as error:
        raise DataError(f"expected to write {output}, it cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def _write_cube(
    path: Path,
    name: str,
    predicted: "PredictedFrame",
    models: "list[TrainedModel]",
    basis: "AuxiliaryBasis",
    spacing: float,
    margin: float,
) -> dict[str, Any]:
    """The mean density of the models as a cube file, and how many electrons the density and the file hold."""
    import torch

    from tesseral.models.reference.exchange.cube import write_cube

    structure = predicted.structure
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"expected a folder for --cube, {path.parent} cannot be made: {error.strerror}") from None
    rows = zip(structure.atomic_numbers, predicted.mean("coefficients"), strict=True)
    coefficients = [torch.from_numpy(row[list(basis.columns(number))]) for number, row in rows]
    trials = f"trial {models[0].trial.id[:10]}" if len(models) == 1 else f"the mean of {len(models)} trials"
    title = f"electron density of {name}, predicted by {trials} of {models[0].study}"
    numbers, positions = structure.atomic_numbers, structure.positions
    written = write_cube(path, basis, numbers, positions, coefficients, spacing, margin, title)
    return {
        "file": str(path),
        "points": written.points,
        "expected": sum(numbers) - structure.charge,
        "electrons": basis.electrons(numbers, (part.tolist() for part in coefficients)),
        "on_points": written.electrons,
    }


def _show(
    sums: "dict[tuple[str, str], ErrorSums]",
    cubes: list[dict[str, Any]],
    models: "list[TrainedModel]",
    total: int,
    written: Path | None,
    which: str | None,
    as_json: bool,
) -> None:
    """Print what was predicted and its errors."""
    from tesseral.models.prediction.ase_units import ase_unit

    quantity = models[0].quantity
    errors = {key: each.errors() for key, each in sums.items() if each.frames}
    units = {column: ase_unit(column.removesuffix(" per atom"), quantity)[0] for column, _ in errors}
    if as_json:
        tree = {
            "trials": [model.trial.id for model in models],
            "structures": total,
            "written": None if written is None else str(written),
            "cubes": cubes,
            "errors": [
                {"column": column, "of": of, "unit": units[column]} | asdict(each)
                for (column, of), each in errors.items()
            ],
        }
        print(json.dumps(tree, indent=2))
        return
    many = count(len(models), "trial") + ("" if which is None else f" of {which}")
    whose = f"trial {models[0].trial.id[:10]}" if len(models) == 1 else many
    to = "" if written is None else f", written to {written}"
    console.print(f"{count(total, 'structure')} predicted by {whose}{to}", soft_wrap=True)
    if cubes:
        _show_electrons(cubes)
    if not errors:
        return
    words = {"mean": "mean of the trials" if len(models) > 1 else "trial", "each": "each trial, on average"}
    rows = [
        [
            f"{column}, {units[column]}" + (f": {words[of]}" if len(models) > 1 else ""),
            str(each.frames),
            amount(each.components_mae),
            amount(each.components_rmse),
            amount(each.norm_mae),
        ]
        for (column, of), each in errors.items()
    ]
    heads = ["errors against the labels", "structures", "MAE", "RMSE", "mean norm"]
    console.print(table("", heads, rows))


def _show_electrons(cubes: list[dict[str, Any]]) -> None:
    """How far the densities and their points are from the numbers of electrons that molecules have."""
    off = max(cubes, key=lambda each: abs(each["electrons"] - each["expected"]))
    console.print(
        f"{'Electrons' if len(cubes) == 1 else 'Electrons of the worst density'}: {off['electrons']:.4f} of "
        f"{off['expected']}, {off['on_points']:.4f} on the points of {off['file']}",
        soft_wrap=True,
    )
    missing = [each for each in cubes if misses_electrons(each["on_points"], each["electrons"], each["expected"])]
    if missing:
        console.print(f"{'' if len(cubes) == 1 else f'{len(missing)} of {len(cubes)} cubes: '}{MISSES}", soft_wrap=True)
