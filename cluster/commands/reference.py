"""The command line of reference data: `tesseral reference make | import`."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from tesseral.cluster.commands.display import console, counted, errors
from tesseral.cluster.commands.exit_codes import resumable
from tesseral.cluster.commands.import_data import reference_import
from tesseral.cluster.commands.options import AsJson, ExecutorName, Storage
from tesseral.study.recipe.recipe import read_recipe

reference = typer.Typer(help="Make or import the reference data that studies train on.", no_args_is_help=True)


@reference.command("make")
def reference_make(
    recipe: Annotated[Path, typer.Argument(help="Recipe (TOML).", show_default=False)],
    storage: Storage = "runs",
    executor: ExecutorName = "ray",
    as_json: AsJson = False,
) -> None:
    """Compute reference densities with PySCF. A killed run goes on where it stopped.

    Example: `tesseral reference make study/examples/water.toml`
    """
    loaded = read_recipe(recipe)  # before the imports, which take seconds

    from tesseral.cluster.data.data_set_summary import describe, summarise
    from tesseral.cluster.data.recipe_run import IncompleteError, Spread, inline, make_reference
    from tesseral.cluster.data.references import open_reference

    spread: Spread = inline
    if executor == "ray":
        from tesseral.cluster.execution.ray_session import as_completed

        spread = as_completed
    try:
        with resumable(), nullcontext() if as_json else counted("structures", rate=True) as shown:
            location, made = make_reference(loaded, storage, spread, shown or _unseen, _say)
    except IncompleteError as error:
        _say(str(error))
        sys.exit(1)
    summary = summarise(location)
    if as_json:
        # What trials are told apart by, and the only thing that all columns are read for.
        content_hash = open_reference("", location).content_hash
        print(json.dumps(summary | {"content_hash": content_hash, "made": made}, indent=2))
    else:
        console.print(f"{'Made' if made else 'Already made'}: {describe(summary)}", soft_wrap=True, markup=False)


reference.command("import")(reference_import)


def _unseen(done: int, total: int) -> None:
    """Progress that nobody watches."""


def _say(sentence: str) -> None:
    errors.print(f"tesseral: {sentence}", style="red", soft_wrap=True, markup=False)
