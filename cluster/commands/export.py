"""The command line of exports: `tesseral export`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tesseral.cluster.commands.display import console
from tesseral.cluster.commands.options import AsJson, Preset, Storage, records_name
from tesseral.study.errors import DataError

if TYPE_CHECKING:  # it imports torch
    from tesseral.cluster.data.densities import Density

COARSE = 0.02
"""Share of the electrons that a cube's points may miss before it is said."""


def export(
    source: Annotated[
        str,
        typer.Argument(help="Reference data (.parquet), or a study's name or its study file.", show_default=False),
    ],
    trial: Annotated[
        str | None, typer.Argument(help="Of a study: id of a complete trial, or how it begins.", show_default=False)
    ] = None,
    preset: Preset = None,
    structure: Annotated[
        str | None, typer.Option(help="Id of a structure of the reference data.", show_default=False)
    ] = None,
    xyz: Annotated[
        Path | None, typer.Option(help="Extended XYZ file of another molecule to predict.", show_default=False)
    ] = None,
    frame: Annotated[int, typer.Option(min=0, help="Number of its frame, from 0.")] = 0,
    charge: Annotated[
        int | None, typer.Option(help="Its charge, e; default its key `charge`, else 0.", show_default=False)
    ] = None,
    difference: Annotated[
        bool, typer.Option("--difference", help="Predicted less reference density, of a structure of the data.")
    ] = False,
    cube: Annotated[Path | None, typer.Option(help="Cube file to write.", show_default=False)] = None,
    spacing: Annotated[float, typer.Option(min=0.001, help="Of the cube's points, angstrom.")] = 0.1,
    margin: Annotated[float, typer.Option(min=0.0, help="From the atoms to the cube's edge, angstrom.")] = 3.0,
    pyscf: Annotated[
        Path | None, typer.Option(help="NumPy file (.npz) to write, to compute with in PySCF.", show_default=False)
    ] = None,
    storage: Storage = "runs",
    as_json: AsJson = False,
) -> None:
    """Write an electron density to look at (a cube file) or to compute with (an auxiliary density of PySCF).

    Example: `tesseral export runs/reference/water.parquet --structure dimer-0000 --cube dimer.cube`, or
    `tesseral export quickstart 3f2a91 --xyz molecule.xyz --cube predicted.cube --pyscf predicted.npz`
    """
    if cube is None and pyscf is None:
        raise DataError("expected a file to write, got neither --cube nor --pyscf")
    density = _find(source, trial, preset, structure, xyz, frame, charge, difference, storage)
    written: dict[str, Any] = {
        "title": density.title,
        "electrons": density.electrons,
        "expected": density.expected,
    }
    if cube is not None:
        from tesseral.models.reference.exchange.cube import write_cube

        molecule = density.molecule
        done = write_cube(
            cube,
            density.basis,
            molecule.atomic_numbers,
            molecule.positions,
            density.coefficients,
            spacing=spacing,
            margin=margin,
            title=density.title,
        )
        written["cube"] = {"file": str(cube), "points": done.points, "electrons": done.electrons}
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


def _find(
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
    """The density that is asked for."""
    from tesseral.cluster.data import densities
    from tesseral.cluster.data.references import open_reference

    if source.endswith(".parquet"):
        if trial is not None or preset is not None or xyz is not None or difference:
            raise DataError(
                f"expected a study for a trial, --preset, --xyz or --difference, {source} is reference data"
            )
        location = str(Path(source).resolve()) if Path(source).is_file() else source
        return densities.stored_density(open_reference(storage, location), structure, Path(source).stem)
    if trial is None:
        raise DataError(f"expected reference data (.parquet), or a study and a trial, got {source} without a trial")
    if (xyz is None) == (structure is None):
        raise DataError("expected the molecule as either --structure or --xyz, got " + ("both" if xyz else "neither"))
    name, folder = records_name(source, preset), ""
    if source.endswith(".toml"):
        folder = str(Path(source).resolve().parent)
    from tesseral.study.records.store import Store

    entry = densities.find_trial(Store(storage).child(name), name, trial)
    if xyz is not None:
        if difference:
            raise DataError("expected --structure with --difference, for the reference data has no density of --xyz")
        return densities.predicted_density(storage, name, entry.id, densities.read_molecule(xyz, frame, charge), folder)
    _, reference = densities.trial_data(storage, entry)
    row = densities.find_structure(reference, structure, "the trial's reference data")
    predicted = densities.predicted_density(storage, name, entry.id, densities.molecule_of(row), folder)
    if not difference:
        return predicted
    return densities.difference(predicted, densities.stored_density(reference, structure, "the trial's reference data"))


def _show(written: dict[str, Any]) -> None:
    def say(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False)

    say(f"{written['title']}: {written['electrons']:.4f} electrons of {written['expected']}")
    if "cube" in written:
        found = written["cube"]
        points = " × ".join(map(str, found["points"]))
        say(f"Cube: {found['file']}, {points} points, {found['electrons']:.4f} electrons on them")
        if abs(found["electrons"] - written["electrons"]) > COARSE * max(written["expected"], 1):
            say("The points are too coarse for the cores of the atoms, or end too near: see --spacing and --margin.")
    if "pyscf" in written:
        say(f"PySCF: {written['pyscf']['file']}, to be used so:\n\n{written['pyscf']['snippet']}")
