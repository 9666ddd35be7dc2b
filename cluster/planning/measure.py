"""What a configuration's network costs and reaches, before anything is trained: by arithmetic, or by building it."""

from pathlib import Path

from tesseral.cluster.data.references import open_reference
from tesseral.models.data.data_shape import reference_shape
from tesseral.models.data.reference_file import Reference
from tesseral.models.networks.sizing.reach import Dead, dead, unreachable
from tesseral.models.networks.sizing.size import Shape, Size, size
from tesseral.models.reference.geometries.expected_shape import recipe_shape
from tesseral.study.configuration.configuration import Configuration
from tesseral.study.configuration.quantities import quantity_of
from tesseral.study.configuration.target import Target
from tesseral.study.configuration.trial import canonical
from tesseral.study.errors import DataError, StudyFileError
from tesseral.study.recipe.recipe import read_recipe


class Measure:
    """Sizes and reach of a study's configurations, each computed once.

    :param storage: where reference data lies.
    :param folder: where recipes are looked for: that of the study file.
    """

    def __init__(self, storage: str, folder: Path) -> None:
        self.storage, self.folder = storage, folder
        self._shapes: dict[tuple[str, str | None, float, Target], Shape] = {}
        self._sizes: dict[str, Size] = {}
        self._unreachable: dict[str, tuple[str, ...]] = {}

    def shape(self, configuration: Configuration) -> Shape:
        """Of the reference data, or of the recipe that makes it where the data is not there yet.

        :raises DataError: if neither is there.
        """
        data, cutoff = configuration.data, configuration.network.radial_cutoff
        key = (data.reference, data.recipe, cutoff, configuration.target)
        if key not in self._shapes:
            self._shapes[key] = self._find_shape(*key)
        return self._shapes[key]

    def data(self, reference: str) -> Reference | None:
        """The reference data, if it is there."""
        try:
            return open_reference(self.storage, reference)
        except DataError:
            return None

    def _find_shape(self, reference: str, recipe: str | None, cutoff: float, target: Target) -> Shape:
        try:
            found = open_reference(self.storage, reference)
        except DataError as error:
            if recipe is None:
                hint = "make it, or name its recipe in data.recipe, from which a plan is made without data"
                raise DataError(f"{error}; {hint}") from None
        else:
            return reference_shape(found, cutoff, target)
        path = self.folder / recipe
        if not path.exists():
            raise StudyFileError("data.recipe", f"expected a recipe beside the study file, found none at {path}")
        return recipe_shape(read_recipe(path), cutoff, target)

    def size(self, configuration: Configuration) -> Size:
        """Parameters, live ones, components and operations of a training step."""
        key = canonical(configuration.to_dict())
        if key not in self._sizes:
            self._sizes[key] = self._measure(configuration)
        return self._sizes[key]

    def _measure(self, configuration: Configuration) -> Size:
        shape = self.shape(configuration)
        if configuration.network.define is None:
            return size(configuration, shape)
        from tesseral.models.networks.sizing.probe import measure_size

        return measure_size(configuration, shape)

    def count(self, configuration: Configuration, unit: str) -> float:
        """The size that arms are matched by: `parameters` (live ones), `components` or `flops`.

        Operations are those of a training step for each structure of its batch: a larger batch makes no network larger.
        What a step does once is shared by them: joining the weights of a symmetric contraction.
        """
        found = self.size(configuration)
        if unit == "flops":
            return found.flops / configuration.training.batch_size
        return float(found.parameters_live if unit == "parameters" else found.components)

    def unreachable(self, configuration: Configuration) -> tuple[str, ...]:
        """The target's irreps that the network predicts as exactly zero, such as `1x4e`."""
        key = canonical(configuration.to_dict())
        if key not in self._unreachable:
            self._unreachable[key] = self._probe(configuration)
        return self._unreachable[key]

    def _probe(self, configuration: Configuration) -> tuple[str, ...]:
        shape = self.shape(configuration)
        if configuration.network.define is None:
            missing = unreachable(configuration, shape.layout)
        else:
            from tesseral.models.networks.sizing.probe import probe_unreachable

            missing = probe_unreachable(configuration, shape.layout, shape.elements)
        return tuple(map(str, quantity_of(configuration.target.quantity).unreached(missing)))

    def dead(self, configuration: Configuration) -> tuple[Dead, ...]:
        """Hidden irreps that nothing feeds or nothing reads; of a user's own network none is known."""
        if configuration.network.define is not None:
            return ()
        return tuple(dead(configuration, self.shape(configuration).layout))
