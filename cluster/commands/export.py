"""`tesseral export`: an electron density as a file for another program."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tesseral.cluster.commands.display import console
from tesseral.cluster.commands.options import AsJson, Preset, Storage, records_name
from tesseral.study.errors import DataError
from tesseral.study.records.store import Store
from tesseral.study.records.trained import find_trial

if TYPE_CHECKING:  # it imports torch
    from tesseral.cluster.data.densities import Density

MISSED_ELECTRONS = 0.02
"""Share of the electrons that a cube's points may miss before a warning."""
MISSES = "The points miss some electrons: reduce --spacing for the atoms' cores, or raise --margin."
Margin = Annotated[float, typer.Option(min=0.0, help="Distance from the atoms to the cube's edge, in angstrom.")]


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="Reference data (.parquet), or the name or file of a study.", show_default=False
        ),
    ],
    trial: Annotated[
        str | None,
        typer.Argument(
            metavar="[TRIAL]", help="With a study: id of a complete trial, or the start of one.", show_default=False
        ),
    ] = None,
    preset: Preset = None,
    structure: Annotated[
        str | None, typer.Option(help="Id of a structure in the reference data.", show_default=False)
    ] = None,
    xyz: Annotated[
        Path | None, typer.Option(help="Extended XYZ file of a molecule to predict.", show_default=False)
    ] = None,
    frame: Annotated[int, typer.Option(min=0, help="With --xyz: the frame to take, from 0.")] = 0,
    charge: Annotated[
        int | None,
        typer.Option(help="With --xyz: the charge in e; by default the frame's `charge`, else 0.", show_default=False),
    ] = None,
    difference: Annotated[
        bool, typer.Option("--difference", help="With --structure: predicted minus reference density.")
    ] = False,
    cube: Annotated[Path | None, typer.Option(help="Cube file to write.", show_default=False)] = None,
    spacing: Annotated[float, typer.Option(min=0.001, help="Distance of the cube's points, in angstrom.")] = 0.1,
    margin: Margin = 3.0,
    pyscf: Annotated[
        Path | None, typer.Option(help="NumPy file (.npz) to write, for use in PySCF.", show_default=False)
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Program of torch.export (.pt2) to write: the trained network, to run without tesseral.",
            show_default=False,
        ),
    ] = None,
    storage: Storage = "runs",
    as_json: AsJson = False,
) -> None:
    """Write an electron density as a cube file to look at, or as an auxiliary density to compute with in PySCF; or a
    trained network as a program of PyTorch.

    Example, of reference data: `tesseral export runs/reference/water.parquet --structure dimer-0000 --cube dimer.cube`

    Example, predicted: `tesseral export quickstart 3f2a91 --xyz molecule.xyz --cube predicted.cube`

    Example, a network: `tesseral export quickstart 3f2a91 --weights model.pt2`
    """
    if weights is not None:
        if cube is not None or pyscf is not None or structure is not None or xyz is not None:
            raise DataError("expected --weights alone, got a density to write beside it")
        _export_weights(source, trial, preset, weights, storage, as_json)
        return
    if cube is None and pyscf is None:
        raise DataError("expected a file to write, --cube, --pyscf or --weights, got none")
    density = _density(source, trial, preset, structure, xyz, frame, charge, difference, storage)
    written: dict[str, Any] = {
        "title": density.title,
        "electrons": density.electrons,
        "expected": density.expected,
    }
    if cube is not None:
        from tesseral.models.reference.exchange.cube import write_cube

        molecule = density.molecule
        cube_file = write_cube(
            cube,
            density.basis,
            molecule.atomic_numbers,
            molecule.positions,
            density.coefficients,
            spacing=spacing,
            margin=margin,
            title=density.title,
        )
        written["cube"] = {"file": str(cube), "points": cube_file.points, "electrons": cube_file.electrons}
    if pyscf is not None:
        from tesseral.models.reference.calculation.auxiliary_density import SNIPPET, to_pyscf

        molecule = density.molecule
        coefficients = [part.numpy() for part in density.coefficients]
        to_pyscf(density.basis, molecule.atomic_numbers, molecule.positions, coefficients).save(pyscf)
        written["pyscf"] = {"file": str(pyscf), "snippet": SNIPPET.format(path=str(pyscf))}
    if as_json:
        print(json.dumps(written, indent=2))
        return
    _show(written)


def _export_weights(
    source: str, trial: str | None, preset: str | None, weights: Path, storage: str, as_json: bool
) -> None:
    """Write a trained network as a program of `torch.export`."""
    from tesseral.models.prediction.exported import describe, export_program, sample, save_program
    from tesseral.models.prediction.load import load

    if trial is None or source.endswith(".parquet"):
        raise DataError(f"expected a study and a trial with --weights, got {source} without a trial")
    folder = str(Path(source).resolve().parent) if source.endswith(".toml") else ""
    model = load(storage, records_name(source, preset), trial, folder=folder)
    save_program(export_program(model, sample(model)), model, weights)
    facts = describe(model)
    if as_json:
        print(json.dumps({"file": str(weights), **facts}, indent=2))
        return
    console.print(f"{facts['predicts']} of trial {model.trial.id[:10]}, as a program: {weights}", soft_wrap=True)
    console.print(f"Inputs: {', '.join(facts['inputs'])}; the file's tesseral.json explains them.", soft_wrap=True)


def _density(
    source: str,
    trial: str | None,
    preset: str | None,
    structure: str | None,
    xyz: Path | None,
    frame: int,
    charge: int | None,
    difference: bool,
    storage: str,
) -> "Density":
    """The density that the options ask for."""
    from tesseral.cluster.data import densities
    from tesseral.models.data.references import open_reference

    if source.endswith(".parquet"):
        if trial is not None or preset is not None or xyz is not None or difference:
            raise DataError(
                f"expected a study with a trial, --preset, --xyz or --difference; {source} is reference data"
            )
        if "://" in source:
            location = source
        else:
            places = [str(Path(source).absolute()), Store(storage).location(source)]
            location = next((place for place in places if "://" in place or Path(place).is_file()), "")
            if not location:
                raise DataError(f"expected reference data, found no file {source}, here or in the storage {storage}")
        return densities.stored_density(open_reference(storage, location), structure, Path(source).stem)
    if trial is None:
        raise DataError(f"expected reference data (.parquet), or a study and a trial, got {source} without a trial")
    if (xyz is None) == (structure is None):
        raise DataError("expected the molecule as either --structure or --xyz, got " + ("both" if xyz else "neither"))
    name, folder = records_name(source, preset), ""
    if source.endswith(".toml"):
        folder = str(Path(source).resolve().parent)
    entry = find_trial(storage, name, trial)
    if xyz is not None:
        if difference:
            raise DataError(
                "expected --structure with --difference: the reference data has no density of a molecule from --xyz"
            )
        return densities.predicted_density(storage, name, entry.id, densities.read_molecule(xyz, frame, charge), folder)
    _, reference = densities.trial_data(storage, entry)
    row = densities.find_structure(reference, structure, "the trial's reference data")
    predicted = densities.predicted_density(storage, name, entry.id, densities.molecule_of(row), folder)
    if not difference:
        return predicted
    return densities.difference(predicted, densities.stored_density(reference, structure, "the trial's reference data"))


def _show(written: dict[str, Any]) -> None:
    def say(text: str) -> None:
        console.print(text, soft_wrap=True)

    say(f"{written['title']}: {written['electrons']:.4f} electrons of {written['expected']}")
    if "cube" in written:
        points_file = written["cube"]
        points = " × ".join(map(str, points_file["points"]))
        say(f"Cube: {points_file['file']}, {points} points, {points_file['electrons']:.4f} electrons on them")
        if misses_electrons(points_file["electrons"], written["electrons"], written["expected"]):
            say(MISSES)
    if "pyscf" in written:
        say(f"PySCF: {written['pyscf']['file']}, to be used like this:\n\n{written['pyscf']['snippet']}")


def misses_electrons(on_points: float, electrons: float, expected: int) -> bool:
    """Whether the points of a cube miss more than `MISSED_ELECTRONS` of a density's electrons.

    :param on_points: electrons that the points add up to.
    :param electrons: of the density.
    :param expected: that the density should have; 0 for a difference of two.
    """
    return abs(on_points - electrons) > MISSED_ELECTRONS * max(expected, 1)
