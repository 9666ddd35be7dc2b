"""Sizes and facts of a study's networks, for its reference data or for the recipes that make it."""

from pathlib import Path
from typing import TYPE_CHECKING

from tesseral.models.data.data_shape import evenly, reference_shape
from tesseral.models.data.reference_file import Reference
from tesseral.models.data.references import has_file, open_data, open_reference
from tesseral.models.networks.sizing.facts import NetworkFacts, network_facts, network_size
from tesseral.models.networks.sizing.size import Shape, Size
from tesseral.models.reference.geometries.expected_shape import recipe_shape
from tesseral.models.reference.geometries.recipe_structures import count_structures
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.target import Target
from tesseral.study.errors import DataError, MissingDataError, StudyFileError
from tesseral.study.recipe.recipe import Recipe, read_recipe

if TYPE_CHECKING:  # it imports torch
    from tesseral.models.networks.sizing.symmetry import Asymmetry, Sample

CHECKED = 3
"""Structures on which the symmetries of a network are checked."""


def _from_here(path: str | Path) -> str:
    """A path below the working folder relative to it; any other path or URL as it is."""
    here = Path.cwd()
    if "://" not in str(path) and Path(path).is_relative_to(here):
        return str(Path(path).relative_to(here))
    return str(path)


class Measure:
    """Sizes and facts of configurations, each computed once.

    :param storage: folder or URL where reference data lies.
    :param folder: the study file's, where recipes are looked for.
    """

    def __init__(self, storage: str, folder: Path) -> None:
        self.storage, self.folder = storage, folder
        self._shapes: dict[tuple[str, str | None, float, Target], Shape] = {}
        self._sizes: dict[Configuration, Size] = {}
        self._facts: dict[Configuration, NetworkFacts] = {}

    def reference(self, data: Data) -> Reference | None:
        """The reference data, with the published split; None if it is not there.

        :param data: the table `[data]` of an arm.
        :raises DataError: if it is torn, damaged, or not reference data; or if there is no such split.
        """
        try:
            open_reference(self.storage, data.reference)
        except MissingDataError:
            return None
        return open_data(self.storage, data)

    def test_set(self, path: str) -> Reference | None:
        """The data of a test set; None if it is not there.

        :param path: one of `data.tests`.
        :raises DataError: if it is torn, damaged, or not reference data.
        """
        try:
            return open_reference(self.storage, path)
        except MissingDataError:
            return None

    def missing(self, data: Data) -> str | None:
        """What to do about reference data that are not there, in words; None if they are, or no recipe is named.

        :param data: the table `[data]` of an arm.
        """
        if data.recipe is None or has_file(self.storage, data.reference):
            return None
        recipe = self.folder / data.recipe
        if self._maker(data) is None:
            return (
                f"import or make it; sizes are planned from the elements and irreps of {_from_here(recipe)} until then"
            )
        storage = _from_here(self.storage)
        option = "" if storage == "runs" else f" --storage {storage}"
        return f"`tesseral reference make {_from_here(recipe)}{option}` makes it"

    def to_be_made(self, data: Data) -> int | None:
        """Number of structures in the reference data that `data.recipe` makes; None if it makes other data, or none.

        :param data: the table `[data]` of an arm.
        :raises DataError: if a file that the recipe names cannot be read.
        """
        recipe = self._maker(data)
        return None if recipe is None else count_structures(recipe)

    def _maker(self, data: Data) -> Recipe | None:
        """The recipe that makes the data. A recipe of the same elements may stand in for data that are imported."""
        path = None if data.recipe is None else self.folder / data.recipe
        recipe = read_recipe(path) if path is not None and path.is_file() else None
        return recipe if recipe is not None and recipe.reference.name == Path(data.reference).stem else None

    def required(self, data: Data) -> Reference:
        """The reference data, which must be there.

        :param data: the table `[data]` of an arm.
        :raises DataError: if it is missing, with the command that makes it; or if it is torn or not reference data.
        """
        try:
            open_reference(self.storage, data.reference)
        except DataError as error:
            advice = self.missing(data)
            raise DataError(f"{error}; {advice}" if advice else str(error)) from None
        return open_data(self.storage, data)

    def structures(self, data: Data) -> "list[Sample]":
        """A few structures of the reference data, the smallest first; empty if the data are not there.

        :param data: the table `[data]` of an arm.
        """
        import torch

        from tesseral.models.networks.sizing.symmetry import Sample

        reference = self.reference(data)
        if reference is None:
            return []
        rows = reference.converged.table.select(["atomic_numbers", "positions", "charge", "cell"])
        rows = rows.take(evenly(len(rows))).to_pylist()
        rows = sorted(rows, key=lambda row: len(row["atomic_numbers"]))[:CHECKED]
        return [
            Sample(
                torch.tensor([reference.elements.index(number) for number in row["atomic_numbers"]]),
                torch.tensor(row["positions"], dtype=torch.float64),
                float(row["charge"]),
                None if row["cell"] is None else torch.tensor(row["cell"], dtype=torch.float64),
            )
            for row in rows
        ]

    def asymmetry(self, configuration: Configuration) -> "Asymmetry | None":
        """How far an arm's own network is from the symmetries of molecules; None for one of tesseral's, whose layers
        are equivariant, and without data.

        :param configuration: of an arm.
        :raises StudyFileError: if the network cannot be loaded, built or run.
        """
        network = configuration.network
        if network.define is None or not (structures := self.structures(configuration.data)):
            return None
        from tesseral.models.networks.sizing.symmetry import asymmetry  # here: it imports torch

        shape = self.shape(configuration)
        return asymmetry(network, shape.layout, shape.elements, structures)

    def shape(self, configuration: Configuration) -> Shape:
        """The shape of the reference data, or of the recipe that makes it if the data is not there yet.

        :param configuration: of an arm.
        :raises DataError: if neither is there.
        """
        data, cutoff = configuration.data, configuration.network.radial_cutoff
        key = (data.reference, data.recipe, cutoff, configuration.target)
        if key not in self._shapes:
            self._shapes[key] = self._find_shape(*key)
        return self._shapes[key]

    def _find_shape(self, name: str, recipe: str | None, cutoff: float, target: Target) -> Shape:
        try:
            reference = open_reference(self.storage, name)
        except MissingDataError as error:
            if recipe is None:
                hint = "make it, or name its recipe in data.recipe, from which a plan is made without data"
                raise DataError(f"{error}; {hint}") from None
        else:
            return reference_shape(reference, cutoff, target)
        path = self.folder / recipe
        if not path.exists():
            raise StudyFileError("data.recipe", f"expected a recipe beside the study file, found none at {path}")
        return recipe_shape(read_recipe(path), cutoff, target)

    def size(self, configuration: Configuration) -> Size:
        """Parameters, live ones, components and operations of a training step.

        :param configuration: of an arm.
        :raises DataError: if neither data nor recipe is there.
        """
        if configuration not in self._sizes:
            self._sizes[configuration] = network_size(configuration, self.shape(configuration))
        return self._sizes[configuration]

    def count(self, configuration: Configuration, unit: str) -> float:
        """The size in a unit that arms are matched by: `parameters` (live ones), `components` or `flops`.

        FLOPs are those of a training step divided by the structures of its batch, so that a larger batch does not make
        a network larger. Work done once a step is divided too: joining the weights of a symmetric contraction.

        :param configuration: of an arm.
        :param unit: as `match.by`.
        """
        size = self.size(configuration)
        if unit == "flops":
            return size.flops / configuration.training.batch_size
        return float(size.parameters_live if unit == "parameters" else size.components)

    def facts(self, configuration: Configuration) -> NetworkFacts:
        """Size, unreachable outputs and dead hidden irreps.

        :param configuration: of an arm.
        :raises DataError: if neither data nor recipe is there.
        """
        if configuration not in self._facts:
            shape = self.shape(configuration)
            self._facts[configuration] = network_facts(configuration, shape, self._sizes.get(configuration))
        return self._facts[configuration]
