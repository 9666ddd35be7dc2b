"""A run of a recipe: every structure is computed once and sealed, and all become one file of reference data."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from tesseral.cluster.data.reference_parts import (
    Computation,
    assemble,
    drop_damaged,
    failure_sentence,
    level_key,
    part_key,
    recall_vibrations,
    sealed_json,
    sealed_parts,
    settings,
)
from tesseral.models.data.references import read_stored
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.reference.geometries.recipe_structures import recipe_content, structure_at, structures
from tesseral.models.reference.structure import Structure
from tesseral.study.configuration.trial import digest
from tesseral.study.errors import DataError, IncompleteError, StoreError
from tesseral.study.recipe.recipe import Recipe
from tesseral.study.records.parquet import open_parquet
from tesseral.study.records.store import ABANDONED, Store

T = TypeVar("T")
R = TypeVar("R")

BASIS = "basis"
"""Prefix of the names of sealed auxiliary bases."""
NAMED = 10
"""Largest number of structures that an error message names."""


class Distribute(Protocol):
    """Applies a function to items and yields (item, result) as results come: `inline`, or Ray's `as_completed`."""

    def __call__(
        self, function: Callable[[T], R], items: Iterable[T], lost: Callable[[T, str], R], memory: int
    ) -> Iterator[tuple[T, R]]:
        """Apply `function` to each item.

        :param function: computes an item, in any process.
        :param items: taken one by one, as processes come free.
        :param lost: result of an item whose process was killed, from the item and the reason.
        :param memory: bytes to reserve for each item.
        :returns: pairs of an item and its result, in the order in which they are finished.
        :raises Exception: what `function` raised first.
        """


def inline(
    function: Callable[[T], R], items: Iterable[T], lost: Callable[[T, str], R], memory: int
) -> Iterator[tuple[T, R]]:
    """Apply a function to one item after another in this process; a `Distribute`.

    :param function: computes an item.
    :param items: taken one by one.
    :param lost: not used: no process of its own can be lost.
    :param memory: not used: nothing is reserved.
    :returns: pairs of an item and its result, each computed when it is asked for.
    :raises Exception: what `function` raised first.
    """
    return ((item, function(item)) for item in items)


def run_recipe(
    recipe: Recipe,
    storage: str,
    distribute: Distribute,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    on_failure: Callable[[str], None] = lambda sentence: None,
) -> tuple[str, bool]:
    """Compute the structures of a recipe, and make one file of reference data.

    Each finished structure is sealed at once in `reference/.parts/`, so a killed run loses only the structures that it
    was computing; the parts become one file at the end. Parts are named by structure, method and versions, so a changed
    recipe of the same name takes over what is unchanged. Of two runs at once, one makes the file, and the other finds
    it made.

    :param recipe: what is computed, and how.
    :param storage: local folder or URL of an object store.
    :param distribute: how structures are distributed over processes.
    :param on_progress: called with (structures done, structures in total) at the start and after each structure.
    :param on_failure: called with a sentence for each structure whose calculation raised; the others go on.
    :returns: location of the file, and whether this run made it.
    :raises DataError: if a structure cannot be computed with its geometry, charge or spin, or another recipe made a
        file of that name.
    :raises IncompleteError: if calculations raised, once the others are done.
    """
    path = f"{recipe.reference.name}.parquet"
    store = Store(storage).child("reference")
    key = digest([recipe_content(recipe), settings(recipe.method)])
    parts = store.child(f".parts/{recipe.reference.name}")
    if _made(store, path, key):
        if left := parts.paths():  # by a run that was killed between making the file and deleting them
            read_stored(storage, store.location(path))
            parts.delete(left)
        return store.location(path), False
    keys, missing, basis = _prepare(recipe, parts)
    total, done = len(keys), len(keys) - len(missing)
    compute = Computation(recipe.method, basis, level_key(recipe.method), parts.url)
    made = False
    while True:
        on_progress(done, total)
        failed = list[str]()
        waiting = (structure_at(recipe, index) for index in missing)
        for structure, reason in distribute(compute, waiting, failure_sentence, recipe.method.max_memory * 10**6):
            if reason is None:
                done += 1
                on_progress(done, total)
            else:
                failed.append(structure.id)
                on_failure(reason)
        # Another run of the same recipe may meanwhile have made the file and deleted the parts.
        if failed:
            if _made(store, path, key):
                break
            raise IncompleteError(_incomplete(recipe, failed, done, parts.url))
        sealed = sealed_parts(parts)
        rows = [(name, sealed.get(part, f"{part}.parquet")) for name, part in keys]
        try:
            made = assemble(store, path, parts, rows, basis, recipe=key)
            break
        except DataError:
            if _made(store, path, key):
                break
            missing = drop_damaged(parts, rows)
            if not missing:
                raise
            done = total - len(missing)
    # Nothing is deleted before what replaces it has been read back, whole.
    if not _made(store, path, key):
        raise StoreError(f"{store.location(path)} was written but is not there; the parts that it is made of are kept")
    read_stored(storage, store.location(path))
    parts.delete(parts.paths())
    store.delete(store.stale(ABANDONED))
    return store.location(path), made


def _incomplete(recipe: Recipe, failed: list[str], done: int, url: str) -> str:
    """The message of `IncompleteError`: how to go on with the failed structures, and without them."""
    without = [*recipe.reference.without, *failed]
    named = json.dumps(without) if len(without) <= NAMED else "[…], with the ids printed above"
    return (
        f"{len(failed)} of {len(failed) + done} structures could not be computed, see the tracebacks in {url}; the "
        f"other {done} are kept. The same command tries the failed ones again, or leaves them out if the recipe's "
        f"[reference] says without = {named}"
    )


def _made(store: Store, path: str, key: str) -> bool:
    """Whether this recipe's file exists already.

    :raises DataError: if another recipe made it, or it is torn or not Parquet.
    """
    file = open_parquet(store.location(path))
    if file is None:
        return False
    with file:
        metadata = file.schema_arrow.metadata or {}
    if metadata.get(b"tesseral.recipe", b"").decode() != key:
        raise DataError(
            f"{store.location(path)} was made by another recipe; give this one another reference.name, or remove "
            "the file"
        )
    return True


def _prepare(recipe: Recipe, parts: Store) -> tuple[list[tuple[str, str]], list[int], AuxiliaryBasis]:
    """Check every structure and the method, before anything is computed.

    :returns: (id, key of the part) of each structure; numbers of the structures without a sealed row; and the basis of
        the coefficients with isolated atoms, which is sealed beside the rows.
    """
    # Imported here: a machine that only trains need not have PySCF.
    from tesseral.models.reference.calculation.calculation import reference_basis
    from tesseral.models.reference.calculation.mean_field import check

    recall_vibrations(recipe, parts)
    key, sealed = level_key(recipe.method), sealed_parts(parts)
    rows: list[tuple[str, str]] = []
    missing: list[int] = []
    examples: dict[frozenset[int], Structure] = {}  # a structure of each set of elements
    for index, structure in enumerate(structures(recipe)):
        check(structure, recipe.method)
        rows.append((structure.id, part_key(structure, key)))
        examples.setdefault(frozenset(structure.atomic_numbers), structure)
        if rows[-1][1] not in sealed:
            missing.append(index)
    name = f"{BASIS}-{digest([key, sorted(frozenset().union(*examples))])[:32]}.json"

    def compute() -> str:
        return reference_basis(examples.values(), recipe.method).to_json()

    return rows, missing, sealed_json(parts, name, compute, AuxiliaryBasis.from_json)
