"""`tesseral reference make | import`: the reference data that studies train on."""

import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tesseral.cluster.commands.display import console, counted, errors
from tesseral.cluster.commands.exit_codes import resumable
from tesseral.cluster.commands.options import AsJson, ExecutorName, Storage
from tesseral.study.errors import DataError, IncompleteError
from tesseral.study.recipe.recipe import read_recipe
from tesseral.study.wording import count

reference = typer.Typer(help="Make or import the reference data that studies train on.", no_args_is_help=True)

FRAMES = (".xyz", ".extxyz", ".zip", ".tar", ".gz", ".bz2", ".xz", ".tgz", ".tbz2", ".txz")
"""Endings of what a mapping names: extended XYZ files and archives of them."""


@reference.command("make")
def reference_make(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="Recipe.", show_default=False)],
    storage: Storage = "runs",
    executor: ExecutorName = "ray",
    as_json: AsJson = False,
) -> None:
    """Compute reference densities with PySCF. The same command again continues a killed run.

    Example: `tesseral reference make study/examples/water.toml`
    """
    loaded = read_recipe(recipe)

    from tesseral.cluster.data.data_set_summary import describe, summarise
    from tesseral.cluster.execution.make_reference import make_reference
    from tesseral.models.data.references import open_reference

    try:
        with resumable(), nullcontext() if as_json else counted("structures", rate=True) as shown:
            location, made = make_reference(loaded, storage, executor, on_progress=shown or _unseen, on_failure=_say)
    except IncompleteError as error:
        _say(str(error))
        sys.exit(1)
    summary = summarise(location)
    if as_json:
        # The hash by which trials know their data: the only thing here that reads every column.
        content_hash = open_reference("", location).content_hash
        print(json.dumps(summary | {"content_hash": content_hash, "made": made}, indent=2))
    else:
        console.print(f"{'Made' if made else 'Already made'}: {describe(summary)}", soft_wrap=True)


@reference.command("import")
def reference_import(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Mapping (TOML) of an extended XYZ file, or the pickle of water trimers by Rackers & Rao.",
            show_default=False,
        ),
    ],
    hydrogen: Annotated[
        Path | None,
        typer.Option(help="With a pickle: file of the isolated H atom's coefficients.", show_default=False),
    ] = None,
    oxygen: Annotated[
        Path | None,
        typer.Option(help="With a pickle: file of the isolated O atom's coefficients.", show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="With a pickle: name of the reference data; trimers if not given.", show_default=False),
    ] = None,
    storage: Storage = "runs",
    as_json: AsJson = False,
) -> None:
    """Import reference data: the labels of an extended XYZ file, or public densities of water trimers.

    A mapping names the labels of the file, their columns and units. Code inside a pickle is never run.

    Example: `tesseral reference import mapping.toml`

    Example: `tesseral reference import trimers.pkl --hydrogen isolated_h.out --oxygen isolated_o.out`
    """
    from tesseral.cluster.data.imports import import_mapping, import_pickle

    if source.suffix == ".toml":
        if hydrogen or oxygen or name:
            raise DataError(f"expected --hydrogen, --oxygen and --name with a pickle only; {source} is a mapping")
        imported = import_mapping(source, storage)
    elif source.is_dir() or source.name.lower().endswith(FRAMES):
        raise DataError(
            f"expected a mapping (.toml), got {source}; a mapping names it as source.file, and the labels that are read"
        )
    elif hydrogen is None or oxygen is None:
        raise DataError(
            f"expected a mapping (.toml), or a pickle with --hydrogen and --oxygen, got {source} "
            f"without {'--hydrogen' if hydrogen is None else '--oxygen'}"
        )
    else:
        imported = import_pickle(source, {"H": hydrogen, "O": oxygen}, name or "trimers", storage)
    if as_json:
        print(json.dumps(asdict(imported), indent=2))
        return
    for note in imported.notes:
        console.print(note, soft_wrap=True)
    console.print(
        f"Imported: {count(imported.structures, 'structure')} with {_labels(imported.columns)}: {imported.location}",
        soft_wrap=True,
    )


def _labels(columns: Sequence[str]) -> str:
    return ", ".join(columns) if columns else "no label that a study can predict"


def _unseen(done: int, total: int) -> None:
    """Progress that nobody watches."""


def _say(sentence: str) -> None:
    errors.print(f"tesseral: {sentence}", style="red", soft_wrap=True)
