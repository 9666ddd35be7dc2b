"""Reference data made from a recipe, on all cores, on a Ray cluster or in this process: `tesseral.make_reference`."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from tesseral.cluster.data.recipe_run import Distribute, inline, run_recipe
from tesseral.study.errors import TesseralError
from tesseral.study.recipe.recipe import Recipe, read_recipe

T = TypeVar("T")
R = TypeVar("R")


def make_reference(
    recipe: Recipe | str | Path,
    storage: str | Path = "runs",
    executor: Literal["ray", "inline"] = "ray",
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    on_failure: Callable[[str], None] = lambda sentence: None,
) -> tuple[str, bool]:
    """Make a file of reference data with PySCF, as `tesseral reference make` does. The same call again resumes it.

    :param recipe: a recipe, or the path of its file.
    :param storage: folder or URL where reference data lies; the file is `reference/<name>.parquet` in it.
    :param executor: `ray` uses all cores of this machine, or the cluster that RAY_ADDRESS names; `inline` computes one
        structure after another in this process.
    :param on_progress: called with (structures done, structures in total) at the start and after each structure.
    :param on_failure: called with a sentence for each structure whose calculation raised; the others go on.
    :returns: location of the file, and whether this call made it.
    :raises StudyFileError: if the recipe is not valid.
    :raises DataError: if a structure cannot be computed with its geometry, charge or spin, or another recipe made a
        file of that name.
    :raises IncompleteError: if calculations raised, once the others are done.
    :raises TesseralError: if `executor` is none of these.
    :raises StoreError: if the storage fails; the same call goes on.
    """
    if executor not in ("ray", "inline"):
        raise TesseralError(f"executor: expected 'ray' or 'inline', got {executor!r}")
    if not isinstance(recipe, Recipe):
        recipe = read_recipe(recipe)
    distribute: Distribute = inline
    if executor == "ray":
        distribute = partial(_on_ray, str(storage))
    return run_recipe(recipe, str(storage), distribute, on_progress, on_failure)


def _on_ray(
    storage: str, function: Callable[[T], R], items: Iterable[T], lost: Callable[[T, str], R], memory: int
) -> Iterator[tuple[T, R]]:
    """Distribute structures over the nodes that can compute them; see `Distribute`."""
    from tesseral.cluster.nodes.ray_check import check_nodes  # here: Ray is not needed for `inline`
    from tesseral.cluster.nodes.ray_session import as_completed, session

    with session():
        unfit = check_nodes(storage, ("pyscf",), packages=("pyscf", "numpy")).unfit
        yield from as_completed(function, items, lost, memory, unfit.keys())
