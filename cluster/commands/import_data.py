"""The command line of imports: `tesseral reference import`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tesseral.cluster.commands.display import console
from tesseral.cluster.commands.options import AsJson, Storage
from tesseral.study.errors import DataError


def reference_import(
    source: Annotated[
        Path,
        typer.Argument(
            help="Mapping (TOML) of an extended XYZ file, or pickle of water trimers after Rackers & Rao.",
            show_default=False,
        ),
    ],
    hydrogen: Annotated[
        Path | None, typer.Option(help="Of a pickle: coefficients of the isolated H atom.", show_default=False)
    ] = None,
    oxygen: Annotated[
        Path | None, typer.Option(help="Of a pickle: coefficients of the isolated O atom.", show_default=False)
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of a pickle: name of the file that is made; default trimers.")
    ] = None,
    storage: Storage = "runs",
    as_json: AsJson = False,
) -> None:
    """Import reference data: labels of an extended XYZ file, or public densities.

    A mapping says which labels of the file become which columns, and in which units. Nothing that is in a pickle is
    run.

    Example: `tesseral reference import molecules.toml`, or
    `tesseral reference import trimers.pkl --hydrogen isolated_h.out --oxygen isolated_o.out`
    """
    from tesseral.cluster.data.imports import import_mapping, import_pickle

    if source.suffix == ".toml":
        if hydrogen or oxygen or name:
            raise DataError(f"expected --hydrogen, --oxygen and --name for a pickle alone, {source} is a mapping")
        done = import_mapping(source, storage)
    elif hydrogen is None or oxygen is None:
        raise DataError(
            f"expected a mapping (.toml), or a pickle with --hydrogen and --oxygen, got {source} "
            f"without {'--hydrogen' if hydrogen is None else '--oxygen'}"
        )
    else:
        done = import_pickle(source, {"H": hydrogen, "O": oxygen}, name or "trimers", storage)
    if as_json:
        print(json.dumps(asdict(done), indent=2))
        return
    for note in done.notes:
        console.print(note, soft_wrap=True, markup=False)
    console.print(
        f"Imported: {done.structures} structures with {', '.join(done.columns)}: {done.location}",
        soft_wrap=True,
        markup=False,
    )
